"""Milliseconds of a training step in two processes, or with mpiexec in as many ranks.

python tests/benchmarks/ranks.py default
mpiexec -n 2 python tests/benchmarks/ranks.py default
mpiexec -n 2 python tests/benchmarks/ranks.py nanogpt-gpu --rows 2 --steps 12 --shard all
"""

import argparse
import statistics
import sys
import time

import numpy as np

import tinytorch
from tinytorch import TokenDataset
from tinytorch.runtime import launch
from tinytorch.runtime.trainer import Trainer
from tinytorch.tinygpt import PRESETS
from tinytorch.tinygpt.presets import build_model, build_trainer

WARM_UP = 8
SHARD = {"muon": None, "all": True, "none": False}


def main() -> None:
    arguments = parse()
    world = launch.World(print) if launch.is_launched() else None
    group = None if world is None else world.group
    preset = PRESETS[arguments.preset]
    tinytorch.manual_seed(1)
    trainer = build_trainer(preset, build_model(preset, 65), 1 if group else 2, group)
    trainer.shard_optimizers = SHARD[arguments.shard]
    rows, context = preset.batch_shape(0.5)
    blocks = TokenDataset(np.random.default_rng(0).integers(0, 65, 100_000), context)
    seconds = []
    for step in range(arguments.steps):
        if arguments.overlap and trainer.ranks is not None:
            trainer.ranks.overlaps = step % 2 == 1
        begin = time.perf_counter()
        trainer.train_step([blocks.random_batch(arguments.rows or rows)]).item()
        seconds.append(time.perf_counter() - begin)
    if group is None or group.rank == 0:
        print(f"{arguments.preset}: {figures(seconds[WARM_UP:], arguments.overlap)}", end="")
    used = memory(trainer)
    by_rank = [used] if group is None else group.gather(used)
    if group is None or group.rank == 0:
        print(";", *by_rank)
    if world is not None:
        world.leave(0, is_shared=True)


def figures(seconds: list[float], overlap: bool) -> str:
    """The median of all steps; or of those whose sums ran after and during the backward pass."""
    times = [seconds[::2], seconds[1::2]] if overlap else [seconds]
    return ", ".join(f"{1e3 * statistics.median(each):.1f} ms" for each in times)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("preset", choices=list(PRESETS))
    parser.add_argument("--shard", choices=list(SHARD), default="muon", help="optimizers to divide")
    parser.add_argument(
        "--overlap", action="store_true", help="sum during the backward pass in every second step"
    )
    parser.add_argument("--rows", type=int, help="of a batch [those of the preset]")
    parser.add_argument("--steps", type=int, default=45)
    arguments = parser.parse_args()
    if arguments.steps < WARM_UP + 2:
        parser.error(f"--steps must be at least {WARM_UP + 2}, not {arguments.steps}")
    return arguments


def memory(trainer: Trainer) -> str:
    """What this process keeps of the optimizers' state, and the most memory it had."""
    states = (t for o in trainer.optimizers for s in o.state.values() for t in s.values())
    nbytes = sum(t.numpy().nbytes for t in states)
    text = f"{nbytes / 1e6:.1f} MB of state"
    if sys.platform == "linux":
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        text += f", peak {peak / 1e6:.0f} MB"
    return text


if __name__ == "__main__":
    main()
