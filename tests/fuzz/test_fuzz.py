"""Mutated files are read or refused with a declared error: a short run of each fuzz target."""

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import fuzz_files

pytest.importorskip("resource", reason="this system cannot limit a process's memory")

CASES = 200


@pytest.mark.slow
@pytest.mark.parametrize("target", [target.name for target in fuzz_files.all_targets()])
def test_mutated_files_raise_only_declared_errors(target: str) -> None:
    # In a process of its own, because this one may need more than the limit of memory.
    command = [sys.executable, fuzz_files.__file__, "--cases", str(CASES), "--seed", "15"]
    done = subprocess.run(
        [*command, f"--only={target}"], capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(f"{target}: {CASES} cases: ")
    assert " refused" in done.stdout
    assert " accepted" in done.stdout
