"""Graphed training steps: on cupy a captured CUDA graph, on other backends eager steps."""

import gc
import threading
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np
import pytest
from helpers import no_host_reads
from tiny_training import IDS, TINY, make_trainer, steps, weights

import tinytorch
from tinytorch import (
    SGD,
    AdamW,
    CrossEntropyLoss,
    Dropout,
    Embedding,
    Linear,
    Module,
    Muon,
    Sequential,
    Tensor,
    TokenDataset,
    Trainer,
    backends,
)
from tinytorch.activations import SquaredReLU
from tinytorch.backends import BackendError
from tinytorch.nn import BatchNorm1d
from tinytorch.ops.op import op
from tinytorch.runtime.graphed import GraphedStep, graph_key
from tinytorch.runtime.trainer import EagerStep, make_runner


def graphs(trainer: Trainer) -> int:
    """Number of graphs that the trainer has captured."""
    assert isinstance(trainer.runner, GraphedStep)
    graphed: Any = trainer.runner._graphed
    return sum(hasattr(graph, "replay") for graph in graphed._graphs.values())


@pytest.mark.parametrize("changes", [{}, {"muon_lr": None, "bias": True, "positions": "learned"}])
def test_graphed_steps_equal_eager_steps(backend: str, changes: dict[str, Any]) -> None:
    """Dropout masks, rates, the count of steps and batches change from step to step."""
    eager, graphed = (make_trainer(backend, graphed, **changes) for graphed in (False, True))
    expected, seed = steps(eager, 10), tinytorch.ops.random.next_seed()
    found = steps(graphed, 10)
    assert tinytorch.ops.random.next_seed() == seed, "as many seeds were drawn"
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert len(set(found)) == 10
    for name, array in weights(eager).items():
        np.testing.assert_allclose(weights(graphed)[name], array, rtol=1e-3, atol=1e-5)
    assert [o.steps for o in graphed.optimizers] == [o.steps for o in eager.optimizers]


@pytest.mark.parametrize(("capability", "uses_kernel"), [("75", False), ("80", True)])
def test_training_on_gpus_with_and_without_tensor_cores(
    fake_cupy: Any, monkeypatch: pytest.MonkeyPatch, capability: str, uses_kernel: bool
) -> None:
    """On a T4 all products are exact, and attention is computed by them."""
    from tinytorch.backends.cupy import gemm

    monkeypatch.setattr(gemm, "_chosen_mode", lambda: "tf32")
    monkeypatch.setattr(gemm, "COPY_LIMIT", 0)
    monkeypatch.setattr(fake_cupy.cuda.runtime, "capabilities", [capability])
    launches: list[Any] = []
    monkeypatch.setattr(fake_cupy.kernels, "records", launches)
    host, device = (make_trainer(b, b == "cupy", embed_dim=32) for b in ("numpy", "cupy"))
    expected, found = steps(host, 5), steps(device, 5)
    assert graphs(device) == 1
    np.testing.assert_allclose(found, expected, rtol=1e-2 if uses_kernel else 1e-4)
    assert any(r.kernel.name == "attention" for r in launches) == uses_kernel


def test_a_replayed_step_launches_nothing_from_python(cupy: str) -> None:
    from tinytorch.backends.cupy import gemm, launch

    trainer = make_trainer(cupy, True)
    steps(trainer, 3)
    assert graphs(trainer) == 1
    before = launch.launches, gemm.calls
    with no_host_reads():
        backend = trainer.model.backend
        batch = TokenDataset(IDS, TINY.context, backend=backend).random_batch(3)
        trainer.train_step([batch])
    assert (launch.launches, gemm.calls) == before


