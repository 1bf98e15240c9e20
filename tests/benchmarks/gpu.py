"""Training, generation and kernels on a CUDA GPU, beside PyTorch eager and torch.compile.

    python tests/benchmarks/gpu.py [--rounds 10] [--json FILE] [--modes tf32 fp32 bf16]
        [--no-compile] [--train PRESET]

The model is nanoGPT's baby GPT (`--preset nanogpt-gpu`: 6 layers, 6 heads, width 384, context 256,
batch 64), fed with the same batches on all sides; the presets `default` and `best` follow, beside
eager only, with PyTorch's own Muon where it has one. The sides take turns of a few steps, so that
a device that changes its clock changes it for all. Each precision is compared with PyTorch's own:
fp32 and tf32 by its switch, bf16 by its autocast, which also keeps activations in bf16 (we do not).
Kernels are timed by the device's clock, beside a copy of 100 MB; arrays that fit into its cache may
be faster than that. Each row is printed as it comes, and JSON is written after each section. Where
no GPU can be used it says so in one sentence. Needs PyTorch for the comparison only.
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

TURN = 5  # steps before the next side has its turn
VOCABULARY = 65
MOST_HELD = 1600  # copies that calls wait behind: some 80 ms
MODES = ("tf32", "fp32", "bf16")
TORCH_DEVICE = "cuda"  # a test of this file sets it to "cpu"
Step = Callable[[], object]


def sibling(name: str) -> Any:
    """A module of tests/ or of this folder: they are on pytest's path but not on a program's."""
    here = Path(__file__).parent
    for folder in (str(here.parent), str(here)):
        if folder not in sys.path:
            sys.path.append(folder)  # not in front: nothing of it may hide an installed module
    return importlib.import_module(name)


def set_mode(mode: str) -> None:
    """How float32 is multiplied from now on, here and in PyTorch."""
    from tinytorch.backends.cupy import gemm as cupy_products

    cupy_products.matmul_mode = lambda: mode  # type: ignore[assignment]
    if torch := cuda_torch():
        torch.backends.cuda.matmul.allow_tf32 = mode != "fp32"
        torch.backends.cudnn.allow_tf32 = mode != "fp32"


def cuda_torch() -> Any:
    """PyTorch, if it is installed and sees a GPU; else None."""
    if importlib.util.find_spec("torch") is None:
        return None
    import torch

    return torch if TORCH_DEVICE == "cpu" or torch.cuda.is_available() else None


# Training steps


def our_step(preset: Preset, text: np.ndarray[Any, Any]) -> tuple[Step, Any]:
    """A training step of ours, and the model."""
    tinytorch.manual_seed(1337)
    model = build_model(preset, VOCABULARY).to("cupy")
    trainer = build_trainer(preset, model)
    blocks, rng = TokenDataset(text, preset.context, backend="cupy"), np.random.default_rng(1)
    return lambda: trainer.train_step([blocks.random_batch(preset.batch_size, rng)]), model


def torch_step(
    preset: Preset, text: np.ndarray[Any, Any], model: Any, mode: str, compiled: bool
) -> Step:
    """The same step as PyTorch's users write it, on the GPU."""
    torch, twins = cuda_torch(), sibling("torch_reference")
    twin = twins.gpt(model).to(TORCH_DEVICE).train()
    loss_of = torch.compile(twin.loss) if compiled else twin.loss
    optimizers = torch_optimizers(preset, twin)
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
        torch.nn.utils.clip_grad_norm_(twin.parameters(), preset.grad_clip)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    return step


def torch_optimizers(preset: Preset, twin: Any) -> list[Any]:
    """What `build_trainer` gives to ours: Muon for the blocks' matrices if the preset and PyTorch
    have it, and AdamW, which decays only the other matrices."""
    optim, parameters = cuda_torch().optim, dict(twin.named_parameters())
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
    """Seconds a call, the device's work included."""
    wait()
    start = time.perf_counter()
    for _ in range(times):
        step()
    wait()
    return (time.perf_counter() - start) / times


