"""Numbers drawn on the host: the stream of the generator, whatever the size of the chunks."""

import numpy as np
import pytest

from tinytorch import manual_seed
from tinytorch.ops import random


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (7,), (130, 257)])
@pytest.mark.parametrize("chunk", [1, 100, 2**14])
def test_numbers_are_those_of_one_draw(
    shape: tuple[int, ...], chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random, "CHUNK", chunk)
    manual_seed(5)
    drawn = [random.normal(shape, 0.3), random.uniform(shape, -2.0, 3.0), random.normal((2,))]
    rng = np.random.default_rng(5)
    expected = [rng.standard_normal(shape) * 0.3, rng.uniform(-2.0, 3.0, shape)]
    expected.append(rng.standard_normal(2))
    for mine, other in zip(drawn, expected, strict=True):
        assert mine.dtype == np.float32
        np.testing.assert_array_equal(mine, np.asarray(other, np.float32))
