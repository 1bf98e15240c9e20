"""Generation: the cache does not change the result, and every sampling setting has its effect."""

from itertools import islice
from typing import Any

import numpy as np
import pytest

from tinytorch import GPT, Tensor, backends, is_grad_enabled, manual_seed
from tinytorch.generation.generate import generate, sample, stream

V = 13


def gpt(max_seq_len: int = 8, positions: str = "learned", **options: Any) -> GPT:
    """A GPT with large random weights, so that the next token depends on all before it."""
    manual_seed(3)
    model = GPT(V, 16, 2, 2, max_seq_len, positions=positions, **options)
    rng = np.random.default_rng(4)
    for p in model.parameters():
        if p.ndim == 2:
            p.data = rng.standard_normal(p.shape).astype(np.float32) * 0.4
    return model


PROMPTS = np.array([[1, 2, 3], [4, 0, 12]])


# With and without the cache


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("prompt_length", [1, 3, 20])
@pytest.mark.parametrize("max_seq_len", [1, 2, 3, 8])
@pytest.mark.parametrize("positions", ["learned", "sinusoidal", "rotary"])
def test_tokens_are_the_same_with_and_without_cache(
    positions: str, max_seq_len: int, prompt_length: int, temperature: float
) -> None:
    """Also beyond the context: 30 tokens with a context of 1 to 8."""
    model = gpt(max_seq_len, positions)
    prompt = np.random.default_rng(0).integers(0, V, (2, prompt_length))
    cached, uncached = (
        generate(model, prompt, 30, temperature=temperature, seed=5, use_cache=cache).numpy()
        for cache in (True, False)
    )
    assert cached.shape == (2, prompt_length + 30)
    np.testing.assert_array_equal(cached[:, :prompt_length], prompt)
    np.testing.assert_array_equal(cached, uncached)
    assert len(np.unique(cached)) > 2


@pytest.mark.parametrize("positions", ["learned", "sinusoidal", "rotary"])
def test_logits_are_the_same_with_and_without_cache(
    positions: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[bool, list[np.ndarray]] = {True: [], False: []}
    for use_cache, logits in seen.items():

        def spy(values: np.ndarray, *choice: Any, rng: Any, into: Any = logits) -> np.ndarray:
            into.append(values)
            return sample(values, *choice, rng=rng)

        monkeypatch.setattr("tinytorch.generation.generate.sample", spy)
        generate(gpt(8, positions), PROMPTS, 25, seed=1, use_cache=use_cache)
    assert len(seen[True]) == 25
    np.testing.assert_allclose(seen[True], seen[False], rtol=1e-3, atol=1e-4)


def test_greedy_tokens_are_the_most_likely_ones_of_the_sliding_context() -> None:
    """At 8 tokens, the newer 4 are kept: the loop of `stream`, written as simply as possible."""
    model, text, start = gpt(8), [1, 2, 3], 0
    for _ in range(30):
        if len(text) - start > 8:
            start += 8 - 4
        logits = model(Tensor([text[start:]])).numpy()
        text.append(int(logits[0, -1].argmax()))
    assert generate(model, [1, 2, 3], 30, temperature=0).tolist() == text


def test_with_a_cache_each_token_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths: list[int] = []
    forward = GPT.forward

    def counted(self: GPT, ids: Tensor, caches: Any = None) -> Tensor:
        lengths.append(ids.shape[1])
        return forward(self, ids, caches)

    monkeypatch.setattr(GPT, "forward", counted)
    monkeypatch.setattr(gpt(8).backend, "decode_step", None)
    generate(gpt(8), [1, 2, 3], 10)
    assert lengths == [3, 1, 1, 1, 1, 1, 5, 1, 1, 1]  # the sixth token fills the context
    lengths.clear()
    generate(gpt(8), [1, 2, 3], 10, use_cache=False)
    assert lengths == [3, 4, 5, 6, 7, 8, 5, 6, 7, 8]


def test_only_the_last_tokens_of_a_long_prompt_are_used() -> None:
    long = [*range(V), *range(V)]
    whole, end = (generate(gpt(8), p, 10, seed=1).tolist() for p in (long, long[-8:]))
    assert whole == long[:-8] + end


@pytest.mark.parametrize("settings", [{}, {"temperature": 0.5}, {"temperature": 0}, {"top_k": 3}])
def test_tokens_are_the_same_on_every_backend(settings: dict[str, Any], backend: str) -> None:
    on_host, on_device = gpt(), gpt(backend=backend)
    expected = generate(on_host, PROMPTS, 12, seed=2, **settings)
    found = generate(on_device, Tensor(PROMPTS, backend=backend), 12, seed=2, **settings)
    assert found.backend.name == backend
    np.testing.assert_array_equal(found.numpy(), expected.numpy())


@pytest.mark.parametrize("size", [1, 5, 32, 65, 1000])
def test_sampling_on_the_device_equals_sampling_on_the_host(size: int, cupy: str) -> None:
    home, rng = backends.get(cupy), np.random.default_rng(size)
    logits = (3 * rng.standard_normal((200, size))).astype(np.float32)
    logits[:, : size // 2] = (
        -np.inf if size > 5 else 0.0
    )  # a token of probability 0 is never sampled
    assert home.sample is not None
    for temperature in (0.3, 1.0, 4.0):
        found = home.sample(home.asarray(logits), temperature, np.random.default_rng(1).random(200))
        expected = sample(logits, temperature, rng=np.random.default_rng(1))
        np.testing.assert_array_equal(found, expected)


# Settings


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 0},
        {"top_k": 1},
        {"top_p": 1e-9},
        {"temperature": 1e-6},
        {"top_k": 1, "top_p": 0.5},
    ],
    ids=str,
)
def test_top_k_1_and_tiny_top_p_or_temperature_are_greedy(settings: dict[str, Any]) -> None:
    greedy = generate(gpt(), PROMPTS, 20, temperature=0, seed=0).tolist()
    assert generate(gpt(), PROMPTS, 20, seed=1, **settings).tolist() == greedy


