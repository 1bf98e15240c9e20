"""The glass model as static pages, whose model runs in the browser."""

import shutil
from pathlib import Path

from ..browser.folder import replacing
from ..browser.site import write_runtime, write_service_worker
from ..tinygpt.run import read_model
from .server import PAGE
from .subject import save_weights, training_of

MODEL = "tinygpt.safetensors"
_SERVER = '<meta name="transport" content="server">'
_WORKER = '<meta name="transport" content="worker" data-runtime="{}">'


def write(to: Path, model: Path, pyodide: Path | None = None) -> None:
    """Write a folder that any web server can serve; one that was written before is replaced.

    Args:
        to: the folder.
        model: a checkpoint, or the folder of a run.
        pyodide: a folder with Pyodide to copy; None for its public CDN.

    Raises:
        CheckpointError, RunError: there is no checkpoint of TinyGPT.
        PyodideError: the folder lacks a file.
        ValueError: `to` holds something else.
    """
    with replacing(to) as folder:
        write_runtime(folder, pyodide)
        write_page(folder, model)
        write_service_worker(folder)


def write_page(folder: Path, model: Path, runtime: str = "./") -> None:
    """Write the page and its model into a folder of a site.

    Args:
        folder: the folder; it is created.
        model: a checkpoint, or the folder of a run.
        runtime: where `write_runtime` has written, as an address relative to the page.

    Raises:
        CheckpointError, RunError: there is no checkpoint of TinyGPT.
    """
    weights, tokenizer, metadata = read_model(model)
    shutil.copytree(PAGE, folder, dirs_exist_ok=True)
    html = (folder / "index.html").read_text(encoding="utf-8")
    html = html.replace(_SERVER, _WORKER.format(runtime))
    (folder / "index.html").write_text(html, encoding="utf-8")
    save_weights(folder / MODEL, weights, tokenizer, training_of(metadata))
