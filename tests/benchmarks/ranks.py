"""Milliseconds of a training step in two processes, or with mpiexec in as many ranks.

python tests/benchmarks/ranks.py default
mpiexec -n 2 python tests/benchmarks/ranks.py default
"""

import statistics
import sys
import time

import numpy as np

import tinytorch
from tinytorch import TokenDataset
from tinytorch.runtime import launch
from tinytorch.tinygpt import PRESETS
from tinytorch.tinygpt.presets import build_model, build_trainer

STEPS, WARM_UP = 45, 8


def main(name: str) -> None:
    world = launch.World(print) if launch.is_launched() else None
    group = None if world is None else world.group
    preset = PRESETS[name]
    tinytorch.manual_seed(1)
    trainer = build_trainer(preset, build_model(preset, 65), 1 if group else 2, group)
    rows, context = preset.batch_shape(0.5)
    blocks = TokenDataset(np.random.default_rng(0).integers(0, 65, 100_000), context)
    seconds = []
    for _ in range(STEPS):
        begin = time.perf_counter()
        trainer.train_step([blocks.random_batch(rows)]).item()
        seconds.append(time.perf_counter() - begin)
    if group is None or group.rank == 0:
        print(f"{name}: {1e3 * statistics.median(seconds[WARM_UP:]):.1f} ms")
    if world is not None:
        world.leave(0, is_shared=True)


if __name__ == "__main__":
    main(sys.argv[1])
