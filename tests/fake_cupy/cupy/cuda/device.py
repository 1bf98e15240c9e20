"""The fake devices; each thread has a current one."""

from . import runtime


class Device:
    def __init__(self, device=None):
        self.id = runtime.getDevice() if device is None else device
        self._before = []

    pci_bus_id = property(lambda self: f"0000:{self.id:02x}:00.0")

    def use(self):
        runtime.setDevice(self.id)

    def __enter__(self):
        self._before.append(runtime.getDevice())
        self.use()
        return self

    def __exit__(self, *exception):
        runtime.setDevice(self._before.pop())

    def __eq__(self, other):
        return isinstance(other, Device) and self.id == other.id

    __hash__ = None


def get_cublas_handle():
    return 4711


def get_compute_capability():
    return runtime.capabilities[runtime.getDevice()]
