"""Loss scaling on CUDA, for products of factors in float16; the kernels are in loss_scale.cu.

Float16 has values from 6e-8 to 65,504. Gradients of a mean over many targets are smaller, so they
are computed for a loss times a scale, and divided by it. If the scale is too large, some become
infinite: then the step is skipped, and the scale halved. All of this happens on the device, so that
it can be captured in a graph, and the host does not wait; it learns later how many were skipped.

Source: P. Micikevicius et al., "Mixed Precision Training" (2017); the numbers are PyTorch's.
"""

import warnings
from collections.abc import Mapping, Sequence

import cupy
import numpy as np

from ..base import NativeArray as Array
from ..base import grouped
from .errors import SKIP, error_flag
from .launch import launch
from .layout import contiguous
from .optim import for_chunks

INITIAL_SCALE = 2.0**16
GROWTH_INTERVAL = 2000  # steps without an infinity after which the scale is doubled


def warn_if_unused() -> None:
    """Warn, at an update, that gradients were computed without a scale."""
    if not CupyLossScaler.used:
        warnings.warn(
            "TT_MATMUL=fp16 computes gradients in float16, where small ones are lost unless the"
            " loss is scaled: train with tinytorch.Trainer, or scale it by amp.GradScaler",
            RuntimeWarning,
            stacklevel=2,
        )


class CupyLossScaler:
    """A `LossScaler` whose scale is on the current device.

    Attributes:
        used: whether there has been one in this process.
    """

    used = False

    def __init__(self) -> None:
        CupyLossScaler.used = True
        self._state = cupy.asarray(np.array([INITIAL_SCALE, 0.0, 0.0]))
        self.scale: Array = self._state[0, ...]
        self.skipped: Array = self._state[2, ...]

    def unscale(self, gradients: Sequence[Array]) -> list[Array]:
        """See `LossScaler.unscale`."""
        gradients = [contiguous(g) for g in gradients]
        rows = [(g, g) for g in gradients]
        for dtype, same in grouped(rows, lambda row: row[0].dtype):
            for_chunks("unscale_chunks", same, dtype, self._state, error_flag())
        return gradients

    def is_skipping(self) -> bool:
        """See `LossScaler.is_skipping`."""
        return bool(error_flag()[2].get() == SKIP)

    def update(self) -> None:
        """See `LossScaler.update`."""
        launch(
            "update_loss_scale", np.dtype("float32"), (1,), (1,),
            self._state, error_flag(), GROWTH_INTERVAL,
        )  # fmt: skip

    def take_skipped(self) -> int:
        """See `LossScaler.take_skipped`."""
        skipped = int(self.skipped.get())
        if skipped:
            self.skipped.fill(0)
        return skipped

    def state_dict(self) -> dict[str, float]:
        """See `LossScaler.state_dict`."""
        scale, steps, _ = self._state.get().tolist()
        return {"scale": scale, "_growth_tracker": int(steps)}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """See `LossScaler.load_state_dict`."""
        numbers = state.get("scale", INITIAL_SCALE), state.get("_growth_tracker", 0), 0
        self._state[...] = cupy.asarray(np.array(numbers, np.float64))
