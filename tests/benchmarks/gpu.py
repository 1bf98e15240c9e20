"""Benchmarks of training, generation and kernels on a CUDA GPU against PyTorch.

    python tests/benchmarks/gpu.py [--rounds 10] [--json FILE] [--modes tf32 fp32 bf16]
        [--no-compile] [--train PRESET]

Training steps: nanoGPT's baby GPT (preset `nanogpt-gpu`: 6 layers, 6 heads, width 384, context 256,
batch 64) against PyTorch eager and torch.compile on the same batches, then the presets `default`
and `best` against eager only, with PyTorch's own Muon where it has one. The sides alternate every
few steps, so that changes of the GPU's clock affect all of them. Each precision is compared with
PyTorch's own: fp32 and tf32 by its switch, bf16 by its autocast, which also keeps activations in
bf16 (TinyTorch does not).

Kernels are timed by device events and compared with a copy of 100 MB; arrays that fit into the L2
cache may exceed its bandwidth. Rows are printed as they are measured, JSON is written after each
section. Without a usable GPU the program prints one line and exits. PyTorch is needed only for the
comparison.
"""

import argparse
import gc
import importlib
import importlib.util
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

import tinytorch
from tinytorch import TokenDataset, backends
from tinytorch.generation.generate import stream
from tinytorch.tinygpt import PRESETS, Preset
from tinytorch.tinygpt.presets import build_model, build_trainer

STEPS_PER_TURN = 5  # before the next side is measured
VOCABULARY = 65
MAX_QUEUED_COPIES = 1600  # before the calls that are timed: some 80 ms
SPACES = 0.15  # of the characters of a text
MODES = ("tf32", "fp32", "bf16")
TORCH_DEVICE = "cuda"  # "cpu" in the tests of this file
Step = Callable[[], object]


def sibling(name: str) -> Any:
    """Import a module of tests/ or of this folder, which are not on a program's path."""
    here = Path(__file__).parent
    for folder in (str(here.parent), str(here)):
        if folder not in sys.path:
            sys.path.append(folder)  # at the end: must not shadow installed modules
    return importlib.import_module(name)


def set_mode(mode: str) -> None:
    """Set the precision of float32 products in TinyTorch and PyTorch: tf32, fp32 or bf16.

    Raises:
        BackendError: the GPU does not support it.
    """
    from tinytorch.backends.cupy import gemm

    if gemm.supported_mode(mode) != mode:
        raise backends.BackendError(f"this GPU has no tensor cores for {mode}")
    gemm.matmul_mode = lambda: mode  # type: ignore[assignment]
    if torch := cuda_torch():
        torch.backends.cuda.matmul.allow_tf32 = mode != "fp32"
        torch.backends.cudnn.allow_tf32 = mode != "fp32"


def default_mode() -> str:
    """tf32 if the GPU supports it, else fp32."""
    from tinytorch.backends.cupy import gemm

    return gemm.supported_mode("tf32")


def supported_modes(modes: list[str]) -> list[str]:
    """The modes that the GPU supports; prints the others."""
    from tinytorch.backends.cupy import gemm

    for mode in modes:
        if gemm.supported_mode(mode) != mode:
            print(f"{mode} is not measured: this GPU has no tensor cores for it")
    return [mode for mode in modes if gemm.supported_mode(mode) == mode]


def cuda_torch() -> Any:
    """The module torch if it is installed and finds a GPU, else None."""
    if importlib.util.find_spec("torch") is None:
        return None
    import torch

    return torch if TORCH_DEVICE == "cpu" or torch.cuda.is_available() else None


# Training steps


def tinytorch_step(preset: Preset, text: np.ndarray[Any, Any]) -> tuple[Step, Any]:
    """A training step in TinyTorch, and its model."""
    tinytorch.manual_seed(1337)
    model = build_model(preset, VOCABULARY).to("cupy")
    trainer = build_trainer(preset, model)
    blocks, rng = TokenDataset(text, preset.context, backend="cupy"), np.random.default_rng(1)
    return lambda: trainer.train_step([blocks.random_batch(preset.batch_size, rng)]), model


