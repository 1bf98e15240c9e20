"""Write what the pages of a site need to run Python: the worker, Pyodide's address, the package."""

import json
import shutil
from pathlib import Path

from . import library, pyodide

STATIC = Path(__file__).parent / "static"


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
    shutil.copytree(STATIC, site / "static", dirs_exist_ok=True)
    (site / "site.json").write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
