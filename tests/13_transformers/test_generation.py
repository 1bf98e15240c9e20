"""Generation: the cache does not change the result, and every sampling setting has its effect."""

import math
import re
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import numpy as np
import pytest

from tinytorch import GPT, Dropout, Tensor, backends, is_grad_enabled, manual_seed
from tinytorch.generation.generate import choose_token, generate, sample, stream
from tinytorch.ops import random

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


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [1, 5, 32, 65, 1000])
def test_sampling_on_the_device_equals_sampling_on_the_host(
    size: int, dtype: str, cupy: str
) -> None:
    home, rng = backends.get(cupy), np.random.default_rng(size)
    count = 30 if size == 1000 else 100
    logits = (3 * rng.standard_normal((count, size))).astype(dtype)
    logits[:10, : size // 2] = -np.inf if size > 5 else 0.0  # probability 0 is never sampled
    logits[10:20] = np.round(logits[10:20])  # many are equal
    logits[20:22] = 0.0
    logits[22, size // 2] = np.inf
    logits[23:25, -1] = -0.0
    assert home.sample is not None
    for temperature, top_k, top_p in (
        (0.0, None, None), (0.3, None, None), (1.0, None, None), (4.0, None, None),
        (1.0, 1, None), (2.0, 3, None), (1.0, size + 1, None), (1.0, None, 1e-9),
        (0.7, None, 0.5), (1.0, None, 0.9), (1.0, None, 1.0), (2.0, 10, 0.5), (1.0, 40, 0.99),
    ):  # fmt: skip
        uniforms = None if temperature == 0 else np.random.default_rng(1).random(count)
        found = home.sample(home.asarray(logits), temperature, uniforms, top_k, top_p)
        expected = sample(logits, temperature, top_k, top_p, rng=np.random.default_rng(1))
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
        ([1], {"max_new_tokens": np.int64(-1)}, "max_new_tokens must be at least 0"),
        ([1], {"max_new_tokens": 2.0}, "max_new_tokens must be an integer, not 2.0"),
        ([1], {"max_new_tokens": None}, "max_new_tokens must be an integer, not None"),
        ([1], {"max_new_tokens": True}, "max_new_tokens must be an integer, not True"),
        ([True], {}, r"a prompt must hold integers \(T,\) or \(B, T\), got bool"),
        ([[1, 2], [3]], {}, "the prompts of a batch must have the same length"),
        ("ab", {}, "a prompt must hold integers"),
        ([1], {"temperature": float("inf")}, "temperature must be at least 0 and finite"),
        ([1], {"temperature": "1"}, "temperature must be a number, not '1'"),
        ([1], {"temperature": None}, "temperature must be a number"),
        ([1], {"temperature": True}, "temperature must be a number, not True"),
        ([1], {"top_k": 2.5}, "top_k must be an integer, not 2.5"),
        ([1], {"top_k": -3}, "top_k must be at least 1"),
        ([1], {"top_p": float("nan")}, "top_p must be at least 0, not nan"),
        ([1], {"top_p": "1"}, "top_p must be a number"),
        ([1], {"stop_token": V}, rf"stop_token must be in \[0, {V - 1}\], not {V}"),
        ([1], {"stop_token": -1}, rf"stop_token must be in \[0, {V - 1}\], not -1"),
        ([1], {"stop_token": [1, 99]}, r"stop_token must be in .*, not 99"),
        ([1], {"stop_token": 1.0}, "stop_token must be an integer"),
        ([1], {"stop_token": "ab"}, "stop_token must be an integer"),
    ],
)
def test_invalid_arguments_raise_at_the_call(
    ids: Any, settings: dict[str, Any], message: str
) -> None:
    arguments = {"max_new_tokens": 3, **settings}
    for call in (stream, generate):
        wrong_type = re.search("must be (a number|an integer)", message)
        with pytest.raises(TypeError if wrong_type else ValueError, match=message):
            call(gpt(), ids, **arguments)


@pytest.mark.parametrize("ids", [[V], [-1], [[1, 2], [3, V + 5]], np.array([2**40])], ids=str)
def test_tokens_outside_of_the_vocabulary_raise(ids: Any, backend: str) -> None:
    wrong = next(i for i in np.ravel(ids) if not 0 <= i < V)
    for call in (stream, generate):
        with pytest.raises(IndexError, match=rf"token id {wrong}, outside of .* \[0, {V}\)"):
            call(gpt(backend=backend), ids, 3)


@pytest.mark.parametrize("number", [np.int64(3), np.uint8(3), np.int32(3)], ids=type)
def test_numpy_integers_are_accepted(number: Any) -> None:
    settings = {"top_k": number, "stop_token": number, "seed": number}
    assert generate(gpt(), [1], number, **settings).shape[0] <= 4
    generate(gpt(), np.array([1, 2], np.uint8), 2, temperature=np.float32(0.5), top_p=np.float64(1))


