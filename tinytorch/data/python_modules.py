"""Python source code as a text: the modules of a folder, such as Python's own standard library."""

import hashlib
import os
import platform
import re
import sysconfig
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .datasets import Corpus, DataError

HELD_OUT = 0.1  # smallest fraction of the characters that is kept for validation
BETWEEN = "\n\n\n"  # text between two modules

# Folders of installed packages and of tests. What tests hold is often generated, or wrong on
# purpose.
_LEFT_OUT = {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"}
_GENERATED = re.compile(
    r"\b(auto(matically )?-?generated|file is generated|generated from ')", re.I
)
# A line of a table: literals only, as in "    0x20: 'space',  # U+0020" or "    'e',".
_DATA_LINE = re.compile(r"""\s*[\[({]*(?:[bru]{0,2}['"]|-?\d)[^=]*""")


@dataclass(frozen=True)
class Module:
    """A Python module: its path below the folder, with slashes, and its text."""

    name: str
    text: str

    @property
    def group(self) -> str:
        """The package or module of the folder that it belongs to: "json" for json/decoder.py."""
        return self.name.partition("/")[0].removesuffix(".py")


@dataclass(frozen=True)
class ModuleCorpus(Corpus):
    """The modules of a folder as one text, those that are held out for validation at its end.

    Attributes:
        held_out: the modules of the validation text. Modules of a package share much, so a package
            is held out as a whole.
    """

    held_out: tuple[Module, ...]

    def split(self, fraction: float = 1 - HELD_OUT) -> tuple[str, str]:
        """Split into training and validation text between two modules, whatever the fraction."""
        n = len(self.text) - len(_joined(self.held_out))
        return self.text[:n], self.text[n:]


def standard_library() -> Path:
    """Return the folder of the standard library of this Python."""
    return Path(sysconfig.get_path("stdlib"))


def read_modules(folder: Path) -> ModuleCorpus:
    """Read the Python modules in a folder and those below it.

    Left out are tests, installed packages, generated files, tables (`is_table`), links to other
    folders, and files that are not UTF-8. Modules are held out in the order of the SHA-256 of the
    name of their package, as long as they fit into a tenth of the characters: so mostly the same
    ones are held out in all versions of Python.

    Raises:
        DataError: there are no two packages or modules, or the folder cannot be read.
    """
    modules = list(_modules(folder))
    sizes: Counter[str] = Counter()
    for m in modules:
        sizes[m.group] += len(m.text)
    names = sorted(sizes, key=lambda name: hashlib.sha256(name.encode()).digest())
    if len(names) < 2:
        found = f"only {names[0]}" if names else "none"
        raise DataError(
            f"{folder} must hold at least two Python modules or packages that are neither tests nor"
            f" tables, one of them for validation; found {found}"
        )
    held, room = set(), HELD_OUT * sum(sizes.values())
    for name in names:
        if sizes[name] <= room:
            held.add(name)
            room -= sizes[name]
    held = held or {min(names, key=sizes.__getitem__)}
    held_out = tuple(m for m in modules if m.group in held)
    text = _joined([m for m in modules if m.group not in held]) + _joined(held_out)
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    source = f"{len(modules)} modules in {folder}"
    return ModuleCorpus(_name(folder), text, sha256, source, held_out)


def _name(folder: Path) -> str:
    """The name of the folder; the standard library's says whose and which version it is."""
    if os.path.realpath(folder) != os.path.realpath(standard_library()):
        return folder.name
    return f"standard library of {platform.python_implementation()} {platform.python_version()}"


def _joined(modules: "tuple[Module, ...] | list[Module]") -> str:
    return "".join(m.text + BETWEEN for m in modules)


def _modules(folder: Path) -> Iterator[Module]:
    """Yield the modules in the order of their names, which is the same on every system."""
    paths: list[tuple[str, Path]] = []
    for place, folders, files in os.walk(folder, onerror=_unreadable):
        folders[:] = [name for name in folders if name not in _LEFT_OUT]
        for file in files:
            path = Path(place, file)
            if file.endswith(".py") and path.is_file():
                paths.append((path.relative_to(folder).as_posix(), path))
    for name, path in sorted(paths):
        try:
            text = path.read_bytes().decode("utf-8")
        except UnicodeDecodeError:  # older encodings, which tests and conversion tools use
            continue
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}") from error
        text = text.removeprefix("\ufeff").replace("\r\n", "\n").strip("\n") + "\n"
        if text.strip() and not _GENERATED.search(text[:500]) and not is_table(text):
            yield Module(name, text)


def _unreadable(error: OSError) -> None:
    raise DataError(f"folder {error.filename} cannot be read: {error.strerror}") from error


def is_table(text: str) -> bool:
    """Whether more than half of the lines of a module hold literals only.

    >>> is_table("table = {\\n    1: 'one',\\n    2: 'two',\\n    3: 'three',\\n}\\n")
    True
    >>> is_table("def square(x):\\n    return x * x\\n")
    False
    """
    lines = [line for line in text.splitlines() if line.strip()]
    return sum(map(bool, map(_DATA_LINE.fullmatch, lines))) > len(lines) / 2
