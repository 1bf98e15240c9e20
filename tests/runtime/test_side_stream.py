"""Sums of gradients on a second stream of a GPU, on the fake CuPy; under mpiexec in test_ranks.py.

The fake's side stream does its work when another stream waits for it, and refuses work that does
not wait for all that the current stream has been given.
"""

import gc
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fake_mpi import Comm
from tiny_training import make_trainer, steps, weights

from tinytorch import Trainer
from tinytorch.backends import BackendError
from tinytorch.backends.groups import MPIGroup
from tinytorch.runtime import overlap, scaling
from tinytorch.runtime.ranks import Ranks
from tinytorch.runtime.scaling import Message


class Host(MPIGroup):
    """The ranks on the host, of which the other one tells what this one does."""

    differs_by = 0  # the other rank's checksum of its buckets

    def __init__(self) -> None:
        super().__init__(Comm(0, 2))

    def _sum(self, array: Any) -> None:
        array *= 2

    def start_beside(self, array: Any) -> Comm:
        array[1] = array[0] + self.differs_by
        return self.comm


class Doubling:
    """MPI below the fake NCCL: the other rank has the same arrays."""

    def Allreduce(self, where: Any, array: np.ndarray) -> None:  # noqa: N802
        array *= 2

    def Bcast(self, array: np.ndarray, root: int) -> None:  # noqa: N802
        pass


