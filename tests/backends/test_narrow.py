"""On a 32-bit platform integers have 64 bits too."""

from typing import Any

import array_api_compat.numpy as xp
import numpy as np
import pytest

from tinytorch.backends.numpy import narrow

WIDE = narrow.overrides(xp)
X = np.array([[3, 1, 2], [0, 5, 5]], np.int32)


@pytest.mark.parametrize("name", sorted(WIDE.keys() - {"arange", "searchsorted"}))
def test_results_are_int64_with_the_same_values(name: str) -> None:
    settings: dict[str, Any] = {} if name in ("nonzero", "count_nonzero") else {"axis": 1}
    found, expected = WIDE[name](X, **settings), getattr(xp, name)(X, **settings)
    for mine, theirs in (
        zip(found, expected, strict=True) if name == "nonzero" else [(found, expected)]
    ):
        assert mine.dtype == np.int64
        np.testing.assert_array_equal(mine, theirs)


def test_sums_keep_other_dtypes() -> None:
    assert WIDE["sum"](X.astype(np.float32)).dtype == np.float32
    assert WIDE["sum"](X.astype(np.uint8), dtype=xp.uint8).dtype == np.uint8
    assert WIDE["sum"](X > 1).dtype == np.int64
    assert WIDE["searchsorted"](X[0, 1:], X[1]).dtype == np.int64


def test_arange_is_int64_unless_it_is_told_otherwise() -> None:
    assert WIDE["arange"](3).dtype == np.int64
    assert WIDE["arange"](0.5, 3).dtype == np.float64
    assert WIDE["arange"](3, dtype=xp.int32).dtype == np.int32
