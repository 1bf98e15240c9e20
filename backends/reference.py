"""NumPy without kernels: every op runs its readable reference, the code that a student writes."""

from .numpy.backend import NumpyBackend


class ReferenceBackend(NumpyBackend):
    """NumPy with no kernels, composite kernels, multi-tensor updates or fused decode step.

    It is slower than `NumpyBackend` and computes the same up to rounding: what kernels are
    compared with, and what trains on the lessons' own code with ``TT_BACKEND=reference``.
    """

    name = "reference"

    def __init__(self) -> None:
        super().__init__()
        self.kernels, self.updates = {}, {}
        self.decode_step = None
