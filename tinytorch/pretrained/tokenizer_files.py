"""The tokenizer that belongs to a model's files, and the files of a tokenizer."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..text.tokenizer import Tokenizer
from ..tokenization import BPETokenizer
from .errors import PretrainedError
from .gguf_vocabulary import tokenizer_from_gguf
from .tokenizer import PretrainedTokenizer

_BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


def read_tokenizer(folder: Path) -> Tokenizer | None:
    """The tokenizer in a folder, of tokenizer.json, or of vocab.json and merges.txt; or None.

    Raises:
        PretrainedError: its files are damaged, or it is of a kind that is not known.
    """
    path, vocab, merges = (folder / n for n in ("tokenizer.json", "vocab.json", "merges.txt"))
    try:
        if path.exists():
            return PretrainedTokenizer.from_file(path)
        if vocab.exists() and merges.exists():
            return BPETokenizer.from_gpt2(vocab, merges)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PretrainedError(f"the tokenizer in {folder} cannot be read: {error}") from error
    return None


def read_gguf_tokenizer(metadata: Mapping[str, Any], path: Path) -> Tokenizer | None:
    """The tokenizer in the metadata of a GGUF file, or None if there is none.

    Raises:
        PretrainedError: it is damaged, or of a kind that is not known.
    """
    if "tokenizer.ggml.model" not in metadata:
        return None
    try:
        return tokenizer_from_gguf(metadata)
    except (ValueError, KeyError, TypeError) as error:
        raise PretrainedError(f"the tokenizer in {path} cannot be read: {error}") from error


def tokenizer_files(tokenizer: Tokenizer) -> dict[str, Any]:
    """The contents of tokenizer.json and tokenizer_config.json, by name.

    Raises:
        PretrainedError: the tokenizer is not a byte-pair tokenizer.
    """
    if isinstance(tokenizer, PretrainedTokenizer):
        description, config = tokenizer.description, tokenizer.config
    elif isinstance(tokenizer, BPETokenizer):
        description, config = _describe(tokenizer)
    else:
        raise PretrainedError(
            f"no file of Hugging Face describes a {type(tokenizer).__name__}; a BPETokenizer, or"
            " None, can be saved with a model"
        )
    defaults = {"version": "1.0", "normalizer": None, "post_processor": None, "decoder": _BYTES}
    return {
        "tokenizer.json": {**defaults, **description},
        "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast", **config},
    }


def ends(tokenizer: Tokenizer | None) -> dict[str, int | None]:
    """The ids that begin and end a text, as config.json has them; None where there are none."""
    if isinstance(tokenizer, PretrainedTokenizer):
        return {"bos_token_id": tokenizer.bos_id, "eos_token_id": tokenizer.eos_id}
    special = tokenizer.special_tokens if isinstance(tokenizer, BPETokenizer) else {}
    return {"bos_token_id": None, "eos_token_id": special.get("<|endoftext|>")}


def _describe(tokenizer: BPETokenizer) -> tuple[dict[str, Any], dict[str, Any]]:
    """The contents of tokenizer.json and tokenizer_config.json for a tokenizer of lesson 10."""
    state = tokenizer.to_dict()
    added = [
        {"id": i, "content": text, "special": True, "single_word": False, "lstrip": False,
         "rstrip": False, "normalized": False}
        for text, i in state["special_tokens"].items()
    ]  # fmt: skip
    model = {"type": "BPE", "vocab": state["vocab"], "merges": state["merges"]}
    end = "<|endoftext|>"
    config = {"eos_token": end} if end in state["special_tokens"] else {}
    return {"added_tokens": added, "pre_tokenizer": _BYTES, "model": model}, config
