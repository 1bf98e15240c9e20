"""Benchmark training steps, ops, generation and memory against PyTorch eager.

    python tests/benchmarks/versus_torch.py [--rounds 20] [--with compile jax] [--json FILE]

Both sides use the same model, weights, batches and number of threads; PyTorch uses its fused AdamW.
They alternate every few steps in one process, so that changes in the machine's speed affect both.
The floor is the time that the FLOPs of a step's matrix products would take at the rate of a large
product on all processors. ``--with`` adds training steps compiled by torch.compile or by JAX,
which always uses all processors.
Memory is the increase over the time before the first step, measured in a separate program for each
side (ours without PyTorch), summed over the processes that share a step; the median of five
programs. Needs PyTorch in addition to the extra `test`.

Results depend on the instruction sets that the two BLAS libraries select for the CPU. The one of
NumPy is printed first; OPENBLAS_CORETYPE=Haswell limits it to AVX2. With a C compiler and AVX-512,
large products are our own; TT_COMPILED=0 leaves them to NumPy.
"""

import argparse
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

import tinytorch
from tinytorch import GPT, TokenDataset
from tinytorch.backends.numpy.threads import num_threads, parallel_ranges
from tinytorch.generation.generate import stream
from tinytorch.tinygpt import PRESETS, Preset
from tinytorch.tinygpt.presets import build_model, build_trainer

TURN = 5  # steps before the other side's turn
OP_TURN = 30  # PyTorch's threads keep spinning for some milliseconds after an op
VOCABULARY = 65
MODELS = {
    "nanogpt-cpu": PRESETS["nanogpt-cpu"],
    "baby GPT, batch 4": replace(PRESETS["nanogpt-gpu"], batch_size=4, dropout=0.0),
    # The blocks in the middle of its run.
    "default model, AdamW": replace(
        PRESETS["default"], muon_lr=None, context=128, batch_size=16, context_doublings=0
    ),
}


def load(name: str) -> Any:
    """Import a module of tests/, which is on pytest's path but not on a program's."""
    path = Path(__file__).parents[1] / f"{name}.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def timed(step: Callable[[], object], times: int = TURN) -> list[float]:
    """Return the seconds of each of several calls."""
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return seconds


Step = Callable[[], float]  # runs one training step and returns the loss


def blocks_of_text(preset: Preset) -> TokenDataset:
    return TokenDataset(np.random.default_rng(0).integers(0, VOCABULARY, 100_000), preset.context)


def our_step(preset: Preset) -> tuple[GPT, Step]:
    tinytorch.manual_seed(1337)
    model = build_model(preset, VOCABULARY)
    trainer = build_trainer(preset, model)
    blocks, rng = blocks_of_text(preset), np.random.default_rng(1)

    def step() -> float:
        loss: float = trainer.train_step([blocks.random_batch(preset.batch_size, rng)]).item()
        return loss

    return model, step


