"""NumPy's linear algebra for the fake arrays."""

import numpy

import cupy

for _name in ("cholesky", "det", "eigh", "inv", "lstsq", "matrix_power", "norm", "pinv", "qr",
              "solve", "svd"):  # fmt: skip
    globals()[_name] = cupy._wrap_function(getattr(numpy.linalg, _name))
