"""Recurrent ops: one layer of an RNN, LSTM or GRU over a whole sequence, in one direction.

The sequence is the first axis, (T, B, ...). The product of the inputs with their weights does not
depend on earlier steps, so the layer computes it for all steps at once, and the ops begin with it.
Each op returns the hidden states of all steps, and the state after the last one. Its gradient runs
through the steps in reverse order (backpropagation through time): factors that do not depend on
later steps, and the gradient of the weights, are computed for all steps at once.
"""

import math
from collections.abc import Sequence
from typing import Any

from ..backends.base import Array, Namespace
from .op import op


@op(promote="float")
def rnn(
    xp: Namespace,
    x: Array,
    h: Array,
    weight: Array,
    *,
    nonlinearity: str = "tanh",
    reverse: bool = False,
) -> Any:
    """h_t = tanh(x_t + h_{t-1} W^T), or with relu in place of tanh.

    Args:
        x: inputs (T, B, H), multiplied by their weights, with the biases.
        h: state (B, H) before the first step.
        weight: W (H, H).
        nonlinearity: "tanh" or "relu".
        reverse: start at the end of the sequence.

    Returns:
        The states of all steps (T, B, H), and the last one (B, H).

    Source: J. Elman, "Finding Structure in Time" (1990).
    """
    columns, initial, steps = xp.matrix_transpose(weight), h, _order(x, reverse)
    states = [h] * len(steps)
    for t in steps:
        z = x[t, ...] + h @ columns  # (B, H)
        h = xp.tanh(z) if nonlinearity == "tanh" else xp.where(z <= 0, xp.zeros_like(z), z)
        states[t] = h
    y = xp.stack(states)
    return (y, h), (y, initial, weight, nonlinearity, reverse)


@rnn.gradient
def rnn_gradient(
    xp: Namespace, gs: Any, y: Array, initial: Array, weight: Array, kind: str, reverse: bool
) -> Any:
    gy, dh = _given(xp, gs, y)
    slope = 1 - y * y if kind == "tanh" else xp.astype(y > 0, y.dtype)
    steps = _order(y, reverse)
    dx = [dh] * len(steps)
    for t in reversed(steps):
        dx[t] = (gy[t, ...] + dh) * slope[t, ...]  # (B, H)
        dh = dx[t] @ weight
    d = xp.stack(dx)
    return d, dh, lambda: _weight_gradient(xp, d, _previous(xp, y, initial, reverse))


@op(promote="float")
def lstm(
    xp: Namespace, x: Array, h: Array, c: Array, weight: Array, *, reverse: bool = False
) -> Any:
    """Long short-term memory: c_t = f c_{t-1} + i g, and h_t = o tanh(c_t).

    The gates i, f, o and the new values g are the four parts of x_t + h_{t-1} W^T, in the order
    i, f, g, o: g after tanh, the others after sigmoid.

    Args:
        x: inputs (T, B, 4 H), multiplied by their weights, with the biases.
        h: hidden state (B, H) before the first step.
        c: cell state (B, H) before the first step.
        weight: W (4 H, H).
        reverse: start at the end of the sequence.

    Returns:
        The hidden states of all steps (T, B, H), the last one (B, H), and the last cell state.

    Source: F. Gers et al., "Learning to Forget" (2000).
    """
    columns, steps, H = xp.matrix_transpose(weight), _order(x, reverse), h.shape[-1]
    initial = h, c
    states, cells, activated = [h] * len(steps), [c] * len(steps), [x] * len(steps)
    for t in steps:
        z = x[t, ...] + h @ columns  # (B, 4 H)
        s = 1 / (1 + xp.exp(-z))
        g = xp.tanh(z[:, 2 * H : 3 * H])
        c = s[:, H : 2 * H] * c + s[:, :H] * g
        h = s[:, 3 * H :] * xp.tanh(c)
        states[t], cells[t], activated[t] = h, c, xp.concat([s, g], axis=1)
    y = xp.stack(states)
    saved = y, xp.stack(cells), xp.stack(activated), *initial, weight, reverse
    return (y, h, c), saved


@lstm.gradient
def lstm_gradient(
    xp: Namespace,
    gs: Any,
    y: Array,
    cells: Array,
    activated: Array,
    h0: Array,
    c0: Array,
    weight: Array,
    reverse: bool,
) -> Any:
    gy, dh, dc = _given(xp, gs, y)
    i, f, _, o, g = _parts(activated, 5)  # (T, B, H)
    before, tanh_c = _previous(xp, cells, c0, reverse), xp.tanh(cells)
    slope = o * (1 - tanh_c * tanh_c)  # of h_t in c_t
    # Of c_t in the first three parts of the gates, and of h_t in the last one, (T, B, 4 H).
    gates = xp.concat(
        [g * i * (1 - i), before * f * (1 - f), i * (1 - g * g), tanh_c * o * (1 - o)], axis=-1
    )
    steps = _order(y, reverse)
    dx = [dh] * len(steps)
    for t in reversed(steps):
        dh = gy[t, ...] + dh
        dc = dc + dh * slope[t, ...]
        dx[t] = xp.concat([dc, dc, dc, dh], axis=1) * gates[t, ...]  # (B, 4 H)
        dc = dc * f[t, ...]
        dh = dx[t] @ weight
    d = xp.stack(dx)
    return d, dh, dc, lambda: _weight_gradient(xp, d, _previous(xp, y, h0, reverse))


