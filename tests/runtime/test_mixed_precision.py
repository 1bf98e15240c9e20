"""Transformer blocks in mixed precision beside the same blocks in float32."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from op_checks import REFERENCE

import tinytorch
from tinytorch import (
    GPT,
    AdamW,
    CrossEntropyLoss,
    Dropout,
    Tensor,
    backends,
    create_causal_mask,
    no_grad,
)
from tinytorch.runtime import fused_blocks as module
from tinytorch.runtime.fused_blocks import (
    FusedBlock,
    fuse_blocks,
    residual_attention,
    residual_mlp,
)
from tinytorch.runtime.trainer import Trainer
from tinytorch.tinygpt import PRESETS
from tinytorch.tinygpt.presets import build_model
from tinytorch.transformers import TransformerBlock

TOLERANCE = 2e-2  # relative to the largest value: bfloat16 has 8 bits of mantissa


@pytest.fixture
def launched(bf16: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the kernels of mixed_precision.cu as they are launched."""
    from tinytorch.backends.cupy import mixed_precision as kernels

    names: list[str] = []
    before = kernels.launch

    def launch(name: str, *arguments: Any, **settings: Any) -> None:
        names.append(name)
        before(name, *arguments, **settings)

    monkeypatch.setattr(kernels, "launch", launch)
    return names


def run(
    function: Callable[..., Tensor], arrays: list[Any], backend: Any, mask: Any = None,
    **settings: Any,
) -> list[np.ndarray]:  # fmt: skip
    """The output of a sublayer and the gradients of its inputs, less its input x and that of the
    output: what the sublayer itself adds."""
    dtype = "float32" if backend == "cupy" else "float64"
    given = [
        None if a is None else Tensor(a, dtype=dtype, requires_grad=True, backend=backend)
        for a in arrays
    ]
    if function is residual_attention:
        given.insert(7, None if mask is None else Tensor(mask, backend=backend))
    y = function(*given, **settings)
    factor = np.random.default_rng(7).standard_normal(y.shape)
    (y * Tensor(factor, dtype=dtype, backend=backend)).sum().backward()
    x, *parameters = (t for t in given if t is not None and t.requires_grad)
    tables = 2 if len(given) == 10 and given[8] is not None else 0
    weights = parameters[: len(parameters) - tables]
    found = [y.numpy() - x.numpy(), x.grad.numpy() - factor]
    return [*found, *(p.grad.numpy() for p in weights)]


def draw(C: int, wide: int, out: int, bias: bool, *shape: int) -> list[Any]:
    """x, and weights and biases of the norm and of two linear layers."""
    rng = np.random.default_rng(5)

    def numbers(*sizes: int, scale: float = 1.0) -> np.ndarray:
        return rng.standard_normal(sizes) * scale

    layers = [1 + numbers(C, scale=0.3), numbers(C, scale=0.3)]
    layers += [numbers(wide, C, scale=C**-0.5), numbers(wide, scale=0.3)]
    layers += [numbers(C, out, scale=out**-0.5), numbers(C, scale=0.3)]
    return [2 + numbers(*shape, C), *(a if bias or a.ndim == 2 or i == 0 else None
                                      for i, a in enumerate(layers))]  # fmt: skip


