// Keeps the site's files in the browser, so that it works without a network once it was loaded.

const { serviceWorker } = navigator; // only over https, or on this machine
const PATIENCE = 30_000; // milliseconds

// The page asks for its files after this: from the first visit on they come from the copies.
export async function offline() {
  if (!serviceWorker) return;
  try {
    const address = new URL("../service-worker.js", import.meta.url);
    const { active, waiting, installing } = await serviceWorker.register(address);
    if (active && waiting) {
      waiting.postMessage("take over");
      await settled(waiting);
      location.reload(); // this page is of the version before
      await new Promise(() => {});
    }
    if (serviceWorker.controller) return;
    // Python's files are kept if the worker answers first, but a request that hangs must not stop all.
    const patience = new Promise((done) => setTimeout(done, PATIENCE));
    await Promise.race([controlled(active ?? waiting ?? installing), patience]);
  } catch (error) {
    console.warn(`the page will need the network: ${error.message}`);
  }
}

// Until the worker answers this page; not if it could not keep the files, or is passed over, as by a
// reload with Shift.
async function controlled(worker) {
  if (!worker || worker.state === "activated") return;
  const change = new Promise((done) => {
    serviceWorker.addEventListener("controllerchange", done, { once: true });
  });
  await settled(worker);
  if (worker.state === "activated" && !serviceWorker.controller) await change;
}

// Until the worker is active, or has failed.
function settled(worker) {
  return new Promise((done) => {
    const look = () => ["activated", "redundant"].includes(worker.state) && done();
    worker.addEventListener("statechange", look);
    look();
  });
}