def compare_steps(preset: Preset, mode: str, rounds: int, compiled: bool) -> dict[str, Any]:
    """Median milliseconds of each side, taken in turn, and what else a step costs."""
    import cupy

    gc.collect()
    cupy.get_default_memory_pool().free_all_blocks()  # what the model before this one held
    set_mode(mode)
    text = np.random.default_rng(0).integers(0, VOCABULARY, 1_000_000)
    ours, model = our_step(preset, text)
    sides = {"tinytorch": ours}
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
            seconds[name].append(timed(step, TURN))
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
    """Kernels that one step runs, whoever launches them, as PyTorch's profiler counts them."""
    torch = cuda_torch()
    if torch is None or TORCH_DEVICE == "cpu":
        return None
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile

    wait()
    # acc_events: without it, events of a second cycle would be lost, of which PyTorch warns.
    with profile(activities=[ProfilerActivity.CUDA], acc_events=True) as record:
        step()
        wait()
    events = [e for e in record.events() if e.device_type == DeviceType.CUDA]
    return sum(not e.name.startswith(("Memcpy", "Memset")) for e in events)


def torch_memory(step: Step | None) -> float | None:
    torch = cuda_torch()
    if torch is None or step is None or TORCH_DEVICE == "cpu":
        return None
    torch.cuda.reset_peak_memory_stats()
    step()
    peak: float = torch.cuda.max_memory_allocated() / 2**20
    return peak


# Generation


def generation(preset: Preset, batch: int, tokens: int, rounds: int = 3) -> float:
    """Tokens a second with the cache, the median of several texts."""
    model = build_model(preset, VOCABULARY).to("cupy").eval()
    prompt = np.zeros((batch, 1), dtype=np.int64)

    def write() -> None:
        for _ in stream(model, prompt, tokens, temperature=0.8, seed=0):
            pass

    write()
    return batch * tokens / statistics.median(timed(write, 1) for _ in range(rounds))


# Kernels


def kernel_cases(preset: Preset) -> dict[str, tuple[Step, float]]:
    """Kernel -> a call at the model's shapes, and the bytes that it must read and write."""
    import cupy

    from tinytorch.backends.cupy import attention_weights, dropout, elementwise, embedding
    from tinytorch.backends.cupy.kernels import KERNELS

    B, T, C, nh = preset.batch_size, preset.context, preset.embed_dim, preset.num_heads

    def array(*shape: int) -> Any:
        return cupy.asarray(np.random.default_rng(0).standard_normal(shape, np.float32))

    x, x2, weight, wide = array(B, T, C), array(B, T, C), array(C), array(B, T, 4 * C)
    scores, logits = array(B, nh, T, T), array(B, T, VOCABULARY)
    mask = cupy.asarray(np.tril(np.ones((T, T), bool)))
    ids = cupy.asarray(np.random.default_rng(0).integers(0, VOCABULARY, (B, T)))
    _, saved_gelu = KERNELS["gelu"].forward(None, wide)
    _, saved_norm = KERNELS["layer_norm"].forward(None, x, weight, None)
    loss, saved_loss = KERNELS["cross_entropy"].forward(None, logits, ids)
    moments = [array(B, T, 4 * C) for _ in range(3)]
    adam = {"lr": 1e-3, "betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": 0.1, "decoupled": True}

    def gradient(name: str, g: Any, saved: Any) -> Step:
        def call() -> None:
            answers = KERNELS[name].gradient(None, g, *saved)
            for answer in answers if isinstance(answers, tuple) else (answers,):
                answer() if callable(answer) else None

        return call

    return {
        "gelu": (lambda: KERNELS["gelu"].forward(None, wide), 2 * wide.nbytes),
        "gelu_gradient": (gradient("gelu", wide, saved_gelu), 3 * wide.nbytes),
        "layer_norm": (lambda: KERNELS["layer_norm"].forward(None, x, weight, None), 2 * x.nbytes),
        "layer_norm_gradient": (gradient("layer_norm", x, saved_norm), 6 * x.nbytes),
        "softmax_hiding": (
            lambda: attention_weights.softmax_in_place(scores, mask), 2 * scores.nbytes),
        "dropout": (lambda: dropout.hide(x, 0.2, 1), 2 * x.nbytes),
        "dropout of weights": (lambda: dropout.hide(scores, 0.2, 1), 2 * scores.nbytes),
        "add": (lambda: elementwise.add_arrays(x, x2), 3 * x.nbytes),
        "cross_entropy": (
            lambda: KERNELS["cross_entropy"].forward(None, logits, ids), logits.nbytes),
        "cross_entropy_gradient": (
            gradient("cross_entropy", cupy.ones_like(loss), saved_loss), 2 * logits.nbytes),
        "embedding_gradient": (
            lambda: embedding.segment_sum(x.reshape(-1, C), ids.reshape(-1), VOCABULARY),
            x.nbytes),
        "adam_update": (
            lambda: KERNELS["adam_update"].forward(None, wide, *moments, step=1, **adam),
            7 * wide.nbytes),
    }  # fmt: skip


