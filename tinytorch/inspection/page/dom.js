// Elements, text and bars: what all views share.

export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && name !== "list") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const SIGNS = { " ": "␣", "\n": "↵", "\t": "⇥", "\r": "␍", "\u00a0": "⍽" };
const NAMES = { " ": "space", "\n": "new line", "\t": "tab" };

// A token with its white space visible, and as a screen reader says it.
export const visible = (text) => [...text].map((sign) => SIGNS[sign] ?? sign).join("") || "∅";
export const spoken = (text) => NAMES[text] ?? text;

export function percent(p) {
  if (p >= 0.9995) return "100%";
  if (p > 0 && p < 0.001) return "<0.1%";
  return `${(100 * p).toFixed(p < 0.1 ? 1 : 0)}%`;
}

// A list of tokens with bars. `chosen` is the id of a token to mark; `value` gives the length of a
// bar in [0, 1], `words` the text behind it.
export function bars(items, { value = (t) => t.p, words = (t) => percent(t.p), chosen = null } = {}) {
  const list = el("ol", { className: "bars" });
  for (const item of items) {
    const bar = el("span", { className: "bar", ariaHidden: "true" }, el("span"));
    bar.firstChild.style.width = `${100 * Math.max(0, value(item))}%`;
    const label = el("span", { className: "token", ariaLabel: spoken(item.text), role: "img" });
    label.textContent = visible(item.text);
    const row = el("li", {}, label, bar, el("span", { className: "number" }, words(item)));
    if (item.id === chosen) row.className = "chosen";
    list.append(row);
  }
  return list;
}

// Shade an element: 0 is its background, 1 the accent colour.
export function shade(element, share) {
  element.style.setProperty("--share", `${Math.round(100 * Math.min(1, Math.max(0, share)))}%`);
  element.classList.toggle("deep", share > 0.55);
}

export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export function decodeBase64(text) {
  return Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
}

// Run `work` now, or once more after the run in progress: of many calls in between, one is enough.
export function latest(work) {
  let running = false;
  let again = false;
  return async function run() {
    if (running) {
      again = true;
      return;
    }
    running = true;
    try {
      do {
        again = false;
        await work();
      } while (again);
    } finally {
      running = false;
    }
  };
}
