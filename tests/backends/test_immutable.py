"""A library whose arrays are immutable, such as JAX, trains and generates as NumPy does."""

from typing import Any

import numpy as np
import pytest

from tinytorch import (
    GPT,
    SGD,
    AdamW,
    CrossEntropyLoss,
    Parameter,
    Tensor,
    TokenDataset,
    Trainer,
    manual_seed,
    no_grad,
)
from tinytorch.backends import get
from tinytorch.backends.reference import ReferenceBackend


class ImmutableBackend(ReferenceBackend):
    """NumPy, but writes return a new array, and a storage is an object without a size."""

    name = "immutable"
    _storages: dict[int, object] = {}  # noqa: RUF012

    @staticmethod
    def index(x: Any, key: Any) -> Any:
        return np.array(x[key])

    @staticmethod
    def index_set(x: Any, key: Any, values: Any) -> Any:
        return ReferenceBackend.index_set(x.copy(), key, values)

    @staticmethod
    def index_add(x: Any, key: Any, values: Any) -> Any:
        return ReferenceBackend.index_add(x.copy(), key, values)

    @classmethod
    def storage(cls, x: Any) -> object:
        return cls._storages.setdefault(id(ReferenceBackend.storage(x)), object())


IMMUTABLE = ImmutableBackend()


def test_writes_are_kept() -> None:
    x = Tensor([1.0, 2.0, 3.0], backend=IMMUTABLE)
    x[0] = 9
    x[1:] += 1
    x *= 2
    assert x.tolist() == [18, 6, 8]
    x.data = [0.0, 1.0, 2.0]
    assert x.copy_(x + 1).tolist() == [1, 2, 3]
    assert x.zero_().tolist() == [0, 0, 0]
    p = Parameter([1.0, 2.0], backend=IMMUTABLE)
    for _ in range(2):
        (p[0] * p).sum().backward()
    with no_grad():
        p -= 0.5 * p.grad
    assert p.tolist() == [-3, 1]


@pytest.mark.parametrize("positions", ["learned", "rotary"])
@pytest.mark.parametrize("optimizer", [SGD, AdamW])
def test_a_model_starts_trains_and_generates_as_on_numpy(positions: str, optimizer: Any) -> None:
    def run(backend: Any) -> tuple[list[float], dict[str, np.ndarray], list[int]]:
        manual_seed(1)
        model = GPT(11, 16, 2, 2, max_seq_len=12, positions=positions, dropout=0.1, backend=backend)
        blocks = TokenDataset(np.arange(40) % 11, 6, backend=backend)
        trainer = Trainer(
            model,
            optimizer(model.parameters(), lr=0.05),
            CrossEntropyLoss(),
            grad_clip_norm=1.0,
            processes=1,
        )
        losses = [trainer.train_step([blocks.random_batch(3) for _ in "ab"]).item() for _ in "abc"]
        tokens = model.generate([1, 2], 8, seed=3)
        assert tokens.tolist() == model.generate([1, 2], 8, seed=3, use_cache=False).tolist()
        state = {n: t.numpy() for n, t in model.state_dict().items()}
        return losses, state, tokens.tolist()

    losses, state, tokens = run(IMMUTABLE)
    expected_losses, expected_state, expected_tokens = run(get("reference"))
    assert losses == expected_losses
    for name, values in expected_state.items():
        np.testing.assert_array_equal(state[name], values)
    assert tokens == expected_tokens
