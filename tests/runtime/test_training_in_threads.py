"""Training several models in parallel threads gives the weights of training them one by one."""

import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from tinytorch import (
    GPT,
    SGD,
    Adam,
    AdamW,
    CosineSchedule,
    CrossEntropyLoss,
    Muon,
    Tensor,
    Trainer,
    clip_grad_norm,
    manual_seed,
    no_grad,
)
from tinytorch.backends import Trace
from tinytorch.ops import random

STEPS = 6
Make = Callable[[list[Any], list[Any]], list[Any]]
OPTIMIZERS: dict[str, Make] = {
    "SGD": lambda matrices, rest: [SGD([*matrices, *rest], 0.1)],
    "momentum": lambda matrices, rest: [SGD([*matrices, *rest], 0.1, 0.9, nesterov=True)],
    "Adam": lambda matrices, rest: [Adam([*matrices, *rest], 0.01)],
    "AdamW": lambda matrices, rest: [AdamW([*matrices, *rest], 0.01)],
    "Muon": lambda matrices, rest: [Muon(matrices, 0.02), AdamW(rest, 0.01)],
}


class Training:
    """A model with dropout, and batches; masks are drawn from seeds of its own."""

    def __init__(self, number: int, make: Make, through_trainer: bool, backend: str) -> None:
        manual_seed(number)
        self.number, self.through_trainer = number, through_trainer
        # Different sizes, so that threads are at different places of the step.
        self.model = GPT(11, 8 * (number + 1), 2, 2, max_seq_len=12, dropout=0.3).to(backend)
        matrices = [p for p in self.model.blocks.parameters() if p.ndim == 2]
        rest = [p for p in self.model.parameters() if not any(p is m for m in matrices)]
        self.optimizers = make(matrices, rest)
        schedule = CosineSchedule(total_steps=20)
        self.trainer = Trainer(self.model, self.optimizers, CrossEntropyLoss(), schedule, 0.5)
        rng = np.random.default_rng(number)
        ids = rng.integers(0, 11, (STEPS, 4, 13))
        self.batches = [
            (Tensor(step[:, :-1], backend=backend), Tensor(step[:, 1:], backend=backend))
            for step in ids
        ]

    def run(self) -> list[np.ndarray]:
        """Train, evaluate and sample in turn; the losses and the weights at the end."""
        losses: list[Any] = []
        with random.masks_from(1000 + self.number):
            for x, y in self.batches:
                losses.append(self._step(x, y))
                with no_grad():
                    losses.append(self.trainer.evaluate([(x, y)]))
                if self.number % 2:
                    losses += self.model.generate([1], 4, seed=1).tolist()
        return [np.array(losses), *(t.numpy() for t in self.model.state_dict().values())]

    def _step(self, x: Tensor, y: Tensor) -> float:
        if self.through_trainer:
            return float(self.trainer.train_step([(x, y)]).item())
        loss = CrossEntropyLoss()(self.model(x), y)
        loss.backward()
        norm = clip_grad_norm(self.model.parameters(), 0.5)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        return float(loss.item() + norm.item())


@pytest.fixture(autouse=True)
def switch_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def in_threads(trainings: list[Training]) -> list[Any]:
    results: list[Any] = [None] * len(trainings)
    barrier = threading.Barrier(len(trainings))

    def work(number: int) -> None:
        barrier.wait()
        try:
            results[number] = trainings[number].run()
        except BaseException as error:
            results[number] = error

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(trainings))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("through_trainer", [True, False], ids=["Trainer", "loop"])
@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_training_in_threads_equals_training_alone(
    make: Make, through_trainer: bool, count: int
) -> None:
    def trainings() -> list[Training]:
        return [Training(i, make, through_trainer, "numpy") for i in range(count)]

    expected = [training.run() for training in trainings()]
    with Trace():  # a trace of one thread counts what runs in all
        found = in_threads(trainings())
    for mine, alone in zip(found, expected, strict=True):
        for one, other in zip(mine, alone, strict=True):
            np.testing.assert_array_equal(one, other)


def test_training_in_threads_on_several_backends(strict: str) -> None:
    def trainings() -> list[Training]:
        backends = ("numpy", strict, "reference", "numpy")
        return [Training(i, OPTIMIZERS["Muon"], True, name) for i, name in enumerate(backends)]

    expected = [training.run() for training in trainings()]
    for mine, alone in zip(in_threads(trainings()), expected, strict=True):
        for one, other in zip(mine, alone, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.skipif(sys.platform != "linux", reason="needs fork")
def test_training_in_threads_with_processes() -> None:
    def trainings() -> list[Training]:
        made = [Training(i, OPTIMIZERS["AdamW"], True, "numpy") for i in range(2)]
        for training in made:
            training.trainer = Trainer(
                training.model, training.optimizers, CrossEntropyLoss(), processes=2
            )
        return made

    expected = [training.run() for training in trainings()]
    for mine, alone in zip(in_threads(trainings()), expected, strict=True):
        for one, other in zip(mine, alone, strict=True):
            np.testing.assert_array_equal(one, other)


def test_the_state_of_masks_is_set_where_it_is_read() -> None:
    """Within `masks_from` it is the thread's own, so that a restored step does not touch others."""
    before = random.mask_state()
    with random.masks_from(5):
        own = random.mask_state()
        random.next_seed()
        random.skip_masks(3)
        random.set_masks(*own)
        assert random.mask_state() == (5, 0)
    assert random.mask_state() == before