@pytest.mark.parametrize("settings", [{"top_k": V}, {"top_k": 99}, {"top_p": 1.0}], ids=str)
def test_settings_that_exclude_no_token_change_nothing(settings: dict[str, Any]) -> None:
    free = generate(gpt(), PROMPTS, 20, seed=1).tolist()
    assert generate(gpt(), PROMPTS, 20, seed=1, **settings).tolist() == free


def test_the_same_seed_gives_the_same_text() -> None:
    one, same, other = (generate(gpt(), PROMPTS, 20, seed=s).tolist() for s in (1, 1, 2))
    assert one == same != other
    given = generate(gpt(), PROMPTS, 20, seed=np.random.default_rng(1)).tolist()
    assert given == one
    assert one[0][3:] != one[1][3:]


PROBABILITIES = np.array([0.4, 0.3, 0.2, 0.1, 0.0])


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, PROBABILITIES),
        ({"temperature": 0.5}, PROBABILITIES**2 / 0.3),
        ({"temperature": 2.0}, np.sqrt(PROBABILITIES) / np.sqrt(PROBABILITIES).sum()),
        ({"top_k": 2}, [4 / 7, 3 / 7, 0, 0, 0]),
        ({"top_p": 0.6}, [4 / 7, 3 / 7, 0, 0, 0]),
        ({"top_p": 0.75}, [4 / 9, 3 / 9, 2 / 9, 0, 0]),
        ({"top_k": 3, "top_p": 0.5}, [4 / 7, 3 / 7, 0, 0, 0]),
    ],
    ids=str,
)
def test_frequencies_of_tokens_equal_their_probabilities(
    settings: dict[str, Any], expected: Any
) -> None:
    count, order = 20000, np.array([2, 0, 4, 1, 3])  # the most likely is not the first
    logits = np.full((count, 5), -np.inf, np.float32)
    logits[:, order[:4]] = np.log(PROBABILITIES[:4]) + 7
    tokens = sample(logits, rng=np.random.default_rng(0), **settings)
    found = np.bincount(tokens, minlength=5)[order] / count
    np.testing.assert_allclose(found, expected, atol=0.015)
    assert (found[np.asarray(expected) == 0] == 0).all()


def test_rows_are_sampled_independently() -> None:
    logits = np.where(np.eye(4, dtype=bool), 0.0, -np.inf)
    assert sample(logits, top_p=0.9, rng=np.random.default_rng(0)).tolist() == [0, 1, 2, 3]


