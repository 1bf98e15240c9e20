"""The fused decode step computes the model's logits, or falls back and reports why."""

import copy
import re
import tracemalloc
from itertools import islice
from typing import Any

import numpy as np
import pytest

from tinytorch import (
    GELU,
    GPT,
    Linear,
    Parameter,
    Tensor,
    attention,
    backends,
    manual_seed,
    no_grad,
)
from tinytorch.attention import KVCache, MultiHeadAttention
from tinytorch.backends import Trace
from tinytorch.backends.numpy import decode_step
from tinytorch.backends.numpy.decode_step import NumpyDecodeStep
from tinytorch.generation.decode_step import NotFusableError, with_fused_step
from tinytorch.generation.generate import generate, stream
from tinytorch.generation.gpt_weights import LAYERS, gpt_weights
from tinytorch.transformers import TransformerBlock

V, C, T = 13, 16, 12


def gpt(dtype: str = "float32", **options: Any) -> GPT:
    """A GPT whose weights are all random, biases and norms included."""
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
    """The number of tokens in each call of the model's own `forward`."""
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


def written(cache: Any) -> Any:
    """Keys and values of the tokens so far; the rest of the arrays is not filled yet."""
    return [x[:, :, : cache.length] for x in (cache._keys, cache._values)]


@pytest.mark.parametrize("batch", [1, 2, 33])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_logits_and_caches_equal_those_of_the_model(
    dtype: str, options: dict[str, Any], batch: int, own_steps: list[int]
) -> None:
    model, ids = gpt(dtype, **options), text(batch)
    fused = with_fused_step(model)
    caches, own_caches = model.new_caches(), model.new_caches()
    tolerance = 1e-4 if dtype == "float32" else 1e-12
    with no_grad():
        fused(Tensor(ids[:, :3]), caches), model(Tensor(ids[:, :3]), own_caches)
        for t in range(3, T):
            own_steps.clear()
            logits = fused(Tensor(ids[:, t : t + 1]), caches)
            assert own_steps == ([1] if t == 3 else [])
            expected = model(Tensor(ids[:, t : t + 1]), own_caches)
            assert logits.shape == expected.shape
            assert logits.dtype == expected.dtype
            np.testing.assert_allclose(
                logits.numpy(), expected.numpy(), rtol=tolerance, atol=tolerance
            )
            assert [c.length for c in caches] == [t + 1, t + 1]
    for cache, own in zip(caches, own_caches, strict=True):
        found, expected = (written(each) for each in (cache, own))
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


def test_token_vectors_are_scaled() -> None:
    model, ids = gpt(), text(2)
    model.embedding.scale = 4.0
    fused, caches = with_fused_step(model), model.new_caches()
    with no_grad():
        for t in range(T):
            logits = fused(Tensor(ids[:, t : t + 1]), caches).numpy()
        expected = model(Tensor(ids)).numpy()[:, -1:]
    assert fused._step is not None
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)


def test_the_model_itself_computes_prompts_and_the_first_single_token(
    own_steps: list[int],
) -> None:
    generate(gpt(), [1, 2, 3], 20)
    assert own_steps == [3, 1, 7, 7]  # at 12 tokens the newer 6 and the new one are read again


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
    """A student's cache that keeps a list of arrays in another attribute."""
    parts = getattr(self, "kept", [])
    self.kept = [*parts, (keys.numpy(), values.numpy())]
    self.length += keys.shape[2]
    return tuple(Tensor(np.concatenate(column, axis=2)) for column in zip(*self.kept, strict=True))


class MyAttention(MultiHeadAttention):
    attend = changed_attend


class MyGPT(GPT):
    pass


def changes(what: str, model: GPT, monkeypatch: pytest.MonkeyPatch) -> None:
    """Change the model so that it is no longer the package's GPT."""
    if what == "code":
        monkeypatch.setattr(MultiHeadAttention, "attend", changed_attend)
    elif what == "part":
        for block in model.blocks:
            block.attention.__class__ = MyAttention
    elif what == "forward":
        block = model.blocks[1]
        block.forward = lambda x, mask, cache: TransformerBlock.forward(block, x, mask, cache) * 0.5
    elif what == "method":
        of_block = model.blocks[1].attention
        of_block.attend = lambda *inputs, **settings: changed_attend(of_block, *inputs, **settings)
    elif what == "activation":
        for block in model.blocks:
            block.mlp.activation = Linear(4 * C, 4 * C)
    elif what == "float16":
        model.to("float16")
    elif what == "dtypes":
        model.blocks[1].to("float64")
    elif what == "list":
        model.blocks = list(model.blocks)
    elif what == "class":
        model.__class__ = MyGPT
    elif what == "names":
        for block in model.blocks:
            block.norm1 = block.ln1
            del block.ln1
        monkeypatch.setattr(TransformerBlock, "forward", renamed_forward)
    elif what == "cache":
        monkeypatch.setattr(KVCache, "append", listed_append)


