"""Fixtures for all tests."""

from typing import Any

import numpy as np
import pytest

import tinytorch
from tinytorch import backends

# What reads a value on the host. array-api-strict lets these pass on a device; a GPU would wait.
HOST_READS = ("__float__", "__int__", "__bool__", "__complex__", "__index__", "__dlpack__")


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> str:
    """The strict backend's name, with every read of a device's value on the host forbidden."""
    array_type = backends.get("strict").array_type

    def forbidden(name: str) -> Any:
        def read(self: Any, *arguments: Any, **keywords: Any) -> Any:
            raise AssertionError(f"{name} reads a device's array on the host")

        return read

    for name in HOST_READS:
        monkeypatch.setattr(array_type, name, forbidden(name))
    return "strict"


@pytest.fixture(params=["numpy", "strict"])
def backend(request: pytest.FixtureRequest) -> str:
    """Each backend that runs without a GPU; on strict no host reads."""
    if request.param == "strict":
        request.getfixturevalue("strict")
    return str(request.param)


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Every test starts from the same random state, whatever ran before it."""
    tinytorch.manual_seed(1234)
    np.random.seed(1234)
