// The page: connects to the model, and joins the text, the tabs and the views.

import { connect } from "./link.js";
import { el, latest } from "./dom.js";
import { openFiles } from "./files.js";
import { State } from "./state.js";
import { TextPanel } from "./text.js";
import { attention } from "./views/attention.js";
import { embeddings } from "./views/embeddings.js";
import { heads } from "./views/heads.js";
import { lens } from "./views/lens.js";
import { next } from "./views/next.js";
import { training } from "./views/training.js";

const find = (id) => document.getElementById(id);
const state = new State();
const app = { state, ask: null, fail, attempt, showModel, text: null, restart: null };

function fail(error) {
  find("error").textContent = error instanceof Error ? error.message : String(error);
  find("error").hidden = false;
}

// Do something, and show its error, if there is one, in place of the last.
async function attempt(work) {
  try {
    const result = await work();
    find("error").hidden = true;
    return result;
  } catch (error) {
    fail(error);
    return undefined;
  }
}

function showModel(about, prompt = about.example) {
  const unit = about.characters ? "characters" : "tokens";
  find("about").textContent =
    `${about.name}: ${about.parameters.toLocaleString("en")} parameters, ` +
    `${about.blocks} blocks of ${about.heads} heads, width ${about.width}, ` +
    `reads up to ${about.context} ${unit}, knows ${about.vocabulary.toLocaleString("en")}`;
  find("trained").textContent = about.training;
  state.setModel(about);
  return app.text.begin(prompt);
}

// Tabs: one view is shown, and computed, at a time.

const views = { next, attention, lens, heads, embeddings, training };
const tabs = Object.keys(views).map((name) => find(`tab-${name}`));
const drawn = {};
let active = "next";

function select(name, focus = false) {
  active = name;
  for (const tab of tabs) {
    const isActive = tab.id === `tab-${name}`;
    tab.setAttribute("aria-selected", isActive);
    tab.tabIndex = isActive ? 0 : -1;
    find(tab.getAttribute("aria-controls")).hidden = !isActive;
    if (isActive && focus) tab.focus();
  }
  refresh();
}

for (const [index, tab] of tabs.entries()) {
  tab.addEventListener("click", () => select(tab.id.slice(4)));
  tab.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1, Home: -index, End: tabs.length - 1 - index }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    select(tabs[(index + step + tabs.length) % tabs.length].id.slice(4), true);
  });
}

const refresh = latest(async () => {
  const name = active;
  if (!app.ask || !state.about) return;
  drawn[name] ??= views[name](app, find(name).querySelector(".view"));
  if (!state.ids.length && name !== "training") return;
  find(name).setAttribute("aria-busy", "true");
  try {
    await drawn[name].show();
  } catch (error) {
    fail(error); // it stays until something that the user does succeeds
  }
  find(name).removeAttribute("aria-busy");
});

state.addEventListener("change", (event) => {
  const count = state.off.size;
  find("knocked").hidden = count === 0;
  find("knocked").firstElementChild.textContent =
    count === 1 ? "1 head is knocked out, in all views." : `${count} heads are knocked out, in all views.`;
  if (event.detail !== "model") refresh();
});
find("knocked").querySelector("button").addEventListener("click", () => state.restore());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => refresh());

async function begin() {
  const ask = await connect((text) => {
    find("about").textContent = text;
  });
  app.ask = ask;
  app.text = new TextPanel(app);
  openFiles(app);
  select("next");
  showModel(await ask("about"));
}

begin().catch((error) => {
  find("about").textContent = "";
  fail(error);
});
