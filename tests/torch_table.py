"""Compare the public names of PyTorch with TinyTorch's, and write docs/pytorch-names.md.

``python tests/torch_table.py`` writes the page, from the PyTorch that is installed.
"""

import importlib
import inspect
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

PAGE = Path(__file__).parents[1] / "docs" / "pytorch-names.md"
NAMESPACES = [
    "torch",
    "torch.Tensor",
    "torch.nn",
    "torch.nn.Module",
    "torch.nn.functional",
    "torch.nn.init",
    "torch.nn.utils",
    "torch.optim",
    "torch.optim.lr_scheduler",
    "torch.utils.data",
    "torch.linalg",
]
# Where the signatures agree, or cannot be compared, and yet the behaviour is another.
DIFFERENT: dict[str, str] = {}
# Arguments that TinyTorch leaves out everywhere: they concern memory, not results.
NOT_COMPARED = {
    "capturable",
    "differentiable",
    "foreach",
    "fused",
    "inplace",
    "layout",
    "memory_format",
    "names",
    "non_blocking",
    "out",
    "pin_memory",
    "reduce",
    "size_average",
    "stacklevel",
    "_stacklevel",
}
OUR_NAMES = {"axis": "dim", "axes": "dims", "keepdims": "keepdim", "x": "input"}
FIRST = {"input", "self", "x", "tensor"}


class Row(NamedTuple):
    name: str
    status: str  # "same", "different" or "missing"
    how: str


def rows(namespace: str) -> Iterator[Row]:
    """One row for each public name of a namespace of PyTorch."""
    theirs = resolve(namespace)
    try:
        ours: Any = resolve(namespace.replace("torch", "tinytorch", 1))
    except ImportError:
        ours = None
    for name in public_names(theirs):
        full = f"{namespace}.{name}"
        mine = getattr(ours, name, None)
        if mine is None or (isinstance(mine, ModuleType) and mine.__name__.count(".") == 0):
            yield Row(name, "missing", "")
            continue
        how = DIFFERENT.get(full) or lacking(getattr(theirs, name), mine)
        yield Row(name, "different" if how else "same", how)


def resolve(name: str) -> Any:
    """The module or class of a dotted name."""
    first, *rest = name.split(".")
    value = importlib.import_module(first)
    for depth, part in enumerate(rest, start=2):
        try:
            value = getattr(value, part)
        except AttributeError:
            value = importlib.import_module(".".join([first, *rest][:depth]))
    return value


def public_names(owner: Any) -> list[str]:
    """The names that a user may use: of a module, those that it defines or lists."""
    listed = getattr(owner, "__all__", None)
    names = set(dir(owner)) if listed is None or owner.__name__ == "torch.nn" else set(listed)
    if isinstance(owner, ModuleType):
        names = {n for n in names if is_public(owner, n)}
    return sorted((n for n in names if n[:1] != "_"), key=lambda n: (n.lower(), n))


def is_public(module: ModuleType, name: str) -> bool:
    """Whether a module's attribute belongs to PyTorch, is no private type and no folder."""
    value = getattr(module, name, None)
    if value is None or isinstance(value, ModuleType):
        return False
    origin = getattr(value, "__module__", None) or "torch"
    return origin.split(".")[0] == "torch" or not callable(value)


def lacking(theirs: Any, ours: Any) -> str:
    """Which arguments of PyTorch's callable ours does not accept, as a phrase."""
    wanted, accepted = arguments(theirs), arguments(ours)
    if not wanted or accepted is None:
        return ""
    accepted = {OUR_NAMES.get(name, name) for name in accepted} | accepted
    missing = [name for name in wanted if name not in accepted | NOT_COMPARED | FIRST]
    return f"without {', '.join(f'`{name}`' for name in sorted(missing))}" if missing else ""


def arguments(function: Any) -> set[str] | None:
    """The names of a callable's arguments; None if it accepts any, or they are not known."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return documented_arguments(function)
    renamed = getattr(function, "torch_names", set())
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return documented_arguments(function) if function.__module__ == "torch" else None
    return renamed | {p.name for p in parameters if p.kind is not p.VAR_POSITIONAL}


def documented_arguments(function: Any) -> set[str] | None:
    """The arguments in the first line of a docstring, as of PyTorch's compiled functions."""
    lines = (getattr(function, "__doc__", None) or "").strip().splitlines()
    found = re.match(r"[\w.]+\((.*?)\)\s*->", lines[0]) if lines else None
    if found is None:
        return None
    named = re.sub(r"=[^,]*|\[[^\]]*\]", "", found[1]).split(",")
    parts = {part.split(":")[0].strip() for part in named}
    return {part for part in parts if part.isidentifier()}


def page() -> str:
    """The page, in Markdown."""
    import torch

    tables = {namespace: list(rows(namespace)) for namespace in NAMESPACES}
    version = torch.__version__.split("+")[0]
    lines = [
        "# PyTorch's names in TinyTorch",
        "",
        f"Every public name of these namespaces of PyTorch {version}, generated from the code of"
        " both by",
        "`python tests/torch_table.py`. *same*: the name exists and accepts PyTorch's arguments;"
        " *different*:",
        "it exists, and the last column says how it differs; *missing*: it raises an"
        " AttributeError that refers",
        "to this page. Arguments that concern only memory, such as `out` and `pin_memory`, are not"
        " compared.",
        "[pytorch.md](pytorch.md) describes the differences in behaviour.",
        "",
        "| namespace | same | different | missing |",
        "|---|---|---|---|",
    ]
    for namespace, table in tables.items():
        n = Counter(row.status for row in table)
        lines.append(f"| `{namespace}` | {n['same']} | {n['different']} | {n['missing']} |")
    for namespace, table in tables.items():
        lines += ["", f"## {namespace}", "", "| name | | how |", "|---|---|---|"]
        lines += [f"| `{row.name}` | {row.status} | {row.how} |" for row in table]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
