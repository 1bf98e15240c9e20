def getDevice():
    return 0


def runtimeGetVersion():
    return 13000


def getDeviceProperties(number):
    return {"name": b"stand-in"}
