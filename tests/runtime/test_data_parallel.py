"""Data-parallel processes compute the gradients of one process, and end when unused."""

import math
import multiprocessing
import os
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinytorch import (
    GPT,
    SGD,
    AdamW,
    CrossEntropyLoss,
    Dropout,
    Linear,
    Module,
    MSELoss,
    Parameter,
    Sequential,
    Tensor,
    Trainer,
    manual_seed,
    no_grad,
)
from tinytorch.ops import random
from tinytorch.ops.random import generator
from tinytorch.runtime import data_parallel as parallel
from tinytorch.runtime.data_parallel import DataParallel, ReplicaError
from tinytorch.runtime.module_key import module_key
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


def test_inputs_that_require_a_gradient_get_all_of_it() -> None:
    gradients = []
    for count in (1, 2):
        model, x, y = model_and_batch()
        x.requires_grad_()
        trainer = Trainer(model, SGD(model.parameters()), CrossEntropyLoss(), processes=count)
        trainer.train_step([(x, y)])
        assert x.grad is not None
        gradients.append(x.grad.tolist())
    assert gradients[0] == gradients[1]


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
        weights = {n: np.full(t.shape, 0.1) for n, t in model.state_dict().items()}
        model.load_state_dict(weights)
        seen.append(trainer.train_step([(x, y)]).item())
        next(model.parameters()).requires_grad_(False)
        seen += [trainer.train_step([(x, y)]).item() for _ in range(2)]
        next(model.parameters()).requires_grad_(True)
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
    with pytest.raises(ReplicaError, match=r"replica 1.* ended with exit code -9.*batch"):
        trainer.train_step([(x, y)])
    model.zero_grad()
    assert trainer.train_step([(x, y)]).item() > 0  # with a new replica


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM])
def test_parameters_are_unchanged_after_a_replica_was_killed(
    sent: signal.Signals, tmp_path: Path
) -> None:
    model, x, y = model_and_batch()
    trainer = Trainer(model, AdamW(model.parameters()), CrossEntropyLoss(), processes=3)
    trainer.train_step([(x, y)])
    before = [p.numpy().copy() for p in model.parameters()]
    runner: Any = trainer.runner
    os.kill(runner.replicas.processes[1].pid, sent)
    with pytest.raises(ReplicaError, match=f"replica 2.* ended with exit code -{sent.value}"):
        trainer.train_step([(x, y)])
    for p, array in zip(model.parameters(), before, strict=True):
        np.testing.assert_array_equal(p.numpy(), array)
        assert p.grad is None
    assert (trainer.step, trainer.optimizers[0].steps) == (1, 1)
    trainer.save_checkpoint(tmp_path / "checkpoint.safetensors")
    expected = trainer.train_step([(x, y)]).item()
    trainer.load_checkpoint(tmp_path / "checkpoint.safetensors")
    assert trainer.train_step([(x, y)]).item() == expected


def test_a_stopped_replica_is_ended_by_close() -> None:
    model, x, y = model_and_batch()
    replicas = DataParallel(model, CrossEntropyLoss(), 2)
    replicas.backward(x, y)
    os.kill(replicas.processes[0].pid, signal.SIGSTOP)
    replicas.close()
    assert not replicas.processes[0].is_alive()


class Exits(Refuses):
    def forward(self, x: Tensor) -> Tensor:
        if float(x.min()) < 0:
            sys.exit("the model exits")
        return self.linear(x)


@pytest.mark.parametrize("bad", [0, 1])
def test_system_exit_of_the_model_in_any_process_is_raised(
    bad: int, capfd: pytest.CaptureFixture[str]
) -> None:
    replicas = DataParallel(Exits(), MSELoss(), 2)
    x = np.ones((2, 1), np.float32)
    x[bad] = -1
    with pytest.raises(SystemExit, match="the model exits"):
        replicas.backward(Tensor(x), Tensor(np.ones((2, 1), np.float32)))
    assert capfd.readouterr().err == ""


