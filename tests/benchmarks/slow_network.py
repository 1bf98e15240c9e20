"""Steps of two ranks over a network that is slowed, next to what the cost model predicts.

python tests/benchmarks/slow_network.py default nanogpt-cpu       as root, on Linux with ip and tc
python tests/benchmarks/slow_network.py --overlap nanogpt-gpu --rows 2 --shard none --steps 13

Each rank has a network namespace of its own. A token bucket at both ends of the pair of interfaces
between them limits the bandwidth; the latency is that of TCP on this machine, because few kernels
have what delays packets. The ranks share the processor with the TCP stack.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from scaling import HOST, PAYLOAD, SHARED_MEMORY, milliseconds, mpi, table

from tinytorch.runtime.scaling import Network, exchange_seconds

HERE = Path(__file__).parent
RATES = {"1 Gb/s": 1000, "200 Mb/s": 200, "50 Mb/s": 50}  # in Mb/s
ENDS = {"tinytorch0": "10.213.0.1/30", "tinytorch1": "10.213.0.2/30"}  # namespace and interface
Run = Callable[..., str]  # of a program in two ranks with these arguments, returns its output


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("presets", nargs="*", help="presets whose steps are measured")
    parser.add_argument("--overlap", nargs=argparse.REMAINDER, default=[], metavar="...",
                        help="arguments of ranks.py, run with its --overlap")  # fmt: skip
    arguments = parser.parse_args()
    missing = [tool for tool in ("ip", "tc", "mpiexec") if shutil.which(tool) is None]
    if missing or os.geteuid():
        parser.error(f"needs root, and the commands ip, tc and mpiexec; missing: {missing}")
    with namespaces():
        if arguments.presets:
            print("\n".join(compared(arguments.presets, together, apart, slow)))
        if arguments.overlap:
            print("\n".join(overlapped(arguments.overlap, together, apart, slow)))


def overlapped(
    arguments: Sequence[str], together: Run, apart: Run, slow: Callable[[int], None]
) -> list[str]:
    """The table of steps whose sums run after the backward pass and during it."""

    def rows() -> Iterator[Sequence[str]]:
        for name, rate in [("shared memory", 0), *list(RATES.items())[:2]]:
            if rate:
                slow(rate)
            run = apart if rate else together
            times = re.findall(r"([\d.]+) ms", run("ranks.py", *arguments, "--overlap"))
            yield name, *times

    return table(["ms a step", "after", "during"], rows())


def compared(
    presets: Sequence[str], together: Run, apart: Run, slow: Callable[[int], None]
) -> list[str]:
    """The table: a step in shared memory, and over the network at each rate."""

    def rows() -> Iterator[Sequence[str]]:
        latency = float(found(r"latency=([\d.e-]+)", apart("scaling.py", "--measure")))
        for preset in presets:
            exchange = mpi(preset)
            for name, rate in RATES.items():
                fast = step(together("ranks.py", preset))
                own = fast - exchange_seconds(2, exchange, SHARED_MEMORY)
                slow(rate)
                network = Network(latency, PAYLOAD * rate * 1e6 / 8, **HOST)
                expected = own + exchange_seconds(2, exchange, network)
                measured = step(apart("ranks.py", preset))
                off = f"{100 * (expected / measured - 1):+.0f} %"
                yield preset, name, *map(milliseconds, (fast, expected, measured)), off

    heads = ["ms a step", "network", "shared memory", "predicted", "measured", "off"]
    return table(heads, rows())


def step(output: str) -> float:
    """Seconds of a step in the output of ranks.py."""
    return 1e-3 * float(found(r": ([\d.]+) ms", output))


def found(pattern: str, output: str) -> str:
    match = re.search(pattern, output)
    assert match is not None, output
    return match[1]


# The network


@contextmanager
def namespaces() -> Iterator[None]:
    """A context with two network namespaces that are connected."""
    first, second = ENDS
    try:
        for end in ENDS:
            call("ip", "netns", "add", end)
        call("ip", "link", "add", first, "type", "veth", "peer", "name", second)
        for end, address in ENDS.items():
            call("ip", "link", "set", end, "netns", end)
            call("ip", "-n", end, "addr", "add", address, "dev", end)
            call("ip", "-n", end, "link", "set", end, "up")
            call("ip", "-n", end, "link", "set", "lo", "up")
        yield
    finally:
        for end in ENDS:
            subprocess.run(["ip", "netns", "delete", end], check=False)


def slow(rate: int) -> None:
    """Limit both directions to so many Mb/s."""
    for end in ENDS:
        bucket = ["tbf", "rate", f"{rate}mbit", "burst", "64kb", "latency", "100ms"]
        call("tc", "-n", end, "qdisc", "replace", "dev", end, "root", *bucket)


def together(*arguments: str) -> str:
    """Output of a program in two ranks, which share memory."""
    return call("mpiexec", "-n", "2", *python(*arguments))


def apart(*arguments: str) -> str:
    """Output of a program in two ranks, one in each namespace."""
    parts: list[str] = []
    for end in ENDS:
        use = [f"FI_TCP_IFACE={end}", "FI_PROVIDER=tcp", "MPIR_CVAR_CH4_NETMOD=ofi"]
        use += ["MPIR_CVAR_NOLOCAL=1", "OMP_NUM_THREADS=1"]
        command = ["ip", "netns", "exec", end, "env", *use, *python(*arguments)]
        parts += [":"] * bool(parts) + ["-n", "1", *command]
    return call("mpiexec", *parts)


def python(file: str, *arguments: str) -> list[str]:
    return [sys.executable, str(HERE / file), *arguments]


def call(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main()
