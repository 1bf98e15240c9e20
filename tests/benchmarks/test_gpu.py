"""The GPU benchmark: its message without a GPU, and all of its code on the fake CuPy and on a
PyTorch whose CUDA functions are fakes on the CPU."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from helpers import load_module, require

from tinytorch.data.datasets import Corpus

# Importing torch._dynamo does, in PyTorch itself.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")

PROGRAM = Path(__file__).with_name("gpu.py")
SEVERAL = "several steps a graph"  # of TinyTorch, for small presets


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
    """torch_reference, with only the program's own folder on the path."""
    require("torch")
    (tmp_path / "pytest.py").write_text("raise ImportError('not installed')")
    code = (
        f"import sys; sys.path.insert(0, {str(PROGRAM.parent)!r}); import gpu\n"
        "from gpu_benchmark.settings import sibling; print(sibling('torch_reference').gpt.__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("gpt\n", "")


class FakeStream:
    """The CPU computes in one order, so there is nothing to wait for."""

    def wait_stream(self, other: "FakeStream") -> None:
        pass


class FakeGraph:
    """As `torch.cuda.CUDAGraph`; work runs in the capture, and not again in a replay."""

    replays = 0

    def replay(self) -> None:
        FakeGraph.replays += 1


@pytest.fixture
def torch(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Any:
    """PyTorch whose device is the CPU: no GPU, but every function that the benchmark calls. It
    compiles in nightly tests only."""
    torch = require("torch")
    fakes = {
        "Stream": FakeStream,
        "CUDAGraph": FakeGraph,
        "current_stream": FakeStream,
        "stream": lambda stream: contextlib.nullcontext(),
        "graph": lambda graph: contextlib.nullcontext(),
        "synchronize": lambda: None,
        "empty_cache": lambda: None,
        "reset_peak_memory_stats": lambda: None,
        "max_memory_allocated": lambda: 2**21,
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    if request.node.get_closest_marker("nightly") is None:
        monkeypatch.setattr(torch, "compile", lambda function, mode="default": function)
    return torch


@pytest.fixture
def gpu(fake_cupy: Any, torch: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The benchmark on the fake CuPy and the fake CUDA of PyTorch, with a short text."""
    monkeypatch.syspath_prepend(PROGRAM.parent)
    program = load_module(PROGRAM)
    from gpu_benchmark import time_to_loss, torch_side

    unlimited = [section._replace(seconds=1e4) for section in program.SECTIONS]
    monkeypatch.setattr(program, "SECTIONS", unlimited)
    monkeypatch.setattr("tinytorch.backends.cupy.gemm.matmul_mode", lambda: "tf32")
    monkeypatch.setattr(torch_side, "DEVICE", "cpu")
    text = "To be, or not to be, that is the question. " * 9
    monkeypatch.setattr(time_to_loss, "tiny_shakespeare", lambda: Corpus("text", text, "", ""))
    return program


@pytest.fixture
def sections(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that replaces the sections' rows: key -> function, no rows for all others."""

    def replace(**rows: Any) -> None:
        none: Any = lambda settings: iter(())  # noqa: E731
        new = [s._replace(rows=rows.get(s.key, none)) for s in gpu.SECTIONS]
        monkeypatch.setattr(gpu, "SECTIONS", new)

    return replace


def run(gpu: Any, folder: Path, *arguments: str) -> tuple[dict[str, Any], str]:
    """The JSON and the Markdown of a run."""
    path = folder / "r.json"
    assert gpu.main(["--budget", "1e4", *arguments, "--tiny", "--json", str(path)]) == 0
    return json.loads(path.read_text(encoding="utf-8")), path.with_suffix(".md").read_text("utf-8")


KERNELS = [("gemm<a|b>", 1.0), ("copy", 0.5), ("gemm<a|b>", 2.0)]  # as of the profiler


@pytest.mark.slow
def test_every_section_measures_all_of_its_rows(
    gpu: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any, tmp_path: Path
) -> None:
    monkeypatch.setattr("gpu_benchmark.profiler.kernel_times", lambda step: KERNELS)
    result, markdown = run(gpu, tmp_path)
    printed = capsys.readouterr().out.splitlines()
    assert set(markdown.splitlines()) <= set(printed)
    assert result["device"] == "fake GPU"
    assert {"driver", "CUDA", "CuPy", "PyTorch", "date"} < set(result)
    assert list(result["sections"]) == [section.key for section in gpu.SECTIONS]
    assert not result["problems"]
    check_rows(result["sections"])
    for row in ("nanogpt-gpu, bf16", "default, batch 2", "gelu, gradient", "attention, tf32",
                "Muon, best-gpu, bf16", "residual_mlp, gradient, bf16",
                "width 64", "head, dw = dy^T x, bf16"):  # fmt: skip
        assert f"\n| {row} |" in markdown


def check_rows(sections: dict[str, Any]) -> None:
    """Check the values of each section's rows."""
    eager = {"TinyTorch", SEVERAL, "eager", "eager, CUDA graph"}
    compiled = eager | {"compile", "compile, CUDA graph"}
    expected = {
        "nanogpt-gpu": compiled | {"reduce-overhead"}, "default": compiled, "best": eager,
        "best-gpu": eager,
    }  # fmt: skip
    for key in ("steps", "presets"):
        for name, row in sections[key].items():
            assert set(row["ms"]) == expected[name.partition(",")[0]], (name, row["failed"])
            assert row["ours / PyTorch's best"] > 0
            assert row["memory, MiB"]["PyTorch"] == 2
    autotuned = {"TinyTorch", SEVERAL, "max-autotune", "max-autotune, CUDA graph"}
    assert all(set(row["ms"]) == autotuned for row in sections["autotune"].values())
    assert len(sections["decoding"]) == 4
    assert all(row["floor, us"] > 0 for row in sections["decoding"].values())
    assert not any(row["failed"] for row in sections["decoding"].values())
    assert [row["steps"] for row in sections["loss"].values()] == [2] * 4
    assert all(row["us"] > 0 for row in sections["kernels"].values())
    exponents = [row["exponents"] for row in sections["scaling"].values()]
    assert [e == [None, None] for e in exponents] == [True, False] * 3
    assert exponents[-1][1] == pytest.approx(1)  # the FLOPs of twice the batch
    for row in sections["bits"].values():
        assert row == {"resumed": 0, "eager": 0}
    assert all(row["PyTorch, us"] > 0 for row in sections["products"].values())
    name = "tf32, TinyTorch: gemm<a/b>"
    assert sections["profile"]["tf32, TinyTorch: all"]["calls"] == 3
    assert sections["profile"][name.replace("/", "|")]["us"] == 3


@pytest.mark.slow
def test_without_pytorch_its_columns_are_left_out(
    gpu: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from gpu_benchmark import torch_side

    monkeypatch.setattr(torch_side, "module", lambda: None)
    keys = ["rates", "steps", "decoding", "profile", "products", "autotune"]
    result, markdown = run(gpu, tmp_path, "--modes", "tf32", "--only", *keys)
    assert "- PyTorch: not installed: its columns are left out" in markdown
    assert "failed" not in markdown
    assert list(result["sections"]["steps"]["nanogpt-gpu, tf32"]["ms"]) == ["TinyTorch", SEVERAL]
    assert not result["sections"]["profile"]


def test_a_section_that_fails_ends_with_a_sentence(gpu: Any, sections: Any, tmp_path: Path) -> None:
    """Its rows so far and the sections after it are in both files."""
    from gpu_benchmark.settings import Row

    def failing(settings: Any) -> Iterator[Any]:
        yield Row("first", 2.5, ["2.50"])
        raise MemoryError("out of memory\nwith details")

    sections(rates=failing, bits=lambda settings: iter([Row("last", 1, ["1"])]))
    result, markdown = run(gpu, tmp_path)
    assert result["sections"]["rates"] == {"first": 2.5}
    assert result["sections"]["bits"] == {"last": 1}
    assert result["problems"] == {"rates": "failed: MemoryError: out of memory"}
    assert "\n| first | 2.50 |\n\n(failed: MemoryError: out of memory, " in markdown


def test_a_section_is_stopped_at_its_time_limit(
    gpu: Any, sections: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also if a destructor or a compiler has swallowed the first alarm."""
    from gpu_benchmark import report

    def endless(settings: Any) -> Iterator[Any]:
        for swallowed in (BaseException, Exception):  # by a destructor, and by a compiler
            with contextlib.suppress(swallowed):
                while True:
                    time.sleep(1e-3)
        yield pytest.fail("not stopped")

    monkeypatch.setattr(report, "REPEATED", 0.01)
    sections(steps=endless)
    limited = [s._replace(seconds=0.01) if s.key == "steps" else s for s in gpu.SECTIONS]
    monkeypatch.setattr(gpu, "SECTIONS", limited)
    result, _ = run(gpu, tmp_path)
    assert result["problems"] == {"steps": "stopped after 0 s, before its end"}
    assert list(result["sections"]) == [section.key for section in gpu.SECTIONS]


def test_without_time_left_no_section_is_started(gpu: Any, sections: Any, tmp_path: Path) -> None:
    sections(rates=lambda settings: pytest.fail("is measured"))
    result, _ = run(gpu, tmp_path, "--budget", "0")
    assert not result["sections"]
    assert set(result["problems"].values()) == {"not measured: no time is left"}


def test_an_interrupted_run_keeps_its_rows(gpu: Any, sections: Any, tmp_path: Path) -> None:
    from gpu_benchmark.settings import Row

    def interrupted(settings: Any) -> Iterator[Any]:
        yield Row("first", 2.5, ["2.50"])
        raise KeyboardInterrupt

    sections(rates=interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(gpu, tmp_path)
    result = json.loads((tmp_path / "r.json").read_text("utf-8"))
    assert result["sections"]["rates"] == {"first": 2.5}


@pytest.mark.slow
def test_a_side_that_fails_is_named_and_the_others_are_measured(
    gpu: Any, torch: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fails(function: Any, mode: str = "default") -> Any:
        raise RuntimeError("no compiler")

    monkeypatch.setattr(torch, "compile", fails)
    result, markdown = run(gpu, tmp_path, "--modes", "tf32", "--only", "steps", "decoding")
    row = result["sections"]["steps"]["nanogpt-gpu, tf32"]
    assert set(row["ms"]) == {"TinyTorch", SEVERAL, "eager", "eager, CUDA graph"}
    assert set(row["failed"]) == {"compile", "compile, CUDA graph", "reduce-overhead"}
    assert "| RuntimeError: no compiler |" in markdown
    assert all(
        set(r["failed"]) == {"16 bits, compile"} for r in result["sections"]["decoding"].values()
    )


def test_option_no_compile_leaves_torch_compile_out(gpu: Any, tmp_path: Path) -> None:
    arguments = ["--modes", "fp32", "--no-compile", "--only", "steps", "autotune"]
    result, _ = run(gpu, tmp_path, *arguments)
    assert list(result["sections"]["steps"]) == ["nanogpt-gpu, fp32"]
    row = result["sections"]["steps"]["nanogpt-gpu, fp32"]
    assert set(row["ms"]) == {"TinyTorch", SEVERAL, "eager", "eager, CUDA graph"}
    assert result["sections"]["autotune"] == {}


@pytest.mark.slow
def test_a_size_that_needs_too_much_memory_is_a_row_with_the_reason(
    gpu: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from gpu_benchmark import scaling

    build = scaling.OurTraining

    def limited(preset: Any, *arguments: Any) -> Any:
        if preset.embed_dim == 32 and preset.batch_size == 1:
            raise MemoryError("out of memory")
        return build(preset, *arguments)

    monkeypatch.setattr(scaling, "OurTraining", limited)
    result, markdown = run(gpu, tmp_path, "--modes", "tf32", "--only", "scaling")
    rows = result["sections"]["scaling"]
    assert rows["batch 1"] == {"failed": "MemoryError: out of memory"}
    assert rows["batch 2"]["exponents"] == [None, None]
    assert "| batch 1 | MemoryError: out of memory |" in markdown
    assert not result["problems"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rounds", "0"], "--rounds must be at least 1, not 0"),
        (["--json", "results.md"], "must name a file that ends with .json, not results.md"),
        (["--json", "no-such-folder/r.json"], "there is no folder no-such-folder"),
        (["--only", "nothing"], "invalid choice: 'nothing'"),
    ],
)
def test_options_out_of_range_are_refused(
    gpu: Any, capsys: Any, arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit):
        gpu.main(arguments)
    assert message in capsys.readouterr().err


def test_modes_that_the_gpu_does_not_support_are_not_measured(
    gpu: Any, sections: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """Kernels for tensor cores would be too fast there, and their results wrong."""
    from gpu_benchmark import modes

    used: list[Any] = []
    monkeypatch.setattr("tinytorch.backends.cupy.gemm.device.get_compute_capability", lambda: "75")
    sections(steps=lambda settings: used.extend(settings.modes) or iter(()))
    gpu.main([])
    assert [mode.name for mode in used] in (["fp16", "fp32"], ["fp32"])
    assert modes.default_mode().name == "fp32"
    assert "tf32 is not measured: this GPU has no tensor cores for it" in capsys.readouterr().out
    with pytest.raises(gpu.backends.BackendError, match="no tensor cores for bf16"):
        modes.set_mode(modes.MODES["bf16"])


@pytest.mark.slow
def test_on_a_gpu_before_ampere_all_sections_are_measured(
    gpu: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Only attention has no kernel without rounding there."""
    monkeypatch.setattr("tinytorch.backends.cupy.gemm.device.get_compute_capability", lambda: "75")
    keys = ["rates", "steps", "decoding", "kernels", "scaling", "bits"]
    result, _ = run(gpu, tmp_path, "--modes", "fp32", "--no-compile", "--only", *keys)
    assert not result["problems"]
    failed = {name for rows in result["sections"].values() for name, row in rows.items()
              if isinstance(row, dict) and row.get("failed")}  # fmt: skip
    assert failed == {"attention, fp32", "attention, gradient, fp32"}


def test_each_mode_sets_both_sides(gpu: Any, torch: Any) -> None:
    from gpu_benchmark import modes

    from tinytorch.backends.cupy import gemm

    before = torch.backends.cuda.matmul.allow_tf32
    try:
        for name, tf32, dtype in (("tf32", True, "float32"), ("bf16", True, "bfloat16"),
                                  ("fp32", False, "float32")):  # fmt: skip
            mode = modes.MODES[name]
            modes.set_mode(mode)
            assert gemm.matmul_mode() == name
            assert torch.backends.cuda.matmul.allow_tf32 == tf32
            with mode.torch_context():
                assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == getattr(torch, dtype)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def test_more_copies_are_queued_if_the_host_is_late(
    gpu: Any, fake_cupy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gpu_benchmark.timing import device_seconds

    done = iter([True, True, False])
    monkeypatch.setattr(fake_cupy.cuda.Event, "done", property(lambda event: next(done)))
    copies: list[None] = []
    seconds = device_seconds(lambda: time.sleep(1e-3), 5, lambda: copies.append(None), 10**6)
    assert len(copies) == 100 + 200 + 400
    assert 1e-3 <= seconds < 1e-1


def test_both_sides_have_the_same_optimizer_groups(gpu: Any) -> None:
    from gpu_benchmark import torch_training
    from gpu_benchmark.settings import Settings, sibling, tiny

    from tinytorch.tinygpt.presets import build_model, build_trainer

    for name, preset in tiny(Settings([])).presets.items():
        model = build_model(preset, 65)
        ours = build_trainer(preset, model, 1).optimizers
        theirs = torch_training.optimizers(preset, sibling("torch_reference").gpt(model))
        assert len(ours) == len(theirs), name
        for mine, other in zip(ours, theirs, strict=True):
            assert type(mine).__name__ == type(other).__name__
            for group, torch_group in zip(mine.param_groups, other.param_groups, strict=True):
                assert group["lr"] == torch_group["lr"]
                assert group["weight_decay"] == torch_group["weight_decay"]
                shapes = [tuple(p.shape) for p in torch_group["params"]]
                assert sorted(p.shape for p in group["params"]) == sorted(shapes)


def test_both_sides_train_alike(gpu: Any) -> None:
    """Without dropout, a few steps give equal losses."""
    from dataclasses import replace

    from gpu_benchmark import modes
    from gpu_benchmark.our_side import OurTraining
    from gpu_benchmark.settings import Settings, random_text, tiny
    from gpu_benchmark.torch_training import TorchTraining

    modes.set_mode(modes.MODES["fp32"])
    preset = replace(tiny(Settings([])).baby, dropout=0.0)
    ours = OurTraining(preset, random_text(1000))
    theirs = TorchTraining(preset, random_text(1000), ours.trainer.model, modes.MODES["fp32"])
    losses = [ours.step().item(), ours.step().item(), *ours.several().numpy()]
    assert len(losses) == 7
    assert losses == pytest.approx([theirs.step().item() for _ in range(7)], abs=1e-4)
    ours.run(7)
    assert ours.trainer.step == 14


def test_in_float16_pytorch_scales_the_loss(gpu: Any, torch: Any) -> None:
    """So that gradients below 6e-8 are not 0; a step with infinite ones is skipped."""
    from gpu_benchmark.modes import MODES
    from gpu_benchmark.settings import Settings, random_text, tiny
    from gpu_benchmark.torch_training import TorchTraining

    from tinytorch.tinygpt.presets import build_model

    preset = tiny(Settings([])).baby
    training = TorchTraining(preset, random_text(1000), build_model(preset, 65), MODES["fp16"])
    losses = [training.step().item() for _ in range(12)]
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]


@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("compiled", ["default", "reduce-overhead", "max-autotune-no-cudagraphs"])
def test_compiled_steps_of_pytorch_train_as_eager_ones(gpu: Any, torch: Any, compiled: str) -> None:
    from dataclasses import replace

    from gpu_benchmark.modes import MODES
    from gpu_benchmark.settings import Settings, random_text, tiny
    from gpu_benchmark.torch_training import TorchTraining

    from tinytorch.tinygpt.presets import build_model

    torch.compiler.reset()
    preset = replace(tiny(Settings([])).baby, dropout=0.0)
    model = build_model(preset, 65)
    eager, fused = (
        TorchTraining(preset, random_text(1000), model, MODES["tf32"], how)
        for how in (None, compiled)
    )
    losses = [eager.step().item() for _ in range(3)]
    assert [fused.step().item() for _ in range(3)] == pytest.approx(losses, abs=1e-4)


@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore")
def test_the_compiled_decoder_computes_the_reference(gpu: Any, torch: Any) -> None:
    from gpu_benchmark.settings import Settings, sibling, tiny
    from gpu_benchmark.torch_decoder import StaticDecoder

    from tinytorch.tinygpt.presets import build_model

    torch.compiler.reset()
    reference = sibling("torch_reference").gpt(build_model(tiny(Settings([])).baby, 65).eval())
    decoder = StaticDecoder(reference, 2, temperature=0.8, compiled=True)
    text = torch.arange(2 * 16).reshape(2, 16)
    with torch.no_grad():
        expected = reference(text)
        for position in range(16):
            decoder.position.fill_(position)
            decoder.ids.copy_(text[:, position])
            torch.testing.assert_close(decoder.logits(), expected[:, position])


@pytest.mark.parametrize("name", ["nanogpt-gpu", "default"])  # learned and rotary positions
def test_the_static_decoder_computes_the_reference(gpu: Any, torch: Any, name: str) -> None:
    from gpu_benchmark.settings import Settings, sibling, tiny
    from gpu_benchmark.torch_decoder import StaticDecoder

    from tinytorch.tinygpt.presets import build_model

    model = build_model(tiny(Settings([])).presets[name], 65).eval()
    for p in model.parameters():  # some are initialised with zeros
        p.data = p.data + 0.1 * np.random.default_rng(p.size).standard_normal(p.shape)
    reference = sibling("torch_reference").gpt(model)
    decoder = StaticDecoder(reference, 3, temperature=0.8)
    text = torch.arange(3 * 16).reshape(3, 16) % 65
    with torch.no_grad():
        expected = reference(text)
        for position in range(16):
            decoder.position.fill_(position)
            decoder.ids.copy_(text[:, position])
            torch.testing.assert_close(decoder.logits(), expected[:, position])
    tokens = decoder.write(15)
    assert tokens.shape == (15, 3)
    assert decoder.position.item() == 15
    assert torch.equal(decoder.ids, tokens[-1])
    assert len(tokens.unique()) > 5
    before = FakeGraph.replays
    decoder.capture()
    decoder.write(4)
    assert FakeGraph.replays == before + 4


def test_flops_of_the_baby_gpt(gpu: Any) -> None:
    """1,046 GFLOP of linear layers and 58 of attention, as computed by hand."""
    from gpu_benchmark.our_side import step_flops
    from gpu_benchmark.settings import Settings

    assert step_flops(Settings([]).baby) == pytest.approx((1046 + 58) * 1e9, rel=1e-3)


def test_the_drivers_version_is_that_of_nvidia_smi(
    gpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gpu_benchmark import machine

    monkeypatch.setattr(machine.shutil, "which", lambda name: f"/usr/bin/{name}")
    done = SimpleNamespace(stdout="580.65.06, 700.00 W\n")
    monkeypatch.setattr(machine.subprocess, "run", lambda command, **settings: done)
    assert machine.head()["driver"] == "580.65.06, 700.00 W"
    done.stdout = ""
    assert machine.head()["driver"] is None
