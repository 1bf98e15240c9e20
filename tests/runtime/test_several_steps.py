"""Several training steps from one CUDA graph: the same bits as one step at a time."""

import gc
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_training
from helpers import no_host_reads

import tinytorch
from tinytorch import (
    SGD,
    CrossEntropyLoss,
    Embedding,
    Linear,
    Sequential,
    Tensor,
    TokenDataset,
    Trainer,
    backends,
)
from tinytorch.backends import Trace, registry
from tinytorch.ops import random
from tinytorch.runtime import graphed
from tinytorch.runtime.fused_blocks import FusedBlock
from tinytorch.runtime.trainer import make_runner
from tinytorch.tinygpt import PRESETS, Preset, Run, RunConfig
from tinytorch.tinygpt.presets import build_model

K = graphed.STEPS_AT_ONCE
INTERVAL, PARTS = 10, 2  # steps between two lines of metrics, evaluations
TINY = replace(tiny_training.TINY, num_layers=1, steps=30, accumulation=2, context_doublings=0)
OTHER = replace(
    TINY, muon_lr=None, bias=True, positions="learned", tie_weights=True, accumulation=1,
    schedule="cosine", dropout=0.0,
)  # fmt: skip
GROWING = replace(TINY, context_doublings=2, steps=24)  # blocks grow after 8 and 16 steps


@pytest.fixture
def start(
    cupy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Run]]:
    """A function that starts the same run in a new folder."""
    text = tmp_path / "text"
    text.write_text("to be or not to be, that is the question\n" * 12, encoding="utf-8")

    def begin(preset: Preset = TINY, name: str = cupy, **settings: Any) -> Run:
        monkeypatch.setenv("TT_BACKEND", name)
        registry._named_by_environment.cache_clear()
        out = tmp_path / str(len(list(tmp_path.iterdir())))
        out.mkdir()
        return Run.start(RunConfig(preset, str(text), **settings), out, processes=1)

    yield begin
    registry._named_by_environment.cache_clear()


def go_on(run: Run, several: bool = True, last: int = 10**6) -> Run:
    """Train to the end, or up to a step, as the program does: log, evaluate and save."""
    part = int(run.progress * PARTS)
    while not run.finished and run.trainer.step < last:
        loss = run.step(until=min(last, run.next_stop(INTERVAL, PARTS)) if several else 0)
        if run.trainer.step % INTERVAL == 0 or run.finished:
            run.log(loss=run.read(loss), lr=run.trainer.optimizers[0].lr)
        if int(run.progress * PARTS) > part:
            part = int(run.progress * PARTS)
            run.log(val_loss=run.validate())
    run.save()
    return run


def results(run: Run) -> tuple[Any, ...]:
    """Everything that must be equal: metrics, weights, optimizers, counts and random numbers."""
    arrays = {name: t.numpy().tobytes() for name, t in run.model.state_dict().items()}
    for optimizer in run.trainer.optimizers:
        for i, state in optimizer.state_dict()["state"].items():
            arrays |= {f"{i} {name}": t.numpy().tobytes() for name, t in state.items()}
    rates = [o.lr for o in run.trainer.optimizers]
    return (
        run.metrics(), arrays, [o.steps for o in run.trainer.optimizers], rates, run.trainer.step,
        json.dumps(random.generator().bit_generator.state, default=str), random.mask_state(),
    )  # fmt: skip


