"""The reference backend: NumPy arrays, and the lessons' own code instead of kernels."""

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import run_python

from tinytorch import (
    GPT,
    AdamW,
    CrossEntropyLoss,
    Muon,
    Tensor,
    Trainer,
    activations,
    backends,
    concat,
    manual_seed,
    where,
)
from tinytorch.autograd import wrap_array
from tinytorch.backends import BackendError, registry
from tinytorch.backends.base import Kernel

TESTS = Path(__file__).parents[1]
LESSONS = sorted(folder.name for folder in TESTS.parent.glob("notebooks/*_*"))


def gpt(backend: str, dropout: float = 0.1) -> GPT:
    manual_seed(3)
    return GPT(13, 16, 2, 2, 8, dropout=dropout, backend=backend)


def batch(step: int, backend: str) -> tuple[Tensor, Tensor]:
    ids = np.random.default_rng(step).integers(0, 13, (4, 9))
    return Tensor(ids[:, :-1], backend=backend), Tensor(ids[:, 1:], backend=backend)


def trainer(backend: str, **settings: Any) -> Trainer:
    model = gpt(backend)
    matrices = [p for p in model.parameters() if p.ndim == 2]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    optimizers = [Muon(matrices, lr=0.01), AdamW(vectors, lr=0.01)]
    return Trainer(model, optimizers, CrossEntropyLoss(), grad_clip_norm=1.0, **settings)


def losses(trained: Trainer, backend: str, steps: range = range(5)) -> list[float]:
    return [trained.train_step([batch(step, backend)]).item() for step in steps]


def test_the_reference_backend_has_no_fast_path() -> None:
    home = backends.get("reference")
    assert home.name == str(home) == "reference"
    assert not home.kernels
    assert home.decode_step is None
    assert home.sample is None


def test_training_equals_that_on_numpy() -> None:
    expected = losses(trainer("numpy"), "numpy")
    assert losses(trainer("reference"), "reference") == pytest.approx(expected, rel=1e-4)


def test_a_changed_op_changes_training_on_the_reference_backend_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Training runs the code that a student has written."""

    def clipped(xp: Any, x: Any) -> Any:
        return xp.clip(x, 0.0, 1.0), (x,)

    def clipped_gradient(xp: Any, g: Any, x: Any) -> Any:
        return g * xp.astype((x > 0) & (x < 1), g.dtype)

    before = {name: losses(trainer(name), name) for name in ("numpy", "reference")}
    monkeypatch.setattr(activations.gelu, "reference", Kernel(clipped, clipped_gradient))
    after = {name: losses(trainer(name), name) for name in ("numpy", "reference")}
    assert after["numpy"] == before["numpy"]
    assert after["reference"] != pytest.approx(before["reference"], rel=1e-3)


def test_processes_compute_the_losses_of_one() -> None:
    expected = losses(trainer("reference"), "reference")
    divided = trainer("reference", processes=2)
    assert losses(divided, "reference") == pytest.approx(expected, rel=1e-4)
    assert divided.model.backend.name == "reference"


@pytest.mark.parametrize(("begin", "end"), [("numpy", "reference"), ("reference", "numpy")])
def test_a_checkpoint_resumes_on_another_backend(begin: str, end: str, tmp_path: Path) -> None:
    whole = losses(trainer(begin), begin, range(6))
    first = trainer(begin)
    losses(first, begin, range(3))
    first.save_checkpoint(tmp_path / "c.safetensors")
    second = trainer(end)
    second.load_checkpoint(tmp_path / "c.safetensors")
    assert losses(second, end, range(3, 6)) == pytest.approx(whole[3:], rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("lesson", LESSONS)
def test_the_tests_of_the_lessons_pass_on_the_reference_backend(lesson: str) -> None:
    """As `tito test` runs them with TT_BACKEND=reference."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider",
         "-k", "not cupy and not strict", str(TESTS / lesson)],
        env={**os.environ, "TT_BACKEND": "reference", "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


# NumPy arrays belong to both backends


def test_numpy_arrays_become_tensors_of_the_default_backend() -> None:
    backends.get("reference")
    array = np.ones(2, np.float32)
    assert Tensor(array).backend.name == "numpy"
    assert (Tensor(array) + array).backend.name == "numpy"
    assert Tensor(array, backend="reference").backend.name == "reference"
    assert (Tensor(array, backend="reference") + array).backend.name == "reference"
    assert (array * Tensor(array, backend="reference")).backend.name == "reference"


CODE = """
import numpy as np
from tinytorch import Tensor, backends
for name in {order}:
    backends.get(name)
print(backends.of(np.zeros(1)).name, Tensor(np.zeros(1)).backend.name)
"""


@pytest.mark.parametrize("order", [["numpy", "reference"], ["reference", "numpy"], ["reference"]])
@pytest.mark.parametrize("default", ["numpy", "reference"])
def test_an_array_belongs_to_the_default_backend_for_any_loading_order(
    default: str, order: list[str]
) -> None:
    assert run_python(CODE.format(order=order), TT_BACKEND=default) == f"{default} {default}"


def test_an_array_belongs_to_the_first_loaded_backend_if_none_is_the_default() -> None:
    code = CODE.format(order=["reference", "numpy"])
    assert run_python(code, TT_BACKEND="strict") == "reference strict"


def test_tensors_move_between_the_backends_by_copies() -> None:
    x = Tensor([1.0, 2.0], requires_grad=True)
    moved = x.to("reference")
    assert (moved.backend.name, moved.requires_grad) == ("reference", True)
    assert moved.tolist() == x.tolist()
    assert not np.shares_memory(moved.numpy(), x.numpy())
    assert moved.to("reference") is moved
    assert Tensor(x, backend="reference").backend.name == "reference"
    assert Tensor(moved).backend.name == "reference"
    model = gpt("numpy").to("reference")
    assert {p.backend.name for p in model.parameters()} == {"reference"}
    assert model(batch(0, "reference")[0]).backend.name == "reference"


def test_mixing_numpy_and_reference_raises_an_error_that_names_both() -> None:
    x, y = Tensor([1.0, 2.0]), Tensor([1.0, 2.0], backend="reference")
    for mixed in (
        lambda: x + y,
        lambda: x @ y,
        lambda: x < y,
        lambda: concat([x, y]),
        lambda: where(x > 0, x, y),
        lambda: gpt("numpy")(batch(0, "reference")[0]),
        lambda: CrossEntropyLoss()(gpt("numpy")(batch(0, "numpy")[0]), batch(0, "reference")[1]),
    ):
        with pytest.raises(BackendError, match=r"'numpy'.*'reference'|'reference'.*'numpy'"):
            mixed()


def test_tensors_of_the_reference_backend_are_read_only_and_keep_it_when_copied() -> None:
    x = Tensor([1.0, 2.0], backend="reference")
    for view in (x.numpy(), np.asarray(x)):
        with pytest.raises(ValueError, match="read-only"):
            view[0] = 5.0
    for copied in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert copied.backend.name == "reference"
    assert repr(x) == "Tensor([1., 2.], backend='reference')"


def test_a_wrapped_array_is_not_copied() -> None:
    home = registry.get("reference")
    array = np.ones(2)
    assert wrap_array(Tensor, array, home)._array is array
