"""Kill runs at random moments, and resume them: python tests/fuzz/kill_runs.py --seed 1

Every run must end as if it had not been killed: the same weights, optimizer state, metrics and
summary to the bit, all pictures, no other file in the folder, and no process left. SIGTERM and
SIGHUP must not lose a step.
"""

import argparse
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from helpers import load_module

from tinytorch.serialization import checkpoint
from tinytorch.tinygpt import Run
from tinytorch.tinygpt.run import CHECKPOINT, RESULTS

PROGRAM = Path(__file__).resolve().parents[2] / "milestones" / "tinygpt.py"
HANG = 300  # seconds
CONTEXT = multiprocessing.get_context("fork")


class Child:
    """The program in a forked process with a process group of its own."""

    def __init__(self, main: Any, arguments: list[str]) -> None:
        self.steps = CONTEXT.Value("q", 0)  # number of the last step that has ended
        self.process = CONTEXT.Process(target=self._work, args=(main, arguments))
        self.process.start()
        self.pid = self.process.pid or 0

    def _work(self, main: Any, arguments: list[str]) -> None:
        os.setsid()
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        step = Run.step

        def counted(run: Run, until: int) -> Any:
            loss = step(run, until)
            self.steps.value = run.trainer.step
            return loss

        Run.step = counted  # type: ignore[method-assign]
        try:
            code = main(arguments)
        except SystemExit as stop:
            code = int(stop.code or 0)
        os._exit(code)

    def send(self, number: int, group: bool, delay: float) -> bool:
        """Send a signal after a delay; return whether the process was still running."""
        self.process.join(delay)
        if self.process.exitcode is not None:
            return False
        try:
            (os.killpg if group else os.kill)(self.pid, number)
        except ProcessLookupError:  # it has no group of its own yet
            os.kill(self.pid, number)
        return True

    def wait(self) -> int:
        """Wait for the process and its group to end; return the exit code."""
        self.process.join(HANG)
        code = self.process.exitcode
        assert code is not None, "the program hangs"
        deadline = time.monotonic() + 300
        while left := group_of(self.pid):
            assert time.monotonic() < deadline, f"processes are left: {left}"
            time.sleep(0.01)
        return code


def group_of(pid: int) -> list[str]:
    """Return the processes of a group that have not ended (on Linux)."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, group = path.read_text().rpartition(")")[2].split()[:3]
        except OSError:  # it has ended meanwhile
            continue
        if int(group) == pid and state not in "ZX":
            found.append(path.parent.name)
    return found


def differences(ours: Path, whole: Path) -> list[str]:
    """Return what is different from the uninterrupted run."""
    found = []
    names = sorted(p.name for p in ours.iterdir() if not p.name.startswith("earlier-"))
    if names != sorted(RESULTS):
        found.append(f"files {names}")
    a, b = (checkpoint.load(folder / CHECKPOINT)[0] for folder in (ours, whole))
    if a.keys() != b.keys() or any(not np.array_equal(a[n], b[n]) for n in a):
        found.append("weights or optimizer state")
    if _metrics(ours) != _metrics(whole):
        found.append("metrics")
    if _summary(ours) != _summary(whole):
        found.append("summary")
    pictures = ("loss.png", "attention.png")
    return found + [n for n in pictures if not (ours / n).read_bytes().endswith(b"IEND\xaeB`\x82")]


def _metrics(out: Path) -> list[Any]:
    lines = (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [_without_times(json.loads(line)) for line in lines]


def _summary(out: Path) -> Any:
    return _without_times(json.loads((out / "summary.json").read_text(encoding="utf-8")))


def _without_times(values: dict[str, Any]) -> dict[str, Any]:
    times = ("train_seconds", "tokens_per_second")
    return {name: value for name, value in values.items() if name not in times}


class Runs:
    """Runs of one text with a number of processes, and what became of them."""

    def __init__(self, folder: Path, processes: int, steps: int) -> None:
        text = folder / "text"
        text.write_text("to be or not to be, that is the question\n" * 80, encoding="utf-8")
        self.main = load_module(PROGRAM).main
        self.flags = ["--quiet", "--processes", str(processes)]
        self.new = ["--data", str(text), "--steps", str(steps), "--batch-size", "2"]
        self.whole = folder / f"whole-{processes}"
        began = time.monotonic()
        assert self.start(self.whole).wait() == 0
        self.seconds = time.monotonic() - began

    def start(self, out: Path) -> Child:
        """Resume the run in folder `out`, or start it if it has no checkpoint yet."""
        if (out / CHECKPOINT).exists():
            return Child(self.main, [*self.flags, "--resume", str(out)])
        return Child(self.main, [*self.flags, *self.new, "--out", str(out)])

    def kill(self, out: Path, rng: random.Random) -> list[str]:
        """Kill a run once or several times, and resume it to the end; return what is wrong."""
        while True:
            child = self.start(out)
            killed = child.send(signal.SIGKILL, rng.random() < 0.5, self._moment(rng))
            code = child.wait()
            if not killed or rng.random() < 0.5:
                break
        if code not in (0, -signal.SIGKILL):
            return [f"code {code}"]
        code = self.start(out).wait()
        return [f"code {code} after --resume"] if code else differences(out, self.whole)

    def stop(self, out: Path, number: int, rng: random.Random) -> list[str]:
        """Stop a run by a signal, and resume it to the end; return what is wrong."""
        child = self.start(out)
        child.send(number, rng.random() < 0.5, self._moment(rng))
        code = child.wait()
        if code not in (0, 128 + number, -number):  # the last one: before it handles signals
            return [f"code {code}"]
        saved = 0
        if (out / CHECKPOINT).exists():
            saved = checkpoint.load(out / CHECKPOINT)[1]["step"]
        if saved != child.steps.value:
            return [f"{child.steps.value - saved} steps are lost (code {code})"]
        if list(out.glob(".tinytorch-*")):
            return ["a temporary file"]
        code = self.start(out).wait()
        return [f"code {code} after --resume"] if code else differences(out, self.whole)

    def _moment(self, rng: random.Random) -> float:
        return rng.uniform(0, 1.1 * self.seconds)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=100, help="runs that are killed by SIGKILL")
    parser.add_argument("--stops", type=int, default=20, help="runs stopped by SIGTERM, by SIGHUP")
    parser.add_argument("--steps", type=int, default=40)
    arguments = parser.parse_args()
    failures: list[str] = []
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        kinds = [Runs(folder, processes, arguments.steps) for processes in (1, 2)]
        plan = [("SIGKILL", arguments.kills), ("SIGTERM", arguments.stops),
                ("SIGHUP", arguments.stops)]  # fmt: skip
        for signal_name, count in plan:
            for n in range(count):
                rng = random.Random(f"{arguments.seed}/{signal_name}/{n}")
                runs, out = kinds[n % 2], folder / f"{signal_name}-{n}"
                number = getattr(signal, signal_name)
                if number == signal.SIGKILL:
                    wrong = runs.kill(out, rng)
                else:
                    wrong = runs.stop(out, number, rng)
                counts[signal_name] += 1
                failures += [f"{signal_name} {n}: {what}" for what in wrong]
            bad = sum(failure.startswith(signal_name) for failure in failures)
            print(f"{signal_name}: {counts[signal_name]} runs, {bad} failures", flush=True)
    print(*failures, f"seed {arguments.seed}: {len(failures)} failures", sep="\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
