"""`tito site build`: a static site with the lessons and the glass model."""

import tempfile
from collections.abc import Callable
from functools import partial
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
    if model is None:
        _build(root, to, pyodide, None, show)
    else:
        _build(root, to, pyodide, partial(glass_model.write_page, model=model, runtime="../"), show)


def build_with_own_model(
    root: Path, to: Path, pyodide: Path | None, steps: int, show: Callable[[str], None]
) -> None:
    """Write the site, and train a small model for it for `steps` steps; see `build`."""

    def write_page(folder: Path) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch, glass_model.MODEL)
            show("Training a small model for the glass model; --lessons-only leaves it out")
            show(small_model.train(path, steps, show))
            glass_model.write_page(folder, path, runtime="../")

    _build(root, to, pyodide, write_page, show)


def _build(
    root: Path,
    to: Path,
    pyodide: Path | None,
    write_model: Callable[[Path], None] | None,
    show: Callable[[str], None],
) -> None:
    with replacing(to) as folder:
        write_runtime(folder, pyodide)
        written = pages.write(root, folder, f"{MODEL}/" if write_model else "")
        if write_model:  # last: training takes minutes, and what can fail has been done
            write_model(folder / MODEL)
        write_service_worker(folder)
    show(f"{to}: {len(written) + bool(write_model)} pages; any web server can serve this folder")
    show(f"to try it here: python -m http.server --directory {to} --bind 127.0.0.1")