def their_step(preset: Preset, model: GPT, wrap: Callable[..., Any] = lambda f: f) -> Step:
    """Return PyTorch's training step with the same weights and batches; `wrap` changes the loss."""
    import torch

    load("helpers")
    reference = load("torch_reference").gpt(model).train()
    optimizer = torch.optim.AdamW(
        reference.parameters(), lr=preset.lr, betas=preset.betas, fused=True
    )
    blocks, rng = blocks_of_text(preset), np.random.default_rng(1)
    loss_of = wrap(reference.loss)

    def step() -> float:
        batch = blocks.random_batch(preset.batch_size, rng)
        loss = loss_of(*(torch.from_numpy(t.numpy().copy()) for t in batch))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(reference.parameters(), preset.grad_clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        value: float = loss.item()
        return value

    return step


def training_steps(preset: Preset) -> tuple[Step, Step]:
    """Return our training step and PyTorch's."""
    model, ours = our_step(preset)
    return ours, their_step(preset, model)


def compiled_step(preset: Preset, model: GPT) -> Step:
    """Return PyTorch's training step with forward and backward compiled by torch.compile."""
    import torch

    return their_step(preset, model, torch.compile)


def jax_step(preset: Preset, model: GPT) -> Step:
    """Return JAX's training step with the same weights and batches, compiled by XLA."""
    update = load("benchmarks/jax_gpt").training_step(
        model, preset.lr, preset.betas, preset.grad_clip
    )
    blocks, rng = blocks_of_text(preset), np.random.default_rng(1)

    def step() -> float:
        value: float = update(*(t.numpy() for t in blocks.random_batch(preset.batch_size, rng)))
        return value

    return step


def check_threads() -> None:
    """Raise if something that was imported has changed PyTorch's number of threads."""
    import torch

    if torch.get_num_threads() != num_threads():
        raise RuntimeError(f"PyTorch uses {torch.get_num_threads()} of {num_threads()} threads")


OTHERS = {"compile": compiled_step, "jax": jax_step}  # optional columns


# The floor


def step_flops(preset: Preset) -> float:
    """Return the FLOPs of the matrix products of a training step: forward and both gradients.

    Of attention's scores, causal, half are counted.
    """
    C, T = preset.embed_dim, preset.context
    tokens = preset.batch_size * T
    linear = 6 * tokens * (12 * C * C * preset.num_layers + C * VOCABULARY)
    attention = 6 * 2 * tokens * (T / 2) * C * preset.num_layers
    return linear + attention


def product_step(size: int = 1024) -> tuple[Callable[[], None], float]:
    """Return a function that multiplies large matrices on all processors at once, and its FLOPs."""
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal((size, size), dtype=np.float32) for _ in range(2))
    outputs = [np.empty_like(x) for _ in range(num_threads())]

    def products(start: int, stop: int) -> None:
        for out in outputs[start:stop]:
            np.matmul(x, y, out=out)

    return lambda: parallel_ranges(products, len(outputs)), 2.0 * size**3 * len(outputs)


def compare(preset: Preset, rounds: int, others: Sequence[str] = ()) -> dict[str, float]:
    """Return the median milliseconds of all sides, and medians of the ratios of each round.

    The floor is the time that the FLOPs of the step's products take at the rate of a large one.
    """
    model, ours = our_step(preset)
    product, flops = product_step()
    names = ["tinytorch", "pytorch", *others, "product"]
    extra = [OTHERS[name](preset, model) for name in others]
    sides = [ours, their_step(preset, model), *extra, product]
    check_threads()
    losses = [step() for step in sides[:-1]]  # before the first update: those of the same weights
    np.testing.assert_allclose(losses, losses[0], rtol=1e-3)
    for step in sides:
        timed(step, 2)
    turns = [[statistics.median(timed(step)) for step in sides] for _ in range(rounds)]
    columns = dict(zip(names, zip(*turns, strict=True), strict=True))
    mine, share = columns["tinytorch"], step_flops(preset) / flops

    def ratio(other: Sequence[float]) -> float:
        return statistics.median(a / b for a, b in zip(mine, other, strict=True))

    floors = [share * seconds for seconds in columns.pop("product")]
    result = {f"{name}_ms": 1e3 * statistics.median(c) for name, c in columns.items()}
    result |= {f"over_{name}": ratio(columns[name]) for name in others}
    return result | {
        "ratio": ratio(columns["pytorch"]),
        "floor_ms": 1e3 * statistics.median(floors),
        "over_floor": ratio(floors),
    }


def compare_disturbed(preset: Preset, rounds: int) -> dict[str, float]:
    """Return median milliseconds of both sides while another process keeps one core busy."""
    sides = training_steps(preset)
    check_threads()
    for step in sides:
        timed(step, 3)
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as neighbour:
        try:
            turns = [[statistics.median(timed(s, 2 * TURN)) for s in sides] for _ in range(rounds)]
        finally:
            neighbour.kill()
    mine, other = (1e3 * statistics.median(column) for column in zip(*turns, strict=True))
    return {"tinytorch_disturbed_ms": mine, "pytorch_disturbed_ms": other}


# Ops