def torch_step(
    preset: Preset, text: np.ndarray[Any, Any], model: Any, mode: str, compiled: bool
) -> Step:
    """The same training step in idiomatic PyTorch, from the same weights."""
    torch, reference = cuda_torch(), sibling("torch_reference")
    torch_model = reference.gpt(model).to(TORCH_DEVICE).train()
    loss_of = torch.compile(torch_model.loss) if compiled else torch_model.loss
    optimizers = torch_optimizers(preset, torch_model)
    blocks, rng = TokenDataset(text, preset.context, backend="numpy"), np.random.default_rng(1)
    cast = torch.autocast(TORCH_DEVICE, torch.bfloat16) if mode == "bf16" else nullcontext()

    def on_device(t: Any) -> Any:
        host = torch.from_numpy(t.numpy().copy())
        return host if TORCH_DEVICE == "cpu" else host.pin_memory().cuda(non_blocking=True)

    def step() -> Any:
        x, y = map(on_device, blocks.random_batch(preset.batch_size, rng))
        with cast:
            loss = loss_of(x, y)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(torch_model.parameters(), preset.grad_clip)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    return step


def torch_optimizers(preset: Preset, model: Any) -> list[Any]:
    """The optimizers of `build_trainer` in PyTorch: Muon for the blocks' matrices if the preset and
    PyTorch have it, and AdamW for the rest, with weight decay for matrices only."""
    optim, parameters = cuda_torch().optim, dict(model.named_parameters())
    decay, optimizers = preset.weight_decay, []
    matrices = {n: p for n, p in parameters.items() if n.startswith("blocks.") and p.ndim == 2}
    if preset.muon_lr is None or not hasattr(optim, "Muon"):
        matrices = {}
    else:
        optimizers = [optim.Muon(matrices.values(), lr=preset.muon_lr, weight_decay=decay)]
    rest = [p for n, p in parameters.items() if n not in matrices]
    groups = [
        {"params": [p for p in rest if p.ndim == 2], "weight_decay": decay},
        {"params": [p for p in rest if p.ndim != 2], "weight_decay": 0.0},
    ]
    return [optim.AdamW(groups, lr=preset.lr, betas=preset.betas, fused=True), *optimizers]


def wait() -> None:
    backends.get("cupy").synchronize()
    if TORCH_DEVICE == "cuda" and (torch := cuda_torch()):
        torch.cuda.synchronize()


def timed(step: Step, times: int) -> float:
    """Mean seconds of a call, including the work on the device."""
    wait()
    start = time.perf_counter()
    for _ in range(times):
        step()
    wait()
    return (time.perf_counter() - start) / times


def compare_steps(preset: Preset, mode: str, rounds: int, compiled: bool) -> dict[str, Any]:
    """Median milliseconds of a step on each side, measured in turn; launches and memory.

    Returns:
        A dictionary with the keys of the JSON report.
    """
    import cupy

    gc.collect()
    cupy.get_default_memory_pool().free_all_blocks()  # memory of the previous model
    set_mode(mode)
    text = np.random.default_rng(0).integers(0, VOCABULARY, 1_000_000)
    step, model = tinytorch_step(preset, text)
    sides = {"tinytorch": step}
    if cuda_torch():
        sides["torch eager"] = torch_step(preset, text, model, mode, compiled=False)
    if cuda_torch() and compiled:
        sides["torch.compile"] = torch_step(preset, text, model, mode, compiled=True)
    for step in sides.values():
        timed(step, 3)
    memory = backends.get("cupy").memory()
    seconds = {name: [] for name in sides}  # type: dict[str, list[float]]
    for _ in range(rounds):
        for name, step in sides.items():
            seconds[name].append(timed(step, STEPS_PER_TURN))
    median = {name: 1e3 * statistics.median(values) for name, values in seconds.items()}
    return {
        "ms": median,
        "ratio to torch eager": median["tinytorch"] / median.get("torch eager", float("nan")),
        "tokens a second": preset.tokens_per_step / median["tinytorch"] * 1e3,
        "launches a step": {name: launches(step) for name, step in sides.items()},
        "memory reserved, MiB": memory["reserved"] / 2**20,
        "torch peak memory, MiB": torch_memory(sides.get("torch eager")),
    }


