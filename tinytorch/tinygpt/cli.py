"""Shared parts of the command line programs: flag types, and errors as one sentence."""

import argparse
import math
import os
import re
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn, TextIO

from ..backends import BackendError
from ..backends.trace import debugging
from ..data.datasets import DataError
from ..runtime.agreement import RankError
from ..runtime.data_parallel import ReplicaError
from ..serialization.checkpoint import CheckpointError
from .interrupt import Stop
from .presets import MAX_STEPS
from .run import Run, RunError

EXPECTED = (
    BackendError, CheckpointError, DataError, RankError, ReplicaError, RunError, OSError,
)  # fmt: skip
LONGEST = 600  # characters of an error message; some quote the contents of a file
MAX_MINUTES = 1e6  # about two years


ON_A_GPU = """environment: TT_BACKEND=cupy trains on an NVIDIA GPU, TT_MATMUL=bf16 there in mixed
precision; see docs/gpu.md"""


class Parser(argparse.ArgumentParser):
    """Argument parser whose errors are one sentence, without the usage."""

    def error(self, message: str) -> NoReturn:
        message = re.sub(r"^argument (--[\w-]+): must", r"\1 must", one_line(message))
        self.exit(2, f"{self.prog}: {message} (--help lists the flags)\n")


def positive_int(text: str) -> int:
    """Parse an integer from 1 to `MAX_STEPS`."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a positive integer, not {text!r:.40}")
    return _bounded(text, 1, MAX_STEPS)


def seed(text: str) -> int:
    """Parse an integer from 0 to 2**64 - 1."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be an integer of at least 0, not {text!r:.40}")
    return _bounded(text, 0, 2**64 - 1)


def _bounded(text: str, smallest: int, largest: int) -> int:
    digits = text.lstrip("0")  # Python refuses to convert thousands of digits
    value = int(digits or "0") if len(digits) <= len(str(largest)) else largest + 1
    if value < smallest:
        raise argparse.ArgumentTypeError(f"must be at least {smallest}, not {text!r:.40}")
    if value > largest:
        raise argparse.ArgumentTypeError(f"must be at most {largest}, not {text!r:.40}")
    return value


def _number(text: str) -> float:
    """The text as a number, or NaN."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def positive(text: str) -> float:
    """Parse a positive, finite number."""
    value = _number(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a positive number, not {text!r:.40}")
    return value


def minutes(text: str) -> float:
    """Parse a positive number of minutes, at most `MAX_MINUTES`."""
    value = positive(text)
    if value > MAX_MINUTES:
        raise argparse.ArgumentTypeError(f"must be at most {MAX_MINUTES:,.0f}, not {text!r:.40}")
    return value


def temperature(text: str) -> float:
    """Parse a temperature: 0, which is greedy sampling, or a positive, finite number."""
    value = _number(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"must be 0 or a positive number, not {text!r:.40}")
    return value


def path(text: str) -> Path:
    """Parse the path of a file or folder."""
    if not text:
        raise argparse.ArgumentTypeError("must not be empty")
    return Path(text)


def valid(text: str) -> str:
    """Return text that can be encoded; bytes that are no UTF-8 become U+FFFD.

    Python keeps them as surrogates, in arguments and in what is piped in.
    """
    try:
        data = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # other surrogates, as from Windows
        data = text.encode("utf-8", "surrogatepass")
    return data.decode("utf-8", "replace")


def standard_input() -> TextIO:
    """Return the standard input; raises RunError if it is closed, as by `<&-`."""
    if sys.stdin is None or sys.stdin.closed:
        raise RunError("there is no input, the standard input is closed: pass --prompt")
    return sys.stdin


def absolute(file: Path) -> str:
    """Return the absolute path without symbolic links; a loop of links is not an error."""
    return os.path.realpath(file)


def exit_code(name: str, action: Callable[[], int], memory_advice: str) -> int:
    """Run a program, and return its exit code.

    Args:
        name: the program's name, for messages.
        action: runs the program and returns its exit code.
        memory_advice: what to do when memory runs out.

    Returns:
        the code of `action`; 2 after an expected error, which is printed as one sentence; or 128
        plus the number of the signal that stopped the program (130 for Ctrl-C).
    """
    tolerate_encodings()
    try:
        return action()
    except (*EXPECTED, MemoryError) as error:
        with suppress(OSError, ValueError):  # the terminal may be closed
            print(f"{name}: {sentence(error, memory_advice)}", file=sys.stderr)
        return 2
    except NotImplementedError as error:
        if not str(error).endswith(" is blank"):
            raise
        # From a course folder, whose exercises are blank.
        print(f"{name}: {error}; tito status shows what is still to be written", file=sys.stderr)
        return 2
    except Stop as stop:
        return 128 + stop.number
    except KeyboardInterrupt:
        return 130


def tolerate_encodings() -> None:
    """Let no character end the program.

    What the console cannot encode is printed as "?"; bytes of the input that are no text are kept
    for `valid`.
    """
    kinds = {"stdin": "surrogateescape", "stdout": "replace", "stderr": "replace"}
    for name, errors in kinds.items():
        stream = getattr(sys, name)
        if hasattr(stream, "reconfigure"):
            with suppress(OSError, ValueError):  # it may be closed
                stream.reconfigure(errors=errors)


def sentence(error: Exception, memory_advice: str) -> str:
    """Return an error as one line: what happened, and for an unexpected error also where."""
    text = one_line(_message(error))
    if isinstance(error, MemoryError):
        return f"out of memory ({text or 'allocation failed'}): {memory_advice}"
    if isinstance(error, EXPECTED):
        return text or type(error).__name__
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"in {Path(place.filename).name}, line {place.lineno}"
    return f"{type(error).__name__}: {text} ({where}; TT_DEBUG=1 shows the traceback)"


def _message(error: Exception) -> str:
    """The message of an exception; that of an OSError without Python's "[Errno 2]"."""
    if not (isinstance(error, OSError) and error.strerror):
        return str(error)
    return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"


def training_error(run: Run, error: Exception, memory_advice: str, resume: str) -> RunError:
    """Save a run whose training has failed; return the error with advice on how to go on.

    Args:
        run: the run.
        error: the exception of its training.
        memory_advice: what to do when memory runs out.
        resume: the command that resumes the run.
    """
    show_traceback(error)
    what = sentence(error, memory_advice)
    if not run.trainer.step:
        return RunError(what)
    if not run.can_save(error):
        return RunError(f"{what}; the last save is intact, resume with: {resume}")
    try:
        run.save()
    except (CheckpointError, RunError, MemoryError) as second:
        return RunError(f"{what}; and the run could not be saved: {one_line(str(second))}")
    return RunError(f"{what}; step {run.trainer.step} is saved, resume with: {resume}")


def show_traceback(error: Exception) -> None:
    """Print the traceback of an exception if TT_DEBUG is set."""
    if debugging():
        traceback.print_exception(error)


def one_line(text: str) -> str:
    """Return the text without line breaks, and shortened if it is very long."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else line[: LONGEST - 3] + "..."
