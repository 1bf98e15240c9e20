"""The names of `torch.amp`, without effect: ops compute in the dtype of their tensors.

On a GPU, products of float32 tensors use TF32 tensor cores already. For bfloat16, set
``TT_MATMUL=bf16``, see `runtime.mixed_precision`.
"""

from contextlib import ContextDecorator
from typing import Any

from .arguments import warn
from .missing import missing_name

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
    """Scales losses by 1: without float16, gradients need no scaling.

    Args:
        device, options: of PyTorch.
    """

    def __init__(self, device: Any = "cuda", **options: Any) -> None:
        pass

    def scale(self, outputs: Any) -> Any:
        """The loss itself."""
        return outputs

    def unscale_(self, optimizer: Any) -> None:
        """Without effect."""

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """The same as ``optimizer.step()``."""
        return optimizer.step(*args, **kwargs)

    def update(self, new_scale: Any = None) -> None:
        """Without effect."""

    def get_scale(self) -> float:
        """1.0."""
        return 1.0

    def is_enabled(self) -> bool:
        """False."""
        return False

    def state_dict(self) -> dict[str, Any]:
        """An empty dict."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Without effect."""


def __getattr__(name: str) -> Any:
    raise missing_name("torch.amp", name, globals())
