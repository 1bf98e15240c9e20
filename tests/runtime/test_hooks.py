"""Hooks of modules run in every step: no fused, captured or divided step skips them."""

import copy
import pickle
from itertools import islice
from typing import Any

import numpy as np
import pytest

from tinytorch import (
    GPT,
    SGD,
    CrossEntropyLoss,
    Dropout,
    Linear,
    MSELoss,
    Tensor,
    Trainer,
    manual_seed,
    nn,
)
from tinytorch.attention import MultiHeadAttention
from tinytorch.backends import Trace
from tinytorch.generation.generate import stream


def gpt(backend: str = "numpy") -> GPT:
    manual_seed(1)
    return GPT(7, 8, 1, 2, max_seq_len=12, backend=backend).eval()


def test_generation_calls_the_hooks_of_a_token() -> None:
    model, shapes = gpt(), []
    expected = list(islice(stream(model, [1, 2], 8, seed=0), 8))
    tokens = stream(model, [1, 2], 8, seed=0)
    found = list(islice(tokens, 3))
    handle = model.ln_f.register_forward_hook(lambda m, args, y: shapes.append(y.shape))
    found += list(islice(tokens, 3))
    assert shapes == [(1, 1, 8)] * 3
    handle.remove()
    found += list(islice(tokens, 2))
    assert len(shapes) == 3
    assert np.array(found).tolist() == np.array(expected).tolist()


def test_a_model_without_hooks_any_more_is_decoded_by_the_fused_step() -> None:
    model = gpt()
    model.head.register_forward_hook(lambda *_: None).remove()
    with Trace() as trace:
        list(islice(stream(model, [1, 2], 8, seed=0), 4))
    assert "decode step" in str(trace)
    assert "has hooks" not in str(trace)
    model.head.register_forward_hook(lambda *_: None)
    with Trace() as trace:
        list(islice(stream(model, [1, 2], 8, seed=0), 4))
    assert "head has hooks" in str(trace)


def test_attention_calls_the_hooks_of_its_dropout() -> None:
    shapes: list[Any] = []
    layer = MultiHeadAttention(8, 2, dropout=0.5)
    x = Tensor(np.ones((1, 3, 8), np.float32))
    layer.weights_dropout.register_forward_hook(lambda m, args, y: shapes.append(y.shape))
    layer(x)
    assert shapes == [(1, 2, 3, 3)]


def tensor(values: Any, backend: str) -> Tensor:
    return Tensor(values.astype(np.float32), backend=backend)


@pytest.mark.parametrize("settings", [{"cuda_graph": True}, {"processes": 2}], ids=str)
def test_steps_with_hooks_run_in_this_process_op_by_op(
    settings: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    backend = request.getfixturevalue("cupy") if "cuda_graph" in settings else "numpy"

    def run(**options: Any) -> list[float]:
        manual_seed(2)
        model = nn.Sequential(Linear(3, 4), Dropout(0.1), Linear(4, 2)).to(backend)
        trainer = Trainer(model, SGD(model.parameters(), 0.1), MSELoss(), **options)
        rng = np.random.default_rng(3)
        batches = [tuple(tensor(rng.standard_normal((4, n)), backend) for n in (3, 2))
                   for _ in range(7)]  # fmt: skip
        seen: list[Any] = []
        losses = [trainer.train_step([batch]).item() for batch in batches[:3]]
        handles = [
            model[2].register_forward_hook(lambda m, args, y: seen.append(y.shape)),
            model[2].register_full_backward_hook(lambda m, i, o: seen.append(i[0].shape)),
        ]
        losses += [trainer.train_step([batch]).item() for batch in batches[3:5]]
        assert seen == [(4, 2), (4, 4)] * 2
        for handle in handles:
            handle.remove()
        losses += [trainer.train_step([batch]).item() for batch in batches[5:]]
        assert len(seen) == 4
        return losses

    np.testing.assert_allclose(run(**settings), run(), rtol=1e-5)


@pytest.mark.parametrize("settings", [{"cuda_graph": True}, {"processes": 2}], ids=str)
def test_hooks_of_parameters_see_the_gradient_of_the_whole_batch(
    settings: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    backend = request.getfixturevalue("cupy") if "cuda_graph" in settings else "numpy"
    x, y = np.ones((4, 3)), np.arange(8.0).reshape(4, 2)

    def run(**options: Any) -> list[Any]:
        manual_seed(2)
        model, calls = Linear(3, 2).to(backend), []

        def limit(gradient: Tensor) -> Tensor:
            calls.append(gradient.shape)
            return gradient.clamp(-0.001, 0.001)

        model.weight.register_hook(limit)
        trainer = Trainer(model, SGD(model.parameters(), 0.1), MSELoss(), **options)
        for _ in range(4):
            trainer.train_step([(tensor(x, backend), tensor(y, backend))])
        assert len(calls) == 4
        return model.weight.tolist()

    assert run(**settings) == run()


def test_hooks_of_the_loss_run_too(cupy: str) -> None:
    model, loss, calls = gpt(cupy), CrossEntropyLoss(), []
    loss.register_forward_pre_hook(lambda m, args: calls.append(len(args)))
    trainer = Trainer(model, SGD(model.parameters(), 0.1), loss, cuda_graph=True)
    ids = Tensor(np.array([[1, 2, 3]]), backend=cupy)
    for _ in range(3):
        trainer.train_step([(ids, ids)])
    assert calls == [2] * 3


class Count:
    """A hook that can be pickled, and counts its calls."""

    calls = 0

    def __call__(self, *arguments: Any) -> None:
        type(self).calls += 1


def test_copies_have_hooks_too() -> None:
    model = nn.Linear(2, 2)
    model.register_forward_hook(Count())
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        copied(Tensor([1.0, 2.0]))
    assert Count.calls == 2