def test_after_a_replay_that_fails_the_weights_are_not_those_of_a_finished_step(
    cupy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer(cupy, True)
    steps(trainer, 2)
    assert not trainer.updating
    replay: Any = trainer.runner._graphed  # type: ignore[attr-defined]

    def interrupted(*arguments: Any) -> None:
        replay(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(trainer.runner, "_graphed", interrupted)
        with pytest.raises(KeyboardInterrupt):
            steps(trainer, 1)
    assert trainer.updating


@pytest.mark.slow
def test_each_shape_has_its_own_graph(cupy: str) -> None:
    eager, graphed = make_trainer(cupy, False), make_trainer(cupy, True)
    for blocks, each in ((3, 1), (2, 1), (3, 1), (2, 2), (2, 1), (2, 2)):
        expected, found = (steps(t, 3, blocks, each) for t in (eager, graphed))
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert graphs(graphed) == 3


def freeze(trainer: Trainer) -> None:
    next(trainer.model.parameters()).requires_grad = False


def decay(trainer: Trainer) -> None:
    trainer.optimizers[0].param_groups[0]["weight_decay"] = 0.9


def clip(trainer: Trainer) -> None:
    trainer.grad_clip_norm = 1e-3


def reset(trainer: Trainer) -> None:
    state = {name: array * 0.5 for name, array in weights(trainer).items()}
    trainer.model.load_state_dict(state)


def other_state(trainer: Trainer) -> None:
    for optimizer in trainer.optimizers:
        optimizer.load_state_dict(optimizer.state_dict())


def other_rate(trainer: Trainer) -> None:
    trainer.scheduler = None
    trainer.optimizers[0].lr = 0.3


def drop(trainer: Trainer) -> None:
    model: Any = trainer.model
    model.blocks[1].mlp.dropout.p = 0.9


def other_module(trainer: Trainer) -> None:
    model: Any = trainer.model
    model.blocks[0].mlp.activation = SquaredReLU()


def other_loss(trainer: Trainer) -> None:
    trainer.loss_fn = CrossEntropyLoss(ignore_index=3)


def write(trainer: Trainer) -> None:
    list(trainer.model.parameters())[2].data = 0.01


def numpy_rate(trainer: Trainer) -> None:
    """Learning rates need not be Python floats."""
    trainer.scheduler = None
    trainer.optimizers[0].lr = np.float32(0.1)  # type: ignore[assignment]
    trainer.optimizers[1].lr = 1


CHANGES = [
    numpy_rate,
    freeze,
    decay,
    clip,
    reset,
    other_state,
    other_rate,
    drop,
    other_module,
    other_loss,
    write,
]


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
def test_changes_between_steps_take_effect(cupy: str, change: Callable[[Trainer], None]) -> None:
    eager, graphed = make_trainer(cupy, False), make_trainer(cupy, True)
    for trainer in (eager, graphed):
        steps(trainer, 4)
        change(trainer)
    expected, found = steps(eager, 5), steps(graphed, 5)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_step_is_captured_again_if_a_number_in_a_list_changes() -> None:
    trainer = make_trainer("numpy", False)
    model: Any = trainer.model
    model.scales, model.last = [1.0, {"a": 2.0}], None
    key = graph_key(trainer)
    model.last = Tensor([1.0])  # as forward may assign in each capture
    write(trainer)
    assert graph_key(trainer) == key
    model.scales[1]["a"] = 3.0
    assert graph_key(trainer) != key


def test_an_optimizer_without_a_multi_tensor_update_is_captured_too(cupy: str) -> None:
    found = []
    for graphed in (False, True):
        tinytorch.manual_seed(1)
        model = Linear(4, 3, backend=cupy)
        trainer = Trainer(model, SGD(model.parameters(), 0.1, 0.9), CrossEntropyLoss(), None, None,
                          1, graphed)  # fmt: skip
        rng = np.random.default_rng(2)
        batches = [(rng.standard_normal((5, 4)), rng.integers(0, 3, 5)) for _ in range(6)]
        found.append([
            trainer.train_step([(Tensor(x.astype("f4"), backend=cupy), Tensor(y, backend=cupy))])
            for x, y in batches
        ])  # fmt: skip
        if graphed:
            assert graphs(trainer) == 1
    for ours, theirs in zip(*found, strict=True):
        assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)


def test_gradients_from_before_a_graphed_step_are_added(cupy: str) -> None:
    """As in an eager step; such a step is not captured."""
    weights_after = []
    for graphed in (False, True):
        tinytorch.manual_seed(2)
        trainer, (x, y) = small(cupy)
        trainer.runner = make_runner(cuda_graph=graphed)
        for step in range(6):
            if step in (1, 3, 5):
                trainer.loss_fn(trainer.model(x), y).backward()
            trainer.train_step([(x, y)])
        weights_after.append(weights(trainer))
    for name, array in weights_after[0].items():
        np.testing.assert_allclose(weights_after[1][name], array, rtol=1e-5, atol=1e-7)


def test_a_replaced_buffer_takes_effect(cupy: str) -> None:
    class Scaled(Module):
        def __init__(self) -> None:
            self.register_buffer("scale", Tensor([1.0], backend=cupy))

        def forward(self, x: Tensor) -> Tensor:
            return x * self.scale

    found = []
    for graphed in (False, True):
        tinytorch.manual_seed(2)
        layer = Scaled()
        trainer, batch = small(cupy, layer)
        trainer.runner = make_runner(cuda_graph=graphed)
        for _ in range(4):
            trainer.train_step([batch])
        layer.scale = Tensor([3.0], backend=cupy)
        found.append(trainer.train_step([batch]).item())
    assert found[1] == pytest.approx(found[0], rel=1e-5)


def test_a_failed_capture_leaves_no_gradients(cupy: str) -> None:
    class FailsLater(Module):
        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            if self.calls == 6:  # in the second batch of the step that is captured
                raise KeyboardInterrupt
            return x

    trainer, batch = small(cupy, FailsLater())
    for _ in range(2):
        trainer.train_step([batch, batch])
    steps_before = [optimizer.steps for optimizer in trainer.optimizers]
    with pytest.raises(KeyboardInterrupt):
        trainer.train_step([batch, batch])
    assert all(p.grad is None for p in trainer.model.parameters())
    assert [optimizer.steps for optimizer in trainer.optimizers] == steps_before
    assert np.isfinite(trainer.train_step([batch, batch]).item())
    assert all(np.isfinite(array).all() for array in weights(trainer).values())


def small(backend: str, *middle: Module) -> tuple[Trainer, tuple[Tensor, Tensor]]:
    """A trainer for a small model with an embedding of five tokens, and a batch."""
    model = Sequential(Embedding(5, 4, backend=backend), *middle, Linear(4, 5, backend=backend))
    trainer = Trainer(model, AdamW(model.parameters()), CrossEntropyLoss(), cuda_graph=True)
    ids = np.arange(4)
    return trainer, (Tensor(ids, backend=backend), Tensor(ids + 1, backend=backend))


@op
def noisy(xp: Any, x: Any, *, seed: Any) -> Any:
    """x plus noise, uniform in [0, 1), from random bits that the op computes itself."""
    return x + xp.astype(xp.random_bits(seed, x.shape) >> 8, x.dtype) / 2**24, ()


@noisy.gradient
def noisy_gradient(xp: Any, g: Any) -> Any:
    return g


class Noise(Module):
    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = noisy(x, seed=tinytorch.ops.random.next_seed())
        return result


def test_random_bits_of_a_custom_op_change_from_step_to_step(cupy: str) -> None:
    found = []
    for graphed in (False, True):
        tinytorch.manual_seed(4)
        trainer, batch = small(cupy, Noise())
        trainer.runner = make_runner(cuda_graph=graphed)
        found.append([trainer.train_step([batch]).item() for _ in range(6)])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5)


