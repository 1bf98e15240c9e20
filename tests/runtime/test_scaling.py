"""The cost model of ranks: what a step sends, next to the code that sends it, and its seconds."""

import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from fake_mpi import Comm
from helpers import load_module
from tiny_training import make_trainer, steps

from tinytorch import SGD, Linear, MSELoss, Muon, Sequential, Tensor, Trainer
from tinytorch.backends.groups import MPIGroup
from tinytorch.runtime import scaling
from tinytorch.runtime.ranks import Ranks
from tinytorch.runtime.scaling import Exchange, Message, Network, Work

ROOT = Path(__file__).parents[2]
FREE = Network(latency=0.0, bandwidth=float("inf"))
SLOW = Network(latency=2.0**-10, bandwidth=2.0**20)
SIZES = [2, 3, 4, 5, 6, 7, 8]


@pytest.fixture(scope="module")
def benchmark_file() -> ModuleType:
    return load_module(ROOT / "tests" / "benchmarks" / "scaling.py")


# What a step sends


class DelayedGroup(MPIGroup):
    """A group whose messages take the time of a network, on a clock of its own, and are listed."""

    def __init__(self, size: int, network: Network) -> None:
        super().__init__(Comm(0, size))
        self.network, self.now = network, 0.0
        self.sent: list[int] = []
        self.barriers = 0

    def barrier(self) -> None:
        super().barrier()
        self.barriers += 1
        self.now += self.network.latency

    def _sum(self, array: np.ndarray) -> None:
        array *= self.size
        self.sent.append(array.nbytes)
        self.now += self.network.latency + array.nbytes / self.network.bandwidth

    def _share(self, rows: np.ndarray) -> None:
        self.sent.append(rows.nbytes)
        self.now += scaling.all_gather(len(rows), rows[0].nbytes, self.network)


def layers() -> Trainer:
    """A trainer of layers above and below the size of a bucket."""
    sizes = [3, 1024, 1100, 700, 3]
    model = Sequential(*(Linear(a, b) for a, b in pairwise(sizes)))
    return Trainer(model, SGD(model.parameters(), lr=0.1), MSELoss())


def take_steps(trainer: Trainer, each: int = 1) -> int:
    if isinstance(trainer.model, Sequential):
        batch = Tensor(np.ones((2, 3), np.float32)), Tensor(np.ones((2, 3), np.float32))
        trainer.train_step([batch] * each)
        return 1
    steps(trainer, 3, each=each)
    return 3


@pytest.mark.parametrize("each", [1, 2])
@pytest.mark.parametrize("model", ["gpt", "layers"])
def test_a_step_sends_what_the_model_says(model: str, each: int) -> None:
    """Messages, bytes and waits of real steps; a delay for each of them adds up to the model's."""
    trainer = make_trainer("numpy", False) if model == "gpt" else layers()
    group = DelayedGroup(2, SLOW)
    trainer.ranks = Ranks(group)
    trainer._begin(trainer.ranks, [])
    group.now, group.barriers = 0.0, 0
    count = take_steps(trainer, each)
    sharded = [p for o in trainer.optimizers if isinstance(o, Muon) for p in o.parameters()]
    exchange = scaling.mpi_exchange(trainer.model, sharded=sharded)
    expected = [m.nbytes for m in [*exchange.flags, *exchange.gradients]]
    if model == "gpt":
        expected.append(2 * scaling.largest_share(2, exchange))
    assert group.sent == count * expected
    assert group.barriers == count * exchange.barriers
    assert len(exchange.gradients) == (1 if model == "gpt" else 3)
    seconds = count * scaling.exchange_seconds(2, exchange, SLOW)
    assert group.now == pytest.approx(seconds, rel=1e-9)


