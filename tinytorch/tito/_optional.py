"""Optional dependencies for notebooks: imported on first use, with a helpful error if missing."""

import importlib
from importlib.util import find_spec
from types import ModuleType


class MissingPackageError(ImportError):
    """A package for notebooks is not installed; the message says how to install it."""


def require(name: str, extra: str = "lessons") -> ModuleType:
    """Import the module `name`.

    Raises:
        MissingPackageError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingPackageError(
            f'{name} is missing: install it with pip install -e ".[{extra}]"'
        ) from error


def check(name: str, extra: str = "lessons") -> None:
    """Check that a package is installed that other processes import.

    Raises:
        MissingPackageError: it is not.
    """
    if find_spec(name) is None:
        raise MissingPackageError(f'{name} is missing: install it with pip install -e ".[{extra}]"')


def nbformat() -> ModuleType:
    """Reads and writes notebooks."""
    return require("nbformat")


def nbclient() -> ModuleType:
    """Executes notebooks."""
    return require("nbclient")