def op_pairs(preset: Preset, torch: Any) -> dict[str, tuple[Callable[[], Any], Callable[[], Any]]]:
    """Return op -> forward and backward at the preset's shapes, for both sides."""
    from tinytorch import Tensor
    from tinytorch.activations import gelu
    from tinytorch.attention import attention, create_causal_mask
    from tinytorch.embeddings import embedding
    from tinytorch.layers import layer_norm, linear
    from tinytorch.losses import cross_entropy

    F = torch.nn.functional
    B, T, C, nh = preset.batch_size, preset.context, preset.embed_dim, preset.num_heads
    rng = np.random.default_rng(0)

    def pair(ours: Any, theirs: Any, *shapes: tuple[int, ...], ids: Any = None) -> Any:
        arrays = [rng.standard_normal(shape, dtype=np.float32) for shape in shapes]
        mine = [Tensor(a, requires_grad=True) for a in arrays]
        others = [torch.from_numpy(a).requires_grad_() for a in arrays]
        end = [] if ids is None else [ids]
        g = Tensor(np.ones(ours(*mine, *map(Tensor, end)).shape, np.float32))
        tg = torch.from_numpy(g.numpy().copy())

        def run() -> None:
            ours(*mine, *map(Tensor, end)).backward(g)
            for tensor in mine:
                tensor.zero_grad()

        def run_theirs() -> None:
            y = theirs(*others, *map(torch.from_numpy, end))
            torch.autograd.grad(y, others, tg)

        return run, run_theirs

    mask, ids = create_causal_mask(T), rng.integers(0, VOCABULARY, (B, T))
    heads = (B, nh, T, C // nh)
    return {
        "linear": pair(linear, F.linear, (B, T, C), (4 * C, C)),
        "gelu": pair(gelu, lambda x: F.gelu(x, approximate="tanh"), (B, T, 4 * C)),
        "layer_norm": pair(layer_norm, lambda x, w: F.layer_norm(x, (C,), w), (B, T, C), (C,)),
        "attention": pair(
            lambda q, k, v: attention(q, k, v, mask),
            lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
            heads, heads, heads),
        "cross_entropy": pair(
            cross_entropy, lambda x, y: F.cross_entropy(x.flatten(0, 1), y.flatten()),
            (B, T, VOCABULARY), ids=ids),
        "embedding": pair(
            embedding, lambda w, i: F.embedding(i, w), (VOCABULARY, C), ids=ids),
    }  # fmt: skip


def compare_ops(preset: Preset, torch: Any, rounds: int) -> dict[str, dict[str, float]]:
    """Return median microseconds of both sides, forward and backward together."""
    medians = {}
    for name, sides in op_pairs(preset, torch).items():
        for step in sides:
            timed(step, 3)
        turns = [[statistics.median(timed(step, OP_TURN)) for step in sides] for _ in range(rounds)]
        mine, other = (1e6 * statistics.median(column) for column in zip(*turns, strict=True))
        ratio = statistics.median(a / b for a, b in turns)
        medians[name] = {"tinytorch_us": mine, "pytorch_us": other, "ratio": ratio}
    return medians


# Memory


def train_for_memory(side: str, model: str) -> None:
    """Print a line and train ten steps, while another process measures this one's memory."""
    own, step = our_step(MODELS[model])
    if side == "pytorch":
        step = their_step(MODELS[model], own)
    print("begin", flush=True)
    for _ in range(10):
        step()


def _resident(pid: int) -> float:
    """Return the MiB of a process and its children, with shared pages counted once."""
    process = Path("/proc", str(pid))
    try:
        children = (process / "task" / str(pid) / "children").read_text().split()
        lines = (process / "smaps_rollup").read_text().splitlines()
    except OSError:  # the process has just ended
        return 0.0
    own = sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
    return own + sum(_resident(int(child)) for child in children)


def compare_memory(model: str, rounds: int = 5) -> dict[str, float] | None:
    """Return median peaks of both sides in MiB; None if the system has no smaps_rollup (Linux)."""
    if not Path("/proc/self/smaps_rollup").exists():
        return None
    sides = ("tinytorch", "pytorch")
    turns = [[_peak_of(side, model) for side in sides] for _ in range(rounds)]
    peaks = map(statistics.median, zip(*turns, strict=True))
    return {f"{side}_mib": peak for side, peak in zip(sides, peaks, strict=True)}


def _peak_of(side: str, model: str) -> float:
    """Return the increase in MiB of a training program's memory, by polling."""
    command = [sys.executable, __file__, "--memory-model", model, "--memory-of", side]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        program.stdout.readline()
        before = peak = _resident(program.pid)
        while program.poll() is None:
            peak = max(peak, _resident(program.pid))
    return peak - before


def generation(batch: int, rounds: int = 5, tokens: int = 500) -> float:
    """Return the tokens per second of the default model with the cache, a median over texts."""
    model = build_model(PRESETS["default"], VOCABULARY).eval()
    prompt = np.zeros((batch, 1), dtype=np.int64)

    def generate() -> None:
        for _ in stream(model, prompt, tokens, temperature=0.8, seed=0):
            pass

    generate()
    return batch * tokens / statistics.median(timed(generate, rounds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20, help="turns of each side")
    parser.add_argument(
        "--with", dest="others", nargs="*", choices=list(OTHERS), default=[],
        help="more sides of the training steps: PyTorch's compiler, JAX (both minutes to compile)",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--memory-of", choices=["tinytorch", "pytorch"], help=argparse.SUPPRESS)
    parser.add_argument("--memory-model", choices=list(MODELS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()

    if arguments.memory_of:
        train_for_memory(arguments.memory_of, arguments.memory_model)
        return
    import torch

    torch.set_num_threads(num_threads())
    result = measure(torch, arguments.rounds, arguments.others)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def _numpy_blas() -> str:
    """Return the name of NumPy's BLAS and the CPU architecture of its kernels."""
    from threadpoolctl import threadpool_info

    libraries = [
        f"{i['internal_api']} {i['version']}, {i['architecture']}"
        for i in threadpool_info()
        if i["user_api"] == "blas" and "numpy" in i["filepath"]
    ]
    return ", ".join(libraries) or "not OpenBLAS"


def measure(torch: Any, rounds: int, others: Sequence[str] = ()) -> dict[str, Any]:
    """Measure and print all figures, and return them."""
    result: dict[str, Any] = {
        "date": date.today().isoformat(),
        "threads": num_threads(),
        "machine": f"{platform.machine()}, {os.cpu_count()} processors",
        "versions": {"python": platform.python_version(), "numpy": np.__version__,
                     "torch": torch.__version__},
        "numpy_products": _numpy_blas(),
        "torch_vectors": torch.backends.cpu.get_cpu_capability(),
    }  # fmt: skip
    print(f"NumPy's BLAS: {result['numpy_products']}; PyTorch: {result['torch_vectors']}\n")
    extra = "".join(f" {name} | ratio |" for name in others)
    print(f"| training step | TinyTorch | PyTorch | ratio |{extra} floor | over the floor |")
    print("|---|---|---|---|" + "---|---|" * (len(others) + 1))
    for name, preset in MODELS.items():
        row = result[name] = compare(preset, rounds, others)
        extra = "".join(f" {row[f'{o}_ms']:.1f} ms | {row[f'over_{o}']:.2f} |" for o in others)
        print(
            f"| {name} | {row['tinytorch_ms']:.1f} ms | {row['pytorch_ms']:.1f} ms"
            f" | {row['ratio']:.2f} |{extra} {row['floor_ms']:.1f} ms | {row['over_floor']:.2f} |",
            flush=True,
        )
    print("\n| with another busy process | TinyTorch | PyTorch |\n|---|---|---|")
    for name in ("nanogpt-cpu", "default model, AdamW"):
        row = compare_disturbed(MODELS[name], rounds)
        result[name] |= row
        print(f"| {name} | {' | '.join(f'{ms:.1f} ms' for ms in row.values())} |", flush=True)
    print("\n| peak memory of training | TinyTorch | PyTorch |\n|---|---|---|")
    for name in MODELS:
        if memory := compare_memory(name):
            result[name] |= memory
            print(
                f"| {name} | {memory['tinytorch_mib']:.0f} MiB | {memory['pytorch_mib']:.0f} MiB |"
            )
    print("\n| op, forward and backward | TinyTorch | PyTorch | ratio |\n|---|---|---|---|")
    result["ops"] = compare_ops(MODELS["nanogpt-cpu"], torch, rounds)
    for name, row in result["ops"].items():
        print(
            f"| {name} | {row['tinytorch_us']:.0f} us | {row['pytorch_us']:.0f} us"
            f" | {row['ratio']:.2f} |"
        )
    print("\n| generation | tokens/s |\n|---|---|")
    for batch in (1, 32):
        rate = result[f"generation, batch {batch}"] = generation(batch)
        print(f"| batch {batch} | {rate:,.0f} |")
    return result


if __name__ == "__main__":
    main()
