// Opening a checkpoint: by a button, or by dropping the file anywhere on the page.

const LARGEST = 400e6; // bytes; in base64, the longest string of Chromium

export function openFiles(app) {
  const [button, input, drop] = ["open", "file", "drop"].map((id) => document.getElementById(id));
  button.addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    if (input.files.length) open(app, input.files[0]);
    input.value = "";
  });
  addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.hidden = !event.dataTransfer.types.includes("Files");
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) drop.hidden = true;
  });
  addEventListener("drop", (event) => {
    event.preventDefault();
    drop.hidden = true;
    const files = event.dataTransfer.files;
    if (files.length) open(app, files[0]);
  });
}

function open(app, file) {
  return app.attempt(async () => {
    if (file.size > LARGEST) {
      throw new Error(`${file.name} has ${Math.round(file.size / 1e6)} MB; this page opens up to 400.`);
    }
    app.text.stop();
    const data = await base64(file);
    app.showModel(await app.ask("open", { name: file.name, data }));
  });
}

function base64(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(new Error(`${file.name} cannot be read: ${reader.error.message}`));
    reader.readAsDataURL(file);
  });
}
