"""Recurrent layers: RNN, LSTM, GRU, and their cells for a single step."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from ..arguments import ShapeError, check_flag, check_integer, check_number, warn
from ..functions.creation import zeros
from ..functions.joining import concat, stack
from ..layers import apply_dropout, linear
from ..modules.module import Module, Parameter
from ..ops import random, recurrent
from ..tensor import Tensor
from .utils.rnn import PackedSequence

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNCell"]


class _Recurrent(Module):
    """Layers of one kind on top of each other, in one direction or in both.

    Weights have PyTorch's names and shapes: ``weight_ih_l0`` (gates H, I), ``weight_hh_l0`` (gates
    H, H), ``bias_ih_l0``, ``bias_hh_l0``, with ``_reverse`` for the second direction; the initial
    values are uniform in ±1/sqrt(H).
    """

    gates: ClassVar[int]  # number of parts of the weights
    states: ClassVar[int] = 1  # tensors that are passed from step to step
    weight_hh_l0: Parameter

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.input_size = check_integer(f"{name}: input_size", input_size, 1)
        self.hidden_size = check_integer(f"{name}: hidden_size", hidden_size, 1)
        self.num_layers = check_integer(f"{name}: num_layers", num_layers, 1)
        self.bias = check_flag(f"{name}: bias", bias)
        self.batch_first = check_flag(f"{name}: batch_first", batch_first)
        self.dropout = float(check_number(f"{name}: dropout", dropout, 0, 1))
        self.bidirectional = check_flag(f"{name}: bidirectional", bidirectional)
        if self.dropout and num_layers == 1:
            warn(f"{name}: dropout={dropout} has no effect with one layer, as the last has none")
        self._suffixes = ("", "_reverse") if bidirectional else ("",)
        for layer in range(num_layers):
            inputs = hidden_size * len(self._suffixes) if layer else input_size
            for suffix in self._suffixes:
                ending = f"_l{layer}{suffix}"
                _add_weights(self, self.gates, inputs, hidden_size, bias, ending)
        self.to(dtype=dtype, device=device)

    def forward(self, input: Tensor | PackedSequence, hx: Any = None) -> Any:
        """Run the layers over a sequence.

        Args:
            input: (T, B, I); (B, T, I) with `batch_first`; (T, I) for one sequence; or a
                `PackedSequence`.
            hx: initial state (num_layers * directions, B, H), without B for one sequence; by
                default zeros. For an LSTM a tuple (h_0, c_0).

        Returns:
            The outputs of the last layer for all steps, (T, B, directions * H) or as the input, and
            the state after the last step, with the shape of `hx`.
        """
        if isinstance(input, PackedSequence):
            return self._packed(input, hx)
        self._check_input(input)
        batched = input.ndim == 3
        x = input if batched else input.unsqueeze(1)
        if batched and self.batch_first:
            x = x.transpose(0, 1)  # (T, B, I)
        first = self._initial(x, hx, batched)
        last: list[tuple[Tensor, ...]] = []  # of each layer and direction: its final states
        for layer in range(self.num_layers):
            if layer:
                p = self.dropout if self.training else 0.0
                x = apply_dropout(x, p, random.next_seed() if 0 < p < 1 else None)
            outputs = []
            for suffix in self._suffixes:
                given = tuple(state[len(last)] for state in first)
                y, *final = self._run(x, given, f"_l{layer}{suffix}")
                outputs.append(y)
                last.append(tuple(final))
            x = outputs[0] if len(outputs) == 1 else concat(outputs, axis=-1)
        if batched and self.batch_first:
            x = x.transpose(0, 1)
        states = tuple(stack(parts) for parts in zip(*last, strict=True))
        if not batched:
            x, states = x.squeeze(1), tuple(state.squeeze(1) for state in states)
        return x, states if self.states > 1 else states[0]

    def _packed(self, sequence: PackedSequence, hx: Any) -> Any:
        """Run the layers over the sequences of each length separately, without their padding."""
        lengths = sequence.lengths
        groups = [[b for b, n in enumerate(lengths) if n == size] for size in sorted({*lengths})]
        parts, finals = [], []
        for rows in groups:
            size = lengths[rows[0]]
            x = sequence.padded[:size, rows]  # (t, b, I)
            state = None if hx is None else _rows(hx, rows)
            y, final = self.forward(x.transpose(0, 1) if self.batch_first else x, state)
            y = y.transpose(0, 1) if self.batch_first else y  # (t, b, directions * H)
            padding = y.new_zeros((max(lengths) - size, *y.shape[1:]))
            parts.append(concat([y, padding]))
            finals.append(final if self.states > 1 else (final,))
        order = [b for rows in groups for b in rows]
        back = [order.index(b) for b in range(len(order))]
        states = tuple(concat(s, axis=1)[:, back] for s in zip(*finals, strict=True))
        output = PackedSequence(concat(parts, axis=1)[:, back], lengths)
        return output, states if self.states > 1 else states[0]

    def _run(self, x: Tensor, states: tuple[Tensor, ...], ending: str) -> Any:
        """One layer in one direction: the outputs (T, B, H), then the final states (B, H)."""
        raise NotImplementedError

    @property
    def _flat_weights_names(self) -> list[str]:
        """The names of the weights, by layer and direction, as in PyTorch."""
        return [name for name, _ in self.named_parameters()]

    def flatten_parameters(self) -> None:
        """Do nothing; PyTorch needs it for cuDNN."""

    def _check_input(self, x: Any) -> None:
        name = type(self).__name__
        if not isinstance(x, Tensor):
            raise TypeError(f"{name} takes tensors, not {type(x).__name__}")
        shape = f"(B, T, {self.input_size})" if self.batch_first else f"(T, B, {self.input_size})"
        if x.ndim not in (2, 3) or x.shape[-1] != self.input_size:
            raise ShapeError(
                f"{name} needs an input {shape}, or (T, {self.input_size}) for one sequence, got"
                f" {x.shape}"
            )
        if x.shape[1 if self.batch_first and x.ndim == 3 else 0] == 0:
            raise ShapeError(f"{name} needs at least one step, got an input {x.shape}")

    def _initial(self, x: Tensor, hx: Any, batched: bool) -> list[Any]:
        """The initial states of all layers: for each state, (layers, B, H) or a list of (B, H)."""
        count, name = self.num_layers * len(self._suffixes), type(self).__name__
        B, H = x.shape[1], self.hidden_size
        if hx is None:
            weight = self.weight_hh_l0
            state = zeros(B, H, dtype=weight.dtype, backend=x.backend)
            return [[state] * count] * self.states
        given = hx if self.states > 1 else (hx,)
        if not isinstance(given, tuple | list) or len(given) != self.states:
            raise TypeError(f"{name} needs its state as a tuple (h_0, c_0), got {_kind(hx)}")
        shape = (count, B, H) if batched else (count, H)
        for state in given:
            if not isinstance(state, Tensor):
                raise TypeError(f"{name} needs its state as a tensor {shape}, got {_kind(state)}")
            if state.shape != shape:
                raise ShapeError(f"{name} needs a state of shape {shape}, got {state.shape}")
        return [state if batched else state.unsqueeze(1) for state in given]

    def extra_repr(self) -> str:
        defaults = {
            "num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0,
            "bidirectional": False,
        }  # fmt: skip
        changed = [f"{n}={getattr(self, n)}" for n, d in defaults.items() if getattr(self, n) != d]
        return ", ".join([f"{self.input_size}, {self.hidden_size}", *changed])


def _rows(state: Any, rows: list[int]) -> Any:
    """The rows of a batch in a state (layers, B, H), or in a tuple of states."""
    if isinstance(state, Tensor):
        return state[:, rows]
    return tuple(_rows(part, rows) for part in state)


class RNN(_Recurrent):
    """Elman network: h_t = tanh(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh).

    Args:
        input_size: I, size of the inputs.
        hidden_size: H, size of the state.
        num_layers: number of layers; each reads the outputs of the one before.
        nonlinearity: "tanh" or "relu".
        bias: whether to add the biases.
        batch_first: whether the sequences are (B, T, I) rather than (T, B, I).
        dropout: dropout probability between the layers.
        bidirectional: whether each layer reads the sequence in both directions.

    >>> from tinytorch import zeros
    >>> from tinytorch.nn import RNN
    >>> y, h = RNN(10, 20, batch_first=True)(zeros(3, 5, 10))  # (B, T, I)
    >>> y.shape, h.shape
    ((3, 5, 20), (1, 3, 20))
    """

    gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device,
            dtype,
        )  # fmt: skip
        self.nonlinearity = _check_nonlinearity("RNN", nonlinearity)

    def _run(self, x: Tensor, states: tuple[Tensor, ...], ending: str) -> Any:
        w_ih, w_hh, b_ih, b_hh = _weights(self, ending)
        x = linear(x, w_ih, None if b_ih is None else b_ih + b_hh)
        kind, reverse = self.nonlinearity, ending.endswith("reverse")
        return recurrent.rnn(x, *states, w_hh, nonlinearity=kind, reverse=reverse)


class LSTM(_Recurrent):
    """Long short-term memory, with input, forget and output gates; see `ops.recurrent.lstm`.

    Args:
        input_size: I, size of the inputs.
        hidden_size: H, size of the hidden and of the cell state.
        num_layers: number of layers; each reads the outputs of the one before.
        bias: whether to add the biases.
        batch_first: whether the sequences are (B, T, I) rather than (T, B, I).
        dropout: dropout probability between the layers.
        bidirectional: whether each layer reads the sequence in both directions.
        proj_size: must be 0; projections are not supported.

    >>> from tinytorch import zeros
    >>> from tinytorch.nn import LSTM
    >>> y, (h, c) = LSTM(10, 20, num_layers=2)(zeros(5, 3, 10))  # (T, B, I)
    >>> y.shape, h.shape, c.shape
    ((5, 3, 20), (2, 3, 20), (2, 3, 20))
    """

    gates, states = 4, 2

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if proj_size:
            raise ValueError(f"LSTM: proj_size must be 0, got {proj_size}; put a Linear after it")
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device,
            dtype,
        )  # fmt: skip

    def _run(self, x: Tensor, states: tuple[Tensor, ...], ending: str) -> Any:
        w_ih, w_hh, b_ih, b_hh = _weights(self, ending)
        x = linear(x, w_ih, None if b_ih is None else b_ih + b_hh)
        return recurrent.lstm(x, *states, w_hh, reverse=ending.endswith("reverse"))


class GRU(_Recurrent):
    """Gated recurrent unit, with reset and update gates; see `ops.recurrent.gru`.

    Args:
        input_size: I, size of the inputs.
        hidden_size: H, size of the state.
        num_layers: number of layers; each reads the outputs of the one before.
        bias: whether to add the biases.
        batch_first: whether the sequences are (B, T, I) rather than (T, B, I).
        dropout: dropout probability between the layers.
        bidirectional: whether each layer reads the sequence in both directions.
    """

    gates = 3

    def _run(self, x: Tensor, states: tuple[Tensor, ...], ending: str) -> Any:
        w_ih, w_hh, b_ih, b_hh = _weights(self, ending)
        reverse = ending.endswith("reverse")
        return recurrent.gru(linear(x, w_ih, b_ih), *states, w_hh, b_hh, reverse=reverse)


class _Cell(Module):
    """One step of a recurrent layer; weights ``weight_ih``, ``weight_hh``, and biases."""

    gates: ClassVar[int]
    states: ClassVar[int] = 1
    weight_hh: Parameter

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.input_size = check_integer(f"{name}: input_size", input_size, 1)
        self.hidden_size = check_integer(f"{name}: hidden_size", hidden_size, 1)
        self.bias = check_flag(f"{name}: bias", bias)
        _add_weights(self, self.gates, input_size, hidden_size, bias, "")
        self.to(dtype=dtype, device=device)

    def forward(self, input: Tensor, hx: Any = None) -> Any:
        """The next state, for an input (B, I) or (I,) and a state (B, H) or (H,), by default zeros.

        The state of an LSTMCell is a tuple (h, c).
        """
        name = type(self).__name__
        if not isinstance(input, Tensor):
            raise TypeError(f"{name} takes tensors, not {type(input).__name__}")
        I, H = self.input_size, self.hidden_size  # noqa: E741  as in the formulas
        if input.ndim not in (1, 2) or input.shape[-1] != I:
            raise ShapeError(f"{name} needs an input (B, {I}) or ({I},), got {input.shape}")
        batched = input.ndim == 2
        x = input if batched else input.unsqueeze(0)
        shape = (*input.shape[:-1], H)
        if hx is None:
            state = zeros(x.shape[0], H, dtype=self.weight_hh.dtype, backend=x.backend)
            given: Sequence[Tensor] = [state] * self.states
        else:
            given = hx if self.states > 1 else (hx,)
            if not isinstance(given, tuple | list) or len(given) != self.states:
                raise TypeError(f"{name} needs its state as a tuple (h, c), got {_kind(hx)}")
            for state in given:
                if not isinstance(state, Tensor) or state.shape != shape:
                    raise ShapeError(f"{name} needs a state of shape {shape}, got {_kind(state)}")
            given = given if batched else [state.unsqueeze(0) for state in given]
        new = self._step(x.unsqueeze(0), given)
        new = new if batched else tuple(state.squeeze(0) for state in new)
        return new if self.states > 1 else new[0]

    def _step(self, x: Tensor, states: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The new states (B, H), for an input (1, B, I)."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else ", bias=False")


class RNNCell(_Cell):
    """One step of an `RNN`: h' = tanh(W_ih x + b_ih + W_hh h + b_hh)."""

    gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device, dtype)
        self.nonlinearity = _check_nonlinearity("RNNCell", nonlinearity)

    def _step(self, x: Tensor, states: Sequence[Tensor]) -> tuple[Tensor, ...]:
        w_ih, w_hh, b_ih, b_hh = _weights(self, "")
        x = linear(x, w_ih, None if b_ih is None else b_ih + b_hh)
        _, *new = recurrent.rnn(x, *states, w_hh, nonlinearity=self.nonlinearity)
        return tuple(new)

    def extra_repr(self) -> str:
        kind = "" if self.nonlinearity == "tanh" else f", nonlinearity={self.nonlinearity}"
        return super().extra_repr() + kind