REASONS = {
    "code": "its logits differ by up to .* from the model's own",
    "part": r"blocks.0.attention is a .*MyAttention, not a layer of the fused step",
    "forward": "blocks.1 has its own forward instead of its class's",
    "method": "blocks.1.attention has its own attend instead of its class's",
    "float16": "its weights are float16",
    "dtypes": "its weights are float32 and float64",
    "list": "blocks is a list, not a ModuleList",
    "class": ".*MyGPT has no fused step",
    "names": "a layer has been rewritten: 'TransformerBlock' object has no attribute 'ln1'",
    "cache": r"tinytorch.attention.KVCache does not hold arrays \(B, nh, T, hs\)",
    "activation": "tinytorch.layers.Linear is not an activation of GPT",
}


@pytest.mark.parametrize("what", REASONS)
def test_a_changed_model_is_decoded_by_its_own_code(
    what: str, monkeypatch: pytest.MonkeyPatch, own_steps: list[int]
) -> None:
    model = gpt()
    changes(what, model, monkeypatch)
    with Trace() as trace:
        tokens = generate(model, [1, 2, 3], 8, seed=1).tolist()
    assert own_steps == [3] + 7 * [1]
    (ran,) = trace.ran("decode step")
    assert re.fullmatch(f"fallback: {REASONS[what]}", ran)
    assert tokens == generate(model, [1, 2, 3], 8, seed=1, use_cache=False).tolist()


def test_a_rejected_fused_step_does_not_change_the_caches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, ids = gpt(), text(1)
    monkeypatch.setattr(MultiHeadAttention, "attend", changed_attend)
    fused, caches, own_caches = with_fused_step(model), model.new_caches(), model.new_caches()
    with no_grad():
        for piece in (ids[:, :3], ids[:, 3:4]):
            fused(Tensor(piece), caches), model(Tensor(piece), own_caches)
    for cache, own in zip(caches, own_caches, strict=True):
        np.testing.assert_array_equal(written(cache), written(own))
        assert cache.length == own.length == 4