def replicas_of(trainer: Trainer) -> Any:
    runner: Any = trainer.runner
    return runner.replicas


def test_at_most_one_process_per_row_is_started() -> None:
    model, x, y = model_and_batch(6)
    trainer = Trainer(model, SGD(model.parameters()), CrossEntropyLoss(), processes=5)
    trainer.train_step([(x[:1], y[:1])])
    assert replicas_of(trainer) is None
    for rows, processes in ((2, 1), (3, 2), (2, 2), (6, 4)):
        trainer.train_step([(x[:1], y[:1]), (x[:rows], y[:rows])])
        assert len(replicas_of(trainer).processes) == processes


@pytest.mark.parametrize("value", [2.5, 2.0, True, "2", None, [2]])
def test_invalid_numbers_of_processes_raise_an_error(value: Any) -> None:
    model, _, _ = model_and_batch()
    with pytest.raises(TypeError, match="processes must be an integer, not"):
        Trainer(model, SGD(model.parameters()), MSELoss(), processes=value)
    for zero in (0, -1, np.int64(-3)):
        with pytest.raises(ValueError, match="processes must be at least 1"):
            Trainer(model, SGD(model.parameters()), MSELoss(), processes=zero)  # type: ignore[arg-type]
    assert Trainer(model, SGD(model.parameters()), MSELoss(), processes=np.int64(2)).processes == 2  # type: ignore[arg-type]


