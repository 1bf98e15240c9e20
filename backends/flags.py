"""The switches of `torch.backends` that scripts set: accepted, most without effect."""

from types import SimpleNamespace
from typing import Any

from .registry import status

cudnn = SimpleNamespace(
    allow_tf32=False, benchmark=False, deterministic=True, enabled=False,
    is_available=lambda: False, version=lambda: None,
)  # fmt: skip
cuda = SimpleNamespace(
    is_built=lambda: status("cupy") is None,
    matmul=SimpleNamespace(allow_tf32=False, allow_fp16_reduced_precision_reduction=False),
)
mps = SimpleNamespace(is_available=lambda: False, is_built=lambda: False)
mkldnn = SimpleNamespace(enabled=False, is_available=lambda: False)
openmp = SimpleNamespace(is_available=lambda: True)

FLAGS: dict[str, Any] = {
    "cuda": cuda, "cudnn": cudnn, "mkldnn": mkldnn, "mps": mps, "openmp": openmp
}  # fmt: skip
