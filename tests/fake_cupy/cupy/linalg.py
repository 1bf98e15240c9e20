"""NumPy's linear algebra for the fake arrays."""

import numpy

import cupy


def _plain(name):
    """NumPy's function; a plain tuple instead of a named one."""
    function = getattr(numpy.linalg, name)

    def call(*arguments, **keywords):
        result = function(*arguments, **keywords)
        return tuple(result) if isinstance(result, tuple) else result

    call.__name__ = name
    return call


for _name in ("cholesky", "det", "eigh", "inv", "lstsq", "matrix_power", "norm", "pinv", "qr",
              "slogdet", "solve", "svd"):  # fmt: skip
    globals()[_name] = cupy._wrap_function(_plain(_name))
