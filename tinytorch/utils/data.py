"""The names of `torch.utils.data`."""

from typing import Any

from ..dataloader import DataLoader, Dataset, TensorDataset
from ..missing import missing_name

__all__ = ["DataLoader", "Dataset", "TensorDataset"]


def __getattr__(name: str) -> Any:
    raise missing_name("torch.utils.data", name, globals())
