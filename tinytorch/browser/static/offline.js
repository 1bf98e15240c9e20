// Keeps the site's files in the browser, so that it works without a network once it was loaded.

const { serviceWorker } = navigator; // only over https, or on this machine

// The page asks for its files after this: from the first visit on they come from the copies.
export async function offline() {
  if (!serviceWorker) return;
  try {
    const address = new URL("../service-worker.js", import.meta.url);
    const { waiting } = await serviceWorker.register(address);
    if (waiting) {
      await takenOver(() => waiting.postMessage("take over"));
      location.reload(); // this page is of the version before
      await new Promise(() => {});
    }
    if (!serviceWorker.controller) await takenOver();
  } catch (error) {
    console.warn(`the page will need the network: ${error.message}`);
  }
}

function takenOver(begin = () => {}) {
  return new Promise((done) => {
    serviceWorker.addEventListener("controllerchange", done, { once: true });
    setTimeout(done, 3000);
    begin();
  });
}
