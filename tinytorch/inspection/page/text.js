// The text: typed, continued by the model, and shown as tokens of which one is chosen.

import { el, latest, percent, shade, spoken, visible } from "./dom.js";

const PACE = 60; // milliseconds between tokens at least, for the eye to follow
const find = (id) => document.getElementById(id);

export class TextPanel {
  constructor(app) {
    this.app = app;
    this.state = app.state;
    this.writing = false;
    this.typed = "";
    this.fresh = true; // the next token starts the random numbers from the seed
    this.encode = latest(() => this.app.attempt(() => this.read()));
    find("prompt").addEventListener("input", () => {
      this.stop();
      this.encode();
    });
    find("write").addEventListener("click", () => (this.writing ? this.stop() : this.write()));
    find("one").addEventListener("click", () => this.app.attempt(() => this.step()));
    find("back").addEventListener("click", () => this.begin(this.typed));
    find("seed").addEventListener("input", () => (this.fresh = true));
    this.slider("temperature", (value) => {
      this.state.temperature = value;
      return value.toFixed(2);
    });
    this.slider("topk", (value) => {
      this.state.topK = value >= Number(find("topk").max) ? null : value;
      return this.state.topK ?? "all";
    });
    this.listenToKeys();
    this.state.addEventListener("change", (event) => {
      if (event.detail === "model") this.fitTopK();
      if (["text", "position"].includes(event.detail)) this.draw();
    });
  }

  slider(id, set) {
    const input = find(id);
    input.addEventListener("input", () => {
      find(`${id}-value`).textContent = set(Number(input.value));
      this.state.changed("settings");
    });
  }

  fitTopK() {
    find("topk").max = find("topk").value = Math.min(50, this.state.about.vocabulary);
    find("topk-value").textContent = "all";
    this.state.topK = null;
  }

  // Put a text in the field, and read it.
  begin(text) {
    this.stop();
    find("prompt").value = text;
    return this.encode();
  }

  async read() {
    const text = find("prompt").value;
    this.typed = text;
    this.fresh = true;
    const { ids, tokens } = await this.app.ask("encode", { text });
    this.state.setText(ids, tokens);
  }

  stop() {
    this.writing = false;
    find("write").textContent = "Write";
  }

  async write() {
    this.writing = true;
    find("write").textContent = "Stop";
    for (let count = 1; this.writing; count += 1) {
      const pause = new Promise((resolve) => setTimeout(resolve, PACE));
      if (!(await this.app.attempt(() => this.step(count % 8 === 0)))) break;
      await pause;
    }
    this.stop();
    this.state.changed("text");
  }

  // One token. The view of the next token is drawn from the reply, others now and then.
  async step(all = true) {
    const { state } = this;
    const before = state.ids;
    const seed = this.fresh ? Number(find("seed").value) || 0 : null;
    const reply = await this.app.ask("write", { ids: before, heads: state.heads, seed, ...state.sampling });
    if (state.ids !== before) return false; // the text was edited meanwhile
    this.fresh = false;
    state.append(reply.id, reply.token, reply.p);
    find("prompt").value = reply.text;
    find("prompt").scrollTop = find("prompt").scrollHeight;
    this.draw();
    state.dispatchEvent(new CustomEvent("token", { detail: reply }));
    if (all && !this.writing) state.changed("text");
    else if (all) state.changed("settings");
    return true;
  }

  // The tokens

  draw() {
    const { state } = this;
    const list = find("tokens");
    while (list.children.length > state.ids.length) list.lastChild.remove();
    state.tokens.forEach((token, index) => {
      const chip = list.children[index] ?? list.appendChild(this.chip(index));
      if (chip.textContent !== visible(token)) chip.textContent = visible(token);
      const share = state.shares[index];
      chip.setAttribute("aria-selected", index === state.chosen);
      chip.setAttribute("aria-label", `${index + 1}: ${spoken(token)}`);
      chip.classList.toggle("written", share !== null);
      chip.title = share === null ? `token ${state.ids[index]}` : `written with p = ${percent(share)}`;
      shade(chip, share === null ? 0 : 0.6 * share);
    });
    const chosen = list.children[state.chosen];
    list.setAttribute("aria-activedescendant", chosen ? chosen.id : "");
    if (chosen) list.scrollTop = chosen.offsetTop - list.clientHeight / 2;
    const what = state.about.characters ? "characters" : "tokens";
    find("chosen").textContent = state.ids.length
      ? `${state.ids.length} of ${state.about.context} ${what}; chosen: ` +
        `“${visible(state.tokens[state.chosen])}” at ${state.chosen + 1}. Tokens that the model has ` +
        "written are tinted by their probability."
      : "";
  }

  chip(index) {
    const choose = () => this.state.choose(index);
    return el("span", { role: "option", id: `token-${index}`, className: "chip", onclick: choose });
  }

  listenToKeys() {
    find("tokens").addEventListener("keydown", (event) => {
      const { chosen, ids } = this.state;
      const to = {
        ArrowLeft: chosen - 1, ArrowRight: chosen + 1, Home: 0, End: ids.length - 1,
        PageUp: Math.max(0, chosen - 10), PageDown: Math.min(ids.length - 1, chosen + 10),
      }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      this.state.choose(to);
    });
  }
}
