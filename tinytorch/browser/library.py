"""The package as one archive for Pyodide: tinytorch, array-api-compat, and stand-ins.

A stand-in is a module with the part of a compiled package that TinyTorch uses, in Python; Pyodide's
own package goes first where it has one.
"""

import hashlib
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import array_api_compat

PACKAGE = Path(__file__).resolve().parents[1]
STANDINS = Path(__file__).parent / "standins"
FOLDER = "/lib/tinytorch"  # in Pyodide's file system
_LEFT_OUT = ("browser/static/", "browser/standins/", "tito/grading/", "backends/cupy/cuda/")


def write(site: Path) -> str:
    """Write the archive into a site, and return its name, which contains a hash of its contents."""
    data = archive()
    name = f"tinytorch-{hashlib.sha256(data).hexdigest()[:12]}.zip"
    (site / name).write_bytes(data)
    return name


def archive() -> bytes:
    """Return the archive: the same bytes for the same files."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
        for name, path in sorted(_files()):
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            file.writestr(entry, path.read_bytes())
    return stream.getvalue()


def _files() -> Iterator[tuple[str, Path]]:
    """Each file of the archive: its name there, and where it is."""
    yield from _python(PACKAGE, "tinytorch")
    backends = PACKAGE / "backends"  # a link, which `rglob` does not follow
    if backends.is_symlink() or not backends.is_dir():
        yield from _python(PACKAGE.parent / "backends", "tinytorch/backends")
    yield from _python(Path(array_api_compat.__file__).parent, "array_api_compat")
    yield from _python(STANDINS, "")


def _python(folder: Path, name: str) -> Iterator[tuple[str, Path]]:
    for path in folder.rglob("*.py"):
        inner = path.relative_to(folder).as_posix()
        is_own = folder == PACKAGE and inner.startswith(_LEFT_OUT)
        if not is_own and (folder, inner) != (STANDINS, "__init__.py"):
            yield f"{name}/{inner}".lstrip("/"), path
