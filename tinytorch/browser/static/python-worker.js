// The worker of python.js: loads Pyodide, NumPy and tinytorch, then runs code.
//
// Every file of Pyodide is fetched with its hash from site.json; the hashes of packages are in
// Pyodide's own list, pyodide-lock.json, which is checked too.

let python, site;
let queue = Promise.resolve();

// What is printed is sent at once, in up to so many messages, and one more every so many ms; then in
// pieces of so many characters.
const BURST = 200, PAUSE = 5, PIECE = 8000;
const MOST = 100_000; // characters that one run may print; a page with more gets slow

const send = (message) => postMessage(message);
const status = (value) => send({ type: "status", value });

self.onmessage = ({ data }) => {
  queue = queue.then(() => answer(data)); // one after another
};

async function answer({ id, type, ...message }) {
  try {
    send({ id, type: "result", value: await actions[type](message) });
  } catch (error) {
    const kind = error?.constructor?.name === "PythonError" ? "python error" : "error";
    send({ id, type: kind, value: String(error?.message ?? error) });
  }
}

const actions = {
  async start({ site: address, packages }) {
    status("Loading Python");
    site = await (await fetched(new URL("site.json", address))).json();
    const base = new URL(site.pyodide.url, address);
    const refused = checkHashes(base); // else Pyodide waits for a file that was refused
    refused.catch(() => {}); // it is awaited below
    const { loadPyodide } = await importChecked(new URL("pyodide.mjs", base));
    await importChecked(new URL("pyodide.asm.js", base)); // or else loadPyodide imports it unchecked
    const library = fetched(new URL(site.library, address)).then((answer) => answer.arrayBuffer());
    library.catch(() => {}); // it is awaited below
    python = await Promise.race([loadPyodide({ indexURL: base.href }), refused]);
    python.setStdout({ write: (bytes) => print("stdout", bytes) });
    python.setStderr({ write: (bytes) => print("stderr", bytes) });
    status("Loading NumPy");
    await load([...site.packages, ...packages]);
    status("Loading TinyTorch");
    python.unpackArchive(await library, "zip", { extractDir: site.folder });
    python.runPython(`import sys; sys.path.append("${site.folder}")`); // after Pyodide's packages
    python.registerJsModule("tinytorch_page", {
      send: (text) => {
        flush(); // what was printed before it
        send({ type: "output", value: JSON.parse(text) });
      },
    });
    python.runPython("import tinytorch");
    status("");
    return { pyodide: python.version };
  },

  async load({ code }) {
    const quiet = () => {};
    await python.loadPackagesFromImports(code, { messageCallback: quiet, errorCallback: quiet });
  },

  async run({ code, inputs }) {
    await actions.load({ code });
    for (const [name, value] of Object.entries(inputs)) {
      python.globals.set(name, python.toPy(value));
    }
    printed = 0;
    let value;
    try {
      value = await python.runPythonAsync(code);
    } finally {
      flush();
    }
    if (!(value instanceof python.ffi.PyProxy)) return value;
    const copy = value.toJs({ dict_converter: Object.fromEntries, create_pyproxies: false });
    value.destroy();
    return copy;
  },

  async write({ path, bytes }) {
    const folder = path.slice(0, path.lastIndexOf("/"));
    if (folder) python.FS.mkdirTree(folder);
    python.FS.writeFile(path, new Uint8Array(bytes));
  },
};

async function load(names) {
  const failed = [];
  await python.loadPackage(names, {
    messageCallback: () => {},
    errorCallback: (message) => failed.push(message),
  });
  if (failed.length) throw new Error(failed.join("; "));
}

const decoders = { stdout: new TextDecoder(), stderr: new TextDecoder() };

let waiting = { name: "stdout", text: "" }; // printed, and not sent yet
let printed = 0; // characters of this run
let budget = BURST, counted = 0; // messages that may be sent; when that was computed

// A message for each write of an endless loop would keep the page from answering, also to Stop.
function print(name, bytes) {
  const text = decoders[name].decode(bytes, { stream: true }).slice(0, MOST - printed);
  if (!text) return bytes.length;
  printed += text.length;
  if (waiting.name !== name) flush();
  waiting = { name, text: waiting.text + text };
  if (printed >= MOST) waiting.text += "\n(what is printed after 100,000 characters is left out)\n";
  if (waiting.text.length >= PIECE || printed >= MOST || mayBeSent()) flush();
  return bytes.length;
}

function mayBeSent() {
  const now = performance.now();
  budget = Math.min(BURST, budget + (now - counted) / PAUSE);
  counted = now;
  if (budget < 1) return false;
  budget -= 1;
  return true;
}

function flush() {
  if (waiting.text) send({ type: "output", value: waiting });
  waiting = { name: waiting.name, text: "" };
}

async function fetched(url, options) {
  const answer = await fetch(url, options);
  if (!answer.ok) throw new Error(`${url} cannot be loaded: ${answer.status} ${answer.statusText}`);
  return answer;
}

// From now on, whatever is fetched from the folder `base` has to have its hash from site.json. The
// result is a promise that is rejected when a file has another one.
function checkHashes(base) {
  const unchecked = self.fetch;
  return new Promise((_, reject) => {
    self.fetch = async (resource, options) => {
      const { href } = new URL(resource.url ?? resource, self.location);
      const isHere = href.startsWith(base.href);
      const integrity = isHere && site.pyodide.hashes[href.slice(base.href.length)];
      if (!integrity) return unchecked(resource, options);
      try {
        return await unchecked(resource, { ...options, integrity });
      } catch (error) {
        const reason = "no network, or its contents are not the expected ones";
        const clear = new Error(`${href} cannot be loaded: ${reason}`);
        reject(clear);
        throw clear;
      }
    };
  });
}

async function importChecked(url) {
  const text = await (await fetched(url)).text();
  const copy = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
  try {
    return await import(copy);
  } finally {
    URL.revokeObjectURL(copy);
  }
}
