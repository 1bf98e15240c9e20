"""The GPU benchmark: its sentence without a GPU, and every line of it on the stand-in for CuPy."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from helpers import load_module, require

PROGRAM = Path(__file__).with_name("gpu.py")


def test_without_a_gpu_it_says_so_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "cupy.py").write_text("is_available = lambda: False")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, PROGRAM], env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1
    assert done.stdout.startswith("skipped: the cupy backend needs a CUDA GPU")


def test_it_measures_and_reports(
    stand_in: Any, monkeypatch: Any, capsys: Any, tmp_path: Path
) -> None:
    gpu = load_module(PROGRAM)
    monkeypatch.setattr("tinytorch.backends.cupy_products.matmul_mode", lambda: "tf32")
    small = replace(
        gpu.PRESETS["nanogpt-gpu"], embed_dim=16, num_layers=1, num_heads=2, context=8, batch_size=2
    )
    monkeypatch.setattr(gpu, "PRESETS", {"nanogpt-gpu": small})
    torch = require("torch")  # on the CPU and not compiled: as much as runs without a GPU
    monkeypatch.setattr(gpu, "TORCH_DEVICE", "cpu")
    monkeypatch.setattr(torch, "compile", lambda function: function)
    assert gpu.main(["--rounds", "1", "--tokens", "3", "--json", str(tmp_path / "r.json")]) == 0
    table = capsys.readouterr().out
    for row in ("| tf32 |", "| fp32 |", "| bf16 |", "| batch 32 |", "| adam_update |"):
        assert row in table
    result = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert result["device"] == "stand-in"
    for row in result["training step"].values():
        assert set(row["ms"]) == {"tinytorch", "torch eager", "torch.compile"}
    assert all(value > 0 for value in result["kernel bandwidth over copy"].values())
