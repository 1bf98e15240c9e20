"""What more ranks are predicted to bring: the tables of docs/several-machines.md.

python tests/benchmarks/scaling.py                       print the tables
python tests/benchmarks/scaling.py --write               put them into the page
mpiexec -n 2 python tests/benchmarks/scaling.py --measure      numbers of this network instead

Seconds of one process are those of docs/performance.md, docs/gpu.md and tests/benchmarks/NOTES.md;
everything else on this page is computed by `tinytorch.runtime.scaling`.
"""

import argparse
import functools
import math
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tinytorch.backends.groups import BUCKET_BYTES, MPIGroup
from tinytorch.modules.module import Module, Parameter
from tinytorch.runtime import scaling
from tinytorch.runtime.scaling import Exchange, Network, Work
from tinytorch.runtime.sharding import COSTLY
from tinytorch.tinygpt.presets import PRESETS, build_trainer, model_config
from tinytorch.transformers import GPTConfig

PAGE = Path(__file__).parents[2] / "docs" / "several-machines.md"
BEGIN, END = "<!-- scaling: begin -->\n", "<!-- scaling: end -->\n"
COUNTS = (1, 2, 4, 8, 16, 32, 64)
CHARACTERS = 65  # of Tiny Shakespeare
SMALL_BUCKET = 2**18
MUON = 3.7e-3  # seconds of an update of the default model on two cores

# Assumptions about networks. TCP sends 1,448 bytes in 1,538 on the wire; its latency at 10 Gb/s is
# that of J. Hurwitz and W. Feng, "Initial End-to-End Performance Evaluation of 10-Gigabit Ethernet"
# (2003). NVLink 4 sends 450 GB/s, of which two thirds are taken; its latency is the constant of
# NCCL's own model of rings (src/graph/tuning.cc).
PAYLOAD = 1448 / 1538
# Adding reads two bytes and writes one at the bandwidth in docs/performance.md; copying is what two
# ranks on the machine of the page's figures took.
HOST = {"adding": 19.7e9 / 3, "copying": 5.6e9}
ETHERNET = {
    "1 Gb/s": Network(50e-6, PAYLOAD * 1e9 / 8, **HOST),
    "10 Gb/s": Network(20e-6, PAYLOAD * 10e9 / 8, **HOST),
    "100 Gb/s": Network(10e-6, PAYLOAD * 100e9 / 8, **HOST),
}
NVLINK = {"NVLink": Network(3.4e-6, 300e9)}
# Two ranks of one machine, medians of seven runs of `--measure`; the bandwidth includes additions.
SHARED_MEMORY = Network(4.4e-6, 4.5e9, copying=5.6e9)


@dataclass(frozen=True)
class Case:
    """A model on a kind of machine.

    Args:
        name: of the model.
        work: its step in one process.
        exchange: what a step sends.
        networks: by name.
    """

    name: str
    work: Work
    exchange: Exchange
    networks: dict[str, Network]


# Models


def configs() -> dict[str, GPTConfig]:
    """The models of the presets, and the smallest GPT-2."""
    known = {name: model_config(preset, CHARACTERS) for name, preset in PRESETS.items()}
    return known | {"GPT-2 124M": GPTConfig(50257, 768, 12, 12, tie_weights=True)}


@functools.cache
def described(name: str) -> Module:
    return scaling.describe(configs()[name])


# Seconds of one process


@functools.cache
def sharded(name: str) -> list[Parameter]:
    """The parameters of the optimizers that are divided by default."""
    if name not in PRESETS:
        return []
    trainer = build_trainer(PRESETS[name], scaling.describe(configs()[name]), 1)
    return [p for o in trainer.optimizers if isinstance(o, COSTLY) for p in o.parameters()]


def mpi(name: str, limit: int = BUCKET_BYTES) -> Exchange:
    return scaling.mpi_exchange(described(name), limit, sharded(name))


def pc(name: str, seconds: float, rows: int, update: float) -> Work:
    """A step on two cores of an Intel Xeon at 2.5 GHz; 3.9 ms of it is overhead of four blocks."""
    fixed = 3.9e-3 * configs()[name].num_layers / 4 + update
    return Work(seconds, rows, fixed, update if sharded(name) else 0.0)


