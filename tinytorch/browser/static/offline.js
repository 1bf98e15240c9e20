// Keeps the site's files in the browser, so that it works without a network once it was loaded.

export async function offline() {
  if (!navigator.serviceWorker) return; // not over https, nor on this machine
  try {
    await navigator.serviceWorker.register(new URL("../service-worker.js", import.meta.url));
    if (navigator.serviceWorker.controller) return;
    await Promise.race([
      new Promise((done) => { navigator.serviceWorker.oncontrollerchange = done; }),
      new Promise((done) => setTimeout(done, 3000)),
    ]);
  } catch (error) {
    console.warn(`the page will need the network: ${error.message}`);
  }
}
