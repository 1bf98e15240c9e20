"""The tokenizer in the metadata of a GGUF file, rewritten as the tokenizer.json it came from."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..arguments import check_integer, shown
from .tokenizer import PretrainedTokenizer

_CONTROL, _USER_DEFINED = 3, 4  # GGUF's types of added tokens, the former special

_BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
_GPT2 = [{**_BYTES, "use_regex": True}]
_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_ENDINGS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
_GPT4O = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_ENDINGS}"
    rf"|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_ENDINGS}|\p{{N}}{{1,3}}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def _words(pattern: str) -> list[dict[str, Any]]:
    split = {
        "type": "Split",
        "pattern": {"Regex": pattern},
        "behavior": "Isolated",
        "invert": False,
    }
    return [split, _BYTES]


_DIGITS = [{"type": "Digits", "individual_digits": True}, *_GPT2]

# By the name in `tokenizer.ggml.pre`: the steps before the merges.
PRE_TOKENIZERS: dict[str, list[dict[str, Any]]] = {
    **dict.fromkeys(("gpt-2", "gpt2", "phi-2", "olmo"), _GPT2),
    **dict.fromkeys(("smollm", "starcoder", "refact", "command-r", "codeshell"), _DIGITS),
    **dict.fromkeys(("llama-bpe", "llama3", "llama-v3", "smaug-bpe"), _words(_LLAMA3)),
    **dict.fromkeys(("qwen2", "deepseek-r1-qwen"), _words(_LLAMA3.replace("{1,3}", ""))),
    "gpt-4o": _words(_GPT4O),
}
_BEGINS = {"llama-bpe", "llama3", "llama-v3"}  # texts begin with a token unless the file denies it


def tokenizer_from_gguf(metadata: Mapping[str, Any]) -> PretrainedTokenizer:
    """Return the tokenizer that the metadata of a GGUF file describes.

    Args:
        metadata: values by key, such as "tokenizer.ggml.tokens"; arrays as lists or NumPy arrays.

    Raises:
        ValueError: the tokenizer is not a byte-level BPE, its pre-tokenizer is unknown, or the
            metadata is damaged.

    Source: the specification of GGUF, https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
    """
    values = {
        key.removeprefix("tokenizer.ggml."): value
        for key, value in metadata.items()
        if key.startswith("tokenizer.ggml.")
    }
    model, pre = values.get("model"), values.get("pre", "gpt-2")
    if model != "gpt2":
        raise ValueError(
            f"a tokenizer of the kind {shown(model)} is not supported, only byte-level BPE is,"
            " which GGUF calls gpt2"
        )
    if not isinstance(pre, str) or pre not in PRE_TOKENIZERS:
        names = ", ".join(PRE_TOKENIZERS)
        raise ValueError(f"the pre-tokenizer {shown(pre)} is unknown; known are {names}")
    tokens, merges = (_strings(values, name) for name in ("tokens", "merges"))
    bos, eos = (_text(values, tokens, f"{name}_token_id") for name in ("bos", "eos"))
    description = {
        "added_tokens": _added(tokens, values.get("token_type")),
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": PRE_TOKENIZERS[pre]},
        "post_processor": _beginning(bos, tokens)
        if bos is not None and values.get("add_bos_token", pre in _BEGINS)
        else None,
        "model": {
            "type": "BPE",
            "vocab": {token: i for i, token in enumerate(tokens)},
            "merges": merges,
            "ignore_merges": pre in _BEGINS,
        },
    }
    config = {
        "bos_token": bos,
        "eos_token": eos,
        "chat_template": metadata.get("tokenizer.chat_template"),
    }
    return PretrainedTokenizer(description, config)


def _strings(values: Mapping[str, Any], name: str) -> list[str]:
    found = values.get(name)
    if not isinstance(found, Sequence) or not all(isinstance(text, str) for text in found):
        raise ValueError(f"tokenizer.ggml.{name} must be a list of strings, not {shown(found)}")
    return list(found)


def _text(values: Mapping[str, Any], tokens: Sequence[str], name: str) -> str | None:
    """The text of the token whose id is given under a name."""
    i = values.get(name)
    if i is None:
        return None
    return tokens[check_integer(f"tokenizer.ggml.{name}", i, 0, len(tokens) - 1)]


def _added(tokens: Sequence[str], types: Any) -> list[dict[str, Any]]:
    if not hasattr(types, "__len__") or len(types) != len(tokens):
        raise ValueError(
            f"tokenizer.ggml.token_type must have one entry for each of {len(tokens)} tokens"
        )
    return [
        {"id": i, "content": token, "special": bool(kind == _CONTROL), "single_word": False,
         "lstrip": False, "rstrip": False, "normalized": False}
        for i, (token, kind) in enumerate(zip(tokens, types, strict=True))
        if kind in (_CONTROL, _USER_DEFINED)
    ]  # fmt: skip


def _beginning(bos: str, tokens: Sequence[str]) -> dict[str, Any]:
    """The post-processor that puts a token before a text."""
    first = {"SpecialToken": {"id": bos, "type_id": 0}}
    text, other = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    return {
        "type": "TemplateProcessing",
        "single": [first, text],
        "pair": [first, text, other],
        "special_tokens": {bos: {"id": bos, "ids": [tokens.index(bos)], "tokens": [bos]}},
    }