@pytest.fixture
def join(fake_cupy: Any, cupy_fp32: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Gives a trainer two ranks on GPUs; `calls` are those of NCCL: array, stream, captured."""
    from cupyx import distributed

    from tinytorch.backends.cupy import nccl

    monkeypatch.setattr(overlap, "BUCKET_BYTES", 3000)
    monkeypatch.setattr(distributed, "calls", [])

    def joined(trainer: Trainer, overlaps: bool | None = None) -> Trainer:
        group = nccl.NCCLGroup.__new__(nccl.NCCLGroup)
        backend = distributed._NCCLBackend.__new__(distributed._NCCLBackend)
        backend._mpi, backend._comm = SimpleNamespace(IN_PLACE=None), Doubling()
        group._host, group.rank, group.size = Host(), 0, 2
        group._comm, group._side = backend, fake_cupy.cuda.Stream(non_blocking=True)
        trainer.ranks = Ranks(group._host)
        trainer.ranks._groups[trainer.model.backend] = group
        trainer.ranks.overlaps = overlaps
        trainer.shard_optimizers = False
        return trainer

    return SimpleNamespace(joined=joined, nccl=nccl, distributed=distributed)


def sums(join: Any) -> list[tuple[int, int, bool]]:
    """Bytes, stream and whether it was captured of each sum."""
    calls = join.distributed.calls
    found = [tuple(rest) for name, *rest in calls if name == "all_reduce"]
    calls.clear()
    return found  # type: ignore[return-value]


@pytest.mark.parametrize("graphed", [False, True])
def test_results_are_those_of_sums_after_the_backward_pass(join: Any, graphed: bool) -> None:
    after, early = (make_trainer("cupy", graphed) for _ in range(2))
    expected = steps(join.joined(after, overlaps=False), 4, each=2)
    one_by_one = sums(join)
    assert {stream for _, stream, captured in one_by_one if not captured} == {0}
    assert steps(join.joined(early), 4, each=2) == expected  # the first step sets `overlaps`
    for name, array in weights(after).items():
        np.testing.assert_array_equal(weights(early)[name], array, err_msg=name)
    side = early.ranks.group(early.model.backend)._side.ptr  # type: ignore[union-attr]
    expected_sums = scaling.nccl_exchange(make_trainer("numpy", False).model, 3000).gradients
    found = sums(join)
    eager = 2 if graphed else 4  # then one is captured, and replayed
    captured = [captured for *_, captured in found]
    assert captured == [False] * 12 * eager + [True] * 12 * graphed
    for i in range(0, len(found), 12):
        *buckets, loss = found[i : i + 12]
        assert {stream for _, stream, _ in buckets} == {side}
        sent = [Message(nbytes) for nbytes, *_ in (*reversed(buckets), loss)]
        assert sent == expected_sums
        assert loss[1] != side


def test_sums_are_queued_while_the_backward_pass_runs(
    join: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    queued = []
    finish = overlap.EarlySums.finish

    def noting(early: Any, *error: Any) -> Any:
        queued.append(len(join.distributed.calls))
        return finish(early, *error)

    monkeypatch.setattr(overlap.EarlySums, "finish", noting)
    trainer = join.joined(make_trainer("cupy", False), overlaps=True)
    trainer._has_begun = True
    steps(trainer, 1)
    assert queued == [10]  # of 11: the last one has the embeddings


@pytest.fixture
def leave_out(join: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[Trainer, str], None]:
    """Leaves out the waits of the side stream (fork), or those for it (join)."""
    wait_for = join.nccl.wait_for

    def leave_out(trainer: Trainer, what: str) -> None:
        side = trainer.ranks.group(trainer.model.backend)._side  # type: ignore[union-attr]

        def wait(stream: Any, other: Any) -> None:
            if (stream if what == "fork" else other) is not side:
                wait_for(stream, other)

        monkeypatch.setattr(join.nccl, "wait_for", wait)

    return leave_out


def gradients(trainer: Trainer) -> list[np.ndarray]:
    """Of one step, without its update."""
    trainer.update = trainer.zero_grad = lambda *_: None  # type: ignore[method-assign,assignment]
    steps(trainer, 1)
    return [p.grad.numpy() for p in trainer.parameters() if p.grad is not None]


def test_the_fake_finds_a_side_stream_that_does_not_wait(join: Any, leave_out: Any) -> None:
    trainer = join.joined(make_trainer("cupy", True), overlaps=True)
    steps(trainer, 2)  # the next one is captured
    leave_out(trainer, "fork")
    with pytest.raises(
        BackendError, match="cudaErrorStreamCaptureIsolation"
    ):  # it is no part of it
        steps(trainer, 1)
    trainer.runner = make_trainer("cupy", False).runner
    with pytest.raises(AssertionError, match="a stream that does not wait for the current one"):
        steps(trainer, 1)


def test_the_fake_finds_results_that_are_not_waited_for(join: Any, leave_out: Any) -> None:
    after, early, wrong = (make_trainer("cupy", False) for _ in range(3))
    expected = gradients(join.joined(after, overlaps=False))
    actual = gradients(join.joined(early, overlaps=True))
    leave_out(join.joined(wrong, overlaps=True), "join")
    halves = gradients(wrong)
    for theirs, ours, half in zip(expected, actual, halves, strict=True):
        np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(2 * half, theirs)


def test_a_graph_whose_streams_are_not_joined_cannot_be_captured(join: Any, leave_out: Any) -> None:
    trainer = join.joined(make_trainer("cupy", True), overlaps=True)
    steps(trainer, 2)
    leave_out(trainer, "join")
    with pytest.raises(BackendError, match="cudaErrorStreamCaptureUnjoined"):
        steps(trainer, 1)


def side_sums(join: Any, agree: Callable[[], bool] = lambda: True) -> Any:
    trainer = join.joined(make_trainer("cupy", False))
    group = trainer.ranks.group(trainer.model.backend)
    return join.nccl.StreamSums(group._comm, group._side, agree)


def test_memory_is_not_freed_before_the_sum(join: Any, fake_cupy: Any) -> None:
    sums = side_sums(join)
    sums.queue.put(fake_cupy.ones(3, "f4"))
    sums.go_on()
    gc.collect()
    assert sums.finish() is None
    sums.queue.put(array := fake_cupy.ones(3, "f4"))
    sums.go_on()
    sums._summed.clear()
    del array
    gc.collect()
    with pytest.raises(AssertionError, match="memory was freed too early"):
        sums._side.synchronize()


def test_ranks_with_other_buckets_sum_after_the_backward_pass(
    join: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Host, "differs_by", 1)
    after, early = (make_trainer("cupy", True) for _ in range(2))
    expected = steps(join.joined(after, overlaps=False), 3)
    found = sums(join)
    assert steps(join.joined(early, overlaps=True), 3) == expected
    theirs = sums(join)
    assert [n for n, *_ in theirs] == [n for n, *_ in found]
    assert theirs[0][1] == 0


@pytest.mark.parametrize("count", [1, 3])
def test_ctrl_c_while_the_ranks_agree_leaves_no_sum_out(
    join: Any, fake_cupy: Any, count: int
) -> None:
    answers = iter([KeyboardInterrupt(), True])

    def agree() -> bool:
        answer = next(answers)
        if isinstance(answer, KeyboardInterrupt):
            raise answer
        return answer

    sums = side_sums(join, agree)
    first, *others = arrays = [fake_cupy.full(3, n + 1, "f4") for n in range(count)]
    sums.queue.put(first)
    with pytest.raises(KeyboardInterrupt):
        sums.go_on()
    for array in others:
        sums.queue.put(array)
        sums.go_on()
    assert sums.finish() is None
    assert [array.get()[0] for array in arrays] == [2 * (n + 1) for n in range(count)]


def test_a_rank_without_buckets_waits_for_the_others(join: Any) -> None:
    asked: list[bool] = []
    side_sums(join, lambda: bool(asked.append(True))).finish()
    assert asked


@pytest.mark.parametrize("graphed", [False, True])
def test_an_error_of_the_model_ends_all_sums(
    join: Any, graphed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = join.joined(make_trainer("cupy", graphed), overlaps=True)
    steps(trainer, 2)
    count = len(sums(join)) // 2 - 1  # without the loss
    block = type(trainer.model.blocks[0])
    forward = block.forward
    monkeypatch.setattr(block, "forward", lambda *_: 1 / 0)
    with pytest.raises(BackendError if graphed else ZeroDivisionError, match="division by zero"):
        steps(trainer, 1)
    assert len(sums(join)) == count  # the other ranks' streams wait for them
    assert trainer.ranks.group(trainer.model.backend)._side._later == []
    monkeypatch.setattr(block, "forward", forward)
    assert np.isfinite(steps(trainer, 2)).all()
