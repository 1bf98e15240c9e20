"""Fixtures for all tests, and the option --backend. CONTRIBUTING.md has a table of the fixtures.

Without the option the cupy backend runs on a fake CuPy, which compiles CUDA kernels with g++ and
runs them on the CPU: see `fake_cupy`. With ``--backend NAME`` only the tests that compute on a
backend run, on that one: ``--backend cupy`` on a real GPU, or the name of a backend that another
package registers.
"""

import importlib
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinytorch
from tinytorch import backends

FAKE_CUPY = Path(__file__).with_name("fake_cupy")
# What coverage traces. A course or a release has this file alone.
TRACING = Path(__file__).with_name("tracing.py")
tracing = importlib.import_module("tracing") if TRACING.is_file() else None
# Methods that read a value on the host. array-api-strict allows them on a device; a GPU would wait.
HOST_READS = ("__float__", "__int__", "__bool__", "__complex__", "__index__", "__dlpack__")
# Variables that pytest, scikit-learn and PyTorch set.
BY_LIBRARIES = ("PYTEST_", "KMP_", "TORCHINDUCTOR_", "_TORCHINDUCTOR_")
GPUS = ["90"]  # capabilities of the devices of the fake CuPy
BUILT_IN = ("numpy", "strict", "cupy")  # the backends of the fixture `backend`


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--backend",
        metavar="NAME",
        help="run only the tests of a backend, on the backend NAME (cupy: on a real GPU)",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "nightly: takes minutes; run by -m nightly only")
    config.addinivalue_line("markers", "slow: takes seconds; deselected by -m 'not slow'")
    config.addinivalue_line("markers", "xdist_group(name): one process, with --dist loadgroup")
    config.addinivalue_line("markers", "slow_on(backend): slow with this value of `backend`")
    _measure_coverage_once(config)
    # Without --cov the tracer may be a debugger's.
    if tracing is not None and getattr(config.option, "cov_source", None):
        config.pluginmanager.register(tracing.Tracing(), "tracing")
    name = config.getoption("--backend")
    if name is None:
        sys.path.insert(0, str(FAKE_CUPY))  # before any CuPy that is installed
    elif name not in backends.names():
        known = ", ".join(backends.names())
        raise pytest.UsageError(f"unknown backend {name!r} for --backend; available: {known}")


def _measure_coverage_once(config: pytest.Config) -> None:
    """Stop what pytest-cov measures for the first process in one that pytest-xdist has started.

    pytest-cov begins to measure there once more, and every line would be traced twice.
    """
    plugin = config.pluginmanager.get_plugin("_cov")
    if hasattr(config, "workerinput") and getattr(plugin, "cov_controller", None) is not None:
        plugin.cov_controller.cov.stop()


def pytest_report_header(config: pytest.Config) -> list[str]:
    name = config.getoption("--backend")
    lines = [f"tinytorch: {Path(tinytorch.__file__).parent}"]
    if name is not None:
        lines.append(f"backend: {backends.status(name) or backends.get(name)}")
    return lines


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[Any]) -> None:
    """With --backend, keep the tests of that backend; skip them if it cannot be used here."""
    if tracing is not None:
        tracing.choose(items)
    _keep_fast_tests_of_a_file_together(items)
    name = config.getoption("--backend")
    if name is None:
        return
    kept = [item for item in items if _computes_on(item, name)]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    problem = backends.status(name)
    if problem is not None:
        for item in kept:
            item.add_marker(pytest.mark.skip(reason=problem))
    items[:] = kept


def _keep_fast_tests_of_a_file_together(items: list[Any]) -> None:
    """With each of 25,000 tests a group, pytest-xdist's own work takes half a processor."""
    for item in items:
        if not (item.get_closest_marker("slow") or item.get_closest_marker("xdist_group")):
            item.add_marker(pytest.mark.xdist_group(item.path.as_posix()))


