"""A fake CuPy for machines without a GPU: CuPy's names and restrictions, results by NumPy.

- Arrays are a class of their own: they cannot be mixed with NumPy's, and NumPy cannot read them.
- `no_host_reads()` forbids reads of values by the host, which would wait for a real GPU.
- Uninitialised memory is filled with NaN or large integers.
- RawModule compiles CUDA sources for the CPU, see `kernels`.
- Arrays of a device other than the current one are not accepted.
- During stream capture, operations write only to new arrays; launching the graph repeats them.
- Streams other than the current one do their work as late as they may, see `cuda.Stream`.

It shadows the real CuPy only where tests/ puts this folder on the path.
"""

import builtins
import contextlib
import ctypes
import functools
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

__version__ = "fake"
captured = None  # during stream capture: the list of functions that the graph will call
allocator = None  # the current `cuda._Allocator`; None for the default pool
works = 0  # how much the current streams have been given to do
_host_reads_forbidden = False
_allocated = {}  # address -> weak reference to the array that owns the memory


@contextlib.contextmanager
def no_host_reads():
    """A context in which an operation that waits for the device raises AssertionError."""
    global _host_reads_forbidden
    _host_reads_forbidden = True
    try:
        yield
    finally:
        _host_reads_forbidden = False


def _host_read(what):
    """Report a wait for the device; every operation that waits calls this."""
    if _host_reads_forbidden:
        raise AssertionError(f"{what} waits for the device")
    if captured is not None:
        raise RuntimeError(f"cudaErrorStreamCaptureUnsupported: {what}")


def enqueue(work):
    """Call ``work()`` now, or during stream capture at each launch of the graph."""
    global works
    works += 1
    if captured is None:
        work()
    else:
        captured.append(work)


def _recomputed(result, function):
    """Return `result`, a new array; during capture, let the graph write ``function()`` to it."""
    global works
    works += 1
    if captured is not None:
        host = result._host
        captured.append(lambda: host.__setitem__(..., function()))
    return result


def is_available():
    return True


class MemoryPointer:
    """The address of an array's first element; `mem` is the allocation that contains it."""

    def __init__(self, ptr, mem=None):
        self.ptr, self.mem = ptr, mem


class ndarray:
    __slots__ = ("__weakref__", "_device", "_host", "base")
    __array_priority__ = 100
    __array_ufunc__ = None

    def __init__(self, host, base=None):
        if base is None and allocator is not None:
            host = allocator.array(host)
        self._host, self.base = host, base
        self._device = cuda.runtime.getDevice() if base is None else base._device
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
    device = property(lambda self: cuda.Device(self._device))

    @property
    def data(self):
        owner = self if self.base is None else self.base
        return MemoryPointer(_address(self._host), MemoryPointer(_address(owner._host)))

    def __len__(self):
        return len(self._host)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __getitem__(self, key):
        key = _wrap_around(_unwrap(key), self.shape)
        parts = key if isinstance(key, tuple) else (key,)
        if builtins.all(part is None or isinstance(part, int | slice) for part in parts):
            key = (*parts, ...)  # a 0-d view, where NumPy would return a scalar
        return _wrap(self._host[key], self)

    def __setitem__(self, key, value):
        check_device(self, *_sources([key, value]))
        key, value = _wrap_around(_unwrap(key), self.shape), _unwrap(value)
        enqueue(lambda: self._host.__setitem__(key, value))

    def __repr__(self):
        return f"fake {self._host!r}"

    def bytes(self):
        """The memory from the first element of a view to its last, for tests."""
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


def _wrap_around(key, shape):
    """A key whose arrays of indices are within the axes: in CuPy they wrap around."""
    parts = key if isinstance(key, tuple) else (key,)
    if not builtins.any(isinstance(part, numpy.ndarray) for part in parts):
        return key
    axes = [_axes(part) for part in parts]
    inside, axis = [], 0
    for i, part in enumerate(parts):
        if part is ...:
            axis = len(shape) - builtins.sum(axes[i:])
        is_ids = isinstance(part, numpy.ndarray) and part.dtype != bool_
        inside.append(part % shape[axis] if is_ids and shape[axis] else part)
        axis += axes[i]
    return tuple(inside)


def _axes(part):
    """The number of axes that a part of a key selects from."""
    if part is None or part is ...:
        return 0
    return part.ndim if getattr(part, "dtype", None) == bool_ else 1


def _unwrap(value):
    """Replace our arrays in `value` by NumPy's; one of NumPy's is an error, as in CuPy."""
    if isinstance(value, ndarray):
        return value._host
    if isinstance(value, numpy.ndarray):
        raise TypeError(f"Unsupported type {type(value)}")
    if isinstance(value, tuple | list):
        return type(value)(_unwrap(v) for v in value)
    return value


def _wrap(value, *sources):
    """Replace NumPy's arrays in `value` by ours; views of `sources` get a base, as in CuPy."""
    if isinstance(value, tuple | list) and not hasattr(value, "_fields"):
        return type(value)(_wrap(v, *sources) for v in value)
    if not isinstance(value, numpy.ndarray | numpy.generic):
        return value
    host = numpy.asarray(value)
    for source in sources:
        if host is source._host:
            return source
        if numpy.may_share_memory(host, source._host) and host.size:
            return ndarray(host, source if source.base is None else source.base)
    return ndarray(host.copy() if host.base is not None else host)


def check_device(*arrays):
    """Raise ValueError unless the arrays are on the current device."""
    current = cuda.runtime.getDevice()
    for array in arrays:
        if array._device != current:
            raise ValueError(
                f"Array device must be same as the current device: array device = {array._device}"
                f" while current = {current}"
            )


