// Heads that are knocked out: switches, and the model with and without them.

import { bars, el, shade } from "../dom.js";

export function heads(app, panel) {
  const { state } = app;
  const table = el("table", { className: "switches" });
  const measure = el("button", { type: "button", onclick: () => app.attempt(effects) }, "Measure each head");
  const restore = el("button", { type: "button", onclick: () => state.restore() }, "Restore all");
  const note = el("p", { className: "muted", role: "status" });
  const sides = el("div", { className: "cards pair" });
  panel.append(table, el("div", { className: "controls" }, measure, restore), note, sides);
  let measured = null; // { ids, effects }

  function drawSwitches() {
    const { blocks, heads: count } = state.about;
    const focused = document.activeElement?.dataset?.head;
    const known = measured?.ids === state.ids ? measured.effects : null;
    const most = known ? Math.max(...known.flat(), 1e-9) : 1;
    table.replaceChildren(
      el("tr", {}, el("td"), ...range(count).map((head) => el("th", { scope: "col" }, `head ${head + 1}`))),
      ...range(blocks).map((block) =>
        el("tr", {}, el("th", { scope: "row" }, `block ${block + 1}`),
          ...range(count).map((head) => {
            const isOff = state.off.has(`${block},${head}`);
            const button = el("button", {
              type: "button",
              role: "switch",
              ariaChecked: String(!isOff),
              ariaLabel: `Block ${block + 1}, head ${head + 1}`,
              onclick: () => state.setOff(block, head, !isOff),
            }, isOff ? "off" : "on");
            button.dataset.head = `${block},${head}`;
            const value = known?.[block][head];
            const effect = known ? el("small", {}, `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(3)}`) : null;
            const cell = el("td", {}, button, effect);
            if (known) shade(cell, 0.5 * Math.max(0, value) / most);
            return cell;
          }))),
    );
    table.querySelector(`[data-head="${focused}"]`)?.focus();
  }

  async function effects() {
    note.textContent = "Measuring…";
    const ids = state.ids;
    try {
      measured = { ids, effects: (await app.ask("effects", { ids })).effects };
      note.textContent = "Beside each switch: by how much the loss of this text grows without that head.";
    } catch (error) {
      note.textContent = "";
      throw error;
    }
    drawSwitches();
  }

  function side(title, reply) {
    const loss = reply.loss === null ? "" : `loss of the text ${reply.loss.toFixed(3)}, `;
    return el("div", { className: "card" }, el("h4", {}, title), bars(reply.top),
      el("p", { className: "muted" }, `${loss}entropy ${reply.entropy.toFixed(2)} bits`));
  }

  return {
    async show() {
      drawSwitches();
      if (measured && measured.ids !== state.ids) note.textContent = "";
      const ids = state.ids;
      const reply = await app.ask("ablation", { ids, heads: state.heads });
      if (state.ids !== ids) return;
      const count = state.off.size;
      const name = count === 1 ? "Without 1 head" : `Without ${count} heads`;
      sides.replaceChildren(side("The whole model", reply.whole),
        ...(count ? [side(name, reply.without)] : [el("p", { className: "muted" }, "Switch a head off to compare.")]));
    },
  };
}

const range = (count) => Array.from({ length: count }, (_, index) => index);