def captured(run: Run) -> dict[int, int]:
    """Number of steps -> how many graphs of so many steps there are."""
    graphs: dict[int, int] = {}
    own: Any = run.trainer.runner
    for shapes, graph in own._graphed._graphs.items():
        if hasattr(graph, "replay"):
            graphs[shapes[0][0][0]] = graphs.get(shapes[0][0][0], 0) + 1
    return graphs


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "graphs"),
    [(TINY, {1: 1, K: 1}), (OTHER, {1: 1, K: 1}), (GROWING, {1: 3, K: 1})],
    ids=["muon", "adamw", "growing"],
)
def test_several_steps_give_the_bits_of_single_ones(
    start: Callable[..., Run], preset: Preset, graphs: dict[int, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    single = results(go_on(start(preset), several=False))
    drawn: list[int] = []
    draw = TokenDataset.random_indices
    with monkeypatch.context() as patch:
        patch.setattr(
            TokenDataset, "random_indices",
            lambda self, count, *rest: (drawn.append(count), draw(self, count, *rest))[1],
        )  # fmt: skip
        run = go_on(start(preset))
    assert len(drawn) == preset.steps * preset.accumulation, "no batch is drawn in vain"
    assert results(run) == single
    assert captured(run) == graphs
    host = go_on(start(preset, "numpy"))
    assert [m.keys() for m in host.metrics()] == [m.keys() for m in single[0]]
    for ours, theirs in zip(host.metrics(), single[0], strict=True):
        assert theirs == pytest.approx(ours, rel=2e-2), "products on the GPU are rounded to TF32"


@pytest.mark.slow
def test_several_steps_in_mixed_precision(start: Callable[..., Run], bf16: str) -> None:
    preset = replace(TINY, embed_dim=32, context=16, steps=2 * (2 + K), accumulation=1)
    single = results(go_on(start(preset), several=False))
    run = go_on(start(preset))
    assert results(run) == single
    assert captured(run) == {1: 1, K: 1}
    assert any(isinstance(m, FusedBlock) for m in run.model.modules())


@pytest.mark.slow
@pytest.mark.parametrize("last", [2, 17])
def test_a_run_resumes_with_the_same_bits(start: Callable[..., Run], last: int) -> None:
    expected = results(go_on(start()))
    stopped = go_on(start(), last=last)
    assert stopped.trainer.step == last
    found = results(go_on(Run.resume(stopped.out, processes=1)))
    assert found[:2] == expected[:2]
    assert found[3:] == expected[3:], "but Muon does not save its number of steps"


@pytest.mark.slow
def test_the_host_launches_one_graph_for_several_steps(
    start: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tinytorch.backends.cupy import gemm, graph, launch

    run = go_on(start(), last=11)
    launched: list[Any] = []
    copied: list[Any] = []
    original, asarray = graph.CapturedGraph.launch, type(run.model.backend).asarray
    monkeypatch.setattr(graph.CapturedGraph, "launch", lambda g: (launched.append(g), original(g)))
    monkeypatch.setattr(
        type(run.model.backend), "asarray",
        lambda *given, **names: (copied.append(1), asarray(*given, **names))[1],
    )  # fmt: skip
    before = launch.launches, gemm.calls
    with no_host_reads():
        for step in (11 + K, 11 + 2 * K):
            run.step(until=21)
            assert run.trainer.step == step
    assert (launch.launches, gemm.calls) == before
    assert len(launched) == 2
    assert len(copied) <= 2 * 4, "inputs, targets, numbers and the masks' seed"
    run.step(until=21 + K - 1)
    assert run.trainer.step == 22, "the group would go past the next stop"


@pytest.mark.slow
def test_steps_are_single_where_that_is_needed_or_as_fast(
    start: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start()
    trainer = run.trainer
    tokens, shapes = run.config.preset.tokens_per_step, [(3, 8)] * 4
    for _ in range(2):
        assert trainer.steps_at_once(tokens, *shapes) == 1, (
            "state is allocated, and kernels are compiled"
        )
        run.step()
    assert trainer.steps_at_once(tokens, *shapes) == K
    assert trainer.steps_at_once(tokens, *[(3, 16)] * 4) == 1, "no step had this shape"
    assert trainer.steps_at_once(2**33, *shapes) == 1, "the GPU is slower than the host"
    handle = run.model.register_forward_hook(lambda *arguments: None)
    assert trainer.steps_at_once(tokens, *shapes) == 1
    handle.remove()
    trainer.optimizers[0].missed[0] = 1
    assert trainer.steps_at_once(tokens, *shapes) == 1
    trainer.optimizers[0].missed.clear()
    trainer.runner = make_runner()
    assert trainer.steps_at_once(tokens, *shapes) == 1
    x = Tensor(np.zeros((K, 1, 2, 4), np.int64))
    assert trainer.train_steps(x, x) is None
    assert trainer.step == 2
    timed = go_on(start(minutes=5.0), last=3)
    timed.step(until=20)
    assert timed.trainer.step == 4, "the schedule depends on the time of each step"


@pytest.mark.slow
def test_batches_of_another_shape_or_backend(start: Callable[..., Run]) -> None:
    trainer = go_on(start(), last=3).trainer
    x = Tensor(np.zeros((K, 1, 2, 8), np.int64))
    with pytest.raises(ValueError, match=r"of shape \(steps, batches, ...\), not \(5, 1, 2, 8\)"):
        trainer.train_steps(x, x[1:])
    accepted = Tensor(np.zeros((K, 2, 3, 8), np.int64))
    for given in (x, accepted[:1], accepted[:, :1], Tensor(accepted.numpy(), backend="numpy")):
        assert trainer.train_steps(given, given) is None
    assert trainer.step == 3
    assert trainer.train_steps(accepted, accepted) is not None
    assert trainer.step == 3 + K


@pytest.mark.slow
@pytest.mark.parametrize(("step", "pause"), [(1, 30), (3, 2)])
def test_a_graph_that_is_too_large_is_replaced_by_those_of_single_steps(
    start: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, step: int, pause: int
) -> None:
    """Also if memory runs out in a later step, after an update has been captured. After a pause,
    the graph is tried again."""
    from tinytorch.backends.cupy import graph

    monkeypatch.setattr(graphed, "FIRST_PAUSE", pause)

    expected = results(go_on(start(), several=False))
    kernels: Any = backends.get("cupy").kernels
    loss, calls = kernels["cross_entropy"].forward, []

    def limited(xp: Any, *arguments: Any, **settings: Any) -> Any:
        if graph.is_capturing():
            calls.append(1)
            if len(calls) == 2 * step + 1:  # each step has two batches
                raise MemoryError("Out of memory allocating 1,024 bytes")
        return loss(xp, *arguments, **settings)

    monkeypatch.setitem(
        kernels, "cross_entropy", kernels["cross_entropy"]._replace(forward=limited)
    )
    with Trace() as trace:
        run = go_on(start())
    assert results(run) == expected
    assert trace.ran("several steps") == {"fallback: too little memory for a graph of 5 steps": 1}
    is_tried_again = pause < 30
    # The step is captured alone, once.
    assert len(calls) == 2 * step + 1 + 2 + 2 * K * is_tried_again
    assert captured(run) == ({1: 1, K: 1} if is_tried_again else {1: 1})
    assert not run.trainer.updating


def test_a_graph_of_several_steps_needs_the_memory_of_one(
    start: Callable[..., Run], fake_cupy: Any
) -> None:
    """Each step frees its arrays at once, without the garbage collector, for the next one."""
    run = start()
    run.trainer.runner = make_runner()
    run.step()
    gc.collect()
    gc.disable()
    try:
        used = [
            fake_cupy.get_default_memory_pool().used_bytes()
            for _ in range(3)
            if run.step() is not None
        ]
    finally:
        gc.enable()
    assert len(set(used)) == 1


def test_after_an_error_the_random_numbers_are_those_before_the_steps(
    start: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = go_on(start(), last=6)
    before = results(run)
    replay: Any = run.trainer.runner._graphed  # type: ignore[attr-defined]

    def interrupted(*arguments: Any, **how: Any) -> None:
        replay(*arguments, **how)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(run.trainer.runner, "_graphed", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run.step(until=20)
    assert not run.intact
    assert results(run)[-3:] == before[-3:]


@pytest.mark.slow
def test_state_is_not_allocated_in_a_graph_of_several_steps(start: Callable[..., Run]) -> None:
    """Each launch would set it to zero again. After an optimizer has lost its state, or in a
    process that resumes a run, the next step is a single one."""
    found = []
    for several in (False, True):
        run = go_on(start(OTHER), several, last=15)
        run.trainer.optimizers[0].state.clear()
        found.append(results(go_on(run, several)))
    assert found[0] == found[1]
    trainer = Run.resume(run.out, processes=1).trainer
    assert trainer.optimizers[0].steps
    x = Tensor(np.zeros((K, 1, 3, 8), np.int64))
    assert trainer.steps_at_once(1, (3, 8), (3, 8)) == 1
    assert trainer.train_steps(x, x) is None


CHANGES: dict[str, Callable[[Run], Any]] = {
    "settings": lambda run: run.trainer.optimizers[0].param_groups[0].update(weight_decay=0.9),
    "maximum norm": lambda run: setattr(run.trainer, "grad_clip_norm", 1e-3),
    "weights": lambda run: run.model.load_state_dict(
        {n: t.numpy() * 0.5 for n, t in run.model.state_dict().items()}
    ),
    "rate": lambda run: run.trainer.optimizers[0].scale_lr(0.5),
    "schedule": lambda run: setattr(run.trainer, "scheduler", None),
    "seed": lambda run: tinytorch.manual_seed(2**63 + 5),
}


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
def test_changes_between_launches_take_effect(start: Callable[..., Run], change: str) -> None:
    found = []
    for several in (False, True):
        run = go_on(start(), several, last=15)
        CHANGES[change](run)
        found.append(results(go_on(run, several)))
    assert found[0] == found[1]


def test_an_update_op_by_op_is_repeated(cupy: str) -> None:
    """SGD has no multi-tensor update, and this trainer has no schedule."""
    found = []
    rng = np.random.default_rng(2)
    ids = rng.integers(0, 5, (2 + 2 * K, 1, 7))
    for several in (False, True):
        tinytorch.manual_seed(3)
        model = Sequential(Embedding(5, 4, backend=cupy), Linear(4, 5, backend=cupy))
        optimizer = SGD(model.parameters(), 0.1, 0.9)
        trainer = Trainer(model, optimizer, CrossEntropyLoss(), None, 1.0, cuda_graph=True)
        x = Tensor(ids, backend=cupy)
        losses = [trainer.train_step([(b[0], b[0])]).item() for b in x[:2]]
        for first in (2, 2 + K):
            part = x[first : first + K]
            if several:
                found_losses = trainer.train_steps(part, part)
                assert found_losses is not None
                losses += found_losses.tolist()
            else:
                losses += [trainer.train_step([(b[0], b[0])]).item() for b in part]
        found.append((losses, [p.numpy().tolist() for p in model.parameters()], optimizer.steps))
    assert found[0] == found[1]


def test_ids_out_of_range_leave_the_weights_as_they_were(cupy: str) -> None:
    """In the steps after them too, until the error is raised; then training goes on."""
    tinytorch.manual_seed(3)
    model = Sequential(Embedding(5, 4, backend=cupy), Linear(4, 5, backend=cupy))
    trainer = Trainer(model, SGD(model.parameters(), 0.1), CrossEntropyLoss(), cuda_graph=True)
    x = Tensor(np.zeros((K, 1, 3), np.int64), backend=cupy)
    for _ in range(2):
        trainer.train_step([(x[0, 0], x[0, 0])])
    losses = trainer.train_steps(x, x)
    before = [p.numpy().copy() for p in model.parameters()]
    wrong = x.numpy().copy()
    wrong[0, 0, 1] = 5
    losses = trainer.train_steps(Tensor(wrong, backend=cupy), x)
    assert losses is not None
    with pytest.raises(IndexError, match=r"token id 5 is outside of the vocabulary \[0, 5\)"):
        losses.tolist()
    for parameter, array in zip(model.parameters(), before, strict=True):
        np.testing.assert_array_equal(parameter.numpy(), array)
    assert trainer.train_steps(x, x) is not None
    assert all((p.numpy() != a).any() for p, a in zip(model.parameters(), before, strict=True))


@pytest.mark.slow
def test_the_small_presets_take_several_steps_at_once() -> None:
    small = {
        name for name, preset in PRESETS.items()
        if build_model(preset, 65).num_parameters() * preset.tokens_per_step
        <= graphed.MAX_SMALL_STEP
    }  # fmt: skip
    assert small == {"default", "best", "demo", "coder", "nanogpt-cpu"}


def test_pauses_after_a_lack_of_memory_grow_until_the_batches_change(
    cupy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Sequential(Embedding(5, 4, backend=cupy), Linear(4, 5, backend=cupy))
    trainer = Trainer(model, SGD(model.parameters(), 0.1), CrossEntropyLoss(), cuda_graph=True)
    monkeypatch.setattr(graphed, "FIRST_PAUSE", 3)
    monkeypatch.setattr(graphed.GraphedStep, "_work", FullIfSeveral.work)
    tried = []
    for rows in (4, 6):
        x = Tensor(np.zeros((K, 1, rows), np.int64), backend=cupy)
        for step in range(14):
            if trainer.steps_at_once(rows, (rows,), (rows,)) > 1:
                tried.append(step)
                assert trainer.train_steps(x, x) is None
            trainer.train_step([(x[0, 0], x[0, 0])])
    assert tried == [1, 4, 10] * 2


class FullIfSeveral:
    """`GraphedStep._work` on a GPU that has no room for a graph of several steps."""

    own = graphed.GraphedStep._work

    @staticmethod
    def work(self: Any, numbers: Any, *rest: Any) -> Any:
        if len(numbers) > 1:
            raise MemoryError("Out of memory allocating 1,024 bytes")
        return FullIfSeveral.own(self, numbers, *rest)


@pytest.mark.parametrize("parts", [8, 2.5, 1.0, 0.3])
@pytest.mark.parametrize("steps", [7, 23, 100])
def test_no_report_is_missed(steps: int, parts: float) -> None:
    run = Run.__new__(Run)
    run.config = RunConfig(replace(TINY, steps=steps, warmup_steps=0))
    for step in range(steps):
        run.trainer = type("Steps", (), {"step": step})  # type: ignore[assignment]
        stop = run.next_stop(INTERVAL, parts)
        due = [
            s for s in range(step + 1, steps + 1)
            if s % INTERVAL == 0 or s == steps or int(s / steps * parts) > int(step / steps * parts)
        ]  # fmt: skip
        assert stop == due[0]