def launches(step: Step) -> int | None:
    """Number of kernels that a step runs, counted by PyTorch's profiler; None without PyTorch."""
    torch = cuda_torch()
    if torch is None or TORCH_DEVICE == "cpu":
        return None
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile

    wait()
    # Without acc_events PyTorch warns that the events of earlier cycles are discarded.
    with profile(activities=[ProfilerActivity.CUDA], acc_events=True) as record:
        step()
        wait()
    events = [e for e in record.events() if e.device_type == DeviceType.CUDA]
    return sum(not e.name.startswith(("Memcpy", "Memset")) for e in events)


def torch_memory(step: Step | None) -> float | None:
    """Peak MiB that PyTorch allocates during a step; None without PyTorch."""
    torch = cuda_torch()
    if torch is None or step is None or TORCH_DEVICE == "cpu":
        return None
    torch.cuda.reset_peak_memory_stats()
    step()
    peak: float = torch.cuda.max_memory_allocated() / 2**20
    return peak


# Generation


def generation(preset: Preset, batch: int, tokens: int, rounds: int = 3) -> float:
    """Tokens per second with the key-value cache: the median of `rounds` runs."""
    model = build_model(preset, VOCABULARY).to("cupy").eval()
    prompt = np.zeros((batch, 1), dtype=np.int64)

    def generate() -> None:
        for _ in stream(model, prompt, tokens, temperature=0.8, seed=0, ahead=32):
            pass

    generate()
    return batch * tokens / statistics.median(timed(generate, 1) for _ in range(rounds))


# Kernels


def kernel_cases(preset: Preset) -> dict[str, tuple[Step, float]]:
    """Kernel -> a call with the model's shapes, and the bytes that it must read and write."""
    import cupy

    from tinytorch.backends.cupy import attention_weights, dropout, elementwise, embedding, optim
    from tinytorch.backends.cupy.kernels import KERNELS

    B, T, C, nh = preset.batch_size, preset.context, preset.embed_dim, preset.num_heads

    def array(*shape: int) -> Any:
        return cupy.asarray(np.random.default_rng(0).standard_normal(shape, np.float32))

    x, x2, weight, wide = array(B, T, C), array(B, T, C), array(C), array(B, T, 4 * C)
    scores, logits = array(B, nh, T, T), array(B, T, VOCABULARY)
    mask = cupy.asarray(np.tril(np.ones((T, T), bool)))
    host_ids = np.random.default_rng(0).integers(0, VOCABULARY, (B, T))
    ids = cupy.asarray(host_ids)
    text = cupy.asarray(np.where(np.random.default_rng(1).random((B, T)) < SPACES, 0, host_ids))
    table = cupy.zeros((VOCABULARY, C), cupy.float32)
    _, saved_gelu = KERNELS["gelu"].forward(None, wide)
    _, saved_norm = KERNELS["layer_norm"].forward(None, x, weight, None)
    loss, saved_loss = KERNELS["cross_entropy"].forward(None, logits, ids)
    moments = [array(B, T, 4 * C) for _ in range(3)]
    adam = {"lr": 1e-3, "betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": 0.1, "decoupled": True}

    def gradient(name: str, g: Any, saved: Any) -> Step:
        def call() -> None:
            gradients = KERNELS[name].gradient(None, g, *saved)
            for entry in gradients if isinstance(gradients, tuple) else (gradients,):
                entry() if callable(entry) else None

        return call

    return {
        "gelu": (lambda: KERNELS["gelu"].forward(None, wide), 2 * wide.nbytes),
        "gelu_gradient": (gradient("gelu", wide, saved_gelu), 3 * wide.nbytes),
        "layer_norm": (lambda: KERNELS["layer_norm"].forward(None, x, weight, None), 2 * x.nbytes),
        "layer_norm_gradient": (gradient("layer_norm", x, saved_norm), 6 * x.nbytes),
        "softmax_bool_mask": (
            lambda: attention_weights.softmax_in_place(scores, mask), 2 * scores.nbytes),
        "dropout": (lambda: dropout.apply_mask(x, 0.2, 1), 2 * x.nbytes),
        "dropout of weights": (lambda: dropout.apply_mask(scores, 0.2, 1), 2 * scores.nbytes),
        "add": (lambda: elementwise.add_arrays(x, x2), 3 * x.nbytes),
        "cross_entropy": (
            lambda: KERNELS["cross_entropy"].forward(None, logits, ids), logits.nbytes),
        "cross_entropy_gradient": (
            gradient("cross_entropy", cupy.ones_like(loss), saved_loss), 2 * logits.nbytes),
        "embedding_gradient": (
            lambda: embedding.segment_sum(x.reshape(-1, C), ids.reshape(-1), VOCABULARY),
            x.nbytes),
        "embedding_gradient of text": (
            lambda: embedding.segment_sum(x.reshape(-1, C), text.reshape(-1), VOCABULARY),
            x.nbytes),
        "embedding_gradient of text by sorting": (
            lambda: embedding.add_segments(table, x.reshape(-1, C), text.reshape(-1)),
            x.nbytes),
        "adam_update": (
            lambda: optim.adam_update([(wide, *moments)], step=1, **adam),
            7 * wide.nbytes),
    }  # fmt: skip


