"""Create tensors of random numbers, equal on every backend: they are drawn on the host."""

from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from ..arguments import ShapeError, check_integer, python_number
from ..autograd import Variable, no_grad
from ..backends import Backend
from ..ops import random
from ..ops.dtypes import get_default_dtype, host_dtype
from ..ops.generator import Generator, decoded, encoded
from ..ops.random import manual_seed
from .creation import Options, backend_of, check_sizes, dtype_of, finished, named_size

if TYPE_CHECKING:
    from ..tensor import Tensor

__all__ = [
    "Generator",
    "get_rng_state",
    "initial_seed",
    "manual_seed",
    "normal",
    "rand",
    "rand_like",
    "randint",
    "randint_like",
    "randn",
    "randn_like",
    "randperm",
    "seed",
    "set_rng_state",
]


def source(generator: Any) -> np.random.Generator:
    """The generator to draw from: the argument of a function, or the one of `manual_seed`."""
    if generator is None:
        return random.generator()
    if not isinstance(generator, np.random.Generator):
        raise TypeError(f"generator must be a Generator, not {type(generator).__name__}")
    return generator


def rand(*size: Any, generator: Any = None, **options: Unpack[Options]) -> "Tensor":
    """Random numbers, uniform in [0, 1): ``rand(2, 3)`` or ``rand((2, 3))``."""
    return _floats("rand", uniform, size, generator, options, get_default_dtype())


def randn(*size: Any, generator: Any = None, **options: Unpack[Options]) -> "Tensor":
    """Normal random numbers with mean 0 and standard deviation 1."""
    return _floats("randn", standard_normal, size, generator, options, get_default_dtype())


def rand_like(x: "Tensor", *, generator: Any = None, **options: Unpack[Options]) -> "Tensor":
    """Random numbers, uniform in [0, 1), with the shape, dtype and backend of `x`."""
    return _floats("rand_like", uniform, x.shape, generator, options, x.dtype, x._backend)


def randn_like(x: "Tensor", *, generator: Any = None, **options: Unpack[Options]) -> "Tensor":
    """Normal random numbers with the shape, dtype and backend of `x`."""
    return _floats("randn_like", standard_normal, x.shape, generator, options, x.dtype, x._backend)


def randint(low: Any, *bounds: Any, generator: Any = None, **options: Unpack[Options]) -> "Tensor":
    """Random integers in [low, high): ``randint(high, size)`` or ``randint(low, high, size)``.

    >>> from tinytorch import randint
    >>> randint(0, 10, (2, 3)).shape, randint(10, (4,)).shape
    ((2, 3), (4,))
    """
    low, high, size = _bounds(low, bounds, options)
    return _integers("randint", low, high, size, generator, options, "int64")


def randint_like(
    x: "Tensor", low: Any, high: Any = None, *, generator: Any = None, **options: Unpack[Options]
) -> "Tensor":
    """Random integers in [low, high), or in [0, low), with the shape, dtype and backend of `x`."""
    low, high = (0, low) if high is None else (low, high)
    return _integers("randint_like", low, high, x.shape, generator, options, x.dtype, x._backend)


def randperm(n: int, *, generator: Any = None, **options: Unpack[Options]) -> "Tensor":
    """The integers 0 to n - 1 in random order."""
    values = source(generator).permutation(check_integer("randperm: n", n))
    backend = backend_of(options)
    dtype = dtype_of("randperm", options, backend, "int64")
    return finished(backend.asarray(values, dtype), backend, options)