class ReadsValue(Module):
    """Reads a value on the host."""

    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum().item() > 0 else x * 2


class CopiesArray(Module):
    """Copies an array from the host."""

    def forward(self, x: Tensor) -> Tensor:
        return x * Tensor(np.ones(4, np.float32), backend=x.backend)


@pytest.mark.parametrize("module", [ReadsValue, CopiesArray])
def test_a_step_that_cannot_be_captured_raises_an_error(cupy: str, module: type[Module]) -> None:
    trainer, batch = small(cupy, module())
    trainer.train_step([batch])
    trainer.train_step([batch])  # the first step creates the optimizer's state, which is in the key
    with pytest.raises(BackendError, match=r"cannot be captured .* must not read results"):
        trainer.train_step([batch])
    trainer.runner = EagerStep()  # the failed capture has no effect on later steps
    assert np.isfinite(trainer.train_step([batch]).item())


def test_ids_out_of_range_raise_an_error_in_replayed_steps(cupy: str) -> None:
    trainer, batch = small(cupy)
    for _ in range(4):
        trainer.train_step([batch]).item()
    loss = trainer.train_step([(batch[0], Tensor(np.arange(4) + 2, backend=cupy))])
    with pytest.raises(IndexError, match="target 5 is outside of the 5 classes"):
        loss.item()


