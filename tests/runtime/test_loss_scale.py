"""Training with products in float16, as on a T4: the loss is scaled, on the device."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import load_module, no_host_reads
from tiny_training import make_trainer, steps, weights

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
    Trainer,
    backends,
    clip_grad_norm,
    training,
)
from tinytorch.amp import GradScaler
from tinytorch.backends import Trace
from tinytorch.runtime import loss_scale
from tinytorch.runtime.trainer import make_runner
from tinytorch.serialization import checkpoint
from tinytorch.serialization.checkpoint import CheckpointError

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.usefixtures("fp16")


@pytest.fixture
def fp16(fake_cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """TT_MATMUL=fp16 on a GPU of compute capability 7.5."""
    from tinytorch.backends.cupy import gemm

    monkeypatch.setattr(gemm, "_chosen_mode", lambda: "fp16")
    monkeypatch.setattr(fake_cupy.cuda.runtime, "capabilities", ["75"])


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


def scale_of(trainer: Trainer) -> float:
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


def test_a_loss_that_nothing_scales_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with the Trainer of lesson 08, which the lesson keeps simple."""
    from tinytorch.backends.cupy.loss_scaler import CupyLossScaler

    monkeypatch.setattr(CupyLossScaler, "used", False)
    ours, batch = small(1.0)
    plain = training.Trainer(ours.model, ours.optimizers, ours.loss_fn)
    with pytest.warns(RuntimeWarning, match=r"unless the loss is scaled: train with tinytorch.Tra"):
        plain.train_step([batch])
    ours.train_step([batch])  # scales: pytest would raise a warning
    assert CupyLossScaler.used


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
    device = make_trainer("cupy", graphed, embed_dim=32)
    expected = steps(make_trainer("numpy", False, embed_dim=32), 8, each=each)
    np.testing.assert_allclose(steps(device, 8, each=each), expected, rtol=3e-3)
    assert not any(r.kernel.name == "attention" for r in launches)
    assert scale_of(device) == 2**16


@pytest.mark.slow
def test_graphed_steps_equal_eager_steps_and_wait_for_nothing() -> None:
    eager, graphed = make_trainer("cupy", False), make_trainer("cupy", True)
    with Trace() as trace:
        found_losses = steps(graphed, 8)
    assert trace.ran("graphed step")["replayed"] == 5
    assert found_losses == steps(eager, 8)
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


@pytest.mark.parametrize("program", ["03_mlp_1986/mlp.py", "04_cnn_1998/lenet.py"])
def test_the_milestones_scale_their_losses(program: str) -> None:
    milestone = load_module(ROOT / "milestones" / program)
    sizes = (64, 3) if program.endswith("mlp.py") else (8, 8)
    model = getattr(milestone, "MLP" if sizes == (64, 3) else "LeNet")(*sizes).to("cupy")
    trainer = milestone.build_trainer(model, 10)
    loss_fn = trainer.loss_fn
    trainer.loss_fn = lambda scores, labels: loss_fn(scores, labels) * 1e-9
    trainer.scheduler, trainer.optimizers[0].lr = None, 1e9
    trainer.optimizers[0].param_groups[0]["weight_decay"] = 0.0
    before = weights(trainer)
    rng = np.random.default_rng(0)
    images = rng.uniform(-1, 1, (4, 1, 8, 8)).astype(np.float32)
    trainer.train_step([(Tensor(images, backend="cupy"), Tensor([1, 2, 3, 4], backend="cupy"))])
    assert all((array != before[name]).any() for name, array in weights(trainer).items())


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


def steps_of(trainer: Trainer) -> list[float]:
    """The steps of each parameter that the optimizers' state_dicts tell."""
    return [
        state["step"].item()
        for optimizer in trainer.optimizers for state in optimizer.state_dict()["state"].values()
    ]  # fmt: skip


def several(trainer: Trainer, batch: Any, count: int) -> list[float]:
    """Take steps on the same batch, in pairs from one graph where that is possible."""
    x, y = (Tensor(np.stack([t.numpy()] * 2)[:, None], backend="cupy") for t in batch)
    losses: list[float] = []
    while len(losses) < count:
        found = trainer.train_steps(x, y) if count - len(losses) > 1 else None
        losses += [trainer.train_step([batch]).item()] if found is None else found.tolist()
    return losses