def normal(
    mean: Any = 0.0,
    std: Any = 1.0,
    size: Any = None,
    *,
    generator: Any = None,
    **options: Unpack[Options],
) -> "Tensor":
    """Normal random numbers with a mean and a standard deviation: numbers, or tensors.

    Args:
        size: the shape; with tensors, it is that of mean and std, broadcast.
    """
    given = [value for value in (mean, std) if isinstance(value, Variable)]
    if not given:
        if size is None:
            raise TypeError("normal needs a size if mean and std are numbers")
        sizes: Any = size if isinstance(size, tuple | list) else (size,)
        with no_grad():
            numbers = randn(sizes, generator=generator, **options)
            return numbers.mul_(std).add_(mean)
    if size is not None:
        raise TypeError("normal takes a size only if mean and std are numbers")
    try:
        shape = np.broadcast_shapes(*[value._array.shape for value in given])
    except ValueError as error:
        raise ShapeError(f"normal: the shapes of mean and std do not fit: {error}") from None
    options = {"dtype": given[0]._array.dtype, "backend": given[0]._backend, **options}
    result: Tensor = (randn(shape, generator=generator, **options) * std + mean).detach()
    return result


def uniform(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Any:
    """Numbers in [0, 1) of NumPy's dtype `dtype`; rounding never gives 1."""
    if dtype == np.float16:
        return np.floor(rng.random(shape, np.float32) * 2**11) / 2**11
    return rng.random(shape, dtype)


def standard_normal(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Any:
    """Normal numbers of NumPy's dtype `dtype`."""
    return rng.standard_normal(shape, np.float64 if dtype == np.float64 else np.float32)


def _floats(
    name: str,
    draw: Any,
    size: tuple[Any, ...],
    generator: Any,
    options: Options,
    dtype: Any,
    own: Backend | None = None,
) -> "Tensor":
    size = named_size(size, options)
    backend, sizes = backend_of(options, own), check_sizes(name, size)
    dtype = dtype_of(name, options, backend, dtype)
    if not backend.xp.isdtype(dtype, "real floating"):
        raise TypeError(f"{name} draws floating numbers, not {dtype}; use randint")
    host = host_dtype(dtype)
    values = np.asarray(draw(source(generator), sizes, host), host)
    return finished(backend.asarray(values, dtype), backend, options)


def _bounds(low: Any, bounds: tuple[Any, ...], options: Any) -> tuple[Any, Any, Any]:
    """(low, high, size) of the arguments of randint."""
    named = [options.pop(name) for name in ("high", "size") if name in options]
    given: list[Any] = [low, *bounds, *named]
    if len(given) == 2:
        given.insert(0, 0)
    if len(given) != 3:
        raise TypeError("randint is called as randint(high, size) or randint(low, high, size)")
    return given[0], given[1], given[2]


def _integers(
    name: str,
    low: Any,
    high: Any,
    size: Any,
    generator: Any,
    options: Options,
    dtype: Any,
    own: Backend | None = None,
) -> "Tensor":
    low, high = int(python_number(low)), int(python_number(high))
    if low >= high:
        raise ValueError(f"{name} draws from [low, high), which is empty: [{low}, {high})")
    if not isinstance(size, tuple | list):
        raise TypeError(f"{name}: the size must be a tuple, as in randint(0, 10, (2, 3))")
    backend, sizes = backend_of(options, own), check_sizes(name, (size,))
    dtype = dtype_of(name, options, backend, dtype)
    values = source(generator).integers(low, high, sizes)
    return finished(backend.asarray(np.asarray(values), dtype), backend, options)


# The generator of `manual_seed`


def initial_seed() -> int:
    """The seed of the last `manual_seed`."""
    return _current("initial_seed").initial_seed()


def seed() -> int:
    """Seed all random numbers with a random seed, and return it."""
    return manual_seed(Generator().initial_seed()).initial_seed()


def get_rng_state() -> "Tensor":
    """The state of the random numbers and of the dropout masks as a tensor of bytes."""
    state = decoded(_current("get_rng_state").get_state())
    return encoded({**state, "masks": random.mask_state()})


def set_rng_state(new_state: "Tensor") -> None:
    """Continue from a state that `get_rng_state` returned."""
    generator = Generator().set_state(new_state)
    random.set_generator(generator, decoded(new_state).get("masks"))


def _current(name: str) -> Generator:
    generator = random.generator()
    if not isinstance(generator, Generator):
        raise RuntimeError(f"{name} needs a generator of manual_seed(), not one of NumPy")
    return generator
