"""The fake device, with compute capability 9.0."""


class Device:
    def __init__(self, number=None):
        self.id = 0

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def __eq__(self, other):
        return isinstance(other, Device)

    __hash__ = None


def get_cublas_handle():
    return 4711


def get_compute_capability():
    return "90"
