"""TinyGPT with a tiny preset, for tests under mpiexec; FAULT=KIND:RANK:STEP breaks one rank."""

import errno
import os
import signal
import sys
import time
from dataclasses import replace
from typing import Any

from tinytorch.runtime import heartbeat
from tinytorch.serialization import atomic
from tinytorch.tinygpt import PRESETS, Run
from tinytorch.tinygpt.program import Program

PRESETS["default"] = replace(
    PRESETS["default"], embed_dim=16, num_layers=2, num_heads=2, context=32, dropout=0.2,
    context_doublings=1,
)  # fmt: skip

# Fault tests need not wait for long.
heartbeat.INTERVAL, heartbeat.SILENCE, heartbeat.HANGING = 0.2, 4.0, 4.0


def no_space(*arguments: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def no_memory(*arguments: Any) -> Any:
    raise MemoryError("Unable to allocate 9.3 GiB")


def fault(kind: str, run: Run) -> None:
    """Break this rank, at the start of a step."""
    if kind == "hang":
        time.sleep(3600)
    elif kind == "full":
        atomic.os.replace = no_space  # type: ignore[assignment]
    elif kind == "memory":
        run.trainer.loss_fn = no_memory
    elif kind == "exit":
        os._exit(7)
    elif kind == "stop":  # Ctrl-C twice, in this rank alone
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
    elif kind == "final":  # a signal during the last validation
        run.validate = lambda *given: (
            os.kill(os.getpid(), signal.SIGTERM),
            Run.validate(run, *given),
        )[1]  # type: ignore[method-assign]
    elif kind == "results":  # take longer to write than the others wait for a rank
        run.summarise = lambda *given: (time.sleep(6), Run.summarise(run, *given))[1]  # type: ignore[method-assign]
    else:
        os.kill(os.getpid(), getattr(signal, kind))


def main() -> int:
    kind, rank, step = os.environ.get("FAULT", "none:-1:0").split(":")
    original = Run.step

    def patched(run: Run, until: int = 0) -> Any:
        if os.environ.get("PMI_RANK", "0") == rank and run.trainer.step == int(step):
            fault(kind, run)
        return original(run, until)

    Run.step = patched  # type: ignore[method-assign]
    return Program("tinygpt", "TinyGPT, tiny.").main()


if __name__ == "__main__":
    sys.exit(main())
