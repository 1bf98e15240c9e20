"""Fused single-token decoding, verified against the model's own forward."""

import copy
import weakref
from collections.abc import Callable, Iterable
from operator import is_
from types import FunctionType
from typing import Any, NamedTuple, cast

import numpy as np

from ..arguments import warn
from ..attention import KVCache
from ..autograd import is_grad_enabled, wrap_array
from ..backends import Backend, BackendError, float_errors, trace
from ..backends.base import Array, NumpyArray
from ..backends.decode_step import Choice, Decoder, DecodeStep, GPTWeights, NotFusableError
from ..layers import Linear
from ..modules.module import Module
from ..tensor import Tensor

# Model class -> the function that reads the weights of its instances. Subclasses are not included,
# since they may compute something else.
WEIGHTS: dict[type, Callable[[Any], GPTWeights]] = {}

KEPT_BYTES = 2**26  # of keys and values that are kept for a model's next text

NEVER_DRAWN = 100.0  # this far below the largest logit a token's probability is below 1e-43


def with_fused_step(model: Any) -> Any:
    """Return the model, or a proxy that decodes single tokens faster.

    It is a proxy if the backend has a fused decode step and the class of the model is in `WEIGHTS`.
    The proxy verifies the fused step on the first single token after the prompt: if the logits
    equal those of the model's own forward, it uses the fused step from then on, otherwise the
    model. So the generated text is what the model's own code would compute, even if a student has
    rewritten that code. `backends.Trace` shows which of the two ran, and why.

    Between two tokens, weights may be written to or replaced, and so may parameters, modules,
    methods of an instance and settings such as `eps`: after an assignment to a public attribute of
    one of its modules, the step is read and verified again.

    Three changes are not noticed until the next proxy is created, and so the next text begun: a
    method that is replaced on a *class* between two tokens, an in-place write to the table of
    rotary angles, and code that gives the same logits for the first single token but others later,
    such as attention to the last few tokens only. For these, generate with ``use_cache=False``, or
    on the backend "reference".

    On a GPU, a verified step is kept for the model's next text with its graphs, unless the model or
    a method of its classes has changed. A function that is replaced in a module of this package is
    not noticed then.

        model = with_fused_step(model)
        logits = model(ids, caches)
    """
    backend: Backend = model.backend
    if backend.decode_step is None:
        why = "the backend has no fused step"
    elif type(model) not in WEIGHTS:
        why = f"{class_name(model)} has no fused step"
    else:
        return FusedModel(model)
    trace.fallback("decode step", why, backend.name)
    return model


class Kept(NamedTuple):
    """What one text leaves for the next: a verified step, caches, and a decoder for both."""

    step: "FusedStep"
    caches: list[KVCache]
    choice: Choice
    decoder: Decoder


# They refer to their models weakly.
_kept: "weakref.WeakKeyDictionary[Module, Kept]" = weakref.WeakKeyDictionary()


class FusedModel:
    """Proxy for a model; only `__call__` differs."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._step: FusedStep | None = None
        self._tried = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def __call__(self, ids: Tensor, caches: list[KVCache] | None = None) -> Tensor:
        """As the model's: ids (B, T) -> logits (B, T, V); of a prompt only the last, (B, 1, V)."""
        if not caches or is_grad_enabled():
            return self._run_model(ids, caches)
        step = self.current_step()
        if ids.shape[1:] != (1,) or not caches[0].length:
            if step is None:
                return self._run_model(ids, caches)
            with step.backend.full_precision():
                return step.read(ids, caches)
        if step is not None:
            return step(ids, caches)
        logits = self._run_model(ids, caches)
        if not self._tried:
            self._step, self._tried = _verified_step(self._model, ids, caches, logits), True
        return logits

    def _run_model(self, ids: Tensor, caches: list[KVCache] | None) -> Tensor:
        is_prompt = ids.shape[1] > 1 and not is_grad_enabled()
        model = _prompt_reader(self._model) if is_prompt else self._model
        with self._model.backend.full_precision():
            return model(ids, caches)  # type: ignore[no-any-return]

    def take_kept(self, batch: int, choice: Choice) -> "Kept | None":
        """What the last text left for the next of as many rows and the same settings, or None."""
        kept = _kept.pop(self._model, None)
        if kept is None or kept.choice != choice or len(_arrays(kept.caches)[0]) != batch:
            return None
        if not (kept.step.is_current() and kept.step.has_current_code(kept.caches)):
            return None
        for cache in kept.caches:
            cache.length = 0
        self._step, self._tried = kept.step, True
        return kept

    def keep(self, kept: "Kept") -> None:
        """Leave a step and decoder for the next text, unless their caches are large."""
        if (
            sum(array.nbytes for array in _arrays(kept.caches)) <= KEPT_BYTES
            and kept.step.is_current()
        ):
            _kept[self._model] = kept

    def current_step(self) -> "FusedStep | None":
        """The verified step; None before it is verified, and after the model has changed."""
        if self._step is not None and not self._step.is_current():
            self._step, self._tried = None, False
        return self._step


