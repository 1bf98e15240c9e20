"""RawModule: compiles CUDA sources by g++ with shim.hpp and runs the kernels on the CPU."""

import ctypes
import hashlib
import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

import cupy

SHIM = Path(__file__).parents[1] / "shim.hpp"
DECLARATION = re.compile(
    r'extern "C" __global__ void (?:__launch_bounds__\((\d+)(?:, \d+)?\)\s+)?(\w+)\(([^)]*)\)'
)
UNBOUNDED_THREADS = 256  # a block of more needs __launch_bounds__: registers could be too few
CTYPES = {"float": np.float32, "double": np.float64, "long long": np.int64,
          "unsigned int": np.uint32, "unsigned short": np.uint16,
          "unsigned char": np.bool_}  # fmt: skip
FLAGS = ["-std=c++20", "-O2", "-fno-strict-aliasing", "-Wall", "-Werror", "-Wno-sign-compare",
         "-Wno-misleading-indentation", "-Wno-unknown-pragmas"]  # fmt: skip

records: list | None = None  # if a list, every launch is appended to it as a `Record`


def declarations(code):
    """Kernel name -> [(parameter name, is_pointer, dtype)], with typedefs resolved."""
    aliases = {alias: kind for kind, alias in re.findall(r"typedef ([\w ]+) (\w+);", code)}
    found = {}
    for _, name, inner in DECLARATION.findall(code):
        parameters = []
        for text in inner.split(","):
            *kind, label = text.replace("const ", "").replace("*", " * ").split()
            pointer = "*" in kind
            word = " ".join(k for k in kind if k != "*")
            parameters.append((label, pointer, np.dtype(CTYPES[aliases.get(word, word)])))
        found[name] = parameters
    return found


def entry_points(code):
    """Source of C functions run_NAME(grid, block, first block, argument pointers)."""
    lines = []
    for _, name, inner in DECLARATION.findall(code):
        kinds = [re.match(r"(.*?)(\w+)$", p.strip()).group(1) for p in inner.split(",")]
        values = ", ".join(f"*({kind}*)arguments[{i}]" for i, kind in enumerate(kinds))
        lines.append(
            f'extern "C" int run_{name}(const unsigned* grid, const unsigned* block,'
            f" unsigned long first, void** arguments) {{\n"
            f"    return shim::launch(grid, block, first, [&] {{ {name}({values}); }});\n}}"
        )
    return "\n".join(lines)


def translation_unit(code):
    return f'#include "{SHIM}"\n{code}\n#line 1 "entry points"\n{entry_points(code)}\n'


def compile_replay(code, program, *flags):
    """Build a program that replays recorded launches, with flags such as a sanitizer's.

    With -O2 the compiler works half as long again, and so it does with -g: -g1 suffices for lines.
    """
    names = ", ".join(f'{{"{name}", run_{name}}}' for _, name, _ in DECLARATION.findall(code))
    text = (
        f"#define SHIM_THREADS\n#include <algorithm>\n{translation_unit(code)}"
        f'#line 1 "replay.cpp"\n{SHIM.with_name("replay.cpp").read_text()}'
        f"const std::map<std::string, Run> kernels = {{{names}}};\n"
    )
    source = Path(program).with_suffix(".cpp")
    source.write_text(text)
    subprocess.run(["g++", *FLAGS, "-O1", "-g1", *flags, "-o", program, source], check=True)


def compile_library(code):
    text = translation_unit(code)
    key = hashlib.sha256((text + SHIM.read_text() + str(FLAGS)).encode()).hexdigest()[:16]
    library = Path(tempfile.gettempdir()) / f"cuda-on-cpu-{os.getuid()}-{key}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory() as folder:
            source, built = Path(folder, "kernels.cpp"), Path(folder, "kernels.so")
            source.write_text(text)
            done = subprocess.run(
                ["g++", *FLAGS, "-shared", "-fPIC", "-o", built, source],
                capture_output=True, text=True,
            )  # fmt: skip
            if done.returncode:
                raise RuntimeError(f"g++ rejects the kernels:\n{done.stderr}")
            # Atomic, because another process may write the same file at the same time.
            part = library.with_suffix(f".{os.getpid()}")
            part.write_bytes(built.read_bytes())
            part.replace(library)
    return ctypes.CDLL(str(library))


class Record(NamedTuple):
    """One launch: its arguments, and address -> contents of their memory before and after it."""

    kernel: "Kernel"
    grid: tuple
    block: tuple
    args: tuple
    before: dict
    after: dict

    def encoded(self):
        """The launch in the format that replay.cpp reads."""
        numbers = [*self.grid, *self.block, len(self.before)]
        parts = [_text(self.kernel.name), np.array(numbers, np.uint64).tobytes()]
        for address, content in self.before.items():
            parts += [np.array([address], np.uint64).tobytes(), _text(content), self.after[address]]
        parts.append(np.array([len(self.args)], np.uint64).tobytes())
        places = list(self.before)
        for (label, pointer, _), value in zip(self.kernel.parameters, self.args, strict=True):
            if hasattr(value, "bytes"):
                kind, number = (3 if label == "chunks" else 1), places.index(value.data.ptr)
                parts.append(np.array([kind, number], np.uint64).tobytes())
            else:
                kind = 2 if pointer else 0
                parts.append(
                    np.array([kind], np.uint64).tobytes() + value.tobytes().ljust(8, b"\0")
                )
        return b"".join(parts)


