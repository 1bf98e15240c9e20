// A loss curve: the loss of each step as a line, the validation loss as dots, guessing as dashes.

import { el, svg } from "../dom.js";

const [WIDTH, HEIGHT, LEFT, BOTTOM, TOP] = [480, 220, 40, 34, 10];

export class LossCurve {
  constructor() {
    this.picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", class: "curve" });
    const key = el("p", { className: "legend", ariaHidden: "true" });
    for (const [name, text] of [["line", "training"], ["dot", "last tenth of the text"], ["dash", "guessing"]]) {
      key.append(el("span", { className: name }), ` ${text}  `);
    }
    this.element = el("div", { hidden: true }, this.picture, key);
  }

  begin(steps, guess) {
    [this.steps, this.guess, this.points, this.dots] = [steps, guess, [], []];
    this.element.hidden = false;
    this.draw();
  }

  add(step, loss) {
    this.points.push([step, loss]);
  }

  addValidation(step, loss) {
    this.dots.push([step, loss]);
  }

  get last() {
    return this.points.at(-1)?.[1] ?? Number.NaN;
  }

  get lastValidation() {
    return this.dots.at(-1)?.[1] ?? null;
  }

  draw() {
    const most = 1.08 * Math.max(this.guess, ...this.points.map((p) => p[1]), ...this.dots.map((p) => p[1]));
    const x = (step) => LEFT + ((WIDTH - LEFT - 8) * step) / this.steps;
    const y = (loss) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - loss / most);
    const parts = [];
    for (let loss = 0; loss <= most; loss += most > 4 ? 1 : 0.5) {
      parts.push(svg("line", { x1: LEFT, x2: WIDTH - 8, y1: y(loss), y2: y(loss), class: "rule" }));
      parts.push(svg("text", { x: LEFT - 6, y: y(loss) + 4, "text-anchor": "end" }, String(loss)));
    }
    for (const share of [0, 0.25, 0.5, 0.75, 1]) {
      const step = Math.round(share * this.steps);
      const anchor = share === 1 ? "end" : "middle";
      parts.push(svg("text", { x: x(step), y: HEIGHT - BOTTOM + 15, "text-anchor": anchor }, String(step)));
    }
    parts.push(svg("text", { x: (WIDTH + LEFT) / 2, y: HEIGHT - 4, "text-anchor": "middle" }, "step; loss in nats per character"));
    parts.push(svg("line", { x1: LEFT, x2: WIDTH - 8, y1: y(this.guess), y2: y(this.guess), class: "guess" }));
    const line = this.points.map(([step, loss]) => `${x(step).toFixed(1)},${y(loss).toFixed(1)}`).join(" ");
    parts.push(svg("polyline", { points: line, class: "loss" }));
    for (const [step, loss] of this.dots) parts.push(svg("circle", { cx: x(step), cy: y(loss), r: 3.5, class: "validation" }));
    this.picture.replaceChildren(...parts);
    const now = this.points.length ? `at step ${this.points.at(-1)[0]}, ${this.last.toFixed(2)}` : "no step yet";
    this.picture.setAttribute("aria-label", `Loss curve: ${now}; guessing would give ${this.guess.toFixed(2)}`);
  }
}
