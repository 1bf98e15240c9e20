"""Hyperparameters have types and ranges."""

from dataclasses import replace
from typing import Any

import pytest

from tinytorch.tinygpt.presets import PRESETS, Preset


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_layers": 2**31}, "num_layers must be from 1 to"),
        ({"num_layers": 0}, "num_layers must be from 1 to"),
        ({"num_layers": True}, "num_layers cannot be True"),
        ({"num_layers": 1.0}, r"num_layers cannot be 1\.0"),
        ({"context": 128, "context_doublings": 8}, r"context=128 must be a multiple of 2\*\*"),
        ({"context_doublings": -1}, "context_doublings must be from 0 to 17"),
        ({"context_doublings": 10**9}, "context_doublings must be from 0 to 17"),
        ({"context_doublings": 1.0}, r"context_doublings cannot be 1\.0"),
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


@pytest.mark.parametrize(
    ("doublings", "shapes"),
    [(0, [(8, 256)]), (1, [(16, 128), (8, 256)]), (3, [(64, 32), (32, 64), (16, 128), (8, 256)])],
)
def test_blocks_double_in_equal_parts_of_a_run_and_a_batch_keeps_its_tokens(
    doublings: int, shapes: list[tuple[int, int]]
) -> None:
    preset = replace(PRESETS["demo"], context=256, batch_size=8, context_doublings=doublings)
    parts = [preset.batch_shape(step / 1200) for step in range(1200)]
    expected = [shape for shape in shapes for _ in range(1200 // len(shapes))]
    assert parts == expected
    assert preset.batch_shape(1.0) == (8, 256)
    assert {size * context for size, context in parts} == {preset.tokens_per_step}


def test_a_preset_saved_before_contexts_could_grow_has_one_context() -> None:
    values = PRESETS["default"].to_dict()
    del values["context_doublings"]
    assert Preset.from_dict(values).contexts == [PRESETS["default"].context]
