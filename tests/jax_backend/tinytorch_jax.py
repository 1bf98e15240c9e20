"""JAX's arrays, which are immutable: ``TT_BACKEND=jax``."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tinytorch.backends import Backend, BackendError
from tinytorch.backends.base import host_array
from tinytorch.backends.indices import check_ids, check_key, is_basic
from tinytorch.backends.random_bits import random_bits


class JaxBackend(Backend):
    """JAX's arrays, without its transformations such as `jit` and `grad`.

    It enables 64-bit numbers for the whole process, without which JAX has neither int64, the dtype
    of token ids, nor float64.
    """

    name = "jax"
    mutable = False

    def __init__(self) -> None:
        jax.config.update("jax_enable_x64", True)
        self.array_type = type(jnp.zeros(1))
        names = "reshape", "concat", "stack"
        shaped = {n: _shaped(getattr(jnp, n)) for n in names}
        shaped["permute_dims"] = _shaped(_permute_dims)
        self.xp = self.namespace(jnp, random_bits=partial(random_bits, jnp), **shaped)

    def __str__(self) -> str:
        return f"jax {jax.__version__} on {jax.devices()[0]}"

    def asarray(self, data: Any, dtype: Any = None) -> jax.Array:
        if isinstance(data, jax.Array):
            return jnp.array(data, dtype=dtype)
        host = host_array(data, dtype)
        array = jnp.asarray(host)
        if array.dtype != host.dtype:
            raise BackendError(
                f"JAX made {array.dtype} of {host.dtype}: jax_enable_x64 was switched off"
            )
        return array

    def to_numpy(self, array: jax.Array) -> np.ndarray[Any, Any]:
        return np.asarray(array)

    @staticmethod
    def index(x: jax.Array, key: Any) -> jax.Array:
        check_key(x.shape, key, np.asarray)  # JAX would choose another element
        return x[key]

    @staticmethod
    def index_add(x: jax.Array, key: Any, values: Any) -> jax.Array:
        check_key(x.shape, key, np.asarray)
        return x.at[key].add(_fitting(x, key, values))

    @staticmethod
    def index_set(x: jax.Array, key: Any, values: Any) -> jax.Array:
        check_key(x.shape, key, np.asarray)
        return x.at[key].set(_fitting(x, key, values))

    @staticmethod
    def take_rows(x: jax.Array, indices: jax.Array) -> jax.Array:
        check_ids(np.asarray(indices), len(x))
        return jnp.take(x, indices, axis=0)

    @staticmethod
    def segment_sum(values: jax.Array, ids: jax.Array, rows: int) -> jax.Array:
        return jax.ops.segment_sum(values, ids, num_segments=rows)

    @staticmethod
    def put_along_axis(x: jax.Array, indices: jax.Array, values: Any, axis: int) -> jax.Array:
        return jnp.put_along_axis(x, indices, values, axis, inplace=False)

    @staticmethod
    def pad(x: jax.Array, widths: Any, value: float = 0.0) -> jax.Array:
        return jnp.pad(x, widths, constant_values=value)

    @staticmethod
    def storage(x: jax.Array) -> jax.Array:
        return x


def _permute_dims(x: jax.Array, axes: Any) -> jax.Array:
    """`jnp.permute_dims`, which refuses negative axes."""
    return jnp.permute_dims(x, tuple(axis + x.ndim if axis < 0 else axis for axis in axes))


def _shaped(function: Any) -> Any:
    """A function whose error for shapes that do not fit is a ValueError, as NumPy's."""

    def call(x: Any, *arguments: Any, **settings: Any) -> Any:
        try:
            return function(x, *arguments, **settings)
        except TypeError as error:
            raise ValueError(str(error)) from error

    return call


def _fitting(x: jax.Array, key: Any, values: Any) -> Any:
    """Values for x[key] without first axes of size 1 that x[key] does not have."""
    if not hasattr(values, "ndim"):
        return values
    ndim = jax.eval_shape(lambda x: x[key], x).ndim if is_basic(key) else x[key].ndim
    while values.ndim > ndim and values.shape[0] == 1:
        values = values[0]
    return values.astype(x.dtype)
