"""A Llama of SmolLM2-135M's size on the CPU beside transformers: prefill and decode, in turn.

    python tests/benchmarks/llama.py [--rounds 5] [--tokens 32] [--prompt 256]

prints, for float32 weights drawn at random and shared by both: the time to read the prompt up to
the first logits, the tokens a second after it (batch 1, key-value cache), and the part of the
memory's bandwidth that decoding reaches: bytes of the weights over the time of a token, beside the
bytes that copies of large arrays read and write in the same time. Rounds alternate, and the medians
of all are compared. Needs PyTorch and transformers.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tinytorch.backends.numpy.threads import num_threads, parallel_ranges
from tinytorch.generation.generate import stream
from tinytorch.generation.int8 import to_int8
from tinytorch.models import Llama, LlamaConfig

CONFIG = LlamaConfig(
    vocab_size=49152, embed_dim=576, num_layers=30, num_heads=9, num_kv_heads=3, hidden_dim=1536,
    max_seq_len=2048, rope_base=100000.0, tie_weights=True,
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=32, help="of each round")
    parser.add_argument("--prompt", type=int, default=256, help="tokens of the prompt")
    parser.add_argument("--only", choices=("tinytorch", "transformers"))
    options = parser.parse_args()
    model = Llama.from_config(CONFIG)
    size = sum(parameter.nbytes for parameter in model.parameters())
    prompt = np.random.default_rng(0).integers(0, CONFIG.vocab_size, (1, options.prompt))
    rounded = to_int8(Llama.from_config(CONFIG))
    runs: dict[str, Callable[[], Iterator[Any]]] = {
        "tinytorch": lambda: stream(model, prompt, options.tokens, temperature=0),
        "tinytorch, int8": lambda: stream(rounded, prompt, options.tokens, temperature=0),
    }
    if options.only != "tinytorch":
        other = transformers_model(model)
        runs["transformers"] = lambda: transformers_stream(other, prompt, options.tokens)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    bandwidths = []
    for _ in range(options.rounds):
        bandwidths.append(copied_bytes_per_second())
        for name, run in runs.items():
            times[name].append(seconds(run()))
    report(times, statistics.median(bandwidths), size)


def seconds(tokens: Iterator[Any]) -> tuple[float, float]:
    """Seconds until the first token, and the median of those between later ones."""
    start = time.perf_counter()
    waits = np.diff([start, *(time.perf_counter() for _ in tokens)])
    return float(waits[0]), float(np.median(waits[3:]))  # the second token verifies the fused step


def copied_bytes_per_second(size: int = 2**28) -> float:
    """Bytes that all threads together read and write in a second, in copies of a large array."""
    source, target = np.ones(size // 4, np.float32), np.zeros(size // 4, np.float32)
    waits = []
    for _ in range(5):
        start = time.perf_counter()
        parallel_ranges(lambda i, j: np.copyto(target[i:j], source[i:j]), len(source))
        waits.append(time.perf_counter() - start)
    return 2 * size / statistics.median(waits)


def transformers_model(model: Llama) -> Any:
    """transformers' model of the same size; its speed does not depend on the weights."""
    import torch
    from transformers import LlamaConfig as OtherConfig
    from transformers import LlamaForCausalLM

    torch.set_num_threads(num_threads())
    c = model.config
    config = OtherConfig(
        vocab_size=c.vocab_size, hidden_size=c.embed_dim, intermediate_size=c.hidden_dim,
        num_hidden_layers=c.num_layers, num_attention_heads=c.num_heads,
        num_key_value_heads=c.num_kv_heads, max_position_embeddings=c.max_seq_len,
        tie_word_embeddings=c.tie_weights, rope_parameters={"rope_type": "default",
        "rope_theta": c.rope_base},
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def transformers_stream(model: Any, prompt: Any, count: int) -> Iterator[int]:
    """Greedy tokens, with a cache and the logits of the last position only, as `generate` does."""
    import torch

    with torch.inference_mode():
        ids, cache = torch.from_numpy(prompt), None
        for _ in range(count):
            out = model(input_ids=ids, cache=cache, use_cache=True, logits_to_keep=1)
            cache, ids = out.past_key_values, out.logits[:, -1].argmax(-1, keepdim=True)
            yield int(ids)


def report(times: dict[str, list[tuple[float, float]]], bandwidth: float, size: int) -> None:
    print(
        f"threads {num_threads()}, weights {size / 1e6:.0f} MB, copies {bandwidth / 1e9:.1f} GB/s"
    )
    print(f"memory allows {bandwidth / size:.1f} tokens a second")
    print("| | prompt (s) | token (ms) | tokens/s | of the bandwidth |\n|---|---:|---:|---:|---:|")
    medians = {
        name: [statistics.median(t) for t in zip(*all_, strict=True)]
        for name, all_ in times.items()
    }
    for name, (prompt, token) in medians.items():
        read = size / 4 if "int8" in name else size
        share = read / token / bandwidth
        print(f"| {name} | {prompt:.3f} | {token * 1e3:.1f} | {1 / token:.1f} | {share:.2f} |")
    if "transformers" in medians:
        (p, t), (q, u) = medians["tinytorch"], medians["transformers"]
        print(f"prompt: {p / q:.2f} times transformers' time; tokens a second: {u / t:.2f} times")


if __name__ == "__main__":
    main()