def _text(content):
    content = content if isinstance(content, bytes) else content.encode()
    return np.array([len(content)], np.uint64).tobytes() + content


class RawModule:
    def __init__(self, code, options=(), backend="nvrtc"):
        if backend != "nvrtc" or not all(o.startswith("--") for o in options):
            raise ValueError(f"options {options} for {backend}")
        self.code, self.device = code, cupy.cuda.runtime.getDevice()
        self.item_size = 8 if "typedef double T;" in code else 4
        self._library = compile_library(code)
        self._declarations = declarations(code)
        self.max_threads = {
            name: int(bound or UNBOUNDED_THREADS) for bound, name, _ in DECLARATION.findall(code)
        }

    def get_function(self, name):
        if name not in self._declarations:
            raise RuntimeError(f"CUDA_ERROR_NOT_FOUND: named symbol not found: {name}")
        return Kernel(name, self._declarations[name], getattr(self._library, f"run_{name}"), self)


class Kernel:
    def __init__(self, name, parameters, run, module):
        self.name, self.parameters, self._run, self.module = name, parameters, run, module
        self.first_block = 0

    def __call__(self, grid, block, args, *, shared_mem=0):
        grid, block = ((*sizes, 1, 1)[:3] for sizes in (grid, block))
        self._check(grid, block, args)
        values = [self._value(p, a) for p, a in zip(self.parameters, args, strict=True)]
        cupy.works += 1
        if cupy.captured is not None:  # the arrays must still be allocated at the graph's launch
            sizes = [a.nbytes if hasattr(a, "nbytes") and p[1] else 0
                     for p, a in zip(self.parameters, args, strict=True)]  # fmt: skip
            cupy.captured.append(lambda: self._launch(grid, block, values, sizes))
            return
        before = None if records is None else self._contents(args)
        self._launch(grid, block, values)
        if records is not None:
            records.append(Record(self, grid, block, args, before, self._contents(args)))

    def _launch(self, grid, block, values, sizes=()):
        for value, size in zip(values, sizes, strict=False):
            if size and int(value):
                cupy.check_allocated(int(value), size)
        addresses = (ctypes.c_void_p * len(values))(*(v.ctypes.data for v in values))
        first = ctypes.c_ulong(self.first_block)
        if self._run((ctypes.c_uint * 3)(*grid), (ctypes.c_uint * 3)(*block), first, addresses):
            raise RuntimeError(f"{self.name}: a barrier that not all threads of the block reach")

    def _contents(self, args):
        """Address -> contents of all memory that the arguments point to, also by chunk tables."""
        found = {a.data.ptr: a.bytes() for a in args if hasattr(a, "bytes")}
        for (label, _, _), a in zip(self.parameters, args, strict=True):
            if label == "chunks":
                for *addresses, count in a.get().tolist():
                    for address in filter(None, addresses):
                        size = count * self.module.item_size
                        found[address] = ctypes.string_at(address, size)
        return found

    def _check(self, grid, block, args):
        threads = block[0] * block[1] * block[2]
        if not (0 < threads <= 1024 and 0 < block[2] <= 64):
            raise RuntimeError(f"CUDA_ERROR_INVALID_VALUE: {self.name}, block {block}")
        if self.module.device != cupy.cuda.runtime.getDevice():
            raise RuntimeError(f"CUDA_ERROR_INVALID_HANDLE: {self.name}, of another device")
        if threads > self.module.max_threads[self.name]:
            raise RuntimeError(
                f"CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES: {self.name}, {threads} threads in a block"
            )
        if not (0 < grid[0] < 2**31 and 0 < grid[1] < 2**16 and 0 < grid[2] < 2**16):
            raise RuntimeError(f"CUDA_ERROR_INVALID_VALUE: {self.name}, grid {grid}")
        if len(args) != len(self.parameters):
            raise RuntimeError(
                f"{self.name} takes {len(self.parameters)} arguments, not {len(args)}"
            )

    def _value(self, parameter, value):
        """The argument as an array of at most 8 bytes, which a launch passes by address."""
        label, pointer, dtype = parameter
        if pointer and hasattr(value, "data") and hasattr(value.data, "ptr"):
            cupy.check_device(value)
            if value.dtype != dtype:
                raise TypeError(f"{self.name}: {label} is {value.dtype}, not {dtype}")
            return np.array(value.data.ptr, np.uint64)
        if pointer and type(value) is np.uint64 and value == 0:
            return np.array(0, np.uint64)
        if not pointer and isinstance(value, np.generic) and value.dtype == dtype:
            return np.array(value)
        raise TypeError(f"{self.name}: {label} is {type(value).__name__}, not {dtype}")
