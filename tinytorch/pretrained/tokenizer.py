"""Hugging Face's tokenizer.json of byte-level BPE, as GPT-2, Llama 3, Qwen2 and SmolLM2 have it."""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

from ..arguments import shown
from ..text.gpt2_files import named_token, token_name
from ..text.tokenizer import TokenIds, checked_ids, checked_text, read_json
from ..tokenization import BPEVocabulary, apply_merges, bytes_to_text
from .pre_tokenizers import normalizer, pre_tokenizer

_LARGEST_GAP = 4096  # ids without a token, as those after a padded vocabulary


class AddedToken(NamedTuple):
    """A text that is one token wherever it occurs, such as "<|im_end|>".

    Attributes:
        content: the text.
        id: its id.
        special: whether it controls the model, so that a user's text must not contain it.
        lstrip, rstrip: whether it takes the white space before or after it along.
        single_word: whether it is matched only where no letter, digit or underscore adjoins it.
        normalized: whether it is searched in the normalized text.
    """

    content: str
    id: int
    special: bool = False
    lstrip: bool = False
    rstrip: bool = False
    single_word: bool = False
    normalized: bool = False


class PretrainedTokenizer(BPEVocabulary):
    """Byte-level BPE as described by a tokenizer.json.

    `encode` gives the ids of the package `tokenizers`; characters that Unicode has added since that
    package's tables can be split differently.

    Args:
        description: the contents of a tokenizer.json.
        config: what tokenizer_config.json says about it: `bos_token`, `eos_token`, `chat_template`.

    Attributes:
        vocab: list of V bytes objects, indexed by id; empty for ids without a token.
        merges: list of pairs of ids, in their order.
        special_tokens: dictionary from text to id.
        added_tokens: list of `AddedToken`, the special tokens among them.
        bos_id, eos_id: ids of the tokens that begin and end a text, or None.
        chat_template: the model's chat template in Jinja, or None; see `chat.py`.

    Raises:
        ValueError: the description is damaged, or of another kind of tokenizer.

    Example:
        >>> tokenizer = PretrainedTokenizer.from_file("tokenizer.json")  # doctest: +SKIP
        >>> tokenizer.encode("Hello there")  # doctest: +SKIP
        [19556, 665]
    """

    kind: ClassVar[str] = "hugging_face"

    def __init__(
        self, description: Mapping[str, Any], config: Mapping[str, Any] | None = None
    ) -> None:
        if not isinstance(description, Mapping):
            raise ValueError(f"a tokenizer is described by a dict, not {shown(description)}")
        config = {} if config is None else config
        if not isinstance(config, Mapping):
            raise ValueError(f"the configuration must be a dict, not {shown(config)}")
        self.description, self.config = dict(description), dict(config)
        model = _checked(description, "model", dict)
        _check_model(model)
        ids = _checked(model, "vocab", dict)  # by GPT-2's names of the tokens
        self.added_tokens = _added_tokens(description.get("added_tokens") or [])
        self.special_tokens = {t.content: t.id for t in self.added_tokens if t.special}
        self.vocab = _by_id(ids, self.added_tokens)
        self._ids_of_bytes = _byte_ids(ids, model.get("unk_token"))
        self._rules = _rules(_checked(model, "merges", list), ids)
        self.merges = list(self._rules)
        self._whole = ids if model.get("ignore_merges") else {}  # words that need no merges
        self._cache: dict[str, list[int]] = {}
        self._normalize = normalizer(description.get("normalizer"))
        self._split = pre_tokenizer(description.get("pre_tokenizer"))
        self._finders: dict[tuple[bool, bool], _Finder] = {}
        self.bos_id, self.eos_id = (self._id_of(f"{name}_token") for name in ("bos", "eos"))
        self._begin, self._end = _template(description.get("post_processor"))
        template = self.config.get("chat_template")
        self.chat_template = template if isinstance(template, str) else None

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Self:
        """Read a tokenizer.json, and the tokenizer_config.json beside it, if there is one.

        Raises:
            ValueError: a file is damaged, or describes another kind of tokenizer.
            OSError: the file cannot be read.
        """
        config = Path(path).with_name("tokenizer_config.json")
        try:
            return cls(read_json(path), read_json(config) if config.exists() else None)
        except ValueError as error:
            raise ValueError(f"cannot load a tokenizer from {os.fspath(path)}: {error}") from error

    def encode(
        self, text: str, allow_special: bool = False, add_special_tokens: bool = False
    ) -> list[int]:
        """Return the ids of a text.

        Args:
            text: the text.
            allow_special: whether special tokens in the text are encoded as such; by default they
                are ordinary text, so that a user who types "<|im_end|>" cannot end a message.
            add_special_tokens: whether to add the tokens that begin and end a text, if the model
                was trained with some.
        """
        ids = self._encode(checked_text(text), allow_special)
        return [*self._begin, *ids, *self._end] if add_special_tokens else ids

    def _encode(self, text: str, allow_special: bool) -> list[int]:
        ids: list[int] = []
        for raw, added in self._finder(allow_special, False).split(text):
            for part, inner in self._finder(allow_special, True).split(self._normalize(raw)):
                for word in self._split(part):
                    ids.extend(self._cache.get(word) or self._encode_word(word))
                ids += inner
            ids += added
        return ids

    def _encode_word(self, word: str) -> list[int]:
        """Return the ids of a word, and cache them."""
        letters = word.encode("utf-8")
        whole = self._whole.get(token_name(letters)) if self._whole else None
        if whole is None:
            first = [self._ids_of_bytes[byte] for byte in letters if byte in self._ids_of_bytes]
            ids = apply_merges(first, self._rules)
        else:
            ids = [whole]
        if len(word) <= self._CACHED_LENGTH:
            if len(self._cache) >= self._CACHED_WORDS:
                self._cache.clear()
            self._cache[word] = ids
        return ids

    def _finder(self, allow_special: bool, normalized: bool) -> "_Finder":
        key = allow_special, normalized
        if key not in self._finders:
            normalize = self._normalize if normalized else str
            self._finders[key] = _Finder(
                (normalize(token.content), token)
                for token in self.added_tokens
                if token.normalized == normalized and (allow_special or not token.special)
            )
        return self._finders[key]

    def decode(self, ids: TokenIds, skip_special: bool = False) -> str:
        """Return the text of ids; invalid UTF-8, such as half a character, becomes U+FFFD."""
        skipped = set(self.special_tokens.values()) if skip_special else set()
        kept = [i for i in checked_ids(ids, self.vocab_size) if i not in skipped]
        return bytes_to_text(self.vocab[i] for i in kept)

    def to_dict(self) -> dict[str, Any]:
        return {"type": self.kind, "tokenizer": self.description, "config": self.config}

    @classmethod
    def _from_state(cls, state: Mapping[str, Any]) -> Self:
        return cls(state["tokenizer"], _checked(state, "config", dict))

    def _id_of(self, name: str) -> int | None:
        """The id of a token that the configuration names; None if it names none."""
        token = self.config.get(name)
        text = token.get("content") if isinstance(token, Mapping) else token
        return self._token_id(text) if isinstance(text, str) else None

    def _token_id(self, text: str) -> int:
        found = next((token.id for token in self.added_tokens if token.content == text), None)
        if found is None:
            raise ValueError(f"{shown(text)} is not among its added tokens")
        return found


