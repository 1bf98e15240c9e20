"""Weights of int8: rounded to half a scale, shared where they were, decoded by the fused step."""

import numpy as np
import pytest

from tinytorch import GPT, Linear, Sequential, Tensor, manual_seed, no_grad
from tinytorch.backends import Trace
from tinytorch.embeddings import Embedding
from tinytorch.generation.int8 import Int8Embedding, Int8Linear, quantized, to_int8
from tinytorch.models import Llama
from tinytorch.optimizers import SGD

IDS = np.random.default_rng(0).integers(0, 40, (2, 12))


def llama(backend: str = "numpy") -> Llama:
    manual_seed(0)
    return Llama(40, 48, 2, 6, 2, 80, 24, tie_weights=True, backend=backend).eval()


def test_weights_are_rounded_to_half_a_scale(backend: str) -> None:
    w = np.random.default_rng(1).standard_normal((9, 70)).astype(np.float32)
    w[3] = 0
    integers, scale = quantized(Tensor(w, backend=backend))
    assert integers.numpy().dtype == np.int8
    assert np.abs(integers.numpy()).max(axis=1).tolist() == [127, 127, 127, 0, *[127] * 5]
    difference = np.abs(integers.numpy() * scale.numpy()[:, None] - w).max(axis=1)
    assert (difference <= scale.numpy() * 0.5001).all()
    assert scale.numpy()[3] == 0


def test_a_model_takes_a_quarter_of_the_memory_and_computes_nearly_the_same(backend: str) -> None:
    model = llama(backend)
    with no_grad():
        expected = model(Tensor(IDS, backend=backend)).numpy()
        before = sum(array.nbytes for array in model.state_dict().values())
        assert to_int8(model) is model
        found = model(Tensor(IDS, backend=backend)).numpy()
    after = sum(array.nbytes for array in model.state_dict().values())
    assert after < 0.3 * before
    difference = np.abs(found - expected).max()
    assert 0 < difference < 0.02 * np.abs(expected).max()


def test_a_shared_weight_stays_shared() -> None:
    model = to_int8(llama())
    head, tokens = model.head, model.embedding.tokens
    assert isinstance(head, Int8Linear)
    assert isinstance(tokens, Int8Embedding)
    assert head.weight is tokens.weight
    assert head.scale is tokens.scale


def test_layers_of_containers_are_replaced_and_keep_their_bias() -> None:
    linear, table = Linear(4, 3), Embedding(5, 4)
    model = to_int8(Sequential(table, Sequential(linear)))
    assert repr(model).count("Int8") == 2
    expected = linear(table(Tensor([1, 4]))).numpy()
    np.testing.assert_allclose(model(Tensor([1, 4])).numpy(), expected, rtol=0.1, atol=0.03)
    (bias,) = model.parameters()
    assert bias is linear.bias


def test_gradients_reach_the_layers_before_it() -> None:
    first, second = Linear(4, 6, bias=False), Linear(6, 3)
    model = Sequential(first, Sequential(second))
    to_int8(model[1])
    x = Tensor(np.random.default_rng(2).standard_normal((8, 4)))
    optimizer = SGD(model.parameters(), lr=0.1)
    losses = []
    for _ in range(5):
        loss = (model(x) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.item()))
    assert losses == sorted(losses, reverse=True)


@pytest.mark.parametrize("batch", [1, 2])
def test_the_fused_step_decodes_integers(batch: int) -> None:
    for model in (llama(), GPT(40, 48, 2, 6, 24).eval()):
        to_int8(model)
        with Trace() as trace:
            text = model.generate(IDS[:batch], 10, temperature=0)
        assert trace.ran("decode step") == {"fused": 8}
        again = model.generate(IDS[:batch], 10, temperature=0, use_cache=False)
        np.testing.assert_array_equal(text.numpy(), again.numpy())


def test_other_backends_decode_integers_by_the_models_own_code(cupy: str) -> None:
    model = to_int8(llama(cupy))
    with Trace() as trace:
        text = model.generate(IDS, 4, temperature=0)
    (why,) = trace.ran("decode step")
    assert why.endswith("its weights are integers")
    expected = to_int8(llama()).generate(IDS, 4, temperature=0)
    np.testing.assert_array_equal(text.numpy(), expected.numpy())


def test_weights_are_saved_and_loaded() -> None:
    model, other = to_int8(llama()), to_int8(Llama(40, 48, 2, 6, 2, 80, 24, tie_weights=True))
    other.load_state_dict(model.state_dict())
    ids = Tensor(IDS)
    np.testing.assert_array_equal(other(ids).numpy(), model(ids).numpy())