def test_nccl_sends_each_array_where_one_bucket_holds_all(fake_cupy: Any) -> None:
    """As the model says; of several buckets, see test_side_stream.py."""
    from tinytorch.backends.cupy.nccl import NCCLGroup

    class Comm:
        sent: list[int] = []  # noqa: RUF012

        def all_reduce(self, source: Any, target: Any) -> None:
            self.sent.append(source.nbytes)

    model = Sequential(Linear(3, 9), Linear(9, 4))
    group = object.__new__(NCCLGroup)
    group._comm = Comm()
    gradients = [fake_cupy.asarray(p.numpy()) for p in model.parameters()]
    group.sum([*gradients, fake_cupy.zeros((), "f4")])
    exchange = scaling.nccl_exchange(model)
    assert [Message(nbytes) for nbytes in Comm.sent] == exchange.gradients
    assert (exchange.flags, exchange.barriers) == ((), 0)


def test_a_large_model_is_described_by_its_config(benchmark_file: ModuleType) -> None:
    model = benchmark_file.described("GPT-2 124M")
    assert model.num_parameters() == 124_439_808
    sent = sum(m.nbytes for m in scaling.mpi_exchange(model).gradients)
    assert sent == 4 * (124_439_808 + 1)


# Algorithms, carried out


def by_ring(arrays: Sequence[np.ndarray]) -> tuple[int, list[int]]:
    """Sum the arrays in place by a ring; returns its turns, and the bytes that each rank sends."""
    n, sent = len(arrays), [0] * len(arrays)
    parts = [list(np.array_split(a, n)) for a in arrays]
    turns = [(turn, add) for add in (True, False) for turn in range(n - 1)]
    for turn, add in turns:
        begin = 0 if add else 1
        moving = [parts[r][(r + begin - turn) % n].copy() for r in range(n)]
        for rank in range(n):
            target = parts[(rank + 1) % n][(rank + begin - turn) % n]
            target[...] = target + moving[rank] if add else moving[rank]
            sent[rank] += moving[rank].nbytes
    return len(turns), sent


def by_doubling(arrays: list[np.ndarray]) -> int:
    """Sum the arrays in place by recursive doubling; returns its turns."""
    power, turns = 2 ** (len(arrays).bit_length() - 1), 0
    extra = len(arrays) - power
    if extra:
        turns += 2  # before and after
        for rank in range(extra):
            arrays[rank][...] += arrays[power + rank]
    distance = 1
    while distance < power:
        old = [a.copy() for a in arrays]
        for rank in range(power):
            arrays[rank][...] += old[rank ^ distance]
        distance, turns = 2 * distance, turns + 1
    for rank in range(extra):
        arrays[power + rank][...] = arrays[rank]
    return turns


@pytest.mark.parametrize("ranks", SIZES)
def test_the_algorithms_take_the_turns_and_bytes_of_their_formulas(ranks: int) -> None:
    rng = np.random.default_rng(0)
    for name in ("ring", "doubling"):
        arrays = [rng.integers(0, 9, 5 * ranks).astype(float) for _ in range(ranks)]
        total, nbytes = sum(arrays), arrays[0].nbytes
        if name == "ring":
            turns, sent = by_ring(arrays)
            assert len(set(sent)) == 1
            moved = sent[0]
        else:
            turns = by_doubling(arrays)
            moved = turns * nbytes
        assert all((a == total).all() for a in arrays)
        formula = getattr(scaling, name)
        assert formula(ranks, nbytes, Network(1.0, float("inf"))) == turns
        assert formula(ranks, nbytes, Network(0.0, 1.0)) == pytest.approx(moved)


def test_additions_are_counted() -> None:
    network = Network(0.0, float("inf"), adding=100.0)
    assert scaling.ring(4, 400, network) == 3.0  # three parts of a quarter
    assert scaling.doubling(4, 400, network) == 8.0  # all of it, twice
    assert scaling.doubling(5, 400, network) == 12.0


def test_small_messages_are_doubled_and_large_ones_go_round() -> None:
    network = Network(1.0, 1000.0)
    assert scaling.all_reduce(8, Message(0), network) == 3.0
    assert scaling.all_reduce(8, Message(80_000), network) == 14 + 140
    assert scaling.all_reduce(1, Message(80_000, 2), Network(1.0, 1.0, 1.0, 1.0)) == 0


