"""Fixtures for all tests, and the option --backend.

Without the option the cupy backend runs on a stand-in for CuPy, whose kernels a C++ compiler makes
for the CPU: see `fake_cupy`. With ``--backend cupy`` it runs on the real one, and of all tests only
those run that compute on a backend: what a GPU can show, and nothing else.
"""

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinytorch
from tinytorch import backends

FAKE_CUPY = Path(__file__).with_name("fake_cupy")
# What reads a value on the host. array-api-strict lets these pass on a device; a GPU would wait.
HOST_READS = ("__float__", "__int__", "__bool__", "__complex__", "__index__", "__dlpack__")
ON_A_BACKEND = {"backend", "cupy", "cupy_fp32"}  # fixtures of the tests that --backend leaves


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--backend", choices=["cupy", "numpy", "strict"],
        help="run the tests that compute on a backend, on this one only, the real one",
    )  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--backend") is None:
        sys.path.insert(0, str(FAKE_CUPY))  # before any CuPy that is installed


def pytest_report_header(config: pytest.Config) -> str | None:
    name = config.getoption("--backend")
    return None if name is None else f"backend: {backends.status(name) or backends.get(name)}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[Any]) -> None:
    name = config.getoption("--backend")
    if name is None:
        return
    wanted = [item for item in items if ON_A_BACKEND & set(item.fixturenames)]
    config.hook.pytest_deselected(items=[item for item in items if item not in wanted])
    problem = backends.status(name)
    if problem is not None:
        for item in wanted:
            item.add_marker(pytest.mark.skip(reason=problem))
    items[:] = wanted


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The fixture `backend`: the one that was asked for, or each that runs without a GPU."""
    if "backend" in metafunc.fixturenames and not _has_own_backends(metafunc):
        name = metafunc.config.getoption("--backend")
        here = ["numpy", "strict", *(["cupy"] if FAKE_CUPY.is_dir() else [])]  # not in a release
        names = here if name is None else [name]
        metafunc.parametrize("backend", names, indirect=True)


def _has_own_backends(metafunc: pytest.Metafunc) -> bool:
    marks = metafunc.definition.iter_markers("parametrize")
    return any("backend" in str(mark.args[0]) for mark in marks)


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> str:
    """The strict backend's name, with every read of a device's value on the host forbidden."""
    array_type = backends.get("strict").array_type

    def forbidden(name: str) -> Any:
        def read(self: Any, *arguments: Any, **keywords: Any) -> Any:
            raise AssertionError(f"{name} reads a device's array on the host")

        return read

    for name in HOST_READS:
        monkeypatch.setattr(array_type, name, forbidden(name))
    return "strict"


@pytest.fixture
def cupy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The cupy backend's name: on a GPU with --backend cupy, else on the stand-in."""
    asked = request.config.getoption("--backend")
    if asked not in (None, "cupy"):
        pytest.skip(f"a test of the cupy backend, and --backend {asked} was asked for")
    if asked is None and shutil.which("g++") is None:
        pytest.skip("the stand-in for CuPy needs g++ to run kernels on the CPU")
    if asked is None:  # nor must a real cuBLAS be called
        backends.get("cupy")
        from cupy_backends.cuda.libs.cublas import Library

        from tinytorch.backends.cupy import cublas as cupy_cublas

        library = Library()
        cupy_cublas._function.cache_clear()
        monkeypatch.setattr(cupy_cublas, "_library", lambda: library)
    return "cupy"


@pytest.fixture
def fake_cupy(cupy: str, request: pytest.FixtureRequest) -> Any:
    """The module that stands in for CuPy; its tests say nothing about a real GPU."""
    if request.config.getoption("--backend"):
        pytest.skip("a test of kernels on the CPU, through the stand-in for CuPy")
    import cupy as module

    return module


@pytest.fixture
def cupy_fp32(cupy: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The cupy backend with products in full float32, for comparisons with NumPy."""
    backends.get(cupy)
    from tinytorch.backends.cupy import gemm as cupy_products

    monkeypatch.setattr(cupy_products, "matmul_mode", lambda: "fp32")
    return cupy


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> str:
    """Each backend that runs here; on strict no host reads, on cupy no rounded products."""
    if request.param == "strict":
        request.getfixturevalue("strict")
    if request.param == "cupy":
        request.getfixturevalue("cupy_fp32")
    return str(request.param)


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Every test starts from the same random state, whatever ran before it."""
    tinytorch.manual_seed(1234)
    np.random.seed(1234)
