"""The functions of the glass model: each equals what the model itself computes."""

from typing import Any

import numpy as np
import pytest

from tinytorch.autograd import no_grad
from tinytorch.generation.generate import sample
from tinytorch.inspection import (
    ablated_heads,
    head_effects,
    logit_lens,
    nearest_neighbours,
    principal_plane,
    probabilities,
    record,
    text_loss,
)
from tinytorch.inspection.writing import Writer
from tinytorch.tensor import Tensor
from tinytorch.transformers import GPT

IDS = [2, 5, 1, 7, 7, 3]


@no_grad()
def logits_of(model: GPT, ids: list[int] = IDS) -> Any:
    return model(Tensor([ids], backend=model.backend)).numpy()[0]


def test_the_last_layer_of_the_lens_is_the_models_output(model: GPT) -> None:
    layers = list(logit_lens(model, record(model, IDS)))
    assert len(layers) == 3
    np.testing.assert_allclose(layers[-1], logits_of(model), rtol=1e-5, atol=1e-6)
    assert not np.allclose(layers[-2], layers[-1], atol=0.1)


def test_the_first_layer_of_the_lens_reads_the_embedding(model: GPT) -> None:
    x = model.embedding.tokens.weight.numpy()[IDS].astype(np.float64)
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + model.ln_f.eps)
    x = x * model.ln_f.weight.numpy() + model.ln_f.bias.numpy()
    first = next(logit_lens(model, record(model, IDS)))
    np.testing.assert_allclose(first, x @ model.head.weight.numpy().T, rtol=1e-4, atol=1e-5)


def test_attention_is_computed_by_hand(model: GPT) -> None:
    """Of the first block, whose input is the embedding: softmax(q k / sqrt(hs)), rotated."""
    block = model.blocks[0]
    qkv = block.attention.qkv(block.ln1(model.embedding(Tensor([IDS])))).numpy()[0]  # (T, 3 C)
    q, k = (qkv[:, part : part + 8].reshape(6, 2, 4) for part in (0, 8))  # (T, nh, hs)
    turn = [block.attention.rotary(Tensor(x.transpose(1, 0, 2)[None])).numpy()[0] for x in (q, k)]
    scores = turn[0] @ turn[1].transpose(0, 2, 1) / 2.0  # (nh, T, T)
    scores[:, ~np.tri(6, dtype=bool)] = -np.inf
    weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    np.testing.assert_allclose(record(model, IDS).attention[0], weights, rtol=1e-4, atol=1e-6)


def test_recording_leaves_no_hooks_and_no_graph(model: GPT) -> None:
    recording = record(model, IDS)
    assert not any(module._hooks for module in model.modules())
    assert not any(x.requires_grad for x in recording.residual)


@pytest.mark.parametrize("heads", [[(0, 1)], [(0, 0), (1, 1)], [(1, 0), (1, 1)]])
def test_an_ablated_head_equals_zero_columns_of_the_projection(
    model: GPT, heads: list[tuple[int, int]]
) -> None:
    before = logits_of(model)
    with ablated_heads(model, heads):
        ablated = logits_of(model)
    np.testing.assert_array_equal(logits_of(model), before)
    for block, head in heads:
        weight = model.blocks[block].attention.proj.weight
        changed = weight.numpy().copy()
        changed[:, 4 * head : 4 * head + 4] = 0
        weight.data = changed
    np.testing.assert_allclose(ablated, logits_of(model), rtol=1e-5, atol=1e-6)
    assert not np.allclose(ablated, before, atol=0.01)


def test_ablated_heads_are_restored_after_an_error(model: GPT) -> None:
    with (
        pytest.raises(ValueError, match=r"head must be in \[0, 1\], not 2"),
        ablated_heads(model, [(0, 0), (1, 2)]),
    ):
        pass
    with pytest.raises(KeyError), ablated_heads(model, [(0, 0)]):
        raise KeyError
    assert not any(module._hooks for module in model.modules())


def test_the_loss_of_a_text_is_the_mean_of_its_tokens(model: GPT) -> None:
    p = probabilities(logits_of(model))
    expected = -np.mean([np.log(p[t, IDS[t + 1]]) for t in range(5)])
    assert text_loss(model, IDS) == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ValueError, match="at least two tokens"):
        text_loss(model, [1])


def test_effects_are_differences_of_losses(model: GPT) -> None:
    effects = head_effects(model, IDS)
    with ablated_heads(model, [(1, 0)]):
        without = text_loss(model, IDS)
    assert effects.shape == (2, 2)
    assert effects[1, 0] == pytest.approx(without - text_loss(model, IDS))
    assert np.abs(effects).min() > 1e-4


class Grid:
    """In place of a random generator: n numbers spread evenly over [0, 1)."""

    def random(self, shape: tuple[int, int]) -> Any:
        return ((np.arange(shape[0]) + 0.5) / shape[0])[:, None]


@pytest.mark.parametrize(
    ("temperature", "top_k"), [(1.0, None), (0.5, None), (2.0, 3), (0.0, None), (1.0, 1), (1e-3, 4)]
)
def test_probabilities_are_those_of_sampling(
    model: GPT, temperature: float, top_k: int | None
) -> None:
    logits, n = logits_of(model)[-1], 4000
    drawn = sample(np.tile(logits, (n, 1)), temperature, top_k, rng=Grid())  # type: ignore[arg-type]
    shares = np.bincount(drawn, minlength=len(logits)) / n
    np.testing.assert_allclose(probabilities(logits, temperature, top_k), shares, atol=1.01 / n)


def test_diverged_logits_are_a_sentence() -> None:
    with pytest.raises(RuntimeError, match="The model has diverged"):
        probabilities(np.array([0.0, np.nan]))


def test_neighbours_by_hand() -> None:
    vectors = np.array([[2.0, 0.0], [3.0, 4.0], [-1.0, 0.0], [0.0, 0.0]])
    assert nearest_neighbours(vectors, 0) == [(1, 0.6), (3, 0.0), (2, -1.0)]
    assert nearest_neighbours(vectors, 1, count=1) == [(0, 0.6)]


def test_the_plane_keeps_the_distances_of_points_in_it() -> None:
    flat = np.random.default_rng(0).normal(size=(5, 2))
    turned = flat @ np.linalg.qr(np.random.default_rng(1).normal(size=(6, 6)))[0][:2] + 3.0
    points, share = principal_plane(turned)
    assert share == pytest.approx(1.0)
    gaps = [np.linalg.norm(x[:, None] - x[None], axis=-1) for x in (flat, points)]
    np.testing.assert_allclose(gaps[0], gaps[1], atol=1e-9)
    line, share = principal_plane(np.array([[1.0], [3.0]]))  # of fewer than two axes
    assert line.shape == (2, 2)
    assert share == 1.0


@pytest.mark.parametrize("heads", [[], [(0, 1), (1, 0)]])
def test_a_writer_writes_what_generate_does(model: GPT, heads: list[tuple[int, int]]) -> None:
    settings: dict[str, Any] = {"temperature": 1.5, "top_k": 6, "seed": 5}
    writer = Writer(model, IDS, heads, **settings)
    steps = [next(writer) for _ in range(8)]
    with ablated_heads(model, heads):
        expected = model.generate(IDS, 8, **settings).tolist()
        assert writer.ids == expected
        np.testing.assert_allclose(
            [logits for _, logits in steps],
            [logits_of(model, expected[:t])[-1] for t in range(6, 14)],
            rtol=1e-3, atol=1e-4,
        )  # fmt: skip
    assert not any(module._hooks for module in model.modules())
