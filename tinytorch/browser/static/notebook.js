// A notebook as this site shows it, as it is kept in the browser, and as a file for Jupyter and tito.

const FIXED = ["setup", "given", "test"]; // always those of the lesson, as in `tito test`

export const kindOf = (cell) => cell.metadata?.tinytorch?.kind ?? "";
export const exerciseOf = (cell) => cell.metadata?.tinytorch?.exercise ?? "";
export const sourceOf = (cell) =>
  (Array.isArray(cell.source) ? cell.source.join("") : (cell.source ?? "")).replace(/\r\n?/g, "\n");

// The lesson's cells with the work of another notebook: exercises by their number, examples by the
// id of their cell, and cells that were added, after the same cell as there.
export function merged(lesson, work) {
  const byId = new Map(work.map((cell) => [cell.id, cell]));
  const byNumber = new Map();
  for (const cell of work) {
    if (kindOf(cell) === "exercise") byNumber.set(exerciseOf(cell), cell);
  }
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

function isAdded(cell, ids, known) {
  const isText = cell.source !== undefined && ["code", "markdown"].includes(cell.cell_type);
  return isText && !kindOf(cell) && !ids.has(cell.id) && !known.has(sourceOf(cell));
}

export function added(type = "code", source = "", id = "") {
  return { cell_type: type, id: id || `added-${crypto.randomUUID().slice(0, 8)}`, metadata: {}, source };
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
  if (!Array.isArray(cells)) throw new Error("this file is not a notebook: it has no list of cells");
  const other = content.metadata?.tinytorch?.lesson;
  if (other !== undefined && other !== number) {
    throw new Error(`this is the notebook of lesson ${other}, not of lesson ${number}`);
  }
  if (!cells.some((cell) => kindOf(cell) === "exercise" && String(exerciseOf(cell)).startsWith(`${number}.`))) {
    throw new Error(`this notebook has no exercise of lesson ${number}`);
  }
  return cells;
}

// What the browser keeps of a lesson: its cells, and the numbers of the exercises that have passed.
export class Kept {
  constructor(folder) {
    const site = new URL("../", import.meta.url).pathname; // another site may have the same origin
    this.key = `tinytorch${site}${folder}`;
  }
  read() {
    try {
      return JSON.parse(localStorage.getItem(this.key));
    } catch {
      return null; // damaged, or storage is not allowed
    }
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