class FusedStep:
    """The backend's fused step, for the arrays that a model currently holds.

    It refers to the model weakly, so that it can be kept as long as the model.
    """

    def __init__(self, model: Any, caches: list[KVCache]) -> None:
        self._version = Module.version  # before the model is read
        self._model, self.backend = weakref.ref(model), cast(Backend, model.backend)
        assert self.backend.decode_step is not None
        self.step: DecodeStep = self.backend.decode_step(WEIGHTS[type(model)](model))
        self._timed_step = trace.timed(self.step, "decode step", self.backend.name, "fused")
        self._tensors = [tensor for _, tensor in model._named_tensors()]
        self._arrays = [tensor._array for tensor in self._tensors]
        self._parts = list(model.modules())[1:]  # all modules but the model itself
        self._attributes = _attributes([model, *self._parts])
        self._code = _code([model, *self._parts, *caches])
        self._reader = _Reader(model)
        self._graphed = self.backend.graphed and self.backend.graphed(self._reader)

    def is_current(self) -> bool:
        """Whether the model still has the same modules and arrays.

        In-place writes to the arrays take effect.
        """
        version = Module.version
        if version != self._version:  # an attribute of some module of the program was assigned
            if not _are_same(_attributes([self._model(), *self._parts]), self._attributes):
                return False
            self._version = version
        return _are_same([tensor._array for tensor in self._tensors], self._arrays)

    def has_current_code(self, caches: list[KVCache]) -> bool:
        """Whether the classes of all modules and of the caches still have the same methods."""
        return _are_same(_code([self._model(), *self._parts, *caches]), self._code)

    def __call__(self, ids: Tensor, caches: list[KVCache]) -> Tensor:
        """ids (B, 1) -> logits (B, 1, V)."""
        position = caches[0].length
        arrays = [(cache._keys, cache._values) for cache in caches]
        warnings = float_errors.ignore()  # `ignored` takes 4 microseconds longer
        try:
            logits = self._timed_step(ids._array[:, 0], arrays, position)  # (B, V)
        finally:
            float_errors.restore(warnings)
        for cache in caches:
            cache.length = position + 1
        return wrap_array(Tensor, logits[:, None], self.backend)

    def decoder(self, caches: list[KVCache], choice: Choice) -> Decoder | None:
        """The backend's decoder for these caches, whose arrays stay the same; None if it has
        none."""
        if self.backend.decoder is None:
            return None
        arrays = [(cache._keys, cache._values) for cache in caches]
        decoder: Decoder = self.backend.decoder(self.step, arrays, choice)
        return decoder

    def read(self, ids: Tensor, caches: list[KVCache]) -> Tensor:
        """The model's logits (B, T, V) for ids (B, T), captured if they are read into the arrays of
        emptied caches."""
        arrays = _arrays(caches)
        if self._graphed is None or caches[0].length or any(array is None for array in arrays):
            model: Any = self._model()
            return model(ids, caches)  # type: ignore[no-any-return]
        self._reader.caches = caches
        try:
            logits = self._graphed(tuple(map(id, arrays)), ids._array)
        except BackendError as error:  # some code of the model cannot be captured
            trace.fallback("graphed prompt", str(error), self.backend.name)
            self._graphed = None
            logits = self._reader(ids._array)
        for cache in caches:
            cache.length = ids.shape[1]
        return wrap_array(Tensor, logits, self.backend)

    @float_errors.ignored()
    def logits_of_last(self, ids: Tensor, caches: list[KVCache]) -> NumpyArray:
        """Logits (B, 1, V) on the host for ids (B, 1), the last tokens in the caches."""
        position = caches[0].length - 1
        copies = [
            tuple(_copy(array, cache, self.backend) for array in (cache._keys, cache._values))
            for cache in caches
        ]
        logits = self.step(ids._array[:, 0], copies, position)  # (B, V)
        return self.backend.to_numpy(logits)[:, None]


