// Training of a small model on a pasted text, with its loss curve and samples.

import { el } from "../dom.js";
import { exampleText } from "./example-text.js";
import { LossCurve } from "./loss-curve.js";

const REPLY = 250; // milliseconds that one message may take, about
const SAMPLE_EVERY = 50; // steps

export function training(app, panel) {
  const field = el("textarea", { id: "training-text", rows: 6, spellcheck: false });
  field.placeholder = "Paste a text of at least 400 characters; more is better.";
  const example = el("button", { type: "button", onclick: () => (field.value = exampleText()) }, "Use an example");
  const size = el("select", {}, el("option", { value: "small" }, "small"), el("option", { value: "medium" }, "medium"));
  const steps = el("input", { type: "number", min: 10, max: 10000, value: 300 });
  const seed = el("input", { type: "number", min: 0, max: 999999, value: 1 });
  const start = el("button", { type: "button", className: "primary", onclick: begin }, "Start");
  const pause = el("button", { type: "button", disabled: true, onclick: toggle }, "Pause");
  const status = el("p", { className: "muted", role: "status" });
  const curve = new LossCurve();
  const samples = el("ol", { className: "samples", ariaLabel: "Samples of the model in training" });
  const lookInto = el("button", { type: "button", disabled: true, onclick: () => app.attempt(look) }, "Look into it");
  const save = el("button", { type: "button", disabled: true, onclick: () => app.attempt(download) }, "Download the checkpoint");
  panel.append(
    el("label", { htmlFor: "training-text" }, "The text to learn"),
    field,
    el("div", { className: "controls" }, example,
      el("label", { className: "small" }, "Model ", size),
      el("label", { className: "small" }, "Steps ", steps),
      el("label", { className: "small" }, "Seed ", seed), start, pause),
    status, curve.element, el("div", { className: "controls" }, lookInto, save), samples,
  );

  let run = 0; // number of the training; an older loop stops when it changes
  let looping = 0; // number of the training whose loop has not ended
  let going = false;
  let at = 0; // steps done
  let total = 0;

  async function begin() {
    going = false; // an older training asks for no more steps: they would be those of the new one
    const settings = { text: field.value, size: size.value, steps: Number(steps.value), seed: Number(seed.value) };
    const started = await app.attempt(() => app.ask("start_training", settings));
    if (!started) return;
    run += 1;
    [at, total] = [0, started.steps];
    samples.replaceChildren();
    curve.begin(started.steps, Math.log(started.vocabulary));
    for (const button of [pause, lookInto, save]) button.disabled = false;
    status.textContent = `${started.parameters.toLocaleString("en")} parameters, ${started.vocabulary} characters`;
    go();
  }

  function toggle() {
    going = !going;
    pause.textContent = going ? "Pause" : "Go on";
    if (going && looping !== run) go(); // else the loop that waits for its answer goes on
  }

  async function go() {
    const mine = run;
    looping = run;
    going = true;
    pause.textContent = "Pause";
    let count = 1;
    while (going && mine === run) {
      const began = performance.now();
      const reply = await app.attempt(() => app.ask("train", { steps: Math.min(count, SAMPLE_EVERY - (at % SAMPLE_EVERY)) }));
      if (!reply || mine !== run) break;
      const each = (performance.now() - began) / Math.max(1, reply.losses.length);
      count = Math.max(1, Math.floor(REPLY / each));
      show(reply, each);
      if (reply.finished || at % SAMPLE_EVERY === 0) await sample();
      if (reply.finished) break;
    }
    if (mine !== run) return;
    looping = 0;
    going = false;
    pause.textContent = "Go on";
    pause.disabled = at >= total;
  }

  function show(reply, each) {
    reply.losses.forEach((loss, index) => curve.add(reply.step - reply.losses.length + index + 1, loss));
    if (reply.validation !== null) curve.addValidation(reply.step, reply.validation);
    curve.draw();
    at = reply.step;
    const left = ((total - at) * each) / 1000;
    status.textContent = `Step ${at} of ${total}, loss ${curve.last.toFixed(3)}` +
      (curve.lastValidation === null ? "" : `, on the last tenth ${curve.lastValidation.toFixed(3)}`) +
      (reply.finished ? ". Done." : `; about ${left < 90 ? `${Math.ceil(left)} s` : `${Math.ceil(left / 60)} min`} left`);
  }

  async function sample() {
    const reply = await app.attempt(() => app.ask("sample"));
    if (!reply) return;
    samples.prepend(el("li", {}, el("b", {}, `Step ${at}`), el("pre", {}, reply.text)));
    while (samples.children.length > 8) samples.lastChild.remove();
  }

  async function look() {
    const about = await app.ask("look_into_trained");
    await app.showModel(about, field.value.slice(0, Math.min(40, about.context - 1)));
    status.textContent = "The other views now show this model, as it is at this step.";
  }

  async function download() {
    const { name, data } = await app.ask("trained");
    const link = el("a", { href: `data:application/octet-stream;base64,${data}`, download: name });
    link.click();
  }

  return { async show() {} };
}
