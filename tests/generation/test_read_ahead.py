"""Text that a GPU decodes: the same as on the host, by one graph launch for each token."""

import gc
import sys
from collections.abc import Callable
from itertools import islice
from typing import Any

import numpy as np
import pytest

from tinytorch import GPT, Parameter, Tensor, backends, manual_seed, no_grad
from tinytorch.attention import MultiHeadAttention
from tinytorch.backends import Trace
from tinytorch.generation import decode_step
from tinytorch.generation.decode_step import with_fused_step
from tinytorch.generation.generate import generate, stream
from tinytorch.generation.read_ahead import READ_AHEAD
from tinytorch.transformers import TransformerBlock

V, LAYERS, CONTEXT = 13, 2, 12
PROMPT = np.array([[1, 2, 3], [4, 0, 12], [5, 5, 5], [9, 8, 7], [0, 1, 0]])


def gpt(backend: str = "numpy", dtype: str = "float32", **options: Any) -> GPT:
    """A GPT whose weights are all random, biases and norms included."""
    manual_seed(3)
    sizes = {"embed_dim": 16, "num_layers": LAYERS, "num_heads": 2, "max_seq_len": CONTEXT}
    model = GPT(V, **{**sizes, "positions": "rotary", **options}).eval()
    rng = np.random.default_rng(4)
    for p in model.parameters():
        scale = 1.6 / p.shape[-1] ** 0.5
        p.data = rng.standard_normal(p.shape).astype(np.float32) * scale + (p.ndim == 1)
    return model.to(dtype=dtype).to(backend)


def texts(
    make: Callable[[str], GPT], backend: str, prompt: Any, count: int, **settings: Any
) -> Any:
    """The text on the host and on the device, after a check that the device has decoded it."""
    expected = generate(make("numpy"), prompt, count, seed=1, **settings).tolist()
    with Trace() as trace:
        found = generate(make(backend), prompt, count, seed=1, **settings).tolist()
    assert set(trace.ran("decode step")) == {"fused"}
    return expected, found


# The text


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("positions", ["learned", "sinusoidal", "rotary"])
def test_text_is_that_of_numpy(positions: str, tied: bool, batch: int, cupy_fp32: str) -> None:
    """Past the context: 45 tokens with a context of 12."""

    def make(backend: str) -> GPT:
        return gpt(backend, positions=positions, tie_weights=tied)

    expected, found = texts(make, cupy_fp32, PROMPT[:batch], 45)
    assert found == expected


@pytest.mark.parametrize(
    "options",
    [
        {"bias": False},
        {"activation": "squared_relu"},
        {"dtype": "float64"},
        {"embed_dim": 18, "num_heads": 3},  # rows that cannot be loaded 16 bytes at a time
        {"max_seq_len": 3},
        {"max_seq_len": 4},
    ],
    ids=str,
)
def test_text_of_other_models_is_that_of_numpy(options: dict[str, Any], cupy_fp32: str) -> None:
    expected, found = texts(lambda backend: gpt(backend, **options), cupy_fp32, PROMPT[:2], 20)
    assert found == expected


@pytest.mark.parametrize(("size", "context"), [(64, 80), (128, 50)])
def test_text_of_models_with_large_heads_and_long_contexts(
    size: int, context: int, cupy_fp32: str
) -> None:
    """Each lane has two or four elements of a head, and each warp several groups of keys."""
    prompt = np.random.default_rng(0).integers(0, V, (1, context - 10))
    sizes = {"embed_dim": size, "num_layers": 1, "num_heads": 1, "max_seq_len": context}
    expected, found = texts(lambda backend: gpt(backend, **sizes), cupy_fp32, prompt, 15)
    assert found == expected


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 0},
        {"temperature": 0.5},
        {"temperature": 1e-250},
        {"top_k": 3},
        {"top_p": 0.6, "temperature": 2.0},
        {"top_k": 5, "top_p": 0.5},
    ],
    ids=str,
)
def test_every_setting_of_sampling_is_applied_on_the_device(
    settings: dict[str, Any], cupy_fp32: str
) -> None:
    expected, found = texts(gpt, cupy_fp32, PROMPT, 40, **settings)
    assert found == expected


def test_text_does_not_depend_on_the_precision_of_training(cupy: str) -> None:
    """Products are rounded to tf32 in training, but not in generation."""
    if backends.get(cupy).matmul == "fp32":
        pytest.skip("this GPU does not round products")
    expected, found = texts(gpt, cupy, PROMPT, 40)
    assert found == expected


