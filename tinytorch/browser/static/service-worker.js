// Answers from copies of the site's files and of Pyodide's, which are made when they are first loaded.
// The first line of the written file names the version of the site, and all its files.

const PREFIX = `tinytorch-${new URL(self.registration.scope).pathname}-`; // of this site only
const HERE = `${PREFIX}${SITE.version}`;
const PYODIDE = `${PREFIX}pyodide-${SITE.pyodide}`;

self.addEventListener("install", (event) => {
  // Not from the browser's own cache, which may still hold files of the version before.
  const fresh = SITE.files.map((file) => new Request(file, { cache: "reload" }));
  event.waitUntil(caches.open(HERE).then((cache) => cache.addAll(fresh)));
});

// A newer version waits until a page asks for it, as it loads: none gets files of two versions.
self.addEventListener("message", ({ data }) => {
  if (data === "take over") self.skipWaiting();
});

self.addEventListener("activate", (event) => event.waitUntil(activate()));

async function activate() {
  for (const name of await caches.keys()) {
    if (name.startsWith(PREFIX) && name !== HERE && name !== PYODIDE) await caches.delete(name);
  }
  await self.clients.claim();
}

self.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET" || request.headers.has("range")) return;
  const isOurs = request.url.startsWith(self.registration.scope);
  const isPyodide = request.url.startsWith(new URL(SITE.url, self.registration.scope).href);
  if (isOurs || isPyodide) event.respondWith(answer(request, isPyodide ? PYODIDE : HERE));
});

async function answer(request, name) {
  const cache = await caches.open(name);
  const copy = await cache.match(request, { ignoreSearch: true });
  if (copy) return copy.redirected ? new Response(copy.body, copy) : copy; // hosts that cut .html
  const found = await fetch(request);
  if (found.ok && found.type !== "opaque") {
    cache.put(request, found.clone()).catch(() => {}); // no room: it is loaded again next time
  }
  return found;
}