@pytest.mark.parametrize("graphed", [False, True])
@pytest.mark.parametrize("optimizer", [AdamW, partial(AdamW, amsgrad=True), SGD, Muon])
def test_ids_out_of_range_leave_the_weights_as_they_were(
    optimizer: Any, graphed: bool, cupy: str
) -> None:
    """Also in the steps after them, until the error is raised; then training goes on."""
    tinytorch.manual_seed(3)
    trainer, batch = small(cupy)
    kinds = {"momentum": 0.9} if optimizer is SGD else {}
    trainer.optimizers = [optimizer(list(trainer.model.parameters())[:2], lr=0.1, **kinds)]
    trainer.runner = make_runner(cuda_graph=graphed)
    for _ in range(4):
        trainer.train_step([batch])
    before = weights(trainer)
    state = [t.numpy().copy() for s in trainer.optimizers[0].state.values() for t in s.values()]
    trainer.train_step([(Tensor(np.array([0, 1, 2, 5]), backend=cupy), batch[1])])
    loss = trainer.train_step([batch])
    with pytest.raises(IndexError, match=r"token id 5 is outside of the vocabulary \[0, 5\)"):
        loss.item()
    for name, array in weights(trainer).items():
        np.testing.assert_array_equal(array, before[name])
    after = [t.numpy() for s in trainer.optimizers[0].state.values() for t in s.values()]
    assert all(map(np.array_equal, state, after))
    assert np.isfinite(trainer.train_step([batch]).item())
    assert any((array != before[name]).any() for name, array in weights(trainer).items())


@pytest.mark.parametrize("graphed", [False, True])
def test_ids_out_of_range_leave_running_statistics_as_they_were(graphed: bool, cupy: str) -> None:
    trainer, batch = small(cupy, BatchNorm1d(4))
    trainer.model.to(cupy)
    trainer.runner = make_runner(cuda_graph=graphed)
    for _ in range(4):
        trainer.train_step([batch])
    before = weights(trainer)
    assert {"1.running_mean", "1.running_var", "1.num_batches_tracked"} < set(before)
    trainer.train_step([(Tensor(np.array([0, 1, 2, 5]), backend=cupy), batch[1])])
    loss = trainer.train_step([batch])
    with pytest.raises(IndexError, match="token id 5"):
        loss.item()
    for name, array in weights(trainer).items():
        np.testing.assert_array_equal(array, before[name])
    trainer.train_step([batch])
    after = weights(trainer)
    assert after["1.num_batches_tracked"] == before["1.num_batches_tracked"] + 1
    assert (after["1.running_mean"] != before["1.running_mean"]).all()


