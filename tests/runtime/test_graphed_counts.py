"""Captured steps are not replayed with outdated update counts; capture is simulated on the host."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinytorch import (
    AdamW,
    CrossEntropyLoss,
    Linear,
    Module,
    Tensor,
    Trainer,
    backends,
    manual_seed,
)
from tinytorch.optimizers import Optimizer


class Constants:
    """Records the constants of a captured step: own step number - `step`, for each update."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[float] = []
        self.step = 0.0
        settings, update = AdamW.settings, Optimizer.update

        def record_step(optimizer: Any, step: Any, *rates: Any) -> Any:
            self.step = float(step)
            return update(optimizer, step, *rates)

        def record(optimizer: Any, group: Any, step: Any) -> Any:
            self.seen.append(float(step) - self.step)
            return settings(optimizer, group, step)

        monkeypatch.setattr(Optimizer, "update", record_step)
        monkeypatch.setattr(AdamW, "settings", record)


def simulated(constants: Constants, replays: list[int]) -> Callable[..., Any]:
    """Imitate `cupy.graph.GraphedCallable`: replays run the work and compare its constants."""

    def graphed(work: Callable[..., Any]) -> Callable[..., Any]:
        captured: dict[Any, list[float]] = {}
        current: list[Any] = [None]

        def call(key: Any, *arrays: Any) -> Any:
            if key != current[0]:
                current[0] = key
                captured.clear()
            shapes = tuple(a.shape for a in arrays)
            constants.seen = []
            result = work(*arrays)
            if shapes in captured:
                replays.append(1)
                assert constants.seen == captured[shapes], "a replay would use outdated counts"
            captured[shapes] = constants.seen
            return result

        return call

    return graphed


class Choice(Module):
    """The second layer is used for batches of two rows only."""

    def __init__(self) -> None:
        self.first, self.second, self.unused = Linear(3, 4), Linear(4, 4), Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.second(x) if len(x) == 2 else x


@pytest.mark.parametrize(
    "rows", [[2] * 8, [3] * 8, [3, 3, 3, 2, 2, 2, 2, 3, 2, 3, 3, 3], [2, 3] * 6]
)
def test_captured_steps_count_updates_per_parameter(
    rows: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    constants, replays = Constants(monkeypatch), []
    numpy = backends.get("numpy")
    monkeypatch.setattr(numpy, "graphed", simulated(constants, replays))
    results = []
    for cuda_graph in (False, True):
        manual_seed(0)
        model = Choice()
        trainer = Trainer(model, AdamW(model.parameters(), 0.1), CrossEntropyLoss(),
                          cuda_graph=cuda_graph)  # fmt: skip
        rng = np.random.default_rng(1)
        for count in rows:
            x = Tensor(rng.standard_normal((count, 3)).astype(np.float32))
            trainer.train_step([(x, Tensor(rng.integers(0, 4, count)))])
        results.append((model.state_dict(), trainer.optimizers[0].missed))
    assert results[1][1] == results[0][1]
    for name, array in results[0][0].items():
        np.testing.assert_allclose(results[1][0][name], array, rtol=1e-5, atol=1e-7)
    if len(set(rows)) == 1:
        assert len(replays) == len(rows) - 2, "no step is captured twice"
