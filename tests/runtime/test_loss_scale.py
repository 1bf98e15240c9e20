"""Training with products in float16, as on a T4: the loss is scaled, on the device."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from helpers import no_host_reads

import tinytorch
from tinytorch import (
    SGD,
    AdamW,
    CrossEntropyLoss,
    Embedding,
    Linear,
    Muon,
    Sequential,
    Tensor,
    TokenDataset,
    Trainer,
    backends,
    clip_grad_norm,
)
from tinytorch.amp import GradScaler
from tinytorch.backends import Trace
from tinytorch.runtime.trainer import make_runner
from tinytorch.tinygpt import PRESETS
from tinytorch.tinygpt.presets import build_model, build_trainer

TINY = replace(
    PRESETS["default"], embed_dim=32, num_layers=2, num_heads=2, context=8, batch_size=3,
    dropout=0.2, warmup_steps=3, steps=12,
)  # fmt: skip

pytestmark = pytest.mark.usefixtures("fp16")


@pytest.fixture
def fp16(fake_cupy: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """TT_MATMUL=fp16 on a GPU of compute capability 7.5."""
    from tinytorch.backends.cupy import gemm

    monkeypatch.setattr(gemm, "_chosen_mode", lambda: "fp16")
    with monkeypatch.context() as patch:
        patch.setattr(fake_cupy.cuda.runtime, "capabilities", ["75"])
        yield


def small(factor: float, optimizer: Any = AdamW, **settings: Any) -> tuple[Trainer, Any]:
    """A trainer whose loss is multiplied by a factor, and its batch."""
    tinytorch.manual_seed(3)
    model = Sequential(Embedding(5, 16), Linear(16, 5)).to("cupy")
    loss_fn = CrossEntropyLoss()
    parameters = [p for p in model.parameters() if p.ndim == 2 or optimizer is not Muon]
    chosen = optimizer(parameters, lr=0.05, **settings)
    trainer = Trainer(model, chosen, lambda p, y: loss_fn(p, y) * factor, cuda_graph=True)
    ids = np.arange(4)
    return trainer, (Tensor(ids, backend="cupy"), Tensor(ids + 1, backend="cupy"))


def gpt(backend: str, graphed: bool) -> Trainer:
    tinytorch.manual_seed(5)
    trainer = build_trainer(TINY, build_model(TINY, 11).to(backend), processes=1)
    trainer.runner = make_runner(cuda_graph=graphed)
    return trainer


def losses_of(trainer: Trainer, count: int = 8, each: int = 1) -> list[float]:
    """The losses of steps on random batches, `each` per step."""
    tinytorch.manual_seed(100)
    rng = np.random.default_rng(0)
    data = TokenDataset(rng.integers(0, 11, 400), TINY.context, backend=trainer.model.backend)
    return [
        trainer.train_step([data.random_batch(3, rng) for _ in range(each)]).item()
        for _ in range(count)
    ]


def weights(trainer: Trainer) -> dict[str, np.ndarray]:
    return {name: t.numpy().copy() for name, t in trainer.model.state_dict().items()}


def scale_of(trainer: Trainer) -> float:
    from tinytorch.runtime import loss_scale

    scaler = loss_scale.loss_scaler(trainer, backends.get("cupy"))
    assert scaler is not None
    return float(scaler.scale.get())  # type: ignore[attr-defined]


def test_factors_are_converted_to_float16(fake_cupy: Any) -> None:
    from tinytorch.backends.cupy import gemm

    ones = fake_cupy.ones((2, 1), "f4")
    factors = np.array([[70_000, 1 + 2**-12, 3e-8, 1e-9, 65_504]], np.float32)
    y = fake_cupy.asarray(factors)
    found = gemm.gemm(ones, y).get()
    np.testing.assert_array_equal(found[0], [np.inf, 1, 2**-24, 0, 65_504])
    with gemm.full_precision():
        np.testing.assert_array_equal(gemm.gemm(ones, y).get()[:1], factors)


@pytest.mark.parametrize(("capability", "mode"), [("61", "fp32"), ("75", "fp16"), ("90", "fp16")])
def test_the_mode_needs_tensor_cores_for_float16(
    fake_cupy: Any, monkeypatch: pytest.MonkeyPatch, capability: str, mode: str
) -> None:
    monkeypatch.setattr(fake_cupy.cuda.runtime, "capabilities", [capability])
    backend = backends.get("cupy")
    assert backend.matmul == mode  # type: ignore[attr-defined]
    assert (backend.loss_scaler is None) == (mode == "fp32")


@pytest.mark.parametrize("each", [1, 2])
@pytest.mark.parametrize("graphed", [False, True])
def test_losses_are_those_of_training_in_float32(
    graphed: bool, each: int, fake_cupy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attention is computed by products, as its kernels need tensor cores for TF32."""
    launches: list[Any] = []
    monkeypatch.setattr(fake_cupy.kernels, "records", launches)
    device = gpt("cupy", graphed)
    expected = losses_of(gpt("numpy", False), each=each)
    np.testing.assert_allclose(losses_of(device, each=each), expected, rtol=3e-3)
    assert not any(r.kernel.name == "attention" for r in launches)
    assert scale_of(device) == 2**16


