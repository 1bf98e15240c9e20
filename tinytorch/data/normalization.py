"""Normalization of features by the statistics of a training set."""

from typing import Any, Self

import numpy as np

from ..arguments import ShapeError
from ..backends.base import DefaultFloat
from ..tensor import Tensor

Values = np.ndarray[Any, Any]


class _Statistics:
    """Means and standard deviations, and checks of what they are computed from and applied to."""

    def __init__(self, mean: Any = None, std: Any = None) -> None:
        self.mean: Values | None = None
        self.std: Values | None = None
        if mean is not None or std is not None:
            if mean is None or std is None:
                raise ValueError("Standardizer takes both mean and std, or neither")
            self._store(np.asarray(mean, np.float64), np.asarray(std, np.float64))

    def __repr__(self) -> str:
        if self.mean is None or self.std is None:
            return f"{type(self).__name__}()"
        return f"{type(self).__name__}(mean={self.mean.tolist()}, std={self.std.tolist()})"

    def _store(self, mean: Values, std: Values) -> Self:
        """Set both attributes, and return self."""
        if mean.shape != std.shape:
            shapes = f"{mean.shape} and {std.shape}"
            raise ShapeError(f"Standardizer needs mean and std of one shape, not {shapes}")
        if not (np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all()):
            raise ValueError("Standardizer needs finite means, and finite std above 0")
        self.mean, self.std = mean, std
        return self

    def _checked(self, x: Any, axis: int | tuple[int, ...]) -> Values:
        """`x` as a float64 array; an error if statistics over `axis` would be of no use."""
        values = np.asarray(x, np.float64)
        axes = {
            a + values.ndim if a < 0 else a for a in ((axis,) if isinstance(axis, int) else axis)
        }
        if values.ndim == 0 or not {0} <= axes <= set(range(values.ndim)):
            raise ShapeError(
                "Standardizer.fit needs examples along axis 0, which is one of the axes to reduce:"
                f" shape {values.shape}, axis={axis}"
            )
        if values.size == 0:
            raise ValueError(
                f"Standardizer.fit needs at least one number, got shape {values.shape}"
            )
        if not np.isfinite(values).all():
            where = np.argwhere(~np.isfinite(values))[0].tolist()
            found = values[tuple(where)]
            raise ValueError(f"Standardizer.fit needs finite numbers, not {found} at x{where}")
        spread = np.ptp(values, axis=tuple(axes), keepdims=True)[0]
        if not spread.all():
            where = np.argwhere(spread == 0)[0].tolist()
            raise ValueError(
                f"Standardizer.fit: feature {where} is constant in all {len(values)} examples, so"
                " its standard deviation is 0; leave it out, or reduce more axes"
            )
        return values

    def _ready(self, x: Any) -> Tensor:
        """`x` as a tensor; an error before `fit`, and for examples of another shape."""
        if self.mean is None:
            raise RuntimeError("Standardizer has no statistics yet: call fit(training set) first")
        tensor: Tensor = x if isinstance(x, Tensor) else Tensor(x)
        shape = tensor.shape[tensor.ndim - self.mean.ndim :]
        if tensor.ndim < self.mean.ndim or any(
            n not in (1, size) for n, size in zip(self.mean.shape, shape, strict=True)
        ):
            raise ShapeError(
                f"Standardizer has statistics of shape {self.mean.shape}, which examples of shape"
                f" {tensor.shape} do not fit"
            )
        return tensor


def _cast(z: Tensor, x: Tensor) -> Tensor:
    """`z` in the dtype of `x`; in the default one if `x` has integers."""
    return z.to(x.dtype if x.is_floating_point() else DefaultFloat.dtype)


class Standardizer(_Statistics):
    """Shift and scale features to mean 0 and standard deviation 1.

    The statistics are those of the training set, and only its: `fit` it there, and apply it to
    everything. They are computed, and applied, in float64; results have the dtype of the data.

    Attributes:
        mean, std: float64 arrays that broadcast against an example; None before `fit`.

    >>> from tinytorch import Tensor
    >>> from tinytorch.data.normalization import Standardizer
    >>> scale = Standardizer().fit(Tensor([[1.0, 50.0], [3.0, 90.0]]))
    >>> scale(Tensor([[5.0, 70.0]]))
    Tensor([[3., 0.]])
    """

    def fit(self, x: Any, axis: int | tuple[int, ...] = 0) -> Self:
        """Compute the statistics of a training set, and return self.

        Args:
            x: examples (N, ...), a tensor or an array.
            axis: axes to reduce, 0 among them; (0, 2, 3) for images (N, C, H, W).

        Raises:
            ValueError: no examples, a NaN or an infinite number, or a constant feature.
        """
        values = self._checked(x, axis)
        mean, std = values.mean(axis, keepdims=True), values.std(axis, keepdims=True)
        return self._store(mean[0], std[0])

    def __call__(self, x: Any) -> Tensor:
        """Normalize examples (..., *shape of an example)."""
        x = self._ready(x)
        return _cast((x.to("float64") - self.mean) / self.std, x)

    def inverse(self, z: Any) -> Tensor:
        """Undo the normalization, for example of what a model predicts."""
        z = self._ready(z)
        return _cast(z.to("float64") * self.std + self.mean, z)
