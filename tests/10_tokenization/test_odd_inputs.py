"""Inputs of tokenizers that are no text or no ids, and damaged files: clear errors."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinytorch import BPETokenizer, CharTokenizer, Tensor, Tokenizer, create_tokenizer
from tinytorch.tokenization import tokenize_dataset

KINDS = pytest.mark.parametrize("kind", ["char", "bpe"])
HUGE = int("9" * 4300) * 10**100  # cannot be converted to a string
DEEP = "[" * 100_000 + "]" * 100_000
LONG = "x" * 100_000


@KINDS
@pytest.mark.parametrize("text", [None, b"ab", 3, ["a", "b"], np.array("ab"), {"a": 1}])
def test_only_a_str_is_encoded(kind: str, text: Any) -> None:
    tokenizer = create_tokenizer(kind, 300, "ab")
    for encode in (tokenizer.encode, tokenizer.encode_array):
        with pytest.raises(TypeError, match=f"encodes a str, not {type(text).__name__}"):
            encode(text)


@KINDS
@pytest.mark.parametrize(
    "ids",
    [None, 3, "12", b"ab", ["1"], [1.0], [None], [True], np.array([True]), np.array([[1]]), [[1]],
     np.array(1), np.array([1.5]), Tensor([1.0]), Tensor([[1]]), [HUGE / 10**4390], {"a": 1}],
    ids=lambda ids: f"{ids!r:.20}",
)  # fmt: skip
def test_only_integers_of_one_axis_are_decoded(kind: str, ids: Any) -> None:
    with pytest.raises(TypeError, match=r"shape \(T,\), not "):
        create_tokenizer(kind, 300, "ab").decode(ids)


@KINDS
def test_integers_of_arrays_and_tensors_are_decoded(kind: str) -> None:
    tokenizer = create_tokenizer(kind, 300, "abc")
    ids = tokenizer.encode("cab")
    for form in (Tensor(np.array(ids)), np.array(ids, np.uint16), map(int, ids), np.array(ids)[:]):
        assert tokenizer.decode(form) == "cab"
    for empty in ([], (), np.array([]), Tensor(np.zeros(0, np.int64)), iter([])):
        assert tokenizer.decode(empty) == ""
    for bad in (-1, HUGE, -HUGE, 2**63):
        with pytest.raises(ValueError, match=r"is not in the vocabulary of \d+ tokens") as caught:
            tokenizer.decode([bad])
        assert len(str(caught.value)) < 150


@KINDS
@pytest.mark.parametrize("corpus", [None, b"ab", 3, [None], [b"ab"], [1], ["a", ["b"]], [["a"]]])
def test_a_corpus_is_a_str_or_several(kind: str, corpus: Any) -> None:
    tokenizer: Any = CharTokenizer("ab") if kind == "char" else BPETokenizer(300)
    learn = tokenizer.build_vocab if kind == "char" else tokenizer.train
    with pytest.raises(TypeError, match="str"):
        learn(corpus)
    with pytest.raises(TypeError, match="str"):
        tokenize_dataset(corpus, tokenizer)


@KINDS
def test_empty_and_lazy_corpora(kind: str) -> None:
    for corpus in ("", [], iter([]), [""]):
        tokenizer = create_tokenizer(kind, 300, corpus)
        assert tokenizer.vocab_size == (0 if kind == "char" else 256)
    lazy = create_tokenizer(kind, 300, (word for word in ["ab", "ab", "c"]))
    assert lazy.decode(lazy.encode("abc")) == "abc"


@pytest.mark.parametrize("size", [300.0, 300.5, float("nan"), "300", None, True, [300]])
def test_vocab_size_is_an_integer(size: Any) -> None:
    with pytest.raises(TypeError, match="vocab_size must be an integer, not "):
        BPETokenizer(size)
    if size is not None:  # None keeps the size that was given before
        with pytest.raises(TypeError, match="vocab_size must be an integer, not "):
            BPETokenizer().train("text", size)


def test_vocab_size_may_be_of_numpy_or_larger_than_the_text_needs() -> None:
    assert BPETokenizer(np.int64(257)).vocab_size == 256
    huge = BPETokenizer(10**30)
    huge.train("aaaa")
    assert huge.vocab[256:] == [b"aa", b"aaaa"]
    for size in (-1, 0, 255, -HUGE):
        with pytest.raises(ValueError, match="vocab_size must be at least 256, not"):
            BPETokenizer(size)


@pytest.mark.parametrize("tokens", ["<a>", [""], ["<a>", "<a>"], [1], [None], [b"<a>"]])
def test_special_tokens_are_distinct_strings(tokens: Any) -> None:
    with pytest.raises(ValueError, match="must be a list of distinct, non-empty strings"):
        BPETokenizer(300, tokens)


def test_overlapping_special_tokens() -> None:
    tokenizer = BPETokenizer(300, ["<a>", "<a><b>", "a>", "a"])
    tokenizer.train("aa aa<a>")
    ids = tokenizer.encode("<a><b><a>aa>", allow_special=True)
    assert [tokenizer.vocab[i] for i in ids] == [b"<a><b>", b"<a>", b"a", b"a>"]
    assert tokenizer.decode(ids) == "<a><b><a>aa>"
    assert tokenizer.decode(tokenizer.encode("<a>aa")) == "<a>aa"


@pytest.mark.parametrize("unknown", ["", 3, ["<unk>"], True])
def test_the_unknown_token_is_a_str(unknown: Any) -> None:
    with pytest.raises(ValueError, match="unknown must be a token"):
        CharTokenizer("ab", unknown)


def test_a_character_vocabulary_consists_of_characters() -> None:
    for bad in ([1], [None], ["ab"], [["a"]]):
        with pytest.raises(ValueError, match="must be a single character"):
            CharTokenizer(bad)  # type: ignore[arg-type]


def bpe_state(change: Callable[[dict[str, Any]], Any] = lambda state: None) -> dict[str, Any]:
    tokenizer = BPETokenizer(260, ["<end>"])
    tokenizer.train("low lower lowest low")
    state = tokenizer.to_dict()
    change(state)
    return state


DAMAGED_STATES: dict[str, Any] = {
    "no type": {},
    "an empty type": {"type": ""},
    "a type that is a list": {"type": []},
    "a long type": {"type": LONG},
    "a type that is a number": {"type": HUGE},
    "a list": [1, 2],
    "a str": "char",
    "none": None,
    "no vocabulary": {"type": "char"},
    "a vocabulary that is a str": {"type": "char", "vocab": LONG, "unknown": None},
    "a vocabulary that is a number": {"type": "char", "vocab": 3, "unknown": None},
    "a character twice": {"type": "char", "vocab": ["a", "a"], "unknown": None},
    "a surrogate": {"type": "char", "vocab": ["\ud800"], "unknown": None},
    "an unknown token that is a list": {"type": "char", "vocab": ["a"], "unknown": [1]},
    "an id that is a float": bpe_state(lambda s: s["vocab"].update({"!": 0.0})),
    "an id that is a bool": bpe_state(lambda s: s["vocab"].update({"!": False})),
    "an id that is a str": bpe_state(lambda s: s["vocab"].update({"!": "0"})),
    "a huge id": bpe_state(lambda s: s["vocab"].update({"!": HUGE})),
    "an id twice": bpe_state(lambda s: s["vocab"].update({"!": 65})),
    "a token twice": bpe_state(lambda s: s["vocab"].update({" ": 260})),
    "a token that no merge creates": bpe_state(lambda s: s["merges"].pop()),
    "no merges": bpe_state(lambda s: s["merges"].clear()),
    "a merge twice": bpe_state(lambda s: s["merges"].append("l o")),
    "a merge that is a list": bpe_state(lambda s: s["merges"].append(["l", "o"])),
    "a merge of three tokens": bpe_state(lambda s: s["merges"].append("l o w")),
    "a merge of unknown tokens": bpe_state(lambda s: s["merges"].append("xx yy")),
    "a merge into an unknown token": bpe_state(lambda s: s["merges"].append("x y")),
    "a long merge": bpe_state(lambda s: s["merges"].append(LONG)),
    "merges that are a dict": bpe_state(lambda s: s.update(merges={})),
    "special tokens that are a list": bpe_state(lambda s: s.update(special_tokens=["<end>"])),
    "an empty special token": bpe_state(lambda s: s.update(special_tokens={"": 259})),
    "a special token with an odd id": bpe_state(lambda s: s.update(special_tokens={"<end>": None})),
    "a name outside of GPT-2's alphabet": bpe_state(lambda s: s["vocab"].update({"中" * 999: 260})),
}


@pytest.mark.parametrize("what", DAMAGED_STATES)
def test_damaged_descriptions_are_short_errors(what: str, tmp_path: Path) -> None:
    state = DAMAGED_STATES[what]
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the message is checked below
        Tokenizer.from_dict(state)
    assert len(str(caught.value)) < 250
    if what not in ("a type that is a number", "a huge id"):  # JSON refuses such numbers itself
        path = tmp_path / "tokenizer.json"
        path.write_text(json.dumps(state))
        with pytest.raises(ValueError, match="cannot load a tokenizer from"):
            Tokenizer.load(path)


@pytest.mark.parametrize("content", [DEEP, '{"type": ' + DEEP + "}", "9" * 10_000, "", "\0"])
def test_damaged_json_is_a_short_error(content: str, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(content)
    with pytest.raises(ValueError, match="cannot load a tokenizer from") as caught:
        Tokenizer.load(path)
    assert len(str(caught.value)) < 250 + len(str(path))
    with pytest.raises(ValueError, match="cannot create a tokenizer from"):
        BPETokenizer.from_gpt2(path, path)


def gpt2_files(folder: Path) -> tuple[Path, Path]:
    """GPT-2's two files of a small tokenizer."""
    state = bpe_state()
    vocab, merges = folder / "vocab.json", folder / "merges.txt"
    vocab.write_text(json.dumps(state["vocab"] | state["special_tokens"]), encoding="utf-8")
    merges.write_text("#version: 0.2\n" + "\n".join(state["merges"]) + "\n", encoding="utf-8")
    return vocab, merges


