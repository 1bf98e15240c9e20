"""Lesson 03 with the ops and activations before it: networks over the characters of a text."""

import math
from itertools import pairwise

import numpy as np
import pytest

from tinytorch.activations import ReLU, relu, softmax
from tinytorch.arguments import ShapeError
from tinytorch.layers import Dropout, Linear, apply_dropout, dropout, linear
from tinytorch.modules.containers import Sequential
from tinytorch.modules.module import Module, Parameter
from tinytorch.nn.init import kaiming_normal_, xavier_uniform_
from tinytorch.ops.random import manual_seed, mask_state, next_seed
from tinytorch.tensor import Tensor

TEXT = """the miller had a mill, and the mill had a wheel, and the wheel had a river to turn it.
when the river was low the wheel stood still, and when the wheel stood still the miller sat on the
wall and told the same story to whoever came along the road. it was a long story, and the road was
short, so nobody ever heard the end of it, not even the miller."""
CHARACTERS = sorted(set(TEXT))
V = len(CHARACTERS)
IDS = np.array([CHARACTERS.index(character) for character in TEXT])
ONE_HOT = np.eye(V, dtype=np.float32)[IDS]  # (N, V)


def network(backend: str, p: float = 0.0, seed: int = 3) -> Sequential:
    manual_seed(seed)
    return Sequential(
        Linear(V, 48, backend=backend),
        ReLU(),
        Dropout(p),
        Linear(48, V, bias=False, backend=backend),
    )


def test_a_network_over_characters_computes_what_numpy_does(backend: str) -> None:
    model, x = network(backend), Tensor(ONE_HOT, backend=backend)
    first, second = model[0], model[3]
    hidden = np.maximum(ONE_HOT @ first.weight.numpy().T + first.bias.numpy(), 0)
    scores = model(x)
    np.testing.assert_allclose(scores.numpy(), hidden @ second.weight.numpy().T, atol=1e-5)
    np.testing.assert_allclose(softmax(scores).numpy().sum(axis=-1), 1, atol=1e-5)


def test_batches_of_any_shape_give_the_same_numbers(backend: str) -> None:
    model = network(backend)
    x = ONE_HOT[: 4 * 5 * 6]
    flat = model(Tensor(x, backend=backend)).numpy()
    for shape in ((4, 5, 6, V), (20, 6, V), (120, 1, V)):
        deep = model(Tensor(x.reshape(shape), backend=backend))
        assert deep.shape == shape
        np.testing.assert_allclose(deep.numpy().reshape(120, V), flat, atol=1e-6)
    single = model(Tensor(x[7], backend=backend))
    assert single.shape == (V,)
    np.testing.assert_allclose(single.numpy(), flat[7], atol=1e-6)


def test_a_linear_layer_holds_the_counts_of_a_text(backend: str) -> None:
    """A layer whose weights are logarithms of counts predicts the next character, untrained."""
    counts = np.ones((V, V))  # (next, current), and one more of each
    for current, following in pairwise(IDS):
        counts[following, current] += 1
    layer = Linear(V, V, bias=False, backend=backend)
    layer.load_state_dict({"weight": np.log(counts)})
    shares = softmax(layer(Tensor(ONE_HOT[:-1], backend=backend))).numpy()
    np.testing.assert_allclose(shares, (counts / counts.sum(axis=0)).T[IDS[:-1]], rtol=1e-4)
    after_t = dict(zip(CHARACTERS, shares[TEXT.index("t")], strict=True))
    assert max(after_t, key=lambda character: after_t[character]) == "h"
    guessed = np.log(shares[np.arange(len(IDS) - 1), IDS[1:]]).mean()
    assert guessed > math.log(1 / V) + 0.7


def test_names_and_numbers_of_parameters(backend: str) -> None:
    model = network(backend)
    sizes = {name: p.shape for name, p in model.named_parameters()}
    assert sizes == {"0.weight": (48, V), "0.bias": (48,), "3.weight": (V, 48)}
    assert model.num_parameters() == 2 * 48 * V + 48
    assert sum(p.numpy().nbytes for p in model.parameters()) == 4 * model.num_parameters()
    assert list(model.state_dict()) == list(sizes)
    assert {p.backend.name for p in model.parameters()} == {backend}


def test_saved_values_make_another_network_the_same(backend: str) -> None:
    model, x = network(backend), Tensor(ONE_HOT[:9], backend=backend)
    other = network(backend, seed=99)
    before = other(x).numpy()
    assert np.abs(before - model(x).numpy()).max() > 0.01
    other.load_state_dict(model.state_dict())
    np.testing.assert_array_equal(other(x).numpy(), model(x).numpy())


def test_a_seed_repeats_weights_and_masks(backend: str) -> None:
    x = Tensor(ONE_HOT, backend=backend)
    runs = []
    for _ in range(2):
        model = network(backend, p=0.5)
        runs.append([model(x).numpy(), model(x).numpy()])
    np.testing.assert_array_equal(runs[0], runs[1])
    assert np.abs(runs[0][0] - runs[0][1]).max() > 0.01


