"""The glass model as a static page, whose model runs in the browser: `tito look --to`."""

import shutil
from pathlib import Path

from ..browser.site import write_runtime
from ..serialization import checkpoint
from ..tinygpt.run import load_model
from .server import PAGE

NAME = "glass"  # the page's folder within the site
MODEL = "tinygpt.safetensors"
_SERVER, _WORKER = (f'<meta name="transport" content="{name}">' for name in ("server", "worker"))


def write(site: Path, model: Path, pyodide: Path | None = None) -> Path:
    """Write the page into a site that any web server can serve, and return its folder.

    A site that is there, such as that of the lessons, keeps its copy of Pyodide and TinyTorch.

    Args:
        site: the site's folder.
        model: a checkpoint, or the folder of a run.
        pyodide: a folder with Pyodide to copy; None for its public CDN.

    Raises:
        CheckpointError, RunError: there is no checkpoint of TinyGPT.
        PyodideError: the folder lacks a file.
        ValueError: `site` holds something else.
    """
    weights, tokenizer = load_model(model)
    if not (site / "site.json").is_file():
        if site.exists() and (not site.is_dir() or any(site.iterdir())):
            raise ValueError(f"{site} holds something else than a site; choose another folder")
        write_runtime(site, pyodide)
    folder = site / NAME
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(PAGE, folder)
    html = (folder / "index.html").read_text(encoding="utf-8")
    (folder / "index.html").write_text(html.replace(_SERVER, _WORKER), encoding="utf-8")
    checkpoint.save(  # without the states of the optimizers: a quarter of a run's file
        folder / MODEL,
        {f"model/{name}": tensor.numpy() for name, tensor in weights.state_dict().items()},
        {"model": weights.config.to_dict(), "tokenizer": tokenizer.to_dict()},
    )
    return folder