def _sources(arguments):
    for value in arguments:
        if isinstance(value, ndarray):
            yield value
        elif isinstance(value, tuple | list):
            yield from _sources(value)


def _result(function, sources):
    """The result of `function`, which computes with NumPy's arrays, as our arrays."""
    check_device(*sources)

    def quietly():
        with numpy.errstate(all="ignore"):  # a GPU does not warn
            return function()

    result = _wrap(quietly(), *sources)
    if isinstance(result, tuple | list) and captured is not None:
        raise NotImplementedError("several results while a stream is captured")
    is_new = isinstance(result, ndarray) and result.base is None
    if is_new and not builtins.any(result is source for source in sources):
        _recomputed(result, quietly)
    return result


def _wrap_function(function):
    """NumPy's `function` for our arrays."""

    def call(*arguments, **keywords):
        sources = [*_sources(arguments), *_sources(keywords.values())]
        unwrapped_arguments = [_unwrap(value) for value in arguments]
        unwrapped = {name: _unwrap(value) for name, value in keywords.items()}
        return _result(lambda: function(*unwrapped_arguments, **unwrapped), sources)

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
        unwrapped = {key: _unwrap(value) for key, value in keywords.items()}
        values = [_unwrap(value) for value in arguments]
        if name == "fill":
            return enqueue(lambda: self._host.fill(*values))
        return _result(lambda: function(self._host, *values, **unwrapped), [self, *given])

    method.__name__ = name
    return method


def _in_place(name):
    function = getattr(numpy.ndarray, name)

    def method(self, other):
        check_device(self, *_sources([other]))
        value = _unwrap(other)

        def work():
            with numpy.errstate(all="ignore"):
                function(self._host, value)

        enqueue(work)
        return self

    return method


def _take(self, take, indices, axis):
    return take(self, indices % builtins.max(1, self.shape[axis]), axis=axis)  # wraps around


def _read(name):
    function = getattr(numpy.ndarray, name)

    def read(self):
        _host_read(name)
        return function(self._host)

    return read


for _name in METHODS:
    setattr(ndarray, _name, _method(_name))
ndarray.take = functools.partialmethod(_take, ndarray.take)
for _name in OPERATORS:
    setattr(ndarray, f"__{_name}__", _method(f"__{_name}__"))
for _name in IN_PLACE:
    setattr(ndarray, f"__{_name}__", _in_place(f"__{_name}__"))
for _name in READS:
    setattr(ndarray, f"__{_name}__", _read(f"__{_name}__"))

FUNCTIONS = """
    abs absolute add all any arange arccos arccosh arcsin arcsinh arctan arctan2 arctanh argmax
    argmin argsort argwhere bitwise_and bitwise_or bitwise_xor broadcast_arrays broadcast_to ceil
    clip concatenate conj copysign cos cosh count_nonzero cumprod cumsum diff divide equal exp
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
    globals()[_name] = _wrap_function(getattr(numpy, _name))


def _uninitialised(host):
    """Uninitialised memory: filled with NaN or large integers."""
    if host.dtype.kind == "f":
        host.fill(numpy.nan)
    elif host.dtype.kind in "iu":
        host.fill(numpy.iinfo(host.dtype).max // 3)
    return ndarray(host)


def empty(shape, dtype=float, order="C"):
    return _uninitialised(numpy.empty(shape, dtype, order))


def empty_like(x, dtype=None):
    return _uninitialised(numpy.empty_like(_unwrap(x), dtype=dtype))


def array(obj, dtype=None, copy=True, order="K", *, blocking=False):
    host = obj._host if isinstance(obj, ndarray) else obj
    if copy is False:
        return asarray(obj, dtype)
    if captured is not None and not isinstance(obj, ndarray):
        raise RuntimeError("a copy from the host while a stream is captured")

    def copied():
        return numpy.array(host, dtype=dtype, copy=True, order=order)

    return _recomputed(ndarray(copied()), copied)


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
    x, indices, values = _unwrap(x), _unwrap(indices), _unwrap(values)
    enqueue(lambda: numpy.put_along_axis(x, indices, values, axis))


def shares_memory(x, y):
    return numpy.shares_memory(_unwrap(x), _unwrap(y))


def from_dlpack(source):
    return ndarray(numpy.from_dlpack(source))


class _Add:
    """cupy.add with its method `at`, which supports repeated indices."""

    def __call__(self, x, y):
        return _wrap_function(numpy.add)(x, y)

    @staticmethod
    def at(x, key, values):
        x, key, values = _unwrap(x), _unwrap(key), _unwrap(values)
        enqueue(lambda: numpy.add.at(x, key, values))


add = _Add()


def get_default_memory_pool():
    return cuda.DEFAULT_POOL


def check_allocated(address, size):
    """Raise AssertionError unless the memory is part of a live array or of a pool."""
    if not (cuda.is_in_pool(address, size) or _is_in_array(address, size)):
        raise AssertionError(f"{size} bytes at {address:#x} are not part of an array")


def _is_in_array(address, size):
    if _reaches(_allocated.get(address), address, address + size):
        return True
    # A copy, made without a Python object for each item: the garbage collector may run meanwhile.
    return builtins.any(
        start <= address and _reaches(reference, start, address + size)
        for start, reference in _allocated.copy().items()
    )


def _reaches(reference, start, end):
    owner = reference() if reference is not None else None
    return owner is not None and end <= start + owner.nbytes


from . import cuda, fft, linalg  # noqa: E402
from .kernels import RawModule  # noqa: E402

__all__ = [
    n for n in globals() if not n.startswith("_") and n not in ("numpy", "contextlib", "weakref")
]
