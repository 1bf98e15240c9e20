"""Lesson 13 with the earlier lessons: from text to a trained GPT that generates text."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tinytorch.attention import KVCache
from tinytorch.autograd import is_grad_enabled, no_grad
from tinytorch.dataloader import DataLoader, TokenDataset
from tinytorch.embeddings import RotaryEmbedding
from tinytorch.generation.generate import generate, sample, stream
from tinytorch.layers import layer_norm
from tinytorch.losses import CrossEntropyLoss
from tinytorch.modules.module import Module, Parameter
from tinytorch.ops.random import manual_seed
from tinytorch.optimizers import AdamW
from tinytorch.tensor import Tensor
from tinytorch.tokenization import BPETokenizer, CharTokenizer, Tokenizer
from tinytorch.training import CosineSchedule, Trainer
from tinytorch.transformers import GPT, MLP, TransformerBlock, init_gpt2

TEXT = "one two three two one three " * 30


def tokenizer_of(kind: str) -> Tokenizer:
    if kind == "char":
        characters = CharTokenizer()
        characters.build_vocab(TEXT)
        return characters
    pieces = BPETokenizer(262)
    pieces.train(TEXT)
    return pieces


def small_gpt(vocab_size: int, backend: str | None, **options: Any) -> GPT:
    return GPT(vocab_size, 16, 2, 2, max_seq_len=16, backend=backend, **options)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("char", {"positions": "learned", "tie_weights": True}),
        ("char", {"positions": "rotary", "bias": False, "init": "zero"}),
        ("bpe", {"positions": "sinusoidal", "activation": "squared_relu"}),
    ],
)
def test_a_trained_gpt_generates_words_of_its_text(
    backend: str | None, kind: str, options: dict[str, Any]
) -> None:
    """Tokenizer, loader, GPT, trainer and generation together."""
    tokenizer = tokenizer_of(kind)
    data = TokenDataset(tokenizer.encode_array(TEXT), block_size=14, backend=backend)
    model = small_gpt(tokenizer.vocab_size, backend, **options)
    trainer = Trainer(
        model,
        AdamW(model.parameters(), lr=0.02),
        CrossEntropyLoss(),
        CosineSchedule(0.02, 0.002, 150, warmup_steps=5),
        1.0,
    )
    rng = np.random.default_rng(0)
    losses = [float(trainer.train_step([data.random_batch(8, rng)]).numpy()) for _ in range(150)]
    assert losses[0] > 1.5
    assert np.mean(losses[-5:]) < 0.5
    assert trainer.evaluate(DataLoader(data, batch_size=64)) < 0.5
    written = tokenizer.decode(generate(model, tokenizer.encode("one "), 40, seed=0).numpy())
    words = written.split(" ")[:-1]  # the last word may be incomplete
    assert sum(word in ("one", "two", "three") for word in words) > 0.7 * len(words)


def test_the_initial_loss_is_at_chance_level(backend: str) -> None:
    model = small_gpt(50, backend)
    ids = Tensor(np.random.default_rng(0).integers(0, 50, (4, 16)), backend=backend)
    loss = CrossEntropyLoss()(model(ids), ids).detach().numpy()
    assert abs(float(loss) - np.log(50)) < 0.1


@pytest.mark.parametrize("positions", ["learned", "sinusoidal", "rotary"])
def test_generation_with_a_cache_equals_generation_without(
    backend: str | None, positions: str
) -> None:
    """For a batch of two, one token at a time, beyond the context length."""
    model = small_gpt(11, backend, positions=positions)
    for p in model.parameters():
        if p.ndim == 2:
            p.data = np.random.default_rng(p.size).standard_normal(p.shape).astype(np.float32) * 0.4
    prompt = np.array([[1, 2, 3], [4, 5, 6]])
    cached, uncached = (
        generate(model, prompt, 30, seed=2, use_cache=cache).numpy() for cache in (True, False)
    )
    np.testing.assert_array_equal(cached, uncached)
    streamed = np.stack(list(stream(model, prompt, 30, seed=2)), axis=1)
    np.testing.assert_array_equal(cached[:, 3:], streamed)


def test_saved_weights_generate_the_same_text(backend: str) -> None:
    one, other = (small_gpt(11, backend, positions="rotary") for _ in range(2))
    for p in one.parameters():
        p.data = np.random.default_rng(p.size).standard_normal(p.shape).astype(np.float32) * 0.4
    texts = [generate(m, [1], 20, seed=0).numpy().tolist() for m in (one, other)]
    assert texts[0] != texts[1]
    other.load_state_dict(one.state_dict())
    assert generate(other, [1], 20, seed=0).numpy().tolist() == texts[0]


def test_every_parameter_gets_a_gradient(backend: str) -> None:
    model = small_gpt(11, backend, dropout=0.1)
    ids = Tensor(np.arange(32).reshape(2, 16) % 11, backend=backend)
    CrossEntropyLoss()(model(ids), ids).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert np.isfinite(parameter.grad.numpy()).all(), name
        assert np.abs(parameter.grad.numpy()).max() > 0, name


def test_a_token_does_not_depend_on_later_ones(backend: str) -> None:
    model, ids = small_gpt(11, backend), np.arange(12)[None] % 11
    changed = ids.copy()
    changed[0, 7:] = 2
    with no_grad():
        one, other = (model.eval()(Tensor(i, backend=backend)).numpy() for i in (ids, changed))
    np.testing.assert_array_equal(one[:, :7], other[:, :7])


# The parts, against NumPy


def randomised(model: Any) -> Any:
    """Random values in all parameters, so that no 0 or 1 hides an error."""
    rng = np.random.default_rng(1)
    for p in model.parameters():
        p.data = (0.4 * rng.standard_normal(p.shape) + (p.ndim == 1)).astype(np.float32)
    return model


def in_numpy(model: GPT, ids: np.ndarray) -> np.ndarray:
    """The logits (B, T, V) of a GPT with learned positions, for ids (B, T), in float64."""
    state = {name: t.numpy().astype(np.float64) for name, t in model.state_dict().items()}
    nh, act = model.config.num_heads, model.config.activation

    def linear(name: str, x: np.ndarray) -> np.ndarray:
        return x @ state[f"{name}.weight"].T + state.get(f"{name}.bias", 0.0)

    def norm(name: str, x: np.ndarray) -> np.ndarray:
        n = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        return n * state[f"{name}.weight"] + state.get(f"{name}.bias", 0.0)

    def activation(x: np.ndarray) -> np.ndarray:
        if act == "squared_relu":
            return np.maximum(x, 0) ** 2
        return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))

    B, T = ids.shape
    x = state["embedding.tokens.weight"][ids] + state["embedding.positions.weight"][:T]
    for i in range(model.config.num_layers):
        qkv = linear(f"blocks.{i}.attention.qkv", norm(f"blocks.{i}.ln1", x))
        q, k, v = np.moveaxis(qkv.reshape(B, T, 3, nh, -1), (2, 3), (0, 2))  # (B, nh, T, hs) each
        scores = q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1])
        weights = np.exp(np.where(np.tri(T, dtype=bool), scores, -np.inf))
        y = weights / weights.sum(-1, keepdims=True) @ v
        x = x + linear(f"blocks.{i}.attention.proj", np.moveaxis(y, 1, 2).reshape(B, T, -1))
        hidden = activation(linear(f"blocks.{i}.mlp.fc", norm(f"blocks.{i}.ln2", x)))
        x = x + linear(f"blocks.{i}.mlp.proj", hidden)
    return linear("head", norm("ln_f", x))


def test_layer_norm_adds_eps_and_leaves_its_input_alone(backend: str) -> None:
    x = Tensor([[1.0, 3.0], [10.0, 30.0]], backend=backend)
    weight = Tensor([2.0, 2.0], backend=backend)
    expected = [[-1.0, 1.0], [-20 / 103**0.5, 20 / 103**0.5]]
    np.testing.assert_allclose(layer_norm(x, weight, eps=3.0).numpy(), expected, rtol=1e-5)
    assert x.tolist() == [[1.0, 3.0], [10.0, 30.0]]
    far = Tensor([[20001.0, 20003.0]], backend=backend)  # the squares have no digits left for 1
    found = layer_norm(far, Tensor([1.0, 1.0], backend=backend), eps=0.0).numpy()
    np.testing.assert_allclose(found, [[-1, 1]], atol=1e-3)


OPTIONS = [{}, {"bias": False, "activation": "squared_relu"}, {"tie_weights": True}]
TEXTS = np.random.default_rng(0).integers(0, 11, (2, 12))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_logits_equal_a_gpt_written_in_numpy(backend: str | None, options: dict[str, Any]) -> None:
    model = randomised(GPT(11, 24, 3, 4, 16, backend=backend, **options))
    found = model(Tensor(TEXTS, backend=backend)).detach().numpy()
    np.testing.assert_allclose(found, in_numpy(model, TEXTS), rtol=2e-3, atol=2e-3)
    one = model(Tensor(TEXTS[0], backend=backend)).detach().numpy()
    np.testing.assert_allclose(one, found[0], rtol=1e-4, atol=1e-4)


def test_gradients_equal_finite_differences(backend: str) -> None:
    """Of the loss, along a random direction in all parameters together, in float64."""
    model = randomised(GPT(11, 12, 2, 3, 16, backend=backend)).to("float64")
    ids = Tensor(TEXTS, backend=backend)

    def loss() -> Any:
        return CrossEntropyLoss()(model(ids), ids)

    loss().backward()
    rng = np.random.default_rng(2)
    before = {name: p.numpy().copy() for name, p in model.named_parameters()}
    gradients = {name: p.grad.numpy() for name, p in model.named_parameters()}
    for part in ("embedding", "ln1", "attention", "ln2", "mlp", "ln_f", "head"):
        ways = {n: rng.standard_normal(v.shape) for n, v in before.items() if part in n}
        found = sum((gradients[name] * way).sum() for name, way in ways.items())
        ends = []
        for step in (1e-5, -1e-5):
            for name, p in model.named_parameters():
                p.data = before[name] + step * ways.get(name, 0.0)
            ends.append(loss().item())
        assert found == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-4, abs=1e-6), part


@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_pieces_with_caches_give_the_same_logits(backend: str | None, positions: str) -> None:
    model = randomised(small_gpt(11, backend, positions=positions))
    for ids in (TEXTS, TEXTS[0]):
        with no_grad():
            whole = model(Tensor(ids, backend=backend)).numpy()
            caches, parts = model.new_caches(), []
            for start, stop in ((0, 3), (3, 4), (4, 9), (9, 12)):
                parts.append(model(Tensor(ids[..., start:stop], backend=backend), caches).numpy())
        assert [cache.length for cache in caches] == [12, 12]
        assert [cache.max_seq_len for cache in caches] == [16, 16]
        np.testing.assert_allclose(np.concatenate(parts, axis=-2), whole, rtol=1e-3, atol=1e-3)
        with no_grad(), pytest.raises(ValueError, match=r"17.*16|16.*17"):
            model(Tensor(np.zeros((*ids.shape[:-1], 5), int), backend=backend), caches)


def test_parameters_are_created_in_order() -> None:
    """So that a seed always gives the same weights."""
    names = [name for name, _ in small_gpt(11, None, bias=False).named_parameters()]
    block = ["ln1", "attention.qkv", "attention.proj", "ln2", "mlp.fc", "mlp.proj"]
    expected = ["embedding.tokens", "embedding.positions"]
    expected += [f"blocks.{i}.{name}" for i in (0, 1) for name in block] + ["ln_f", "head"]
    assert names == [f"{name}.weight" for name in expected]
    with pytest.raises(ValueError, match="must be one of gelu, gelu_erf, squared_relu, not 'r'"):
        MLP(4, activation="r")


@pytest.mark.parametrize("past", [0, 3])
def test_max_seq_len_is_the_limit_even_where_the_parts_have_room(past: int) -> None:
    model = randomised(GPT(11, 8, 3, 2, 8))
    assert len(model.new_caches()) == 3
    model.config = replace(model.config, max_seq_len=4)
    caches, ids = [KVCache(8) for _ in range(3)], Tensor([[1, 2, 3, 4, 5]])
    with no_grad():
        if past:
            model(ids[:, :past], caches)
        with pytest.raises(ValueError, match=r"5.*4|4.*5"):
            model(ids[:, past:], caches)
        model(ids[:, past:4], caches)
        one = GPT(11, 8, 1, 2, 8)
        one(ids, one.new_caches())


def test_blocks_pass_their_settings_on() -> None:
    block = TransformerBlock(
        12, 3, mlp_ratio=2, dropout=0.25, bias=False, activation="squared_relu"
    )
    assert block.mlp.fc.weight.shape == (24, 12)
    assert block.attention.num_heads == 3
    assert len(list(block.parameters())) == 6
    assert MLP(12).fc.weight.shape == (48, 12)
    rotary = RotaryEmbedding(4, 16)
    assert TransformerBlock(12, 3, rotary=rotary).attention.rotary is rotary
    drops = block.attention.weights_dropout, block.attention.output_dropout, block.mlp.dropout
    assert [drop.p for drop in drops] == [0.25] * 3


def test_every_dropout_is_used_in_training_mode() -> None:
    """Each by itself, with all others switched off."""
    model, ids = randomised(small_gpt(11, None)), Tensor(TEXTS)
    calls: list[tuple[int, ...]] = []
    hook = model.dropout.register_forward_hook(lambda module, given, x: calls.append(x.shape))
    with no_grad():
        expected = model(ids).numpy()
        assert calls == [(2, 12, 16)]
        hook.remove()
        block = model.blocks[0]
        for dropout in (
            model.dropout, block.attention.weights_dropout, block.attention.output_dropout,
            block.mlp.dropout,
        ):  # fmt: skip
            dropout.p = 0.5
            assert not np.allclose(model(ids).numpy(), expected)
            assert np.allclose(model.eval()(ids).numpy(), expected)
            model.train()
            dropout.p = 0.0


def test_dropout_of_an_mlp_comes_last_and_once() -> None:
    mlp = randomised(MLP(8, dropout=0.25))
    x = Tensor(np.random.default_rng(0).standard_normal((1000, 8)).astype(np.float32))
    with no_grad():
        dropped, expected = mlp(x).numpy(), mlp.eval()(x).numpy()
    kept = dropped != 0
    assert kept.mean() == pytest.approx(0.75, abs=0.03)
    np.testing.assert_allclose(dropped[kept], expected[kept] / 0.75, rtol=1e-4)


@pytest.mark.parametrize("layers", [3, 8])
def test_initial_weights(layers: int) -> None:
    model = GPT(60, 64, layers, 4, 64)
    states = []
    for _ in range(2):
        for p in model.parameters():
            p.data = 7.0
        manual_seed(0)
        init_gpt2(model)
        states.append({name: p.numpy().copy() for name, p in model.named_parameters()})
    for name, values in states[0].items():
        np.testing.assert_array_equal(values, states[1][name])
        if values.ndim == 1:
            assert (values == (0 if name.endswith("bias") else 7)).all(), name
            continue
        std = 0.02 / (2 * layers) ** 0.5 if name.endswith("proj.weight") else 0.02
        assert values.std() == pytest.approx(std, rel=0.07), name
        assert np.abs(values).max() > 2.6 * std, name


# Sampling and generation


@pytest.mark.parametrize(
    ("settings", "kept", "power"),
    [
        ({}, [0, 1, 2, 3, 4], 1),
        ({"temperature": 0.5}, [0, 1, 2, 3, 4], 2),
        ({"temperature": 0.0}, [3], 1),
        ({"top_k": 2}, [3, 0], 1),
        ({"top_k": 7}, [0, 1, 2, 3, 4], 1),
        ({"top_p": 0.6}, [3, 0], 1),
        ({"top_k": 2, "top_p": 0.55}, [3], 1),
        ({"temperature": 0.5, "top_k": 3}, [3, 0, 4], 2),
        ({"temperature": 0.5, "top_p": 0.5}, [3], 2),
    ],
    ids=str,
)
def test_fractions_of_sampled_tokens(settings: Any, kept: list[int], power: int) -> None:
    """Of two rows, with logits around 2000 and -2000."""
    weights = np.array([0.3, 0.05, 0.1, 0.4, 0.15])
    rows = np.stack([np.log(weights) + 2000, np.log(weights[::-1]) - 2000])
    tokens = sample(np.repeat(rows, 8000, axis=0), rng=np.random.default_rng(0), **settings)
    expected = np.where(np.isin(np.arange(5), kept), weights**power, 0.0)
    for half, step in zip(np.split(tokens, 2), (1, -1), strict=True):
        found = np.bincount(half, minlength=5)[::step] / 8000
        np.testing.assert_allclose(found, expected / expected.sum(), atol=0.03)


def test_each_row_has_its_own_largest_scores() -> None:
    rows = np.log([[0.3, 0.4, 0.1, 0.2], [0.01, 0.02, 0.9, 0.07]])
    tokens = sample(np.repeat(rows, 500, axis=0), top_k=2, rng=np.random.default_rng(0))
    assert [sorted(set(half.tolist())) for half in np.split(tokens, 2)] == [[0, 1], [2, 3]]


def test_infinite_logits_tiny_temperatures_and_seeds() -> None:
    rng = np.random.default_rng(0)
    assert sample(np.array([[0.0, np.inf, 1.0]]), rng=rng).tolist() == [1]
    with np.errstate(all="raise"):
        assert sample(np.array([[0.0, 1.0, 3.0, 2.0]]), 1e-320, rng=rng).tolist() == [2]
    drawn = [sample(np.zeros((1, 1000)), rng=np.random.default_rng(s))[0] for s in (0, 1, 2, 0)]
    assert len(set(drawn)) == 3


def test_equally_likely_float16_tokens_are_all_sampled() -> None:
    tokens = sample(np.zeros((3000, 5000), np.float16), rng=np.random.default_rng(0))
    assert tokens.mean() == pytest.approx(2500, rel=0.05)


def simplest(model: GPT, prompts: np.ndarray, count: int) -> np.ndarray:
    """The loop without caches: a full context keeps its newer half."""
    rng = np.random.default_rng(5)
    limit, text = model.config.max_seq_len, prompts
    start = max(0, prompts.shape[1] - limit)
    for _ in range(count):
        if text.shape[1] - start > limit:
            start = text.shape[1] - limit // 2 - 1
        with no_grad():
            logits = model(Tensor(text[:, start:])).numpy()[:, -1]
        text = np.concatenate([text, sample(logits, rng=rng)[:, None]], axis=1)
    return text


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize(("limit", "length"), [(1, 1), (2, 3), (7, 3), (7, 19)])
def test_text_equals_the_simplest_loop(limit: int, length: int, use_cache: bool) -> None:
    model = randomised(GPT(11, 16, 2, 2, limit))
    prompts = np.random.default_rng(3).integers(0, 11, (3, length))
    found = generate(model, prompts, 20, seed=5, use_cache=use_cache).numpy()
    np.testing.assert_array_equal(found, simplest(model, prompts, 20))


class Oracle(Module):
    """Stands for a GPT: random logits that depend on every token it sees; it needs no caches."""

    def __init__(self) -> None:
        self.config = replace(small_gpt(30, None).config, max_seq_len=20)
        self.weight = Parameter([0.0])
        self.read: list[int] = []
        self.fails_at = -1

    def new_caches(self) -> list[Any]:
        return [KVCache(20)]

    def forward(self, ids: Tensor, caches: Any = None) -> Tensor:
        if len(self.read) == self.fails_at:
            raise ArithmeticError("this model fails on purpose")
        self.read.append(ids.shape[1])
        rows = [np.random.default_rng(row).standard_normal(30) for row in ids.numpy().tolist()]
        return Tensor(np.stack(rows)[:, None])


def test_texts_of_a_batch_end_at_their_own_stop_tokens() -> None:
    prompts = [[1, 2], [3, 4], [5, 6]]
    settings = {"temperature": 0, "use_cache": False}
    free = generate(Oracle(), prompts, 12, **settings).numpy()[:, 2:].tolist()
    stops = [free[0][1], free[1][4], free[2][7]]
    ends = [next(i for i, token in enumerate(row) if token in stops) for row in free]
    assert len(set(ends)) == 3
    expected = [row[: end + 1] + [row[end]] * (max(ends) - end)
                for row, end in zip(free, ends, strict=True)]  # fmt: skip
    found = generate(Oracle(), prompts, 12, stop_token=stops, **settings).numpy()[:, 2:]
    assert found.tolist() == expected
    own = generate(Oracle(), [1, 2], 3, stop_token=[1, 2], **settings).numpy()
    assert len(own) > 3  # stop tokens of the prompt do not count


def test_what_is_read_and_when_it_is_yielded() -> None:
    model = Oracle()
    tokens = stream(model, [1, 2, 3], 5)
    for count in (1, 2, 3):
        next(tokens)
        assert len(model.read) == count
    assert model.read == [3, 1, 1]
    model.fails_at = 3
    with pytest.raises(ArithmeticError):
        next(tokens)
    assert model.training


@pytest.mark.parametrize("settings", [{"top_k": 1}, {"top_p": 1e-9}, {"temperature": 0}], ids=str)
def test_every_setting_reaches_sample(settings: dict[str, Any]) -> None:
    greedy = generate(Oracle(), [1, 2], 12, temperature=0, use_cache=False).tolist()
    assert generate(Oracle(), [1, 2], 12, seed=1, use_cache=False, **settings).tolist() == greedy


@pytest.mark.parametrize("training", [True, False])
def test_generation_leaves_modes_alone(training: bool) -> None:
    model = randomised(small_gpt(11, None, dropout=0.5)).train(training)
    for _ in stream(model, [1, 2], 3):
        assert model.training == training
        assert is_grad_enabled()
    model.ln_f.weight.data = np.full(16, np.nan, np.float32)
    with pytest.raises(RuntimeError, match="diverged"):
        generate(model, [1, 2], 3)
    assert all(module.training == training for module in model.modules())
    assert is_grad_enabled()
