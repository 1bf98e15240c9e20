"""The class demo for instructors: check the machine, run the demo, open its plots."""

import subprocess
import sys
import webbrowser
from importlib.util import find_spec
from pathlib import Path

from ..backends.numpy.threads import num_threads
from . import milestones
from .lesson import LessonError

OUT = Path("runs", "transformer_era")


def demo(root: Path, fast: bool, open_plots: bool) -> int:
    """Run the demo in this terminal, and return its exit code.

    Args:
        root: the checkout.
        fast: train for one epoch instead of five.
        open_plots: open the plots at the end, in the system's default viewer.

    Raises:
        LessonError: a required package is not installed.
    """
    missing = [name for name in ("rich", "matplotlib") if find_spec(name) is None]
    if missing:
        raise LessonError(
            f'the demo requires {" and ".join(missing)}: pip install -e ".[milestones]"'
        )
    threads = num_threads()
    note = "" if threads > 1 else " (the demo is designed for at least two)"
    print(f"Threads: {threads}{note}", flush=True)
    script = root / milestones.find("05").script
    command = [sys.executable, str(script), "--out", str(root / OUT)]
    code = subprocess.run(command + ["--fast"] * fast, check=False).returncode
    plots = [root / OUT / name for name in ("loss.png", "attention.png")]
    for plot in plots if open_plots and code == 0 else []:
        webbrowser.open(plot.resolve().as_uri())
    return code