# Seeds


def test_manual_seed_determines_text_without_a_seed() -> None:
    model = gpt()
    texts = []
    for _ in range(2):
        manual_seed(5)
        texts.append([generate(model, PROMPTS, 12).tolist() for _ in range(4)])
    assert texts[0] == texts[1]
    assert len(set(map(str, texts[0]))) == 4


def test_a_seed_leaves_the_generator_of_manual_seed_alone() -> None:
    model = gpt()
    manual_seed(5)
    generate(model, PROMPTS, 12, seed=1)
    after = random.generator().random()
    assert after == manual_seed(5).random()


def test_negative_and_large_seeds_are_accepted_and_others_raise() -> None:
    texts = [generate(gpt(), PROMPTS, 12, seed=s).tolist() for s in (-1, -2, 2**64, 2**100)]
    assert len(set(map(str, texts))) == 4
    assert manual_seed(-1).random() == manual_seed(-1).random() != manual_seed(-2).random()
    for seed in (1.5, "1"):
        with pytest.raises(TypeError, match="a seed must be an integer, got"):
            generate(gpt(), [1], 1, seed=seed)
        with pytest.raises(TypeError, match="a seed must be an integer, got"):
            manual_seed(seed)


# Models that have diverged, and extreme logits

SETTINGS: list[dict[str, Any]] = [{}, {"temperature": 0}, {"top_k": 3}, {"top_p": 0.5}]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("use_cache", [True, False])
def test_a_model_whose_logits_are_nan_raises(
    use_cache: bool, settings: dict[str, Any], backend: str
) -> None:
    model = gpt(backend=backend)
    model.ln_f.weight.data = np.full(16, np.nan, np.float32)
    with pytest.raises(RuntimeError, match=r"logits are NaN.*The model has diverged"):
        generate(model, PROMPTS, 6, seed=0, use_cache=use_cache, **settings)


def test_a_model_that_diverges_between_two_tokens_raises() -> None:
    model = gpt()
    tokens = stream(model, PROMPTS, 6, seed=0)
    for _ in range(3):
        next(tokens)
    model.ln_f.weight.data = np.full(16, np.nan, np.float32)
    with pytest.raises(RuntimeError, match="diverged"):
        next(tokens)


def draw(logits: list[list[float]], where: str, dtype: Any = np.float32, **settings: Any) -> Any:
    """Choose a token of each row on the host or on the device of the fake CuPy, 50 times."""
    home = backends.get("numpy" if where == "host" else "cupy")
    given, rng = np.array(logits, dtype), np.random.default_rng(0)
    temperature = settings.get("temperature", 1.0)
    rows = [
        choose_token(Tensor(given, backend=home), temperature, None, None, rng=rng)
        for _ in range(50)
    ]
    return [sorted({int(row[i]) for row in rows}) for i in range(len(logits))]


INF, NAN = math.inf, math.nan


