"""Inner loops compiled from C, where the machine has a C compiler.

A NumPy call reads and writes whole arrays, so a formula of ten calls moves ten times the data and
is interrupted ten times by Python. The C functions of ``c/`` compute a formula in one pass. They
are compiled at the first use, in two seconds, and kept in ``~/.cache/tinytorch/compiled``.
Without a compiler, for dtypes other than float32 and with ``TT_COMPILED=0``, NumPy computes the
same, up to rounding.
"""

import ctypes
import functools
import hashlib
import os
import platform
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..base import NumpyArray as Array

SOURCES = Path(__file__).parent / "c"
COMPILE_SECONDS = 60  # after which the compiler is given up

# Not -ffast-math: results keep NaN and infinity, and sums state how they may be reordered.
FLAGS = ("-O3", "-std=c11", "-shared", "-fPIC", "-fopenmp-simd", "-fno-math-errno",
         "-fno-trapping-math", "-ffp-contract=fast")  # fmt: skip
NATIVE = ("-march=native", "-mprefer-vector-width=512")  # the second for x86 only

FLOAT32 = np.dtype(np.float32)  # in the processor's byte order

# int64_t is the length of an array; a function without a result writes to its arrays.
_FUNCTION = re.compile(r"^void (\w+)\(([^)]*)\) *\{", re.MULTILINE)
_lock = threading.RLock()

if hasattr(os, "register_at_fork"):  # no process is forked while another thread compiles
    os.register_at_fork(
        before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
    )


class Parameter(NamedTuple):
    """A parameter of a C function: its type, and whether the function writes to the array."""

    kind: Any
    written: bool


class Function(NamedTuple):
    """A C function and its parameters."""

    call: Callable[..., None]
    parameters: Sequence[Parameter]


Library = Mapping[str, Function]


def run(name: str, *args: Array | float | None) -> bool:
    """Call the C function `name`, unless NumPy is to compute the same.

    C checks nothing: the caller has made sure that every array has the size that the loop reads,
    and that arrays which the loop writes to do not overlap others.

    Args:
        args: C-contiguous float32 arrays, numbers, or None for a null pointer.

    Returns:
        False if nothing was done: there is no compiled library, or it does not support the arrays.
    """
    library = load()
    if library is None:
        return False
    function = library[name]
    values: list[Any] = []
    for value, (kind, written) in zip(args, function.parameters, strict=True):
        if kind is ctypes.c_void_p and value is not None:
            if not isinstance(value, np.ndarray) or value.dtype != FLOAT32:
                return False
            flags = value.flags
            if not (flags.c_contiguous and flags.aligned and (flags.writeable or not written)):
                return False
            value = value.__array_interface__["data"][0]
        values.append(value)
    function.call(*values)
    return True


def load() -> Library | None:
    """Return the functions, compiled if they are not in the cache, or None if that fails."""
    with _lock:
        return _load()


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
    for source in sorted(SOURCES.glob("*.c")):
        for name, given in _FUNCTION.findall(source.read_text()):
            parameters = [Parameter(_type_of(p), _is_written(p)) for p in given.split(",")]
            call = getattr(library, name)
            call.argtypes, call.restype = [p.kind for p in parameters], None
            functions[name] = Function(call, parameters)
    return functions


def _is_written(parameter: str) -> bool:
    return "*" in parameter and "const" not in parameter


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
        result = Path(folder) / path.name
        for flags in (native, native[:1], ()):
            command = [*compiler, *FLAGS, *flags, "-o", str(result), *files, "-lm"]
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