def test_byte_order_marks_and_windows_line_endings_are_ignored(tmp_path: Path) -> None:
    files = gpt2_files(tmp_path)
    expected = BPETokenizer.from_gpt2(*files).to_dict()
    for path in files:
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert BPETokenizer.from_gpt2(*files).to_dict() == expected
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(expected), encoding="utf-8-sig")
    assert Tokenizer.load(path).to_dict() == expected


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_learned_tokens_do_not_become_special_if_merges_are_missing(
    tmp_path: Path, kept: int
) -> None:
    vocab, merges = gpt2_files(tmp_path)
    lines = merges.read_text(encoding="utf-8").splitlines()
    merges.write_text("\n".join(lines[: 1 + kept]), encoding="utf-8")
    with pytest.raises(ValueError, match=r"merges is not complete: no merge creates"):
        BPETokenizer.from_gpt2(vocab, merges)


def test_without_learned_tokens_there_are_no_merges(tmp_path: Path) -> None:
    state = BPETokenizer(257, ["<|endoftext|>"]).to_dict()
    vocab, merges = tmp_path / "vocab.json", tmp_path / "merges.txt"
    vocab.write_text(json.dumps(state["vocab"] | state["special_tokens"]), encoding="utf-8")
    merges.write_bytes(b"")
    assert BPETokenizer.from_gpt2(vocab, merges).special_tokens == {"<|endoftext|>": 256}


def test_damaged_files_of_gpt2_are_short_errors(tmp_path: Path) -> None:
    vocab, merges = gpt2_files(tmp_path)
    good = vocab.read_bytes(), merges.read_bytes()
    for content in (b"[]", b"3", b"null", b'{"a": "b"}', b"\xff", DEEP.encode(), b'{"a": [1]}'):
        vocab.write_bytes(content)
        with pytest.raises(ValueError, match="cannot create a tokenizer from") as caught:
            BPETokenizer.from_gpt2(vocab, merges)
        assert len(str(caught.value)) < 250 + 2 * len(str(vocab))
    vocab.write_bytes(good[0])
    for content in (b"\xff", b"l o w\n", LONG.encode(), b"#version\n\n\nl\n", "中 x\n".encode()):
        merges.write_bytes(good[1] + content)
        with pytest.raises(ValueError, match="cannot create a tokenizer from") as caught:
            BPETokenizer.from_gpt2(vocab, merges)
        assert len(str(caught.value)) < 250 + 2 * len(str(vocab))
