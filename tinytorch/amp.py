"""The names of `torch.amp`: ops compute in the dtype of their tensors, so `autocast` has no effect.

On a GPU, products of float32 tensors use TF32 tensor cores already. For bfloat16, set
``TT_MATMUL=bf16``, see `runtime.fused_blocks`; for float16, which needs scaled losses,
``TT_MATMUL=fp16``.
"""

from contextlib import ContextDecorator
from typing import Any

from .arguments import warn
from .autograd import wrap_array
from .backends import Backend
from .backends.base import LossScaler
from .missing import missing_name
from .ops.update import unscale_gradients
from .tensor import Tensor

__all__ = ["GradScaler", "autocast"]


class autocast(ContextDecorator):  # noqa: N801  PyTorch's name
    """A context without effect: losses are those of training in float32.

    Args:
        device_type, dtype, enabled, cache_enabled: of PyTorch.
    """

    def __init__(
        self,
        device_type: str = "cuda",
        dtype: Any = None,
        enabled: bool = True,
        cache_enabled: bool | None = None,
    ) -> None:
        if enabled:
            warn("autocast has no effect in tinytorch: ops compute in the dtype of their tensors")

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exception: object) -> None:
        pass


class GradScaler:
    """Scales losses where products are computed in float16 (TT_MATMUL=fp16), elsewhere by 1.

    The factor is chosen as by PyTorch: halved after gradients that are not finite, with which
    optimizers make no step, and doubled after 2,000 other steps.

    Args:
        device, options: of PyTorch, without effect.

    >>> from tinytorch import SGD, Linear, ones
    >>> from tinytorch.amp import GradScaler
    >>> model = Linear(3, 1)
    >>> optimizer, scaler = SGD(model.parameters(), lr=0.1), GradScaler()
    >>> scaler.scale(model(ones(4, 3)).mean()).backward()
    >>> scaler.step(optimizer)
    >>> scaler.update()
    """

    def __init__(self, device: Any = "cuda", **options: Any) -> None:
        self._backend: Backend | None = None  # of the losses
        self._scaler: LossScaler | None = None  # if that backend needs one
        # ids of optimizers: with unscaled gradients, and those that made their step, since `update`
        self._unscaled: set[int] = set()
        self._stepped: set[int] = set()
        self._loaded: dict[str, Any] = {}  # a state that is waiting for the scaler

    def scale(self, outputs: Any) -> Any:
        """The loss times the scale."""
        backend = outputs.backend
        if self._backend is not backend:
            self._backend = backend
            self._scaler = backend.loss_scaler() if backend.loss_scaler else None
            if self._scaler is not None:
                self._scaler.load_state_dict(self._loaded)
        if self._scaler is None:
            return outputs
        return outputs * wrap_array(Tensor, self._scaler.scale, backend).to(outputs.dtype)

    def unscale_(self, optimizer: Any) -> None:
        """Divide the gradients of an optimizer's parameters by the scale, to clip them for example.

        Raises:
            RuntimeError: that, or the optimizer's step, has been done since the last `update`.
        """
        if id(optimizer) in self._stepped:
            raise RuntimeError("unscale_() is being called after step()")
        if id(optimizer) in self._unscaled:
            raise RuntimeError("unscale_ was already called on this optimizer since update()")
        self._unscaled.add(id(optimizer))
        if self._scaler is not None:
            unscale_gradients(self._scaler, optimizer.parameters())

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """``optimizer.step()`` with unscaled gradients, unless one is not finite.

        On a GPU, the host waits for that answer, as PyTorch's does.

        Returns:
            what ``optimizer.step()`` returns; None if there was no step.

        Raises:
            RuntimeError: the optimizer has made its step since the last `update`.
        """
        if id(optimizer) in self._stepped:
            raise RuntimeError("step() has already been called since the last update()")
        if id(optimizer) not in self._unscaled:
            self.unscale_(optimizer)
        self._stepped.add(id(optimizer))
        if self._scaler is not None and self._scaler.is_skipping():
            return None
        return optimizer.step(*args, **kwargs)

    def update(self, new_scale: Any = None) -> None:
        """Choose the scale of the next step."""
        self._unscaled.clear()
        self._stepped.clear()
        if self._scaler is not None:
            self._scaler.update()

    def get_scale(self) -> float:
        """The scale; on a GPU, the host waits for it."""
        if self._scaler is None or self._backend is None:
            return 1.0
        return float(self._backend.to_numpy(self._scaler.scale))

    def is_enabled(self) -> bool:
        """Whether losses have been scaled."""
        return self._scaler is not None

    def state_dict(self) -> dict[str, Any]:
        """The scale and how it changes, as PyTorch's; empty if losses have not been scaled."""
        if self._scaler is None:
            return dict(self._loaded)
        return {"growth_factor": 2.0, "backoff_factor": 0.5, "growth_interval": 2000,
                **self._scaler.state_dict()}  # fmt: skip

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue with the scale of a `state_dict`; PyTorch's may be given too.

        Raises:
            ValueError: it has no scale.
        """
        if state_dict and not {"scale", "_growth_tracker"} <= state_dict.keys():
            raise ValueError(
                "this is not the state_dict of a GradScaler: it has no scale and _growth_tracker,"
                f" only {sorted(state_dict)}"
            )
        self._loaded = dict(state_dict)
        if self._scaler is not None:
            self._scaler.load_state_dict(self._loaded)


def __getattr__(name: str) -> Any:
    raise missing_name("torch.amp", name, globals())