def test_a_stop_token_ends_a_text_and_pads_a_batch() -> None:
    free = generate(gpt(), PROMPTS, 40, seed=1).numpy()[:, 3:]
    stop = int(free[0, 4])
    at = [int(np.argmax(row == stop)) if stop in row else len(row) for row in free]
    stopped = generate(gpt(), PROMPTS, 40, seed=1, stop_token=stop).numpy()[:, 3:]
    for row, whole, end in zip(stopped, free, at, strict=True):
        np.testing.assert_array_equal(row[: end + 1], whole[: len(row)][: end + 1])
        assert (row[end:] == stop).all()
    assert stopped.shape[1] == min(40, max(at) + 1)
    alone = generate(gpt(), PROMPTS[0], 40, temperature=0)
    stop = int(alone.numpy()[5])
    short = generate(gpt(), PROMPTS[0], 40, temperature=0, stop_token=stop).tolist()
    assert short[-1] == stop
    assert stop not in short[3:-1]


# Streaming, modes and errors


@pytest.mark.parametrize(
    "prompt", [[1, 2, 3], PROMPTS, Tensor([1, 2, 3]), Tensor(PROMPTS), PROMPTS.tolist()], ids=type
)
def test_the_result_has_the_axes_of_the_prompt_and_equals_the_streamed_tokens(prompt: Any) -> None:
    result = gpt().generate(prompt, 6, seed=1).numpy()
    given = np.asarray(prompt.tolist() if isinstance(prompt, Tensor) else prompt)
    assert result.shape == (*given.shape[:-1], given.shape[-1] + 6)
    assert result.dtype == np.int64
    streamed = np.stack(list(stream(gpt(), prompt, 6, seed=1)), axis=-1)
    np.testing.assert_array_equal(np.atleast_2d(result)[:, -6:], streamed)
    assert gpt().generate(prompt, 0).tolist() == given.tolist()


@pytest.mark.parametrize("training", [True, False])
def test_the_training_mode_is_restored(training: bool) -> None:
    model = gpt(dropout=0.9).train(training)
    tokens = stream(model, PROMPTS, 20, seed=1)
    first = np.stack(list(islice(tokens, 4)), axis=1)
    assert is_grad_enabled()  # between two tokens as well
    del tokens  # the caller stops early
    assert all(m.training == training for m in model.modules())
    whole = generate(model, PROMPTS, 20, seed=1)
    assert all(m.training == training for m in model.modules())
    assert is_grad_enabled()
    np.testing.assert_array_equal(whole.numpy()[:, 3:7], first)
    expected = generate(gpt(), PROMPTS, 20, seed=1)  # dropout does nothing
    assert whole.tolist() == expected.tolist()
    assert all(p.grad is None for p in model.parameters())


def test_the_training_mode_is_restored_after_an_error() -> None:
    model = gpt(dropout=0.5)
    with pytest.raises(IndexError, match="token id 13"):
        generate(model, [V], 3)
    assert model.training
    assert is_grad_enabled()


def test_training_mode_between_two_tokens_does_not_change_them() -> None:
    model = gpt(dropout=0.9)
    tokens = []
    for token in stream(model, PROMPTS, 10, seed=1):
        tokens.append(token)
        model.train()
    expected = generate(gpt(), PROMPTS, 10, seed=1).numpy()[:, 3:]
    np.testing.assert_array_equal(np.stack(tokens, axis=1), expected)


@pytest.mark.parametrize(
    ("ids", "settings", "message"),
    [
        ([], {}, "the prompt is empty"),
        (np.zeros((2, 0), int), {}, "the prompt is empty"),
        ([1.0], {}, "a prompt must hold integers"),
        ([[[1]]], {}, "a prompt must hold integers"),
        (1, {}, "a prompt must hold integers"),
        (Tensor([0.5]), {}, "a prompt must hold integers"),
        ([1], {"temperature": -0.1}, "temperature must be at least 0"),
        ([1], {"temperature": float("nan")}, "temperature must be at least 0"),
        ([1], {"top_k": 0}, "top_k must be at least 1"),
        ([1], {"top_p": 0.0}, "top_p must be in"),
        ([1], {"top_p": 1.1}, "top_p must be in"),
        ([1], {"max_new_tokens": -1}, "max_new_tokens must be at least 0"),
    ],
)
def test_invalid_arguments_raise_at_the_call(
    ids: Any, settings: dict[str, Any], message: str
) -> None:
    arguments = {"max_new_tokens": 3, **settings}
    for call in (stream, generate):
        with pytest.raises(ValueError, match=message):
            call(gpt(), ids, **arguments)


def test_text_without_a_seed_varies() -> None:
    texts = {tuple(generate(gpt(), [1], 8).tolist()) for _ in range(5)}
    assert len(texts) > 1
