"""Fuzz the readers of files: python tests/fuzz/fuzz_files.py --cases 10000 --seed 1

Each target mutates a good file and reads it. A case fails if the reader raises an exception that it
does not declare, takes more than `TIME_LIMIT`, or allocates more than `MEMORY_LIMIT`. Cases depend
only on the seed, the target and their number, so `--only NAME --first N --cases 1` repeats one.
"""

import argparse
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

sys.path[:0] = map(str, Path(__file__).resolve().parents[1:3])
sys.path.insert(0, str(Path(__file__).resolve().parent))

TIME_LIMIT = 20  # seconds
MEMORY_LIMIT = 2 * 2**30  # bytes of address space


class Target(NamedTuple):
    """A reader of files.

    Attributes:
        name: for the table and `--only`.
        prepare: writes good files into an empty folder, once; returns what `mutate` needs.
        mutate: ``mutate(prepared, rng, folder)`` writes a mutated file into an empty folder, and
            returns what `read` needs.
        read: reads it, and raises AssertionError if the result is wrong.
        declared: the exceptions that it may raise.
    """

    name: str
    prepare: Callable[[Path], Any]
    mutate: Callable[[Any, random.Random, Path], Any]
    read: Callable[[Any], object]
    declared: tuple[type[BaseException], ...]


def all_targets() -> list[Target]:
    """Return the targets of the files in this folder."""
    import checkpoint_files
    import notebook_files
    import pretrained_files
    import tokenizer_files

    modules = [checkpoint_files, tokenizer_files, notebook_files, pretrained_files]
    return [target for module in modules for target in module.TARGETS]


def fuzz(target: Target, seed: int, numbers: Sequence[int]) -> tuple[Counter[str], list[str]]:
    """Run cases in child processes; return the number of each outcome, and the failures."""
    outcomes: Counter[str] = Counter()
    failures: list[str] = []
    left = list(numbers)
    context = multiprocessing.get_context("fork")
    while left:
        ours, theirs = context.Pipe()
        child = context.Process(target=_work, args=(target, seed, left, theirs), daemon=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # fork with threads
            child.start()
        theirs.close()
        while left:
            outcome = _next_outcome(ours, prepared=len(left) < len(numbers))
            number = left.pop(0)
            kind = outcome.split(":")[0]
            outcomes[kind] += 1
            if kind not in ("accepted", "refused"):
                failures.append(f"{target.name} {number}: {outcome}")
            if kind in ("hang", "died"):
                break
        child.kill()
        child.join()
    return outcomes, failures


def _next_outcome(pipe: Connection, prepared: bool) -> str:
    if not pipe.poll(TIME_LIMIT + (0 if prepared else 60)):
        return "hang: no answer in time"
    try:
        return str(pipe.recv())
    except EOFError:
        return "died: the process ended"


def _work(target: Target, seed: int, numbers: Sequence[int], pipe: Connection) -> None:
    """Run the cases, and send the outcome of each."""
    import resource

    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    base = Path(tempfile.mkdtemp(prefix="fuzz-"))
    try:
        good = base / "good"
        good.mkdir()
        prepared = target.prepare(good)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
        for number in numbers:
            pipe.send(run_case(target, prepared, seed, number, base / "case"))
    finally:
        shutil.rmtree(base, ignore_errors=True)


def run_case(target: Target, prepared: Any, seed: int, number: int, folder: Path) -> str:
    """Run one case in this process; return its outcome."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    given = target.mutate(prepared, random.Random(f"{seed}/{target.name}/{number}"), folder)
    try:
        target.read(given)
    except target.declared:
        return "refused"
    except BaseException as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}:{place.lineno}"
        return f"{type(error).__name__}: {error!s:.200} ({where})"
    return "accepted"


def check_length(error: BaseException, *paths: Path) -> None:
    """Check that a message does not carry a file's own text at any length."""
    assert len(str(error)) < 1000 + sum(len(str(path)) for path in paths)


# Values of every JSON type, for a place in a file where another one belongs.
ODD_VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 2, 7, 2**31, 2**63, -(2**63), 10**30, 0.5, -0.0, 1e308, -1e308,
    5e-324, float("nan"), float("inf"), "", "x", "char", "bpe", "cosine", "PCG64", "\0", "../x",
    "1", "\ud7ff", "a" * 10_000, [], [1], ["a", "b"], [[[]]], [None] * 3, {}, {"a": 1}, {"": None},
]  # fmt: skip


def mutate_bytes(data: bytes, rng: random.Random) -> bytes:
    """Return the bytes with one or more flipped, set, removed, inserted, repeated or cut off."""
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        if not changed:
            break
        at = rng.randrange(len(changed) if rng.random() < 0.5 else min(200, len(changed)))
        size = rng.choice([1, 2, 8, 100])
        kind = rng.randrange(6)
        if kind == 0:
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            changed[at] = rng.randrange(256)
        elif kind == 2:
            del changed[at : at + size]
        elif kind == 3:
            changed[at:at] = rng.randbytes(size)
        elif kind == 4:
            changed[at:at] = changed[at : at + size]
        else:
            del changed[at:]
    return bytes(changed)


def mutate_json(value: Any, rng: random.Random) -> Any:
    """Return a copy of a JSON value in which one place, at any depth, is different."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(sorted(value))
        kind = rng.random()
        if kind < 0.1:
            return {k: v for k, v in value.items() if k != key}
        if kind < 0.15:
            return {**value, rng.choice(["", "x", "0", key + "x"]): rng.choice(ODD_VALUES)}
        return {**value, key: mutate_json(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.8:
        at = rng.randrange(len(value))
        kind = rng.random()
        if kind < 0.1:
            return value[:at] + value[at + 1 :]
        if kind < 0.2:
            return [*value[:at], value[at], *value[at:]]
        return [*value[:at], mutate_json(value[at], rng), *value[at + 1 :]]
    if rng.random() < 0.02:
        deep: Any = 1
        for _ in range(rng.choice([50, 400])):
            deep = [deep]
        return deep
    return rng.choice(ODD_VALUES)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cases", type=int, default=10_000, help="cases of all targets together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", help="targets whose names contain this")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    arguments = parser.parse_args()
    targets = [t for t in all_targets() if (arguments.only or "") in t.name]
    each = max(1, arguments.cases // len(targets))
    failed: list[str] = []
    for target in targets:
        numbers = range(arguments.first, arguments.first + each)
        outcomes, failures = fuzz(target, arguments.seed, numbers)
        table = ", ".join(f"{count:,} {kind}" for kind, count in sorted(outcomes.items()))
        print(f"{target.name}: {each:,} cases: {table}", flush=True)
        failed += failures
    for failure in failed:
        print(failure)
    print(f"seed {arguments.seed}: {len(failed)} failures in {each * len(targets):,} cases")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
