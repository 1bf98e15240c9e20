"""The libraries that work with notebooks: imported when needed, with a sentence if missing."""

import importlib
from types import ModuleType


class MissingPackageError(ImportError):
    """A package that notebooks need is not installed."""


def need(name: str) -> ModuleType:
    """The module `name`, or an error that says what to install."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingPackageError(
            f'{name} is missing: pip install -e ".[lessons]" brings all that notebooks need'
        ) from error


def jupytext() -> ModuleType:
    """Reads percent files."""
    return need("jupytext")


def nbformat() -> ModuleType:
    """Reads and writes notebooks."""
    return need("nbformat")


def nbclient() -> ModuleType:
    """Runs notebooks."""
    return need("nbclient")