@op(promote="float")
def gru(
    xp: Namespace,
    x: Array,
    h: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    reverse: bool = False,
) -> Any:
    """Gated recurrent unit: h_t = (1 - z) n + z h_{t-1}.

    With u = h_{t-1} W^T + b, and the parts r, z, n of x_t and u: r and z are sigmoid(x + u), and n
    is tanh(x + r u).

    Args:
        x: inputs (T, B, 3 H), multiplied by their weights, with their bias.
        h: state (B, H) before the first step.
        weight: W (3 H, H).
        bias: b (3 H,).
        reverse: start at the end of the sequence.

    Returns:
        The states of all steps (T, B, H), and the last one (B, H).

    Source: K. Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder" (2014), with
    the reset gate r after the product, as in cuDNN and PyTorch.
    """
    columns, initial, H = xp.matrix_transpose(weight), h, h.shape[-1]
    steps = _order(x, reverse)
    states, activated = [h] * len(steps), [x] * len(steps)
    for t in steps:
        u = h @ columns  # (B, 3 H)
        u = u if bias is None else u + bias
        s = 1 / (1 + xp.exp(-(x[t, :, : 2 * H] + u[:, : 2 * H])))
        un, z = u[:, 2 * H :], s[:, H:]
        n = xp.tanh(x[t, :, 2 * H :] + s[:, :H] * un)
        h = n + z * (h - n)
        states[t], activated[t] = h, xp.concat([s, n, un], axis=1)
    y = xp.stack(states)
    return (y, h), (y, xp.stack(activated), initial, weight, reverse)


@gru.gradient
def gru_gradient(
    xp: Namespace,
    gs: Any,
    y: Array,
    activated: Array,
    initial: Array,
    weight: Array,
    reverse: bool,
) -> Any:
    gy, dh = _given(xp, gs, y)
    r, z, n, un = _parts(activated, 4)  # (T, B, H)
    before = _previous(xp, y, initial, reverse)
    dn = (1 - z) * (1 - n * n)  # slope of h_t in the argument of n
    rz = xp.concat([dn * un * r * (1 - r), (before - n) * z * (1 - z)], axis=-1)  # (T, B, 2 H)
    in_u = xp.concat([rz, dn * r], axis=-1)  # (T, B, 3 H)
    steps = _order(y, reverse)
    total, du = [dh] * len(steps), [dh] * len(steps)
    for t in reversed(steps):
        dh = total[t] = gy[t, ...] + dh
        du[t] = xp.concat([dh, dh, dh], axis=1) * in_u[t, ...]  # (B, 3 H)
        dh = dh * z[t, ...] + du[t] @ weight
    d, H = xp.stack(du), y.shape[-1]
    return (
        xp.concat([d[..., : 2 * H], xp.stack(total) * dn], axis=-1),
        dh,
        lambda: _weight_gradient(xp, d, before),
        lambda: xp.sum(d, axis=(0, 1)),
    )


def _order(x: Array, reverse: bool) -> range:
    """The steps of x (T, ...) in the order in which the layer reads them."""
    T = x.shape[0]
    return range(T - 1, -1, -1) if reverse else range(T)


def _given(xp: Namespace, gs: Sequence[Array | None], y: Array) -> list[Array]:
    """The gradients of y (T, B, H) and of the final states (B, H), zeros where there is none."""
    shapes = [y.shape, *[y.shape[1:]] * (len(gs) - 1)]
    pairs = zip(gs, shapes, strict=True)
    return [xp.zeros(shape, dtype=y.dtype) if g is None else g for g, shape in pairs]


def _previous(xp: Namespace, states: Array, initial: Array, reverse: bool) -> Array:
    """The state (T, B, H) before each step."""
    first = xp.expand_dims(initial, axis=0)
    return xp.concat([states[1:, ...], first] if reverse else [first, states[:-1, ...]])


def _parts(x: Array, count: int) -> list[Array]:
    """Split (T, B, count H) into views (T, B, H)."""
    H = x.shape[-1] // count
    return [x[..., i * H : (i + 1) * H] for i in range(count)]


def _weight_gradient(xp: Namespace, d: Array, states: Array) -> Array:
    """Sum over all steps and rows of d^T h: d (T, B, G), h (T, B, H) -> (G, H)."""
    rows = math.prod(d.shape[:2])
    d, states = (xp.reshape(a, (rows, a.shape[-1])) for a in (d, states))
    return xp.matrix_transpose(d) @ states
