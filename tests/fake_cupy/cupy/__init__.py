"""A stand-in for CuPy on machines without a GPU: its names and its strictness, NumPy's results.

An array is not NumPy's: it cannot be mixed with one, and NumPy cannot read it. Every read of a
value by the host is counted, and refused within `no_host_reads()`, as on a GPU it would wait.
Fresh memory holds no numbers. RawModule compiles CUDA sources for the CPU and runs them. While a
stream is captured nothing is written to memory, but to what is new; a graph does it all.

It stands in the way of the real CuPy only where tests/ puts it on the path.
"""

import builtins
import contextlib
import ctypes
import weakref

import numpy
from numpy import (
    bool_,
    complex64,
    complex128,
    complexfloating,
    dtype,
    e,
    finfo,
    float16,
    float32,
    float64,
    floating,
    iinfo,
    inf,
    int8,
    int16,
    int32,
    int64,
    integer,
    intp,
    isdtype,
    issubdtype,
    nan,
    newaxis,
    pi,
    signedinteger,
    uint8,
    uint16,
    uint32,
    uint64,
    unsignedinteger,
)  # fmt: skip

__version__ = "stand-in"
captured = None  # while a stream is captured: functions that do what its graph will do
allocator = None  # MemoryPool.malloc of whoever asked for another pool
host_reads = 0  # how often the host has waited for a value
_forbidden = False
_allocated = {}  # address -> the array that owns the memory


@contextlib.contextmanager
def no_host_reads():
    """Within it the host may not wait for the device."""
    global _forbidden
    _forbidden = True
    try:
        yield
    finally:
        _forbidden = False


def _host_read(what):
    global host_reads
    host_reads += 1
    if _forbidden:
        raise AssertionError(f"{what} waits for the device")
    if captured is not None:
        raise RuntimeError(f"cudaErrorStreamCaptureUnsupported: {what}")


def do(work):
    """Now, or when the graph that is captured is launched."""
    if captured is None:
        work()
    else:
        captured.append(work)


def _remade(result, function):
    """`result`, new and in memory of its own, which a graph will make anew by `function`."""
    if captured is not None:
        host = result._host
        captured.append(lambda: host.__setitem__(..., function()))
    return result


def is_available():
    return True


class Address:
    """MemoryPointer: where an array's elements begin; `mem` is the memory as it was allocated."""

    def __init__(self, ptr, mem=None):
        self.ptr, self.mem = ptr, mem


class ndarray:
    __slots__ = ("__weakref__", "_host", "base")
    __array_priority__ = 100
    __array_ufunc__ = None

    def __init__(self, host, base=None):
        if base is None and allocator is not None:
            host = allocator.array(host)
        self._host, self.base = host, base
        if base is None:
            address = _address(host)
            _allocated[address] = weakref.ref(self, lambda _, at=address: _allocated.pop(at, None))

    def __array__(self, *arguments, **keywords):
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Use .get()")

    def __dlpack__(self, **keywords):
        return self._host.__dlpack__()

    def __dlpack_device__(self):
        return self._host.__dlpack_device__()

    shape = property(lambda self: self._host.shape)
    dtype = property(lambda self: self._host.dtype)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    strides = property(lambda self: self._host.strides)
    nbytes = property(lambda self: self._host.nbytes)
    itemsize = property(lambda self: self._host.itemsize)
    flags = property(lambda self: self._host.flags)
    T = property(lambda self: self.transpose())
    device = property(lambda self: cuda.Device(0))

    @property
    def data(self):
        owner = self if self.base is None else self.base
        return Address(_address(self._host), Address(_address(owner._host)))

    def __len__(self):
        return len(self._host)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __getitem__(self, key):
        key = _open(key)
        parts = key if isinstance(key, tuple) else (key,)
        if builtins.all(part is None or isinstance(part, int | slice) for part in parts):
            key = (*parts, ...)  # a view without axes, where NumPy makes a scalar
        return _close(self._host[key], self)

    def __setitem__(self, key, value):
        key, value = _open(key), _open(value)
        do(lambda: self._host.__setitem__(key, value))

    def __repr__(self):
        return f"stand-in {self._host!r}"

    def bytes(self):
        """What the memory holds, from the first element of a view to its last, for tests."""
        if self._host.flags.c_contiguous:
            return self._host.tobytes()
        steps = ((n - 1) * stride for n, stride in zip(self.shape, self.strides, strict=True))
        return ctypes.string_at(_address(self._host), builtins.sum(steps) + self.itemsize)

    def get(self):
        _host_read("get")
        return self._host.copy()

    def item(self):
        _host_read("item")
        return self._host.item()

    def tolist(self):
        _host_read("tolist")
        return self._host.tolist()

    __hash__ = None


