"""N-gram language model: the baseline that a neural one must beat."""

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]


class NGramModel:
    """Interpolated Kneser-Ney model of token ids.

    The probability of a token after n - 1 others is the discounted share of the times that it
    followed them; what the discounts leave goes to the model of n - 1 tokens, and so on, down to a
    uniform distribution. Below the highest order, a token counts as often as there are different
    tokens before it: "Francisco" is frequent, but follows "San" only.

    An n-gram is stored as one integer in base V, so tables are sorted arrays, and a lookup is a
    binary search: all tokens that followed a context are next to each other.

    Args:
        ids: token ids (T,) to count, each in [0, V).
        vocab_size: V.
        order: largest n.

    Raises:
        ValueError: V**order does not fit into 63 bits, or there are fewer than `order` ids.

    Sources: R. Kneser and H. Ney, "Improved backing-off for m-gram language modeling" (1995);
    interpolated as in S. Chen and J. Goodman, "An empirical study of smoothing techniques for
    language modeling" (1999), equation 23.

    Example:
        >>> model = NGramModel(np.array([0, 1, 2] * 9), vocab_size=3, order=2)
        >>> int(model.probabilities([0]).argmax())
        1
    """

    def __init__(self, ids: Ids, vocab_size: int, order: int = 4) -> None:
        if order < 1 or vocab_size**order >= 2**63:
            raise ValueError(
                f"order must be at least 1, and vocab_size**order below 2**63, not {vocab_size} and"
                f" {order}"
            )
        if len(ids) < order:
            raise ValueError(f"counting {order}-grams needs at least {order} ids, not {len(ids)}")
        self.vocab_size, self.order = vocab_size, order
        codes, counts = np.unique(self._codes(ids, order), return_counts=True)
        self._levels = [_Level(codes, counts)]
        for n in range(order - 1, 0, -1):
            codes, counts = np.unique(codes % vocab_size**n, return_counts=True)
            self._levels.insert(0, _Level(codes, counts))

    def _codes(self, ids: Ids, n: int) -> Ids:
        """The n-grams in ids (T,) as integers (T - n + 1,)."""
        codes = np.zeros(len(ids) - n + 1, dtype=np.int64)
        for place in range(n):
            codes = codes * self.vocab_size + ids[place : place + len(codes)]
        return codes

    def probabilities(self, context: "list[int] | Ids") -> NDArray[np.float64]:
        """Return the probabilities (V,) of the token after a context of any length."""
        recent = np.asarray(context, dtype=np.int64)[max(0, len(context) - self.order + 1) :]
        p = np.full(self.vocab_size, 1 / self.vocab_size)
        for n, level in enumerate(self._levels[: len(recent) + 1], 1):
            first = int(self._codes(recent[len(recent) - n + 1 :], n - 1)[0]) * self.vocab_size
            low, high = np.searchsorted(level.codes, [first, first + self.vocab_size])
            if low < high:
                counts = level.counts[low:high]
                total = counts.sum()
                p *= level.discount * len(counts) / total
                p[level.codes[low:high] - first] += (counts - level.discount) / total
        return p

    def loss(self, ids: Ids) -> float:
        """Return the mean loss over ids (T,) but the first, in nats per token."""
        p = np.full(len(ids) - 1, 1 / self.vocab_size)
        for n, level in enumerate(self._levels, 1):
            codes = self._codes(ids, n)[n == 1 :]  # n-grams that end at a token but the first
            if len(codes):
                p[-len(codes) :] = level.refine(p[-len(codes) :], codes, self.vocab_size)
        return float(-np.log(p).mean())

    def sample(
        self, ids: list[int], count: int, rng: np.random.Generator, temperature: float = 1.0
    ) -> list[int]:
        """Return `count` tokens that continue ids (T,), sampled at a positive temperature."""
        text = list(ids)
        for _ in range(count):
            sums = np.cumsum(self.probabilities(text[-self.order :]) ** (1 / temperature))
            text.append(int(np.searchsorted(sums, rng.random() * sums[-1], side="right")))
        return text[len(ids) :]


class _Level:
    """The n-grams of one n, sorted, with their counts and the sums of the counts before each."""

    def __init__(self, codes: Ids, counts: Ids) -> None:
        self.codes, self.counts = codes, counts
        self.sums = np.concatenate([[0], np.cumsum(counts)])
        once, twice = (counts == 1).sum(), (counts == 2).sum()
        # Ney, Essen and Kneser's estimate; without rare n-grams it would be 0 or undefined.
        self.discount = float(once / (once + 2 * twice)) if once and twice else 0.5

    def refine(self, p: NDArray[np.float64], codes: Ids, size: int) -> NDArray[np.float64]:
        """Return the probabilities of n-grams (T,), given those with a context shorter by one."""
        first = codes - codes % size
        low, high = (np.searchsorted(self.codes, edge) for edge in (first, first + size))
        place = np.minimum(np.searchsorted(self.codes, codes), len(self.codes) - 1)
        count = np.where(self.codes[place] == codes, self.counts[place], 0)
        total = self.sums[high] - self.sums[low]
        with np.errstate(invalid="ignore", divide="ignore"):  # contexts that were never seen
            refined = (
                np.maximum(count - self.discount, 0) + self.discount * (high - low) * p
            ) / total
        return np.where(total > 0, refined, p)
