// Runs Python code in Pyodide under node: node pyodide.mjs FOLDER ARCHIVE PACKAGES CODE
//
// FOLDER holds Pyodide, ARCHIVE is tinytorch as a site carries it, PACKAGES are separated by commas.
// Prints what the code prints.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [folder, archive, packages, code] = process.argv.slice(2);
try {
  const { loadPyodide } = await import(pathToFileURL(`${folder}/pyodide.mjs`).href);
  const python = await loadPyodide({ indexURL: `${folder}/` });
  await python.loadPackage(packages.split(","), { messageCallback: () => {} });
  const data = new Uint8Array(readFileSync(archive));
  python.unpackArchive(data, "zip", { extractDir: "/lib/tinytorch" });
  python.runPython('import sys; sys.path.append("/lib/tinytorch")');
  python.runPython(readFileSync(code, "utf8"));
} catch (error) {
  console.error(error.message); // without the source of Pyodide, a line of a megabyte
  process.exitCode = 1;
}
