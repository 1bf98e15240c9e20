"""Run the cells of a notebook as Jupyter does, in Pyodide: for the pages of lessons."""

import ast
import base64
import io
import linecache
import logging
import os
import sys
import traceback
from collections.abc import Callable
from types import ModuleType
from typing import Any

from ..tito.magics import without_commands

Send = Callable[[dict[str, Any]], None]


class Session:
    """The variables of a notebook.

    Args:
        send: called with each output: {"type": "text", "text": ...} for a value or an error, with
            "error": True, and {"type": "image", "png": ...} in base64 for a figure.
    """

    def __init__(self, send: Send) -> None:
        self.send = send
        self.module = ModuleType("__main__")
        self.module.__dict__["__builtins__"] = __builtins__
        sys.modules["__main__"] = self.module  # where pickle looks for a notebook's classes
        self.number = 0
        os.environ.setdefault("MPLBACKEND", "agg")  # figures are pictures
        logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # "may take a moment"

    def run(self, source: str) -> bool:
        """Run a cell, send its outputs, and return whether it raised no error."""
        self.number += 1
        name = f"<cell {self.number}>"
        source = without_commands(source)
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
        try:
            value = self._value(source, name)
            if value is not None:
                self.send({"type": "text", "text": repr(value)})
            self._send_figures()
        except BaseException as error:
            self.send({"type": "text", "text": message(error, name), "error": True})
            return False
        return True

    def _value(self, source: str, name: str) -> Any:
        """Execute a cell, and return the value of its last expression."""
        tree = ast.parse(source, name)
        last = tree.body[-1] if tree.body else None
        names = self.module.__dict__
        if not isinstance(last, ast.Expr) or source.rstrip().endswith(";"):
            exec(compile(tree, name, "exec"), names)
            return None
        before = ast.Module(tree.body[:-1], tree.type_ignores)
        exec(compile(before, name, "exec"), names)
        value = eval(compile(ast.Expression(last.value), name, "eval"), names)
        if value is not None:
            names["_"] = value
        return value

    def _send_figures(self) -> None:
        pyplot: Any = sys.modules.get("matplotlib.pyplot")
        if pyplot is None:
            return
        for number in pyplot.get_fignums():
            stream = io.BytesIO()
            pyplot.figure(number).savefig(stream, format="png", bbox_inches="tight")
            self.send({"type": "image", "png": base64.b64encode(stream.getvalue()).decode()})
        pyplot.close("all")


def message(error: BaseException, name: str) -> str:
    """Return what Jupyter displays of an error: a check's message alone, else the traceback."""
    render = getattr(error, "_render_traceback_", None)
    if render is not None:
        return "\n".join(render())
    if isinstance(error, SyntaxError) and error.filename == name:
        return "".join(traceback.format_exception_only(error)).rstrip("\n")
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename != name:
        trace = trace.tb_next  # the frames of this file
    lines = traceback.format_exception(type(error), error, trace)
    return "".join(lines).rstrip("\n")