def test_modes_of_a_network(backend: str) -> None:
    model, x = network(backend, p=0.5), Tensor(ONE_HOT, backend=backend)
    assert [m.training for m in model.modules()] == [True] * 5
    without = network(backend)(x).numpy()
    assert model.eval() is model
    assert [m.training for m in model.modules()] == [False] * 5
    before = mask_state()
    np.testing.assert_array_equal(model(x).numpy(), without)
    assert mask_state() == before  # no seed was drawn
    model.train()
    average = np.mean([model(x).numpy() for _ in range(300)], axis=0)
    np.testing.assert_allclose(average, without, atol=0.06)
    model[2].eval()  # a part
    np.testing.assert_array_equal(model(x).numpy(), without)


class Reader(Module):
    """Reads a text with the same layer twice, and a part that is never trained."""

    def __init__(self, backend: str) -> None:
        self.read = Linear(V, V, backend=backend)
        self.again = self.read
        self.fixed = Sequential(Dropout(0.5), Linear(V, 4, backend=backend))
        self.scale = Parameter([2.0], backend=backend)
        self.history: list[float] = []

    def forward(self, x: Tensor) -> Tensor:
        return self.fixed(self.again(relu(self.read(x)))) * self.scale

    def train(self, mode: bool = True) -> "Reader":
        super().train(mode)
        self.fixed.eval()
        return self


def test_shared_layers_and_frozen_parts(backend: str) -> None:
    reader = Reader(backend)
    model = Sequential(reader, ReLU())
    names = [name for name, _ in model.named_parameters()]
    assert names == [
        "0.scale",
        "0.read.weight",
        "0.read.bias",
        "0.fixed.1.weight",
        "0.fixed.1.bias",
    ]
    assert model.num_parameters() == 1 + V * V + V + 4 * V + 4
    assert len(list(model.named_parameters(remove_duplicate=False))) == 7
    model.train()
    assert reader.training
    assert not reader.fixed[0].training
    x = Tensor(ONE_HOT[:6], backend=backend)
    np.testing.assert_array_equal(model(x).numpy(), model(x).numpy())
    model[0].scale.data.fill_(0.0)
    assert not model(x).numpy().any()


def test_slices_of_a_network(backend: str) -> None:
    model, x = network(backend), Tensor(ONE_HOT[:8], backend=backend)
    features, head = model[:2], model[2:]
    assert (features(x).numpy() >= 0).all()
    np.testing.assert_array_equal(head(features(x)).numpy(), model(x).numpy())
    assert [name for name, _ in head.named_parameters()] == ["3.weight"]


def test_the_size_of_signals_in_deep_networks(backend: str) -> None:
    manual_seed(0)
    found = {}
    for name in ("Linear", "Kaiming", "Xavier"):
        x = Tensor(ONE_HOT @ np.random.default_rng(0).standard_normal((V, 128)), backend=backend)
        x = Tensor(x.numpy().astype(np.float32), backend=backend)
        start = np.mean(x.numpy() ** 2)
        for _ in range(8):
            layer = Linear(128, 128, bias=False, backend=backend)
            if name == "Kaiming":
                kaiming_normal_(layer.weight, nonlinearity="relu")
            elif name == "Xavier":
                xavier_uniform_(layer.weight)
            x = relu(layer(x))
        found[name] = float(np.mean(x.numpy() ** 2) / start)
    assert 0.3 < found["Kaiming"] < 3
    assert 0.3 < found["Xavier"] * 2**8 < 3
    assert 0.3 < found["Linear"] * 6**8 < 3


def test_a_wrong_order_of_layers_is_an_error_that_names_the_sizes(backend: str) -> None:
    model = Sequential(Linear(V, 48, backend=backend), Linear(V, 48, backend=backend))
    with pytest.raises(ShapeError, match=rf"{V}.*\({len(IDS)}, 48\)"):
        model(Tensor(ONE_HOT, backend=backend))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_ops_on_every_backend(backend: str, dtype: str) -> None:
    rng = np.random.default_rng(2)
    x, w, b = rng.standard_normal((3, 4, 5)), rng.standard_normal((6, 5)), rng.standard_normal(6)
    tensors = [Tensor(a, dtype=dtype, backend=backend) for a in (x, w, b)]
    np.testing.assert_allclose(linear(*tensors).numpy(), x @ w.T + b, rtol=1e-4, atol=1e-5)
    manual_seed(5)
    seed = next_seed()
    y = dropout(tensors[0], p=0.25, seed=seed)
    assert y.numpy().dtype.name == dtype
    kept = y.numpy() != 0
    np.testing.assert_allclose(y.numpy()[kept], (x / 0.75)[kept], rtol=1e-5)
    assert 0.55 < kept.mean() < 0.95
    on_numpy = dropout(Tensor(x, backend="numpy"), p=0.25, seed=seed)
    np.testing.assert_array_equal(on_numpy.numpy() != 0, kept)
    assert apply_dropout(tensors[0], 0.0, None) is tensors[0]
    assert not apply_dropout(tensors[0], 1.0, None).numpy().any()
