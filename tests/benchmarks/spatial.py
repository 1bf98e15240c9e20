"""Benchmark networks for images against PyTorch eager: forward and backward, in turn in one run.

    python tests/benchmarks/spatial.py [--rounds 10] [--threads 2] [--layers]

LeNet-5 (28 x 28, batch 64) and a block of a ResNet (32 x 32, 64 channels, batch 32) have the same
weights and inputs on both sides. The two take turns after each step, and a turn begins with a step
that is not timed: PyTorch's threads spin for some milliseconds after their work. The time of all
CPUs is printed too, which other processes disturb less than the time on the clock.

Then LeNet-5 with its loss, as training computes it: in a single process with threads, and in as
many processes as threads, as by `Trainer(..., processes=2)`. The gradients are the same.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

Step = Callable[[], object]


def lenet(nn: Any) -> Any:
    """LeNet-5: 61,706 parameters."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10),
    )  # fmt: skip


def modern_lenet(nn: Any) -> Any:
    """The same with ReLU and maxima."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


def block(nn: Any) -> Any:
    """conv, bn, relu, conv, bn, + x, relu."""

    class Block(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(64, 64, 3, padding=1, bias=False)
            self.conv2 = nn.Conv2d(64, 64, 3, padding=1, bias=False)
            self.bn1, self.bn2 = nn.BatchNorm2d(64), nn.BatchNorm2d(64)
            self.relu = nn.ReLU()

        def forward(self, x: Any) -> Any:
            y = self.relu(self.bn1(self.conv1(x)))
            return self.relu(self.bn2(self.conv2(y)) + x)

    return Block()


NETWORKS: dict[str, tuple[Any, tuple[int, ...], bool]] = {  # input; whether it needs a gradient
    "LeNet-5, batch 64": (lenet, (64, 1, 28, 28), False),
    "LeNet-5 with ReLU and MaxPool2d": (modern_lenet, (64, 1, 28, 28), False),
    "ResNet block, batch 32": (block, (32, 64, 32, 32), True),
}
LAYERS: dict[str, tuple[Any, tuple[int, ...], bool]] = {
    "Conv2d(1, 6, 5, padding=2)": (
        lambda nn: nn.Conv2d(1, 6, 5, padding=2), (64, 1, 28, 28), False,
    ),
    "Conv2d(6, 16, 5)": (lambda nn: nn.Conv2d(6, 16, 5), (64, 6, 14, 14), True),
    "Tanh": (lambda nn: nn.Tanh(), (64, 6, 28, 28), True),
    "ReLU": (lambda nn: nn.ReLU(), (64, 6, 28, 28), True),
    "AvgPool2d(2)": (lambda nn: nn.AvgPool2d(2), (64, 6, 28, 28), True),
    "MaxPool2d(2)": (lambda nn: nn.MaxPool2d(2), (64, 6, 28, 28), True),
    "MaxPool2d(3, 2, 1)": (lambda nn: nn.MaxPool2d(3, 2, 1), (32, 64, 32, 32), True),
    "Conv2d(64, 64, 3, padding=1)": (
        lambda nn: nn.Conv2d(64, 64, 3, padding=1, bias=False), (32, 64, 32, 32), True,
    ),
    "Conv2d(64, 128, 3, stride=2)": (
        lambda nn: nn.Conv2d(64, 128, 3, 2, 1, bias=False), (32, 64, 32, 32), True,
    ),
    "Conv2d(64, 128, 1)": (lambda nn: nn.Conv2d(64, 128, 1), (32, 64, 32, 32), True),
    "ConvTranspose2d(64, 32, 4, 2, 1)": (
        lambda nn: nn.ConvTranspose2d(64, 32, 4, 2, 1), (32, 64, 16, 16), True,
    ),
    "BatchNorm2d(64)": (lambda nn: nn.BatchNorm2d(64), (32, 64, 32, 32), True),
    "GroupNorm(8, 64)": (lambda nn: nn.GroupNorm(8, 64), (32, 64, 32, 32), True),
    "relu of large maps": (lambda nn: nn.ReLU(), (32, 64, 32, 32), True),
}  # fmt: skip


def steps(build: Any, shape: tuple[int, ...], grad: bool) -> tuple[Step, Step]:
    """Forward and backward of our network, and of PyTorch's with the same weights."""
    import numpy as np
    import torch

    import tinytorch

    rng = np.random.default_rng(0)
    theirs, ours = build(torch.nn), build(tinytorch.nn)
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    x = rng.standard_normal(shape).astype(np.float32)
    made = []
    for model, library in ((ours, tinytorch), (theirs, torch)):
        given = library.tensor(x, requires_grad=grad)
        g = library.tensor(rng.standard_normal(tuple(model(given).shape)).astype(np.float32))

        def step(model: Any = model, given: Any = given, g: Any = g) -> None:
            for tensor in (given, *model.parameters()):
                tensor.grad = None
            model(given).backward(g)

        made.append(step)
    return made[0], made[1]


