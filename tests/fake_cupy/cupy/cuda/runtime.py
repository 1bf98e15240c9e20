"""Constant answers of the CUDA runtime: device 0, CUDA 13."""


def getDevice():
    return 0


def runtimeGetVersion():
    return 13000


"""Constant answers of the CUDA runtime: device 0, CUDA 13."""


def getDeviceProperties(number):
    return {"name": b"fake GPU"}
