"""Decoding on CUDA: one graph of a decode step and its sampling, launched once for each token.

All that changes from token to token is on the device, and the kernels move it on: the position, the
number of tokens sampled so far, the ids, and the caches. So the host launches the same graph again
and again, and waits only to read the tokens.
"""

from collections.abc import Sequence

import cupy
import numpy as np

from .. import trace
from ..base import BackendError, NumpyArray
from ..base import NativeArray as Array
from ..decode_step import Choice
from .decode_step import CupyDecodeStep
from .devices import prepare_thread
from .errors import raise_pending_error
from .graph import CapturedGraph, CapturePlace
from .launch import launch
from .sampling import launch_sampling

FIRST_CAPTURE = 2  # number of the step that is captured, if memory suffices
PATIENCE = 32  # after a capture that failed, the next is tried after so many times the steps


class CupyDecoder:
    """A `Decoder` for the arrays that a step and its caches hold.

    Args:
        step: the fused step.
        caches: keys and values (B, nh, limit, hs) of each block.
        choice: the settings of the sampling.
    """

    capacity = 32  # tokens of each text between two reads

    def __init__(
        self, step: CupyDecodeStep, caches: Sequence[tuple[Array, Array]], choice: Choice
    ) -> None:
        self._step, self._caches, self._choice = step, caches, choice
        B = len(caches[0][0])
        # One array, so that one copy fills it: position and step, ids (B,), uniforms.
        self._inputs = cupy.zeros(2 + B + self.capacity * B, cupy.int64)
        self._state, self._ids = self._inputs[:2], self._inputs[2 : 2 + B]
        self._uniforms = self._inputs[2 + B :].view(cupy.float64)
        self._tokens = cupy.zeros((self.capacity, B), cupy.int64)
        self._steps, self._next_capture = 0, FIRST_CAPTURE
        self._graph: CapturedGraph | None = None

    def write(
        self, ids: NumpyArray, position: int, count: int, uniforms: NumpyArray | None
    ) -> NumpyArray:
        """See `Decoder.write`; `count` is at most `capacity`."""
        prepare_thread()
        numbers = np.zeros(count * len(ids)) if uniforms is None else np.ravel(uniforms)
        inputs = np.concatenate([[position, 0], ids, numbers.view(np.int64)])
        self._inputs[: len(inputs)] = cupy.asarray(inputs)
        for _ in range(count):
            self._launch_step()
        tokens: NumpyArray = self._tokens[:count].get()
        raise_pending_error()
        return tokens

    def _launch_step(self) -> None:
        """One step: the first by its kernels, which compiles them, later ones by a graph if it can
        be captured."""
        self._steps += 1
        if self._steps == self._next_capture:
            self._graph = self._capture()
        if self._graph is None:
            self._run_step()
        else:
            self._graph.launch()

    def _capture(self) -> CapturedGraph | None:
        """A graph of the step; None if that fails, and later steps are to try again."""
        try:
            graph = CapturedGraph(self._run_step, (), CapturePlace())
        except MemoryError:
            why = "too little memory for a graph"
        except BackendError as error:
            why = str(error)
        else:
            trace.count("decode graph", "cupy", "captured")
            return graph
        trace.fallback("decode graph", why, "cupy")
        self._next_capture *= PATIENCE
        return None

    def _run_step(self) -> Array:
        """Sample the next tokens from the logits, and advance the state."""
        logits = self._step.logits(self._ids, self._caches, self._state)  # (B, V)
        uniforms = self._uniforms if self._choice.temperature else None
        launch_sampling(logits, uniforms, self._state, self._tokens, self._ids, *self._choice)
        launch("decode_advance", logits.dtype, (1,), (1,), self._state)
        return self._tokens
