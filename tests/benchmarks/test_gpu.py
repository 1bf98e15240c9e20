"""The GPU benchmark: its message without a GPU, and all of its code on the fake CuPy."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers import load_module, require

from tinytorch.data.datasets import Corpus

PROGRAM = Path(__file__).with_name("gpu.py")


def test_without_a_gpu_it_prints_the_reason_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "cupy.py").write_text("is_available = lambda: False")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, PROGRAM], env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1
    assert done.stdout.startswith("skipped: the cupy backend needs a CUDA GPU")


@pytest.mark.slow
def test_it_imports_its_siblings_without_pytest(tmp_path: Path) -> None:
    """torch_reference and sweep, with only the program's own folder on the path."""
    require("torch")
    (tmp_path / "pytest.py").write_text("raise ImportError('not installed')")
    code = (
        f"import sys; sys.path.insert(0, {str(PROGRAM.parent)!r}); import gpu\n"
        "print(gpu.sibling('torch_reference').gpt.__name__, gpu.sibling('sweep').train.__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("gpt train\n", "")


@pytest.fixture
def gpu(fake_cupy: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The benchmark with small presets, the fake CuPy, and PyTorch on the CPU, not compiled."""
    program = load_module(PROGRAM)
    monkeypatch.setattr("tinytorch.backends.cupy.gemm.matmul_mode", lambda: "tf32")
    sizes = {"embed_dim": 16, "num_layers": 1, "num_heads": 2, "context": 8, "batch_size": 2}
    small = {n: replace(program.PRESETS[n], **sizes) for n in ("nanogpt-gpu", "default", "best")}
    monkeypatch.setattr(program, "PRESETS", small)
    torch = require("torch")
    monkeypatch.setattr(program, "TORCH_DEVICE", "cpu")
    monkeypatch.setattr(torch, "compile", lambda function: function)
    monkeypatch.setattr(program, "MAX_QUEUED_COPIES", 100)
    return program


@pytest.mark.slow
def test_the_report_has_all_sections(gpu: Any, capsys: Any, tmp_path: Path) -> None:
    assert gpu.main(["--rounds", "1", "--tokens", "3", "--json", str(tmp_path / "r.json")]) == 0
    table = capsys.readouterr().out
    for row in ("tf32", "fp32", "bf16", "default, tf32", "best, tf32", "batch 32", "adam_update"):
        assert f"\n| {row} |" in table
    assert "training to a loss" not in table
    result = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert result["device"] == "fake GPU"
    for name, row in result["training step"].items():
        sides = {"tinytorch", "torch eager", "torch.compile"}
        assert set(row["ms"]) == sides - ({"torch.compile"} if "," in name else set())
    assert all(value > 0 for value in result["kernel bandwidth over copy"].values())


def test_option_train_reports_the_validation_loss(
    gpu: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any, tmp_path: Path
) -> None:
    sweep, used = gpu.sibling("sweep"), []
    text = "To be, or not to be, that is the question. " * 9
    monkeypatch.setattr(sweep, "tiny_shakespeare", lambda: Corpus("text", text, "", ""))
    build = sweep.build_model
    monkeypatch.setattr(sweep, "build_model", lambda *given: used.append(build(*given)) or used[0])
    monkeypatch.setitem(gpu.PRESETS, "best", replace(gpu.PRESETS["best"], steps=2, warmup_steps=1))
    for section in ("training_steps", "generations", "kernel_rows"):
        monkeypatch.setattr(gpu, section, lambda *given: iter(()))
    assert gpu.main(["--train", "best", "--json", str(tmp_path / "r.json")]) == 0
    assert used[0].backend.name == "cupy"
    row = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))["training to a loss"][
        "best"
    ]
    assert row["steps"] == 2
    assert 2 < row["val_loss"] < 5
    assert f"| best | 2 | {row['seconds']:.1f} | {row['val_loss']:.4f} |" in capsys.readouterr().out


def test_options_select_what_is_measured(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def compare(preset: Any, mode: str, rounds: int, compiled: bool) -> Any:
        calls.append((mode, rounds, compiled))
        return {}

    monkeypatch.setattr(gpu, "compare_steps", compare)
    monkeypatch.setattr(gpu, "step_cells", lambda row: [])
    for section in ("generations", "kernel_rows"):
        monkeypatch.setattr(gpu, section, lambda *given: iter(()))
    gpu.main(["--modes", "fp32", "bf16", "--no-compile", "--rounds", "3"])
    assert calls == [("fp32", 3, False), ("bf16", 3, False)]


def test_modes_that_the_gpu_does_not_support_are_not_measured(
    gpu: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """Kernels for tensor cores would be too fast there, and their results wrong."""
    calls = []
    monkeypatch.setattr("tinytorch.backends.cupy.gemm.device.get_compute_capability", lambda: "75")
    monkeypatch.setattr(
        gpu, "compare_steps", lambda preset, mode, *_, **__: calls.append(mode) or {}
    )
    monkeypatch.setattr(gpu, "step_cells", lambda row: [])
    for section in ("generations", "kernel_rows"):
        monkeypatch.setattr(gpu, section, lambda *given: iter(()))
    gpu.main([])
    assert calls == ["fp32"] * 3
    assert "tf32 is not measured: this GPU has no tensor cores for it" in capsys.readouterr().out
    with pytest.raises(gpu.backends.BackendError, match="no tensor cores for bf16"):
        gpu.set_mode("bf16")


def test_an_interrupted_run_keeps_its_results(
    gpu: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any, tmp_path: Path
) -> None:
    """Rows are printed as they are measured, and finished sections are written."""

    def interrupted(*given: Any) -> Any:
        yield "first", 2.5, ["2.50"]
        assert capsys.readouterr().out.endswith("\n| first | 2.50 |\n")
        raise KeyboardInterrupt

    rows = [("tf32", {"ms": 1.0}, ["1.00 ms"])]
    monkeypatch.setattr(gpu, "training_steps", lambda *given: iter(rows))
    monkeypatch.setattr(gpu, "generations", interrupted)
    with pytest.raises(KeyboardInterrupt):
        gpu.main(["--json", str(tmp_path / "r.json")])
    result = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert result["training step"] == {"tf32": {"ms": 1.0}}


def test_more_copies_are_queued_if_the_host_is_late(
    gpu: Any, fake_cupy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = iter([True, True, False])
    monkeypatch.setattr(fake_cupy.cuda.Event, "done", property(lambda event: next(done)))
    monkeypatch.setattr(gpu, "MAX_QUEUED_COPIES", 10**6)
    copies: list[None] = []
    seconds = gpu.device_seconds(lambda: time.sleep(1e-3), 5, lambda: copies.append(None))
    assert len(copies) == 100 + 200 + 400
    assert 1e-3 <= seconds < 1e-1


def test_both_sides_have_the_same_optimizer_groups(gpu: Any) -> None:
    reference = gpu.sibling("torch_reference")
    for name, preset in gpu.PRESETS.items():
        model = gpu.build_model(preset, 65)
        ours = gpu.build_trainer(preset, model, 1).optimizers
        theirs = gpu.torch_optimizers(preset, reference.gpt(model))
        assert len(ours) == len(theirs), name
        for mine, other in zip(ours, theirs, strict=True):
            assert type(mine).__name__ == type(other).__name__
            for group, torch_group in zip(mine.param_groups, other.param_groups, strict=True):
                assert group["lr"] == torch_group["lr"]
                assert group["weight_decay"] == torch_group["weight_decay"]
                shapes = [tuple(p.shape) for p in torch_group["params"]]
                assert sorted(p.shape for p in group["params"]) == sorted(shapes)