def gpu_fixed(name: str, kernels: int) -> float:
    """Of a step on an H200: kernels of 4 us at least, and AdamW, which moves 28 bytes a number."""
    return 4e-6 * kernels + 28 * described(name).num_parameters() / (0.70 * 4007e9)


def extrapolated(known: Work, name: str, other: str, rows: int, fixed: float) -> Work:
    """A step that has not been measured: in proportion to the FLOPs of one that has been."""
    flops = [scaling.step_flops(configs()[n], r) for n, r in ((name, known.rows), (other, rows))]
    return Work(fixed + (known.seconds - known.fixed) * flops[1] / flops[0], rows, fixed)


def two_on_one_machine(name: str) -> tuple[float, float]:
    """Seconds of a step in two processes and in two ranks, as measured: from the page's table."""
    found = re.search(rf"\| `{name}` \| ([\d.]+) \| ([\d.]+) \|", PAGE.read_text(encoding="utf-8"))
    assert found is not None, name
    return 1e-3 * float(found[1]), 1e-3 * float(found[2])


def adam(name: str) -> float:
    """Seconds of AdamW on one core: 460 us for 802,000 numbers."""
    return 460e-6 * described(name).num_parameters() / 802_000


def cases() -> list[Case]:
    """The models whose step in one process has been measured, and the smallest GPT-2."""
    baby, small = "nanogpt-gpu", "GPT-2 124M"
    four = pc(baby, 473e-3, 4, adam(baby))
    on_pc = {
        "nanogpt-cpu": pc("nanogpt-cpu", 45.5e-3, 12, adam("nanogpt-cpu")),
        "default": pc("default", two_on_one_machine("default")[0], 16, MUON),
        baby: extrapolated(four, baby, baby, 64, four.fixed),
        small: extrapolated(four, baby, small, 64, 3 * 3.9e-3 + adam(small)),
    }
    sixty_four = Work(10.72e-3, 64, gpu_fixed(baby, 253))
    on_gpu = {
        "default": Work(1.24e-3, 16, gpu_fixed("default", 297)),
        baby: sixty_four,
        small: extrapolated(sixty_four, baby, small, 64, gpu_fixed(small, 2 * 253)),
    }
    direct = {n: replace(e, adding=math.inf, copying=math.inf) for n, e in ETHERNET.items()}
    links = {n: NVLINK if n == "default" else direct | NVLINK for n in on_gpu}
    return [
        *(Case(n, w, mpi(n), ETHERNET) for n, w in on_pc.items()),
        *(
            Case(f"{n}, GPU", w, scaling.nccl_exchange(described(n), sharded=sharded(n)), links[n])
            for n, w in on_gpu.items()
        ),
    ]


# Tables


def tables() -> str:
    """All tables, as they are on the page."""
    parts = [
        ("What a step sends", bytes_table()),
        ("A fixed batch: strong scaling", scaling_table(scaling.strong)),
        ("A batch that grows with the ranks: weak scaling", scaling_table(scaling.weak)),
        ("What overlap would gain, 8 ranks and a fixed batch", overlap_table()),
        ("Two ranks of one machine", check_table()),
    ]
    return "\n".join("\n".join([f"**{title}**", "", *rows, ""]) for title, rows in parts)