class _Finder:
    """Splits texts at added tokens. Of several that match at a place, the longest wins."""

    def __init__(self, tokens: Iterable[tuple[str, AddedToken]]) -> None:
        self._tokens = {text: token for text, token in tokens if text}
        longest_first = sorted(self._tokens, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(self._expression, longest_first)) or r"(?!)")

    def _expression(self, text: str) -> str:
        found = re.escape(text)
        return rf"(?<!\w){found}(?!\w)" if self._tokens[text].single_word else found

    def split(self, text: str) -> Iterable[tuple[str, list[int]]]:
        """Yield ordinary texts, each with the id of the added token after it, or without one."""
        end = 0
        for match in self._pattern.finditer(text):
            token = self._tokens[match[0]]
            before = text[end : match.start()]
            yield before.rstrip() if token.lstrip else before, [token.id]
            end = match.end()
            if token.rstrip:
                end += len(text) - end - len(text[end:].lstrip())
        yield text[end:], []


def _checked(state: Mapping[str, Any], name: str, kind: type) -> Any:
    if not isinstance(state.get(name), kind):
        raise ValueError(f"{name} must be a {kind.__name__}, not {shown(state.get(name))}")
    return state[name]


def _check_model(model: Mapping[str, Any]) -> None:
    """Check that a model is a BPE whose settings are the usual ones."""
    kind = model.get("type", "BPE")  # older files leave it out
    if kind != "BPE":
        raise ValueError(f"a tokenizer of the kind {shown(kind)} is not supported, only BPE is")
    if model.get("byte_fallback"):
        raise ValueError(
            "it is SentencePiece's BPE, of characters; only byte-level BPE is supported"
        )
    for name in ("dropout", "continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(name):
            raise ValueError(f"{name}={shown(model[name])} is not supported")


def _added_tokens(descriptions: Any) -> list[AddedToken]:
    if not isinstance(descriptions, list):
        raise ValueError(f"added_tokens must be a list, not {shown(descriptions)}")
    flags = AddedToken._fields[2:]
    tokens = []
    for description in descriptions:
        if not isinstance(description, Mapping):
            raise ValueError(f"an added token is described by a dict, not {shown(description)}")
        content, i = description.get("content"), description.get("id")
        if not isinstance(content, str) or type(i) is not int or i < 0:
            raise ValueError(f"an added token needs a content and an id, not {shown(content)}")
        chosen = {flag: bool(description.get(flag, False)) for flag in flags}
        tokens.append(AddedToken(content, i, **chosen))
    return tokens


def _by_id(ids: Mapping[str, Any], added: Iterable[AddedToken]) -> list[bytes]:
    """The tokens by id."""
    tokens: dict[int, bytes] = {}
    for name, i in ids.items():
        if type(i) is not int or i < 0:
            raise ValueError(f"the id of {shown(name)} must be an integer, not {shown(i)}")
        tokens[i] = _token(name)
    if len(tokens) < len(ids):
        raise ValueError("its vocabulary gives an id twice")
    tokens |= {token.id: token.content.encode("utf-8", "replace") for token in added}
    size = max(tokens, default=-1) + 1
    if size > len(tokens) + _LARGEST_GAP:
        raise ValueError(f"its {len(tokens)} tokens have ids up to {shown(size - 1)}")
    return [tokens.get(i, b"") for i in range(size)]


def _token(name: str) -> bytes:
    """The token with a name. A name that GPT-2 would not give is the text of an added token."""
    try:
        return named_token(name)
    except ValueError:
        return name.encode("utf-8", "replace")


def _byte_ids(ids: Mapping[str, int], unknown: object) -> dict[int, int]:
    """The ids of bytes. Models lack some of those that are in no text; `encode` skips them."""
    names = {byte: token_name(bytes([byte])) for byte in range(256)}
    found = {byte: ids[name] for byte, name in names.items() if name in ids}
    if unknown and len(found) < len(names):
        raise ValueError(f"its vocabulary lacks bytes, for which it has {shown(unknown)}")
    return found


def _rules(merges: list[Any], ids: Mapping[str, int]) -> dict[tuple[int, int], tuple[int, int]]:
    """The rank and the merged token of each pair; merges are "a b", or in newer files [a, b]."""
    rules = {}
    for rank, merge in enumerate(merges):
        try:
            left, right = merge.split(" ") if isinstance(merge, str) else merge
            rules[ids[left], ids[right]] = rank, ids[left + right]
        except (ValueError, TypeError, KeyError):
            raise ValueError(
                f"{shown(merge)} does not merge two tokens into one of the vocabulary"
            ) from None
    return rules


def _template(description: Any) -> tuple[list[int], list[int]]:
    """The ids that a post-processor puts before and after a single text."""
    kind = description.get("type") if isinstance(description, Mapping) else None
    if kind == "Sequence":
        parts = [_template(part) for part in _checked(description, "processors", list)]
        return next((part for part in parts if part != ([], [])), ([], []))
    if kind in (None, "ByteLevel"):
        return [], []
    if kind != "TemplateProcessing":
        raise ValueError(f"the post-processor {shown(kind)} is not supported")
    before: list[int] = []
    after: list[int] = []
    target = before
    try:
        for part in description["single"]:
            if "Sequence" in part:
                target = after
            else:
                target += description["special_tokens"][part["SpecialToken"]["id"]]["ids"]
    except (KeyError, TypeError) as error:
        raise ValueError(f"the post-processor is damaged ({error})") from None
    return before, after
