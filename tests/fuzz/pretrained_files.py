"""Fuzz targets: weights of other programs: safetensors, shards, GGUF, config.json."""

import json
import random
import shutil
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
from checkpoint_files import mutate_header
from fuzz_files import Target, check_length, mutate_bytes, mutate_json

from tinytorch import GPT, Tensor, no_grad
from tinytorch.models import Llama
from tinytorch.pretrained import PretrainedError, load_pretrained, save_pretrained

# What a small model takes beyond its files: Python objects, tables of positions, imports.
ALLOWED = 24 * 2**20  # bytes
HUGE = [0, -1, 2**16, 2**31, 2**32 - 1, 2**40, 2**63, 10**30]


def prepare_gpt2(folder: Path) -> Path:
    save_pretrained(GPT(40, 16, 2, 2, max_seq_len=16, tie_weights=True), None, folder)
    return folder


def prepare_llama(folder: Path) -> Path:
    """In three shards with an index."""
    save_pretrained(Llama(40, 16, 3, 4, 2, 24, max_seq_len=16), None, folder)
    path = folder / "model.safetensors"
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    del header["__metadata__"]
    places = {name: f"model-{i % 3}.safetensors" for i, name in enumerate(header)}
    for shard in sorted(set(places.values())):
        text, numbers = {"__metadata__": {}}, b""
        for name in (name for name, place in places.items() if place == shard):
            begin, end = (start + n for n in header[name]["data_offsets"])
            offsets = [len(numbers), len(numbers) + end - begin]
            text[name] = {**header[name], "data_offsets": offsets}
            numbers += data[begin:end]
        encoded = json.dumps(text).encode()
        (folder / shard).write_bytes(len(encoded).to_bytes(8, "little") + encoded + numbers)
    path.unlink()
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return folder


def mutate_folder(good: Path, rng: random.Random, folder: Path) -> Path:
    """Copy a model with one file mutated, missing, swapped, or in a loop of links."""
    shutil.copytree(good, folder, dirs_exist_ok=True)
    path = rng.choice(sorted(folder.iterdir()))
    kind = rng.random()
    if kind < 0.05:
        path.unlink()
    elif kind < 0.1:
        path.unlink()
        path.symlink_to(rng.choice([path, folder, rng.choice(sorted(folder.iterdir()) or [path])]))
    elif path.suffix == ".json" and kind < 0.8:
        value = json.loads(path.read_text())
        for _ in range(rng.choice([1, 1, 2])):
            value = _larger(value, rng) if rng.random() < 0.4 else mutate_json(value, rng)
        path.write_text(json.dumps(value))
    elif path.suffix == ".safetensors" and kind < 0.4:
        path.write_bytes(mutate_header(path.read_bytes(), rng))
    elif path.suffix == ".safetensors" and kind < 0.7:
        data = path.read_bytes()
        size = int.from_bytes(data[:8], "little")
        text = json.dumps(_larger(json.loads(data[8 : 8 + size]), rng)).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + size :])
    else:
        path.write_bytes(mutate_bytes(path.read_bytes(), rng))
    return folder


def _larger(value: Any, rng: random.Random) -> Any:
    """A copy in which one number at any depth is another, often a huge one."""
    if isinstance(value, dict) and value:
        key = rng.choice(sorted(value))
        return {**value, key: _larger(value[key], rng)}
    if isinstance(value, list) and value:
        at = rng.randrange(len(value))
        return [*value[:at], _larger(value[at], rng), *value[at + 1 :]]
    return rng.choice([*HUGE, rng.randrange(100)])


def prepare_gguf(folder: Path) -> bytes:
    """The bytes of a small Llama in a GGUF file, with matrices in Q8_0."""
    C, V, F, kv = 32, 40, 64, 16
    shapes = {"token_embd": (V, C), "output_norm": (C,)}
    for block in ("blk.0.", "blk.1."):
        shapes |= {
            f"{block}attn_norm": (C,), f"{block}attn_q": (C, C), f"{block}attn_k": (kv, C),
            f"{block}attn_v": (kv, C), f"{block}attn_output": (C, C), f"{block}ffn_norm": (C,),
            f"{block}ffn_gate": (F, C), f"{block}ffn_up": (F, C), f"{block}ffn_down": (C, F),
        }  # fmt: skip
    numbers = {
        "block_count": 2, "context_length": 16, "embedding_length": C, "feed_forward_length": F,
        "attention.head_count": 4, "attention.head_count_kv": 2,
    }  # fmt: skip
    values = [_string("general.architecture") + struct.pack("<I", 8) + _string("llama")]
    values += [_string(f"llama.{n}") + struct.pack("<II", 4, v) for n, v in numbers.items()]
    eps = _string("llama.attention.layer_norm_rms_epsilon") + struct.pack("<If", 6, 1e-5)
    words = _string("words") + struct.pack("<IIQ", 9, 8, 3) + b"".join(map(_string, "abc"))
    values += [eps, words, _string("ids") + struct.pack("<IIQ3i", 9, 5, 3, 1, 2, 3)]
    infos, data = b"", b""
    for name, shape in shapes.items():
        infos += _string(f"{name}.weight") + struct.pack("<I", len(shape))
        infos += struct.pack(f"<{len(shape)}Q", *shape[::-1])
        infos += struct.pack("<IQ", 8 if len(shape) == 2 else 0, len(data))
        count = int(np.prod(shape))
        data += bytes(count // 32 * 34 if len(shape) == 2 else 4 * count)
        data += bytes(-len(data) % 32)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(shapes), len(values)) + b"".join(values) + infos
    return head + bytes(-len(head) % 32) + data


def _string(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


def mutate_gguf(good: bytes, rng: random.Random, folder: Path) -> Path:
    path = folder / "model.gguf"
    kind = rng.random()
    if kind < 0.5:  # a number of the part in front of the weights
        at, size = rng.randrange(1600), rng.choice([1, 4, 8])
        new = (rng.choice([*HUGE[:-1], rng.randrange(100)]) % 256**size).to_bytes(size, "little")
        data = good[:at] + new + good[at + size :]
    elif kind < 0.6:
        data = good[: rng.randrange(len(good))]
    else:
        data = mutate_bytes(good, rng)
    path.write_bytes(data)
    return path


def load(path: Path) -> None:
    """Load a model; it must not take more memory than its files account for."""
    files = [path] if path.is_file() else [p for p in path.iterdir() if p.is_file()]
    size = sum(file.stat().st_size for file in files)
    tracemalloc.start()
    try:
        model, _ = load_pretrained(path)
        with np.errstate(all="ignore"), no_grad():
            count = min(3, model.config.max_seq_len)
            logits = model(Tensor([[0, 1, 2][:count]]))
            assert logits.shape == (1, count, model.config.vocab_size)
    except PretrainedError as error:
        check_length(error, *[path] * 4)
        if "\n" in str(error):
            raise AssertionError(f"several lines: {error}") from None
        raise
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < ALLOWED + 8 * size, f"{peak} bytes allocated for a file of {size}"


TARGETS = [
    Target("load_pretrained, gpt2", prepare_gpt2, mutate_folder, load, (PretrainedError,)),
    Target("load_pretrained, shards", prepare_llama, mutate_folder, load, (PretrainedError,)),
    Target("load_pretrained, gguf", prepare_gguf, mutate_gguf, load, (PretrainedError,)),
]
