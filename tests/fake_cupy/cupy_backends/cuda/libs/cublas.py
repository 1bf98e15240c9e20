"""cuBLAS products computed by NumPy from addresses and leading dimensions."""

import ctypes

import cupy
import numpy as np

DTYPES = {0: np.dtype(np.float32), 1: np.dtype(np.float64), 14: np.dtype(np.uint16)}
BFLOAT16 = 14
# Compute type -> dtype of operands and sums, bits of mantissa to which operands are rounded; 16 for
# float16, which has a smaller range too.
COMPUTE = {68: (np.float32, 23), 75: (np.float32, 7), 77: (np.float32, 10), 70: (np.float64, 52),
           74: (np.float32, 16)}  # fmt: skip


def rounded(x, bits):
    """x rounded to `bits` bits of mantissa, to nearest."""
    if x.dtype != np.float32 or bits == 23:
        return x
    if bits == 16:
        return x.astype(np.float16).astype(np.float32)
    drop = 23 - bits
    words = np.ascontiguousarray(x).view(np.uint32)
    half, mask = np.uint32(1 << (drop - 1)), np.uint32(~((1 << drop) - 1) & 0xFFFFFFFF)
    return ((words + half) & mask).view(np.float32)


def from_bf16(x):
    """The numbers whose upper 16 bits are x."""
    return (x.astype(np.uint32) << 16).view(np.float32)


def to_bf16(x):
    """The upper 16 bits of x, rounded to nearest, ties to even; NaN stays NaN."""
    words = np.ascontiguousarray(x, np.float32).view(np.uint32)
    rounded = (words + 0x7FFF + (words >> 16 & 1)) >> 16
    return np.where(np.isnan(x), 0x7FFF, rounded).astype(np.uint16)


def matrices(address, dtype, rows, columns, leading, stride, count):
    """View of column-major matrices (count, rows, columns) in allocated memory."""
    assert leading >= max(1, rows), f"leading dimension {leading} below {rows} rows"
    size = dtype.itemsize
    last = (count - 1) * stride + (columns - 1) * leading + rows
    cupy.check_allocated(address, last * size)
    flat = np.frombuffer((ctypes.c_char * (last * size)).from_address(address), dtype)
    return np.lib.stride_tricks.as_strided(
        flat, (count, rows, columns), (stride * size, size, leading * size)
    )


def _products(
    handle, transa, transb, m, n, k, alpha, A, Atype, lda, strideA, B, Btype, ldb, strideB,
    beta, C, Ctype, ldc, strideC, batchCount, computeType, algo,
):  # fmt: skip
    assert algo == -1
    assert Atype == Btype
    assert Ctype == Atype or (Atype == BFLOAT16 and Ctype == 0)
    assert Atype != BFLOAT16 or computeType == 68
    assert all(type(v) is int for v in (m, n, k, lda, ldb, ldc, strideA, strideB, strideC))
    dtype, out_dtype = DTYPES[Atype], DTYPES[Ctype]
    kind, bits = COMPUTE[computeType]
    assert kind == (np.float32 if Atype == BFLOAT16 else dtype)
    ctype = ctypes.c_float if kind == np.float32 else ctypes.c_double
    alpha, beta = (kind(ctype.from_address(at).value) for at in (alpha, beta))

    def work():
        a = matrices(A, dtype, *((m, k) if transa == 0 else (k, m)), lda, strideA, batchCount)
        b = matrices(B, dtype, *((k, n) if transb == 0 else (n, k)), ldb, strideB, batchCount)
        c = matrices(C, out_dtype, m, n, ldc, strideC, batchCount)
        a = a if transa == 0 else a.swapaxes(1, 2)
        b = b if transb == 0 else b.swapaxes(1, 2)
        if Atype == BFLOAT16:
            a, b = from_bf16(a), from_bf16(b)
        with np.errstate(all="ignore"):  # a GPU does not warn
            y = alpha * np.matmul(rounded(a, bits), rounded(b, bits))
            y = y if beta == 0 else y + beta * (from_bf16(c) if Ctype == BFLOAT16 else c)
        c[...] = to_bf16(y) if Ctype == BFLOAT16 else y

    cupy.enqueue(work)


class Library:
    """The library as ctypes loads it: a `Function` for each symbol, to which the caller assigns
    argument types. Products need the current stream, and a workspace."""

    def __init__(self):
        self.streams = {}  # handle -> its stream
        self.workspace = {}  # handle -> size of its workspace
        self.workspaces = set()  # sizes of all workspaces with which products were computed
        for name in vars(Library):
            if not name.startswith("_"):
                setattr(self, f"cublas{name}", Function(getattr(self, name)))

    def Create_v2(self, place):
        assert cupy.captured is None, "cublasCreate allocates memory"
        handle = 4711 + len(self.streams)
        self.streams[handle] = self.workspace[handle] = 0
        ctypes.c_void_p.from_address(place).value = handle

    def Destroy_v2(self, handle):
        self.streams[handle] = None

    def SetStream_v2(self, handle, stream):
        self.streams[handle], self.workspace[handle] = stream, 0

    def SetWorkspace_v2(self, handle, address, size):
        cupy.check_allocated(address, size)
        self.workspace[handle] = size

    def GemmEx(self, *arguments):
        (*head, A, Atype, lda, B, Btype, ldb, beta, C, Ctype, ldc, compute, algo) = arguments
        self.GemmStridedBatchedEx(
            *head, A, Atype, lda, 0, B, Btype, ldb, 0, beta, C, Ctype, ldc, 0, 1, compute, algo
        )

    def GemmStridedBatchedEx(self, *arguments):
        handle = arguments[0]
        assert self.streams[handle] == cupy.cuda.get_current_stream().ptr
        assert self.workspace[handle], "cuBLAS would allocate while a stream is captured"
        self.workspaces.add(self.workspace[handle])
        _products(*arguments)


class Function:
    """A foreign function: converts its arguments to `argtypes`, returns status 0."""

    def __init__(self, work):
        self._work, self.argtypes, self.restype = work, None, None

    def __call__(self, *arguments):
        given = [kind(value).value for kind, value in zip(self.argtypes, arguments, strict=True)]
        self._work(*(0 if value is None else value for value in given))
        return 0