def device_seconds(call: Step, times: int, filler: Step) -> float:
    """Mean seconds of a call on the device, without the host's time for launching.

    The calls are queued behind enough calls of `filler` that the host has queued all of them before
    the first one starts.
    """
    import cupy

    queued = 100
    while True:
        begin, end = cupy.cuda.Event(), cupy.cuda.Event()
        wait()
        for _ in range(queued):
            filler()
        begin.record()
        for _ in range(times):
            call()
        end.record()
        host_was_late = begin.done  # the device may have been idle between calls
        end.synchronize()
        if not host_was_late or queued >= MAX_QUEUED_COPIES:
            return float(cupy.cuda.get_elapsed_time(begin, end)) / 1e3 / times
        queued *= 2


def bandwidths(preset: Preset, rounds: int) -> Iterator[tuple[str, float]]:
    """Each kernel's bandwidth divided by that of a copy measured in turn with it: the median."""
    import cupy

    source = cupy.zeros(preset.batch_size * preset.context * 4 * preset.embed_dim, cupy.float32)
    target = cupy.empty_like(source)

    def copy() -> None:
        target[...] = source

    timed(copy, 3)
    yield "copy, GB/s", 2 * source.nbytes / device_seconds(copy, 50, copy) / 1e9
    for name, (call, size) in kernel_cases(preset).items():
        timed(call, 3)
        ratios = []
        for _ in range(rounds):
            copied = 2 * source.nbytes / device_seconds(copy, 20, copy)
            ratios.append(size / device_seconds(call, 20, copy) / copied)
        yield name, statistics.median(ratios)


# The report


def device() -> dict[str, Any]:
    """Date, GPU and versions, the head of the report."""
    import cupy

    runtime = cupy.cuda.runtime
    versions = {"python": platform.python_version(), "numpy": np.__version__,
                "cupy": cupy.__version__}  # fmt: skip
    if torch := cuda_torch():
        versions["torch"] = torch.__version__
    return {
        "date": date.today().isoformat(),
        "device": runtime.getDeviceProperties(runtime.getDevice())["name"].decode(),
        "driver": getattr(runtime, "driverGetVersion", lambda: None)(),
        "cuda": getattr(runtime, "runtimeGetVersion", lambda: None)(),
        "versions": versions,
    }


Row = tuple[str, Any, list[str]]  # name, value for the JSON, cells of the Markdown table