@pytest.mark.parametrize("where", ["host", "device"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_extreme_logits_on_host_and_device(where: str, dtype: Any, cupy: str) -> None:
    rows = [[0, INF, 1], [INF, 0, -INF], [-INF, -INF, 2], [0, -INF, 0], [INF, INF, 1], [5, 4, 5]]
    rows += [[3e4, -3e4, 0], [-3e4, -3e4 - 64, -3e4 - 64]]
    expected = [[1], [0], [2], [0, 2], [0, 1], [0, 1, 2], [0], [0]]
    assert draw(rows, where, dtype) == expected
    assert draw([[0, 1, 2], [7, 6, 7]], where, dtype, temperature=1e-320) == [[2], [0]]
    assert draw([[0, INF, 2]], where, dtype, temperature=1e-320) == [[1]]


@pytest.mark.parametrize("where", ["host", "device"])
@pytest.mark.parametrize("temperature", [0.0, 1.0, 1e-320])
@pytest.mark.parametrize(
    "bad", [[0, NAN, 1], [NAN] * 3, [-INF] * 3, [NAN, INF, 0], [-INF, NAN, -INF]], ids=str
)
def test_nan_and_no_possible_token_raise_on_host_and_device(
    bad: list[float], temperature: float, where: str, cupy: str
) -> None:
    with pytest.raises(RuntimeError, match="no token can be sampled: the logits are NaN"):
        draw([[0, 1, 2], bad], where, temperature=temperature)


@pytest.mark.parametrize("settings", [{"top_k": 2}, {"top_p": 0.5}, {"top_k": 1, "top_p": 0.1}])
def test_top_k_and_top_p_of_infinite_logits(settings: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    logits = np.array([[0.0, INF, 1.0], [-INF, -INF, 3.0]])
    for _ in range(20):
        assert sample(logits, rng=rng, **settings).tolist() == [1, 2]


@pytest.mark.parametrize("temperature", [1e-320, 5e-324, 1e-300])
def test_a_temperature_that_overflows_is_greedy(temperature: float) -> None:
    greedy = generate(gpt(), PROMPTS, 20, temperature=0).tolist()
    assert generate(gpt(), PROMPTS, 20, temperature=temperature, seed=0).tolist() == greedy


# Several stop tokens


@pytest.mark.parametrize("container", [list, tuple, set, np.array, frozenset])
def test_several_stop_tokens(container: Any, backend: str) -> None:
    model = gpt(backend=backend)
    free = generate(model, PROMPTS, 40, seed=1).numpy()[:, 3:]
    first, second = int(free[0, 2]), int(free[1, 4])
    stopped = generate(model, PROMPTS, 40, seed=1, stop_token=container([first, second]))
    for row, whole in zip(stopped.numpy()[:, 3:], free, strict=True):
        end = next(i for i, token in enumerate(whole) if token in (first, second))
        assert row[: end + 1].tolist() == whole[: end + 1].tolist()
        assert (row[end:] == whole[end]).all()  # padded with the token that stopped it


def test_no_stop_tokens_stop_nothing() -> None:
    expected = generate(gpt(), PROMPTS, 10, seed=1).tolist()
    assert generate(gpt(), PROMPTS, 10, seed=1, stop_token=[]).tolist() == expected


# Modes


def test_every_module_keeps_its_own_mode() -> None:
    model = gpt(dropout=0.9).train()
    model.blocks[0].eval()
    modes = {name: module.training for name, module in model.named_modules()}
    assert len(set(modes.values())) == 2
    expected = generate(gpt(), PROMPTS, 10, seed=1)
    assert generate(model, PROMPTS, 10, seed=1).tolist() == expected.tolist()
    tokens = stream(model, PROMPTS, 5, seed=1)
    for _ in range(3):
        next(tokens)
        assert {name: module.training for name, module in model.named_modules()} == modes
    model.blocks[1].eval()  # between two tokens
    next(tokens)
    assert not model.blocks[1].training
    assert model.ln_f.training


def test_a_module_set_to_training_between_two_tokens_does_not_drop() -> None:
    model, tokens = gpt(dropout=0.9).eval(), []
    for token in stream(model, PROMPTS, 10, seed=1):
        tokens.append(token)
        model.blocks[1].train()
        model.blocks[0].mlp.dropout = Dropout(0.9)  # another module, in training mode
    expected = generate(gpt(), PROMPTS, 10, seed=1).numpy()[:, 3:]
    np.testing.assert_array_equal(np.stack(tokens, axis=1), expected)
    assert model.blocks[1].training
    assert not model.ln_f.training


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("positions", ["learned", "rotary"])
@pytest.mark.parametrize("name", ["numpy", "reference"])
def test_eight_threads_generate_from_one_model(name: str, positions: str, training: bool) -> None:
    """Each the text that it generates alone; dropout stays off until the last one has finished."""
    model = gpt(dropout=0.9, positions=positions, backend=name).train(training)
    model.blocks[0].eval()
    jobs = [(seed, PROMPTS[: 1 + seed % 2], 5 + 3 * seed) for seed in range(8)]

    def run(job: tuple[int, np.ndarray, int]) -> list[Any]:
        seed, prompt, count = job
        return [generate(model, prompt, count, seed=seed).tolist() for _ in range(4)]

    alone = [run(job) for job in jobs]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(run, jobs)) == alone
    assert model.training == training
    assert not model.blocks[0].training


def test_a_model_is_trained_while_another_thread_generates_from_it() -> None:
    model = gpt(dropout=0.9).train()
    expected, ids = generate(gpt(), PROMPTS, 30, seed=1).tolist(), Tensor(PROMPTS)
    evaluated = gpt()(ids).numpy()

    def write() -> list[Any]:
        return [generate(model, PROMPTS, 30, seed=1).tolist() for _ in range(10)]

    with ThreadPoolExecutor(1) as pool:
        texts, forwards = pool.submit(write), 0
        while not texts.done() or forwards == 0:
            assert not np.allclose(model(ids).numpy(), evaluated)  # dropout is active
            forwards += 1
    assert texts.result() == [expected] * 10


def test_a_class_in_evaluation_mode_is_not_changed() -> None:
    class Frozen(Dropout):
        training = False

    model = gpt(dropout=0.9).train()
    model.blocks[0].mlp.dropout = Frozen(0.9)
    generate(model, PROMPTS, 3)
    assert not model.blocks[0].mlp.dropout.training
    assert model.training


def test_text_without_a_seed_varies() -> None:
    model = gpt()
    texts = {tuple(generate(model, [1], 8).tolist()) for _ in range(5)}
    assert len(texts) > 1
