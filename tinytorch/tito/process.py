"""Run programs that contain a student's code, within limits of time, memory and output."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

SHOWN = 20_000  # characters of output that are kept, from its end

# Run by the program itself, because no limit may apply to tito. RLIMIT_DATA counts allocated
# memory only; RLIMIT_AS would also count the addresses that CUDA reserves. NumPy's matrix products
# allocate about 40 MiB per processor.
LIMITS = """
try:
    import os, resource
    _memory = (4 << 30) + (os.cpu_count() or 1) * (64 << 20)
    for _limit, _value in (
        (resource.RLIMIT_DATA, _memory), (resource.RLIMIT_FSIZE, 1 << 28), (resource.RLIMIT_CORE, 0)
    ):
        _soft, _hard = resource.getrlimit(_limit)
        if _hard == resource.RLIM_INFINITY or _hard > _value:
            resource.setrlimit(_limit, (_value, _hard))
except (ImportError, OSError, ValueError):  # not on this system
    pass
"""


@dataclass(frozen=True)
class Finished:
    """How a program ended: its exit code, or None if it was killed, and the end of its output."""

    code: int | None
    output: str


def run(
    command: list[str], folder: Path, environment: Mapping[str, str], expired: Callable[[], bool]
) -> Finished:
    """Run a program without input, and kill it and its children once `expired()` is true."""
    with tempfile.TemporaryFile() as output:
        program = subprocess.Popen(
            command, cwd=folder, env=dict(environment), start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            while not _has_ended(program) and not expired():
                pass
            code = program.poll()
        finally:  # also on Ctrl-C, which does not reach a program in a session of its own
            _kill(program)
        output.seek(max(0, output.seek(0, os.SEEK_END) - SHOWN))
        return Finished(code, output.read().decode("utf-8", errors="replace").strip())


@contextmanager
def exit_on_signals() -> Iterator[None]:
    """Exit on SIGTERM and SIGHUP (a closed terminal), which would leave the program running.

    A signal that is ignored, by nohup for example, stays ignored.
    """
    signals = [getattr(signal, n) for n in ("SIGTERM", "SIGHUP") if hasattr(signal, n)]
    changed = [number for number in signals if signal.getsignal(number) == signal.SIG_DFL]
    for number in changed:
        signal.signal(number, lambda number, frame: sys.exit(128 + number))
    try:
        yield
    finally:
        for number in changed:
            signal.signal(number, signal.SIG_DFL)


def _has_ended(program: subprocess.Popen[bytes]) -> bool:
    try:
        program.wait(0.1)
    except subprocess.TimeoutExpired:
        return False
    return True


def _kill(program: subprocess.Popen[bytes]) -> None:
    """Kill a program with all children that it has started."""
    if sys.platform == "win32":
        program.kill()
    else:
        with suppress(ProcessLookupError):  # all have ended
            os.killpg(program.pid, signal.SIGKILL)
    program.wait()
