"""Pyodide: the version that pages load, its hashes, and how its files become part of a site."""

import base64
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

VERSION = "0.27.7"
CDN = f"https://cdn.jsdelivr.net/pyodide/v{VERSION}/full/"
CORE = ("pyodide.mjs", "pyodide.asm.js", "pyodide.asm.wasm", "python_stdlib.zip")
LOCK = "pyodide-lock.json"  # Pyodide's list of its packages, with their hashes

PACKAGES = ("numpy",)  # loaded at the start
# Loaded when code imports them, or when a page asks for it: OpenBLAS has 6 MB.
ON_DEMAND = ("matplotlib", "openblas")

# Of version 0.27.7, as the project publishes it.
HASHES = {
    "pyodide.mjs": "sha256-BMBSyBWrsL8pgfo4wt+ljjEg7lKIyVbfKyoV4wF4LF8=",
    "pyodide.asm.js": "sha256-a0yQ3ltxcoc/BPIYhNDp0idOMF/jIRZVj+Pk++NhjVE=",
    "pyodide.asm.wasm": "sha256-pQ3RhD+AWgt8RbYQN+4Neybf6F7+DhjvlaNK0k5AH18=",
    "python_stdlib.zip": "sha256-FmEVNHJuXYrCvY+SZBCy3LjW9JqiSRNGNTO0V6IRXBY=",
    LOCK: "sha256-nEW5FgAadQ9BAvwodJTz6rIVkJx1NcYmog24D9YzPiw=",
}


class PyodideError(ValueError):
    """A folder does not hold what a site needs of Pyodide; the message says what is missing."""


def settings(folder: Path | None, site: Path) -> dict[str, Any]:
    """Return what a page has to know: where Pyodide is, and the hashes of its files.

    Args:
        folder: a folder with Pyodide, whose files are copied into the site; None for the CDN.
        site: the site's folder.

    Raises:
        PyodideError: the folder lacks a file.
    """
    if folder is None:
        return {"url": CDN, "hashes": HASHES}
    names = [*CORE, LOCK, *_packages(folder)]
    for name in names:
        if not (folder / name).is_file():
            raise PyodideError(f"{folder} is not Pyodide {VERSION} with its packages: no {name}")
    target = site / "pyodide"
    target.mkdir(parents=True, exist_ok=True)
    for name in names:
        shutil.copyfile(folder / name, target / name)
    return {"url": "pyodide/", "hashes": {n: integrity(folder / n) for n in (*CORE, LOCK)}}


def _packages(folder: Path) -> list[str]:
    """Return the files of the packages to copy: those needed, and on demand those that are there.

    Raises:
        PyodideError: there is no list of packages, or it is of another version.
    """
    try:
        lock = json.loads((folder / LOCK).read_text(encoding="utf-8"))
        version, known = lock["info"]["version"], lock["packages"]
    except (OSError, ValueError, KeyError, TypeError):
        raise PyodideError(f"{folder} is not Pyodide {VERSION}: it has no {LOCK}") from None
    if version != VERSION:
        raise PyodideError(f"{folder} is Pyodide {version}; the site needs {VERSION}")
    missing = [name for name in PACKAGES if name not in known]
    if missing:
        raise PyodideError(f"{folder} lacks the package {missing[0]}")
    waiting, files = [*PACKAGES, *(n for n in ON_DEMAND if n in known)], {}
    while waiting:
        name = waiting.pop()
        if name not in files:
            files[name] = known[name]["file_name"]
            waiting += known[name]["depends"]
    return sorted(files.values())


def integrity(path: Path) -> str:
    """Return the hash of a file as `fetch` takes it."""
    digest = hashlib.sha256(path.read_bytes()).digest()
    return "sha256-" + base64.b64encode(digest).decode()
