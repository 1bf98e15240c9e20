"""Lesson 03: the table computed by hand, and the numbers in prose and answers."""

import math
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from tinytorch.activations import relu
from tinytorch.layers import Linear, linear
from tinytorch.modules.module import Module, Parameter
from tinytorch.tensor import Tensor

SOURCE = Path(__file__).parents[2] / "notebooks" / "03_layers" / "layers_dev.py"
TEXT = SOURCE.read_text("utf-8")
FLAT = " ".join(TEXT.replace("\n# ", " ").split())


def test_the_table_by_hand_is_what_the_code_computes() -> None:
    found = re.search(r"(?m)^x = (np.*)  # .*\nW = (np.*)  # .*\nb = (np.*)  # ", TEXT)
    assert found is not None
    x, W, b = (Tensor(eval(text)) for text in found.groups())
    number = r"(-?\d.*?)"
    lines = re.findall(
        rf"(?m)^# \| (x|x @ W.T|\+ b.*|relu) \| {number} \| {number} \| .* \|$", TEXT
    )
    rows = {name[:3]: [eval(f"[{cell}]") for cell in cells] for name, *cells in lines}
    wanted = {
        "x": x, "x @": linear(x, W), "+ b": linear(x, W, b), "rel": relu(linear(x, W, b)),
    }  # fmt: skip
    assert list(rows) == list(wanted)
    for name, value in wanted.items():
        np.testing.assert_array_equal(rows[name], value.numpy())
    assert "(2, 3) @ (3, 2) = (2, 2)" in TEXT
    assert Linear(3, 2).num_parameters() == 8
    assert "The layer has 8 numbers to learn, 2 x 3 in `W` and 2 in `b`" in TEXT


def test_the_walk_by_hand() -> None:
    class Part(Module):
        def __init__(self, **parts: Any) -> None:
            for name, part in parts.items():
                setattr(self, name, part)

    weight, bias = Parameter([0.0]), Parameter([0.0])
    block = Part(inner=Part(weight=weight))
    model = Part(
        scale=Parameter([1.0]), first=Part(weight=Parameter([0.0]), bias=bias), block=block
    )
    for name, _ in model.named_parameters():
        assert f'a parameter    "{name}"' in TEXT
    table = TEXT[TEXT.index("# | taken |") :].partition("\n#\n")[0]
    rows = [[cell.strip(' "') for cell in line.split("|")[1:4]] for line in table.split("\n")[2:6]]
    visited = [[name, ", ".join(n for n, _ in own)] for name, _, own in model._walk()]
    assert [row[:2] for row in rows] == visited
    for row, following in pairwise(rows):  # the last one to be visited is taken next
        assert row[2].split(", ")[-1] == following[0]
    assert rows[-1][2] == ""


def test_dropout_by_hand() -> None:
    found = re.search(r"`\[2, 4, 6, 8\]` with .*? gives `(\[.*?\])`", FLAT)
    assert found is not None
    np.testing.assert_allclose(eval(found[1]), np.array([2, 0, 6, 8]) / 0.75, atol=0.005)


def test_factors_of_ten_layers() -> None:
    assert "a factor of 243, or of 7776" in FLAT
    assert math.isclose(math.sqrt(3) ** 10, 243)
    assert math.isclose(math.sqrt(6) ** 10, 7776)


def test_numbers_in_the_answers() -> None:
    assert "maps 512 numbers to 2048" in FLAT
    count = Linear(512, 2048).num_parameters() + Linear(2048, 512).num_parameters()
    assert (
        f"= {count}. With 16 bytes each, {16 * count} bytes, {16 * count / 2**20:.0f} MiB" in FLAT
    )
    assert "$2^{10} = 1024$ after 20" in FLAT
    assert math.isclose(math.sqrt(2) ** 20, 2**10)
