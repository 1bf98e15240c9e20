"""The networks of the milestones beside PyTorch's, from the same weights on the same batches.

`pytest -s` prints the accuracies, and the times of a training step.
"""

import math
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from helpers import load_module, require

from tinytorch import manual_seed
from tinytorch.data.digits import Digits, small_digits
from tinytorch.milestones.classifier import fit, predict
from tinytorch.milestones.program import Output
from tinytorch.tensor import Tensor
from tinytorch.training import Trainer

torch = require("torch")
require("sklearn")

MILESTONES = Path(__file__).parents[2] / "milestones"
# The READMEs have the results of all seeds. Other seeds test no other code.
RUNS = [
    pytest.param(1337, True, id="few epochs"),
    pytest.param(1337, False, marks=pytest.mark.slow, id="seed 1337"),
    *(
        pytest.param(seed, False, marks=[pytest.mark.slow, pytest.mark.nightly], id=f"seed {seed}")
        for seed in (1, 2)
    ),
]
NOISE = 0.015  # 5 of 355 digits, about two standard deviations


class Both(Trainer):
    """A trainer that also trains PyTorch's twin of its model, on the same batches.

    Attributes:
        losses: pairs of our loss and PyTorch's, of each step.
        times: pairs of our seconds and PyTorch's, of each step.
    """

    def __init__(self, trainer: Trainer, twin: Any, weight_decay: float, lr: float) -> None:
        schedule = trainer.scheduler
        super().__init__(trainer.model, trainer.optimizers, trainer.loss_fn, schedule)
        self.twin, self.lr = twin, lr
        self.steps = schedule.total_steps  # type: ignore[union-attr]
        self.optimizer = torch.optim.SGD(
            twin.parameters(), lr=lr, momentum=0.9, weight_decay=weight_decay
        )
        self.losses: list[tuple[float, float]] = []
        self.times: list[tuple[float, float]] = []

    def train_step(self, batches: Any) -> Tensor:
        ((x, labels),) = batches
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr * 0.5 * (1 + math.cos(math.pi * self.step / self.steps))
        theirs = [torch.from_numpy(a.numpy().copy()) for a in (x, labels)]
        begin = time.perf_counter()
        loss = super().train_step(batches)
        ours = time.perf_counter() - begin
        self.optimizer.zero_grad()
        wanted = torch.nn.functional.cross_entropy(self.twin(theirs[0]), theirs[1])
        wanted.backward()
        self.optimizer.step()
        self.times.append((ours, time.perf_counter() - begin - ours))
        self.losses.append((loss.item(), wanted.item()))
        return loss


def mlp_twin(hidden: int = 64) -> Any:
    return torch.nn.Sequential(
        torch.nn.Flatten(),
        torch.nn.Linear(64, hidden),
        torch.nn.ReLU(),
        torch.nn.Linear(hidden, 10),
    )


def lenet_twin() -> Any:
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(8, 32, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
        torch.nn.Flatten(), torch.nn.Linear(128, 10),
    )  # fmt: skip


def accuracy(scores: np.ndarray, digits: Digits) -> float:
    return float((scores.argmax(axis=1) == digits.test_labels).mean())


def compare(
    program: ModuleType,
    build: Callable[[Digits, Output], Any],
    twin: Any,
    seed: int,
    epochs: int,
    path: Path,
) -> None:
    """Train a model and its twin, as the program does; `build` is what it does before."""
    digits, output = small_digits(), Output(path, quiet=True)
    manual_seed(seed)
    model = build(digits, output)
    with torch.no_grad():
        for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
            theirs.copy_(torch.from_numpy(ours.numpy().copy()))
    steps = epochs * -(-len(digits.images) // program.BATCH_SIZE)
    trainer = program.build_trainer(model, steps)
    decay = trainer.optimizers[0].param_groups[0]["weight_decay"]
    both = Both(trainer, twin, decay, program.LR)
    augment = getattr(program, "distort", None)
    fit(both, digits, epochs, program.BATCH_SIZE, output, augment)
    ours = accuracy(predict(model, digits.test_images), digits)
    twin.eval()
    with torch.no_grad():
        images = torch.from_numpy(2 * digits.test_images[:, None] - 1)
        theirs = accuracy(twin(images).numpy(), digits)
    milliseconds = 1e3 * np.median(both.times, axis=0)
    print(
        f"\nseed {seed}: {ours:.2%} of the held-out digits, PyTorch {theirs:.2%};"
        f" {milliseconds[0]:.2f} ms a step, PyTorch {milliseconds[1]:.2f} ms"
    )
    first = np.array(both.losses[:20])
    np.testing.assert_allclose(first[:, 0], first[:, 1], rtol=1e-4)
    assert ours == pytest.approx(theirs, abs=NOISE)
    if epochs >= program.EPOCHS:
        assert min(ours, theirs) >= program.GOAL - NOISE


@pytest.mark.parametrize(("seed", "few"), RUNS)
def test_the_mlp_reads_as_many_digits_as_in_pytorch(seed: int, few: bool, tmp_path: Path) -> None:
    program = load_module(MILESTONES / "03_mlp_1986" / "mlp.py")
    epochs = 5 if few else program.EPOCHS
    compare(program, lambda *_: program.MLP(64, 64), mlp_twin(), seed, epochs, tmp_path)


@pytest.mark.parametrize(("seed", "few"), RUNS)
def test_lenet_reads_as_many_digits_as_in_pytorch(seed: int, few: bool, tmp_path: Path) -> None:
    program = load_module(MILESTONES / "04_cnn_1998" / "lenet.py")
    epochs = 2 if few else program.EPOCHS

    def build(digits: Digits, output: Output) -> Any:
        program.train_mlp(digits, epochs, output)  # first, as the program does
        return program.LeNet(8, 8)

    compare(program, build, lenet_twin(), seed, epochs, tmp_path)
