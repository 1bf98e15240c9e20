"""CUDA kernels under sanitizers, on the CPU: no race, no step beyond an array, no overflow."""

import mmap
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from op_checks import draw, run
from op_table import ROWS
from tinytorch.backends import cuda_source

from tinytorch import backends
from tinytorch.autograd import OPS

MANY = 2  # launches of each kernel that are run again
SANITIZERS = {"races": "-fsanitize=thread", "memory": "-fsanitize=address,undefined"}


@pytest.fixture
def stand_in(cupy: str, request: pytest.FixtureRequest) -> Any:
    """The modules of the stand-in; these tests say nothing about a real GPU."""
    if request.config.getoption("--backend"):
        pytest.skip("these tests run kernels on the CPU, through the stand-in for CuPy")
    import cupy as module

    return module


@pytest.fixture
def recorded(stand_in: Any, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Launches of every kernel: of all samples of all ops those with the most, but few, blocks."""
    home = backends.get("cupy")
    launches: list[Any] = []
    monkeypatch.setattr(stand_in.kernels, "records", launches)
    for name in home.kernels:
        for sample in ROWS[name].samples:
            run(OPS[name], draw(sample, "float32"), sample.settings, "cupy")
    kernels = home.xp
    home.xp.random_bits(3, (300,))
    home.sample(home.asarray(np.ones((9, 40), np.float32)), 1.0, np.linspace(0, 0.99, 9))
    monkeypatch.setattr("tinytorch.backends.cupy_kernels.SCAN_LIMIT", 0)
    kernels.scatter_add(5, home.asarray(np.arange(40) % 5), home.asarray(np.ones((40, 33), "f4")))
    few = [r for r in launches if np.prod(r.grid) * np.prod(r.block) <= 2048]
    few.sort(key=lambda r: -np.prod(r.grid))
    names = cuda_source.signatures()
    return [r for name in names for r in [r for r in few if r.kernel.name == name][:MANY]]


def test_every_kernel_is_recorded(recorded: list[Any]) -> None:
    assert {r.kernel.name for r in recorded} == set(cuda_source.signatures())
    assert sum(np.prod(r.grid) > 1 for r in recorded) > len(recorded) / 3, "of several blocks"


@pytest.mark.parametrize("sanitizer", SANITIZERS)
def test_sanitizers_find_nothing(
    sanitizer: str, recorded: list[Any], stand_in: Any, tmp_path: Path
) -> None:
    program, launches = tmp_path / "replay", tmp_path / "launches"
    launches.write_bytes(
        np.uint64(len(recorded)).tobytes() + b"".join(r.encoded() for r in recorded)
    )
    code = cuda_source.source("float32")
    stand_in.kernels.compile_replay(code, program, SANITIZERS[sanitizer])
    done = subprocess.run([program, launches], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
