"""The names of PyTorch that source code uses, found in its syntax tree.

``python tests/torch_names.py FILE...`` prints them, and how many of them TinyTorch has.
"""

import ast
import importlib
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

# Attributes of tuples, dicts and devices that are names of tensors' methods too.
NOT_OF_TENSORS = {"values", "indices", "keys", "items", "index", "name", "type"}


def imported_names(tree: ast.AST) -> dict[str, str]:
    """What each imported name refers to, as a dotted name: {"F": "torch.nn.functional"}."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.split(".")[0]
                names[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return names


def dotted_name(node: ast.AST) -> str | None:
    """``a.b.c`` for the expression a.b.c; None for anything but names and attributes."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        value = dotted_name(node.value)
        return value and f"{value}.{node.attr}"
    return None


def owner_of(attribute: str, is_self: bool) -> str | None:
    """The class of PyTorch that has this attribute: Tensor, Module, Optimizer or LRScheduler.

    Args:
        attribute: its name; the type of the object is not known.
        is_self: whether the object is ``self``, which is a module and never a tensor.
    """
    import torch

    if attribute.startswith("_") or attribute in NOT_OF_TENSORS:
        return None
    classes = {
        "Tensor": torch.Tensor,
        "Module": torch.nn.Module,
        "Optimizer": torch.optim.Optimizer,
        "LRScheduler": torch.optim.lr_scheduler.LRScheduler,
    }
    for name, cls in classes.items():
        if hasattr(cls, attribute) and not (is_self and name != "Module"):
            return name
    return None


def used_names(source: str) -> Iterator[str]:
    """Every use of a name: ``torch.nn.Linear``, ``Tensor.view``, ``Module.apply``."""
    tree = ast.parse(source)
    imported = imported_names(tree)
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute | ast.Name):
            continue
        first, _, rest = (dotted_name(node) or "").partition(".")
        if first in imported:
            full = ".".join(filter(None, [imported[first], rest]))
            if full.split(".")[0] == "torch" and full != "torch" and id(node) not in inner:
                yield full
        elif isinstance(node, ast.Attribute):
            is_self = isinstance(node.value, ast.Name) and node.value.id == "self"
            owner = owner_of(node.attr, is_self)
            if owner:
                yield f"{owner}.{node.attr}"


def in_tinytorch(name: str) -> bool:
    """Whether TinyTorch has the name ``torch.nn.Linear`` or ``Tensor.view``."""
    import tinytorch

    first, *rest = name.split(".")
    if first == "LRScheduler":
        return in_tinytorch(f"torch.optim.lr_scheduler.LRScheduler.{rest[0]}")
    value: Any = tinytorch if first == "torch" else getattr(tinytorch, first)
    for depth, part in enumerate(rest, start=1):
        try:
            value = getattr(value, part)
        except AttributeError:
            try:
                value = importlib.import_module(".".join(["tinytorch", *rest[:depth]]))
            except ImportError:
                return False
    return True


def count(paths: Iterable[Path]) -> Counter[str]:
    """In how many of the files each name is used."""
    return Counter(name for path in paths for name in set(used_names(path.read_text("utf-8"))))


def summary(names: Counter[str]) -> str:
    """How many names there are and how many TinyTorch has, by kind, and what is missing."""
    kinds = Counter(name.rpartition(".")[0] for name in names)
    missing = [
        name for name in sorted(names, key=lambda n: (-names[n], n)) if not in_tinytorch(name)
    ]
    lacking = Counter(name.rpartition(".")[0] for name in missing)
    lines = [
        f"{kinds[kind] - lacking[kind]:4} of {kinds[kind]:3}  {kind}" for kind in sorted(kinds)
    ]
    lines += [
        f"{len(names) - len(missing):4} of {len(names):3}  in all",
        "missing (files that use it):",
    ]
    return "\n".join([*lines, *[f"{names[name]:4}  {name}" for name in missing]])


if __name__ == "__main__":
    print(summary(count(map(Path, sys.argv[1:]))))
