"""The names of `torch.linalg`."""

from typing import Any

from .missing import missing_name

__all__: list[str] = []


def __getattr__(name: str) -> Any:
    raise missing_name("torch.linalg", name, globals())
