"""Inner loops compiled from C, where the machine has a C compiler.

A NumPy call reads and writes whole arrays, so a formula of ten calls moves ten times the data and
is interrupted ten times by Python. The C functions of ``c/`` compute a formula in one pass, and
divide the rows among threads that never wait for Python's lock. They are compiled at the first use,
in 3 to 9 seconds, and kept in ``~/.cache/tinytorch/compiled``. Without a compiler, for dtypes other
than float32 and with ``TT_COMPILED=0``, NumPy computes the same, up to rounding.
"""

import ctypes
import functools
import hashlib
import os
import platform
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..base import NumpyArray as Array
from .threads import threads_to_use

SOURCES = Path(__file__).parent / "c"
NO_LOOPS = ("pool.c", "sgemm.c")
COMPILE_SECONDS = 60  # after which the compiler is given up
PART_BYTES = 2**16  # of the largest array: what a thread computes at a time, in 10 to 30 us
COUNT = -1  # in pool.h

# Not -ffast-math: results keep NaN and infinity, and sums state how they may be reordered.
FLAGS = ("-O3", "-std=c11", "-shared", "-fPIC", "-pthread", "-fopenmp-simd", "-fno-math-errno",
         "-fno-trapping-math", "-ffp-contract=fast")  # fmt: skip
NATIVE = ("-march=native", "-mprefer-vector-width=512")  # the second for x86 only

FLOAT32 = np.dtype(np.float32)  # in the processor's byte order

_READABLE, _WRITEABLE = 0x1 | 0x100, 0x400  # bits of flags.num: C_CONTIGUOUS and ALIGNED, WRITEABLE

# int64_t is the length of an array; a function without a result writes to its arrays.
_FUNCTION = re.compile(r"^void (\w+)\(([^)]*)\) *\{", re.MULTILINE)
_lock = threading.RLock()
_library: "Library | None" = None

if hasattr(os, "register_at_fork"):  # no process is forked while another thread compiles
    os.register_at_fork(
        before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
    )


class Parameter(NamedTuple):
    """A parameter of a C function.

    Attributes:
        kind: its type.
        flags: NumPy's, which the array must have; 0 for what is no array, but a number or the
            address of a function or of integers.
        shared: whether all rows use the whole array; else it has one entry for each row.
    """

    kind: Any
    flags: int
    shared: bool


class Function(NamedTuple):
    """A C function.

    Attributes:
        call: the function itself.
        address: of the function that takes its arguments as an array, which the pool calls.
        pack: packs the arguments into such an array.
        parameters: its parameters; the first number is that of the rows.
        rows: the index of that parameter.
    """

    call: Callable[..., None]
    address: int
    pack: Callable[..., bytes]
    parameters: Sequence[Parameter]
    rows: int


class Library(NamedTuple):
    """All C functions, and the one that divides the rows of a loop among threads."""

    functions: Mapping[str, Function]
    run_rows: Callable[..., None]


def run(name: str, *args: Array | float | None, block: int | None = None) -> bool:
    """Call the C function `name`, in several threads if its arrays are large.

    C checks nothing: the caller has made sure that every array has the size that the loop reads,
    and that arrays which the loop writes to do not overlap others.

    Args:
        args: C-contiguous float32 arrays, addresses, numbers, or None for a null pointer.
        block: rows that each call computes, in any number of threads; by default as many as have
            `PART_BYTES`, or all in a single thread.

    Returns:
        False if nothing was done, because there is no compiled library, or it does not support the
        arrays; NumPy then has to compute the same.
    """
    library = load()
    if library is None:
        return False
    function = library.functions[name]
    values: list[Any] = []
    largest = 0  # bytes of an array that is divided
    for value, (_, flags, shared) in zip(args, function.parameters, strict=True):
        if flags and value is not None:
            if not isinstance(value, np.ndarray) or value.dtype != FLOAT32:
                return False
            if value.flags.num & flags != flags:
                return False
            if not shared:
                largest = max(largest, value.nbytes)
            value = address(value)
        values.append(value)
    rows = values[function.rows]
    if block is None:
        is_divided = largest >= 2 * PART_BYTES and threads_to_use() > 1
        block = rows * PART_BYTES // largest if is_divided else rows
    if block >= rows:
        function.call(*values)
    else:
        _run_in_pool(library, function, args, values, max(1, block))
    return True


