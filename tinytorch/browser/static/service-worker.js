// Answers from copies of the site's files and of Pyodide's, which are made when they are first loaded.
// The first line of the written file names the version of the site, and all its files with hashes.

const PREFIX = `tinytorch-${new URL(self.registration.scope).pathname}-`; // of this site only
const HERE = `${PREFIX}${SITE.version}`;
const PYODIDE = `${PREFIX}pyodide-${SITE.pyodide}`;
const addressOf = (file) => new URL(file, self.registration.scope).href;
const OURS = new Set([...Object.keys(SITE.files), ...SITE.later].map(addressOf));

self.addEventListener("install", (event) => {
  // Not from the browser's own cache, which may still hold files of the version before; and with
  // their hashes, as the host may not have all files of this version yet.
  const fresh = Object.entries(SITE.files).map(
    ([file, integrity]) => new Request(file, { cache: "reload", integrity }),
  );
  event.waitUntil(caches.open(HERE).then((cache) => cache.addAll(fresh)));
});

// A newer version waits until a page asks for it, as it loads: none gets files of two versions.
self.addEventListener("message", ({ data }) => {
  if (data === "take over") self.skipWaiting();
});

self.addEventListener("activate", (event) => event.waitUntil(activate()));

async function activate() {
  await self.clients.claim(); // first: pages wait for it
  for (const name of await caches.keys()) {
    if (name.startsWith(PREFIX) && name !== HERE && name !== PYODIDE) await caches.delete(name);
  }
}

self.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET" || request.headers.has("range")) return;
  const address = request.url.split(/[?#]/)[0];
  const file = [address, `${address}.html`].find((o) => OURS.has(o)); // some hosts cut .html
  if (file) event.respondWith(answer(request, HERE, file));
  else if (address.startsWith(addressOf(SITE.url))) event.respondWith(answer(request, PYODIDE, address));
});

async function answer(request, name, address) {
  const cache = await caches.open(name);
  const copy = await cache.match(address, { ignoreVary: true });
  if (copy) return copy.redirected ? new Response(copy.body, copy) : copy; // hosts that cut .html
  const found = await fetch(request);
  if (found.ok && found.type !== "opaque") {
    cache.put(address, found.clone()).catch(() => {}); // no room: it is loaded again next time
  }
  return found;
}
