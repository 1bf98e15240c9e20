"""A signal that stops tito also stops the student's program, which has a session of its own."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from example_lesson import PACKAGE, SOURCE, make

from tinytorch.tito import weave

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("hangup"),
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux"),
]

# SIGINT is ignored in programs that a shell has started in the background.
TITO = """
import signal, sys
from pathlib import Path
from tinytorch.tito.cli import _test
from tinytorch.tito.lesson import load
signal.signal(signal.SIGINT, signal.default_int_handler)
root = Path(sys.argv[1])
_test(load(77, root), root / "mine.ipynb", root / "test_it.py")
"""
LOOP = "open({!r}, 'w').write(str(os.getpid()) + '.')\nwhile True: pass\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("part", ["inline", "integration"])
def test_a_signal_stops_the_program_of_the_student(
    tmp_path: Path, number: signal.Signals, part: str
) -> None:
    lesson, pid = make(tmp_path, SOURCE, PACKAGE.replace("@decorated\n", "")), tmp_path / "pid"
    notebook = weave.solution(lesson)
    (tmp_path / "test_it.py").write_text(f"import os\n{LOOP.format(str(pid))}")
    if part == "inline":
        notebook.cells[2].source += f"\nimport os\n{LOOP.format(str(pid))}"
    weave.write(notebook, tmp_path / "mine.ipynb")
    tito = subprocess.Popen([sys.executable, "-c", TITO, str(tmp_path)], stdout=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 60
        while not (pid.exists() and pid.read_text().endswith(".")):
            assert time.monotonic() < end
            time.sleep(0.05)
        started = int(pid.read_text()[:-1])
        tito.send_signal(number)
        assert tito.wait(120) in (128 + number, -number)
        status = Path(f"/proc/{started}/status")
        assert not status.exists() or "zombie" in status.read_text()
    finally:
        tito.kill()
        tito.wait()
        if pid.exists():
            with suppress(ProcessLookupError):
                os.kill(int(pid.read_text()[:-1]), signal.SIGKILL)
