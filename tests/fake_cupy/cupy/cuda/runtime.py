"""The CUDA runtime: devices with some compute capabilities, by default one; CUDA 13."""

import threading

is_hip = False
capabilities = ["90"]  # of each device


class _Thread(threading.local):
    device = 0


_thread = _Thread()


def getDevice():
    return _thread.device


def setDevice(device):
    if not 0 <= device < len(capabilities):
        raise RuntimeError("cudaErrorInvalidDevice: invalid device ordinal")
    _thread.device = device


def getDeviceCount():
    return len(capabilities)


def runtimeGetVersion():
    return 13000


def getDeviceProperties(number):
    return {"name": b"fake GPU"}