def test_only_buckets_of_several_arrays_are_copied() -> None:
    network = Network(0.0, float("inf"), copying=10.0)
    assert scaling.all_reduce(2, Message(100), network) == 0.0
    assert scaling.all_reduce(2, Message(100, 2), network) == 20.0


@pytest.mark.parametrize(("ranks", "turns"), [(1, 0), (2, 1), (3, 2), (4, 2), (64, 6)])
def test_a_barrier_takes_a_logarithm_of_turns(ranks: int, turns: int) -> None:
    assert scaling.barrier(ranks, Network(1.0, 1.0)) == turns


# Steps


WORK = Work(seconds=10.0, rows=9, fixed=1.0)  # one second a row: a third of it forward
SENT = Exchange([Message(400), Message(200)], [Message(0)], barriers=2)
BYTES = Network(latency=0.0, bandwidth=100.0)  # in two ranks a message of 100 bytes takes a second


def test_a_step_is_that_of_the_rank_with_the_most_rows() -> None:
    seconds = [scaling.step_seconds(n, 9, WORK, SENT, FREE) for n in (1, 2, 4, 9, 16)]
    assert seconds == [10.0, 6.0, 4.0, 2.0, 2.0]


def test_what_is_sent_after_the_backward_pass_is_added() -> None:
    assert scaling.step_seconds(2, 9, WORK, SENT, BYTES) == 6.0 + 6.0
    waits = Network(latency=1.0, bandwidth=float("inf"))
    assert scaling.step_seconds(2, 9, WORK, SENT, waits) == 6.0 + 2 + 1 + 2
    # The first sum ends during the backward pass, the second one a second after it.
    assert scaling.step_seconds(2, 9, WORK, SENT, waits, overlap=True) == pytest.approx(6 + 1 + 3)


def test_what_is_sent_during_the_backward_pass_is_hidden_until_its_end() -> None:
    # 6 rows a rank, so 2 s forward and 4 backward; the second message of 2 s is ready after a third
    # of the latter, the first one of 4 s at the end.
    work = Work(seconds=13.0, rows=12, fixed=1.0)
    ready = 2 + 4 * (200 / 600)
    assert ready + 2 < 6
    assert scaling.step_seconds(2, 12, work, SENT, BYTES, overlap=True) == pytest.approx(1 + 6 + 4)
    slow = Network(0.0, 50.0)  # the network is busy from the first message on
    expected = 1 + ready + 4 + 8
    assert scaling.step_seconds(2, 12, work, SENT, slow, overlap=True) == pytest.approx(expected)


def test_one_process_sends_nothing() -> None:
    for overlap in (False, True):
        assert scaling.step_seconds(1, 9, WORK, SENT, BYTES, overlap) == pytest.approx(10.0)


def test_weights_that_are_divided_are_sent_and_their_update_takes_less() -> None:
    work = Work(seconds=10.0, rows=9, fixed=4.0, update=3.0)
    sent = Exchange([Message(0)], weights=[300, 200, 100])
    assert scaling.largest_share(2, sent) == 300
    assert scaling.largest_share(8, sent) == 300  # more ranks than parameters
    free = scaling.step_seconds(3, 9, work, sent, FREE)
    assert free == pytest.approx(1 + 3 / 2 + 6 / 3)
    assert scaling.step_seconds(3, 9, work, sent, BYTES) == pytest.approx(free + 2 * 3)
    assert scaling.step_seconds(1, 9, work, sent, BYTES) == pytest.approx(10)


def test_a_free_network_leaves_what_is_not_divided() -> None:
    assert scaling.strong([1, 2, 9, 64], WORK, SENT, FREE) == {1: 1, 2: 10 / 6, 9: 5, 64: 5}
    assert scaling.weak([1, 2, 64], WORK, SENT, FREE) == {1: 1, 2: 2, 64: 64}


