"""tito works, and repairs the package, when the package cannot be imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LESSONS = (
    "tensor", "autograd", "activations", "layers", "losses", "dataloader", "optimizers",
    "training", "tokenization", "embeddings", "attention", "transformers",
)  # fmt: skip
SCRIPT = "import sys\nfrom tinytorch.tito.cli import main\nsys.exit(main())\n"
BREAKS = {
    "a syntax error": "def broken(:\n",
    "an unknown name": "x: nowhere.Array = 1\n",
    "an endless loop": "while True:\n    pass\n",
    "sys.exit": "import sys\nsys.exit(0)\n",
    "os._exit": "import os\nos._exit(0)\n",
    "an empty file": None,
    "a deleted file": None,
    "a circular import": "from tinytorch import GPT\n",
    "not UTF-8": None,
    "a NUL": "x = '\0'\n",
}


def tito(root: Path, *words: str, module: bool = False, code: int = 0) -> str:
    """Output of the command `tito` in a process of its own, which a student would start."""
    script = root.parent / "tito"  # named as pip names it
    script.write_text(SCRIPT)
    start = ["-m", "tinytorch.tito"] if module else [str(script)]
    done = subprocess.run(
        [sys.executable, *start, *words], cwd=root, capture_output=True, text=True, timeout=120,
        env={**os.environ, "PYTHONPATH": str(root), "COLUMNS": "200"}, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done.stdout


def break_module(path: Path, how: str) -> None:
    if how == "a deleted file":
        path.unlink()
    elif how == "an empty file":
        path.write_bytes(b"")
    elif how == "not UTF-8":
        path.write_bytes(path.read_bytes() + "x = 'ä'\n".encode("latin-1"))
    else:
        path.write_text(path.read_text(encoding="utf-8") + str(BREAKS[how]), encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("module", [False, True], ids=["tito", "python -m tinytorch.tito"])
@pytest.mark.parametrize("how", BREAKS)
def test_reset_repairs_an_exported_module_that_is_broken(
    checkout: Path, how: str, module: bool
) -> None:
    path = checkout / "tinytorch" / "attention.py"
    before = path.read_bytes()
    backup = checkout / "workspace" / ".backup" / "12_attention" / "tinytorch" / "attention.py"
    backup.parent.mkdir(parents=True)
    backup.write_bytes(before)
    break_module(path, how)
    assert "restored tinytorch/attention.py" in tito(checkout, "reset", "12", module=module)
    assert path.read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize("name", LESSONS)
def test_tito_imports_no_lesson(checkout: Path, name: str) -> None:
    """A lesson that is broken by hand: reset names the file and the way out."""
    path = checkout / "tinytorch" / f"{name}.py"
    good = path.read_text(encoding="utf-8")
    (checkout / ".git").mkdir()
    for how in ("an unknown name", "a deleted file"):
        path.write_text(good, encoding="utf-8")
        break_module(path, how)
        output = tito(checkout, "reset", "10", code=1)
        assert "nothing to undo" in output
        assert f"git checkout -- tinytorch/{name}.py restores the committed file" in output
    path.write_text("while True:\n    pass\n")
    assert "TinyGPT" in tito(checkout, "milestone", "list")


def test_other_programs_named_tito_py_import_the_lessons(tmp_path: Path) -> None:
    script = tmp_path / "tito.py"
    script.write_text("import tinytorch\nprint(tinytorch.Tensor)\n")
    command = [sys.executable, str(script)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert "Tensor" in done.stdout, done.stderr


@pytest.mark.slow
def test_exported_code_cannot_break_tito_test_or_status(checkout: Path) -> None:
    """Broken by hand after the export: status and doctor name file, line and the way out."""
    path = checkout / "tinytorch" / "attention.py"
    backup = checkout / "workspace" / ".backup" / "12_attention" / "tinytorch" / "attention.py"
    backup.parent.mkdir(parents=True)
    backup.write_bytes(path.read_bytes())
    break_module(path, "an unknown name")
    for command, code in (("status", 0), ("doctor", 1)):
        output = " ".join(tito(checkout, command, code=code).split())
        for part in (
            "NameError: name 'nowhere' is not defined",
            "tinytorch/attention.py",
            "x: nowhere",
        ):
            assert part in output
        assert "tito reset 12 restores it" in output


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("command", ["status", "--help", "reset 12", "start 99", "grade nowhere"])
def test_output_that_cannot_be_written_is_one_sentence(checkout: Path, command: str) -> None:
    script = checkout.parent / "tito"
    script.write_text(SCRIPT)
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, str(script), *command.split()], cwd=checkout, stdout=full,
            stderr=subprocess.PIPE, text=True, check=False,
            env={**os.environ, "PYTHONPATH": str(checkout)},
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("tito: the output cannot be written")
    assert len(done.stderr.splitlines()) == 1
