"""The glass model as a static page, whose model runs in the browser: `tito look --to`."""

import shutil
import tempfile
from pathlib import Path

from ..browser.site import write_runtime
from ..serialization import checkpoint
from ..tinygpt.run import load_model
from .server import PAGE

MODEL = "tinygpt.safetensors"
_SERVER, _WORKER = (f'<meta name="transport" content="{name}">' for name in ("server", "worker"))


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
    weights, tokenizer = load_model(model)
    if to.exists() and not (to.is_dir() and (not any(to.iterdir()) or _is_ours(to))):
        raise ValueError(f"{to} holds something else; choose another folder")
    to.parent.mkdir(parents=True, exist_ok=True)
    # Complete or absent: it is renamed when it is complete.
    with tempfile.TemporaryDirectory(prefix=f".{to.name}", dir=to.parent) as scratch:
        folder = Path(scratch, to.name)
        write_runtime(folder, pyodide)
        shutil.copytree(PAGE, folder, dirs_exist_ok=True)
        html = (folder / "index.html").read_text(encoding="utf-8")
        (folder / "index.html").write_text(html.replace(_SERVER, _WORKER), encoding="utf-8")
        checkpoint.save(  # without the states of the optimizers: a quarter of a run's file
            folder / MODEL,
            {f"model/{name}": tensor.numpy() for name, tensor in weights.state_dict().items()},
            {"model": weights.config.to_dict(), "tokenizer": tokenizer.to_dict()},
        )
        if to.is_dir():
            shutil.rmtree(to)
        folder.rename(to)


def _is_ours(folder: Path) -> bool:
    return (folder / "site.json").is_file() and (folder / MODEL).is_file()
