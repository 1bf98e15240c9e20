"""Constant answers of the CUDA runtime: device 0, CUDA 13."""

is_hip = False


def getDevice():
    return 0


def runtimeGetVersion():
    return 13000


def getDeviceProperties(number):
    return {"name": b"fake GPU"}