def assert_close(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.shape == theirs.shape
        assert np.isfinite(ours).all()
        assert np.abs(ours - theirs).max() < TOLERANCE * np.abs(theirs).max()
        assert np.abs(ours - theirs).mean() < TOLERANCE / 4 * np.abs(theirs).max()


MLP_SHAPES = [((5, 7), 32, 128), ((300,), 64, 64), ((2, 3, 9), 264, 24), ((33,), 1024, 16)]


@pytest.mark.parametrize("p", [0.0, 0.3])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("activation", ["gelu", "squared_relu"])
@pytest.mark.parametrize(("shape", "C", "hidden"), MLP_SHAPES)
def test_mlp(
    shape: tuple[int, ...], C: int, hidden: int, activation: str, bias: bool, p: float,
    launched: list[str],
) -> None:  # fmt: skip
    arrays = draw(C, hidden, hidden, bias, *shape)
    settings: Any = {"eps": 1e-5, "activation": activation, "dropout": (p, 77 if p else None)}
    found = run(residual_mlp, arrays, "cupy", **settings)
    assert launched == [
        "norm_to_bf16", "to_bf16", "to_bf16", f"{activation}_bf16", "add_dropout",
        "dropout_to_bf16", f"{activation}_gradient_bf16", "norm_gradient_from_bf16", "column_sums",
    ]  # fmt: skip
    assert_close(found, run(residual_mlp, arrays, REFERENCE, **settings))


# B, T, heads, size of a head
ATTENTION_SHAPES = [(2, 7, 2, 16), (1, 70, 1, 32), (3, 33, 3, 16), (2, 1, 1, 48)]


def scattered(T: int) -> np.ndarray:
    mask = np.random.default_rng(3).random((T, T)) < 0.4
    mask[T // 3 : T // 2] = False
    return mask


MASKS: dict[str, Callable[[int], Any]] = {
    "none": lambda T: None, "causal": lambda T: np.tri(T, dtype=bool), "scattered": scattered,
}  # fmt: skip


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize(("p", "bias", "is_rotary"), [(0.0, False, True), (0.3, True, False)])
@pytest.mark.parametrize("shape", ATTENTION_SHAPES, ids=str)
def test_attention(
    shape: tuple[int, ...], p: float, bias: bool, is_rotary: bool, mask: str, launched: list[str]
) -> None:
    B, T, nh, hs = shape
    C = nh * hs
    arrays = draw(C, 3 * C, C, bias, B, T)
    if is_rotary:
        angles = np.random.default_rng(2).uniform(0, 7, (T, hs // 2))
        arrays += [np.cos(angles), np.sin(angles)]
    settings: Any = {
        "eps": 1e-5, "num_heads": nh, "mask": MASKS[mask](T),
        "weights_dropout": (p, 5 if p else None), "output_dropout": (p, 6 if p else None),
    }  # fmt: skip
    found = run(residual_attention, arrays, "cupy", **settings)
    expected_launches = [
        "norm_to_bf16", "to_bf16", "to_bf16", *["add_bias_to_bf16"] * bias,
        *["rotary_bf16"] * is_rotary, "add_dropout", "dropout_to_bf16",
        *["rotary_bf16"] * is_rotary, "norm_gradient_from_bf16", "column_sums",
    ]  # fmt: skip
    assert launched == expected_launches
    assert_close(found, run(residual_attention, arrays, REFERENCE, **settings))


SMALL: dict[str, Any] = {
    "vocab_size": 40, "embed_dim": 32, "num_layers": 2, "num_heads": 2, "max_seq_len": 24,
}  # fmt: skip
MODELS: dict[str, dict[str, Any]] = {
    "learned positions": {"dropout": 0.2},
    "rotary positions": {"positions": "rotary", "activation": "squared_relu", "init": "zero"},
    "without biases": {"bias": False, "tie_weights": True},
}


def build(backend: Any, dtype: str = "float32", **settings: Any) -> GPT:
    tinytorch.manual_seed(3)
    return GPT(**{**SMALL, **settings}, backend=backend).to(dtype)


def batch(backend: Any, step: int = 0, rows: int = 4) -> tuple[Tensor, Tensor]:
    """Tokens that can be predicted: each follows from the one before."""
    start = np.random.default_rng(step).integers(0, 40, (rows, 1))
    tokens = (start + 7 * np.arange(25)) % 40
    x, y = tokens[:, :-1], tokens[:, 1:]
    return Tensor(x, backend=backend), Tensor(y, backend=backend)


def loss_and_gradients(model: GPT, backend: Any) -> list[np.ndarray]:
    tinytorch.manual_seed(9)
    x, y = batch(backend)
    loss = CrossEntropyLoss()(model(x), y)
    loss.backward()
    return [loss.numpy(), *(p.grad.numpy() for p in model.parameters())]


@pytest.mark.parametrize("name", MODELS)
def test_a_model_beside_float64(name: str, launched: list[str]) -> None:
    model = fuse_blocks(build("cupy", **MODELS[name]))
    launched.clear()  # what compared the blocks
    assert {type(block) for block in model.blocks} == {FusedBlock}
    found = loss_and_gradients(model, "cupy")
    assert launched.count("add_dropout") == 2 * SMALL["num_layers"]
    expected = loss_and_gradients(build(REFERENCE, "float64", **MODELS[name]), REFERENCE)
    assert abs(found[0] - expected[0]) < 2e-3
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == np.float32
        assert np.linalg.norm(ours - theirs) <= 3e-2 * np.linalg.norm(theirs) + 1e-7


def test_all_tensors_stay_float32(bf16: str) -> None:
    model = fuse_blocks(build("cupy"))
    outputs: list[Tensor] = []
    model.ln_f.register_forward_hook(lambda _, given, y: outputs.extend([*given, y]))
    model(batch("cupy")[0]).sum().backward()
    tensors = [*outputs, *model.parameters(), *(p.grad for p in model.parameters())]
    assert {str(t.dtype) for t in tensors} == {"float32"}


def trainer(backend: str, cuda_graph: bool = False, mixed: bool = True) -> Trainer:
    model = build(backend, positions="rotary", dropout=0.1)
    if mixed:
        fuse_blocks(model)
    optimizer = AdamW(model.parameters(), lr=3e-3)
    return Trainer(model, optimizer, CrossEntropyLoss(), cuda_graph=cuda_graph)


def losses(trainer: Trainer, steps: int) -> list[float]:
    backend = trainer.model.backend
    first = trainer.step
    return [trainer.train_step([batch(backend, first + i)]).item() for i in range(steps)]


@pytest.mark.slow
def test_losses_of_a_run_are_those_of_float32(bf16: str) -> None:
    ours, expected = (losses(trainer(backend), 60) for backend in ("cupy", "numpy"))
    assert expected[-1] < expected[0] / 4
    assert np.abs(np.subtract(ours, expected)).max() < 0.05
    assert abs(np.mean(ours[-10:]) - np.mean(expected[-10:])) < 0.01


def test_captured_steps_equal_eager_ones_bit_for_bit(bf16: str) -> None:
    assert losses(trainer("cupy", cuda_graph=True), 6) == losses(trainer("cupy"), 6)


def test_a_checkpoint_of_one_mode_is_loaded_in_the_other(bf16: str, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    for mixed in (True, False):
        source, target = trainer("cupy", mixed=mixed), trainer("cupy", mixed=not mixed)
        losses(source, 3)
        source.save_checkpoint(path)
        target.load_checkpoint(path)
        for ours, theirs in zip(source.parameters(), target.parameters(), strict=True):
            np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
        assert abs(losses(source, 1)[0] - losses(target, 1)[0]) < 0.01


def test_a_resumed_run_has_the_same_bits(bf16: str, tmp_path: Path) -> None:
    expected = losses(trainer("cupy"), 6)
    second, first = (trainer("cupy", cuda_graph=True) for _ in range(2))
    losses(first, 3)
    first.save_checkpoint(tmp_path / "checkpoint.safetensors")
    second.load_checkpoint(tmp_path / "checkpoint.safetensors")
    assert losses(second, 3) == expected[3:]


def test_nothing_is_rounded_without_bf16(cupy_fp32: str) -> None:
    plain, fused = (
        loss_and_gradients(f(build("cupy")), "cupy") for f in (lambda m: m, fuse_blocks)
    )
    for found, expected in zip(fused, plain, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert {type(block) for block in fuse_blocks(build("strict")).blocks} == {TransformerBlock}


UNSUPPORTED: dict[str, dict[str, Any]] = {
    "width not a multiple of 8": {"embed_dim": 36, "num_heads": 2},
    "heads not multiples of 16": {"embed_dim": 24, "num_heads": 1},
    "width above 1024": {"embed_dim": 1040, "num_heads": 13, "num_layers": 1},
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_unsupported_sizes_run_op_by_op(name: str, launched: list[str]) -> None:
    model = fuse_blocks(build("cupy", **UNSUPPORTED[name]))
    loss, *gradients = loss_and_gradients(model, "cupy")
    assert set(launched) <= (
        {"norm_to_bf16", "to_bf16", "gelu_bf16", "add_dropout", "dropout_to_bf16",
         "gelu_gradient_bf16", "norm_gradient_from_bf16", "column_sums"}
        if name == "heads not multiples of 16" else set()
    )  # fmt: skip
    expected = loss_and_gradients(build(REFERENCE, "float64", **UNSUPPORTED[name]), REFERENCE)
    assert abs(loss - expected[0]) < 2e-3
    assert all(np.isfinite(g).all() for g in gradients)


def test_float64_runs_op_by_op(launched: list[str]) -> None:
    found = loss_and_gradients(fuse_blocks(build("cupy", "float64")), "cupy")
    assert not launched
    expected = loss_and_gradients(build(REFERENCE, "float64"), REFERENCE)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-10)


def test_replaced_layers_and_hooks_are_called(launched: list[str]) -> None:
    class Zero(Dropout):
        def forward(self, x: Tensor) -> Tensor:
            return x * 0

    model = fuse_blocks(build("cupy", num_layers=3))
    launched.clear()
    model.blocks[0].mlp.dropout = Zero()
    calls: list[int] = []
    model.blocks[1].ln2.register_forward_hook(lambda *_: calls.append(1))
    with no_grad():
        model(batch("cupy")[0])
    assert calls == [1]
    assert launched.count("add_dropout") == 2  # of the third block
    zeros: Any = lambda x: x * 0  # noqa: E731
    model.blocks[2].attention.forward = lambda x, mask, cache: zeros(x)
    with no_grad():
        model(batch("cupy")[0])
    assert launched.count("add_dropout") == 2


def test_everything_dropped(launched: list[str]) -> None:
    model = fuse_blocks(build("cupy", num_layers=1))
    launched.clear()
    model.blocks[0].mlp.dropout.p = model.blocks[0].attention.weights_dropout.p = 1.0
    loss, *_ = loss_and_gradients(model, "cupy")
    assert np.isfinite(loss)
    assert not launched


def test_generated_text_is_that_of_float32(bf16: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoded by the fused step."""
    prompt = batch("numpy")[0].numpy()[:2, :5]
    texts = []
    for backend in ("numpy", "cupy"):
        model = fuse_blocks(build(backend)).eval()
        with backends.Trace() as trace:
            tinytorch.manual_seed(1)
            texts.append(np.asarray(model.generate(prompt, 12)))
        assert "fused" in trace.ran("decode step")
    np.testing.assert_array_equal(*texts)


def test_backward_can_run_twice(bf16: str) -> None:
    model = fuse_blocks(build("cupy", positions="rotary", dropout=0.2))
    loss = model(batch("cupy")[0]).sum()
    gradients = []
    for retain in (True, False):
        model.zero_grad()
        loss.backward(retain_graph=retain)
        gradients.append([p.grad.numpy() for p in model.parameters()])
    for first, second in zip(*gradients, strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("first", [1, 4])
def test_a_view_as_input(first: int, launched: list[str]) -> None:
    """Its memory begins at no multiple of 16 bytes, or its rows are not adjacent."""
    arrays = draw(32, 64, 64, True, 6)
    settings: Any = {"eps": 1e-5, "activation": "gelu", "dropout": (0.0, None)}
    given = [Tensor(a.astype("f4"), backend="cupy") for a in arrays]
    wide = np.zeros((6, 40), np.float32)
    wide[:, first : first + 32] = arrays[0]
    flat = np.concatenate([np.zeros(first), arrays[0].ravel()]).astype("f4")
    views = [
        Tensor(wide, backend="cupy")[:, first : first + 32],
        Tensor(flat, backend="cupy")[first:].reshape(6, 32),
    ]
    expected = residual_mlp(*given, **settings).numpy()
    for view in views:
        np.testing.assert_array_equal(residual_mlp(view, *given[1:], **settings).numpy(), expected)
    assert launched.count("add_dropout") == 3


def test_saved_values_are_checked_for_changes(bf16: str) -> None:
    model = fuse_blocks(build("cupy"))
    loss = model(batch("cupy")[0]).sum()
    weight = model.blocks[0].ln1.weight
    with no_grad():
        weight *= 2
    with pytest.raises(RuntimeError, match="modified in place"):
        loss.backward()


@pytest.mark.parametrize("preset", PRESETS)
def test_composites_compute_what_the_blocks_of_each_preset_do(backend: str, preset: str) -> None:
    """With the same dropout masks."""
    settings = replace(PRESETS[preset], num_layers=1, dropout=0.3)
    tinytorch.manual_seed(4)
    model = build_model(settings, 40)
    for parameter in model.parameters():  # some are initialised to zero
        parameter.data = 0.1 * tinytorch.randn(*parameter.shape)
    block, size = model.to(backend).blocks[0], settings.embed_dim
    x = Tensor(np.cos(np.arange(24.0 * size)).astype("f4").reshape(1, 24, size), backend=backend)
    results = []
    for cls in (TransformerBlock, FusedBlock):
        block.__class__ = cls
        tinytorch.manual_seed(4)
        results.append(block(x, create_causal_mask(24, backend=backend)).numpy())
    np.testing.assert_allclose(*results, rtol=1e-5, atol=1e-5)


def test_the_activations_are_those_of_the_mlp() -> None:
    assert set(module.OPS) == set(module.ACTIVATIONS)
