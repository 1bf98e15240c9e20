"""The option --backend, for backends of other packages too."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent

PLUGIN = """
from tinytorch import backends
from tinytorch.backends.numpy.backend import NumpyBackend


class Mine(NumpyBackend):
    name = "mine"


class Broken(NumpyBackend):
    name = "broken"

    def __init__(self):
        raise backends.BackendError("broken: the driver is missing")


backends.register("mine", Mine)
backends.register("broken", Broken)
"""


def run_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest on the op tests, with a plugin that registers backends."""
    (folder / "my_plugin.py").write_text(PLUGIN, encoding="utf-8")
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTEST_ADDOPTS": ""}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "my_plugin"]
    return subprocess.run(
        [*command, *arguments, "tests/ops/test_ops.py", "-k", "softmax"],
        cwd=TESTS.parent, env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


@pytest.mark.slow
def test_a_registered_backend_runs_the_tests(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, "--backend", "mine", "-vv")
    assert done.returncode == 0, done.stdout
    ran = [line for line in done.stdout.splitlines() if "PASSED" in line]
    assert ran
    assert all("mine" in line for line in ran)
    assert "SKIPPED" not in done.stdout


@pytest.mark.slow
def test_a_backend_that_cannot_be_used_is_skipped_with_its_reason(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, "--backend", "broken", "-rs")
    assert "broken: the driver is missing" in done.stdout
    assert " passed" not in done.stdout


def test_an_unknown_backend_is_an_error_that_names_the_known(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, "--backend", "nonsense")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "unknown backend 'nonsense' for --backend; available: numpy" in done.stderr
    assert "mine" in done.stderr
