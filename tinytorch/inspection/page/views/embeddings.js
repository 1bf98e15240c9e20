// The vectors of tokens: neighbours of one, and all of them on a map.

import { bars, el, percent, svg, visible } from "../dom.js";

const SIZE = 400; // of the map, in its own units

export function embeddings(app, panel) {
  const { state } = app;
  const select = el("select", { id: "token-of-map", onchange: () => pick(Number(select.value)) });
  const label = el("label", { htmlFor: "token-of-map" }, "Token ", select);
  const matrix = el("select", { id: "matrix", onchange: () => app.attempt(change) },
    el("option", { value: "embedding" }, "when it is read (embedding)"),
    el("option", { value: "head" }, "when it is predicted (head)"));
  const choice = el("label", { htmlFor: "matrix" }, "Its vector ", matrix);
  const list = el("div");
  const map = el("div", { className: "plane" });
  const share = el("p", { className: "muted" });
  panel.append(el("div", { className: "controls" }, label, choice), list, map, share);
  let plane = null; // of `about`
  let about = null;
  let token = null;
  let ofText = null; // the token of the text that was shown last

  async function pick(id) {
    token = id;
    await app.attempt(draw);
  }

  async function draw() {
    const reply = await app.ask("neighbours", { token, matrix: matrix.value });
    select.value = token;
    list.replaceChildren(bars(reply.neighbours, { value: (t) => t.cosine, words: (t) => t.cosine.toFixed(2) }));
    const near = new Set(reply.neighbours.map((t) => t.id));
    for (const point of map.querySelectorAll("text")) {
      const id = Number(point.dataset.id);
      point.setAttribute("class", id === token ? "here" : near.has(id) ? "near" : "");
    }
  }

  async function change() {
    plane = await app.ask("plane", { matrix: matrix.value });
    drawMap();
    await draw();
  }

  function drawMap() {
    const [xs, ys] = [0, 1].map((axis) => plane.points.map((point) => point[axis]));
    const scale = (values) => {
      const [low, high] = [Math.min(...values), Math.max(...values)];
      return (value) => 16 + ((SIZE - 32) * (value - low)) / (high - low || 1);
    };
    const [x, y] = [scale(xs), scale(ys)];
    const picture = svg("svg", { viewBox: `0 0 ${SIZE} ${SIZE}`, role: "img" });
    picture.setAttribute("aria-label", `Map of ${plane.tokens.length} tokens; their neighbours are listed above`);
    plane.tokens.forEach((text, id) => {
      const point = svg("text", { x: x(xs[id]), y: SIZE - y(ys[id]), "data-id": id }, visible(text));
      point.addEventListener("click", () => pick(id));
      picture.append(point);
    });
    map.replaceChildren(picture);
    select.replaceChildren(
      ...plane.tokens.map((text, id) => el("option", { value: id }, visible(text))),
    );
    share.textContent = `The map holds ${percent(plane.share)} of the variance of ` +
      `${plane.tokens.length} vectors of size ${state.about.width}.`;
  }

  return {
    async show() {
      if (about !== state.about) {
        plane = await app.ask("plane", { matrix: matrix.value });
        [about, token, ofText] = [state.about, null, null];
        drawMap();
      }
      const chosen = state.ids[state.chosen];
      if (chosen !== ofText) token = ofText = chosen;
      if (token >= plane.tokens.length && ![...select.options].some((o) => Number(o.value) === token)) {
        select.append(el("option", { value: token }, visible(state.tokens[state.chosen])));
      }
      await draw();
    },
  };
}
