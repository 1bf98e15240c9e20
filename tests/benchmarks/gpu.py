"""Benchmarks on a CUDA GPU against PyTorch: training, generation, kernels and their floors.

    python tests/benchmarks/gpu.py [--budget 460] [--json FILE] [--only SECTION ...]
        [--modes tf32 bf16] [--rounds 10] [--no-compile] [--tiny]

Measures in one process, and in turn, so that changes of the GPU's clock affect all sides. The
sections are in the order of their importance; each has a time limit, and one that fails or does not
end ends with a sentence. Rows are printed as they are measured, and written at once to FILE as JSON
and beside it as Markdown (`.md`).

The main section trains nanoGPT's baby GPT (preset `nanogpt-gpu`: 6 layers, 6 heads, width 384,
context 256, batch 64) from the same weights with the same batches in PyTorch: eager and compiled,
with and without CUDA graphs, with F.scaled_dot_product_attention and the fused AdamW. Each
precision is compared with PyTorch's own: tf32 and fp32 by its switch, bf16 by its autocast.

Floors are computed from two rates that are measured first: of a copy of 256 MB, and of a product of
8192 x 8192. Arrays that fit into the L2 cache may go below the floor of their bytes.

Without a usable GPU the program prints one line and exits; without PyTorch, its columns are left
out. `--tiny` is a rehearsal with sizes for a CPU (tests/benchmarks/test_gpu.py).
"""

import argparse
import sys
import time
from pathlib import Path

from tinytorch import backends

if (folder := str(Path(__file__).parent)) not in sys.path:
    sys.path.append(folder)  # where this file is not run as a program

from gpu_benchmark import (
    bits,
    decoding,
    kernels,
    machine,
    modes,
    products,
    profiler,
    scaling,
    time_to_loss,
    training_step,
)
from gpu_benchmark.report import Report, Section
from gpu_benchmark.settings import Settings, tiny

LEAST = 5.0  # seconds that a section needs to be started

SECTIONS = [
    Section(
        "rates", "Rates", "From which floors are computed.", ["", "rate"], 40, machine.rates,
    ),
    Section(
        "steps", "Training step",
        "Milliseconds, measured in turn. \"CUDA graph\": the whole step, with clipping and AdamW,"
        " captured by hand; `reduce-overhead` captures forward and backward only. TinyTorch's steps"
        " are CUDA graphs. The floor is that of the step's matrix products at the rate above.",
        training_step.columns(training_step.OF_BABY_GPT), 170, training_step.baby_gpt,
    ),
    Section(
        "decoding", "Generation, tokens a second",
        "Of all texts together, in turn: from one token to a full context, read by the host."
        " PyTorch: a static key-value cache, sampling on the device, one CUDA graph a token."
        " TinyTorch computes in full float32; the floor is that of reading weights and caches once."
        " \"Past the context\" is some contexts long; in a full one, its newer half is read again.",
        decoding.COLUMNS, 60, decoding.decoding,
    ),
    Section(
        "loss", "Time to a validation loss of 1.4697",
        "nanoGPT's published loss for this model; here of the whole validation text of Tiny"
        " Shakespeare, after every 50 steps, whose time counts in the last column only.",
        time_to_loss.COLUMNS, 120, time_to_loss.time_to_loss,
    ),
    Section(
        "kernels", "Kernels over their floors",
        "The baby GPT's shapes; each input read once and each output written once at the bandwidth"
        " of a copy, or the products at the rate of a large one, whichever takes longer.",
        kernels.COLUMNS, 40, kernels.kernels,
    ),
    Section(
        "presets", "Training step, other presets",
        "As above; presets that are bound by launches take several steps from one graph.",
        training_step.columns(training_step.OF_SMALL_PRESETS), 60,
        training_step.small_presets,
    ),
    Section(
        "scaling", "Growth of a step's time",
        "The baby GPT with one size changed. Exponent: log of the ratio to the row before, over the"
        " log of the sizes' ratio; where that of the time exceeds that of the FLOPs, or of 1 while"
        " the step is bound by bytes, time grows faster than it need.",
        scaling.COLUMNS, 50, scaling.scaling,
    ),
    Section(
        "bits", "Equal bits",
        "Six steps, a checkpoint and six more: weights after resuming, and after steps without"
        " graphs, against the uninterrupted run's.",
        bits.COLUMNS, 30, bits.same_bits,
    ),
    Section(
        "products", "The baby GPT's products",
        "N = batch x context rows. In bf16 both sides' operands are stored in bf16.",
        products.COLUMNS, 30, products.products,
    ),
    Section(
        "profile", "Kernels of the baby GPT's step",
        "By PyTorch's profiler, TinyTorch's within its CUDA graph: calls and the sum of times.",
        ["kernel", "calls", "us", "of the step"], 30, profiler.kernels_of_steps,
    ),
    Section(
        "autotune", "Training step next to max-autotune",
        "As above, with PyTorch's slowest mode to compile; last, because it takes minutes.",
        training_step.columns(training_step.OF_AUTOTUNED), 400, training_step.autotuned,
    ),
]  # fmt: skip


def parse(argv: list[str] | None) -> argparse.Namespace:
    keys = [section.key for section in SECTIONS]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--budget", type=float, default=460, help="seconds for all sections")
    parser.add_argument("--json", type=Path, help="write the results here, and as .md beside it")
    parser.add_argument("--only", nargs="+", choices=keys, default=keys, help="sections to measure")
    parser.add_argument(
        "--modes", nargs="+", choices=modes.MODES, default=["tf32", "bf16"], help="precisions"
    )
    parser.add_argument("--rounds", type=int, default=10, help="measurements of each side")
    parser.add_argument("--no-compile", action="store_true", help="do not measure torch.compile")
    parser.add_argument("--tiny", action="store_true", help="rehearse with tiny sizes")
    arguments = parser.parse_args(argv)
    if arguments.rounds < 1:
        parser.error(f"--rounds must be at least 1, not {arguments.rounds}")
    if arguments.json is not None:
        if arguments.json.suffix != ".json":
            parser.error(f"--json must name a file that ends with .json, not {arguments.json}")
        if not arguments.json.parent.is_dir():
            parser.error(f"--json: there is no folder {arguments.json.parent}")
    return arguments


def main(argv: list[str] | None = None) -> int:
    arguments = parse(argv)
    problem = backends.status("cupy")
    if problem is not None:
        print(f"skipped: {problem}")
        return 0
    supported = modes.supported_modes(arguments.modes)
    settings = Settings(supported, not arguments.no_compile, rounds=arguments.rounds)
    settings = tiny(settings) if arguments.tiny else settings
    report = Report(machine.head(), arguments.json)
    end = time.perf_counter() + arguments.budget
    for section in SECTIONS:
        if section.key in arguments.only:
            left = end - time.perf_counter()
            if left < LEAST:
                report.skip(section, "not measured: no time is left")
            else:
                report.measure(section, settings, min(section.seconds, left))
    return 0


if __name__ == "__main__":
    sys.exit(main())
