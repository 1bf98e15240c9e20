"""What more than one test file needs."""

import importlib
import os
from importlib import metadata
from types import ModuleType

import pytest


def _missing(what: str) -> None:
    """Skip with a reason on a developer's machine; fail in CI, where nothing may go untested."""
    message = f"{what} is not installed"
    if os.environ.get("CI"):
        pytest.fail(f"{message}, and CI must run every test", pytrace=False)
    pytest.skip(message, allow_module_level=True)


def require(name: str) -> ModuleType:
    """The module `name`; without it the test is skipped, or fails in CI."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        _missing(name)
        raise


def require_distribution(name: str) -> metadata.Distribution:
    """The installed distribution `name`; without it the test is skipped, or fails in CI."""
    try:
        return metadata.distribution(name)
    except metadata.PackageNotFoundError:
        _missing(f"the distribution {name}")
        raise