@pytest.mark.parametrize("batch", [2, 7, 8, 9, 16, 31, 33, 64])
def test_a_batch_of_up_to_64_texts(batch: int, cupy_fp32: str) -> None:
    """Past the context too; a warp computes eight texts."""
    prompt = np.random.default_rng(0).integers(0, V, (batch, 3))
    expected, found = texts(gpt, cupy_fp32, prompt, 14)
    assert found == expected


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_logits_and_caches_of_the_step_equal_those_of_the_model(
    positions: str, dtype: str, cupy_fp32: str
) -> None:
    model = gpt(cupy_fp32, dtype, positions=positions)
    model.embedding.scale = 4.0
    fused, caches, own_caches = with_fused_step(model), model.new_caches(), model.new_caches()
    tolerance = {"rtol": 1e-4, "atol": 1e-4} if dtype == "float32" else {"rtol": 1e-11}
    to_numpy, ids = model.backend.to_numpy, np.random.default_rng(5).integers(0, V, (9, CONTEXT))
    with no_grad():
        for t in range(CONTEXT):
            token = Tensor(ids[:, t : t + 1], backend=cupy_fp32)
            found, expected = fused(token, caches).numpy(), model(token, own_caches).numpy()
            np.testing.assert_allclose(found, expected, **tolerance)
    assert fused.current_step() is not None
    for cache, own in zip(caches, own_caches, strict=True):
        for name in ("_keys", "_values"):
            found, expected = (to_numpy(getattr(c, name)) for c in (cache, own))
            np.testing.assert_allclose(found, expected, **tolerance)


# Random numbers and stop tokens


@pytest.mark.parametrize("temperature", [0, 1.0])
@pytest.mark.parametrize("stop_token", [None, [3, 5]])
def test_the_generator_is_left_as_on_numpy(
    stop_token: Any, temperature: float, cupy_fp32: str
) -> None:
    """Also if the text ends within tokens that were computed ahead."""
    for seed in range(2):
        after = []
        for backend in ("numpy", cupy_fp32):
            rng = np.random.default_rng(seed)
            settings = {"temperature": temperature, "stop_token": stop_token}
            tokens = generate(gpt(backend), PROMPT[:2], 30, seed=rng, **settings)
            after.append((tokens.tolist(), rng.random()))
        assert after[0] == after[1]


def test_the_generator_is_left_as_on_numpy_if_the_reader_stops_early(cupy_fp32: str) -> None:
    after = []
    for backend in ("numpy", cupy_fp32):
        rng = np.random.default_rng(3)
        tokens = stream(gpt(backend), PROMPT[:2], 20, seed=rng, ahead=8)
        read = [token.tolist() for token in islice(tokens, 7)]
        tokens.close()
        after.append((read, rng.random()))
    assert after[0] == after[1]


def test_a_stop_token_ends_a_text(cupy_fp32: str) -> None:
    free = generate(gpt(), PROMPT[0], 40, seed=1).tolist()
    stop = free[9]
    expected, found = texts(gpt, cupy_fp32, PROMPT[0], 40, stop_token=stop)
    assert found == expected == free[: free.index(stop, 3) + 1]


# Launches and copies


