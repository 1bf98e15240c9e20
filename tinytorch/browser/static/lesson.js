// The page of a lesson: shows its cells, runs them in Python's worker, keeps the work.

import { editor } from "./editor.js";
import { offline } from "./offline.js";
import { Kept, added, asFile, exerciseOf, fromFile, kindOf, merged, sourceOf } from "./notebook.js";
import { Python } from "./python.js";

const lesson = JSON.parse(document.getElementById("lesson").textContent);
const { cells: originals, ...header } = lesson.notebook;
const kept = new Kept(lesson.folder);
const work = kept.read();
const passed = new Set(work?.passed ?? []);
let cells = merged(originals, work?.cells ?? []);

const $ = (id) => document.getElementById(id);
const views = new Map(); // of each cell: its element, its output, the source that ran, or was tried
let python, running, queue;
let round = 0; // what waits in the queue is dropped when it changes
let isOld = false; // another tab has written newer work
let isLost = false; // the work could not be kept

// --- Python

const PREPARE = `
from tinytorch.browser import send
from tinytorch.browser.session import Session
session = Session(send)
`;

async function start() {
  python ??= new Python({ onStatus: status, onOutput: show });
  await python.run(PREPARE);
  $("stop").disabled = false;
  document.documentElement.dataset.python = "ready"; // for tests
}

function begin() {
  return start().catch((error) => status(`Python cannot be started: ${error.message}`));
}

// Run a cell after the definitions above it that have not run yet, or have changed.
const run = (cell) => later(() => runNow(cell));

function later(work) {
  const mine = round;
  queue = queue.then(() => mine === round && work()).catch((error) => status(error.message));
}

async function runNow(cell) {
  const mine = round, place = cells.indexOf(cell);
  let isStale = false;
  for (const earlier of cells.slice(0, place)) {
    if (!["setup", "given", "exercise"].includes(kindOf(earlier))) continue;
    isStale ||= views.get(earlier.id).ran !== earlier.source;
    if (isStale && mine === round) await execute(earlier);
  }
  if (mine === round) await execute(cell);
}

async function execute(cell) {
  const view = views.get(cell.id);
  const { source } = cell; // it may be edited meanwhile
  if (cell.cell_type !== "code") return;
  view.output.replaceChildren();
  if (kindOf(cell) === "test" && isBroken(cell)) return mark(exerciseOf(cell), false);
  view.box.classList.add("running");
  running = view;
  let worked; // undefined: it was stopped, or Python has not started
  try {
    await python.load(source);
    worked = await python.run("session.run(source)", { source });
    view.tried = source;
    view.ran = worked ? source : null;
  } catch (error) {
    show({ type: "text", text: error.message, error: true });
  }
  view.box.classList.remove("running");
  if (kindOf(cell) !== "test" || worked === undefined) return;
  // Not if it was edited, or another notebook uploaded, while the test ran.
  const exercise = exerciseTestedBy(cell);
  if (views.get(exercise.id).ran === exercise.source) mark(exerciseOf(cell), worked);
}

const exerciseTestedBy = (test) =>
  cells.find((c) => kindOf(c) === "exercise" && exerciseOf(c) === exerciseOf(test));

// Whether the exercise itself raises: its test would find functions of an earlier source.
function isBroken(test) {
  const exercise = exerciseTestedBy(test);
  const { ran, tried } = views.get(exercise.id);
  return tried === exercise.source && ran !== tried;
}

function show(output) {
  if (!running) return;
  const { output: box } = running;
  if (output.type === "image") {
    const image = document.createElement("img");
    Object.assign(image, { src: `data:image/png;base64,${output.png}`, alt: "figure" });
    box.append(image);
    return;
  }
  const kind = output.error ? "error" : (output.name ?? "value");
  let last = box.lastElementChild;
  if (last?.className !== kind || kind === "error") {
    last = document.createElement("pre");
    last.className = kind;
    box.append(last);
  }
  last.append(output.text);
}

function stop() {
  round += 1;
  python.restart();
  for (const view of views.values()) view.ran = null;
  status("Python was stopped, and starts again; the variables are gone");
  queue = begin();
}

// --- Exercises

function mark(number, isPassed) {
  if (isPassed) passed.add(number);
  else passed.delete(number);
  views.get(number)?.box.setAttribute("data-result", isPassed ? "passed" : "failed");
  save();
  showProgress();
}

function showProgress() {
  const numbers = originals.filter((cell) => kindOf(cell) === "exercise").map(exerciseOf);
  const done = numbers.filter((number) => passed.has(number)).length;
  $("progress").textContent = `${done} of ${numbers.length} exercises passed`;
}

function changed(cell, source) {
  cell.source = source;
  const number = exerciseOf(cell);
  if (number) {
    passed.delete(number);
    views.get(number).box.removeAttribute("data-result");
    showProgress();
  }
  save();
}

function save() {
  try {
    if (isOld) throw new Error("another tab has newer work");
    kept.write(cells, passed, originals);
    if (isLost) tell("Your work is kept again");
    isLost = false;
  } catch (error) {
    isLost = true;
    tell(`Your work is not kept in this browser: ${error.message}. Download the notebook.`);
  }
}

// --- Cells

function button(text, action, hint = "") {
  const made = document.createElement("button");
  Object.assign(made, { textContent: text, type: "button", title: hint, onclick: action });
  return made;
}

