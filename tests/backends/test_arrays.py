"""The protocols `Array` and `Namespace`: mypy checks against them, and backends implement them."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest
from helpers import require

from tinytorch import backends
from tinytorch.backends import Backend
from tinytorch.backends.arrays import Array, Extras, Namespace

HEAD = """\
from typing import Any
import numpy as np
from backends.arrays import Array, Namespace
"""
ACCEPTED = """\
def f(xp: Namespace, x: Array, y: Array) -> Array:
    z = 2 * x[..., 0] @ y - xp.sum(x, axis=-1, keepdims=True) / x.shape[0]
    z += xp.where(x >= 0, x, xp.zeros_like(x))
    return xp.exp(-z) * xp.astype(x == y, x.dtype)
def of_numpy(x: np.ndarray[Any, Any]) -> Array: return x
"""
REJECTED = {
    "attribute": "def f(x: Array) -> Any: return x.shapee",
    "method": "def f(x: Array) -> Any: return x.sum()",
    "function": "def f(xp: Namespace, x: Array) -> Any: return xp.expp(x)",
    "keyword": "def f(xp: Namespace, x: Array) -> Any: return xp.sum(x, axes=0)",
    "shape": "def f(x: Array) -> str: return x.shape[0]",
}


@pytest.fixture(scope="module")
def mypy(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """A function that returns what `mypy --strict` reports for a piece of code."""
    require("mypy")
    folder = tmp_path_factory.mktemp("types")
    root = Path(backends.__file__).resolve().parents[1]

    def check(code: str) -> str:
        (folder / "snippet.py").write_text(HEAD + code, encoding="utf-8")
        command = [sys.executable, "-m", "mypy", "--strict", "snippet.py"]
        environment = {**os.environ, "MYPYPATH": str(root)}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        return done.stdout + done.stderr

    return check


@pytest.mark.slow
def test_mypy_accepts_code_that_follows_the_standard(mypy: Callable[[str], str]) -> None:
    assert "Success" in mypy(ACCEPTED)


@pytest.mark.parametrize("kind", REJECTED)
def test_mypy_rejects_a_wrong_name_or_type(mypy: Callable[[str], str], kind: str) -> None:
    report = mypy(REJECTED[kind])
    assert "snippet.py:4: error" in report
    assert "Found 1 error" in report


class Empty(Protocol):
    """A protocol without members, to exclude the attributes that all protocols have."""


def members(protocol: type) -> set[str]:
    """The names that a protocol and its bases declare."""
    bases = protocol.__mro__[: protocol.__mro__.index(Protocol)]  # type: ignore[arg-type]
    names = {n for c in bases for n in (*vars(c), *vars(c).get("__annotations__", {}))}
    return names - {*vars(Empty), "__hash__", "__annotations__"}


@pytest.mark.parametrize("name", ["numpy", "strict"])
def test_backends_have_every_member_of_the_protocols(name: str) -> None:
    backend: Backend = backends.get(name)
    array: Any = backend.asarray([[1.0]])
    assert members(Extras) == set(Backend.EXTRAS)
    assert {"exp", "reshape", "float32", *Backend.EXTRAS} <= members(Namespace)
    assert {"shape", "__add__"} <= members(Array)
    assert [n for n in members(Namespace) if not hasattr(backend.xp, n)] == []
    assert [n for n in members(Array) if not hasattr(array, n)] == []
