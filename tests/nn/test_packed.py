"""Recurrent layers skip the padding of packed sequences, as in PyTorch."""

import numpy as np
import pytest
from helpers import require

import tinytorch

torch = require("torch")

LAYERS = {
    "rnn": ("RNN", {}),
    "gru": ("GRU", {"batch_first": True}),
    "lstm": ("LSTM", {"num_layers": 2, "batch_first": True}),
    "bidirectional": ("LSTM", {"num_layers": 2, "bidirectional": True}),
}


def run(lib, name, options, weights, given_state):
    layer = getattr(lib.nn, name)(3, 4, **options)
    for w, value in zip(layer.parameters(), weights, strict=True):
        w.data.copy_(lib.from_numpy(value))
    first = options.get("batch_first", False)
    rng = np.random.default_rng(1)
    x = lib.from_numpy(rng.standard_normal((4, 5, 3)).astype(np.float32)).requires_grad_()
    pack, pad = lib.nn.utils.rnn.pack_padded_sequence, lib.nn.utils.rnn.pad_packed_sequence
    packed = pack(x if first else x.transpose(0, 1), [3, 4, 1, 3], first, enforce_sorted=False)
    state = None
    if given_state:
        count = options.get("num_layers", 1) * (1 + options.get("bidirectional", False))
        h = lib.from_numpy(rng.standard_normal((count, 4, 4)).astype(np.float32))
        state = (h, h * 2) if name == "LSTM" else h
    y, final = layer(packed, state)
    y, lengths = pad(y, batch_first=first, padding_value=-1, total_length=6)
    finals = final if isinstance(final, tuple) else (final,)
    sum(((t * t).sum() for t in (y, *finals)), lib.zeros(())).backward()
    results = [y, lengths, *finals, x.grad, *[w.grad for w in layer.parameters()]]
    return [t.detach().numpy() for t in results]


@pytest.mark.parametrize("given_state", [False, True])
@pytest.mark.parametrize("kind", LAYERS)
def test_packed_sequences_give_pytorchs_results_and_gradients(kind: str, given_state: bool) -> None:
    name, options = LAYERS[kind]
    rng = np.random.default_rng(0)
    shapes = [p.shape for p in getattr(torch.nn, name)(3, 4, **options).parameters()]
    weights = [rng.standard_normal(tuple(s)).astype(np.float32) / 2 for s in shapes]
    actual = run(tinytorch, name, options, weights, given_state)
    expected = run(torch, name, options, weights, given_state)
    for a, b in zip(actual, expected, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)


def test_wrong_lengths_raise() -> None:
    x, rnn = tinytorch.zeros(4, 2, 3), tinytorch.nn.utils.rnn
    with pytest.raises(RuntimeError, match="2 lengths from 1 to 4"):
        rnn.pack_padded_sequence(x, [5, 1])
    with pytest.raises(RuntimeError, match="2 lengths"):
        rnn.pack_padded_sequence(x, [3])
    with pytest.raises(RuntimeError, match="enforce_sorted=False"):
        rnn.pack_padded_sequence(x, tinytorch.tensor([1, 4]))


def test_sequences_are_packed() -> None:
    rnn = tinytorch.nn.utils.rnn
    packed = rnn.pack_sequence([tinytorch.ones(3), tinytorch.ones(1)])
    padded, lengths = rnn.pad_packed_sequence(packed, batch_first=True)
    assert padded.tolist() == [[1, 1, 1], [1, 0, 0]]
    assert lengths.tolist() == [3, 1]
