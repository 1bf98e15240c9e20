"""Watch over the process that runs a student's code: what it calls, and what it changes.

`arm` installs an audit hook, which cannot be removed. It refuses what an exercise never needs, if a
function of the student is running. `Integrity` notices changes of functions and classes that are
not the student's.

The worker loads this file by its path, outside of the package. It imports nothing of the package.
"""

import builtins
import operator
import os
import sys
from collections.abc import Iterable, Iterator
from types import FrameType, ModuleType
from typing import Any

# Refused if a student's function is anywhere on the stack: files, processes, the network.
OUTSIDE = (
    "fcntl.", "ftplib.", "glob.", "http.", "mmap.", "os.", "pathlib.", "poplib.", "pty.",
    "resource.", "shutil.", "signal.", "smtplib.", "socket.", "sqlite3.", "subprocess.", "syslog.",
    "telnetlib.", "tempfile.", "urllib.", "webbrowser.", "winreg.", "_winapi.", "_posixsubprocess.",
)  # fmt: skip
# Refused if the student's function is the caller: libraries do this, too.
INSIDE = (
    "code.__new__", "compile", "cpython.", "ctypes.", "exec", "function.__new__", "gc.", "marshal.",
    "object.__delattr__", "object.__getattr__", "object.__setattr__", "pickle.find_class",
    "sys.", "_thread.", "builtins.input",
)  # fmt: skip
HARMLESS = ("os.listdir", "os.putenv", "os.scandir", "os.unsetenv", "os.walk")
# Allowed in the scratch folder, to write files atomically: the event, the number of paths among
# its arguments, and what must follow them. The mode of a file that is open may be changed, too.
WITHIN = {"open": (1, ()), "os.rename": (2, (-1, -1)), "os.remove": (1, (-1,))}
IMPORT_SYSTEM = ("<frozen importlib", "<frozen zipimport>")
SOURCE_LINES = ("linecache.py", "tokenize.py")  # of warnings and tracebacks


class ForbiddenError(PermissionError):
    """Code of an exercise has used what it must not use."""


def arm(students: frozenset[str], scratch: str) -> list[str]:
    """Install the audit hook, and return a list of what it will have refused.

    Args:
        students: the names of the files with a student's code.
        scratch: the folder that may be read and written.
    """
    refused: list[str] = []
    frame_of, inside, outside, harmless = sys._getframe, INSIDE, OUTSIDE, HARMLESS
    import_system, source_lines = IMPORT_SYSTEM, SOURCE_LINES
    real, decode, separator = os.path.realpath, os.fsdecode, os.sep
    within, own = WITHIN, scratch + separator
    watched = (*inside, *outside)
    active = True

    def is_within(event: str, arguments: tuple[Any, ...]) -> bool:
        if event == "os.chmod":
            return isinstance(arguments[0], int)  # a descriptor: its opening has been allowed
        count, rest = within[event]
        paths = arguments[:count]
        if not all(isinstance(path, str | bytes) for path in paths):
            return False
        names = [real(decode(path)) for path in paths]
        if event == "open":
            return ".dist-info" in names[0] or (names[0] + separator).startswith(own)
        return arguments[count:] == rest and all(name.startswith(own) for name in names)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal active
        opens = event == "open"
        if not active or not (opens or event.startswith(watched)) or event in harmless:
            return
        active = False  # the calls below raise events, too
        try:
            caller = frame_of(1)
            if event.startswith(inside):
                forbidden = caller.f_code.co_filename in students
            elif caller.f_code.co_filename.startswith(import_system):
                forbidden = False
            else:
                forbidden = _is_running(caller, students)
            if forbidden and (event in within or event == "os.chmod"):
                forbidden = not is_within(event, arguments)
        finally:
            active = True
        if forbidden:
            what = f"{event} {arguments[0]}" if opens else event
            if not caller.f_code.co_filename.endswith(source_lines):
                refused.append(f"the code has used {what:.200}, which an exercise must not do")
            raise ForbiddenError(f"an exercise must not use {what:.200}")

    sys.addaudithook(hook)
    return refused


def _is_running(frame: FrameType | None, students: frozenset[str]) -> bool:
    """Whether a student's function is on the stack."""
    while frame is not None:
        if frame.f_code.co_filename in students:
            return True
        frame = frame.f_back
    return False


class Integrity:
    """The functions and classes of the modules that are loaded now, except for the student's.

    Args:
        students: the names of the student's modules.
        packages: the packages to watch.
    """

    def __init__(self, students: Iterable[str], packages: Iterable[str]) -> None:
        self._known: list[Namespace] = []
        own = frozenset(students)
        classes: dict[int, type] = {}
        for name, module in list(sys.modules.items()):
            if name in own or name.partition(".")[0] not in packages or module is None:
                continue
            self._known.append(Namespace(name, module))
            for value in list(vars(module).values()):
                if getattr(value, "__module__", None) in own:
                    continue
                if isinstance(value, type) and value.__module__.partition(".")[0] in packages:
                    classes[id(value)] = value
                elif type(value).__name__ in ("Op", "Composite"):
                    self._known.append(Namespace(f"{name}.{value!r}", value))
        for value in classes.values():
            self._known.append(Namespace(f"{value.__module__}.{value.__qualname__}", value))

    def changes(self) -> Iterator[str]:
        """Yield the names of what has been replaced, deleted or added."""
        for namespace in self._known:
            if namespace.has_changed():
                yield from namespace.changes()


class Namespace:
    """The attributes of a module, a class or an op, and what they were."""

    def __init__(self, name: str, value: Any) -> None:
        self.name, self.now = name, vars(value)
        watched = {k: v for k, v in self.now.items() if _is_watched(v)}
        self.keys, self.before = tuple(watched), tuple(watched.values())
        self.all = frozenset(self.now)
        # A module may get new names, except for those that hide a function of Python.
        self.closed = isinstance(value, type)
        self.reserved = frozenset(vars(builtins) if isinstance(value, ModuleType) else ())

    def has_changed(self) -> bool:
        """Whether anything may have changed; it runs after every call, so its loops are C."""
        same = all(map(operator.is_, map(self.now.get, self.keys), self.before))
        return not same or self.now.keys() != self.all

    def changes(self) -> Iterator[str]:
        """Yield the names of the attributes that have changed."""
        for key, before in zip(self.keys, self.before, strict=True):
            if self.now.get(key) is not before:
                yield f"{self.name}.{key}"
        for key in self.now.keys() - self.all:
            if self.closed or key in self.reserved:
                yield f"{self.name}.{key}"


def _is_watched(value: Any) -> bool:
    return callable(value) or isinstance(value, property | classmethod | staticmethod)


def freeze(modules: Iterable[ModuleType], students: frozenset[str]) -> None:
    """Make assignments to attributes of modules an error for the student's functions."""
    frame_of, error = sys._getframe, ForbiddenError

    class Frozen(ModuleType):
        def __setattr__(self, name: str, value: Any) -> None:
            if frame_of(1).f_code.co_filename in students:
                raise error(f"an exercise must not change {self.__name__}.{name}")
            super().__setattr__(name, value)

        def __delattr__(self, name: str) -> None:
            if frame_of(1).f_code.co_filename in students:
                raise error(f"an exercise must not change {self.__name__}.{name}")
            super().__delattr__(name)

    for module in modules:
        if type(module) is ModuleType:
            module.__class__ = Frozen
