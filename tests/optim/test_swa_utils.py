"""Averages of weights are those of PyTorch."""

import numpy as np
import pytest
from helpers import require

import tinytorch

torch = require("torch")


@pytest.mark.parametrize("options", ["mean", "ema", "buffers"])
def test_averages_are_those_of_pytorch(options: str) -> None:
    results = []
    for lib in (tinytorch, torch):
        model = lib.nn.Sequential(lib.nn.Linear(2, 3), lib.nn.BatchNorm1d(3))
        utils = lib.optim.swa_utils
        ema = {} if options == "mean" else {"avg_fn": utils.get_ema_avg_fn(0.9)}
        average = utils.AveragedModel(model, use_buffers=options == "buffers", **ema)
        rng = np.random.default_rng(0)
        for _ in range(3):
            for p in [*model.parameters(), model[1].running_mean]:
                p.data.copy_(lib.from_numpy(rng.standard_normal(tuple(p.shape)).astype("float32")))
            average.update_parameters(model)
        average.eval()
        y = average(lib.ones(2, 2))
        results.append({"y": y.detach().numpy()})
        results[-1].update({k: v.numpy() for k, v in average.state_dict().items()})
    actual, expected = results
    assert set(actual) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(actual[name], value, rtol=1e-5, atol=1e-6)
