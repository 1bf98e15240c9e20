// The logit lens: the next token as guessed from the residual stream after each block.

import { bars, el, percent, shade, visible } from "../dom.js";

export function lens(app, panel) {
  const { state } = app;
  const table = el("table", { className: "lens" });
  const scroller = el("div", { className: "scroll", tabIndex: 0, role: "region" }, table);
  scroller.ariaLabel = "Guesses by layer and token; scrolls sideways";
  const heading = el("h3");
  const cards = el("div", { className: "cards" });
  panel.append(scroller, heading, cards);

  const name = (layer) => (layer === 0 ? "embedding" : `after block ${layer}`);

  function row(label, cells) {
    return el("tr", {}, el("th", { scope: "row" }, label), ...cells);
  }

  function cell(text, share, index, title) {
    const data = el("td", { title, onclick: () => state.choose(index) }, visible(text));
    if (share !== null) shade(data, share);
    if (index === state.chosen) data.classList.add("column");
    return data;
  }

  function draw(layers) {
    const after = state.tokens.slice(1);
    const head = state.tokens.map((token, index) => cell(token, null, index, `token ${index + 1}`));
    table.replaceChildren(
      row("the text", head),
      ...layers.map((layer, number) =>
        row(name(number), layer.top.map((top, index) =>
          cell(top[0].text, top[0].p, index, `${visible(top[0].text)} ${percent(top[0].p)}`))),
      ),
      row("what follows", [...after, "?"].map((token, index) => cell(token, null, index, "what follows"))),
    );
    table.rows[0].className = table.rows[table.rows.length - 1].className = "given";
    const chosen = table.rows[0].cells[state.chosen + 1];
    scroller.scrollLeft = chosen.offsetLeft - scroller.clientWidth / 2;
    drawCards(layers);
  }

  function drawCards(layers) {
    const index = state.chosen;
    const next = state.ids[index + 1] ?? null;
    const end = next === null ? "" : `, before “${visible(state.tokens[index + 1])}”`;
    heading.textContent = `After “${visible(state.tokens[index])}” at ${index + 1}${end}`;
    cards.replaceChildren(
      ...layers.map((layer, number) => {
        const target = layer.target[index];
        const right = target === null ? null : el("p", { className: "muted" },
          `“${visible(state.tokens[index + 1])}”: ${percent(target)}`);
        return el("div", { className: "card" }, el("h4", {}, name(number)),
          bars(layer.top[index], { chosen: next }), right);
      }),
    );
  }

  return {
    async show() {
      const ids = state.ids;
      const { layers } = await app.ask("lens", { ids, heads: state.heads });
      if (state.ids === ids) draw(layers);
    },
  };
}
