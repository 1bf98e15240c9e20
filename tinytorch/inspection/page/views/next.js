// The probabilities of the next token.

import { bars, el, visible } from "../dom.js";

export function next(app, panel) {
  const { state } = app;
  const heading = el("h3");
  const list = el("div");
  const facts = el("p", { className: "muted" });
  const last = el("p", { className: "muted", ariaLive: "off" });
  panel.append(heading, list, facts, last);

  function draw(reply, chosen = null) {
    list.replaceChildren(bars(reply.top, { chosen }));
    const choices = reply.choices === 1 ? "1 token" : `${reply.choices} tokens`;
    facts.textContent = `${choices} to choose from; entropy ${reply.entropy.toFixed(2)} bits.`;
  }

  state.addEventListener("token", (event) => {
    const reply = event.detail;
    if (app.text.writing) draw(reply, reply.id);
    if (app.text.writing) heading.textContent = "Drawn from these";
    last.textContent = `The last token, “${visible(reply.token)}”, was drawn with probability ${reply.p.toFixed(3)}.`;
  });

  return {
    async show() {
      if (app.text.writing) return;
      const reply = await app.ask("next", { ids: state.ids, heads: state.heads, ...state.sampling });
      heading.textContent = "What comes next?";
      draw(reply);
    },
  };
}