class SometimesUsed(Module):
    """The last layer is used for batches of three rows only, the middle one never."""

    def __init__(self, backend: str) -> None:
        self.first, self.unused, self.last = (Linear(4, 4, backend=backend) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.last(x) if len(x) == 3 else x


@pytest.mark.parametrize("optimizer", [AdamW, SGD])
def test_captured_steps_with_ignored_targets_and_unused_parameters(
    optimizer: Any, cupy: str
) -> None:
    """Nothing is read on the host, and each parameter has its own count of updates."""
    found = []
    for graphed in (False, True):
        tinytorch.manual_seed(1)
        model = SometimesUsed(cupy)
        trainer = Trainer(model, optimizer(model.parameters(), 0.1), CrossEntropyLoss(),
                          grad_clip_norm=0.5, cuda_graph=graphed)  # fmt: skip
        rng, losses = np.random.default_rng(2), []
        for rows in (2, 2, 2, 2, 3, 3, 3, 2, 2, 3, 3, 3, 3):
            x = [rng.standard_normal((n, 4)).astype("f4") for n in (rows, rows, rows)]
            y = [rng.integers(0, 4, n) for n in (rows, rows, rows)]
            y[1][0], y[2][:] = -100, -100
            batches = [
                tuple(Tensor(a, backend=cupy) for a in pair) for pair in zip(x, y, strict=True)
            ]
            with no_host_reads():
                losses.append(trainer.train_step(batches))
        found.append(([loss.item() for loss in losses], weights(trainer)))
        assert [trainer.optimizers[0].missed[i] for i in (2, 4)] == [13, 6]
    np.testing.assert_allclose(found[1][0], found[0][0], rtol=1e-5)
    for name, array in found[0][1].items():
        np.testing.assert_allclose(found[1][1][name], array, rtol=1e-4, atol=1e-6)


def test_losses_of_earlier_replays_are_kept(cupy: str) -> None:
    trainer, batch = small(cupy, Dropout(0.5))
    losses = [trainer.train_step([batch]) for _ in range(6)]
    assert len({loss.item() for loss in losses}) == 6


def test_constants_are_not_allocated_on_the_captured_stream(fake_cupy: Any) -> None:
    """There an asynchronous memory pool would make the allocation a part of the graph."""
    from tinytorch.backends.cupy import graph

    streams = []

    def outside(size: int) -> Any:
        streams.append(fake_cupy.cuda.get_current_stream())
        return pool.malloc(size)

    def work(x: Any) -> Any:
        return x + graph.to_device(np.ones(3, np.float32))

    pool = fake_cupy.cuda.MemoryPool()
    with fake_cupy.cuda.using_allocator(outside):
        x = fake_cupy.zeros(3, fake_cupy.float32)
        graphed = graph.GraphedCallable(work)
        results = [graphed("key", x).get().tolist() for _ in range(3)]
    assert results == [[1.0, 1.0, 1.0]] * 3
    assert {stream.ptr for stream in streams} == {0}


def test_batches_of_another_backend_raise_an_error(cupy: str) -> None:
    trainer, batch = small(cupy)
    for _ in range(4):
        trainer.train_step([batch])
    with pytest.raises(BackendError, match="is on 'cupy' and another on 'numpy'"):
        trainer.train_step([tuple(Tensor(t.numpy(), backend="numpy") for t in batch)])  # type: ignore[list-item]
    with pytest.raises(BackendError, match="is on 'cupy' and another on 'numpy'"):
        trainer.train_step([(batch[0], Tensor(batch[1].numpy(), backend="numpy"))])


def test_memory_that_a_graph_reads_is_kept_alive(cupy: str) -> None:
    """Cached rotary tables of another length, from generation for example, are replaced."""
    trainer = make_trainer(cupy, True)
    steps(trainer, 3)
    model: Any = trainer.model
    model.generate([1, 2, 3], 12, seed=0)
    for block in model.blocks:
        block.attention.rotary._cached = None
    eager = make_trainer(cupy, False)
    steps(eager, 3)
    np.testing.assert_allclose(steps(trainer, 3), steps(eager, 3), rtol=1e-5)


def batch_of(rows: int, backend: str) -> tuple[Tensor, Tensor]:
    ids = np.arange(rows) % 4
    return Tensor(ids, backend=backend), Tensor(ids + 1, backend=backend)


def test_graphs_of_the_last_shapes_are_kept_in_one_pool(fake_cupy: Any) -> None:
    from tinytorch.backends.cupy import graph

    pools = fake_cupy.cuda._memories
    gc.collect()
    before = len(pools)
    trainer, _ = small("cupy")
    for rows in [1, 1, *range(1, 13), *range(1, 13), 12]:  # once: the optimizer's state
        for _ in range(3):
            trainer.train_step([batch_of(rows, "cupy")])
    graphed: Any = trainer.runner._graphed  # type: ignore[attr-defined]
    assert graphs(trainer) == len(graphed._graphs) == graph.MAX_SHAPES
    gc.collect()
    assert len(pools) == before + 1
    with no_host_reads():
        trainer.train_step([batch_of(12, "cupy")])
    assert len(pools) == before + 1


def test_each_thread_captures_its_own_work(fake_cupy: Any) -> None:
    """Constants that another thread copies to the device meanwhile are there at once."""
    from tinytorch.backends.cupy import graph

    found: list[Any] = []

    def work(x: Any) -> Any:
        assert graph.is_capturing()
        thread = threading.Thread(target=lambda: found.append(graph.is_capturing()))
        thread.start()
        thread.join()
        return x * 2

    graph.CapturedGraph(work, (fake_cupy.zeros(3, "f4"),), graph.CapturePlace())
    assert found == [False]


def test_a_step_too_large_for_a_graph_is_run_without(
    cupy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tinytorch.backends.cupy import graph

    found = []
    for full in (False, True):
        tinytorch.manual_seed(7)
        trainer, _ = small(cupy, Dropout(0.5))
        kernels: Any = backends.get(cupy).kernels
        linear = kernels["linear"].forward

        def limited(xp: Any, x: Any, *rest: Any, linear: Any = linear, full: bool = full) -> Any:
            if full and graph.is_capturing() and len(x) > 3:
                raise MemoryError("Out of memory allocating 1,024 bytes")
            return linear(xp, x, *rest)

        with monkeypatch.context() as patch:
            patch.setitem(kernels, "linear", kernels["linear"]._replace(forward=limited))
            losses = []
            for step, rows in enumerate([3, 3, 3, 4, 4, 4, 3, 3, 3, 4]):
                too_large = full and step == 4
                warned = pytest.warns(UserWarning, match="too little memory on the GPU for a CUDA")
                with warned if too_large else nullcontext():
                    losses.append(trainer.train_step([batch_of(rows, cupy)]))
            assert graphs(trainer) == 1 + (not full)
        found.append([loss.item() for loss in losses])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-6)


def test_an_eager_step_that_needs_the_memory_of_graphs_gets_it(
    cupy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gradients of the attempt that failed, in its second batch, are not added."""
    found = []
    for full in (False, True):
        tinytorch.manual_seed(7)
        trainer, _ = small(cupy, Dropout(0.5))
        for _ in range(4):
            trainer.train_step([batch_of(2, cupy)])
        assert graphs(trainer) == 1
        kernels: Any = backends.get(cupy).kernels
        linear, calls = kernels["linear"].forward, []

        def limited(
            xp: Any, x: Any, *rest: Any, linear: Any = linear, calls: Any = calls,
            full: bool = full, trainer: Any = trainer,
        ) -> Any:  # fmt: skip
            calls.append(len(x))
            if full and graphs(trainer) and calls == [3, 4]:
                raise MemoryError("Out of memory allocating 1,024 bytes")
            return linear(xp, x, *rest)

        with monkeypatch.context() as patch:
            patch.setitem(kernels, "linear", kernels["linear"]._replace(forward=limited))
            losses = [trainer.train_step([batch_of(3, cupy), batch_of(4, cupy)])]
            assert calls == ([3, 4, 3, 4] if full else [3, 4])
            assert graphs(trainer) == (not full)
        losses += [trainer.train_step([batch_of(rows, cupy)]) for rows in (2, 2, 4, 4)]
        found.append(([loss.item() for loss in losses], weights(trainer)))
    np.testing.assert_allclose(found[1][0], found[0][0], rtol=1e-6)
    for name, array in found[0][1].items():
        np.testing.assert_allclose(found[1][1][name], array, rtol=1e-5, atol=1e-7)


def test_an_update_that_runs_out_of_memory_is_not_made_twice(
    cupy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, _ = small(cupy)
    for _ in range(4):
        trainer.train_step([batch_of(2, cupy)])
    updates: Any = backends.get(cupy).updates
    adam, calls = updates["adam_update"], []

    def interrupted(*arguments: Any, **settings: Any) -> None:
        calls.append(adam(*arguments, **settings))
        raise MemoryError("Out of memory allocating 1,024 bytes")

    with monkeypatch.context() as patch:
        patch.setitem(updates, "adam_update", interrupted)
        with pytest.raises(MemoryError, match="allocating 1,024"):
            trainer.train_step([batch_of(4, cupy)])
    assert len(calls) == 1
    assert trainer.updating
    assert np.isfinite(trainer.train_step([batch_of(4, cupy)]).item())


def test_out_of_memory_is_raised_unchanged(cupy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, batch = small(cupy)
    trainer.train_step([batch])
    trainer.train_step([batch])

    def full(*arguments: Any) -> None:
        raise MemoryError("Out of memory allocating 1,024 bytes")

    kernels: Any = backends.get(cupy).kernels
    with monkeypatch.context() as patch:
        patch.setitem(kernels, "linear", kernels["linear"]._replace(forward=full))
        with pytest.raises(MemoryError, match="allocating 1,024"):
            trainer.train_step([batch])
    assert np.isfinite(trainer.train_step([batch]).item())


def test_a_graph_that_not_all_ranks_have_is_not_used(fake_cupy: Any) -> None:
    from tinytorch.backends.cupy.graph import GraphedCallable

    answers: list[bool] = []

    def work(x: Any) -> Any:
        if len(answers) < 1 and x.shape == (3,) and len(calls) == 1:
            calls.append("failed")
            raise MemoryError("Out of memory allocating 1,024 bytes")
        calls.append("run")
        return x + 1

    def agree(succeeded: bool) -> bool:
        answers.append(succeeded)
        return False

    calls: list[str] = []
    graphed = GraphedCallable(work, agree)
    with pytest.warns(UserWarning, match="too little memory on the GPU for a CUDA graph"):
        results = [graphed("key", fake_cupy.arange(3)).get().tolist() for _ in range(3)]
    assert results == [[1, 2, 3]] * 3
    assert answers == [False]  # this rank has failed
    graphed._key = None
    with pytest.warns(UserWarning, match="too little memory"):
        results = [graphed("other", fake_cupy.arange(3)).get().tolist() for _ in range(3)]
    assert results == [[1, 2, 3]] * 3
    assert answers == [False, True]  # another one has
