"""The names of `torch.cuda`."""

from typing import Any

from .missing import missing_name

__all__: list[str] = []


def __getattr__(name: str) -> Any:
    raise missing_name("torch.cuda", name, globals())
