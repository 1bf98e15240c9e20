"""What holds a model: a Hugging Face folder, a GGUF file, or the weights of a nanoGPT."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..arguments import shown
from ..models import Llama
from ..text.tokenizer import Tokenizer
from . import gpt2, llama
from .errors import PretrainedError
from .family import Layout
from .gguf_file import read_gguf
from .safetensors_file import read_json_file, read_safetensors, read_shards
from .stored import StoredTensor, Tensors
from .tokenizer_files import read_gguf_tokenizer, read_tokenizer

# By model_type of config.json, and by general.architecture of GGUF.
HUGGING_FACE = {"gpt2": gpt2.HUGGING_FACE, "llama": llama.HUGGING_FACE}
GGUF = {"llama": llama.GGUF}
_PICKLES = {".bin", ".pt", ".pth", ".ckpt", ".pkl"}
SMALL = 2**20  # numbers in tables of positions that any model may have


class Source(NamedTuple):
    """A model in files.

    Attributes:
        layout: how they hold it.
        config: of the model, ours.
        tensors: by their names in the layout's rows.
        tokenizer: reads the tokenizer, or gives None if there is none.
        path: of the file that says what the model is, for messages.
    """

    layout: Layout
    config: Any
    tensors: Tensors
    tokenizer: Callable[[], Tokenizer | None]
    path: Path


def open_source(path: Path, num_heads: int | None = None) -> Source:
    """The model in a file or folder.

    Raises:
        PretrainedError: there is none that can be read.
    """
    if path.is_dir():
        return _open_folder(path, num_heads)
    if path.suffix in _PICKLES:
        raise PretrainedError(
            f"{path} holds pickles, and reading them runs code: convert it to safetensors"
        )
    if path.suffix == ".gguf":
        return _open_gguf(path)
    if path.suffix != ".safetensors":
        raise PretrainedError(f"{path} is not a folder, a .safetensors or a .gguf file")
    if path.with_name("config.json").exists():
        tensors, _ = read_safetensors(path)
        return _open_hugging_face(path.parent, tensors)
    return _open_nanogpt(path, num_heads)


def _open_folder(folder: Path, num_heads: int | None) -> Source:
    """The model in a folder: described by config.json, or in the only file of weights."""
    one, several = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if (folder / "config.json").exists():
        if one.exists():
            return _open_hugging_face(folder, read_safetensors(one)[0])
        if several.exists():
            return _open_hugging_face(folder, read_shards(several))
    found = sorted([*folder.glob("*.safetensors"), *folder.glob("*.gguf")])
    if len(found) == 1:
        return open_source(found[0], num_heads)
    if any(entry.suffix in _PICKLES for entry in folder.iterdir()):
        raise PretrainedError(
            f"{folder} holds weights as pickles only, and reading them runs code: convert them to"
            " safetensors, for example by transformers' save_pretrained"
        )
    missing = " and ".join(f.name for f in (folder / "config.json", one) if not f.exists())
    raise PretrainedError(f"{folder} lacks {missing}")


def _open_hugging_face(folder: Path, tensors: Tensors) -> Source:
    path = folder / "config.json"
    given = read_json_file(path)
    layout = _known(given.get("model_type"), HUGGING_FACE, path)
    return _source(layout, given, tensors, lambda: read_tokenizer(folder), path)


def _open_gguf(path: Path) -> Source:
    tensors, metadata = read_gguf(path)
    layout = _known(metadata.get("general.architecture"), GGUF, path)
    vocab = _shape(tensors, "token_embd.weight", path)[0]
    rope = tensors.get("rope_freqs.weight")
    given = {
        **metadata, "vocab_size": vocab, "tie_weights": "output.weight" not in tensors,
        "rope_divisors": None if rope is None else rope.numpy(),
    }  # fmt: skip
    return _source(layout, given, tensors, lambda: read_gguf_tokenizer(metadata, path), path)


def _open_nanogpt(path: Path, num_heads: int | None) -> Source:
    """The weights of a nanoGPT, whose shapes say all but the number of heads."""
    tensors, metadata = read_safetensors(path)
    layout = gpt2.NANOGPT
    short = {layout.short_name(name): tensor for name, tensor in tensors.items()}
    V, C = _shape(short, "wte.weight", path)
    heads = num_heads or metadata.get("n_head", "")
    if not str(heads).isdecimal() or len(str(heads)) > 9:
        raise PretrainedError(
            f"{path} does not say how many heads the model has: pass num_heads, n_head in nanoGPT's"
            " configuration"
        )
    given = {
        "vocab_size": V, "embed_dim": C, "num_heads": int(heads),
        "max_seq_len": _shape(short, "wpe.weight", path)[0], "bias": "ln_f.bias" in short,
        "num_layers": len({name.split(".")[1] for name in short if name.startswith("h.")}),
    }  # fmt: skip
    return _source(layout, given, tensors, lambda: read_tokenizer(path.parent), path)


def _known(kind: Any, layouts: Mapping[str, Layout], path: Path) -> Layout:
    if not isinstance(kind, str) or kind not in layouts:
        raise PretrainedError(
            f"{path} describes a model of type {shown(kind)}; known are {', '.join(layouts)}"
        )
    return layouts[kind]


def _shape(tensors: Tensors, name: str, path: Path) -> tuple[int, ...]:
    """The shape of a matrix that says the sizes of the model."""
    shape = tensors[name].shape if name in tensors else ()
    if len(shape) != 2:
        raise PretrainedError(f"{path} lacks {name}, a matrix")
    return shape


def _source(
    layout: Layout, given: Mapping[str, Any], tensors: Tensors,
    tokenizer: Callable[[], Tokenizer | None], path: Path,
) -> Source:  # fmt: skip
    short: dict[str, StoredTensor] = {}
    for name, tensor in tensors.items():
        if short.setdefault(layout.short_name(name), tensor) is not tensor:
            raise PretrainedError(f"{path.parent} holds two tensors {layout.short_name(name)}")
    try:
        config = layout.config(given, path)
    except (TypeError, ArithmeticError) as error:  # ValueError is PretrainedError's base
        raise PretrainedError(f"{path} describes no model: {error}") from error
    except PretrainedError:
        raise
    except ValueError as error:
        raise PretrainedError(f"{path} describes no model: {error}") from error
    if layout.model is Llama:
        _check_context(config, short, path)
    return Source(layout, config, short, tokenizer, path)


def _check_context(config: Any, tensors: Tensors, path: Path) -> None:
    """Check the one size of a Llama that no tensor proves: its table of positions grows with it."""
    numbers = sum(math.prod(tensor.shape) for tensor in tensors.values())
    entries = config.max_seq_len * config.hs
    if entries > max(numbers, SMALL):
        raise PretrainedError(
            f"{path} promises a context of {shown(config.max_seq_len)} tokens, whose table of"
            f" positions would be larger than all {numbers} weights"
        )
