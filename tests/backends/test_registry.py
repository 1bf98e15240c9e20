"""Registering, loading and selecting backends, and the errors of those that cannot run."""

import os
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from helpers import run_python

from tinytorch import backends
from tinytorch.backends import BackendError, registry
from tinytorch.backends.numpy import backend as numpy_backend


@pytest.fixture
def empty_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo what a test registers and loads."""
    for name in ("_registered", "_loaded"):
        monkeypatch.setattr(registry, name, dict(getattr(registry, name)))


class Mine(numpy_backend.NumpyBackend):
    """A third-party backend."""

    name = "mine"

    def __init__(self) -> None:
        super().__init__()
        self.array_type = list  # any type but np.ndarray, which belongs to numpy


def test_names_lists_the_built_in_backends() -> None:
    assert backends.names()[:3] == ["numpy", "cupy", "strict"]
    with pytest.raises(BackendError, match="unknown backend 'nunpy'; available: numpy, cupy, str"):
        backends.get("nunpy")


def test_each_backend_is_loaded_once() -> None:
    loaded = backends.get("numpy")
    assert backends.get("numpy") is loaded is backends.get(loaded)
    assert backends.of(np.zeros(1)) is loaded
    assert backends.status("numpy") is None
    with pytest.raises(BackendError, match="str is not an array of a loaded backend"):
        backends.of("text")


@pytest.mark.usefixtures("empty_registry")
def test_a_registered_backend_is_created_once_at_its_first_use() -> None:
    made: list[Mine] = []

    def factory() -> Mine:
        made.append(Mine())
        return made[-1]

    backends.register("mine", factory)
    assert not made, "created at the first use, not before"
    assert "mine" in backends.names()
    assert backends.get("mine") is backends.get("mine") is made[0]
    for taken in ("mine", "numpy"):
        with pytest.raises(BackendError, match="is already registered"):
            backends.register(taken, Mine)


@pytest.mark.usefixtures("empty_registry")
def test_entry_points_add_backends(monkeypatch: pytest.MonkeyPatch) -> None:
    point = metadata.EntryPoint("other", f"{__name__}:Mine", "tinytorch.backends")
    monkeypatch.setattr(metadata.EntryPoint, "load", lambda self: Mine)
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [point])
    assert "other" in backends.names()
    assert type(backends.get("other")) is Mine


def test_an_installed_package_adds_a_backend(tmp_path: Path) -> None:
    info = tmp_path / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[tinytorch.backends]\ntheirs = theirs:Theirs\n")
    (tmp_path / "theirs.py").write_text(
        "from tinytorch.backends.numpy.backend import NumpyBackend\n"
        "class Theirs(NumpyBackend):\n    name = 'theirs'\n"
    )
    code = "import tinytorch; t = tinytorch.Tensor([1.0]); print((t + t).backend.name, t.tolist())"
    assert run_python(code, PYTHONPATH=str(tmp_path), TT_BACKEND="theirs") == "theirs [1.0]"


def test_a_package_whose_library_is_missing_is_reported(tmp_path: Path) -> None:
    info = tmp_path / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[tinytorch.backends]\ntheirs = theirs:Theirs\n")
    (tmp_path / "theirs.py").write_text("import a_library_that_is_missing\n")
    code = "from tinytorch import backends; print(backends.status('theirs'))"
    status = run_python(code, PYTHONPATH=str(tmp_path))
    assert status.startswith("backend 'theirs' of another package cannot be imported from 'theirs")
    assert status.endswith("No module named 'a_library_that_is_missing'")


DEFAULT = """
from tinytorch import Tensor, backends
try:
    print(Tensor([1.0]).backend.name)
except backends.BackendError as error:
    print("error:", error)
"""


@pytest.mark.parametrize(
    ("value", "output"),
    [
        ("", "numpy"),
        ("numpy", "numpy"),
        ("strict", "strict"),
        ("tpu", "error: unknown backend 'tpu'; available: numpy, cupy, strict"),
    ],
)
def test_tt_backend_selects_the_default(value: str, output: str) -> None:
    assert run_python(DEFAULT, TT_BACKEND=value).startswith(output)


CUPYS = {
    "not installed": ("raise ImportError('No module named cupy')", ["cannot be imported", "pip"]),
    "no GPU": ("is_available = lambda: False", ["finds none here", "nvidia-smi"]),
    "broken": (
        "def is_available(): raise OSError('libcudart.so.12 is missing')",
        ["cannot use the GPU", "OSError: libcudart.so.12 is missing", "nvidia-smi", "pip"],
    ),
    "no kernels": (
        "is_available, float32 = (lambda: True), 'f4'\n"
        "def ones(*a, **k): raise RuntimeError('no nvrtc')",
        ["cannot use the GPU", "RuntimeError: no nvrtc"],
    ),
    "wrong products": (
        "import numpy\nis_available, float32 = (lambda: True), 'f4'\n"
        "ones = lambda *a, **k: numpy.full((2, 2), 3.0)",
        ["computed 2x2 products wrongly"],
    ),
}


@pytest.mark.parametrize(("module", "parts"), CUPYS.values(), ids=CUPYS)
def test_an_unusable_cupy_reports_cause_and_fix(
    module: str, parts: list[str], tmp_path: Path
) -> None:
    (tmp_path / "cupy.py").write_text(module)
    output = run_python(DEFAULT, PYTHONPATH=str(tmp_path), TT_BACKEND="cupy")
    assert output.startswith("error: ")
    for part in [*parts, "cupy", "" if "2x2" in parts[0] else "TT_BACKEND=numpy"]:
        assert part in output


def list_backends(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tinytorch.backends"],
        env={**os.environ, **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_list_of_backends_names_an_unknown_tt_backend() -> None:
    done = list_backends(TT_BACKEND="nothing")
    assert done.returncode == 1
    assert done.stderr == "TT_BACKEND=nothing is not the name of a backend\n"
    assert "numpy      usable" in done.stdout
    assert list_backends(TT_BACKEND="strict").returncode == 0


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
def test_the_list_of_backends_may_be_cut_off() -> None:
    command = f"{shlex.quote(sys.executable)} -m tinytorch.backends | true"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert done.stderr == ""
