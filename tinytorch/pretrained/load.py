"""Load a model and its tokenizer from the files of other programs."""

import os
from pathlib import Path
from typing import Any

from ..backends import Backend
from ..ops import random
from ..text.tokenizer import Tokenizer
from ..transformers import GPT
from .errors import PretrainedError
from .hub import find_model, is_hub_name
from .keys import check_keys, fill
from .source import Source, open_source


def load_pretrained(
    path: str | os.PathLike[str],
    *,
    num_heads: int | None = None,
    dtype: Any = None,
    backend: str | Backend | None = None,
) -> tuple[GPT, Tokenizer | None]:
    """Load a model and its tokenizer from files of Hugging Face, llama.cpp or nanoGPT.

    No file is unpickled or runs code, and nothing is allocated that the file's bytes do not
    account for. Weights are read one after the other into the memory of the model.

    Args:
        path: a folder with config.json and model.safetensors, also in several shards, of GPT-2 or
            a Llama-like model; a .gguf file or the folder of one; a .safetensors file of nanoGPT;
            or the name of a model on the Hugging Face hub, which is looked for in its cache, and
            downloaded if `huggingface_hub` is installed.
        num_heads: of a nanoGPT, whose files do not tell it; of others it is checked.
        dtype: of the model's weights, by default float32, into which float16, bfloat16 and
            quantised numbers are converted.
        backend: of the model.

    Returns:
        The model, a `GPT` or `Llama` in evaluation mode, and its tokenizer, or None if there are no
        files of one.

    Raises:
        PretrainedError: a file is missing, damaged or of another kind, its tensors are not those of
            the model that it describes, which are named, or it says another number of heads.

    Example::

        model, tokenizer = load_pretrained("gpt2")
        ids = model.generate(tokenizer.encode("The capital of France is"), 20)
        print(tokenizer.decode(ids))
    """
    path = _located(path)
    try:
        source = open_source(path, num_heads)
        if num_heads not in (None, source.config.num_heads):
            raise PretrainedError(
                f"{source.path} is of a model with {source.config.num_heads} heads, not"
                f" num_heads={num_heads}"
            )
        model = _read(source, dtype, backend)
        tokenizer = source.tokenizer()
    except OSError as error:
        raise PretrainedError(f"{path} cannot be read: {error.strerror or error}") from error
    if tokenizer is not None and tokenizer.vocab_size > source.config.vocab_size:
        raise PretrainedError(
            f"the tokenizer of {path} has {tokenizer.vocab_size} tokens, but the model"
            f" {source.config.vocab_size}"
        )
    return model, tokenizer


def _located(path: str | os.PathLike[str]) -> Path:
    """The file or folder at a path, or of a name on the hub."""
    try:
        exists = os.path.exists(os.fspath(path))  # a number would be that of an open file
    except (TypeError, ValueError) as error:  # a NUL, or no path at all
        raise PretrainedError(f"no path of a model: {error}") from None
    if exists:
        return Path(path)
    if isinstance(path, str) and is_hub_name(path) and Path(path).suffix not in _FILES:
        return find_model(path)
    raise PretrainedError(f"there is no file or folder {os.fspath(path)}")


_FILES = (".gguf", ".safetensors", ".bin", ".pt", ".json")


def _read(source: Source, dtype: Any, backend: Any) -> GPT:
    """A model with the weights of a source."""
    layout, config = source.layout, source.config
    rows, sizes = layout.rows_for(config), layout.sizes(config)
    keys = check_keys(rows, sizes, source.tensors, layout.ignored_for(config), source.path)
    try:
        with random.undrawn():
            model: GPT = layout.model.from_config(config, backend)
    except (ValueError, TypeError) as error:  # numbers that only the layers check
        raise PretrainedError(f"{source.path} describes no model: {error}") from error
    if dtype is not None:
        model.to(dtype=dtype)
    fill(model, keys, source.tensors)
    return model.eval()
