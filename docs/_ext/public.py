"""`.. public:: MODULE`: public names of a module, as a table and with their docstrings.

    .. public:: tinytorch
       :from: tinytorch.functions.sorting

    .. public:: tinytorch.generation.generate
       :names: generate stream

Without `:names:`, all public names of `MODULE` (or of the file that `:from:` names). A name that is
documented in one of `HOMES`, the places where users look first, refers to it: each docstring is
shown once. `.. methods:: CLASS` does the same for the methods of a class, by the file of each.
"""

import inspect
from collections.abc import Iterable, Iterator
from importlib import import_module
from types import ModuleType
from typing import Any, ClassVar

from docstrings import first_sentence
from docutils import nodes
from docutils.parsers.rst import Directive, directives
from docutils.statemachine import StringList
from sphinx.application import Sphinx

HOMES = ("tinytorch", "tinytorch.nn", "tinytorch.nn.functional", "tinytorch.optim")


class Public(Directive):
    required_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {
        "from": directives.unchanged,
        "names": directives.unchanged,
        "without": directives.unchanged,
        "inherited": directives.flag,
    }

    def run(self) -> list[nodes.Node]:
        module = import_module(self.arguments[0])
        listed = import_module(self.options.get("from", module.__name__))
        names = self.options.get("names", "").split() or public_names(listed)
        names = sorted(set(names) - set(self.options.get("without", "").split()), key=str.lower)
        homes = {name: home(module, name) for name in names}
        lines = list(table((name, homes[name], getattr(module, name)) for name in names))
        for name in names:
            if homes[name] == f"{module.__name__}.{name}":
                lines += entry(homes[name], getattr(module, name), "inherited" in self.options)
        return parsed(self, lines)


class Methods(Directive):
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        full_name = self.arguments[0]
        module, _, name = full_name.rpartition(".")
        cls = getattr(import_module(module), name)
        lines: list[str] = []
        for file, names in sorted(methods_by_file(cls).items()):
            lines += ["", f".. rubric:: {first_sentence(import_module(file).__doc__)}", ""]
            homes = {name: method_home(full_name, cls, name) for name in names}
            lines += table((name, homes[name], inspect.getattr_static(cls, name)) for name in names)
            for name in names:
                if homes[name] == f"{full_name}.{name}":
                    kind = "method" if callable(getattr(cls, name)) else "attribute"
                    lines += ["", f".. auto{kind}:: {homes[name]}"]
        return parsed(self, lines)


def public_names(module: ModuleType) -> list[str]:
    """`__all__`, or else the names that the module itself defines."""
    if hasattr(module, "__all__"):
        names = [str(name) for name in module.__all__]
        return [name for name in names if not inspect.ismodule(getattr(module, name))]
    names = [name for name in vars(module) if not name.startswith("_")]
    return [n for n in names if getattr(vars(module)[n], "__module__", "") == module.__name__]


def home(module: ModuleType, name: str) -> str:
    """The full name under which an object is documented."""
    value = getattr(module, name)
    for other in HOMES if callable(value) else ():
        if vars(import_module(other)).get(name) is value:
            return f"{other}.{name}"
    return f"{module.__name__}.{name}"


def methods_by_file(cls: type) -> dict[str, list[str]]:
    """The public names of a class by the module that defines them."""
    files: dict[str, list[str]] = {}
    for name in dir(cls):
        value = inspect.getattr_static(cls, name)
        function = value.fget if isinstance(value, property) else value
        file = getattr(inspect.unwrap(function), "__module__", None) if function else None
        if not name.startswith("_") and (file or "").startswith("tinytorch") and callable(function):
            files.setdefault(str(file), []).append(name)
    return files


def method_home(full_name: str, cls: type, name: str) -> str:
    """A method that is also a function of the package refers to it."""
    value = inspect.getattr_static(cls, name)
    package = import_module(HOMES[0])
    if inspect.isfunction(value) and vars(package).get(name) is value:
        return f"{HOMES[0]}.{name}"
    return f"{full_name}.{name}"


def table(rows: Iterable[tuple[str, str, object]]) -> Iterator[str]:
    """Names with the first sentence of their docstrings."""
    yield from ["", ".. list-table::", "   :class: names", ""]
    for name, target, value in rows:
        text = first_sentence(value.__doc__) if is_own(value) else f"``{shown(value)}``"
        yield from [f"   * - :py:obj:`{name} <{target}>`", f"     - {text}"]
    yield ""


def is_own(value: object) -> bool:
    """Whether it has a docstring of its own: no constant, no class of NumPy."""
    if isinstance(value, property):
        return True
    return callable(value) and str(getattr(value, "__module__", "")).startswith("tinytorch")


def shown(value: object) -> str:
    return f"{value.__module__}.{value.__qualname__}" if inspect.isclass(value) else repr(value)


def entry(full_name: str, value: object, inherited: bool) -> list[str]:
    if not is_own(value):
        lines = [f".. py:data:: {full_name}", f"   :value: {shown(value)}"]
    elif inspect.isclass(value):
        lines = [f".. autoclass:: {full_name}", "   :members:"]
        lines += ["   :inherited-members: object, dict"] if inherited else []
    else:
        lines = [f".. autofunction:: {full_name}"]
    return ["", *lines, ""]


def parsed(directive: Directive, lines: list[str]) -> list[nodes.Node]:
    node = nodes.container()
    source = directive.state.document.current_source or "public"
    directive.state.nested_parse(StringList(lines, source), directive.content_offset, node)
    return node.children


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("public", Public)
    app.add_directive("methods", Methods)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
