"""`tito look`: the glass model, a page that looks into a trained model, on this machine."""

import tempfile
import webbrowser
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def look(path: Path, port: int, open_page: bool, show: Callable[[str], None]) -> None:
    """Serve the page until Ctrl-C.

    Args:
        path: a checkpoint, or the folder of a run.
        port: the port; 0 for a free one.
        open_page: whether to open it in the browser.
        show: prints a line.

    Raises:
        CheckpointError, RunError: the path has no checkpoint of TinyGPT.
        ValueError: the port is taken.
    """
    from ..inspection.server import HOST, Server
    from ..inspection.session import Session

    session = Session(path)
    try:
        server = Server(session, port)
    except (OSError, OverflowError) as error:
        raise ValueError(
            f"cannot listen on {HOST}:{port}: {error}; choose another --port"
        ) from None
    with server:
        show(f"The glass model of {path}: {server.address}")
        show("This address works on this machine only; stop with Ctrl-C.")
        with suppress(KeyboardInterrupt), tempfile.TemporaryDirectory(prefix="tito-look") as folder:
            if open_page:
                show("If the browser finds no file, open the address above.")
                webbrowser.open(_redirect(Path(folder), server.address))
            server.serve_forever()
        show("stopped")


def _redirect(folder: Path, address: str) -> str:
    """Return the address of a file that leads to `address`.

    Every user of the machine can see the arguments with which a browser is started, but only this
    one can read the file, whose folder is private.
    """
    page = folder / "look.html"
    page.write_text(REDIRECT.format(address), encoding="utf-8")
    return page.as_uri()


REDIRECT = """<!doctype html>
<meta charset="utf-8">
<meta name="referrer" content="no-referrer">
<meta http-equiv="refresh" content="0; url={0}">
<title>The glass model</title>
<a href="{0}">The glass model</a>
"""


def write(path: Path, to: Path, pyodide: Path | None, show: Callable[[str], None]) -> None:
    """Write the page and the model into a folder; see `inspection.site.write`."""
    from ..inspection.site import write as write_page

    write_page(to, path, pyodide)
    show(f"{to}: the glass model of {path}; any web server can serve this folder")
    show(f"to try it here: python -m http.server --directory {to} --bind 127.0.0.1")
