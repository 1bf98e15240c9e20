// The way to the model: messages to `tito look` on this machine, or to Pyodide in a web worker.
// Both take the same messages; see tinytorch/inspection/session.py.

export async function connect(progress) {
  const transport = document.querySelector('meta[name="transport"]');
  if (transport.content === "worker") {
    const { connectWorker } = await import("./worker-link.js");
    return connectWorker(progress, new URL(transport.dataset.runtime, document.baseURI));
  }
  return connectServer(secret());
}

// The token is in the fragment of the address, once; a reload finds it in this tab's storage.
function secret() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    sessionStorage.setItem("token", given);
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem("token");
}

function connectServer(token) {
  if (!token) throw new Error("Open the whole address that tito look has printed: it ends in a token.");
  return async function ask(name, values = {}) {
    let response;
    try {
      response = await fetch("message", {
        method: "POST",
        headers: { "X-TinyTorch-Token": token },
        body: JSON.stringify({ do: name, ...values }),
      });
    } catch {
      throw new Error("tito look no longer answers: start it again, and open the new address.");
    }
    if (!response.ok) throw new Error((await response.text()).trim());
    return unpack(await response.json());
  };
}

export function unpack(reply) {
  if ("error" in reply) throw new Error(reply.error);
  return reply.result;
}
