"""Blocks with fused residual connections compute what `TransformerBlock` does."""

import copy
import operator
import re
from typing import Any

import numpy as np
import pytest

import tinytorch
from tinytorch import (
    GPT,
    Dropout,
    LayerNorm,
    Linear,
    Tanh,
    Tensor,
    TransformerBlock,
    create_causal_mask,
    no_grad,
)
from tinytorch.attention import MultiHeadAttention
from tinytorch.backends import Trace
from tinytorch.embeddings import RotaryEmbedding
from tinytorch.runtime import fused_blocks
from tinytorch.runtime.fused_blocks import FusedBlock, _functions, fuse_blocks
from tinytorch.runtime.residual import dropout_add, fork_layer_norm
from tinytorch.transformers import MLP


def block(backend: str, dropout: float = 0.2, bias: bool = True, **settings: Any) -> Any:
    tinytorch.manual_seed(0)
    rotary = RotaryEmbedding(8, 50, backend=backend) if settings.pop("rotary", False) else None
    return TransformerBlock(16, 2, 4, dropout, bias, rotary, backend=backend, **settings)


def results(model: Any, x: np.ndarray, backend: str, masked: bool = True) -> list[np.ndarray]:
    """Output of a block, gradients of x and of all parameters, and the seed of the next mask."""
    tinytorch.manual_seed(3)
    given = Tensor(x, requires_grad=True, backend=backend)
    mask = create_causal_mask(x.shape[1], backend=backend) if masked else None
    y = model(given, mask)
    factor = np.random.default_rng(1).standard_normal(y.shape)
    (y * Tensor(factor.astype(x.dtype), backend=backend)).sum().backward()
    gradients = [p.grad.numpy() for p in model.parameters() if p.grad is not None]
    assert given.grad is not None
    seed = np.array(tinytorch.ops.random.mask_state(), object)
    return [y.numpy(), given.grad.numpy(), *gradients, seed]