@pytest.mark.parametrize("bias", [-1e9, -np.inf])
@pytest.mark.parametrize("changed", [False, True])
def test_a_banned_token_does_not_hide_a_difference(
    bias: float, changed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = gpt(bias=True)
    assert model.head.bias is None
    model.head.bias = Parameter(np.zeros(model.head.out_features, np.float32))
    with no_grad():
        model.head.bias[0] = bias
    if changed:
        monkeypatch.setattr(MultiHeadAttention, "attend", changed_attend)
    with Trace() as trace:
        generate(model, [1, 2, 3], 8, seed=1)
    assert ("fused" in trace.ran("decode step")) == (not changed)


def test_a_layer_in_training_mode_with_dropout_is_not_fused() -> None:
    model = gpt(dropout=0.5)
    assert gpt_weights(model).num_heads == 2
    model.blocks[1].train()
    with pytest.raises(ValueError, match=r"blocks\.1.*dropout drops elements"):
        gpt_weights(model)


@pytest.mark.parametrize("how", ["in place", "replaced"])
def test_weights_may_change_between_two_tokens(how: str) -> None:
    """The logits are then those of the new weights with the old cache."""
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
        model.head.weight._set_array(new)
    assert {int(t[0]) for t in tokens} <= {7, 8}


def replace_parameter(model: GPT) -> None:
    model.head.weight = Parameter(-model.head.weight.numpy())


def add_bias(model: GPT) -> None:
    model.head.bias = Parameter(np.linspace(-9, 9, V).astype(np.float32))


def replace_module(model: GPT) -> None:
    manual_seed(9)
    model.blocks[1].mlp.fc = Linear(C, 4 * C)


def remove_block(model: GPT) -> None:
    model.blocks[1] = copy.deepcopy(model.blocks[0])


def replace_method(model: GPT) -> None:
    block = model.blocks[1]
    block.forward = lambda x, mask, cache: TransformerBlock.forward(block, x, mask, cache) * -0.5


def change_setting(model: GPT) -> None:
    model.embedding.scale = -3.0


def change_eps(model: GPT) -> None:
    model.ln_f.eps = 100.0


def replace_class(model: GPT) -> None:
    model.blocks[0].attention.__class__ = MyAttention


def own_forward(model: GPT) -> None:
    model.forward = lambda ids, caches=None: -GPT.forward(model, ids, caches)


@pytest.mark.parametrize(
    "change",
    [replace_parameter, add_bias, replace_module, remove_block, replace_method, change_setting,
     change_eps, replace_class, own_forward],
)  # fmt: skip
@pytest.mark.parametrize("after", [0, 2, 5])
def test_text_is_that_of_the_model_if_the_model_changes_between_two_tokens(
    after: int, change: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def text_of(model: GPT) -> list[int]:
        tokens = stream(model, [1, 2, 3], 9, temperature=0)
        begin = [int(t[0]) for t in islice(tokens, after)]
        change(model)
        return begin + [int(t[0]) for t in tokens]

    fused, unchanged = text_of(gpt()), generate(gpt(), [1, 2, 3], 9, temperature=0).tolist()[3:]
    monkeypatch.setattr(gpt().backend, "decode_step", None)
    assert fused == text_of(gpt()) != unchanged


def test_an_assignment_to_another_module_does_not_verify_the_step_again(
    own_steps: list[int],
) -> None:
    model, other = gpt(), Linear(2, 2)
    for token in stream(model, [1, 2, 3], 9):
        other.note = token
        Linear(2, 2)
        model.train()
        model.head.weight = model.head.weight  # the same one
    assert own_steps == [3, 1]
    for _ in stream(model, [1, 2, 3], 9):
        model.note = object()
    assert own_steps == [3, 1, 3, *8 * [1]]


def test_the_fused_step_gives_no_warnings_of_large_numbers() -> None:
    model = gpt()
    model.blocks[0].mlp.fc.bias.data = np.full(4 * C, 1e20, np.float32)  # its square overflows
    model.blocks[0].mlp.proj.weight.data = 0.0
    with Trace() as trace, np.errstate(all="raise"):
        generate(model, [1, 2, 3], 8, seed=1)
    assert trace.ran("decode step") == {"fused": 6}


def test_two_streams_of_one_model_do_not_share_memory() -> None:
    model = gpt()
    alone = [generate(model, prompt, 8, seed=1).tolist() for prompt in ([1, 2, 3], [4, 5, 6, 7])]
    streams = [stream(model, prompt, 8, seed=1) for prompt in ([1, 2, 3], [4, 5, 6, 7])]
    texts = [[1, 2, 3], [4, 5, 6, 7]]
    for tokens in zip(*streams, strict=True):
        for text, token in zip(texts, tokens, strict=True):
            text.append(int(token[0]))
    assert texts == alone


def test_with_gradients_enabled_the_model_runs(own_steps: list[int]) -> None:
    model, ids = gpt(), text(1)
    fused, caches = with_fused_step(model), model.new_caches()
    with no_grad():
        fused(Tensor(ids[:, :3]), caches), fused(Tensor(ids[:, 3:4]), caches)
        kept = copy.deepcopy(caches)
    own_steps.clear()
    with pytest.raises(RuntimeError, match="no gradient flows through a cache"):
        fused(Tensor(ids[:, 4:5]), caches)
    assert own_steps == [1]
    assert [c.length for c in caches] == [c.length for c in kept]


def test_a_backend_without_a_fused_step_uses_the_model(strict: str) -> None:
    model = GPT(V, C, 1, 2, T, backend="strict")
    assert with_fused_step(model) is model
    assert backends.get("numpy").decode_step is not None


def test_other_objects_that_generate_are_not_fused(own_steps: list[int]) -> None:
    class Wrapped:
        """Not a GPT, but with everything that `generate` needs."""

        def __init__(self, model: GPT) -> None:
            self.model = model

        def __getattr__(self, name: str) -> Any:
            return getattr(self.model, name)

        def __call__(self, *inputs: Any) -> Tensor:
            return self.model(*inputs)

    model = Wrapped(gpt())
    assert with_fused_step(model) is model
    generate(model, [1], 3)
    assert own_steps == [1, 1, 1]


# Whether the fused step is used, seen through the trace


def ran(model: Any, **settings: Any) -> dict[str, int]:
    with Trace() as trace:
        generate(model, [1, 2, 3], 8, seed=1, **settings)
    return trace.ran("decode step")


def test_a_default_gpt_is_decoded_by_the_fused_step() -> None:
    assert ran(GPT(V, C, 2, 2, T)) == {"fused": 6}  # 3 + 8 tokens: a prompt, the first, 6 more


@pytest.mark.parametrize("activation", ["gelu", "squared_relu"])  # CUDA kernels know no others
def test_every_activation_has_a_fused_step(activation: str) -> None:
    assert ran(GPT(V, C, 2, 2, T, activation=activation)) == {"fused": 6}


def test_an_activation_that_only_numpy_knows_is_decoded_alike() -> None:
    model = GPT(V, C, 2, 2, T, activation="gelu_erf", backend="numpy")
    settings: Any = {"temperature": 0}
    expected = generate(model, [1, 2, 3], 8, use_cache=False, **settings)
    assert generate(model, [1, 2, 3], 8, **settings).tolist() == expected.tolist()


def test_renaming_and_moving_classes_does_not_switch_the_fused_step_off() -> None:
    names = [(layer, layer.__module__, layer.__name__, layer.__qualname__) for layer in LAYERS]
    try:
        for number, layer in enumerate(LAYERS):
            layer.__module__, layer.__name__ = f"tinytorch.elsewhere{number}", f"Renamed{number}"
            layer.__qualname__ = layer.__name__
        assert ran(GPT(V, C, 2, 2, T)) == {"fused": 6}
    finally:
        for layer, *old in names:
            layer.__module__, layer.__name__, layer.__qualname__ = old


def test_a_class_with_the_name_of_a_package_class_is_not_fused() -> None:
    """Such as a class defined in a lesson's notebook."""
    own = type("GELU", (GELU,), {"__module__": "tinytorch.activations"})
    model = GPT(V, C, 2, 2, T)
    model.blocks[1].mlp.activation = own()
    assert ran(model) == {
        "fallback: blocks.1.mlp.activation is a tinytorch.activations.GELU,"
        " not a layer of the fused step": 1
    }  # fmt: skip


def test_the_trace_shows_that_a_backend_has_no_fused_step(strict: str) -> None:
    for name in (strict, "reference"):
        model = GPT(V, C, 1, 2, T, backend=name)
        assert ran(model) == {"fallback: the backend has no fused step": 1}


def test_verifying_the_step_copies_only_the_tokens_in_the_caches() -> None:
    """Of a model with a long context, a copy of its caches would be most of the memory."""
    model = GPT(V, C, 2, 2, 100_000, positions="rotary")
    tracemalloc.start()
    with Trace() as trace:
        model.generate([1, 2, 3], 4)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert trace.ran("decode step").get("fused", 0) > 0
    caches = 2 * 2 * 100_000 * C * 4  # bytes
    assert caches < peak < 1.5 * caches


def test_no_step_is_fused_without_a_cache() -> None:
    assert ran(GPT(V, C, 1, 2, T), use_cache=False) == {}


def test_an_unexpected_error_in_the_fused_step_warns_and_falls_back_to_the_model(
    monkeypatch: pytest.MonkeyPatch, own_steps: list[int]
) -> None:
    def broken(*arguments: Any) -> Any:
        raise ZeroDivisionError("broken")

    model = gpt()
    expected = generate(model, [1, 2, 3], 8, seed=1).tolist()
    own_steps.clear()
    monkeypatch.setattr(NumpyDecodeStep, "__call__", broken)
    with pytest.warns(RuntimeWarning, match="fused decode step failed.*ZeroDivisionError: broken"):
        assert generate(model, [1, 2, 3], 8, seed=1).tolist() == expected
    assert own_steps == [3] + 7 * [1]
    with pytest.warns(RuntimeWarning), Trace() as trace:
        generate(model, [1, 2, 3], 8, seed=1)
    assert trace.ran("decode step") == {"fallback: ZeroDivisionError: broken": 1}


def test_falling_back_for_a_changed_model_does_not_warn(recwarn: pytest.WarningsRecorder) -> None:
    model = gpt()
    model.blocks[0].forward = model.blocks[0].forward
    generate(model, [1, 2, 3], 3)
    with pytest.raises(NotFusableError):
        gpt_weights(model)
    assert not recwarn


def test_a_float16_model_generates_without_the_fused_step_and_without_a_warning(
    recwarn: pytest.WarningsRecorder,
) -> None:
    model = gpt("float16")
    with Trace() as trace:
        tokens = model.generate([1, 2, 3], 4, temperature=0.0)
    assert tokens.shape == (7,)
    assert not recwarn.list
    (ran,) = trace.ran("decode step")
    assert ran.endswith("its weights are float16")


@pytest.mark.parametrize("batch", [1, 3])
def test_weights_read_in_several_threads_give_the_same_text(
    batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = gpt()
    expected = generate(model, text(batch)[:, :2], 8, temperature=0)
    monkeypatch.setattr(decode_step, "compiled_step", lambda weights: None)
    rows: list[int] = []
    divide = decode_step.parallel_ranges
    monkeypatch.setattr(decode_step, "MIN_PARALLEL_WEIGHT", 0)
    monkeypatch.setattr(
        decode_step, "parallel_ranges", lambda work, n: rows.append(n) or divide(work, n)
    )
    np.testing.assert_array_equal(generate(model, text(batch)[:, :2], 8, temperature=0), expected)
    assert {3 * C, 4 * C, V} <= set(rows)