def _computes_on(item: Any, name: str) -> bool:
    callspec = getattr(item, "callspec", None)
    if callspec is not None and callspec.params.get("backend") == name:
        return True
    return name == "cupy" and bool({"cupy", "cupy_fp32"} & set(item.fixturenames))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize the fixture `backend`: the --backend, or each one that runs without a GPU."""
    if "backend" in metafunc.fixturenames and not _has_own_backends(metafunc):
        name = metafunc.config.getoption("--backend")
        here = [n for n in BUILT_IN if n != "cupy" or FAKE_CUPY.is_dir()]  # not in a release
        slow = [mark.args[0] for mark in metafunc.definition.iter_markers("slow_on")]
        names = [
            pytest.param(n, marks=pytest.mark.slow if n in slow else ())
            for n in (here if name is None else [name])
        ]
        metafunc.parametrize("backend", names, indirect=True)


def _has_own_backends(metafunc: pytest.Metafunc) -> bool:
    marks = metafunc.definition.iter_markers("parametrize")
    return any("backend" in str(mark.args[0]) for mark in marks)


@pytest.fixture(autouse=True)
def process_is_unchanged() -> Iterator[None]:
    """A variable that a test leaves behind would reach the programs that later tests start; an
    open figure, the notebooks that later tests run in this process; another fake GPU, all tests
    on it."""
    before = dict(os.environ)
    yield
    left = []
    runtime = sys.modules.get("cupy.cuda.runtime")
    if getattr(runtime, "capabilities", GPUS) != GPUS:
        runtime.capabilities = list(GPUS)  # type: ignore[union-attr]
        left.append("other GPUs")
    pyplot = sys.modules.get("matplotlib.pyplot")
    figures = pyplot.get_fignums() if pyplot is not None else []
    if figures:
        pyplot.close("all")  # the tests that follow have not left them
    after = dict(os.environ)
    changed = {n for n in before.keys() | after.keys() if before.get(n) != after.get(n)}
    changed = {n for n in changed if not n.startswith(BY_LIBRARIES)}
    left += [f"{len(figures)} figures open"] if figures else []
    left += [f"{name} changed" for name in sorted(changed)]
    assert not left, f"the test leaves {', '.join(left)}"


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of the strict backend; reading a value on the host raises an AssertionError."""
    array_type = backends.get("strict").array_type

    def forbidden(name: str) -> Any:
        def read(self: Any, *arguments: Any, **keywords: Any) -> Any:
            raise AssertionError(f"{name} reads a device array on the host")

        return read

    for name in HOST_READS:
        monkeypatch.setattr(array_type, name, forbidden(name))
    return "strict"


@pytest.fixture
def cupy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of the cupy backend: a GPU with --backend cupy, otherwise the fake CuPy."""
    asked = request.config.getoption("--backend")
    if asked not in (None, "cupy"):
        pytest.skip(f"a test of the cupy backend, not of --backend {asked}")
    if asked is None and shutil.which("g++") is None:
        pytest.skip("the fake CuPy needs g++ to run kernels on the CPU")
    if asked is None:  # replace cuBLAS too
        backends.get("cupy")
        from cupy_backends.cuda.libs.cublas import Library

        from tinytorch.backends.cupy import cublas

        library = Library()
        cublas._function.cache_clear()
        monkeypatch.setattr(cublas, "_handles", cublas._Handles())
        monkeypatch.setattr(cublas, "_library", lambda: library)
    return "cupy"


@pytest.fixture
def hangup() -> Iterator[None]:
    """SIGHUP is not ignored, as it is where `nohup` runs the tests."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL) if hasattr(signal, "SIGHUP") else None
    yield
    if before is not None:
        signal.signal(signal.SIGHUP, before)


@pytest.fixture
def fake_cupy(cupy: str, request: pytest.FixtureRequest) -> Any:
    """The fake CuPy module, for tests of what only it can observe, such as launches."""
    if request.config.getoption("--backend"):
        pytest.skip("a test of CUDA kernels on the CPU, through the fake CuPy")
    import cupy as module

    return module


@pytest.fixture
def matmul_mode(cupy: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """A function that sets the precision of the cupy backend's products, and returns its name."""
    backends.get(cupy)
    from tinytorch.backends.cupy import gemm

    def choose(mode: str) -> str:
        monkeypatch.setattr(gemm, "matmul_mode", lambda: mode)
        return cupy

    return choose


@pytest.fixture
def cupy_fp32(matmul_mode: Callable[[str], str]) -> str:
    """Name of the cupy backend with matrix products in full float32, to compare with NumPy."""
    return matmul_mode("fp32")


@pytest.fixture
def tf32(matmul_mode: Callable[[str], str]) -> str:
    """Name of the cupy backend with products in TF32, which its attention kernels need."""
    return matmul_mode("tf32")


@pytest.fixture
def bf16(matmul_mode: Callable[[str], str]) -> str:
    """Name of the cupy backend with products in bfloat16, and so mixed precision."""
    return matmul_mode("bf16")


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> str:
    """Name of each backend in turn: strict forbids host reads, cupy multiplies in full float32."""
    if request.param == "strict":
        request.getfixturevalue("strict")
    if request.param == "cupy":
        request.getfixturevalue("cupy_fp32")
    return str(request.param)


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Start every test from the same random state."""
    tinytorch.manual_seed(1234)
    np.random.seed(1234)
