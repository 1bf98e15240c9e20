"""The backend's step for one token computes what the model computes, or is not used."""

import copy
from itertools import islice
from typing import Any

import numpy as np
import pytest

from tinytorch import GPT, Tensor, attention, backends, manual_seed, no_grad
from tinytorch.attention import KVCache, MultiHeadAttention
from tinytorch.generation.decode_step import gpt_weights, with_fast_steps
from tinytorch.generation.generate import generate, stream
from tinytorch.transformers import TransformerBlock

V, C, T = 13, 16, 12


def gpt(dtype: str = "float32", **options: Any) -> GPT:
    """A GPT of which every weight is random, biases and norms too."""
    manual_seed(3)
    model = GPT(V, C, 2, 2, T, **{"positions": "rotary", **options}).eval()
    rng = np.random.default_rng(4)
    for p in model.parameters():
        p.data = rng.standard_normal(p.shape).astype(np.float32) * 0.4 + (p.ndim == 1)
    return model.to(dtype=dtype)


def text(batch: int) -> np.ndarray:
    return np.random.default_rng(5).integers(0, V, (batch, T))


@pytest.fixture
def own_steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The lengths of what the model's own `forward` reads."""
    lengths: list[int] = []
    forward = GPT.forward

    def counted(self: GPT, ids: Tensor, caches: Any = None) -> Tensor:
        lengths.append(ids.shape[1])
        return forward(self, ids, caches)

    monkeypatch.setattr(GPT, "forward", counted)
    return lengths


OPTIONS = [
    {"positions": "learned"},
    {"positions": "sinusoidal"},
    {"positions": "rotary"},
    {"bias": False},
    {"tie_weights": True},
    {"activation": "squared_relu"},
    {"dropout": 0.5},
]


@pytest.mark.parametrize("batch", [1, 2, 33])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_logits_and_caches_are_those_of_the_model(
    dtype: str, options: dict[str, Any], batch: int, own_steps: list[int]
) -> None:
    model, ids = gpt(dtype, **options), text(batch)
    fast = with_fast_steps(model)
    caches, own_caches = model.new_caches(), model.new_caches()
    tolerance = 1e-4 if dtype == "float32" else 1e-12
    with no_grad():
        fast(Tensor(ids[:, :3]), caches), model(Tensor(ids[:, :3]), own_caches)
        for t in range(3, T):
            own_steps.clear()
            logits = fast(Tensor(ids[:, t : t + 1]), caches)
            assert own_steps == ([1] if t == 3 else [])
            expected = model(Tensor(ids[:, t : t + 1]), own_caches)
            assert logits.shape == expected.shape
            assert logits.dtype == expected.dtype
            np.testing.assert_allclose(
                logits.numpy(), expected.numpy(), rtol=tolerance, atol=tolerance
            )
            assert [c.length for c in caches] == [t + 1, t + 1]
    for cache, own in zip(caches, own_caches, strict=True):
        np.testing.assert_allclose(cache._keys, own._keys, rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(cache._values, own._values, rtol=tolerance, atol=tolerance)


def test_scaled_token_vectors() -> None:
    model, ids = gpt(), text(2)
    model.embedding.scale = 4.0
    fast, caches = with_fast_steps(model), model.new_caches()
    with no_grad():
        for t in range(T):
            logits = fast(Tensor(ids[:, t : t + 1]), caches).numpy()
        expected = model(Tensor(ids)).numpy()[:, -1:]
    assert fast._step is not None
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)


def test_generation_asks_the_model_for_what_is_read_anew_and_for_one_token(
    own_steps: list[int],
) -> None:
    generate(gpt(), [1, 2, 3], 20)
    assert own_steps == [3, 1, 7, 7]  # 12 are full: the newer 6 and the new one are read anew


def changed_attend(
    self: Any, x: Tensor, mask: Any = None, cache: Any = None, need_weights: bool = True
) -> Any:
    """A student's attention that forgets the rotary positions."""
    q, k, v = attention.split_heads(self.qkv(x), num_heads=self.num_heads)
    if cache is not None:
        k, v = cache.append(k, v)
    y, weights = attention.scaled_dot_product_attention(q, k, v, mask)
    return self.proj(attention.merge_heads(y)), weights


def renamed_forward(self: Any, x: Tensor, mask: Any = None, cache: Any = None) -> Any:
    """A student's block whose first norm has another name."""
    x = x + self.attention(self.norm1(x), mask, cache)
    return x + self.mlp(self.ln2(x))


