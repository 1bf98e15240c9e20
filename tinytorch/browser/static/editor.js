// An editor for Python: a text area over the same text in colours.

const TOKENS = new RegExp(
  [
    String.raw`(?<comment>#[^\n]*)`,
    String.raw`(?<string>[rbfu]{0,2}(?:"""[^]*?(?:"""|$)|'''[^]*?(?:'''|$)|"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n])*'?))`,
    String.raw`(?<keyword>\b(?:and|as|assert|async|await|break|class|continue|def|del|elif|else|except|finally|for|from|global|if|import|in|is|lambda|nonlocal|not|or|pass|raise|return|try|while|with|yield|None|True|False)\b)`,
    String.raw`(?<number>\b\d[\w.]*)`,
    String.raw`(?<name>\b[a-zA-Z_]\w*)`,
  ].join("|"),
  "gi",
);

export function highlight(code, target) {
  target.replaceChildren();
  let end = 0;
  for (const match of code.matchAll(TOKENS)) {
    const kind = Object.keys(match.groups).find((name) => match.groups[name] !== undefined);
    if (kind === "name") continue;
    target.append(code.slice(end, match.index));
    const span = document.createElement("span");
    span.className = kind;
    span.textContent = match[0];
    target.append(span);
    end = match.index + match[0].length;
  }
  target.append(code.slice(end), "\n"); // the empty last line has a height
}

// The element of an editor. onChange: called with the new text; onRun: for Shift+Enter.
export function editor({ source, label, readOnly, onChange, onRun }) {
  const box = document.createElement("div");
  box.className = "editor";
  const colours = document.createElement("pre");
  colours.setAttribute("aria-hidden", "true");
  const area = document.createElement("textarea");
  Object.assign(area, { value: source, readOnly, spellcheck: false, autocapitalize: "off" });
  area.setAttribute("aria-label", label);
  area.setAttribute("autocorrect", "off");
  const show = () => highlight(area.value, colours);
  area.addEventListener("input", () => {
    show();
    onChange(area.value);
  });
  let leaves = false; // Escape, then Tab: out of the text area, for keyboards
  area.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.shiftKey || event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      onRun();
    } else if (event.key === "Tab" && !leaves && !readOnly) {
      event.preventDefault();
      if (event.shiftKey) dedent(area);
      else insert(area, " ".repeat(4 - (column(area) % 4)));
    } else if (event.key === "Enter" && !readOnly && !event.isComposing) {
      event.preventDefault();
      const line = area.value.slice(lineStart(area), area.selectionStart);
      insert(area, "\n" + line.match(/^ */)[0] + (/:\s*(#.*)?$/.test(line) ? "    " : ""));
    }
    leaves = event.key === "Escape" || (leaves && event.key === "Shift");
  });
  show();
  box.append(colours, area);
  return box;
}

const lineStart = (area) => area.value.lastIndexOf("\n", area.selectionStart - 1) + 1;
const column = (area) => area.selectionStart - lineStart(area);

function insert(area, text) {
  // The only way that keeps the browser's undo.
  if (!document.execCommand("insertText", false, text)) {
    area.setRangeText(text, area.selectionStart, area.selectionEnd, "end");
    area.dispatchEvent(new Event("input"));
  }
}

function dedent(area) {
  const start = lineStart(area);
  const spaces = Math.min(4, area.value.slice(start).match(/^ */)[0].length);
  if (!spaces) return;
  const caret = Math.max(start, area.selectionStart - spaces);
  area.setSelectionRange(start, start + spaces);
  insert(area, "");
  area.setSelectionRange(caret, caret);
}