def _address(host):
    return host.__array_interface__["data"][0]


def _open(value):
    """NumPy's arrays behind ours; a bare one of NumPy's is as unwelcome as on a GPU."""
    if isinstance(value, ndarray):
        return value._host
    if isinstance(value, numpy.ndarray):
        raise TypeError(f"Unsupported type {type(value)}")
    if isinstance(value, tuple | list):
        return type(value)(_open(v) for v in value)
    return value


def _close(value, *sources):
    """Results as our arrays; views know whose memory they show."""
    if isinstance(value, tuple | list) and not hasattr(value, "_fields"):
        return type(value)(_close(v, *sources) for v in value)
    if not isinstance(value, numpy.ndarray | numpy.generic):
        return value
    host = numpy.asarray(value)
    for source in sources:
        if host is source._host:
            return source
        if numpy.may_share_memory(host, source._host) and host.size:
            return ndarray(host, source if source.base is None else source.base)
    return ndarray(host.copy() if host.base is not None else host)


def _sources(arguments):
    for value in arguments:
        if isinstance(value, ndarray):
            yield value
        elif isinstance(value, tuple | list):
            yield from _sources(value)


def _result(function, sources):
    """What `function` of NumPy's arrays returns, as ours."""

    def quietly():
        with numpy.errstate(all="ignore"):  # a GPU does not warn
            return function()

    result = _close(quietly(), *sources)
    if isinstance(result, tuple | list) and captured is not None:
        raise NotImplementedError("several results while a stream is captured")
    is_new = isinstance(result, ndarray) and result.base is None
    if is_new and not builtins.any(result is source for source in sources):
        _remade(result, quietly)
    return result


def _lifted(function):
    """NumPy's function on our arrays."""

    def call(*arguments, **keywords):
        sources = [*_sources(arguments), *_sources(keywords.values())]
        opened_arguments = [_open(value) for value in arguments]
        opened = {name: _open(value) for name, value in keywords.items()}
        return _result(lambda: function(*opened_arguments, **opened), sources)

    call.__name__ = function.__name__
    return call


METHODS = """all any argmax argmin astype copy max mean min ravel reshape squeeze sum swapaxes take
    transpose view fill""".split()
OPERATORS = """add radd sub rsub mul rmul truediv rtruediv floordiv rfloordiv mod pow rpow matmul
    rmatmul neg pos abs invert and rand or ror xor rxor lshift rlshift rshift rrshift
    eq ne lt le gt ge""".split()
IN_PLACE = "iadd isub imul itruediv ipow iand ior".split()
READS = "float int bool complex".split()


def _method(name):
    function = getattr(numpy.ndarray, name)

    def method(self, *arguments, **keywords):
        given = [*_sources(arguments), *_sources(keywords.values())]
        opened = {key: _open(value) for key, value in keywords.items()}
        values = [_open(value) for value in arguments]
        if name == "fill":
            return do(lambda: self._host.fill(*values))
        return _result(lambda: function(self._host, *values, **opened), [self, *given])

    method.__name__ = name
    return method


def _in_place(name):
    function = getattr(numpy.ndarray, name)

    def method(self, other):
        value = _open(other)

        def work():
            with numpy.errstate(all="ignore"):
                function(self._host, value)

        do(work)
        return self

    return method


def _read(name):
    function = getattr(numpy.ndarray, name)

    def read(self):
        _host_read(name)
        return function(self._host)

    return read


for _name in METHODS:
    setattr(ndarray, _name, _method(_name))
for _name in OPERATORS:
    setattr(ndarray, f"__{_name}__", _method(f"__{_name}__"))
for _name in IN_PLACE:
    setattr(ndarray, f"__{_name}__", _in_place(f"__{_name}__"))
