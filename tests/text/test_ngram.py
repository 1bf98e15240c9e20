"""The n-gram model: probabilities by their definition, losses, samples."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from tinytorch.text.ngram import NGramModel

V = 5


def markov(count: int, seed: int) -> np.ndarray:
    """Ids that depend on the two before them, so that contexts matter."""
    rng = np.random.default_rng(seed)
    ids = [0, 1]
    for _ in range(count - 2):
        ids.append(int((ids[-1] + 2 * ids[-2] + (rng.random() < 0.3) * rng.integers(V)) % V))
    return np.array(ids)


def grams(ids: Sequence[int], n: int) -> Counter[tuple[int, ...]]:
    return Counter(tuple(map(int, ids[i : i + n])) for i in range(len(ids) - n + 1))


def by_definition(ids: Sequence[int], order: int, context: Sequence[int], token: int) -> float:
    """Kneser and Ney's probability, in loops over all n-grams."""
    counts = {order: grams(ids, order)}
    for n in range(order - 1, 0, -1):
        counts[n] = Counter(gram[1:] for gram in counts[n + 1])
    p = 1 / V
    for n in range(1, min(order, len(context) + 1) + 1):
        table = counts[n]
        once, twice = (sum(c == k for c in table.values()) for k in (1, 2))
        discount = once / (once + 2 * twice) if once and twice else 0.5
        before = tuple(context[len(context) - n + 1 :])
        followers = {gram[-1]: c for gram, c in table.items() if gram[:-1] == before}
        if followers:
            share = max(followers.get(token, 0) - discount, 0)
            p = (share + discount * len(followers) * p) / sum(followers.values())
    return p


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_probabilities_are_those_of_the_definition(order: int) -> None:
    ids = markov(120, 0)
    model = NGramModel(ids, V, order)
    for context in ([], [3], [1, 4], [0, 0, 0], [2, 1, 3, 4, 0, 1]):
        expected = [by_definition(ids, order, context, token) for token in range(V)]
        np.testing.assert_allclose(model.probabilities(context), expected, rtol=1e-12)
        assert sum(expected) == pytest.approx(1)


@pytest.mark.parametrize("order", [1, 3])
@pytest.mark.parametrize("count", [2, 3, 50])
def test_the_loss_is_the_mean_over_all_tokens_but_the_first(order: int, count: int) -> None:
    model, text = NGramModel(markov(200, 0), V, order), markov(count, 1)
    losses = [-np.log(model.probabilities(text[:i])[text[i]]) for i in range(1, count)]
    assert model.loss(text) == pytest.approx(np.mean(losses), rel=1e-12)


def test_longer_contexts_predict_better_what_depends_on_them() -> None:
    losses = [NGramModel(markov(5000, 0), V, order).loss(markov(1000, 1)) for order in (1, 2, 3)]
    assert losses[0] - losses[2] > 0.5
    assert losses[1] - losses[2] > 0.3


def test_tokens_that_were_never_seen_have_a_probability() -> None:
    model = NGramModel(np.array([0, 1] * 20), V, 3)
    assert model.probabilities([4, 4]).min() > 0
    assert np.isfinite(model.loss(np.array([4, 3, 2, 4])))


def test_samples_follow_the_probabilities_and_the_temperature() -> None:
    model, rng = NGramModel(markov(300, 0), V, 3), np.random.default_rng(3)
    drawn = [model.sample([1, 2], 1, rng)[0] for _ in range(3000)]
    shares = np.bincount(drawn, minlength=V) / len(drawn)
    np.testing.assert_allclose(shares, model.probabilities([1, 2]), atol=0.03)
    cold = {model.sample([1, 2], 1, rng, temperature=0.01)[0] for _ in range(50)}
    assert cold == {int(model.probabilities([1, 2]).argmax())}
    first, second = (model.sample([0], 30, np.random.default_rng(8)) for _ in range(2))
    assert first == second
    assert len(first) == 30


def test_what_cannot_be_counted_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"below 2\*\*63, not 65536 and 4"):
        NGramModel(np.arange(9), 65_536, 4)
    with pytest.raises(ValueError, match="order must be at least 1"):
        NGramModel(np.arange(9), V, 0)
    with pytest.raises(ValueError, match="3-grams needs at least 3 ids, not 2"):
        NGramModel(np.arange(2), V, 3)