function draw() {
  views.clear();
  $("cells").replaceChildren(...cells.map(draw_cell));
  for (const number of passed) views.get(number)?.box.setAttribute("data-result", "passed");
  showProgress();
}

function draw_cell(cell) {
  const box = document.createElement("section");
  const kind = kindOf(cell);
  box.className = `cell ${cell.cell_type} ${kind}`;
  const output = document.createElement("div");
  output.className = "output";
  output.setAttribute("aria-live", "polite");
  const view = { box, output, ran: null, tried: null };
  views.set(cell.id, view);
  const place = originals.findIndex((other) => other.id === cell.id);
  if (cell.cell_type !== "code") {
    if (lesson.html[place]) box.innerHTML = lesson.html[place]; // made when the site was built
    else box.append(Object.assign(document.createElement("pre"), { textContent: cell.source }));
    return box;
  }
  const number = exerciseOf(cell);
  if (kind === "exercise") views.set(number, view);
  const code = editor({
    source: cell.source,
    label: kind ? `${kind} ${number}`.trim() : "your cell",
    readOnly: ["setup", "given", "test"].includes(kind),
    onChange: (source) => changed(cell, source),
    onRun: () => run(kind === "exercise" ? testOf(number) : cell),
  });
  const bar = document.createElement("div");
  bar.className = "bar";
  if (kind === "exercise") {
    const name = cell.metadata.tinytorch.names.join(", ");
    bar.append(
      Object.assign(document.createElement("strong"), { textContent: `Exercise ${number}: ${name}` }),
      button("Check", () => run(testOf(number)), "Run the exercise and its test (Shift+Enter)"),
    );
  } else if (kind !== "given") {
    bar.append(button("Run", () => run(cell), "Shift+Enter"));
  }
  if (!["setup", "given", "test"].includes(kind)) {
    bar.append(button("Add a cell", () => insertAfter(cell)));
    if (kind === "exercise" || kind === "code") bar.append(button("Reset", () => reset(cell, place)));
    else bar.append(button("Delete", () => remove(cell)));
  }
  if (["setup", "given", "test"].includes(kind)) {
    const details = document.createElement("details");
    const title = { setup: "Imports", given: `Given for ${number}`, test: `Test of ${number}` }[kind];
    details.append(Object.assign(document.createElement("summary"), { textContent: title }), code);
    box.append(details, bar, output);
  } else {
    box.append(bar, code, output);
  }
  return box;
}

const testOf = (number) =>
  cells.find((cell) => kindOf(cell) === "test" && exerciseOf(cell) === number);

function insertAfter(cell) {
  const made = added();
  cells.splice(cells.indexOf(cell) + 1, 0, made);
  views.get(cell.id).box.after(draw_cell(made));
  views.get(made.id).box.querySelector("textarea").focus();
  save();
}

function remove(cell) {
  views.get(cell.id).box.remove();
  cells = cells.filter((other) => other !== cell);
  save();
}

function reset(cell, place) {
  if (!confirm("Replace your code in this cell by the lesson's?")) return;
  changed(cell, sourceOf(originals[place]));
  views.get(cell.id).box.replaceWith(draw_cell(cell));
}

// --- The page

// What Python is doing.
function status(text) {
  $("status").textContent = text;
}

// About the work; it stays until there is something newer to say about it.
function tell(text) {
  $("message").textContent = text;
}

function download() {
  const file = new Blob([asFile(header, cells)], { type: "application/x-ipynb+json" });
  const link = Object.assign(document.createElement("a"), {
    href: URL.createObjectURL(file),
    download: `${lesson.name}.ipynb`,
  });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

async function upload(file) {
  try {
    const theirs = fromFile(await file.text(), lesson.number);
    if (!confirm("Replace your work in this browser by the notebook?")) return;
    const mine = merged(originals, theirs);
    round += 1;
    cells = mine;
    passed.clear();
    draw();
    tell(`${file.name} is loaded`);
    save();
  } catch (error) {
    tell(`${file.name}: ${error.message}`);
  }
}

$("all").onclick = () => cells.filter((c) => c.cell_type === "code").forEach((cell) => {
  later(() => execute(cell));
});
$("stop").onclick = stop;
$("download").onclick = download;
$("upload").onclick = () => $("file").click();
$("file").onchange = ({ target }) => {
  if (target.files[0]) upload(target.files[0]);
  target.value = "";
};
$("again").onclick = () => {
  const also = isOld ? ", also the newer work of another tab" : "";
  if (!confirm(`Delete your work in this lesson${also}? Download the notebook first to keep it.`)) return;
  kept.forget();
  isLost = false;
  location.reload();
};
addEventListener("storage", ({ key }) => {
  if (key !== kept.key) return;
  isOld = true;
  tell("This lesson was changed in another tab. What you write in this one is not kept: reload it to see the newer work");
});

addEventListener("beforeunload", (event) => {
  if (isLost) event.preventDefault(); // the browser asks
});

draw();
if (work?.damage) {
  const place = kept.setAside() ? `. Its text stays in the browser's storage as "${kept.damagedKey}"` : "";
  tell(`The work that this browser kept is damaged, and not shown: ${work.damage}${place}`);
}
queue = offline().then(begin);
