"""A library whose arrays are immutable, such as JAX: writes are seen by views, models train.

The expected results are those of the strict backend, which is the same library with writes.
"""

import gc
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from immutable_arrays import ImmutableBackend

import tinytorch
from tinytorch import (
    GPT,
    SGD,
    AdamW,
    CrossEntropyLoss,
    Linear,
    Parameter,
    Sequential,
    Tensor,
    TokenDataset,
    Trainer,
    backends,
    manual_seed,
    nn,
    no_grad,
)
from tinytorch.backends import BackendError

BACKENDS = ("strict", "immutable")

VIEWS: dict[str, Callable[[Tensor], Tensor]] = {
    "itself": lambda x: x,
    "detach": lambda x: x.detach(),
    "data": lambda x: x.data,
    "reshape": lambda x: x.reshape(3, 2),
    "view": lambda x: x.view(-1),
    "flatten of a row": lambda x: x[1].flatten(),
    "T": lambda x: x.T,
    "permute of a slice": lambda x: x[:, 1:].permute(1, 0),
    "row": lambda x: x[0],
    "element": lambda x: x[1, 2],
    "slice": lambda x: x[:, ::2],
    "reversed": lambda x: x[:, ::-1],
    "new axis": lambda x: x[None, 0, ...],
    "unsqueeze": lambda x: x.unsqueeze(1),
    "squeeze": lambda x: x[:1].squeeze(0),
    "split": lambda x: x.split(2, 1)[0],
    "chunk": lambda x: x.chunk(2)[1],
    "unbind": lambda x: x.unbind(1)[2],
    "narrow": lambda x: x.narrow(1, 0, 2),
    "diagonal": lambda x: x.diagonal(),
    "slice of a transpose of a view": lambda x: x.reshape(3, 2).mT[1:, :2].reshape(-1),
}


def _by_view(x: Tensor) -> None:
    x += 1


def _by_data(x: Tensor) -> None:
    x.data -= 2 * x.data


def _out(x: Tensor) -> None:
    tinytorch.add(x, x, out=x)


def _key(x: Tensor) -> None:
    x[...] = x * 3 + 1


def _set_data(x: Tensor) -> None:
    x.data = x.detach() + 7


WRITES: dict[str, Callable[[Tensor], Any]] = {
    "+=": _by_view,
    "x[...] =": _key,
    "data -=": _by_data,
    "data =": _set_data,
    "out=": _out,
    "fill_": lambda x: x.fill_(8),
    "copy_": lambda x: x.copy_(x - 5),
    "mul_": lambda x: x.mul_(2),
    "clamp_": lambda x: x.clamp_(1, 3),
    "masked_fill_": lambda x: x.masked_fill_(x > 2, -1.0),
    "uniform_": lambda x: x.uniform_(generator=None),
}


@pytest.mark.parametrize("view", VIEWS)
def test_a_write_is_seen_by_all_views(view: str) -> None:
    def run(backend: str, write: str, at_view: bool) -> list[Any]:
        manual_seed(3)
        x = Tensor(np.arange(6.0).reshape(2, 3), backend=backend)
        row, y = x[0], VIEWS[view](x)
        again = y[...]
        WRITES[write](y if at_view else x)
        after = x[0]  # made after the write
        return [t.tolist() for t in (x, y, row, again, after)]

    for write in WRITES:
        for at_view in (True, False):
            expected, ours = (run(backend, write, at_view) for backend in BACKENDS)
            assert ours == expected, (write, at_view)


def test_copies_are_not_views() -> None:
    x = Tensor([[0.0, 1, 2], [3, 4, 5]], backend="immutable")
    mask = x > 1
    copies = [x.clone(), x[[0, 1]], x[mask], x + 0, x.to("float32", copy=True), x.flip(0),
              x.contiguous().clone(), x.repeat(1, 1), x.tril(9)]  # fmt: skip
    before = [copy.tolist() for copy in copies]
    x.zero_()
    assert [copy.tolist() for copy in copies] == before
    for copy in copies:
        copy.fill_(9)
    assert x.tolist() == [[0, 0, 0], [0, 0, 0]]


def test_an_expanded_tensor_cannot_be_written_to() -> None:
    x = Tensor([1.0, 2.0], backend="immutable")
    for view in (x.expand(3, 2), x.expand(3, 2)[1:], x[:, None].expand(2, 2).T):
        with pytest.raises(ValueError, match="expanded or read-only tensor cannot be written to"):
            view[0] = 5
    assert x.tolist() == [1, 2]


def test_views_with_gradients_are_updated_as_on_other_backends() -> None:
    def run(backend: str) -> list[Any]:
        w = Parameter([[1.0, 2.0], [3.0, 4.0]], backend=backend)
        y = w * 2
        y[0] *= w[1]
        y.reshape(-1)[3:] += 1
        (y * y).sum().backward()
        assert w.grad is not None
        seen, whole = w.grad[0], w.grad
        (w * w).sum().backward()  # is added to the gradient, which has a view
        with no_grad():
            w -= 0.5 * w.grad
        return [y.tolist(), seen.tolist(), whole.tolist(), w.tolist()]

    assert run("immutable") == run("strict")


