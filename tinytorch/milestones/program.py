"""Frame of a milestone's program: flags, claims that its run must confirm, results, exit code."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from ..backends import default, device
from ..ops.random import manual_seed
from ..serialization.atomic import write_atomically
from ..tinygpt import cli
from ..tinygpt.run import RunError, prepare_folder

SUMMARY = "summary.json"


@dataclass(frozen=True)
class Claim:
    """A statement that a milestone makes, and what its run has found.

    Attributes:
        text: the statement.
        found: what was measured.
        holds: whether the measurement confirms the statement.
    """

    text: str
    found: str
    holds: bool


@dataclass
class Results:
    """What a run has found.

    Attributes:
        claims: the statements of the milestone.
        values: further entries of summary.json.
    """

    claims: list[Claim]
    values: dict[str, Any] = field(default_factory=dict)


class Output:
    """The terminal and the results folder of a run.

    Attributes:
        folder: folder for results.
        quiet: whether only errors are printed.
    """

    def __init__(self, folder: Path, quiet: bool = False) -> None:
        self.folder, self.quiet = folder, quiet

    def print(self, text: str) -> None:
        """Print text, unless the run is quiet."""
        if not self.quiet:
            print(text, flush=True)

    def path(self, name: str) -> Path:
        """Return the path of a result."""
        return self.folder / name


def load(path: Path) -> ModuleType:
    """Import a milestone's program: its folder's name, which begins with a digit, is no package."""
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None  # noqa: PT018
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def parser(name: str, description: str | None, folder: str) -> cli.Parser:
    """Return a parser with the flags that all milestones have.

    Args:
        name: the program's name, for messages.
        description: the program's docstring; its first line is shown by --help.
        folder: default folder for results.
    """
    result = cli.Parser(name, description=(description or "").splitlines()[0])
    out = Path("runs", folder)
    result.add_argument("--seed", type=cli.seed, default=1337, help="random seed [1337]")
    result.add_argument("--out", type=cli.path, default=out, help=f"folder for results [{out}]")
    result.add_argument(
        "--device", choices=["cpu", "cuda"], help="device [that of TT_BACKEND, else cpu]"
    )
    result.add_argument("--quiet", action="store_true", help="print errors only")
    return result


def main(
    arguments: argparse.Namespace,
    name: str,
    pictures: Sequence[str],
    action: Callable[[argparse.Namespace, Output], Results],
) -> int:
    """Run a milestone, write its results, and return the exit code.

    Args:
        arguments: the flags, with those of `parser`.
        name: the program's name, for messages.
        pictures: names of the image files that `action` writes.
        action: computes the results.

    Returns:
        0 if all claims hold, 1 if one does not, 2 for user errors, 130 after Ctrl-C.
    """
    run = partial(_run, arguments, name, pictures, action)
    return cli.exit_code(name, run, "use less data, or TT_BACKEND=numpy instead of a GPU")


def _run(
    arguments: argparse.Namespace,
    name: str,
    pictures: Sequence[str],
    action: Callable[[argparse.Namespace, Output], Results],
) -> int:
    check_matplotlib()  # before the training, not after it
    with on_device(arguments.device):
        backend = default().name  # raises for an unusable backend, before anything is written
        manual_seed(arguments.seed)
        with prepare_folder(arguments.out, [*pictures, SUMMARY]):
            begin, cpu = time.perf_counter(), time.process_time()
            output = Output(arguments.out, arguments.quiet)
            results = action(arguments, output)
            summary = {
                "milestone": name,
                "backend": backend,
                "seed": arguments.seed,
                "seconds": round(time.perf_counter() - begin, 3),
                "cpu_seconds": round(time.process_time() - cpu, 3),
                "claims": [asdict(claim) for claim in results.claims],
                **results.values,
            }
            write_atomically(output.path(SUMMARY), json.dumps(summary, indent=2).encode())
    return judge(name, results.claims, [*pictures, SUMMARY], output)


def on_device(name: str | None) -> AbstractContextManager[Any]:
    """Return the context in which a program runs: on the device that --device names, if it does."""
    return nullcontext() if name is None else device(name)


def check_matplotlib() -> None:
    """Check that plots can be drawn; raises RunError, which says what to install, if not."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise RunError(f"plots need matplotlib ({error}): pip install -e '.[milestones]'") from None
    except ValueError as error:  # MPLBACKEND is the name of no backend
        raise RunError(f"plots need matplotlib, which cannot be imported: {error}") from None


def judge(name: str, claims: Sequence[Claim], files: Sequence[str], output: Output) -> int:
    """Print the claims; those that do not hold to stderr. Return the exit code."""
    output.print("")
    for claim in claims:
        if claim.holds:
            output.print(f"confirmed: {claim.text} ({claim.found})")
    if files:
        output.print(f"{', '.join(files[:-1])} and {files[-1]} are in {output.folder}.")
    failed = [claim for claim in claims if not claim.holds]
    for claim in failed:
        with suppress(OSError, ValueError):  # the terminal may be closed
            print(f"{name}: not confirmed: {claim.text} ({claim.found})", file=sys.stderr)
    return 1 if failed else 0