def assert_equal(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    assert (found[-1] == expected[-1]).all(), "as many seeds were drawn"
    for ours, theirs in zip(found[:-1], expected[:-1], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=2e-5)


X = np.random.default_rng(0).standard_normal((3, 20, 16)).astype(np.float32)


@pytest.fixture(params=["numpy", "cupy"])
def fusing(request: pytest.FixtureRequest) -> str:
    """Name of a backend that has kernels for the halves of a block."""
    return request.param if request.param == "numpy" else request.getfixturevalue("cupy_fp32")


@pytest.mark.parametrize(
    "settings",
    [{}, {"bias": False}, {"dropout": 0.0}, {"dropout": 1.0}, {"rotary": True},
     {"activation": "squared_relu"}],
    ids=str,
)  # fmt: skip
def test_fused_blocks_compute_what_blocks_do(settings: Any, fusing: str) -> None:
    plain = block(fusing, **settings)
    expected = results(plain, X, fusing)
    fused = fuse_blocks(block(fusing, **settings))
    assert type(fused) is FusedBlock
    assert_equal(results(fused, X, fusing), expected)
    assert_equal(expected, results(block("strict", **settings), X, "strict"))


def replace_linear(fused: Any) -> None:
    class Doubled(Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * 2

    fused.mlp.fc.__class__ = Doubled


def replace_forward(fused: Any) -> None:
    fused.ln2.forward = lambda x: x


def add_hook(fused: Any) -> None:
    fused.mlp.register_forward_hook(lambda module, given, y: y * 3)


def replace_dropout(fused: Any) -> None:
    class No(Dropout):
        def forward(self, x: Tensor) -> Tensor:
            return x

    fused.attention.output_dropout = No(0.5)


def no_residual(self: Any, x: Tensor, mask: Any = None, cache: Any = None) -> Tensor:
    return self.mlp(self.ln2(self.attention(self.ln1(x), mask, cache)))


def post_norm(self: Any, x: Tensor, mask: Any = None, cache: Any = None) -> Tensor:
    x = self.ln1(x + self.attention(x, mask, cache))
    return self.ln2(x + self.mlp(x))


def parallel(self: Any, x: Tensor, mask: Any = None, cache: Any = None) -> Tensor:
    return x + self.attention(self.ln1(x), mask, cache) + self.mlp(self.ln2(x))


def no_mask(self: Any, x: Tensor, mask: Any = None, cache: Any = None) -> Tensor:
    x = x + self.attention(self.ln1(x), None, cache)
    return x + self.mlp(self.ln2(x))


def one_norm(self: Any, x: Tensor, mask: Any = None, cache: Any = None) -> Tensor:
    x = x + self.attention(self.ln1(x), mask, cache)
    return x + self.mlp(self.ln1(x))


def detached(self: Any, x: Tensor, mask: Any = None, cache: Any = None) -> Tensor:
    x = x.detach() + self.attention(self.ln1(x), mask, cache)
    return x + self.mlp(self.ln2(x))


def skipped(self: Any, x: Tensor, mask: Any = None, cache: Any = None) -> Tensor:
    x = x + self.attention(self.ln1(x), mask, cache)
    return x if self.training else x + self.mlp(self.ln2(x))


def blank(self: Any, x: Tensor, mask: Any = None, cache: Any = None) -> Tensor:
    raise NotImplementedError("lesson 13")


def no_dropout(self: Any, x: Tensor) -> Tensor:
    return self.proj(self.activation(self.fc(x)))


def early_dropout(self: Any, x: Tensor) -> Tensor:
    return self.proj(self.dropout(self.activation(self.fc(x))))


def other_activation(self: Any, x: Tensor) -> Tensor:
    return self.dropout(self.proj((h := self.fc(x)) * (h * 1.702).sigmoid()))


def frozen(self: Any, x: Tensor) -> Tensor:
    h = x @ self.fc.weight.detach().T + self.fc.bias
    return self.dropout(self.proj(self.activation(h)))


def unbiased(self: Any, x: Tensor) -> Tensor:
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = (centred * centred).sum(axis=-1, keepdims=True) / (x.shape[-1] - 1)
    return centred / (variance + self.eps).sqrt() * self.weight + self.bias


WRONG = [
    *((TransformerBlock, f) for f in (no_residual, post_norm, parallel, no_mask, one_norm)),
    *((TransformerBlock, f) for f in (detached, skipped, blank)),
    *((MLP, f) for f in (no_dropout, early_dropout, other_activation, frozen)),
    (LayerNorm, unbiased),
]


@pytest.mark.parametrize("init", ["gpt2", "zero"])  # zero: a new block changes nothing
@pytest.mark.parametrize(("cls", "forward"), WRONG)
def test_blocks_whose_exported_code_computes_something_else_run_that_code(
    cls: Any, forward: Any, init: str, fusing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cls, "forward", forward)
    monkeypatch.setitem(fused_blocks.FUNCTIONS, cls, _functions(cls))
    tinytorch.manual_seed(0)
    model = GPT(11, 16, 2, 2, max_seq_len=8, init=init, backend=fusing)
    with Trace() as trace:
        fuse_blocks(model)
    assert {type(block) for block in model.blocks} == {TransformerBlock}
    ((why, blocks),) = trace.ran("fused block").items()
    assert re.fullmatch("fallback: its own code (computes .*|raises NotImpl.*)", why)
    assert blocks == 2


def exported(monkeypatch: pytest.MonkeyPatch, cls: Any, name: str, method: Any) -> None:
    """Replace a method as an exported lesson would: before the package is imported."""
    monkeypatch.setattr(cls, name, method)
    monkeypatch.setitem(fused_blocks.FUNCTIONS, cls, _functions(cls))


def why_unfused(**settings: Any) -> str:
    """Why the block of a new model is not fused, or ""."""
    model = GPT(11, 16, 1, 2, max_seq_len=8, backend="numpy", **settings)
    with Trace() as trace:
        fuse_blocks(model)
    found = list(trace.ran("fused block"))
    assert (type(model.blocks[0]) is FusedBlock) == (not found)
    return found[0] if found else ""


def attend_with(scale: Any) -> Any:
    def scaled(Q: Any, K: Any, V: Any, mask: Any = None, dropout: Any = None) -> Any:
        weights = tinytorch.attention.attention_weights(Q, K, mask, scale=scale(Q))
        return (weights if dropout is None else dropout(weights)) @ V, weights

    return scaled


def unshifted(Q: Any, K: Any, V: Any, mask: Any = None, dropout: Any = None) -> Any:
    scores = (Q @ K.transpose(-1, -2) / Q.shape[-1] ** 0.5).exp()
    scores = scores if mask is None else scores * mask
    weights = scores / scores.sum(-1, keepdims=True)
    return (weights if dropout is None else dropout(weights)) @ V, weights


def always_causal(Q: Any, K: Any, V: Any, mask: Any = None, dropout: Any = None) -> Any:
    own = create_causal_mask(Q.shape[-2], backend="numpy")
    return attend_with(lambda Q: Q.shape[-1] ** -0.5)(Q, K, V, own, dropout)


ATTENTION = {
    "heads for their size": attend_with(lambda Q: Q.shape[1] ** -0.5),
    "the heads": attend_with(lambda Q: 1 / Q.shape[1]),
    "the head size": attend_with(lambda Q: 1 / Q.shape[-1]),
    "the batch": attend_with(lambda Q: 1 / len(Q)),
    "positions": attend_with(lambda Q: Q.shape[-2] ** -0.5),
    "a number": attend_with(lambda Q: 0.5),
    "no maximum subtracted": unshifted,
    "a mask of its own": always_causal,
}


@pytest.mark.parametrize("function", ATTENTION.values(), ids=ATTENTION)
def test_attention_that_computes_something_else_is_not_fused(
    function: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tinytorch.attention.scaled_dot_product_attention", function)
    assert why_unfused().startswith("fallback: its own code")


def over(size: Any) -> Any:
    """A layer norm that divides by another number than that of its columns."""

    def forward(self: Any, x: Tensor) -> Tensor:
        centred = x - x.sum(axis=-1, keepdims=True) / size(x)
        variance = (centred * centred).sum(axis=-1, keepdims=True) / size(x)
        y = centred / (variance + self.eps).sqrt() * self.weight
        return y if self.bias is None else y + self.bias

    return forward


def nan_gradient(self: Any, x: Tensor) -> Tensor:
    return tinytorch.activations.gelu(x) + (x * 0).abs().sqrt()


def clipped(self: Any, x: Tensor) -> Tensor:
    return tinytorch.activations.gelu(x).clip(max=6.0)


def doubled_without_bias(self: Any, x: Tensor) -> Tensor:
    y = x @ self.weight.T
    return y * 2 if self.bias is None else y + self.bias


def always_draws(self: Any, x: Tensor) -> Tensor:
    seed = tinytorch.ops.random.next_seed()
    return tinytorch.layers.apply_dropout(x, self.p, seed) if self.training else x


def fixed_probability(self: Any, x: Tensor) -> Tensor:
    p, seed = self.draw()
    return x if p == 0 else tinytorch.layers.apply_dropout(x, 0.1, seed)


def one_draw_more(self: Any, x: Tensor) -> Tensor:
    y = self.dropout(self.proj(self.activation(self.fc(x))))
    tinytorch.ops.random.next_seed()
    return y


def fixed_eps(self: Any, x: Tensor) -> Tensor:
    return tinytorch.layers.layer_norm(x, self.weight, self.bias, eps=1e-5)


def without_output_dropout(self: Any, x: Tensor, *given: Any) -> Tensor:
    """As that of a class whose last dropout is forgotten."""
    p, self.output_dropout.p = self.output_dropout.p, 0.0
    try:
        return ATTENTION_FORWARD(self, x, *given)
    finally:
        self.output_dropout.p = p


ATTENTION_FORWARD = MultiHeadAttention.forward


def skips_mlp_in_training(self: Any, x: Tensor, mask: Any = None, cache: Any = None) -> Tensor:
    x = x + self.attention(self.ln1(x), mask, cache)
    has_dropout = self.attention.output_dropout.p or self.mlp.dropout.p
    return x if self.training and not has_dropout else x + self.mlp(self.ln2(x))


def alone(self: Any, x: Tensor) -> Tensor:
    return self.dropout(self.proj(self.activation(self.fc(x)))) * (2 if len(x) == 1 else 1)


@pytest.mark.parametrize(
    ("cls", "forward"),
    [
        (LayerNorm, over(lambda x: x.shape[1])),
        (LayerNorm, over(lambda x: 8)),
        (LayerNorm, over(lambda x: len(x))),
        (tinytorch.GELU, nan_gradient),
        (tinytorch.GELU, clipped),
        (Linear, doubled_without_bias),
        (Dropout, always_draws),
        (Dropout, fixed_probability),
        (MLP, one_draw_more),
        (MLP, alone),
        (LayerNorm, fixed_eps),
        (MultiHeadAttention, without_output_dropout),
        (TransformerBlock, skips_mlp_in_training),
    ],
)
def test_layers_that_compute_something_else_are_not_fused(
    cls: Any, forward: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported(monkeypatch, cls, "forward", forward)
    bias = forward is not doubled_without_bias
    assert why_unfused(bias=bias).startswith("fallback: its own code")


def test_a_right_layer_of_ones_own_is_fused(monkeypatch: pytest.MonkeyPatch) -> None:
    exported(monkeypatch, LayerNorm, "forward", over(lambda x: x.shape[-1]))
    for bias in (True, False):
        for positions in ("learned", "rotary"):
            assert why_unfused(bias=bias, positions=positions) == ""


def without(cls: Any, *names: str) -> Any:
    """The constructor of a class, which leaves out some attributes."""
    create = cls.__init__

    def init(self: Any, *args: Any, **settings: Any) -> None:
        create(self, *args, **settings)
        for name in names:
            vars(self).pop(name)

    return init


@pytest.mark.parametrize(
    ("cls", "names"),
    [
        (MultiHeadAttention, ("num_kv_heads",)),
        (MultiHeadAttention, ("num_heads",)),
        (MultiHeadAttention, ("embed_dim",)),
        (LayerNorm, ("bias",)),
        (Linear, ("bias",)),
        (MLP, ("dropout",)),
    ],
)
def test_layers_without_an_attribute_that_is_read_are_no_error(
    cls: Any, names: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported(monkeypatch, cls, "__init__", without(cls, *names))
    assert why_unfused(bias=False)


def test_a_weight_that_is_stored_transposed_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    create = Linear.__init__

    def init(self: Any, size: int, out: int, bias: bool = True, **settings: Any) -> None:
        create(self, size, out, bias, **settings)
        self.weight = tinytorch.Parameter(self.weight.T, backend="numpy")

    exported(monkeypatch, Linear, "__init__", init)
    exported(monkeypatch, Linear, "forward", lambda self, x: x @ self.weight)
    assert re.match("fallback: its own code differs: the fused block raises", why_unfused())


@pytest.mark.parametrize("shape", [(20, 20), (3, 1, 20, 20)])
def test_masks_that_were_not_compared_reach_the_code_of_ones_own(
    shape: Any, fusing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A method that ignores all masks but those that blocks are compared with."""
    forward = TransformerBlock.forward

    def ignores(self: Any, x: Tensor, mask: Any = None, cache: Any = None) -> Tensor:
        is_usual = mask is None or (mask.ndim == 2 and mask.dtype == mask.backend.xp.bool)
        return forward(self, x, mask if is_usual else None, cache)

    exported(monkeypatch, TransformerBlock, "forward", ignores)
    fused = fuse_blocks(block(fusing, dropout=0.0))
    assert type(fused) is FusedBlock
    x, dtype = Tensor(X, backend=fusing), np.float32 if len(shape) == 2 else np.bool_
    mask = Tensor(np.random.default_rng(0).random(shape).round().astype(dtype), backend=fusing)
    np.testing.assert_allclose(fused(x, mask).numpy(), fused(x).numpy(), atol=1e-5)


def test_blocks_with_some_biases_are_not_fused() -> None:
    model = GPT(11, 16, 1, 2, max_seq_len=8, backend="numpy")
    model.blocks[0].mlp.fc.bias = None
    with Trace() as trace:
        fuse_blocks(model)
    assert trace.ran("fused block") == {"fallback: some of its layers have biases": 1}


def test_blocks_are_not_fused_where_training_cannot_be_compared() -> None:
    with tinytorch.modules.module.evaluating():
        assert "evaluating" in why_unfused()


@pytest.mark.parametrize("name", ["", "attention", "mlp.fc", "mlp.activation"])
def test_an_attribute_that_is_set_later_ends_fusing(name: str, fusing: str) -> None:
    fused = fuse_blocks(block(fusing))
    layer = operator.attrgetter(name)(fused) if name else fused
    layer.alpha = 0.5
    with Trace() as trace:
        results(fused, X, fusing)
    (ran,) = trace.ran("fused block")
    assert ran == f"fallback: {name or 'the block'} has an attribute of its own, alpha"


def with_attribute(block: Any) -> None:
    block.residual_scale = 0.5


def with_open_file(block: Any) -> None:
    block.mlp.log = open(__file__, encoding="utf-8")  # noqa: SIM115


def with_hook(block: Any) -> None:
    block.mlp.register_forward_hook(lambda module, given, y: y * 3)


def with_other_norm(block: Any) -> None:
    block.ln1 = Dropout(0.0)


def without_weights(block: Any) -> None:
    block.mlp = Tanh()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (with_attribute, "the block has an attribute of its own, residual_scale"),
        (with_open_file, "mlp has an attribute of its own, log"),
        (with_hook, "mlp has hooks"),
        (with_other_norm, r"ln1 is a .*Dropout, not a layer of the fused step"),
        (without_weights, "'Tanh' object has no attribute 'fc'"),
    ],
)
def test_blocks_of_ones_own_are_not_fused(change: Any, why: str, fusing: str) -> None:
    """Each block by itself: the second is."""
    model = GPT(11, 16, 2, 2, max_seq_len=8, backend=fusing)
    change(model.blocks[0])
    with Trace() as trace:
        fuse_blocks(model)
    assert [type(block) for block in model.blocks] == [TransformerBlock, FusedBlock]
    ((ran, blocks),) = trace.ran("fused block").items()
    assert re.fullmatch(f"fallback: {why}", ran)
    assert blocks == 1
    if change is with_open_file:
        model.blocks[0].mlp.log.close()


def test_blocks_are_fused_within_no_grad_and_draw_nothing(fusing: str) -> None:
    model = GPT(11, 16, 1, 2, max_seq_len=8, dropout=0.1, backend=fusing)
    tinytorch.manual_seed(0)
    before = tinytorch.ops.random.mask_state()
    with no_grad():
        assert type(fuse_blocks(model).blocks[0]) is FusedBlock
    assert tinytorch.ops.random.mask_state() == before
    found = tinytorch.ops.random.normal((1,))
    tinytorch.manual_seed(0)
    assert found == tinytorch.ops.random.normal((1,))


@pytest.mark.parametrize("rotary", [False, True])
@pytest.mark.parametrize("context", [1, 2, 8])
def test_a_check_before_blocks_are_fused_leaves_weights_as_they_are(
    context: int, rotary: bool, fusing: str
) -> None:
    positions = "rotary" if rotary else "learned"
    plain, fused = (
        GPT(11, 16, 1, 2, max_seq_len=context, dropout=0.1, positions=positions, backend=fusing)
        for _ in range(2)
    )
    fused.load_state_dict(plain.state_dict())
    assert type(fuse_blocks(fused).blocks[0]) is FusedBlock
    assert fused.training
    for ours, theirs in zip(fused.parameters(), plain.parameters(), strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
        assert ours.grad is None


@pytest.mark.parametrize("cls", [MLP, LayerNorm, MultiHeadAttention, TransformerBlock])
def test_a_method_that_is_replaced_in_a_class_is_called(
    cls: Any, fusing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, fused = block(fusing), fuse_blocks(block(fusing))
    forward = cls.forward
    monkeypatch.setattr(cls, "forward", lambda self, *args: forward(self, *args) * 2)
    with Trace() as trace:
        assert_equal(results(fused, X, fusing), results(plain, X, fusing))
    assert trace.ran("fused block") == {f"fallback: a method of {cls.__name__} was replaced": 1}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (replace_linear, r"mlp\.fc is a .*Doubled, not a layer of the fused step"),
        (replace_forward, r"ln2 has its own forward instead of its class's"),
        (add_hook, r"mlp has hooks"),
        (replace_dropout, r"attention\.output_dropout is a .*No, not a layer of the fused step"),
    ],
)
def test_layers_of_ones_own_are_called(change: Any, why: str, fusing: str) -> None:
    plain, fused = block(fusing), fuse_blocks(block(fusing))
    change(plain)
    change(fused)
    with Trace() as trace:
        assert_equal(results(fused, X, fusing), results(plain, X, fusing))
    (ran,) = trace.ran("fused block")
    assert re.fullmatch(f"fallback: {why}", ran)


def test_frozen_parameters_get_no_gradients(fusing: str) -> None:
    plain, fused = block(fusing), fuse_blocks(block(fusing))
    for each in (plain, fused):
        each.ln1.weight.requires_grad = False
        each.ln2.bias.requires_grad = False
    found, expected = (results(each, X, fusing) for each in (fused, plain))
    assert_equal(found, expected)
    assert fused.ln1.weight.grad is None


def test_blocks_stay_as_they_are_on_other_backends(fusing: str) -> None:
    assert type(fuse_blocks(block("strict"))) is TransformerBlock

    class Own(TransformerBlock):
        pass

    own = Own(16, 2, backend=fusing)
    with Trace() as trace:
        assert type(fuse_blocks(own)) is Own
    (ran,) = trace.ran("fused block")
    assert re.fullmatch(r"fallback: .*Own is not TransformerBlock", ran)


def test_a_fused_model_generates_evaluates_and_is_copied(fusing: str) -> None:
    def model() -> GPT:
        tinytorch.manual_seed(2)
        return GPT(11, 16, 2, 2, max_seq_len=8, dropout=0.1, backend=fusing)

    plain, fused = model(), fuse_blocks(model())
    ids = np.ones((1, 3), np.int64)
    with Trace() as trace:
        assert (plain.generate(ids, 9, seed=1) == fused.generate(ids, 9, seed=1)).all()
    assert set(trace.ran("fused block")) == {"fallback: it is called with a cache"}
    with Trace() as trace, no_grad():
        x = Tensor(ids, backend=fusing)
        for each in (plain, fused):
            each.eval()
        np.testing.assert_allclose(fused(x).numpy(), plain(x).numpy(), rtol=1e-5, atol=1e-6)
    assert not trace.ran("fused block"), "it was not left out"
    assert copy.deepcopy(fused).state_dict().keys() == plain.state_dict().keys()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("T", [5, 50])  # few attention weights, and many
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize(
    "settings",
    [{}, {"bias": False}, {"rotary": True}, {"activation": "squared_relu"},
     {"activation": "gelu_erf"}],
    ids=str,
)  # fmt: skip
def test_numpy_computes_the_same_bits(settings: Any, masked: bool, T: int, dtype: str) -> None:
    """Both halves run as kernels, but the exact GELU has one in float32 only."""
    x = np.random.default_rng(0).standard_normal((3, T, 16)).astype(dtype)
    plain, fused = (block("numpy", dropout=0.0, **settings).to(dtype) for _ in range(2))
    expected = results(plain, x, "numpy", masked)
    fuse_blocks(fused)
    with Trace() as trace:
        found = results(fused, x, "numpy", masked)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert trace.ran("residual_attention") == {"kernel": 1}
    has_kernel = settings != {"activation": "gelu_erf"} or dtype == "float32"
    ran = "kernel" if has_kernel else "fallback: its kernel returned NotImplemented"
    assert trace.ran("residual_mlp") == {ran: 1}


def one_dropout(model: Any) -> None:
    model.attention.weights_dropout.p = 0.5


def another_dropout(model: Any) -> None:
    model.attention.output_dropout.p = 0.5


def wide_tables(model: Any) -> None:
    model.attention.rotary.double()


def wide_weights(model: Any) -> None:
    model.mlp.double()
    model.attention.double()


@pytest.mark.parametrize("change", [one_dropout, another_dropout, wide_weights, wide_tables])
def test_what_numpy_has_no_kernel_for_runs_as_written(change: Any) -> None:
    plain, fused = (block("numpy", dropout=0.0, rotary=True) for _ in range(2))
    fuse_blocks(fused)
    change(plain)
    change(fused)
    for ours, theirs in zip(*(results(m, X, "numpy") for m in (fused, plain)), strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


def test_other_masks_run_as_written(fusing: str) -> None:
    plain, fused = block(fusing, dropout=0.0), fuse_blocks(block(fusing, dropout=0.0))
    x, rng = Tensor(X, backend=fusing), np.random.default_rng(0)
    for mask in (rng.standard_normal((20, 20)).astype(np.float32), rng.random((3, 1, 1, 20)) < 0.5):
        given = Tensor(mask, backend=fusing)
        np.testing.assert_allclose(fused(x, given).numpy(), plain(x, given).numpy(), atol=1e-5)
    for mask in (np.ones((20, 20), np.int64), np.ones((19, 20), bool)):
        with pytest.raises((TypeError, ValueError)) as expected:
            plain(x, Tensor(mask, backend=fusing))
        with pytest.raises(expected.type, match=re.escape(str(expected.value))):
            fused(x, Tensor(mask, backend=fusing))


@pytest.mark.parametrize(
    "name", ["ln1.weight", "attention.qkv.weight", "mlp.proj.weight", "attention.rotary.cos"]
)
def test_a_weight_that_changed_since_the_forward_pass_is_an_error(name: str, fusing: str) -> None:
    fused = fuse_blocks(block(fusing, dropout=0.0, rotary=True))
    loss = fused(Tensor(X, backend=fusing)).sum()
    with no_grad():
        operator.attrgetter(name)(fused).mul_(2)
    with pytest.raises(RuntimeError, match="modified in place"):
        loss.backward()


@pytest.mark.parametrize("name", ["ln1", "attention.qkv", "attention.proj", "ln2", "mlp.proj"])
def test_a_missing_weight_is_the_error_of_the_layer(name: str) -> None:
    errors = []
    for each in (block("numpy", dropout=0.0), fuse_blocks(block("numpy", dropout=0.0))):
        operator.attrgetter(name)(each).weight = None
        with pytest.raises((TypeError, AttributeError)) as error:
            each(Tensor(X))
        errors.append((error.type, str(error.value)))
    assert errors[0] == errors[1]


def test_backward_runs_twice_over_a_kept_graph(fusing: str) -> None:
    fused = fuse_blocks(block(fusing, dropout=0.0))
    loss = (fused(Tensor(X, backend=fusing)) ** 2).sum()
    loss.backward(retain_graph=True)
    once = [p.grad.numpy().copy() for p in fused.parameters() if p.grad is not None]
    loss.backward()
    for p, gradient in zip(fused.parameters(), once, strict=True):
        assert p.grad is not None
        np.testing.assert_allclose(p.grad.numpy(), 2 * gradient, rtol=1e-6)


def test_layers_without_parts_of_theirs_are_called(fusing: str) -> None:
    class Zero(MLP):
        def __init__(self) -> None: ...

        def forward(self, x: Tensor) -> Tensor:
            return x * 0

    plain, fused = block(fusing), fuse_blocks(block(fusing))
    plain.mlp, fused.mlp = Zero(), Zero()
    assert_equal(results(fused, X, fusing), results(plain, X, fusing))


@pytest.mark.parametrize(
    "change",
    [lambda x, b: (x, b[0]), lambda x, b: (x.double(), b), lambda x, b: (x.half(), b.half())],
    ids=["broadcast", "two dtypes", "float16"],
)
def test_other_arguments_run_as_written(change: Any, cupy: str) -> None:
    x, b = (Tensor(v, backend=cupy) for v in (X, 2 * X))
    given = change(x, b)
    y = dropout_add(*given, p=0.5, seed=4)
    expected = dropout_add.function(*given, p=0.5, seed=4)
    assert y.dtype == expected.dtype
    np.testing.assert_array_equal(y.numpy(), expected.numpy())
    weight = Tensor(np.ones(16), dtype="float64", backend=cupy)
    same, h = fork_layer_norm(given[0], weight, eps=1e-5)
    _, wanted = fork_layer_norm.function(given[0], weight, eps=1e-5)
    np.testing.assert_array_equal(same.numpy(), given[0].numpy())
    assert h.dtype == wanted.dtype
    np.testing.assert_array_equal(h.numpy(), wanted.numpy())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [3, 16, 130, 516, 1100])
@pytest.mark.parametrize("used", ["both", "x", "norm"])
def test_gradients_of_the_fork_are_added(size: int, dtype: str, used: str, cupy: str) -> None:
    """Rows in registers, of both widths, and rows read from memory; one output may be unused."""
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(s).astype(dtype) for s in ((70, size), (size,), (size,))]
    factors = [Tensor(rng.standard_normal((70, size)), dtype=dtype, backend=cupy) for _ in range(2)]
    gradients = []
    for function in (fork_layer_norm, fork_layer_norm.function):
        given = [Tensor(a, requires_grad=True, backend=cupy) for a in arrays]
        x, h = function(*given, eps=1e-5)
        terms = {"x": x * factors[0], "norm": h * factors[1]}
        for name in terms if used == "both" else [used]:
            terms[name].sum().backward(retain_graph=True)
        if used == "both":  # in one backward too
            for t in given:
                t.grad = None
            (terms["x"] + terms["norm"]).sum().backward()
        gradients.append([None if t.grad is None else t.grad.numpy() for t in given])
    for ours, theirs in zip(*gradients, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)
