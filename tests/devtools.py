"""Headless Chromium, driven by the DevTools protocol: a page as its user has it.

`with Chromium() as browser: page = browser.open(address)`. A page collects what its console shows
as errors, and requests that failed.
"""

import base64
import json
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from helpers import require, require_program

PROGRAMS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "C:/Program Files/Google/Chrome/Application/chrome.exe",
)
FLAGS = (
    "--headless=new", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--remote-debugging-port=0",
    "--allow-pre-commit-input", "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows", "--disable-renderer-backgrounding",
    "--remote-allow-origins=*", "--hide-scrollbars", "--disable-dev-shm-usage",
    "--no-sandbox",  # for containers, and Ubuntu 24.04; only pages of this checkout are opened
)  # fmt: skip
LIMIT = 60.0  # seconds for anything to happen
LONG_LIMIT = 300.0  # for the longest: an answer of the page may take as long as what it waits for


class Chromium:
    """A browser with a profile of its own, which ends with the `with` statement."""

    def __enter__(self) -> Self:
        self._websocket = require("websocket")
        program = require_program(*PROGRAMS)
        self._folder = tempfile.TemporaryDirectory(prefix="chromium", ignore_cleanup_errors=True)
        profile = Path(self._folder.name)
        self._process = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        file = profile / "DevToolsActivePort"
        wait_until(lambda: file.exists() and file.read_text().count("\n") >= 1, "Chromium to start")
        self._port = int(file.read_text().split()[0])
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.terminate()
        self._process.wait(20)
        self._folder.cleanup()

    def open(
        self, address: str, width: int = 1000, height: int = 800, dark: bool = False
    ) -> "Page":
        """Open a page in a new tab."""
        import http.client

        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=LIMIT)
        connection.request("PUT", "/json/new?about:blank")
        socket = json.loads(connection.getresponse().read())["webSocketDebuggerUrl"]
        connection.close()
        page = Page(self._websocket.create_connection(socket, timeout=LONG_LIMIT))
        page.send("Page.bringToFront")
        page.resize(width, height, dark)
        page.go(address)
        return page


class Page:
    """A tab.

    Attributes:
        errors: messages of its console of the level "error", uncaught errors, failed requests.
        requests: the addresses that it asked for.
    """

    def __init__(self, socket: Any) -> None:
        self._socket, self._number = socket, 0
        self.errors: list[str] = []
        self.requests: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: Any) -> Any:
        """Send a command of the protocol, and return its result."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            reply = json.loads(self._socket.recv())
            if reply.get("id") == self._number:
                assert "error" not in reply, reply["error"]
                return reply["result"]
            self._note(reply)

    def _note(self, event: dict[str, Any]) -> None:
        name, values = event.get("method"), event.get("params", {})
        if name == "Runtime.exceptionThrown":
            details = values["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description", details["text"]))
        elif name == "Runtime.consoleAPICalled" and values["type"] in ("error", "assert"):
            self.errors.append(" ".join(str(a.get("value", a)) for a in values["args"]))
        elif name == "Log.entryAdded" and values["entry"]["level"] == "error":
            self.errors.append(f"{values['entry']['text']} {values['entry'].get('url', '')}")
        elif name == "Network.requestWillBeSent":
            self.requests.append(values["request"]["url"])

    def close(self) -> None:
        """Close the tab."""
        self.send("Page.close")
        self._socket.close()

    def go(self, address: str) -> None:
        """Open an address in this tab."""
        self.send("Page.navigate", url=address)
        self.wait("document.readyState === 'complete'")

    def resize(self, width: int, height: int, dark: bool = False, phone: bool = False) -> None:
        """Set the size of the window in CSS pixels, and the colours that the system prefers."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=phone,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])

    def evaluate(self, code: str) -> Any:
        """Return the value of a JavaScript expression, awaited if it is a promise."""
        reply = self.send(
            "Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in reply:
            details = reply["exceptionDetails"]
            raise AssertionError(details.get("exception", {}).get("description", details["text"]))
        return reply["result"].get("value")

    def wait(self, code: str, limit: float = LIMIT) -> None:
        """Wait until a JavaScript expression is true."""
        wait_until(lambda: self._is_true(code), f"{code}; errors: {self.errors}", limit)

    def _is_true(self, code: str) -> bool:
        try:
            return bool(self.evaluate(f"!!({code})"))
        except AssertionError:  # something that is not there yet
            return False

    def click(self, selector: str) -> None:
        """Click the middle of an element, as a mouse does."""
        x, y = self.evaluate(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            " e.scrollIntoView({block: 'center', inline: 'center'});"
            " const r = e.getBoundingClientRect();"
            " return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def press(self, *keys: str) -> None:
        """Press keys by name, such as "ArrowRight" or "Tab"."""
        codes = {"Tab": 9, "Enter": 13, "End": 35, "Home": 36, "ArrowLeft": 37, "ArrowUp": 38,
                 "ArrowRight": 39, "ArrowDown": 40, " ": 32}  # fmt: skip
        for key in keys:
            text = {"Enter": "\r", " ": " "}.get(key)
            more = {"text": text} if text else {}
            for kind in ("keyDown", "keyUp"):
                self.send(
                    "Input.dispatchKeyEvent", type=kind, key=key, code=key,
                    windowsVirtualKeyCode=codes[key], **(more if kind == "keyDown" else {}),
                )  # fmt: skip

    def type(self, text: str) -> None:
        """Type a text where the cursor is."""
        self.send("Input.insertText", text=text)

    def set(self, selector: str, value: Any) -> None:
        """Give a field or a slider a value, as its user does."""
        self.evaluate(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            f" e.value = {json.dumps(value)};"
            " for (const kind of ['input', 'change'])"
            " e.dispatchEvent(new Event(kind, {bubbles: true})); })()"
        )

    def text(self, selector: str) -> str:
        """The visible text of an element."""
        found: str = self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText")
        return found

    def screenshot(self, path: Path, full: bool = True) -> None:
        """Write a picture of the page to a PNG file."""
        data = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=full)["data"]
        path.write_bytes(base64.b64decode(data))


def wait_until(condition: Callable[[], bool], what: str, limit: float = LIMIT) -> None:
    """Wait until a condition is true."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError(f"waited {limit:g} s for {what}")


class _Quiet(SimpleHTTPRequestHandler):
    extensions_map = {  # noqa: RUF012  as in the base class
        **SimpleHTTPRequestHandler.extensions_map, ".mjs": "text/javascript",
        ".js": "text/javascript", ".wasm": "application/wasm",
    }  # fmt: skip

    def send_head(self) -> Any:
        """Send the file, whatever copy the browser has: it compares dates in whole seconds."""
        del self.headers["If-Modified-Since"]
        return super().send_head()

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on the loopback, and give its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