def is_supported(array: Array, is_written: bool) -> bool:
    """Whether C can read an array, or write to it too."""
    flags = _READABLE | _WRITEABLE if is_written else _READABLE
    return array.dtype == FLOAT32 and array.flags.num & flags == flags


def _run_in_pool(
    library: Library,
    function: Function,
    args: Sequence[Any],
    values: Sequence[Any],
    block: int,
) -> None:
    """Divide the rows into blocks.

    Args:
        args: the arguments of `run`.
        values: the same with pointers in the place of arrays.
        block: rows that each call computes.
    """
    rows = values[function.rows]
    steps = []
    for value, parameter in zip(args, function.parameters, strict=True):
        is_divided = isinstance(value, np.ndarray) and not parameter.shared
        steps.append(value.nbytes // rows if is_divided else 0)
    steps[function.rows] = COUNT
    numbers = [0 if value is None else value for value in values]
    divide(library, function, numbers, pack_steps(steps), rows, block)


def pack_steps(steps: Sequence[int]) -> bytes:
    """The steps as `divide` needs them."""
    return struct.pack(f"{len(steps)}q", *steps)


def divide(
    library: Library,
    function: Function,
    values: Sequence[Any],
    steps: bytes,
    rows: int,
    block: int,
) -> None:
    """Call a function for blocks of its rows, in several threads.

    Args:
        values: the arguments for all rows, with addresses for arrays.
        steps: for each, the bytes from a row to the next, 0 for what all rows share, or `COUNT`.
        rows: their number.
        block: rows that each call computes.
    """
    arguments = function.pack(*values)
    library.run_rows(function.address, arguments, steps, len(values), rows, block, threads_to_use())


def _address_function() -> Callable[[Array], int]:
    """The fastest function of an array that returns the address of its first element.

    In C an array begins with the head of every object, followed by that address; NumPy's own way to
    read it makes a dictionary, in four times the time.
    """
    x, read, head = np.ones(3)[1:], ctypes.c_void_p.from_address, object.__basicsize__
    if sys.implementation.name == "cpython" and read(id(x) + head).value == x.ctypes.data:
        return lambda array: read(id(array) + head).value  # type: ignore[return-value]
    return lambda array: int(array.ctypes.data)


address = _address_function()


def load() -> Library | None:
    """Return the functions, compiled if they are not in the cache, or None if that fails."""
    global _library
    if _library is None:
        with _lock:
            _library = _load()
    return _library


@functools.cache
def _load() -> Library | None:
    command = None if _switched_off() else compiler()
    if command is None:
        return None
    try:
        path = _path(command)
        failed = path.with_suffix(".failed")
        try:
            return _opened(path)
        except (OSError, AttributeError):  # not there yet, or damaged
            if failed.exists():
                return None
        try:
            _compile(command, path)
            return _opened(path)
        except (OSError, AttributeError, subprocess.SubprocessError):
            failed.touch()  # other programs do not try again
            raise
    except (OSError, RuntimeError, AttributeError, subprocess.SubprocessError):
        return None  # no home folder, a full disk, a compiler that refuses the code or hangs


def _switched_off() -> bool:
    return os.environ.get("TT_COMPILED", "").strip().lower() in ("0", "false", "no", "off")


def why_not() -> str:
    """Why `load` returned None, for a person."""
    if _switched_off():
        return "TT_COMPILED=" + os.environ["TT_COMPILED"].strip()
    command = compiler()
    if command is None:
        return "there is no C compiler"
    return f"{command[0]} cannot compile them, or the cache cannot be written"


def compiler() -> list[str] | None:
    """The command of the C compiler: `$CC`, cc, gcc or clang; None if there is none."""
    if os.name != "posix":
        return None
    chosen = os.environ.get("CC", "").split()
    commands = [chosen, ["cc"], ["gcc"], ["clang"]]
    return next((command for command in commands if command and _is_usable(command[0])), None)


def _is_usable(name: str) -> bool:
    """Whether a program exists, and is not one that asks a person to install it (on a Mac)."""
    path = shutil.which(name)
    if path is None or platform.system() != "Darwin" or not path.startswith("/usr/bin/"):
        return path is not None
    return not subprocess.run(["xcode-select", "-p"], capture_output=True).returncode


def _opened(path: Path) -> Library:
    """Open a library.

    Raises:
        OSError: there is none, or others than this user may have written it.
        AttributeError: it does not hold all functions.
    """
    for part in (path.parent, path):
        status = part.stat()
        if status.st_uid != os.geteuid() or status.st_mode & 0o022:
            raise OSError(f"{part} can be written by others")
    library, functions = ctypes.CDLL(str(path)), {}
    for name, parameters in _signatures().items():
        call = getattr(library, name)
        call.argtypes, call.restype = [p.kind for p in parameters], None
        address = ctypes.cast(getattr(library, f"call_{name}"), ctypes.c_void_p).value
        rows = next(i for i, p in enumerate(parameters) if p.kind is ctypes.c_int64)
        assert address is not None
        # The members of the union `Argument`: 8 bytes each, of which a float uses the first 4.
        codes = "".join("f4x" if p.kind is ctypes.c_float else "q" for p in parameters)
        functions[name] = Function(call, address, struct.Struct(codes).pack, parameters, rows)
    run_rows = library.run_rows
    run_rows.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_int64] * 4
    run_rows.restype = None
    return Library(functions, run_rows)