def test_a_failed_fork_raises_replica_error(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x, y = model_and_batch()
    trainer = Trainer(model, SGD(model.parameters()), CrossEntropyLoss(), processes=3)
    fork, forks = os.fork, []

    def second_fails() -> int:
        forks.append(1)
        if len(forks) == 2:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return fork()

    with monkeypatch.context() as patch:
        patch.setattr(os, "fork", second_fails)
        with pytest.raises(ReplicaError, match=r"cannot start 3 processes .Resource.*: use fewer"):
            trainer.train_step([(x, y)])
    assert not [c for c in multiprocessing.active_children() if c.name.startswith("replica")]
    assert trainer.train_step([(x, y)]).item() > 0


IN_A_POOL = """
import multiprocessing, numpy as np
from tinytorch import SGD, Linear, MSELoss, Tensor, Trainer
def train(processes):
    model = Linear(1, 1)
    x = Tensor(np.ones((2, 1), np.float32))
    trainer = Trainer(model, SGD(model.parameters()), MSELoss(), processes=processes)
    try:
        return type(trainer.train_step([(x, x)])).__name__
    except RuntimeError as error:
        return f"{type(error).__name__}: {error}"
if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(1) as pool:
        print(*pool.map(train, [1, 2]), sep="\\n")
"""


def test_starting_replicas_in_a_pool_worker_raises_replica_error() -> None:
    program = subprocess.run(
        [sys.executable, "-c", IN_A_POOL], capture_output=True, text=True, timeout=120
    )
    one, two = program.stdout.splitlines()
    assert one == "Tensor"
    assert two.startswith("ReplicaError: this is a daemonic process")
    assert "use processes=1" in two


@pytest.mark.parametrize("bits", [np.random.MT19937, np.random.Philox, np.random.SFC64])
def test_all_bit_generators_of_numpy_work_with_processes(bits: Any) -> None:
    class Noisy(Module):
        def __init__(self) -> None:
            self.linear = Linear(5, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(x) + float(generator().random())

    losses = []
    before = generator(), random.mask_state()
    try:
        for processes in (1, 2):
            _, x, y = model_and_batch(4)
            manual_seed(2)
            model = Noisy()
            trainer = Trainer(model, SGD(model.parameters()), CrossEntropyLoss(),
                              processes=processes)  # fmt: skip
            losses.append([trainer.train_step([(x, y)]).item()])
            random.set_generator(np.random.Generator(bits(3)))  # another kind after the fork
            losses[-1] += [trainer.train_step([(x, y)]).item() for _ in range(2)]
    finally:
        random.set_generator(*before)
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)


class Changeable(Module):
    """A model with every kind of attribute that may change between two steps."""

    def __init__(self) -> None:
        self.linear, self.dropout, self.head = Linear(3, 3), Dropout(0.5), Linear(3, 3)
        self.register_buffer("shift", Tensor([0.5, 1.0, 2.0]))
        self.register_buffer("_scale", Tensor([2.0]))
        self.mask = Tensor([1.0, 0.0, 1.0])
        self.factor, self.name, self.sizes = 1.0, "plus", [1.0, 2.0]
        self._power, self.table = 1, {"bias": [0.25]}
        self.function: Any = Tensor.abs
        self.array = np.ones(3, np.float32)

    def forward(self, x: Tensor) -> Tensor:
        x = self.dropout(self.function(self.linear(x)))
        x = x * self._scale + self.shift * self.mask if self.name == "plus" else x
        x = x * self.factor * sum(self.sizes) + self.table["bias"][0]
        return self.head(x**self._power) * self.array


class Doubled(Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * 2


class Scaled(Module):
    def __init__(self) -> None:
        self.scale = 1.0

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return ((prediction - target) ** 2).mean() * self.scale


def set_attribute(name: str, value: Any) -> Any:
    return lambda trainer: setattr(trainer.model, name, value)


def write(change: Any) -> Any:
    def apply(trainer: Any) -> None:
        with no_grad():
            change(trainer.model)

    return apply


CHANGES = {
    "nothing": lambda t: None,
    "a part to eval": lambda t: t.model.dropout.eval(),
    "all to eval": lambda t: t.model.eval(),
    "a part to train": lambda t: (t.model.eval(), t.model.dropout.train()),
    "the dropout": lambda t: setattr(t.model.dropout, "p", 0.9),
    "a number": set_attribute("factor", 3.0),
    "a private number": set_attribute("_power", 2),
    "a string": set_attribute("name", "none"),
    "a list": set_attribute("sizes", [5.0]),
    "a number in a list": lambda t: t.model.sizes.append(7.0),
    "a number in a list in a dict": lambda t: t.model.table["bias"].__setitem__(0, 3.0),
    "a function": set_attribute("function", Tensor.exp),
    "an array": set_attribute("array", np.full(3, 3.0, np.float32)),
    "a tensor": set_attribute("mask", Tensor([0.0, 3.0, 0.0])),
    "a tensor in place": write(lambda m: m.mask.fill_(2.0)),
    "a buffer": set_attribute("shift", Tensor([3.0, 2.0, 1.0])),
    "a buffer in place": write(lambda m: m.shift.fill_(2.0)),
    "an element of a buffer": write(lambda m: m.shift.__setitem__(1, 9.0)),
    "the data of a buffer": lambda t: setattr(t.model.shift, "data", Tensor([4.0, 5.0, 6.0])),
    "a private buffer": write(lambda m: m._scale.fill_(5.0)),
    "a new buffer": lambda t: t.model.register_buffer("shift", Tensor([7.0, 7.0, 7.0])),
    "a weight in place": write(lambda m: m.head.weight.fill_(0.5)),
    "the data of a weight": lambda t: setattr(t.model.head.bias, "data", 3.0),
    "a new weight": lambda t: setattr(t.model.head, "bias", Parameter([1.0, 2.0, 3.0])),
    "no weight": lambda t: setattr(t.model.head, "bias", None),  # the optimizer still has it
    "a frozen weight": lambda t: t.model.head.weight.requires_grad_(False),
    "a state": lambda t: t.model.load_state_dict(
        {name: array * 0.5 for name, array in t.model.state_dict().items()}
    ),
    "a module": lambda t: setattr(t.model, "dropout", Dropout(0.1)),
    "the class of a module": lambda t: setattr(t.model.linear, "__class__", Doubled),
    "the loss": lambda t: setattr(t, "loss_fn", lambda p, y: (p - y).abs().mean()),
    "a number of the loss": lambda t: setattr(t.loss_fn, "scale", 5.0),
    "the optimizer": lambda t: setattr(t, "optimizers", [SGD(t.model.head.parameters(), 0.01)]),
    "the rate": lambda t: setattr(t.optimizers[0], "lr", 0.3),
    "the seed": lambda t: manual_seed(77),
    "the model": lambda t: (
        setattr(t, "model", Changeable()),
        setattr(t, "optimizers", [SGD(t.model.parameters(), 0.01)]),
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_changes_between_steps_have_the_same_effect_as_in_one_process(change: Any) -> None:
    rng = np.random.default_rng(0)
    x, y = (Tensor(rng.standard_normal((4, 3)).astype(np.float32)) for _ in range(2))
    runs = []
    for processes in (1, 2):
        manual_seed(4)
        model = Changeable()
        trainer = Trainer(model, SGD(model.parameters(), 0.01), Scaled(), processes=processes)
        losses = [trainer.train_step([(x, y)]).item()]
        change(trainer)
        losses += [trainer.train_step([(x, y)]).item() for _ in range(3)]
        runs.append([*losses, *(float(p.sum().item()) for p in model.parameters())])
    assert runs[1] == pytest.approx(runs[0], rel=1e-4, abs=1e-5)


def test_replicas_are_kept_while_nothing_changes() -> None:
    manual_seed(0)
    model = GPT(11, 8, 1, 2, max_seq_len=8, dropout=0.1, positions="rotary")
    trainer = Trainer(model, AdamW(model.parameters()), CrossEntropyLoss(), processes=2,
                      grad_clip_norm=1.0)  # fmt: skip
    ids = Tensor(np.random.default_rng(0).integers(0, 11, (4, 9)))
    trainer.train_step([(ids[:, :-1], ids[:, 1:])])
    replicas = replicas_of(trainer)
    for step in range(3):
        trainer.train_step([(ids[:, :-1], ids[:, 1:])])
        trainer.evaluate([(ids[:, :-2], ids[:, 1:-1])])
        model.generate([1], 5, seed=step)
        trainer.optimizers[0].lr = 0.1 / (step + 1)
        assert replicas_of(trainer) is replicas


class Remembers(Module):
    """Keeps activations, a count and running statistics, all changed by the forward pass."""

    def __init__(self) -> None:
        self.linear, self.calls = Linear(5, 3), 0
        self.register_buffer("mean", Tensor(np.zeros(5, np.float32)))
        self.last: Any = None

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.last = self.linear(x)
        with no_grad():
            self.mean[...] = self.mean * 0.9 + x.mean(0) * 0.1
        return self.last


def test_replicas_are_kept_if_only_the_forward_pass_changes_the_model() -> None:
    _, x, y = model_and_batch()
    model = Remembers()
    trainer = Trainer(model, SGD(model.parameters()), CrossEntropyLoss(), processes=2)
    trainer.train_step([(x, y)])
    replicas = replicas_of(trainer)
    for _ in range(2):
        trainer.train_step([(x, y)])
        assert replicas_of(trainer) is replicas


@pytest.mark.parametrize("sizes", [(6, 6), (1, 6), (6, 1), (1, 1)])
def test_a_changed_model_counts_each_of_several_batches_once(sizes: tuple[int, int]) -> None:
    _, x, y = model_and_batch()
    batches, runs = [(x[:n], y[:n]) for n in sizes], []
    for count in (1, 2):
        manual_seed(0)
        model = Remembers()
        trainer = Trainer(model, SGD(model.parameters()), CrossEntropyLoss(), processes=count)
        losses = [trainer.train_step([(x, y)]).item(), trainer.train_step(batches).item()]
        model.linear.bias = None
        losses += [trainer.train_step(batches).item() for _ in range(2)]
        runs.append([model.calls, *losses, *(p.sum().item() for p in model.parameters())])
    assert runs[1] == pytest.approx(runs[0], rel=1e-5)


class Counter(Module):
    """A model whose forward pass counts its calls, and depends on the count."""

    def __init__(self) -> None:
        self.layers = [Linear(5, 3) for _ in range(3)]
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.layers[self.calls % 3](x)


def test_changes_by_the_forward_pass_of_a_batch_with_too_few_rows() -> None:
    _, x, y = model_and_batch()
    losses = []
    for count in (1, 2):
        manual_seed(0)
        model = Counter()
        trainer = Trainer(model, SGD(model.parameters()), CrossEntropyLoss(), processes=count)
        sizes = [6, 1, 6, 6]
        losses.append([trainer.train_step([(x[:n], y[:n])]).item() for n in sizes])
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGHUP])
def test_replicas_ignore_signals_that_the_parent_handles(sent: signal.Signals) -> None:
    model, x, y = model_and_batch()
    replicas = DataParallel(model, CrossEntropyLoss(), 2)
    before = replicas.backward(x, y).item()
    os.kill(replicas.processes[0].pid, sent)
    assert replicas.backward(x, y).item() == before


def test_ctrl_c_right_after_the_fork_is_no_traceback_of_a_replica(
    monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    serve = DataParallel._serve

    def struck(self: DataParallel, *arguments: Any) -> None:
        for number in (signal.SIGINT, signal.SIGHUP):
            os.kill(os.getpid(), number)  # as by the terminal, to all of its processes
        serve(self, *arguments)

    monkeypatch.setattr(DataParallel, "_serve", struck)
    replicas = DataParallel(Linear(2, 3), CrossEntropyLoss(), count=2)
    assert replicas.backward(Tensor(np.ones((2, 2), np.float32)), Tensor([0, 2])).item() > 0
    replicas.close()
    assert capfd.readouterr().err == ""
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & {signal.SIGINT, signal.SIGHUP}


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
import os, signal, sys, time, numpy as np
from tinytorch import Linear, MSELoss, Tensor
from tinytorch.runtime import data_parallel as parallel
from tinytorch.runtime.data_parallel import DataParallel
replicas = DataParallel(Linear(1, 1), MSELoss(), 3)
replicas.backward(Tensor(np.ones((3, 1), np.float32)), Tensor(np.ones((3, 1), np.float32)))
print(*(p.pid for p in replicas.processes), flush=True)
if sys.argv[1] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[1] == "killed in a step":
    class Dies(Linear):
        def forward(self, x):
            if os.getpid() == parent:
                os.kill(parent, signal.SIGKILL)
            while os.getppid() == parent:  # the replicas send their results afterwards
                time.sleep(0.001)
            return super().forward(x)
    parent = os.getpid()
    replicas = DataParallel(Dies(1, 1), MSELoss(), 3)
    print(*(p.pid for p in replicas.processes), flush=True)
    replicas.backward(Tensor(np.ones((3, 1), np.float32)), Tensor(np.ones((3, 1), np.float32)))
"""


@pytest.mark.parametrize("end", ["killed", "killed in a step", "at its end"])
def test_no_replica_outlives_the_program(end: str) -> None:
    program = subprocess.run(
        [sys.executable, "-c", PROGRAM, end], capture_output=True, text=True, timeout=60
    )
    assert program.stderr == ""
    copies = [int(pid) for pid in program.stdout.split()]
    assert len(copies) == (4 if end == "killed in a step" else 2)
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


def test_nan_in_a_module_is_not_a_change() -> None:
    model = Linear(2, 1)
    model.last_loss = math.nan
    key = module_key(model)
    model.last_loss = float("nan")  # NaN does not equal itself
    assert module_key(model) == key
    model.last_loss = 1.0
    assert module_key(model) != key
