"""Precision modes: what each one is in TinyTorch and in PyTorch."""

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

from tinytorch.backends.base import BackendError

from . import torch_side


class Mode(NamedTuple):
    """A precision of both sides.

    Attributes:
        name: the value of ``TT_MATMUL``.
        tf32: whether PyTorch rounds float32 products to TF32.
        autocast: PyTorch's dtype of activations and products under autocast; None without.
    """

    name: str
    tf32: bool = True
    autocast: str | None = None

    def torch_context(self) -> AbstractContextManager[Any]:
        """The context of PyTorch's forward pass."""
        if self.autocast is None:
            return nullcontext()
        torch = torch_side.module()
        return torch.autocast(torch_side.DEVICE, getattr(torch, self.autocast))  # type: ignore[no-any-return]


MODES = {
    mode.name: mode
    for mode in (
        Mode("tf32"),
        Mode("bf16", autocast="bfloat16"),
        Mode("fp16", autocast="float16"),  # for GPUs before Ampere
        Mode("fp32", tf32=False),
    )
}


def is_supported(mode: Mode) -> bool:
    """Whether TinyTorch has the mode, and the current GPU tensor cores for it if it needs them."""
    from tinytorch.backends.cupy import gemm

    known = mode.name in gemm.COMPUTE_TYPES
    return known and gemm.supported_mode(mode.name) == mode.name


def supported_modes(names: Iterable[str]) -> list[Mode]:
    """The modes that the GPU supports; prints the others. If none is, fp16 and fp32, for a T4."""
    found = []
    for name in names:
        if is_supported(MODES[name]):
            found.append(MODES[name])
        else:
            print(f"{name} is not measured: this GPU has no tensor cores for it")
    return found or [MODES[name] for name in ("fp16", "fp32") if is_supported(MODES[name])]


def default_mode() -> Mode:
    """tf32 if the GPU supports it, else fp32."""
    return MODES["tf32"] if is_supported(MODES["tf32"]) else MODES["fp32"]


def set_mode(mode: Mode) -> None:
    """Set the precision of float32 products in TinyTorch and PyTorch.

    Raises:
        BackendError: the GPU does not support it; kernels for tensor cores would compute nothing.
    """
    from tinytorch.backends.cupy import gemm

    if not is_supported(mode):
        raise BackendError(f"this GPU has no tensor cores for {mode.name}")
    gemm.matmul_mode = lambda: mode.name  # type: ignore[assignment]
    if torch := torch_side.module():
        torch.backends.cuda.matmul.allow_tf32 = mode.tf32
        torch.backends.cudnn.allow_tf32 = mode.tf32
