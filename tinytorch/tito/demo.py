"""The instructor's way to the class demo: look at the machine, run it, show its pictures."""

import subprocess
import sys
import webbrowser
from importlib.util import find_spec
from pathlib import Path

from ..backends.numpy.threads import num_threads
from . import milestones
from .lesson import LessonError

OUT = Path("runs", "transformer_era")


def demo(root: Path, fast: bool, open_pictures: bool) -> int:
    """Run the demo in this terminal; the exit code is its own.

    Args:
        root: the checkout.
        fast: a rehearsal: one epoch instead of five.
        open_pictures: show them at the end, with what this system shows pictures with.

    Raises:
        LessonError: what the demo needs is not installed.
    """
    missing = [name for name in ("rich", "matplotlib") if find_spec(name) is None]
    if missing:
        raise LessonError(f'the demo needs {" and ".join(missing)}: pip install -e ".[milestones]"')
    threads = num_threads()
    print(f"{threads} threads", "" if threads > 1 else "(it was made for two)", flush=True)
    script = root / milestones.find("05").script
    command = [sys.executable, str(script), "--out", str(root / OUT)]
    code = subprocess.run(command + ["--fast"] * fast, check=False).returncode
    pictures = [root / OUT / name for name in ("loss.png", "attention.png")]
    for picture in pictures if open_pictures and code == 0 else []:
        webbrowser.open(picture.resolve().as_uri())
    return code
