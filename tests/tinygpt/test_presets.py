"""Hyperparameters have types and ranges."""

from dataclasses import replace
from typing import Any

import pytest

from tinytorch.tinygpt.presets import PRESETS


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_layers": 2**31}, "num_layers must be from 1 to"),
        ({"num_layers": 0}, "num_layers must be from 1 to"),
        ({"num_layers": True}, "num_layers cannot be True"),
        ({"num_layers": 1.0}, r"num_layers cannot be 1\.0"),
        ({"accumulation": 2**31}, "accumulation must be from 1 to"),
        ({"context": 2**40}, "context must be from 1 to"),
        ({"batch_size": 2**40}, "batch_size must be from 1 to"),
        ({"lr": float("nan")}, "lr cannot be nan"),
        ({"lr": 0.0}, "lr must be from"),
        ({"betas": (0.9,)}, "betas cannot be"),
        ({"betas": (0.9, 1.0)}, "betas must be in"),
        ({"dropout": 1.0}, "dropout and betas must be in"),
        ({"schedule": "step"}, "schedule must be 'cosine' or 'linear'"),
        ({"muon_lr": "x"}, "muon_lr cannot be 'x'"),
        ({"warmup_steps": 10**6}, "warmup_steps must be from 0 to"),
    ],
)
def test_a_preset_has_ranges(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(PRESETS["default"], **changes)