def training_steps(rounds: int, modes: list[str], compiled: bool) -> Iterator[Row]:
    for mode in modes:
        row = compare_steps(PRESETS["nanogpt-gpu"], mode, rounds, compiled)
        yield mode, row, step_cells(row)
    mode = default_mode()
    if mode in modes:
        for name in ("default", "best"):
            row = compare_steps(PRESETS[name], mode, rounds, compiled=False)
            yield f"{name}, {mode}", row, step_cells(row)


def step_cells(row: dict[str, Any]) -> list[str]:
    ms = [f"{row['ms'][n]:.2f} ms" if n in row["ms"] else "-"
          for n in ("tinytorch", "torch eager", "torch.compile")]  # fmt: skip
    peak = row["torch peak memory, MiB"]
    return [
        *ms,
        f"{row['ratio to torch eager']:.2f}",
        f"{row['tokens a second']:,.0f}",
        ", ".join(str(n) for n in row["launches a step"].values()),
        f"{row['memory reserved, MiB']:.0f}, {'-' if peak is None else round(peak)}",
    ]


def generations(tokens: int) -> Iterator[Row]:
    for batch in (1, 32):
        rate = generation(PRESETS["nanogpt-gpu"], batch, tokens)
        yield f"batch {batch}", rate, [f"{rate:,.0f}"]


def kernel_rows(rounds: int) -> Iterator[Row]:
    for name, value in bandwidths(PRESETS["nanogpt-gpu"], rounds):
        yield name, value, [f"{value:,.2f}"]


def training(name: str) -> Iterator[Row]:
    row = sibling("sweep").train(PRESETS[name], 1337, "cupy")
    yield name, row, [f"{row['steps']:,}", f"{row['seconds']:.1f}", f"{row['val_loss']:.4f}"]


# Section -> the column titles of its table.
COLUMNS = {
    "training step": [
        "TinyTorch", "torch eager", "torch.compile", "ours / eager", "tokens/s",
        "launches (ours, eager, compile)", "memory, MiB (ours reserved, torch peak)",
    ],
    "generation, tokens a second": ["tokens/s"],
    "kernel bandwidth over copy": ["bandwidth over that of a copy"],
    "training to a loss": ["steps", "seconds", "validation loss"],
}  # fmt: skip


def sections(arguments: argparse.Namespace) -> Iterator[tuple[str, Iterator[Row]]]:
    """Name and rows of each requested section; rows are measured when the iterator is advanced."""
    rounds = arguments.rounds
    yield "training step", training_steps(rounds, arguments.modes, not arguments.no_compile)
    set_mode(default_mode())
    yield "generation, tokens a second", generations(arguments.tokens)
    yield "kernel bandwidth over copy", kernel_rows(rounds)
    if arguments.train:
        yield "training to a loss", training(arguments.train)


def report(arguments: argparse.Namespace) -> None:
    """Measure, print each row as Markdown at once, and write the JSON after each section."""
    result = device()
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    print(f"{result['device']}, {result['date']}, driver for CUDA {result['driver']}, {versions}")
    for section, rows in sections(arguments):
        columns = [section, *COLUMNS[section]]
        print(f"\n| {' | '.join(columns)} |\n{'|---' * len(columns)}|", flush=True)
        result[section] = {}
        for name, value, cells in rows:
            result[section][name] = value
            print(f"| {name} | {' | '.join(cells)} |", flush=True)
        if arguments.json:
            arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10, help="measurements of each side")
    parser.add_argument("--tokens", type=int, default=500, help="length of the generated texts")
    parser.add_argument(
        "--modes", nargs="+", choices=MODES, default=MODES, help="precisions of products"
    )
    parser.add_argument("--no-compile", action="store_true", help="do not measure torch.compile")
    parser.add_argument("--train", choices=PRESETS, help="also train this preset on Shakespeare")
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    arguments = parser.parse_args(argv)
    problem = backends.status("cupy")
    if problem is not None:
        print(f"skipped: {problem}")
        return 0
    arguments.modes = supported_modes(arguments.modes)
    report(arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())