@pytest.mark.parametrize("how", ["eager", "graphed", "several"])
@pytest.mark.parametrize("settings", [{}, {"amsgrad": True}], ids=["kernel", "op by op"])
def test_skipped_steps_do_not_count(
    settings: Any, how: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with torch.amp: the run is that of a scale which fits from the beginning."""
    from tinytorch.backends.cupy import loss_scaler

    found = []
    for fits in (False, True):
        trainer, batch = small(100.0, betas=(0.9, 0.95), **settings)
        trainer.runner = make_runner(cuda_graph=how != "eager")
        left = 12
        if not fits:
            while scale_of(trainer) == 2.0**16 / 2**trainer.step:  # all skipped so far
                assert not (optimizer_state := trainer.optimizers[0].state) or not any(
                    t.numpy().any() for state in optimizer_state.values() for t in state.values()
                )
                before = scale_of(trainer)
                trainer.train_step([batch])
            skipped, left = trainer.step - 1, left - 1
            assert 4 < skipped < 12
            monkeypatch.setattr(loss_scaler, "INITIAL_SCALE", before)
        if how == "several":
            several(trainer, batch, left)
        for _ in range(left if how != "several" else 0):
            trainer.train_step([batch])
        assert trainer.step == 12 + skipped * (not fits)
        trainer.save_checkpoint(tmp_path / "checkpoint")
        assert steps_of(trainer) == [12.0] * 3
        found.append({name: a.tolist() for name, a in weights(trainer).items()})
    assert found[0] == found[1]


@pytest.mark.parametrize("graphed", [False, True])
def test_a_run_is_resumed_with_the_same_bits(
    graphed: bool, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its scale has been halved, and is doubled two steps later."""
    from tinytorch.backends.cupy import loss_scaler

    monkeypatch.setattr(loss_scaler, "GROWTH_INTERVAL", 4)
    trainers = [small(100.0)[0] for _ in range(3)]
    _, batch = small(100.0)
    for trainer in trainers:
        trainer.runner = make_runner(cuda_graph=graphed)
    first, second, third = trainers
    while scale_of(first) == 2.0**16 / 2**first.step:
        first.train_step([batch])
    first.train_step([batch])
    first.save_checkpoint(tmp_path / "checkpoint", note="kept")
    third.train_step([batch])  # has a scale and graphs of its own
    for trainer in (second, third):
        assert trainer.load_checkpoint(tmp_path / "checkpoint")["note"] == "kept"
        assert scale_of(trainer) == scale_of(first) < 2.0**12
    results = []
    for trainer in trainers:
        losses, scales = [], []
        for _ in range(9):
            losses.append(trainer.train_step([batch]).item())
            scales.append(scale_of(trainer))
        trainer.save_checkpoint(tmp_path / "again")
        results.append((losses, scales, steps_of(trainer), weights(trainer)["0.weight"].tolist()))
        assert scales[0] != scales[2], "it has been doubled in between"
    assert results[0] == results[1] == results[2]


def test_checkpoints_without_a_scale_begin_with_the_first_one(tmp_path: Any) -> None:
    trainer, batch = small(100.0)
    trainer.save_checkpoint(tmp_path / "first")
    for _ in range(3):
        trainer.train_step([batch])
    assert scale_of(trainer) == 2.0**13
    trainer.load_checkpoint(tmp_path / "first")
    assert scale_of(trainer) == 2.0**16
    with pytest.raises(ValueError, match=r"writes \['loss_scale'\] itself"):
        trainer.save_checkpoint(tmp_path / "first", loss_scale=1)


@pytest.mark.parametrize(
    "state", [3, {"scale": "a"}, {"scale": 2.0}, {"scale": 0, "_growth_tracker": 1},
              {"scale": 4.0, "_growth_tracker": -1}], ids=str,
)  # fmt: skip
def test_a_damaged_scale_is_refused_before_anything_is_changed(state: Any, tmp_path: Any) -> None:
    trainer, batch = small(1.0)
    trainer.train_step([batch])
    arrays, metadata = checkpoint_of(trainer, tmp_path / "good")
    checkpoint.save(tmp_path / "bad", arrays, {**metadata, "loss_scale": state})
    trainer.train_step([batch])
    before = weights(trainer)["0.weight"].tolist()
    with pytest.raises(CheckpointError, match=r"loss_scale|has no .(scale|_growth_tracker)"):
        trainer.load_checkpoint(tmp_path / "bad")
    assert weights(trainer)["0.weight"].tolist() == before


def checkpoint_of(trainer: Trainer, path: Any) -> Any:
    trainer.save_checkpoint(path)
    return checkpoint.load(path)


def test_counts_of_a_parameter_that_is_used_later_have_no_skipped_steps(tmp_path: Any) -> None:
    """It makes its first step with the number 1, whatever was skipped before."""
    trainer, batch = small(100.0)
    trainer.runner = make_runner()
    late: Any = trainer.model
    bias = late[1].bias
    late[1].bias = None
    for _ in range(15):
        trainer.train_step([batch])
    assert scale_of(trainer) < 2.0**13
    late[1].bias = bias
    before = bias.numpy().copy()
    trainer.train_step([batch])
    np.testing.assert_allclose(np.abs(bias.numpy() - before), 0.05, rtol=0.02)  # Adam's first step
    trainer.save_checkpoint(tmp_path / "checkpoint")
    counts = steps_of(trainer)
    assert counts[2] == 1
    assert counts[0] == counts[1] < 12


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
    assert loss_scale.state_dict(trainer)["_growth_tracker"] == 4
    trainer.train_step([batch])
    assert any((array != before[name]).any() for name, array in weights(trainer).items())


def test_text_is_generated_in_full_precision() -> None:
    models = [make_trainer(b, False).model for b in ("numpy", "cupy")]
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
    loss_scale.settle(trainer)
    assert steps_of(own) == steps_of(trainer)
    assert 0 < optimizer.steps < 15


def test_the_state_of_grad_scaler_is_that_of_pytorch() -> None:
    _, (x, y) = small(100.0)
    states, losses = [], []
    for again in (False, True):
        own, _ = small(100.0)
        scaler = GradScaler()
        assert scaler.state_dict() == {}
        for step in range(14):
            if again and step == 7:
                scaler = GradScaler()
                scaler.load_state_dict(states[6])
                assert scaler.state_dict() == states[6]
            own.zero_grad()
            loss = own.loss_fn(own.model(x), y)
            scaler.scale(loss).backward()
            scaler.step(own.optimizers[0])
            scaler.update()
            states.append(scaler.state_dict())
            losses.append(loss.item())
    assert losses[14:] == losses[:14]
    assert states[14:] == states[:14]
    assert states[0] == {"scale": 2.0**15, "growth_factor": 2.0, "backoff_factor": 0.5,
                         "growth_interval": 2000, "_growth_tracker": 0}  # fmt: skip
    with pytest.raises(ValueError, match=r"no scale and _growth_tracker, only \['a'\]"):
        scaler.load_state_dict({"a": 1})


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