@contextmanager
def training(build: Any, shape: tuple[int, ...], processes: int) -> Iterator[tuple[Step, ...]]:
    """Forward, cross-entropy and backward: ours, ours in several processes, PyTorch's."""
    import numpy as np
    import torch

    import tinytorch
    from tinytorch.runtime.data_parallel import DataParallel

    rng = np.random.default_rng(0)
    x, y = rng.standard_normal(shape).astype(np.float32), rng.integers(0, 10, shape[0])
    theirs, *ours = build(torch.nn), build(tinytorch.nn), build(tinytorch.nn)
    for model in ours:
        model.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    made = []
    for model, library in ((ours[0], tinytorch), (theirs, torch)):
        loss, given = library.nn.CrossEntropyLoss(), (library.tensor(x), library.tensor(y))

        def step(model: Any = model, loss: Any = loss, given: Any = given) -> None:
            for parameter in model.parameters():
                parameter.grad = None
            loss(model(given[0]), given[1]).backward()

        made.append(step)
    replicas = DataParallel(ours[1], tinytorch.nn.CrossEntropyLoss(), processes)
    given = (tinytorch.tensor(x), tinytorch.tensor(y))

    def divided() -> None:
        for parameter in ours[1].parameters():
            parameter.grad = None
        replicas.backward(*given)

    try:
        yield made[0], divided, made[1]
    finally:
        replicas.close()


def measure(steps: Sequence[Step], rounds: int) -> list[tuple[float, float]]:
    """The median milliseconds of each side: on the clock, and of all CPUs of this process."""
    found: list[list[tuple[float, float]]] = [[] for _ in steps]
    for _ in range(rounds):
        for step, times in zip(steps, found, strict=True):
            step()
            start, cpu = time.perf_counter(), time.process_time()
            step()
            times.append((time.perf_counter() - start, time.process_time() - cpu))
    return [
        (statistics.median(t for t, _ in times) * 1e3, statistics.median(t for _, t in times) * 1e3)
        for times in found
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--layers", action="store_true", help="single layers too")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)  # before NumPy is imported
    import torch

    torch.set_num_threads(options.threads)
    print("milliseconds: ours / PyTorch's = ratio; of all CPUs")
    for name, (build, shape, grad) in {**NETWORKS, **(LAYERS if options.layers else {})}.items():
        (ours, our_cpu), (theirs, their_cpu) = measure(steps(build, shape, grad), options.rounds)
        print(
            f"{name:34} {ours:7.2f} / {theirs:7.2f} = {ours / theirs:.2f};"
            f" {our_cpu:7.2f} / {their_cpu:7.2f} = {our_cpu / their_cpu:.2f}"
        )
    print(f"\nwith cross-entropy: one process, {options.threads} processes / PyTorch's = ratios")
    for name, (build, shape, _) in list(NETWORKS.items())[:2]:
        with training(build, shape, options.threads) as made:
            one, several, theirs = (clock for clock, _ in measure(made, options.rounds))
        print(
            f"{name:34} {one:7.2f}, {several:7.2f} / {theirs:7.2f} ="
            f" {one / theirs:.2f}, {several / theirs:.2f}"
        )


if __name__ == "__main__":
    main()
