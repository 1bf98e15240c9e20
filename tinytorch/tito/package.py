"""Copies of the package, whole or without fast versions, and whether one can be imported."""

import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from .lesson import PACKAGE, definitions, lines_of
from .process import LIMITS, run

TIMEOUT = 30  # seconds for an import

# What remains of the files with fast versions of exercises.
_NO_KERNELS = '''"""The fast versions of the package's code in NumPy: this copy has none."""

from typing import Any

from ..base import KernelTable

KERNELS = KernelTable()
UPDATES: dict[str, Any] = {}
DECODE_STEP: Any = None
'''
_KEPT_OF_NUMPY = ("__init__.py", "backend.py", "narrow.py", "threads.py")
_FAST_MERGES = ("_LinkedTokens", "_PairCounts", "learn_merges", "apply_merges")

# Imports modules and writes what went wrong to a file: the type, message, file and line.
_IMPORT = (
    LIMITS
    + """
import faulthandler, importlib, json, os, sys, traceback
result, seconds, folder, *modules = sys.argv[1:]
# The finder of an editable install would find a deleted module in the installed checkout.
sys.meta_path[:] = [f for f in sys.meta_path if "tinytorch" not in getattr(f, "__module__", "")]
hang = open(result + ".hang", "w")
faulthandler.dump_traceback_later(float(seconds), exit=True, file=hang)
found = {}
try:
    for module in modules:
        importlib.import_module(module)
except BaseException as error:
    frames = [(f.filename, f.lineno) for f in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError):
        frames.append((error.filename, error.lineno))
    frames = [(f, n) for f, n in frames if f and os.path.abspath(f).startswith(folder)]
    message = error.msg if isinstance(error, SyntaxError) else str(error)
    found = {
        "error": f"{type(error).__name__}: {message}"[:300],
        "place": frames[-1] if frames else None,
        "module": error.name if isinstance(error, ImportError) else None,
    }
with open(result, "w", encoding="utf-8", errors="replace") as file:
    json.dump(found, file)
    file.flush()
    os._exit(0)  # without threads that do not end, and without functions for the exit
"""
)


@dataclass(frozen=True)
class ImportProblem:
    """Why a package cannot be imported.

    Attributes:
        error: type and message.
        file: the file of the package where it occurred, "tinytorch/attention.py", or "".
        line: its number and text, "line 12: x = 1 / 0", or "".
    """

    error: str
    file: str = ""
    line: str = ""

    def __str__(self) -> str:
        return self.error + "".join(f", {part}" for part in (self.file, self.line) if part)


def copy_package(root: Path, folder: Path) -> None:
    """Copy the package of a checkout, or else the installed package, into `folder`.

    The compiled files are copied too, so that importing the copy compiles only what has changed.

    Raises:
        OSError: a file cannot be copied, because the disk is full, for example.
    """
    package = root / PACKAGE
    if not package.is_dir():
        package = Path(__file__).resolve().parents[1]
    # In a checkout tinytorch/backends is a link, or a text file where links are not supported.
    inner, outer = package / "backends", package.parent / "backends"
    its_backends = inner if inner.is_dir() else outer
    # A dangling link can be Emacs' lock of a file with unsaved changes.
    copy = partial(shutil.copytree, ignore_dangling_symlinks=True)
    try:
        copy(package, folder / PACKAGE, ignore=shutil.ignore_patterns("backends"))
        if its_backends.is_dir():
            copy(its_backends, folder / PACKAGE / "backends")
    except shutil.Error as error:  # a list of what cannot be copied
        source, _, reason = error.args[0][0]
        raise OSError(f"{source} cannot be copied to {folder}: {reason}") from None


def without_fast_versions(package: Path) -> None:
    """Remove the kernels of NumPy and fast BPE from a copy of the package.

    They compute the same as exercises, and would run in their place.
    """
    kernels = package / "backends" / "numpy"
    if kernels.is_dir():
        for path in kernels.glob("*.py"):
            if path.name not in _KEPT_OF_NUMPY:
                path.unlink()
        (kernels / "kernels.py").write_text(_NO_KERNELS, encoding="utf-8")
    merges = package / "text" / "fast_bpe.py"
    if merges.is_file():
        lines = lines_of(merges.read_text(encoding="utf-8"))
        found = definitions("\n".join(lines))
        for name in sorted(_FAST_MERGES, key=lambda name: -found[name].start):
            del lines[found[name].start : found[name].stop]
        merges.write_text("\n".join(lines).rstrip("\n") + "\n", encoding="utf-8")


def import_problem(
    root: Path, modules: Iterable[str] = (), timeout: float | None = None
) -> ImportProblem | None:
    """Import the package in `root`, and further modules, in a new process; None if it works."""
    folder, timeout = root.resolve(), timeout or TIMEOUT
    with tempfile.TemporaryDirectory(prefix="tito") as scratch:
        result = Path(scratch, "result")
        command = [sys.executable, "-P", "-c", _IMPORT, str(result), str(timeout)]
        command += [os.path.join(folder, ""), PACKAGE, *modules]
        environment = environment_for(folder) | {"TT_BACKEND": "numpy", "TT_DEBUG": "0"}
        end = time.monotonic() + timeout + 10
        finished = run(command, Path(scratch), environment, lambda: time.monotonic() > end)
        try:
            found = json.loads(result.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # Python ended before it was complete
            found = None
        if found is not None:
            return _problem(folder, **found) if found else None
        hang = Path(f"{result}.hang")
        place = _innermost(hang.read_text(encoding="utf-8") if hang.exists() else "", folder)
    if place or finished.code is None:
        error = f"the import took longer than {timeout:g} seconds (an endless loop?)"
        return _problem(folder, error, place)
    return ImportProblem(f"Python ended during the import, with exit code {finished.code}")


def environment_for(folder: Path) -> dict[str, str]:
    """Return environment variables with which Python imports the package in `folder`."""
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    own = {"PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1"}
    return {**os.environ, **own}


def _innermost(dump: str, folder: Path) -> tuple[str, int] | None:
    """Return file and line of the innermost frame in a dump of faulthandler."""
    for text in dump.splitlines():
        file, _, rest = text.strip().removeprefix('File "').partition('", line ')
        number = rest.split(" ")[0]
        if number.isdecimal() and file.startswith(str(folder)):
            return file, int(number)
    return None


def _problem(
    folder: Path, error: str, place: tuple[str, int] | None, module: str | None = None
) -> ImportProblem:
    """Convert what the process has reported; a file that lacks something is the culprit."""
    if module and module.startswith(f"{PACKAGE}.") and "circular" not in error:
        return ImportProblem(error, module.replace(".", "/") + ".py")
    if place is None:
        return ImportProblem(error)
    file, number = place
    try:
        text = Path(file).read_text(encoding="utf-8").split("\n")[number - 1].strip()
    except (OSError, ValueError, IndexError, TypeError):
        text = ""
    name = os.path.relpath(file, folder).replace(os.sep, "/")
    missing = re.search(r"import name '(\w+)' from (?:partially \w+ module )?'([\w.]+)'", error)
    if missing and text.startswith(("from . import", "from .. import")):
        module = f"{missing[2].replace('.', '/')}/{missing[1]}.py"
        if not (folder / module).exists():  # it was deleted
            return ImportProblem(error, module)
    return ImportProblem(error, name, f"line {number}: {text}")