def test_a_slow_network_costs_less_where_the_batch_grows() -> None:
    strong, weak = (f([8], WORK, SENT, BYTES)[8] for f in (scaling.strong, scaling.weak))
    ring = 2 * 7 / 8 * 6
    assert strong == pytest.approx(10 / (1 + 2 + ring))
    assert weak == pytest.approx(8 * 10 / (10 + ring))


def test_where_more_ranks_stop_paying() -> None:
    assert scaling.worth({1: 1.0, 2: 1.2, 4: 1.4}) == 1
    assert scaling.worth({1: 1.0, 2: 1.2, 4: 1.5, 8: 1.6}) == 4
    assert scaling.worth({1: 1.0, 2: 0.1, 4: 0.2}) == 1  # the second is twice the first, of little


def test_flops_are_those_of_the_products() -> None:
    """Forward: 2 for each weight and token, and half of the scores; both gradients as much each."""
    config = scaling.GPTConfig(11, 16, 3, 2, 8)
    tokens, weights = 5 * 8, 3 * 12 * 16 * 16 + 16 * 11
    scores = 3 * 2 * (2 * 5 * 8 * 8 * 16) / 2  # in each block two products, (T, C) x (C, T)
    assert scaling.step_flops(config, 5) == 3 * (2 * tokens * weights + scores)


# The page


def test_the_page_has_the_tables_of_the_command(benchmark_file: ModuleType) -> None:
    """If it is outdated, run `python tests/benchmarks/scaling.py --write`."""
    page = benchmark_file.PAGE.read_text(encoding="utf-8")
    assert benchmark_file.BEGIN in page
    assert benchmark_file.inserted(page) == page


def test_a_network_is_measured_by_its_sums(benchmark_file: ModuleType) -> None:
    network = Network(3e-5, 1e8)
    group = DelayedGroup(2, network)
    found = benchmark_file.measured(group, clock=lambda: group.now)
    assert found.latency == pytest.approx(network.latency, rel=1e-6)
    assert found.bandwidth == pytest.approx(network.bandwidth, rel=1e-6)


def test_steps_over_a_slowed_network_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a network: programs that answer as those in namespaces do."""
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "benchmarks"))
    monkeypatch.delitem(sys.modules, "scaling", raising=False)
    script = load_module(ROOT / "tests" / "benchmarks" / "slow_network.py")
    rates: list[int] = []

    def apart(file: str, argument: str) -> str:
        if argument == "--measure":
            return "Network(latency=2e-05, bandwidth=1e9, adding=inf, copying=5e9)"
        exchange = script.mpi(argument)
        network = Network(2e-5, script.PAYLOAD * rates[-1] * 1e6 / 8, **script.HOST)
        seconds = 0.05 + scaling.exchange_seconds(2, exchange, network)
        return f"{argument}: {1e3 * seconds:.3f} ms; 1 MB of state"

    def together(file: str, preset: str) -> str:
        shared = scaling.exchange_seconds(2, script.mpi(preset), script.SHARED_MEMORY)
        return f"{preset}: {1e3 * (0.05 + shared):.3f} ms; 1 MB of state"

    lines = script.compared(["default"], together, apart, rates.append)
    assert rates == [1000, 200, 50]
    cells = [line.strip(" |").split(" | ") for line in lines[2:]]
    assert {row[5] for row in cells} <= {"+0 %", "-0 %"}
    assert [row[3] for row in cells] == [row[4] for row in cells]
    assert len({row[4] for row in cells}) == 3

    lines = script.overlapped(
        ["default"], lambda *given: "900.0 ms, 800.0 ms; 1 MB", lambda *given: "9.0 ms, 8.0 ms",
        rates.append,
    )  # fmt: skip
    assert lines[2:] == [
        "| shared memory | 900.0 | 800.0 |", "| 1 Gb/s | 9.0 | 8.0 |", "| 200 Mb/s | 9.0 | 8.0 |"
    ]  # fmt: skip
    assert rates[3:] == [1000, 200]