def table(heads: Sequence[str], rows: Iterator[Sequence[str]]) -> list[str]:
    lines = [heads, ["---"] * len(heads), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def bytes_table() -> list[str]:
    def rows() -> Iterator[Sequence[str]]:
        for name in configs():
            model = described(name)
            by_mpi, by_nccl = mpi(name), scaling.nccl_exchange(model)
            megabytes = sum(message.nbytes for message in by_mpi.gradients) / 1e6
            weights = f"{sum(by_mpi.weights) / 1e6:,.1f}" if by_mpi.weights else ""
            count = f"{model.num_parameters():,}"
            sums = len(by_mpi.flags) + len(by_mpi.gradients)
            counts = str(sums), str(len(by_nccl.gradients))
            yield name, count, f"{megabytes:,.1f}", weights, *counts

    heads = ["model", "parameters", "MB of gradients", "of weights", "sums by MPI", "by NCCL"]
    return table(heads, rows())


def scaling_table(scale: Callable[..., dict[int, float]]) -> list[str]:
    def rows() -> Iterator[Sequence[str]]:
        for case in cases():
            for network, speed in case.networks.items():
                plain, overlapping = (
                    scale(COUNTS, case.work, case.exchange, speed, overlap)
                    for overlap in (False, True)
                )
                cells = [pair(f"{plain[n]:.2g}", f"{overlapping[n]:.2g}") for n in COUNTS[1:]]
                worth = pair(*(str(scaling.worth(each)) for each in (plain, overlapping)))
                yield case.name, network, seconds_of(case.work), *cells, worth

    heads = ["model", "network", "one process", *map(str, COUNTS[1:]), "worth"]
    return table(heads, rows())


def overlap_table() -> list[str]:
    def rows() -> Iterator[Sequence[str]]:
        for case in cases():
            exchanges = [case.exchange]
            if case.exchange.flags:
                name = case.name
                exchanges.append(mpi(name, SMALL_BUCKET))
            for network, speed in case.networks.items():
                cells = [
                    milliseconds(scaling.step_seconds(8, case.work.rows, case.work, each, speed, o))
                    for each in exchanges
                    for o in (False, True)
                ]
                yield case.name, network, *cells, *[""] * (4 - len(cells))

    heads = ["ms a step", "network", "after", "during", "after, 256 KiB", "during, 256 KiB"]
    return table(heads, rows())


def check_table() -> list[str]:
    """Two ranks: each takes the whole of AdamW's update on its core; the exchange is added."""
    updates = {"nanogpt-cpu": adam("nanogpt-cpu") / 2, "default": 0.0}

    def rows() -> Iterator[Sequence[str]]:
        for name, update in updates.items():
            processes, ranks = two_on_one_machine(name)
            sums = scaling.exchange_seconds(2, mpi(name), SHARED_MEMORY)
            expected = processes + update + sums
            off = f"{100 * (expected / ranks - 1):+.1f} %"
            numbers = (processes, update, sums, expected, ranks)
            yield name, *map(milliseconds, numbers), off

    heads = ["ms a step", "two processes, measured", "update on one core", "sums", "two ranks"]
    return table([*heads, "two ranks, measured", "off"], rows())


def pair(plain: str, overlapping: str) -> str:
    """Figures without and with overlap; one if they are equal."""
    return plain if plain == overlapping else f"{plain}, {overlapping}"


def milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:,.1f}"


def seconds_of(work: Work) -> str:
    return f"{work.seconds:.1f} s" if work.seconds >= 1 else f"{1e3 * work.seconds:.1f} ms"


# The page, and a network's numbers


def inserted(page: str) -> str:
    """The page with the tables as they are now."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{tables()}\n{END}{after}"


def measured(group: MPIGroup, clock: Callable[[], float] = time.perf_counter) -> Network:
    """Latency, bandwidth with additions, and copying, by the least time of sums in two ranks."""

    def least(*sizes: int) -> float:
        arrays = [np.zeros(size, np.float32) for size in sizes]
        seconds = []
        for _ in range(50):
            begin = clock()
            group.sum(arrays)
            seconds.append(clock() - begin)
        return min(seconds)

    size = 2**20
    one, whole, parts = least(1), least(size), least(size // 2, size // 2)
    seconds = (whole - one) / (size - 1)  # for each number of 4 bytes
    copying = 2 * 4 * size / (parts - whole) if parts > whole else math.inf
    return Network((one - seconds) / 2, 4 / seconds, copying=copying)  # a barrier, and the sum


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--write", action="store_true", help="put the tables into the page")
    parser.add_argument("--measure", action="store_true", help="two ranks: print their network")
    arguments = parser.parse_args()
    if arguments.measure:
        from mpi4py import MPI

        group = MPIGroup(MPI.COMM_WORLD)
        if group.size != 2:
            parser.error("--measure needs two ranks: mpiexec -n 2 python ... --measure")
        network = measured(group)
        if not group.rank:
            print(network)
    elif arguments.write:
        PAGE.write_text(inserted(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        print(tables())


if __name__ == "__main__":
    main()
