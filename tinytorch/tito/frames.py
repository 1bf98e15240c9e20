"""Where in a notebook an error was raised, and which of its functions a test uses."""

import dis
import traceback
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any

from ..ops.op import Op


class TestCell:
    """The code of a test that is running, and the names of the notebook that contains it.

    Args:
        code: the test's code.
        names: the notebook's global variables.
    """

    def __init__(self, code: CodeType, names: dict[str, Any]) -> None:
        self.code, self.names = code, names

    def place(self, error: BaseException) -> str:
        """Return the innermost line of the notebook's own code that an error passed through.

        Lines of the package, of libraries and of the test itself do not count; "" if there is no
        other, not even on the way of the error that this one was raised from.
        """
        return self._passed(error) or (self._passed(error.__cause__) if error.__cause__ else "")

    def _passed(self, error: BaseException) -> str:
        frames = list(traceback.walk_tb(error.__traceback__))
        for frame, number in reversed(frames):
            code = frame.f_code
            if frame.f_globals is self.names and not self._is_test(code):
                summary = traceback.FrameSummary(code.co_filename, number, code.co_name)
                where = f"line {number}, in {code.co_name}"
                return f"{summary.line}  ({where})" if summary.line else where
        return ""

    def _is_test(self, code: CodeType) -> bool:
        """Whether code belongs to the test's cell, which is a file of its own in a kernel."""
        whole = self.names.get("__file__")  # a notebook that was converted to a script
        own = code.co_filename == self.code.co_filename
        return (own and code.co_filename != whole) or code in _nested(self.code)

    def uses(self) -> set[str]:
        """Return the notebook's names that the test uses, also in functions that it calls."""
        found: set[str] = set()
        waiting = [self.code]
        while waiting:
            for name in _global_names(waiting.pop()) - found:
                if name in self.names:
                    found.add(name)
                    waiting += self._codes(self.names[name])
        return found

    def own(self, names: list[str]) -> set[str]:
        """Return those of the names that are functions or classes of the notebook."""
        return {name for name in names if any(True for _ in self._codes(self.names.get(name)))}

    def _codes(self, value: Any) -> Iterator[CodeType]:
        """Yield the code of a function, an op or a class of the notebook."""
        if type(value) is Op:
            value = value.forward
        elif isinstance(value, staticmethod | classmethod):
            value = value.__func__
        elif isinstance(value, property):
            value = value.fget
        if isinstance(value, FunctionType) and value.__globals__ is self.names:
            yield value.__code__
        elif isinstance(value, type) and value.__module__ == self.names.get("__name__"):
            for member in vars(value).values():
                if not isinstance(member, type):
                    yield from self._codes(member)


def _nested(code: CodeType) -> Iterator[CodeType]:
    """Yield code and the functions defined in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _nested(constant)


def _global_names(code: CodeType) -> set[str]:
    """Return the global names that code and the functions defined in it read."""
    loads = ("LOAD_NAME", "LOAD_GLOBAL")
    return {i.argval for c in _nested(code) for i in dis.get_instructions(c) if i.opname in loads}