for _name in READS:
    setattr(ndarray, f"__{_name}__", _read(f"__{_name}__"))

FUNCTIONS = """
    abs absolute add all any arange arccos arccosh arcsin arcsinh arctan arctan2 arctanh argmax
    argmin argsort argwhere bitwise_and bitwise_or bitwise_xor broadcast_arrays broadcast_to ceil
    clip concatenate copysign cos cosh count_nonzero cumprod cumsum diff divide equal exp
    expand_dims expm1 eye flip floor floor_divide full full_like greater greater_equal hypot invert
    isfinite isin isinf isnan left_shift less less_equal linspace log log10 log1p log2 logaddexp
    logical_and logical_not logical_or logical_xor matmul maximum max mean meshgrid minimum min
    moveaxis multiply negative nextafter nonzero not_equal ones ones_like pad permute_dims positive
    power prod reciprocal remainder repeat reshape result_type right_shift roll round searchsorted
    sign signbit sin sinh sort sqrt square squeeze stack std subtract sum swapaxes take
    take_along_axis tan tanh tensordot tile trace transpose tril triu true_divide trunc unique var
    where zeros zeros_like can_cast outer vdot dot matrix_transpose concat
""".split()

for _name in FUNCTIONS:
    globals()[_name] = _lifted(getattr(numpy, _name))


def _fresh(host):
    """Memory in which nothing was written yet: no numbers, or absurd ones."""
    if host.dtype.kind == "f":
        host.fill(numpy.nan)
    elif host.dtype.kind in "iu":
        host.fill(numpy.iinfo(host.dtype).max // 3)
    return ndarray(host)


def empty(shape, dtype=float, order="C"):
    return _fresh(numpy.empty(shape, dtype, order))


def empty_like(x, dtype=None):
    return _fresh(numpy.empty_like(_open(x), dtype=dtype))


def array(obj, dtype=None, copy=True, order="K", *, blocking=False):
    host = obj._host if isinstance(obj, ndarray) else obj
    if copy is False:
        return asarray(obj, dtype)
    if captured is not None and not isinstance(obj, ndarray):
        raise RuntimeError("a copy from the host while a stream is captured")

    def copied():
        return numpy.array(host, dtype=dtype, copy=True, order=order)

    return _remade(ndarray(copied()), copied)


def asarray(a, dtype=None, order=None, *, copy=None, blocking=False):
    if isinstance(a, ndarray) and not copy and dtype in (None, a.dtype):
        return a
    return array(a, dtype)


def ascontiguousarray(a, dtype=None):
    if a.flags.c_contiguous and dtype in (None, a.dtype):
        return a
    return array(a, dtype, order="C")


def asnumpy(a, *, blocking=True):
    return a.get()


def astype(x, dtype, copy=True):
    return x.astype(dtype, copy=copy)


def put_along_axis(x, indices, values, axis):
    x, indices, values = _open(x), _open(indices), _open(values)
    do(lambda: numpy.put_along_axis(x, indices, values, axis))


def shares_memory(x, y):
    return numpy.shares_memory(_open(x), _open(y))


def from_dlpack(source):
    return ndarray(numpy.from_dlpack(source))


class _Add:
    """cupy.add, which also adds at indices that repeat."""

    def __call__(self, x, y):
        return _lifted(numpy.add)(x, y)

    @staticmethod
    def at(x, key, values):
        x, key, values = _open(x), _open(key), _open(values)
        do(lambda: numpy.add.at(x, key, values))


add = _Add()


def get_default_memory_pool():
    return cuda.DEFAULT_POOL


def check_allocated(address, size):
    """Raise unless the memory is part of a live array, or of a pool."""
    if cuda.in_a_pool(address, size):
        return
    for start, reference in list(_allocated.items()):
        owner = reference()
        if owner is not None and start <= address and address + size <= start + owner.nbytes:
            return
    raise AssertionError(f"{size} bytes at {address:#x} are in no array")


from . import cuda, fft, linalg  # noqa: E402
from .kernels import RawModule  # noqa: E402

__all__ = [
    n for n in globals() if not n.startswith("_") and n not in ("numpy", "contextlib", "weakref")
]