class _LastPosition(Module):
    """A head that computes the logits (B, 1, V) of the last position of x (B, T, C) only."""

    def __init__(self, head: Module) -> None:
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x[:, -1:])


def _prompt_reader(model: Any) -> Any:
    """The model with a head for the last position of a prompt, all that generation needs of it.

    A large vocabulary makes the head a fifth of the work. The other modules are the model's own.
    """
    if model._hooks or type(model.head) is not Linear:
        return model
    reader = copy.copy(model)
    reader.head = _LastPosition(model.head)
    return reader


class _Reader:
    """The model's forward for a window of tokens, as a function of one array that is captured."""

    def __init__(self, model: Any) -> None:
        self._model = weakref.ref(model)
        self.caches: list[KVCache] = []  # emptied; their arrays are written to

    def __call__(self, ids: Array) -> Array:
        """ids (B, T) -> logits (B, T, V)."""
        for cache in self.caches:
            cache.length = 0
        model: Any = self._model()
        logits: Tensor = model(wrap_array(Tensor, ids, model.backend), self.caches)
        return logits._array


def _attributes(modules: list[Any]) -> list[Any]:
    """Class, names and values of the attributes of each module, to be compared by identity."""
    return [x for m in modules for x in (type(m), *vars(m), *vars(m).values())]


def _code(objects: Iterable[Any]) -> list[Any]:
    """The methods of the classes of `objects`, to be compared by identity."""
    classes = dict.fromkeys(cls for one in objects for cls in type(one).__mro__)
    kinds = FunctionType, property, classmethod, staticmethod
    return [x for cls in classes for x in vars(cls).values() if isinstance(x, kinds)]


def _are_same(found: list[Any], expected: list[Any]) -> bool:
    """Whether two lists have the same objects."""
    return len(found) == len(expected) and all(map(is_, found, expected))


def _arrays(caches: list[KVCache]) -> list[Any]:
    """The arrays of keys and values; None for those that are not allocated yet."""
    return [array for cache in caches for array in (cache._keys, cache._values)]


def _copy(array: Any, cache: KVCache, backend: Backend) -> Any:
    """A copy of the keys or values of a cache, of its tokens: the rest of a long one is empty."""
    if len(getattr(array, "shape", ())) != 4 or array.shape[2] < cache.length:
        raise NotFusableError(f"{class_name(cache)} does not hold arrays (B, nh, T, hs)")
    return backend.xp.asarray(array[:, :, : cache.length], copy=True)


def _verified_step(
    model: Any, ids: Tensor, caches: list[KVCache], expected: Tensor
) -> FusedStep | None:
    """A fused step if it computes `expected`, the model's logits (B, 1, V) for ids (B, 1)."""
    try:
        step = FusedStep(model, caches)
        _check_equal(step.logits_of_last(ids, caches), expected.numpy())
        return step
    except NotFusableError as error:
        why = str(error)
    except Exception as error:  # the model itself still works
        why = f"{type(error).__name__}: {error}"
        message = f"the fused decode step failed, so the model's own code is used: {why}"
        warn(message, RuntimeWarning)
    trace.fallback("decode step", why, model.backend.name)
    return None


def _check_equal(found: NumpyArray, expected: NumpyArray) -> None:
    """Compare logits (B, 1, V); all that are so low that a token is never drawn count as equal."""
    top = expected.max(axis=-1, keepdims=True)
    found, expected = (np.maximum(logits, top - NEVER_DRAWN) for logits in (found, expected))
    limit = 1e-4 * float(np.abs(expected).max())
    if not np.allclose(found, expected, rtol=1e-4, atol=limit, equal_nan=True):
        difference = float(np.abs(found - expected).max())
        raise NotFusableError(f"its logits differ by up to {difference:.2g} from the model's own")


def class_name(instance: object) -> str:
    """The module and name of the class of `instance`, for messages."""
    return f"{type(instance).__module__}.{type(instance).__qualname__}"
