"""PyTorch and JAX as array libraries: packages that add a backend by an entry point.

Gradients, views and errors on them are tested by ``pytest --backend torch`` and ``--backend jax``;
here the packages are installed as a user does, and a part of these tests runs.
"""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import require, run_python

from tinytorch import Tensor, backends, zeros
from tinytorch.backends import BackendError, registry
from tinytorch.backends.random_bits import random_bits

TESTS = Path(__file__).parents[1]
PACKAGES = ("torch_backend", "jax_backend")


def need(library: str) -> None:
    if library == "jax" and find_spec("jax") is None:  # 150 MB, which CI does not install
        pytest.skip("jax is not installed")
    require(library)


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with both packages, installed from copies: the build writes into the source."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    folders = [shutil.copytree(TESTS / name, source / name) for name in PACKAGES]
    options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--target", target]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, *folders], check=True, timeout=300
    )
    return str(target)


PROGRAM = """
import json, numpy as np
from tinytorch import GPT, AdamW, CrossEntropyLoss, Tensor, TokenDataset, Trainer, manual_seed

manual_seed(1)
model = GPT(11, 16, 1, 2, max_seq_len=12, dropout=0.1)
blocks = TokenDataset(np.arange(40) % 11, 6)
trainer = Trainer(model, AdamW(model.parameters(), lr=0.05), CrossEntropyLoss(), processes=1)
losses = [trainer.train_step([blocks.random_batch(3)]).item() for _ in "abc"]
x = Tensor([[1.0, 2.0], [3.0, 4.0]])
x[0] += x.T[1]
errors = []
for work in (
    lambda: model(Tensor([[11]])),
    lambda: x[Tensor([2])],
    lambda: x.gather(0, Tensor([[-1, 0]])),
):
    try:
        work()
    except IndexError as error:
        errors.append(str(error))
tokens = model.generate([1, 2], 8, seed=3).tolist()
name = type(x._array).__module__.partition(".")[0]
print(json.dumps([losses, x.tolist(), tokens, errors, x.backend.name, name]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("name", "module"), [("torch", "tinytorch_torch"), ("jax", "jaxlib")])
def test_an_installed_package_trains_a_gpt(name: str, module: str, installed: str) -> None:
    need(name)
    losses, x, tokens, errors, backend, array_module = json.loads(
        run_python(PROGRAM, PYTHONPATH=installed, TT_BACKEND=name)
    )
    expected = json.loads(run_python(PROGRAM, TT_BACKEND="numpy"))
    assert (backend, array_module) == (name, module)
    np.testing.assert_allclose(losses, expected[0], rtol=1e-5)
    assert [x, tokens, errors] == expected[1:4]
    assert len(errors) == 3


@pytest.mark.slow
def test_the_suite_runs_on_pytorch(installed: str) -> None:
    need("torch")
    paths = [installed, *filter(None, [os.environ.get("PYTHONPATH")])]
    names = ["ops/test_ops.py", "01_tensor/test_tensor.py", "13_transformers",
             "backends/test_backends.py", "backends/test_indices.py"]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider",
         "-m", "not slow", "--backend", "torch",
         "-k", "not float64 and not (swiglu and left_number)",
         *[f"tests/{name}" for name in names]],
        cwd=TESTS.parent, capture_output=True, text=True, timeout=600,
        env={**os.environ, "PYTEST_ADDOPTS": "", "PYTHONPATH": os.pathsep.join(paths)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    assert int(done.stdout.splitlines()[-1].split()[0]) > 500


# In this process


@pytest.fixture
def torch_backend(monkeypatch: pytest.MonkeyPatch) -> Any:
    need("torch")
    monkeypatch.syspath_prepend(TESTS / "torch_backend")
    for name in ("_registered", "_loaded"):
        monkeypatch.setattr(registry, name, dict(getattr(registry, name)))
    import tinytorch_torch

    return tinytorch_torch


def test_a_device_of_pytorch_that_is_not_there(
    torch_backend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for device in ("xpu", "mps", "nonsense"):
        monkeypatch.setenv("TT_TORCH_DEVICE", device)
        with pytest.raises(BackendError, match=f"TT_TORCH_DEVICE={device}: "):
            torch_backend.TorchBackend()


def test_tensors_are_moved_to_the_device_of_their_backend(
    torch_backend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a Mac: the device of PyTorch's tensors is faked, as none but "cpu" exists here."""
    backend = torch_backend.TorchBackend()
    backend.device_type, backend.device_index = "mps", 0
    x = Tensor([1.0, 2.0], backend=backend)
    assert str(x.device) == "mps:0"
    assert x.to("mps").backend is backend
    assert x.to("cpu").backend.name == "numpy"
    assert zeros(2, device=x.device).backend is backend
    with pytest.raises(BackendError, match="no backend in use has arrays on 'mps'"):
        zeros(2, device="mps")
    monkeypatch.setenv("TT_BACKEND", "torch")
    monkeypatch.setattr(registry, "_named_by_environment", lambda: backend)
    assert zeros(2, device="mps").backend is backend


def test_dropout_masks_are_computed_with_signed_integers_too() -> None:
    numpy = backends.get("numpy")
    for seed in (0, 1, 2**64 - 1):
        narrow = numpy.xp.random_bits(seed, (50, 3))
        wide = random_bits(numpy.xp, seed, (50, 3), wide=True)
        assert (narrow.dtype, wide.dtype) == ("uint32", "int64")
        np.testing.assert_array_equal(wide, narrow)