def device_seconds(call: Step, times: int, hold: Step) -> float:
    """Seconds that the device needs for a call, whatever the host needs to ask for it.

    The calls are queued behind so many of `hold` that the host is done before the first begins.
    """
    import cupy

    held = 100
    while True:
        begin, end = cupy.cuda.Event(), cupy.cuda.Event()
        wait()
        for _ in range(held):
            hold()
        begin.record()
        for _ in range(times):
            call()
        end.record()
        was_late = begin.done  # so the device may have waited for the host
        end.synchronize()
        if not was_late or held >= MOST_HELD:
            return float(cupy.cuda.get_elapsed_time(begin, end)) / 1e3 / times
        held *= 2


def bandwidths(preset: Preset, rounds: int) -> Iterator[tuple[str, float]]:
    """Each kernel's bytes a second over those of a plain copy in turn with it, the median."""
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
    import cupy

    runtime = cupy.cuda.runtime
    versions = {"python": platform.python_version(), "numpy": np.__version__,
                "cupy": cupy.__version__}  # fmt: skip
    if torch := cuda_torch():
        versions["torch"] = torch.__version__
    return {
        "date": date.today().isoformat(),
        "device": runtime.getDeviceProperties(0)["name"].decode(),
        "driver": getattr(runtime, "driverGetVersion", lambda: None)(),
        "cuda": getattr(runtime, "runtimeGetVersion", lambda: None)(),
        "versions": versions,
    }


Row = tuple[str, Any, list[str]]  # a figure's name, itself, and the cells of its row


def training_steps(rounds: int, modes: list[str], compiled: bool) -> Iterator[Row]:
    for mode in modes:
        row = compare_steps(PRESETS["nanogpt-gpu"], mode, rounds, compiled)
        yield mode, row, step_cells(row)
    if "tf32" in modes:
        for name in ("default", "best"):
            row = compare_steps(PRESETS[name], "tf32", rounds, compiled=False)
            yield f"{name}, tf32", row, step_cells(row)


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


# Section -> the heads of its table.
HEADS = {
    "training step": [
        "TinyTorch", "torch eager", "torch.compile", "ours / eager", "tokens/s",
        "launches (ours, eager, compile)", "memory, MiB (ours reserved, torch peak)",
    ],
    "generation, tokens a second": ["tokens/s"],
    "kernel bandwidth over copy": ["bandwidth over that of a copy"],
    "training to a loss": ["steps", "seconds", "validation loss"],
}  # fmt: skip


def sections(arguments: argparse.Namespace) -> Iterator[tuple[str, Iterator[Row]]]:
    """What was asked for: each section's name and its rows, which are measured as they are read."""
    rounds = arguments.rounds
    yield "training step", training_steps(rounds, arguments.modes, not arguments.no_compile)
    set_mode("tf32")
    yield "generation, tokens a second", generations(arguments.tokens)
    yield "kernel bandwidth over copy", kernel_rows(rounds)
    if arguments.train:
        yield "training to a loss", training(arguments.train)


def report(arguments: argparse.Namespace) -> None:
    """Measure; print each row as Markdown at once, and write the JSON after each section."""
    result = device()
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    print(f"{result['device']}, {result['date']}, driver for CUDA {result['driver']}, {versions}")
    for section, rows in sections(arguments):
        heads = [section, *HEADS[section]]
        print(f"\n| {' | '.join(heads)} |\n{'|---' * len(heads)}|", flush=True)
        result[section] = {}
        for name, figure, cells in rows:
            result[section][name] = figure
            print(f"| {name} | {' | '.join(cells)} |", flush=True)
        if arguments.json:
            arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10, help="turns of each side")
    parser.add_argument("--tokens", type=int, default=500, help="length of a generated text")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=MODES, help="of products")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument("--train", choices=PRESETS, help="train this preset on Shakespeare too")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    arguments = parser.parse_args(argv)
    problem = backends.status("cupy")
    if problem is not None:
        print(f"skipped: {problem}")
        return 0
    report(arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())
