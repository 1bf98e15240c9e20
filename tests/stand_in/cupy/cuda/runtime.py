def getDevice():
    return 0


def getDeviceProperties(number):
    return {"name": b"stand-in"}