class LSTMCell(_Cell):
    """One step of an `LSTM`: an input and (h, c) -> (h', c')."""

    gates, states = 4, 2

    def _step(self, x: Tensor, states: Sequence[Tensor]) -> tuple[Tensor, ...]:
        w_ih, w_hh, b_ih, b_hh = _weights(self, "")
        x = linear(x, w_ih, None if b_ih is None else b_ih + b_hh)
        _, *new = recurrent.lstm(x, *states, w_hh)
        return tuple(new)


class GRUCell(_Cell):
    """One step of a `GRU`."""

    gates = 3

    def _step(self, x: Tensor, states: Sequence[Tensor]) -> tuple[Tensor, ...]:
        w_ih, w_hh, b_ih, b_hh = _weights(self, "")
        _, *new = recurrent.gru(linear(x, w_ih, b_ih), *states, w_hh, b_hh)
        return tuple(new)


def _add_weights(
    module: Module, gates: int, inputs: int, hidden: int, bias: bool, ending: str
) -> None:
    """Register the weights of one layer and direction, whose names have this `ending`."""
    rows, bound = gates * hidden, 1 / math.sqrt(hidden)
    shapes: dict[str, tuple[int, ...]] = {
        "weight_ih": (rows, inputs), "weight_hh": (rows, hidden), "bias_ih": (rows,),
        "bias_hh": (rows,),
    }  # fmt: skip
    for name, shape in shapes.items():
        weight = None
        if bias or len(shape) == 2:
            values = random.uniform(shape, -bound, bound)
            weight = Parameter(values)
        setattr(module, name + ending, weight)


def _weights(module: Any, ending: str) -> tuple[Any, Any, Any, Any]:
    """w_ih, w_hh, b_ih and b_hh of one layer and direction; the biases may be None."""
    names = "weight_ih", "weight_hh", "bias_ih", "bias_hh"
    w_ih, w_hh, b_ih, b_hh = (getattr(module, name + ending) for name in names)
    return w_ih, w_hh, b_ih, b_hh


def _check_nonlinearity(name: str, value: Any) -> str:
    if value not in ("tanh", "relu"):
        raise ValueError(f'{name}: nonlinearity must be "tanh" or "relu", got {value!r}')
    return str(value)


def _kind(value: Any) -> str:
    """The shape of a tensor, or the type of another value, for messages."""
    return f"a tensor {value.shape}" if isinstance(value, Tensor) else type(value).__name__
