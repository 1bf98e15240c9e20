"""`tito site build`: a static site with the lessons and the glass model."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from ..browser import pages
from ..browser.folder import replacing
from ..browser.site import write_runtime, write_service_worker
from ..inspection import site as glass_model
from ..inspection import small_model

MODEL = "model"  # the folder of the glass model; it uses the runtime of the lessons


def build(
    root: Path, to: Path, pyodide: Path | None, model: Path | None, show: Callable[[str], None]
) -> None:
    """Write the site.

    Args:
        root: the checkout with the lessons.
        to: the folder to write; one that was written before is replaced.
        pyodide: a folder with Pyodide, which is copied into the site; None for its public CDN.
        model: the checkpoint of the glass model, or the folder of a run; None for the lessons only.
        show: prints a line.

    Raises:
        ValueError: the folder holds something else, lacks a file of Pyodide, or `model` is no
            checkpoint of TinyGPT.
        MissingPackageError: a package that makes HTML of Markdown is not installed.
    """
    with replacing(to) as folder:
        write_runtime(folder, pyodide)
        if model is not None:
            glass_model.write_page(folder / MODEL, model, runtime="../")
        written = pages.write(root, folder, f"{MODEL}/" if model else "")
        write_service_worker(folder)
    show(f"{to}: {len(written) + bool(model)} pages; any web server can serve this folder")
    show(f"to try it here: python -m http.server --directory {to} --bind 127.0.0.1")


def build_with_own_model(
    root: Path, to: Path, pyodide: Path | None, steps: int, show: Callable[[str], None]
) -> None:
    """Train a small model for `steps` steps, and write the site with it; see `build`."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, glass_model.MODEL)
        show("Training a small model for the glass model; --lessons-only leaves it out")
        show(small_model.train(path, steps, show))
        build(root, to, pyodide, path, show)
