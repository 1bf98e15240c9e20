// Python in a worker, with this site's copy of tinytorch: see docs/browser.md.
//
//   import { Python } from "./static/python.js";
//   const python = new Python({ onStatus: (text) => ..., onOutput: (output) => ... });
//   await python.run("import tinytorch as tt");
//   const value = await python.run("tt.tensor(data).sum().item()", { data: [1, 2] });

const SITE = new URL("../", import.meta.url); // the folder of site.json

export class PythonError extends Error {} // its message is Python's traceback

export class Python {
  // onStatus: called with what is being loaded, and with "" when Python is ready.
  // onOutput: called with what Python prints, {name: "stdout" or "stderr", text}, and with what it
  //   sends by `tinytorch.browser.send(value)`.
  // packages: further packages of Pyodide to load, such as "openblas" for faster products.
  constructor({ onStatus = () => {}, onOutput = () => {}, packages = [] } = {}) {
    this.packages = packages;
    this.onStatus = onStatus;
    this.onOutput = onOutput;
    this.start();
  }

  start() {
    this.calls = new Map();
    this.next = 0;
    this.worker = new Worker(new URL("python-worker.js", import.meta.url), { type: "module" });
    this.worker.onmessage = ({ data }) => this.receive(data);
    this.worker.onerror = (event) => this.fail(new Error(event.message || "the worker failed"));
    this.ready = this.call({ type: "start", site: SITE.href, packages: this.packages });
    this.ready.catch(() => {}); // `run` reports it
  }

  // The value of the last expression of `code`, as JSON can represent it. The entries of `inputs`
  // become global variables; typed arrays arrive as memoryviews. Packages of Pyodide that `code`
  // imports are loaded. Calls run one after another.
  async run(code, inputs = {}) {
    await this.ready;
    return this.call({ type: "run", code, inputs });
  }

  // Load the packages of Pyodide that `code` imports, without running it.
  async load(code) {
    await this.ready;
    return this.call({ type: "load", code });
  }

  // Write bytes to a file of Python's file system.
  async writeFile(path, bytes) {
    await this.ready;
    return this.call({ type: "write", path, bytes });
  }

  // End whatever runs, and start again without any variables.
  restart() {
    this.worker.onmessage = null; // what it has sent already
    this.worker.terminate();
    this.fail(new Error("stopped"));
    this.start();
  }

  call(message) {
    const id = this.next++;
    return new Promise((resolve, reject) => {
      this.calls.set(id, { resolve, reject });
      this.worker.postMessage({ ...message, id });
    });
  }

  receive({ id, type, value }) {
    if (type === "status") this.onStatus(value);
    else if (type === "output") this.onOutput(value);
    else {
      const { resolve, reject } = this.calls.get(id);
      this.calls.delete(id);
      if (type === "result") resolve(value);
      else reject(type === "python error" ? new PythonError(value) : new Error(value));
    }
  }

  fail(error) {
    for (const { reject } of this.calls.values()) reject(error);
    this.calls.clear();
  }
}
