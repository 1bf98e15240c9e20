"""Runs in this process: what is saved after an error, and what is called damaged."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinytorch import no_grad
from tinytorch.optimizers import AdamW, Muon, Optimizer
from tinytorch.serialization import checkpoint
from tinytorch.tinygpt import PRESETS, Run, RunConfig, load_model
from tinytorch.tinygpt.presets import fit_steps
from tinytorch.tinygpt.run import CHECKPOINT, DivergedError, RunError
from tinytorch.training import Trainer
from tinytorch.transformers import MLP


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A small run after two steps, of which one is saved."""
    text = tmp_path / "text"
    text.write_text("to be or not to be, that is the question\n" * 12, encoding="utf-8")
    small = fit_steps(
        PRESETS["default"],
        embed_dim=12,
        num_layers=1,
        num_heads=2,
        context=8,
        batch_size=2,
        steps=6,
    )
    run = Run.start(RunConfig(small, str(text)), tmp_path, processes=1)
    run.step()
    run.save()
    run.step()
    return run


def saved_step(run: Run) -> Any:
    return checkpoint.load(run.out / CHECKPOINT)[1]["step"]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_do_not_replace_the_last_save(run: Run, value: float) -> None:
    with no_grad():
        run.model.ln_f.weight[-1] = value
    with pytest.raises(
        DivergedError, match=r"training has diverged: .* is not finite after step 2"
    ):
        run.save()
    assert saved_step(run) == 1
    assert Run.resume(run.out, processes=1).trainer.step == 1


@pytest.mark.parametrize(
    ("owner", "name", "intact"),
    [
        (Trainer, "accumulate", True),
        (Trainer, "_check_optimizers", True),
        (Muon, "step", False),
        (AdamW, "update", False),
    ],
)
@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
def test_a_run_is_intact_until_an_optimizer_has_begun(
    run: Run, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, intact: bool, error: Any
) -> None:
    assert run.intact

    def fail(*arguments: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, fail)
        with pytest.raises(error):
            run.step()
    assert run.intact is intact
    resumed = Run.resume(run.out, processes=1)
    assert resumed.intact


def test_a_run_whose_steps_are_not_counted_is_not_intact(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weights are new, but the number of the step is not: a second Ctrl-C in between."""
    step = Optimizer.step

    def interrupted(optimizer: Optimizer) -> None:
        step(optimizer)
        if optimizer is run.trainer.optimizers[-1]:
            raise KeyboardInterrupt

    monkeypatch.setattr(Optimizer, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run.step()
    assert not run.intact


@pytest.mark.parametrize("error", [TypeError, AttributeError, KeyError, IndexError])
def test_an_error_in_a_students_model_is_not_called_a_damaged_checkpoint(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def broken(*arguments: Any, **settings: Any) -> None:
        raise error("in __init__")

    monkeypatch.setattr(MLP, "__init__", broken)
    with pytest.raises(error, match="in __init__"):
        load_model(run.out)
    with pytest.raises(error, match="in __init__"):
        Run.resume(run.out, processes=1)


@pytest.mark.parametrize("key", ["config", "model", "tokenizer", "seconds"])
@pytest.mark.parametrize("value", [None, "x", [], {"preset": 1}])
def test_metadata_of_a_wrong_type_are_a_damaged_checkpoint(run: Run, key: str, value: Any) -> None:
    arrays, metadata = checkpoint.load(run.out / CHECKPOINT)
    checkpoint.save(run.out / CHECKPOINT, arrays, {**metadata, key: value})
    read = load_model if key == "model" else Run.resume
    with pytest.raises(RunError, match="is not a checkpoint of TinyGPT"):
        read(run.out)


def test_processes_are_at_most_the_rows_of_a_batch(run: Run) -> None:
    assert run.config.preset.batch_size == 2
    assert Run.start(run.config, run.out, processes=10**6).trainer.processes == 2


def growing(run: Run, processes: int = 1) -> Run:
    """A run of 6 steps with blocks of 2, 4 and 8 tokens, in the folder of another one."""
    preset = replace(run.config.preset, context=8, batch_size=2, context_doublings=2)
    return Run.start(replace(run.config, preset=preset), run.out, processes)


def test_blocks_grow_in_training_and_in_validation(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = growing(run)
    train_step, evaluate = run.trainer.train_step, run.trainer.evaluate
    trained: list[tuple[int, ...]] = []
    validated: list[int] = []

    def train(batches: Any) -> Any:
        trained.append(batches[0][0].shape)
        return train_step(batches)

    def validate(batches: Any) -> Any:
        batches = list(batches)
        validated.append(batches[0][0].shape[1])
        return evaluate(batches)

    monkeypatch.setattr(run.trainer, "train_step", train)
    monkeypatch.setattr(run.trainer, "evaluate", validate)
    while not run.finished:
        run.validate()
        run.step()
    run.validate()
    assert trained == [(8, 2), (8, 2), (4, 4), (4, 4), (2, 8), (2, 8)]
    assert validated == [2, 2, 4, 4, 8, 8, 8]


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("saved_after", [1, 2, 3, 4])
def test_a_run_whose_blocks_grow_resumes_bit_for_bit(
    run: Run, processes: int, saved_after: int
) -> None:
    run = growing(run, processes)
    for step in range(6):
        if step == saved_after:
            run.save()
        run.step()
    resumed = Run.resume(run.out, processes)
    while not resumed.finished:
        resumed.step()
    for name, weight in run.model.state_dict().items():
        np.testing.assert_array_equal(resumed.model.state_dict()[name].numpy(), weight.numpy())


def test_the_cache_is_exact_beyond_the_first_block_length(run: Run) -> None:
    run = growing(run)
    while not run.finished:
        run.step()
    prompt = run.tokenizer.encode("to")
    cached, plain = (
        run.model.generate(prompt, 20, seed=1, use_cache=cache).tolist() for cache in (True, False)
    )
    assert cached == plain
