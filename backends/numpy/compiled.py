"""Inner loops compiled from C, where the machine has a C compiler.

A NumPy call reads and writes whole arrays, so a formula of ten calls moves ten times the data and
is interrupted ten times by Python. The C functions of ``c/`` compute a formula in one pass. They
are compiled at the first use, in about a second, and kept in ``~/.cache/tinytorch/compiled``.
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
from pathlib import Path
from typing import Any

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


def run(name: str, *args: Array | float | None) -> bool:
    """Call the C function `name`, unless NumPy is to compute the same.

    Args:
        args: C-contiguous float32 arrays, numbers, or None for a null pointer. The function writes
            to some of the arrays; the caller has checked their shapes.

    Returns:
        False if nothing was done: there is no compiled library, or it does not support the arrays.
    """
    library = load()
    if library is None:
        return False
    values: list[Any] = []
    for value in args:
        if isinstance(value, np.ndarray):
            if value.dtype != FLOAT32 or not value.flags.c_contiguous:
                return False
            values.append(value.__array_interface__["data"][0])
        else:
            values.append(value)
    getattr(library, name)(*values)
    return True


@functools.cache
def load() -> ctypes.CDLL | None:
    """Return the library, compiled if it is not in the cache, or None if that is not possible."""
    if _switched_off():
        return None
    command = compiler()
    if command is None:
        return None
    try:
        path = _path(command)
        try:
            return _opened(path)
        except (OSError, AttributeError):  # not there yet, or damaged
            _compile(command, path)
            return _opened(path)
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
    return next((c for c in commands if c and shutil.which(c[0])), None)


def _opened(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))
    _declare(library)
    return library


def _declare(library: ctypes.CDLL) -> None:
    """Set the types of the functions' arguments, which are read from the sources."""
    for source in sorted(SOURCES.glob("*.c")):
        for name, parameters in _FUNCTION.findall(source.read_text()):
            function = getattr(library, name)
            function.argtypes = [_type_of(parameter) for parameter in parameters.split(",")]
            function.restype = None


def _type_of(parameter: str) -> Any:
    if "*" in parameter:
        return ctypes.c_void_p
    return ctypes.c_int64 if "int64_t" in parameter else ctypes.c_float


def _path(command: list[str]) -> Path:
    """Where the library for these sources, this compiler and this processor is kept."""
    key = hashlib.sha256("\0".join([*command, *FLAGS, *NATIVE, _processor()]).encode())
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
        result.replace(path)


def _processor() -> str:
    """What decides which instructions the compiler may use with ``-march=native``."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.platform() + platform.processor()
    kinds = ("model name", "flags", "Features", "CPU part")
    return "\n".join(sorted({line for line in lines if line.startswith(kinds)}))