def _signatures() -> dict[str, list[Parameter]]:
    """The parameters of each function of the sources that the backend calls, its loops."""
    found = {}
    for source in sorted(SOURCES.glob("*.c")):
        if source.name not in NO_LOOPS:
            for name, given in _FUNCTION.findall(source.read_text()):
                found[name] = [
                    Parameter(_type_of(p), _flags(p), "SHARED" in p) for p in given.split(",")
                ]
    return found


# How C names a type, and the member of the union `Argument` that holds it.
_C_NAMES = {
    ctypes.c_void_p: ("void *", "pointer"),
    ctypes.c_int64: ("int64_t", "count"),
    ctypes.c_float: ("float", "number"),
}


def calls_source() -> str:
    """C code of functions that call each loop with its arguments in an array."""
    lines = ['#include "pool.h"']
    for name, parameters in _signatures().items():
        types, members = zip(*(_C_NAMES[p.kind] for p in parameters), strict=True)
        declared = ", ".join(types)
        given = ", ".join(f"a[{i}].{member}" for i, member in enumerate(members))
        lines += [
            f'_Static_assert({len(parameters)} <= MAX_ARGUMENTS, "arguments of {name}");',
            f"void {name}({declared});",
            f"void call_{name}(const Argument *a) {{ {name}({given}); }}",
        ]
    return "\n".join([*lines, ""])


def _flags(parameter: str) -> int:
    """C-contiguous and aligned, and writeable if the function writes to the array."""
    if "*" not in parameter or "void" in parameter:
        return 0
    return _READABLE if "const" in parameter else _READABLE | _WRITEABLE


def _type_of(parameter: str) -> Any:
    if "*" in parameter:
        return ctypes.c_void_p
    return ctypes.c_int64 if "int64_t" in parameter else ctypes.c_float


def _path(command: list[str]) -> Path:
    """Where the library for these sources, this compiler and this processor is kept."""
    program = shutil.which(command[0]) or command[0]
    version = str(os.stat(program).st_mtime_ns)
    key = hashlib.sha256("\0".join([*command, version, *FLAGS, *NATIVE, _processor()]).encode())
    for source in _sources():
        key.update(source.read_bytes())
    key.update(calls_source().encode())
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return cache / "tinytorch" / "compiled" / f"{key.hexdigest()[:24]}.so"


def _sources() -> list[Path]:
    return sorted(path for path in SOURCES.iterdir() if path.suffix in (".c", ".h"))


def _compile(compiler: list[str], path: Path) -> None:
    """Compile the sources to `path`, which other processes see only when it is complete.

    Raises:
        CalledProcessError: the compiler refuses the code with every set of flags.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    native = NATIVE if platform.machine() in ("x86_64", "AMD64") else NATIVE[:1]
    files = [str(source) for source in _sources() if source.suffix == ".c"]
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        result, calls = Path(folder) / path.name, Path(folder) / "calls.c"
        calls.write_text(calls_source())
        for flags in (native, native[:1], ()):
            command = [
                *compiler, *FLAGS, *flags, f"-I{SOURCES}", "-o", str(result), *files, str(calls),
                "-lm",
            ]  # fmt: skip
            done = subprocess.run(command, capture_output=True, timeout=COMPILE_SECONDS)
            if done.returncode == 0:
                break
        done.check_returncode()
        result.chmod(0o700)
        result.replace(path)


def _processor() -> str:
    """What decides which instructions the compiler may use with ``-march=native``."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.platform() + platform.processor()
    kinds = ("model name", "flags", "Features", "CPU part")
    return "\n".join(sorted({line for line in lines if line.startswith(kinds)}))
