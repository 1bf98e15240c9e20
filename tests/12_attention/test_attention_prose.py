"""Lesson 12: the table computed by hand, and the sizes in the answers."""

import re
from pathlib import Path

import numpy as np

from tinytorch import Tensor, create_causal_mask, scaled_dot_product_attention

SOURCE = Path(__file__).parents[2] / "notebooks" / "12_attention" / "attention_dev.py"


def rows() -> list[list[np.ndarray]]:
    """The cells of the table under "By hand", as numbers; x, a masked score, is -inf."""
    text = SOURCE.read_text("utf-8")
    table = re.findall(r"(?m)^# \| (\d.*) \|$", text)
    parts = [[cell.replace("x", "-inf") for cell in line.split(" | ")] for line in table]
    return [[np.array(cell.split(", "), dtype=float) for cell in cells] for cells in parts]


def test_the_table_by_hand_is_what_the_code_computes() -> None:
    found = rows()
    assert len(found) == 3
    names = re.search(r"keys = np.array\((.*?)\).*?values = np.array\((.*?)\)",
                      SOURCE.read_text("utf-8"), re.DOTALL)  # fmt: skip
    assert names is not None
    keys, values = (np.array(eval(text)) for text in names.groups())
    queries, scores, scaled, masked, weights, outputs = (
        np.array(c) for c in zip(*found, strict=True)
    )
    np.testing.assert_array_equal(scores, queries @ keys.T)
    np.testing.assert_allclose(scaled, scores / np.sqrt(2), atol=0.005)
    visible = create_causal_mask(3)
    np.testing.assert_array_equal(masked, np.where(visible.numpy(), scaled, -np.inf))
    output, exact = scaled_dot_product_attention(
        Tensor(queries), Tensor(keys), Tensor(values), visible
    )
    np.testing.assert_allclose(weights, exact.numpy(), atol=0.0005)
    np.testing.assert_allclose(outputs, output.numpy(), atol=0.006)


def test_the_size_of_the_cache_in_the_answers() -> None:
    text = " ".join(SOURCE.read_text("utf-8").replace("\n#", " ").split())
    answer = re.search(r"x (\d+) layers x (\d+) tokens x (\d+) numbers x 2 bytes = (\d+) GiB", text)
    assert answer is not None
    layers, tokens, numbers, size = map(int, answer.groups())
    assert 2 * layers * tokens * numbers * 2 == size * 2**30
    question = f"has {layers} layers, C = {numbers}, a context of {tokens} tokens"
    assert question in text
