"""Lesson 03: Parameter, a tensor that a module trains."""

from typing import Any

from ..backends import Backend
from ..tensor import Tensor


class Parameter(Tensor):
    """A trainable tensor; assigning it to an attribute of a module registers it there."""

    __slots__ = ()

    def __init__(
        self,
        data: Any = (),
        requires_grad: bool = True,
        *,
        dtype: Any = None,
        device: Any = None,
        backend: str | Backend | None = None,
    ) -> None:
        super().__init__(data, requires_grad, dtype=dtype, device=device, backend=backend)