def graphs_of(module: Any, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of kernels in each graph that is launched."""
    sizes: list[int] = []
    launch = module.cuda.Graph.launch

    def counted(self: Any, stream: Any = None) -> None:
        sizes.append(len(self._work))
        launch(self, stream)

    monkeypatch.setattr(module.cuda.Graph, "launch", counted)
    return sizes


@pytest.mark.parametrize("settings", [{}, {"temperature": 0}, {"top_k": 3, "top_p": 0.9}], ids=str)
@pytest.mark.parametrize("batch", [1, 5])
def test_a_token_takes_five_launches_a_block_and_four_more(
    batch: int, settings: Any, cupy_fp32: str, fake_cupy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = graphs_of(fake_cupy, monkeypatch)
    model = gpt(cupy_fp32, max_seq_len=100)
    generate(model, PROMPT[:batch], 50, **settings)
    # All but three: the first two by the model, and one by its kernels before they are captured.
    assert sizes == 47 * [5 * LAYERS + 4]


def test_the_host_reads_many_tokens_at_once(
    cupy_fp32: str, fake_cupy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[tuple[int, ...]] = []
    get = fake_cupy.ndarray.get
    monkeypatch.setattr(fake_cupy.ndarray, "get", lambda x: reads.append(x.shape) or get(x))
    generate(gpt(cupy_fp32, max_seq_len=100), PROMPT, 2 + 2 * READ_AHEAD + 3)
    tokens = [shape for shape in reads if shape[-1:] == (5,)]
    assert tokens == [(5,), (5,), (READ_AHEAD, 5), (READ_AHEAD, 5), (3, 5)]


def test_the_newer_half_of_a_full_context_is_read_by_a_graph(
    cupy_fp32: str,
) -> None:
    with Trace() as trace:
        generate(gpt(cupy_fp32), PROMPT, 10 + 4 * 6)  # four times: 7 of 12 tokens are read
    ran = trace.ran("graphed step")
    assert ran.pop("captured") == 1
    assert ran.pop("replayed") == 2
    assert list(ran.values()) == [1]  # the first time, eagerly


@pytest.mark.parametrize("freed_with", ["the text", "the model"])
def test_memory_of_graphs_is_freed(
    freed_with: str, cupy_fp32: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the text if the caches are large. No cycle of references may keep a graph."""
    from tinytorch.backends.cupy import graph

    if freed_with == "the text":
        monkeypatch.setattr(decode_step, "KEPT_BYTES", 4000)
    gc.collect()
    before = len(graph._places)
    gc.disable()
    try:
        model = gpt(cupy_fp32)
        generate(model, PROMPT, 50)
        assert (len(graph._places) == before) == (freed_with == "the text")
        del model
        assert len(graph._places) == before
    finally:
        gc.enable()


# The next text


def test_the_next_text_is_read_and_decoded_by_the_graphs_of_the_last(
    cupy_fp32: str, fake_cupy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = gpt(cupy_fp32, max_seq_len=100)
    for _ in range(3):  # the third captures the reading of a prompt of this length
        generate(model, PROMPT, 10)
    sizes = graphs_of(fake_cupy, monkeypatch)
    with Trace() as trace:
        found = generate(model, PROMPT[::-1], 10, seed=1).tolist()
    assert found == generate(gpt(max_seq_len=100), PROMPT[::-1], 10, seed=1).tolist()
    assert trace.ran("graphed step") == {"replayed": 1}
    assert sizes[1:] == 9 * [5 * LAYERS + 4]


def scale_weight(model: GPT) -> None:
    model.head.weight.data = model.head.weight.numpy() * -0.5  # in place


def change_setting(model: GPT) -> None:
    model.ln_f.eps = 10.0


def add_hook(model: GPT) -> None:
    model.blocks[0].register_forward_hook(lambda module, args, output: output * -0.5)


def test_the_next_text_is_that_of_the_changed_model(cupy_fp32: str) -> None:
    models = [gpt("numpy"), gpt(cupy_fp32)]
    before = [generate(model, PROMPT, 20, seed=1).tolist() for model in models]
    for change in (scale_weight, replace_parameter, replace_method, change_setting, add_hook):
        for model in models:
            change(model)
        expected, found = (generate(model, PROMPT, 20, seed=1).tolist() for model in models)
        assert found == expected
        assert found not in before
        before.append(found)


def test_the_next_text_is_that_of_changed_classes(
    cupy_fp32: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = gpt(cupy_fp32)
    before = generate(model, PROMPT, 12, seed=1).tolist()
    attend = MultiHeadAttention.attend
    monkeypatch.setattr(
        MultiHeadAttention,
        "attend",
        lambda self, x, *inputs, **settings: attend(self, x * -2, *inputs, **settings),
    )
    found = generate(model, PROMPT, 12, seed=1).tolist()
    assert found == generate(gpt(), PROMPT, 12, seed=1, use_cache=False).tolist() != before


@pytest.mark.slow
def test_the_next_text_may_have_other_rows_settings_and_lengths(cupy_fp32: str) -> None:
    models = [gpt("numpy"), gpt(cupy_fp32)]
    cases = [(3, 10, {}), (2, 10, {}), (2, 40, {}), (2, 1, {}), (2, 30, {"temperature": 0}),
             (2, 5, {"temperature": 0}), (2, 0, {}), (2, 9, {"top_k": 2})]  # fmt: skip
    for rows, count, settings in cases:
        for prompt in (PROMPT[:rows], PROMPT[:rows, :1], np.tile(PROMPT[:rows], (1, 6))):
            texts = [generate(m, prompt, count, seed=1, **settings).tolist() for m in models]
            assert texts[0] == texts[1]


@pytest.mark.filterwarnings("ignore:too little memory on the GPU")  # of the prompt's graph
@pytest.mark.parametrize(
    ("error", "why"),
    [
        (MemoryError("Out of memory allocating 1,024 bytes"), "too little memory for a graph"),
        (RuntimeError("cudaErrorStreamCaptureUnsupported"), "this step cannot be captured (Run"),
    ],
    ids=["memory", "capture"],
)
def test_a_text_whose_graph_fails_is_decoded_by_kernels_and_a_later_one_by_a_graph(
    error: Exception, why: str, cupy_fp32: str, fake_cupy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the same decoder, which is kept for the next text."""
    model, host = gpt(cupy_fp32), gpt()

    def failing(*arguments: Any) -> None:
        raise error

    with monkeypatch.context() as patch, Trace() as trace:
        patch.setattr(fake_cupy.cuda.Stream, "begin_capture", failing)
        found = generate(model, PROMPT, 40, seed=1).tolist()
    assert found == generate(host, PROMPT, 40, seed=1).tolist()
    (ran,) = trace.ran("decode graph")
    assert ran.startswith(f"fallback: {why}")
    with Trace() as trace:
        found = generate(model, PROMPT, 60, seed=2).tolist()
    assert found == generate(host, PROMPT, 60, seed=2).tolist()
    assert trace.ran("decode graph") == {"captured": 1}


# Streams


def zero_head(model: GPT) -> None:
    model.head.weight.data = 0.0  # in place


def replace_parameter(model: GPT) -> None:
    new = Parameter(-model.head.weight.numpy(), backend=model.backend)
    model.head.weight = new


def replace_method(model: GPT) -> None:
    block = model.blocks[1]
    block.forward = lambda x, mask, cache: TransformerBlock.forward(block, x, mask, cache) * -0.5


@pytest.mark.parametrize("change", [zero_head, replace_parameter, replace_method])
@pytest.mark.parametrize("after", [1, 4, 9, 10, 11, 22])
def test_a_streamed_model_may_change_between_two_tokens(
    after: int, change: Any, cupy_fp32: str
) -> None:
    """In the middle of a context, and when it is full."""

    def text_of(model: GPT) -> list[int]:
        tokens = stream(model, [1, 2, 3], 30, seed=1)
        begin = [int(t[0]) for t in islice(tokens, after)]
        change(model)
        return begin + [int(t[0]) for t in tokens]

    found, unchanged = text_of(gpt(cupy_fp32)), generate(gpt(), [1, 2, 3], 30, seed=1).tolist()[3:]
    assert found == text_of(gpt()) != unchanged


def test_a_stream_computes_no_token_before_it_is_asked_for(cupy_fp32: str) -> None:
    rng = np.random.default_rng(1)
    tokens = stream(gpt(cupy_fp32), PROMPT, 30, seed=rng)
    for _ in islice(tokens, 7):
        pass
    same = np.random.default_rng(1)
    same.random((7, len(PROMPT)))
    assert rng.random() == same.random()


@pytest.mark.parametrize("ahead", [1, 2, 7, 32, 1000])
def test_tokens_do_not_depend_on_how_many_are_computed_ahead(ahead: int, cupy_fp32: str) -> None:
    tokens = list(stream(gpt(cupy_fp32, max_seq_len=50), PROMPT, 60, seed=1, ahead=ahead))
    expected = list(stream(gpt(max_seq_len=50), PROMPT, 60, seed=1, ahead=ahead))
    np.testing.assert_array_equal(tokens, expected)


def test_ahead_is_checked() -> None:
    with pytest.raises(ValueError, match="ahead must be at least 1"):
        stream(gpt(), [1], 3, ahead=0)


def test_two_streams_of_one_model_do_not_share_memory(cupy_fp32: str) -> None:
    model, prompts = gpt(cupy_fp32), ([1, 2, 3], [4, 5, 6, 7])
    expected = [generate(gpt(), prompt, 20, seed=1).tolist() for prompt in prompts]
    streams = [stream(model, prompt, 20, seed=1) for prompt in prompts]
    found = [list(prompt) for prompt in prompts]
    for tokens in zip(*streams, strict=True):
        for text, token in zip(found, tokens, strict=True):
            text.append(int(token[0]))
    assert found == expected


def test_an_interrupt_ends_the_text_and_leaves_the_model_usable(
    cupy_fp32: str, fake_cupy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = gpt(cupy_fp32, max_seq_len=50)
    sizes = graphs_of(fake_cupy, monkeypatch)
    launch = fake_cupy.cuda.Graph.launch

    def interrupted(self: Any, stream: Any = None) -> None:
        if len(sizes) == 5:
            raise KeyboardInterrupt
        launch(self, stream)

    with monkeypatch.context() as patch:
        patch.setattr(fake_cupy.cuda.Graph, "launch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            generate(model, PROMPT, 40, seed=1)
    expected = generate(gpt(max_seq_len=50), PROMPT, 40, seed=1)
    assert generate(model, PROMPT, 40, seed=1).tolist() == expected.tolist()


def test_diverged_logits_raise_at_their_token(cupy_fp32: str) -> None:
    model, found = gpt(cupy_fp32, max_seq_len=50, positions="learned"), []
    with no_grad():
        model.embedding.positions.weight[10] = np.nan
    with pytest.raises(RuntimeError, match="the logits are NaN"):
        found.extend(stream(model, PROMPT, 40, seed=1, ahead=32))
    assert len(found) == 8  # the eighth is at position 10, where the logits are NaN


# Functions and models that the decoder does not replace


@pytest.mark.parametrize("name", ["_stream", "sample", "choose_token", "_last_logits"])
def test_a_function_defined_elsewhere_is_called(
    name: str, cupy_fp32: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a student's in a notebook, whose generation is not replaced by the decoder."""
    module, calls = sys.modules["tinytorch.generation.generate"], []
    own = getattr(module, name)

    def written(*arguments: Any, **settings: Any) -> Any:
        calls.append(name)
        return own(*arguments, **settings)

    monkeypatch.setattr(module, name, written)
    with Trace() as trace:
        found = generate(gpt(cupy_fp32), PROMPT, 15, seed=1).tolist()
    assert len(calls) == {"_stream": 1, "sample": 0}.get(name, 15)  # sample runs on the host only
    assert found == generate(gpt(), PROMPT, 15, seed=1).tolist()
    (why,) = trace.ran("decoder")
    assert why == f"fallback: written is defined in {__name__}"
    assert "captured" not in trace.ran("graphed step")


# Models that the decoder does not support


def test_heads_that_are_too_large_are_decoded_by_the_model(cupy_fp32: str) -> None:
    model = gpt(cupy_fp32, embed_dim=130, num_heads=1, num_layers=1)
    with Trace() as trace:
        tokens = generate(model, PROMPT[:1], 12, seed=1).tolist()
    assert trace.ran("decode step") == {"fallback: its heads have more than 128 elements": 1}
    host = gpt(embed_dim=130, num_heads=1, num_layers=1)
    assert tokens == generate(host, PROMPT[:1], 12, seed=1).tolist()


def test_a_changed_model_is_decoded_by_its_own_code(
    cupy_fp32: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    attend = MultiHeadAttention.attend
    monkeypatch.setattr(
        MultiHeadAttention,
        "attend",
        lambda self, x, *inputs, **settings: attend(self, x * 0.5, *inputs, **settings),
    )
    with Trace() as trace:
        tokens = generate(gpt(cupy_fp32), PROMPT, 12, seed=1).tolist()
    (ran,) = trace.ran("decode step")
    assert "its logits differ" in ran
    assert tokens == generate(gpt(), PROMPT, 12, seed=1, use_cache=False).tolist()


def test_a_model_that_reads_values_on_the_host_is_decoded_but_not_captured(
    cupy_fp32: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    attend = MultiHeadAttention.attend

    def reading(self: Any, x: Any, *inputs: Any, **settings: Any) -> Any:
        assert abs(x.sum().item()) < 1e9
        return attend(self, x, *inputs, **settings)

    monkeypatch.setattr(MultiHeadAttention, "attend", reading)
    with Trace() as trace:
        tokens = generate(gpt(cupy_fp32), PROMPT, 40, seed=1).tolist()
    assert set(trace.ran("decode step")) == {"fused"}
    (ran,) = trace.ran("graphed prompt")
    assert "this step cannot be captured" in ran
    assert tokens == generate(gpt(), PROMPT, 40, seed=1).tolist()