def listed_append(self: Any, keys: Tensor, values: Tensor) -> Any:
    """A student's cache that joins arrays, in an attribute of its own."""
    parts = getattr(self, "kept", [])
    self.kept = [*parts, (keys.numpy(), values.numpy())]
    self.length += keys.shape[2]
    return tuple(Tensor(np.concatenate(column, axis=2)) for column in zip(*self.kept, strict=True))


class MyAttention(MultiHeadAttention):
    attend = changed_attend


class MyGPT(GPT):
    pass


def changes(what: str, model: GPT, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the model be other than the package's GPT."""
    if what == "code":
        monkeypatch.setattr(MultiHeadAttention, "attend", changed_attend)
    elif what == "part":
        for block in model.blocks:
            block.attention.__class__ = MyAttention
    elif what == "forward":
        block = model.blocks[1]
        block.forward = lambda x, mask, cache: TransformerBlock.forward(block, x, mask, cache) * 0.5
    elif what == "class":
        model.__class__ = MyGPT
    elif what == "names":
        for block in model.blocks:
            block.norm1 = block.ln1
            del block.ln1
        monkeypatch.setattr(TransformerBlock, "forward", renamed_forward)
    elif what == "cache":
        monkeypatch.setattr(KVCache, "append", listed_append)


@pytest.mark.parametrize("what", ["code", "part", "forward", "class", "names", "cache"])
def test_a_changed_model_speaks_for_itself(
    what: str, monkeypatch: pytest.MonkeyPatch, own_steps: list[int]
) -> None:
    model = gpt()
    changes(what, model, monkeypatch)
    tokens = generate(model, [1, 2, 3], 8, seed=1).tolist()
    assert own_steps == [3] + 7 * [1]
    assert tokens == generate(model, [1, 2, 3], 8, seed=1, use_cache=False).tolist()


def test_a_step_that_disagrees_leaves_the_caches_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model, ids = gpt(), text(1)
    monkeypatch.setattr(MultiHeadAttention, "attend", changed_attend)
    fast, caches, own_caches = with_fast_steps(model), model.new_caches(), model.new_caches()
    with no_grad():
        for piece in (ids[:, :3], ids[:, 3:4]):
            fast(Tensor(piece), caches), model(Tensor(piece), own_caches)
    for cache, own in zip(caches, own_caches, strict=True):
        np.testing.assert_array_equal(cache._keys, own._keys)
        assert cache.length == own.length == 4


def test_a_part_that_drops_is_left_to_the_model() -> None:
    model = gpt(dropout=0.5)
    assert gpt_weights(model).num_heads == 2
    model.blocks[1].train()
    with pytest.raises(ValueError, match=r"blocks\.1"):
        gpt_weights(model)


@pytest.mark.parametrize("how", ["in place", "replaced"])
def test_weights_that_change_between_two_tokens(how: str) -> None:
    """Logits after the change are those of a model that had the old cache and has new weights."""
    model = gpt()
    tokens = stream(model, [1, 2, 3], 8, temperature=0)
    before = [int(t[0]) for t in islice(tokens, 4)]
    assert len(set(before)) > 1
    new = np.zeros_like(model.head.weight.numpy())
    new[7] = 10.0 * np.sign(model.ln_f.bias.numpy())  # token 7, if its sum is positive
    new[8] = -new[7]
    if how == "in place":
        model.head.weight.data = new
    else:
        model.head.weight.replace(new)
    assert {int(t[0]) for t in tokens} <= {7, 8}


def test_a_gradient_is_recorded_by_the_model_only(own_steps: list[int]) -> None:
    model, ids = gpt(), text(1)
    fast, caches = with_fast_steps(model), model.new_caches()
    with no_grad():
        fast(Tensor(ids[:, :3]), caches), fast(Tensor(ids[:, 3:4]), caches)
        kept = copy.deepcopy(caches)
    own_steps.clear()
    with pytest.raises(RuntimeError, match="no gradient goes through a cache"):
        fast(Tensor(ids[:, 4:5]), caches)
    assert own_steps == [1]
    assert [c.length for c in caches] == [c.length for c in kept]


def test_where_there_is_no_such_step(strict: str) -> None:
    model = GPT(V, C, 1, 2, T, backend="strict")
    assert with_fast_steps(model) is model
    assert backends.get("numpy").decoder is not None


def test_anything_that_generates(own_steps: list[int]) -> None:
    class Wrapped:
        """Not a GPT, but with what `generate` asks for."""

        def __init__(self, model: GPT) -> None:
            self.model = model

        def __getattr__(self, name: str) -> Any:
            return getattr(self.model, name)

        def __call__(self, *inputs: Any) -> Tensor:
            return self.model(*inputs)

    model = Wrapped(gpt())
    assert with_fast_steps(model) is model
    generate(model, [1], 3)
    assert own_steps == [1, 1, 1]
