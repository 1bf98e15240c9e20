"""Headless Chromium for tests of pages, through its debugging pipe: no driver is needed."""

import base64
import json
import os
import select
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--remote-debugging-pipe",
)  # fmt: skip


class Page:
    """A page of a browser.

    Attributes:
        problems: errors of scripts, failed requests, and what was written to the console as error.
    """

    def __init__(self, program: str, profile: Path, width: int = 1280, height: int = 900) -> None:
        to_browser, self.writer = os.pipe()
        self.reader, from_browser = os.pipe()
        command = [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        shell = f'exec "$@" 3<&{to_browser} 4>&{from_browser}'
        self.process = subprocess.Popen(
            ["bash", "-c", shell, "bash", *command],
            pass_fds=(to_browser, from_browser), stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(to_browser)
        os.close(from_browser)
        self.data, self.number, self.session = b"", 0, ""
        self.problems: list[str] = []
        self.dialogs: list[str] = []
        target = next(
            t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page"
        )
        attached = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.resize(width, height)

    def call(self, method: str, timeout: float = 120, **parameters: Any) -> dict[str, Any]:
        """Call a method of the debugging protocol, and return its result."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.writer, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + timeout
        while True:
            answer = self._receive(end)
            if answer.get("id") == message["id"]:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return dict(answer["result"])

    def _receive(self, end: float) -> dict[str, Any]:
        while b"\0" not in self.data:
            if not select.select([self.reader], [], [], max(0, end - time.monotonic()))[0]:
                raise TimeoutError("the browser does not answer")
            read = os.read(self.reader, 2**16)
            if not read:
                raise RuntimeError("the browser has ended")
            self.data += read
        text, _, self.data = self.data.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, event: str, values: dict[str, Any]) -> None:
        if event == "Runtime.exceptionThrown":
            details = values["exceptionDetails"]
            self.problems.append(str(details.get("exception", {}).get("description", details)))
        elif event == "Runtime.consoleAPICalled" and values["type"] in ("error", "assert"):
            self.problems.append(
                str([a.get("value", a.get("description")) for a in values["args"]])
            )
        elif event == "Log.entryAdded" and values["entry"]["level"] == "error":
            self.problems.append(f"{values['entry']['text']} {values['entry'].get('url', '')}")
        elif event == "Page.javascriptDialogOpening":
            self.dialogs.append(values["message"])
            self.number += 1
            answer = {"id": self.number, "method": "Page.handleJavaScriptDialog",
                      "params": {"accept": True}, "sessionId": self.session}  # fmt: skip
            os.write(self.writer, json.dumps(answer).encode() + b"\0")

    def open(self, address: str) -> None:
        """Open an address, and wait until its scripts have run."""
        self.call("Page.navigate", url=address)
        self.wait("document.readyState === 'complete'")

    def evaluate(self, expression: str, timeout: float = 120) -> Any:
        """Return the value of an expression of JavaScript, also that of a promise."""
        result = self.call(
            "Runtime.evaluate", timeout, expression=expression, awaitPromise=True,
            returnByValue=True, userGesture=True,
        )  # fmt: skip
        if "exceptionDetails" in result:
            raise RuntimeError(result["exceptionDetails"]["exception"].get("description"))
        return result["result"].get("value")

    def wait(self, condition: str, timeout: float = 300) -> None:
        """Wait until an expression of JavaScript is true."""
        end = time.monotonic() + timeout
        while True:
            try:
                if self.evaluate(condition):
                    return
            except RuntimeError:  # the page is being replaced
                pass
            if time.monotonic() > end:
                raise TimeoutError(f"not true after {timeout:g} s: {condition}; {self.problems}")
            time.sleep(0.1)

    def resize(self, width: int, height: int = 900, dark: bool = False) -> None:
        """Set the size of the page, and its colours."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
            mobile=width < 600,
        )  # fmt: skip
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=scheme)

    def screenshot(self, path: Path) -> None:
        """Write a picture of what is visible, as PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def close(self) -> None:
        """End the browser."""
        self.session = ""
        try:
            self.call("Browser.close", 10)
            self.process.wait(10)
        except (OSError, RuntimeError, TimeoutError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        os.close(self.reader)
        os.close(self.writer)


class _Quiet(SimpleHTTPRequestHandler):
    extensions_map = {  # noqa: RUF012  as in the base class
        **SimpleHTTPRequestHandler.extensions_map, ".mjs": "text/javascript",
        ".js": "text/javascript", ".wasm": "application/wasm",
    }  # fmt: skip

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
