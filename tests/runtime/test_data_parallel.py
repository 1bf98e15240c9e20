"""Data-parallel processes compute the gradients of one process, and end when unused."""

import os
import signal
import subprocess
import sys
import time
import weakref
from typing import Any

import numpy as np
import pytest

from tinytorch import (
    SGD,
    AdamW,
    CrossEntropyLoss,
    Dropout,
    Linear,
    Module,
    MSELoss,
    Sequential,
    Tensor,
    Trainer,
    manual_seed,
)
from tinytorch.ops.random import generator
from tinytorch.runtime import data_parallel as parallel
from tinytorch.runtime.data_parallel import DataParallel
from tinytorch.training import accumulate_gradients

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="processes share arrays by fork, safe on Linux"
)


def model_and_batch(rows: int = 6, drop: float = 0.0) -> tuple[Module, Tensor, Tensor]:
    manual_seed(0)
    model = Sequential(Linear(5, 7), Dropout(drop), Linear(7, 3))
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((rows, 5)).astype(np.float32), rng.integers(0, 3, rows)
    return model, Tensor(x), Tensor(y)


def found(model: Module) -> list[Any]:
    return [None if p.grad is None else p.grad.numpy().copy() for p in model.parameters()]


@pytest.mark.parametrize("rows", [1, 2, 5, 6])
@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("drop", [0.0, 0.5])
def test_gradients_equal_those_of_one_process(rows: int, count: int, drop: float) -> None:
    model, x, y = model_and_batch(rows, drop)
    model.train()
    loss_fn = CrossEntropyLoss()
    manual_seed(3)
    expected_loss = accumulate_gradients(model, loss_fn, x, y, 0.5).item()
    expected = found(model)
    model.zero_grad()
    manual_seed(3)
    replicas = DataParallel(model, loss_fn, count)
    loss = replicas.backward(x, y, 0.5)
    replicas.close()
    assert loss.item() == pytest.approx(expected_loss, rel=1e-6)
    assert not loss.requires_grad
    for mine, one in zip(found(model), expected, strict=True):
        np.testing.assert_allclose(mine, one, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("room", [1, 256])  # bytes; the weights take 192, 64, 128 and 64
def test_gradients_that_need_several_buckets(room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "BUCKET_BYTES", room)
    model, x, y = model_and_batch()
    accumulate_gradients(model, CrossEntropyLoss(), x, y, 1.0)
    expected = found(model)
    replicas = DataParallel(model, CrossEntropyLoss(), 3)
    assert len(replicas.buckets[0]) > 1
    for _ in range(3):
        model.zero_grad()
        replicas.backward(x, y)
        for mine, one in zip(found(model), expected, strict=True):
            np.testing.assert_allclose(mine, one, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("optimizer", [AdamW, SGD])  # in place, and with new arrays
def test_training_equals_that_of_one_process(optimizer: Any) -> None:
    losses = {}
    for processes in (1, 2):
        model, x, y = model_and_batch(8, drop=0.3)
        trainer = Trainer(model, optimizer(model.parameters(), lr=0.05), CrossEntropyLoss(),
                          grad_clip_norm=1.0, processes=processes)  # fmt: skip
        batches = [(x[:5], y[:5]), (x[5:], y[5:])]
        losses[processes] = []
        for _ in range(20):
            generator().random()  # as drawing a batch does, in the parent process only
            losses[processes].append(trainer.train_step(batches).item())
    assert losses[1][-1] < losses[1][0] - 0.1
    assert losses[2] == pytest.approx(losses[1], rel=1e-4)


def test_new_weights_frozen_parameters_and_another_loss_are_detected() -> None:
    runs = []
    for processes in (1, 2):
        model, x, _ = model_and_batch(4)
        trainer = Trainer(model, SGD(model.parameters(), lr=0.1), MSELoss(), processes=processes)
        y = Tensor(np.ones((4, 3), np.float32))
        seen = [trainer.train_step([(x, y)]).item()]
        weights = {n: np.full_like(a, 0.1) for n, a in model.state_dict().items()}
        model.load_state_dict(weights)
        seen.append(trainer.train_step([(x, y)]).item())
        model.parameters()[0].requires_grad_(False)
        seen += [trainer.train_step([(x, y)]).item() for _ in range(2)]
        model.parameters()[0].requires_grad_(True)
        seen += [trainer.train_step([(x, y)]).item() for _ in range(2)]
        trainer.loss_fn = lambda p, t: ((p - t) ** 2).mean() * 3
        seen.append(trainer.train_step([(x, y)]).item())
        runs.append(seen)
    assert runs[1] == pytest.approx(runs[0], rel=1e-5)


class TwoHeads(Module):
    """The second head is used only by rows whose first number is large."""

    def __init__(self) -> None:
        self.first, self.second = Linear(2, 1), Linear(2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(x) if float(x.max()) > 100 else self.first(x)


def test_a_parameter_that_only_a_replica_uses() -> None:
    manual_seed(0)
    model = TwoHeads()
    x, y = Tensor([[1.0, 2.0], [200.0, 1.0]]), Tensor([[0.0], [0.0]])
    replicas = DataParallel(model, MSELoss(), 2)
    replicas.backward(x[::-1], y)  # leaves a gradient of the first head in shared memory
    model.zero_grad()
    replicas.backward(x, y)
    replicas.close()
    of_both = [found(model.first), found(model.second)]
    heads = ((slice(0, 1), model.first), (slice(1, 2), model.second))
    for mine, (rows, head) in zip(of_both, heads, strict=True):
        model.zero_grad()
        accumulate_gradients(model, MSELoss(), x[rows], y[rows], 0.5)
        for one, other in zip(mine, found(head), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6)


class CountsOldWeights(Module):
    """Returns how many of its original weight arrays still exist in the process."""

    def __init__(self) -> None:
        self.linear = Linear(1, 1)
        self.old = [weakref.ref(p._array) for p in self.parameters()]

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) * 0 + sum(array() is not None for array in self.old)


def test_no_process_keeps_a_copy_of_the_unshared_weights() -> None:
    model = CountsOldWeights()
    replicas = DataParallel(model, lambda prediction, target: prediction.mean(), 2)
    here_and_there = replicas.backward(Tensor([[1.0], [1.0]]), Tensor([[0.0], [0.0]]))
    replicas.close()
    assert here_and_there.item() == 0


class Refuses(Module):
    """Fails for rows of negative numbers."""

    def __init__(self) -> None:
        self.linear = Linear(1, 1)

    def forward(self, x: Tensor) -> Tensor:
        if float(x.min()) < 0:
            raise ArithmeticError("a negative number")
        return self.linear(x)


@pytest.mark.parametrize("bad", [0, 3])  # in this process, in the replica
def test_an_error_in_any_process_is_raised_and_training_can_continue(bad: int) -> None:
    model = Refuses()
    trainer = Trainer(model, SGD(model.parameters(), lr=0.0), MSELoss(), processes=2)
    y = Tensor(np.ones((4, 1), np.float32))
    x = np.ones((4, 1), np.float32)
    good = trainer.train_step([(Tensor(x), y)]).item()
    wrong = x.copy()
    wrong[bad] = -1
    with pytest.raises(ArithmeticError, match="a negative number"):
        trainer.train_step([(Tensor(wrong), y)])
    model.zero_grad()
    assert trainer.train_step([(Tensor(x), y)]).item() == good


class OddError(Exception):
    """An exception that cannot be unpickled."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__("odd")


class RaisesOdd(Refuses):
    def forward(self, x: Tensor) -> Tensor:
        if float(x.min()) < 0:
            raise OddError(1, 2)
        return self.linear(x)


def test_an_exception_that_cannot_be_pickled_is_raised_as_a_runtime_error() -> None:
    replicas = DataParallel(RaisesOdd(), MSELoss(), 2)
    with pytest.raises(RuntimeError, match="OddError: odd"):
        replicas.backward(Tensor([[1.0], [-1.0]]), Tensor([[1.0], [1.0]]))


def test_a_killed_replica_raises_an_error() -> None:
    model, x, y = model_and_batch()
    trainer = Trainer(model, SGD(model.parameters()), CrossEntropyLoss(), processes=2)
    trainer.train_step([(x, y)])
    assert trainer.runner.replicas is not None
    process = trainer.runner.replicas.processes[0]
    os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(RuntimeError, match=r"replica 1.* ended with exit code -9.*batch"):
        trainer.train_step([(x, y)])
    model.zero_grad()
    assert trainer.train_step([(x, y)]).item() > 0  # with a new replica


def test_replicas_ignore_an_interrupt() -> None:
    model, x, y = model_and_batch()
    replicas = DataParallel(model, CrossEntropyLoss(), 2)
    before = replicas.backward(x, y).item()
    os.kill(replicas.processes[0].pid, signal.SIGINT)
    time.sleep(0.1)
    assert replicas.backward(x, y).item() == before


def test_replicas_end_by_close_and_by_garbage_collection() -> None:
    model, x, y = model_and_batch()
    replicas = DataParallel(model, CrossEntropyLoss(), 2)
    process = replicas.processes[0]
    replicas.backward(x, y)
    replicas.close()
    assert not process.is_alive()
    replicas = DataParallel(model, CrossEntropyLoss(), 2)
    process = replicas.processes[0]
    del replicas
    assert not process.is_alive()


PROGRAM = """
import os, signal, sys, numpy as np
from tinytorch import Linear, MSELoss, Tensor
from tinytorch.runtime import data_parallel as parallel
from tinytorch.runtime.data_parallel import DataParallel
replicas = DataParallel(Linear(1, 1), MSELoss(), 3)
replicas.backward(Tensor(np.ones((3, 1), np.float32)), Tensor(np.ones((3, 1), np.float32)))
print(*(p.pid for p in replicas.processes), flush=True)
if sys.argv[1] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("end", ["killed", "at its end"])
def test_no_replica_outlives_the_program(end: str) -> None:
    program = subprocess.run(
        [sys.executable, "-c", PROGRAM, end], capture_output=True, text=True, timeout=60
    )
    assert program.stderr == ""
    copies = [int(pid) for pid in program.stdout.split()]
    assert len(copies) == 2
    deadline = time.monotonic() + 300
    while any(_alive(pid) for pid in copies) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(_alive(pid) for pid in copies)


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_backends_and_counts_that_are_not_supported(strict: str) -> None:
    with pytest.raises(ValueError, match="processes cannot share arrays of the backend strict"):
        DataParallel(Linear(1, 1).to(backend=strict), MSELoss(), 2)
    model, _, _ = model_and_batch()
    with pytest.raises(ValueError, match="processes must be at least 1, not 0"):
        Trainer(model, SGD(model.parameters()), MSELoss(), processes=0)


def test_parameters_without_elements_and_of_other_dtypes() -> None:
    class Mixed(Module):
        def __init__(self) -> None:
            from tinytorch import Parameter

            self.empty = Parameter(np.zeros((0, 3), np.float32))
            self.scale = Parameter(np.float64(2.0))

        def forward(self, x: Tensor) -> Tensor:
            return x * self.scale

    model = Mixed()
    replicas = DataParallel(model, MSELoss(), 2)
    ones = Tensor(np.ones((4, 1)))
    replicas.backward(ones, ones)
    replicas.close()
    assert model.scale.grad is not None
    assert model.scale.grad.item() == pytest.approx(2.0)
    assert model.empty.shape == (0, 3)
