"""NumPy without kernels: every op runs its readable reference, the code that a student writes."""

from .numpy.backend import NumpyBackend


class ReferenceBackend(NumpyBackend):
    """NumPy with no kernels, composite kernels, multi-tensor updates or fused decode step.

    It computes the same as `NumpyBackend` up to rounding, but slower. Tests compare kernels with
    it, and ``TT_BACKEND=reference`` trains with the lessons' own code.
    """

    name = "reference"

    def __init__(self) -> None:
        super().__init__()
        self.kernels, self.updates = {}, {}
        self.decode_step = None
