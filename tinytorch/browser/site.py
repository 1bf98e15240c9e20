"""Write what the pages of a site need to run Python: the worker, Pyodide's address, the package.

`write_runtime` first, then the pages, then `write_service_worker`, which names all of them.
"""

import hashlib
import json
import shutil
from pathlib import Path

from . import library, pyodide

STATIC = Path(__file__).parent / "static"
WORKER = "service-worker.js"  # has to be in a folder above the pages that it serves
LARGE = (".safetensors",)  # kept in the browser once a page has used them, not before


def write_runtime(site: Path, folder: Path | None = None) -> None:
    """Write the files with which pages in the folder `site` run Python.

    Args:
        site: the site's folder; it is created.
        folder: a folder with Pyodide, which is copied into the site; None for its public CDN.

    Raises:
        PyodideError: the folder lacks a file.
    """
    site.mkdir(parents=True, exist_ok=True)
    settings = {
        "pyodide": pyodide.settings(folder, site),
        "packages": pyodide.PACKAGES,
        "library": library.write(site),
        "folder": library.FOLDER,
    }
    shutil.copytree(
        STATIC, site / "static", ignore=shutil.ignore_patterns(WORKER), dirs_exist_ok=True
    )
    (site / "site.json").write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")


def write_service_worker(site: Path) -> None:
    """Write the worker that keeps the site's files, with their hashes and a version of all."""
    settings = json.loads((site / "site.json").read_text(encoding="utf-8"))
    is_copy = not settings["pyodide"]["url"].startswith("http")
    files = sorted(
        path.relative_to(site).as_posix()
        for path in site.rglob("*")
        if path.is_file() and not (is_copy and (site / "pyodide") in path.parents)
    )
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.encode() + (site / file).read_bytes())
    hashes = json.dumps(settings["pyodide"]["hashes"]).encode()
    kept = [file for file in files if not file.endswith(LARGE)]
    folders = {file.removesuffix("index.html") or "./": file for file in kept if _is_index(file)}
    addresses = folders | {file: file for file in kept}
    known = {
        "version": digest.hexdigest()[:12],
        "pyodide": f"{pyodide.VERSION}-{hashlib.sha256(hashes).hexdigest()[:8]}",
        "url": settings["pyodide"]["url"],
        "files": {name: pyodide.integrity(site / file) for name, file in addresses.items()},
        "later": [file for file in files if file.endswith(LARGE)],
    }
    code = (STATIC / WORKER).read_text(encoding="utf-8")
    (site / WORKER).write_text(f"const SITE = {json.dumps(known)};\n{code}", encoding="utf-8")


def _is_index(file: str) -> bool:
    return Path(file).name == "index.html"
