"""The class demo as a program: it explains each step, reports true losses and writes plots."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from helpers import load_module

from tinytorch.attention import MultiHeadAttention
from tinytorch.tito.demo import demo
from tinytorch.tito.lesson import LessonError

pytestmark = pytest.mark.slow

HANG = 300  # seconds after which a process that does not end has failed
ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "milestones" / "05_transformer_era_2017" / "tinygpt_shakespeare.py"
LINES = [f"KING:\nThe {a} of {b} is here.\n\n" for a in ("crown", "sword") for b in ("man", "war")]
PARTS = ["1. The text", "2. Tokenize", "3. Embed", "4. Attend", "5. Train", "6. Generate"]


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "plays.txt"
    path.write_text("".join(LINES) * 30, encoding="utf-8")
    return path


def command(*words: str) -> list[str]:
    return [sys.executable, str(SCRIPT), "--batch-size", "8", *words]


def run(*words: str, code: int = 0) -> str:
    environment = {**os.environ, "PYTHONUTF8": "1"}
    done = subprocess.run(
        command(*words), env=environment, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def test_it_explains_each_step_and_writes_plots(text: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    output = run("--data", str(text), "--epochs", "2", "--out", str(out))
    places = [output.index(part) for part in PARTS]
    assert places == sorted(places)
    for epoch in ("Before training (", "After epoch 1 (", "After epoch 2 ("):
        assert output.count(epoch) == 1
    for attention in ("Before training, the sharpest head", "After training, the sharpest head"):
        assert output.count(attention) == 1
    summary = json.loads((out / "summary.json").read_text())
    tokens = 0.9 * len(text.read_text())
    assert summary["steps"] == -(-2 * tokens // (8 * 64))
    assert f"{summary['val_loss']:.4f}" in output
    metrics = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    losses = [m["val_loss"] for m in metrics if "val_loss" in m]
    assert losses[0] > 2.5 > 1.6 > losses[-1]
    for loss in losses:
        assert f"loss {loss:.3f}" in output
    for name in ("loss.png", "attention.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")


def test_too_little_training_fails_the_claim(text: Path, tmp_path: Path, capsys: Any) -> None:
    program, out = load_module(SCRIPT), tmp_path / "out"
    program.CLAIMED_STEPS = 2  # type: ignore[attr-defined]
    flags = ["--data", str(text), "--batch-size", "8", "--epochs", "0.2", "--out", str(out)]
    assert program.main(flags) == 1
    claim = "it predicts better than the frequencies of pairs of characters"
    assert f"tinygpt_shakespeare: not confirmed: {claim}" in capsys.readouterr().err
    (claimed,) = json.loads((out / "summary.json").read_text())["claims"]
    assert claimed["text"] == claim
    assert not claimed["holds"]


@pytest.mark.nightly
@pytest.mark.parametrize(("factor", "code"), [(1, 0), (0, 1)])
def test_only_a_model_with_attention_is_confirmed(
    factor: int, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    attend = MultiHeadAttention.forward
    monkeypatch.setattr(MultiHeadAttention, "forward", lambda *a, **k: factor * attend(*a, **k))
    flags = ["--batch-size", "8", "--epochs", "0.1", "--out", str(tmp_path / "out")]
    assert load_module(SCRIPT).main(flags) == code
    captured = capsys.readouterr()
    claims = "confirmed: it predicts better than the frequencies of pairs of characters"
    assert claims in (captured.err if code else captured.out)
    assert ("not confirmed" in captured.err) == bool(code)


def test_the_seed_determines_the_weights(text: Path, tmp_path: Path) -> None:
    output = [
        run("--data", str(text), "--epochs", "0.2", "--seed", seed, "--out", str(tmp_path / "out"))
        for seed in ("1", "1", "2")
    ]
    vectors = [next(x for x in s.splitlines() if "begins with" in x) for s in output]
    assert vectors[0] == vectors[1] != vectors[2]
    assert (tmp_path / "out" / "earlier-2" / "summary.json").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot send SIGINT to one process")
def test_ctrl_c_saves_checkpoint_and_plots(text: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen(
        command("--data", str(text), "--epochs", "5000", "--out", str(out)),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8",
    )  # fmt: skip
    deadline = time.monotonic() + HANG
    while not (out / "metrics.jsonl").exists() or len((out / "metrics.jsonl").read_text()) < 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=HANG)
    assert process.returncode == 130
    assert "Stopped after step" in output
    assert "Traceback" not in output
    assert (out / "checkpoint.safetensors").exists()
    assert (out / "attention.png").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--epochs", "0"], "--epochs must be a positive number"),
        (["--epochs", "nan"], "--epochs must be a positive number"),
        (["--batch-size", "0"], "--batch-size must be at least 1"),
        (["--data", "nowhere.txt"], "there is no file"),
    ],
)
def test_invalid_arguments_are_reported(words: list[str], message: str, tmp_path: Path) -> None:
    output = run(*words, "--out", str(tmp_path / "out"), code=2)
    assert message in output
    assert not (tmp_path / "out").exists()


def test_tito_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It passes its flags on, returns the exit code, and opens the plots on success."""
    script = tmp_path / "milestones" / "05_transformer_era_2017" / "tinygpt_shakespeare.py"
    script.parent.mkdir(parents=True)
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    for fast, code in ((True, 0), (False, 0), (True, 3)):
        script.write_text(
            f"import sys\nsys.exit({code} if ('--fast' in sys.argv) == {fast} else 9)"
        )
        opened.clear()
        assert demo(tmp_path, fast, True) == code
        names = [address.rsplit("/", 1)[1] for address in opened]
        assert names == (["loss.png", "attention.png"] if code == 0 else [])
    assert demo(tmp_path, True, False) == 3
    monkeypatch.setattr("tinytorch.tito.demo.find_spec", lambda name: None)
    with pytest.raises(LessonError, match="rich and matplotlib"):
        demo(tmp_path, True, True)