def test_backward_still_detects_writes_to_saved_values() -> None:
    x = Parameter([1.0, 2.0], backend="immutable")
    y = (x * x).sum()
    x.data[0] = 5
    with pytest.raises(RuntimeError, match="modified in place"):
        y.backward()


def test_a_state_dict_follows_the_weights_until_they_move() -> None:
    model = Linear(2, 2, backend="immutable")
    state = model.state_dict()
    model.weight.data.fill_(3)
    assert state["weight"].tolist() == [[3, 3], [3, 3]]
    model.to(dtype="float64")
    model.weight.data.fill_(4)
    assert state["weight"].tolist() == [[3, 3], [3, 3]]
    state["weight"].fill_(5)
    assert model.weight.tolist() == [[4, 4], [4, 4]]
    model.to(backend="numpy")
    model.weight.data.fill_(6)
    assert model.weight.tolist() == [[6, 6], [6, 6]]


def test_views_that_are_no_longer_used_are_forgotten() -> None:
    x = Tensor([1.0, 2.0], backend="immutable")
    for _ in range(50):
        x.reshape(2, 1)
    gc.collect()
    assert len(x._version.memory.tensors) == 1
    transposed = Tensor([[1.0, 2.0]], backend="immutable").t_()
    transposed[0] = 7
    assert transposed.tolist() == [[7], [2]]


def test_a_backend_that_does_not_say_that_its_arrays_are_immutable_is_an_error() -> None:
    class Silent(ImmutableBackend):
        name = "silent"
        mutable = True

    x = Tensor([1.0, 2.0], backend=Silent())
    with pytest.raises(BackendError, match=r"'silent' returned a new array.*mutable = False"):
        x[0] = 5
    assert x.tolist() == [1, 2]


@pytest.mark.parametrize("positions", ["learned", "rotary"])
@pytest.mark.parametrize("optimizer", [SGD, AdamW])
def test_a_gpt_starts_trains_and_generates(positions: str, optimizer: Any) -> None:
    def run(backend: str) -> tuple[list[float], dict[str, Any], list[int]]:
        manual_seed(1)
        model = GPT(11, 16, 1, 2, max_seq_len=12, positions=positions, dropout=0.1, backend=backend)
        blocks = TokenDataset(np.arange(40) % 11, 6, backend=backend)
        settings = {"momentum": 0.9} if optimizer is SGD else {}
        trainer = Trainer(
            model,
            optimizer(model.parameters(), lr=0.05, **settings),
            CrossEntropyLoss(),
            grad_clip_norm=1.0,
            processes=1,
        )
        losses = [trainer.train_step([blocks.random_batch(3) for _ in "ab"]).item() for _ in "abc"]
        tokens = model.generate([1, 2], 8, seed=3)
        assert tokens.tolist() == model.generate([1, 2], 8, seed=3, use_cache=False).tolist()
        state = {n: t.tolist() for n, t in model.state_dict().items()}
        return losses, state, tokens.tolist()

    assert run("immutable") == run("strict")


def test_running_statistics_and_convolutions() -> None:
    def run(backend: str) -> list[Any]:
        manual_seed(1)
        model = Sequential(
            nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            Linear(2, 3),
        ).to(backend=backend)  # fmt: skip
        optimizer = SGD(model.parameters(), lr=0.1)
        x = Tensor(np.random.default_rng(0).normal(size=(4, 1, 4, 4)), backend=backend)
        x = x.to("float32")
        for _ in range(2):
            optimizer.zero_grad(set_to_none=False)
            CrossEntropyLoss()(model(x), Tensor([0, 1, 2, 1], backend=backend)).backward()
            optimizer.step()
        model.eval()
        return [model(x).tolist(), {n: t.tolist() for n, t in model.state_dict().items()}]

    assert run("immutable") == run("strict")


@pytest.mark.slow
def test_the_suite_runs_on_immutable_arrays() -> None:
    tests = Path(__file__).parents[1]
    names = ["01_tensor", "06_autograd", "07_optimizers", "11_embeddings", "12_attention"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider",
         "-m", "not slow", "-p", "immutable_arrays", "--backend", "immutable",
         *[str(tests / name) for name in names]],
        cwd=tests.parent, capture_output=True, text=True, timeout=600,
        env={**os.environ, "PYTEST_ADDOPTS": "",
             "PYTHONPATH": os.pathsep.join([str(tests), os.environ.get("PYTHONPATH", "")])},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    assert int(done.stdout.splitlines()[-1].split()[0]) > 300


assert backends.status("immutable") is None
