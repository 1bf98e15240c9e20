// A notebook as this site shows it, as it is kept in the browser, and as a file for Jupyter and tito.

const FIXED = ["setup", "given", "test"]; // always those of the lesson, as in `tito test`

export const kindOf = (cell) => cell.metadata?.tinytorch?.kind ?? "";
export const exerciseOf = (cell) => cell.metadata?.tinytorch?.exercise ?? "";
export const sourceOf = (cell) =>
  (Array.isArray(cell.source) ? cell.source.join("") : (cell.source ?? "")).replace(/\r\n?/g, "\n");

// The lesson's cells with the work of another notebook: exercises by their number, examples by the
// id of their cell, and cells that were added, after the same cell as there.
export function merged(lesson, work) {
  work = withOwnIds(work);
  const byId = new Map(work.map((cell) => [cell.id, cell]));
  const byNumber = exercisesOf(work);
  const cells = lesson.map((cell) => {
    const kind = kindOf(cell);
    const mine = kind === "exercise" ? byNumber.get(exerciseOf(cell)) : byId.get(cell.id);
    const isKept = mine?.source !== undefined && kindOf(mine) === kind && cell.cell_type === "code" && !FIXED.includes(kind);
    return { ...cell, source: sourceOf(isKept ? mine : cell) };
  });
  const known = new Set(lesson.map(sourceOf));
  const ids = new Set(lesson.map((cell) => cell.id));
  let after = -1;
  for (const cell of work) {
    const place = cells.findIndex(
      (c) => c.id === cell.id || (kindOf(c) === "exercise" && kindOf(cell) === "exercise" &&
        exerciseOf(c) === exerciseOf(cell)),
    );
    if (place >= 0) after = place;
    else if (isAdded(cell, ids, known)) cells.splice(++after, 0, added(cell.cell_type, sourceOf(cell), cell.id));
  }
  return cells;
}

// The exercises by their number; the halves of a split cell together, as in `tito`.
function exercisesOf(work) {
  const found = new Map();
  for (const cell of work) {
    if (kindOf(cell) !== "exercise" || cell.source === undefined) continue;
    const before = found.get(exerciseOf(cell));
    const source = before ? `${before.source}\n\n\n${sourceOf(cell)}` : sourceOf(cell);
    found.set(exerciseOf(cell), { ...cell, source });
  }
  return found;
}

function withOwnIds(work) {
  const ids = new Set();
  return work.map((cell) => {
    if (typeof cell.id !== "string" || ids.has(cell.id)) cell = { ...cell, id: newId() };
    ids.add(cell.id);
    return cell;
  });
}

const newId = () => `added-${crypto.randomUUID().slice(0, 8)}`;

function isAdded(cell, ids, known) {
  const isText = cell.source !== undefined && ["code", "markdown"].includes(cell.cell_type);
  return isText && !kindOf(cell) && !ids.has(cell.id) && !known.has(sourceOf(cell));
}

export function added(type = "code", source = "", id = "") {
  return { cell_type: type, id: id || newId(), metadata: {}, source };
}

// The contents of a file that Jupyter and `tito` read.
export function asFile(lesson, cells) {
  const written = cells.map(({ cell_type, id, metadata, source }) => {
    const cell = { cell_type, id, metadata, source: source.split(/(?<=\n)/) };
    return cell_type === "code" ? { ...cell, execution_count: null, outputs: [] } : cell;
  });
  return JSON.stringify({ ...lesson, cells: written }, null, 1) + "\n";
}

// The cells of a file of a lesson.
export function fromFile(text, number) {
  let content;
  try {
    content = JSON.parse(text);
  } catch {
    throw new Error("this file is not a notebook: it is not JSON, or half saved");
  }
  const { cells } = content ?? {};
  const problem = damageOf(cells);
  if (problem) throw new Error(`this file is not a notebook: ${problem}`);
  const other = content.metadata?.tinytorch?.lesson;
  if (other !== undefined && other !== number) {
    throw new Error(`this is the notebook of lesson ${other}, not of lesson ${number}`);
  }
  if (!cells.some((cell) => kindOf(cell) === "exercise" && String(exerciseOf(cell)).startsWith(`${number}.`))) {
    throw new Error(`this notebook has no exercise of lesson ${number}`);
  }
  return cells;
}

// What is wrong with a list of cells, or "".
function damageOf(cells) {
  if (!Array.isArray(cells)) return "it has no list of cells";
  const number = 1 + cells.findIndex((cell) => !isCell(cell));
  return number ? `cell ${number} is not a cell with a text` : "";
}

function isCell(cell) {
  const source = cell?.source ?? "";
  const isText = typeof source === "string" ||
    (Array.isArray(source) && source.every((line) => typeof line === "string"));
  return isText && cell !== null && typeof cell === "object";
}

// What the browser keeps of a lesson: its cells, and the numbers of the exercises that have passed.
export class Kept {
  constructor(folder) {
    const site = new URL("../", import.meta.url).pathname; // another site may have the same origin
    this.key = `tinytorch${site}${folder}`;
    this.damagedKey = `${this.key} damaged`;
  }
  // null if there is nothing, or storage is not allowed; `damage` says why there is no work.
  read() {
    let text;
    try {
      text = localStorage.getItem(this.key);
    } catch {
      return null;
    }
    if (text === null) return null;
    let work;
    try {
      work = JSON.parse(text) ?? {};
    } catch {
      work = {};
    }
    const damage = damageOf(work.cells) || (Array.isArray(work.passed) ? "" : "it has no results");
    return damage ? { cells: [], passed: [], damage } : work;
  }
  // Keep damaged work under another key, as the next edit replaces it; false if there is no room.
  setAside() {
    try {
      localStorage.setItem(this.damagedKey, localStorage.getItem(this.key));
    } catch {
      return false;
    }
    return true;
  }
  // Cells as in the lesson are kept without their source, which a newer lesson may change.
  write(cells, passed, lesson) {
    const own = new Map(lesson.map((cell) => [cell.id, sourceOf(cell)]));
    cells = cells.map((c) => (own.get(c.id) === c.source ? { ...c, source: undefined } : c));
    localStorage.setItem(this.key, JSON.stringify({ cells, passed: [...passed] }));
  }
  forget() {
    localStorage.removeItem(this.key);
  }
}
