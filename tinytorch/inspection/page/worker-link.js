// The model in this page: Pyodide in a web worker of the site, with the site's own checkpoint.

import { unpack } from "./link.js";

const START = `
from pathlib import Path
from tinytorch.inspection import Session
glass_session = Session(Path("/models/tinygpt"))
`;

// `runtime` is the address of the folder with the site's static/.
export async function connectWorker(progress, runtime) {
  const { offline } = await import(new URL("static/offline.js", runtime));
  const { Python } = await import(new URL("static/python.js", runtime));
  await offline();
  const onStatus = (text) => progress(text && `${text}…`);
  const python = new Python({ onStatus, packages: ["openblas"] });
  const response = await fetch("tinygpt.safetensors");
  if (!response.ok) throw new Error("This site has no model: tinygpt.safetensors cannot be loaded.");
  await python.writeFile("/models/tinygpt/checkpoint.safetensors", await response.arrayBuffer());
  await python.run(START);
  return async function ask(name, values = {}) {
    const message = JSON.stringify({ do: name, ...values });
    return unpack(JSON.parse(await python.run("glass_session.handle(message)", { message })));
  };
}