def test_graphed_steps_equal_eager_steps_and_wait_for_nothing() -> None:
    eager, graphed = gpt("cupy", False), gpt("cupy", True)
    with Trace() as trace:
        found_losses = losses_of(graphed)
    assert trace.ran("graphed step")["replayed"] == 5
    assert found_losses == losses_of(eager)
    found = weights(graphed)
    assert all((array == found[name]).all() for name, array in weights(eager).items())
    for trainer in (graphed, eager):
        batch = (Tensor(np.zeros((3, 8), int), backend="cupy"),) * 2
        with no_host_reads():
            trainer.train_step([batch])


@pytest.mark.parametrize("scaled", [False, True])
def test_small_gradients_train_with_a_scale_only(
    scaled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of a mean over many targets. Adam's steps do not depend on the factor."""
    from tinytorch.backends.cupy import loss_scaler

    if not scaled:
        monkeypatch.setattr(loss_scaler, "INITIAL_SCALE", 1.0)
    trainer, batch = small(1e-9, eps=1e-20, weight_decay=0.0)
    before = weights(trainer)["0.weight"]
    losses = [trainer.train_step([batch]).item() * 1e9 for _ in range(30)]
    assert (losses[-1] < 0.5 * losses[0]) == scaled
    assert (weights(trainer)["0.weight"] != before).any() == scaled


@pytest.mark.parametrize("graphed", [False, True])
@pytest.mark.parametrize(
    "optimizer", [(AdamW, {}), (SGD, {"momentum": 0.9}), (Muon, {}), (AdamW, {"amsgrad": True})]
)
def test_steps_with_infinite_gradients_are_skipped(optimizer: Any, graphed: bool) -> None:
    """And the scale is halved, until the gradients are finite."""
    kind, settings = optimizer
    trainer, batch = small(100.0, kind, **settings)
    trainer.runner = make_runner(cuda_graph=graphed)
    before, scales, losses = weights(trainer), [2.0**16], []
    for _ in range(15):
        losses.append(trainer.train_step([batch]).item())
        scales.append(scale_of(trainer))
        state = [t.numpy() for s in trainer.optimizers[0].state.values() for t in s.values()]
        is_skipped = scales[-1] < scales[-2]
        if scales[-1] == 2.0**16 / 2 ** (len(scales) - 1):  # no step yet that was not skipped
            assert not any(array.any() for array in state)
            assert all((a == before[name]).all() for name, a in weights(trainer).items())
        else:
            assert not is_skipped
    assert 4 < scales.index(scales[-1]) < 12
    assert losses[-1] < 0.9 * losses[0]


def test_the_scale_grows_after_steps_without_infinities(monkeypatch: pytest.MonkeyPatch) -> None:
    from tinytorch.backends.cupy import loss_scaler

    monkeypatch.setattr(loss_scaler, "GROWTH_INTERVAL", 3)
    trainer, batch = small(1e-6)
    scales = []
    for _ in range(7):
        trainer.train_step([batch])
        scales.append(scale_of(trainer) / 2**16)
    assert scales == [1, 1, 2, 2, 2, 4, 4]


@pytest.mark.parametrize("graphed", [False, True])
def test_an_id_out_of_range_raises_and_changes_neither_weights_nor_scale(graphed: bool) -> None:
    trainer, batch = small(1.0)
    trainer.runner = make_runner(cuda_graph=graphed)
    for _ in range(4):
        trainer.train_step([batch])
    before = weights(trainer)
    loss = trainer.train_step([(Tensor(np.array([0, 1, 2, 7]), backend="cupy"), batch[1])])
    with pytest.raises(IndexError, match="token id 7"):
        loss.item()
    assert all((array == before[name]).all() for name, array in weights(trainer).items())
    assert scale_of(trainer) == 2**16
    trainer.train_step([batch])
    assert any((array != before[name]).any() for name, array in weights(trainer).items())


def test_text_is_generated_in_full_precision() -> None:
    models = [gpt(b, False).model for b in ("numpy", "cupy")]
    texts = [m.generate([1, 2, 3], 20, seed=1).tolist() for m in models]  # type: ignore[operator]
    assert texts[0] == texts[1]


@pytest.mark.parametrize("clip", [False, True])
def test_grad_scaler_trains_in_a_loop_of_its_own(clip: bool) -> None:
    """Infinite gradients at first, then the steps of a trainer."""
    trainer, (x, y) = small(100.0)
    trainer.grad_clip_norm = 0.5 if clip else None
    expected = [trainer.train_step([(x, y)]).item() for _ in range(15)]
    own, _ = small(100.0)
    optimizer, scaler, found = own.optimizers[0], GradScaler(), []
    for _ in range(15):
        optimizer.zero_grad()
        loss = own.loss_fn(own.model(x), y)
        scaler.scale(loss).backward()
        if clip:
            scaler.unscale_(optimizer)
            clip_grad_norm(own.parameters(), 0.5)
        scaler.step(optimizer)
        scaler.update()
        found.append(loss.item())
    assert found == expected
    assert scaler.get_scale() == scale_of(trainer) < 2**16


def test_grad_scaler_checks_its_use_and_is_without_effect_in_float32() -> None:
    for backend, scale in (("numpy", 1.0), ("cupy", 2.0**16)):
        model, scaler = Linear(3, 1).to(backend), GradScaler()
        optimizer = SGD(model.parameters(), lr=0.1)
        loss = model(tinytorch.ones(4, 3).to(backend)).mean()
        assert scaler.scale(loss).item() == loss.item() * scale
        assert (scaler.get_scale(), scaler.is_enabled()) == (scale, scale != 1)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        with pytest.raises(RuntimeError, match="already called on this optimizer"):
            scaler.unscale_(optimizer)
        assert model.bias is not None
        assert model.bias.grad is not None
        assert model.bias.grad.tolist() == [1.0]
        scaler.step(optimizer)
        with pytest.raises(RuntimeError, match="since the last update"):
            scaler.step(optimizer)
        with pytest.raises(RuntimeError, match="after step"):
            scaler.unscale_(optimizer)
        scaler.update()
        scaler.step(optimizer)


def test_several_steps_in_one_graph_are_scaled_and_skipped_too() -> None:
    ids = np.stack([np.roll(np.arange(5), k)[:4] for k in range(4)])[:, None]  # (K, 1, B)
    x = Tensor(ids, backend="cupy")
    found = []
    for at_once in (False, True):
        trainer, batch = small(100.0)
        for _ in range(3):
            trainer.train_step([batch])
        losses: list[float] = []
        for _ in range(5):
            if at_once:
                several = trainer.train_steps(x, x)
                assert several is not None
                losses += several.tolist()
            else:
                losses += [trainer.train_step([(x[k, 0], x[k, 0])]).item() for k in range(4)]
        found.append((losses, scale_of(trainer), weights(trainer)["0.weight"].tolist()))
    assert found[0] == found[1]
    assert found[0][1] < 2**15
