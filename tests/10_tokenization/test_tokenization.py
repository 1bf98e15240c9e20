"""Lesson 10: the tokenizers, compared with a naive trainer and encoder."""

import copy
import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from helpers import require
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tinytorch import tokenization
from tinytorch.tokenization import (
    BPETokenizer,
    CharTokenizer,
    Tokenizer,
    create_tokenizer,
    split_words,
    tokenize_dataset,
)

PACKAGE = str(Path(tokenization.__file__).parent)
END = "<|endoftext|>"
SONG = "she sells sea shells by the sea shore; the shells she sells are sea shells, I'm sure. " * 3
MIXED = SONG + "naïve café, 中文, 日本語テキスト 123 we'll  x\n\n\t y 👩‍👩‍👧 🇫🇷 aaaaaaa"
any_text = st.text()  # Hypothesis generates no lone surrogates here
few_letters = st.text(alphabet="ab c'é", max_size=60)


def shakespearean(characters: int) -> str:
    """Random text with as large a vocabulary as a book."""
    rng = random.Random(0)
    syllables = ["tha", "ne", "ro", "mi", "er", "ing", "lo", "st", "u", "wh", "o", "ke", "'d", "y"]
    words = ["".join(rng.choices(syllables, k=rng.randint(1, 4))) for _ in range(20_000)]
    text = " ".join(rng.choices(words, k=characters // 5))
    return text.replace("y ", ",\n")[:characters]


@pytest.fixture(scope="module")
def bpe() -> BPETokenizer:
    tokenizer = BPETokenizer(400, special_tokens=[END])
    tokenizer.train(MIXED)
    return tokenizer


def replace_pair(ids: list[int], pair: tuple[int, int], merged: int) -> list[int]:
    out, i = [], 0
    while i < len(ids):
        if tuple(ids[i : i + 2]) == pair:
            out.append(merged)
            i += 2
        else:
            out.append(ids[i])
            i += 1
    return out


def naive_train(text: str, steps: int) -> list[tuple[int, int]]:
    words = [list(word.encode()) for word in tokenization._word_pattern().findall(text)]
    merges = []
    for step in range(steps):
        counts = Counter(p for word in words for p in pairwise(word))
        if not counts:
            break
        merges.append(min(counts, key=lambda pair: (-counts[pair], pair)))
        words = [replace_pair(word, merges[-1], 256 + step) for word in words]
    return merges


def naive_encode(text: str, merges: list[tuple[int, int]]) -> list[int]:
    ids = []
    for word in tokenization._word_pattern().findall(text):
        tokens = list(word.encode())
        for rank, pair in enumerate(merges):
            tokens = replace_pair(tokens, pair, 256 + rank)
        ids += tokens
    return ids


@settings(deadline=None)
@given(few_letters, few_letters | any_text, st.just(34))
@example(SONG, SONG, 100)
@example(MIXED, MIXED + SONG, 100)
@example("aaaaaaa baaab abab" + "ab" * 50, "baaaaaa ababa", 30)
@example(" \n \n\n      \t\t  ", "   \n\n\n   ", 30)
def test_bpe_equals_a_naive_implementation(corpus: str, text: str, steps: int) -> None:
    tokenizer = BPETokenizer(256 + steps)
    tokenizer.train(corpus)
    assert tokenizer.merges == naive_train(corpus, steps)
    assert tokenizer.encode(text) == naive_encode(text, tokenizer.merges)


def test_overlapping_pairs_are_merged_from_left_to_right() -> None:
    tokenizer = BPETokenizer(257)
    tokenizer.train("aaa")
    assert tokenizer.merges == [(97, 97)]
    assert tokenizer.encode("aaa") == [256, 97]
    assert tokenizer.encode("aaaaa") == [256, 256, 97]


def test_text_is_split_into_the_words_of_gpt2() -> None:
    words = tokenization._word_pattern().findall("I've 12½ dogs!?  They'll\n\n bark... é'S\t")
    assert words == [
        *["I", "'ve", " 12½", " dogs", "!?", " ", " They", "'ll", "\n\n", " bark", "...", " é"],
        *["'", "S", "\t"],
    ]


def test_a_pair_broken_up_by_a_merge_is_not_merged() -> None:
    state, made = BPETokenizer().to_dict(), ["b c", "a b", "x a", "a bc"]
    state["vocab"] |= {merge.replace(" ", ""): 256 + n for n, merge in enumerate(made)}
    tokenizer = Tokenizer.from_dict(state | {"merges": made})
    assert [tokenizer.decode([i]) for i in tokenizer.encode("xabc")] == ["xa", "bc"]


def test_ties_go_to_the_smallest_ids() -> None:
    tokenizer = BPETokenizer(259)
    tokenizer.train("zy cb xa")  # each pair occurs once
    assert tokenizer.vocab[256:] == [b" c", b" x", b"zy"]


@settings(deadline=None)
@given(any_text)
def test_bpe_decodes_what_it_encodes(bpe: BPETokenizer, text: str) -> None:
    for tokenizer in (bpe, BPETokenizer()):
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text
        assert all(0 <= i < tokenizer.vocab_size for i in ids)
    assert BPETokenizer().encode(text) == list(text.encode())
    assert bpe.decode(bpe.encode(text + END + text, allow_special=True)) == text + END + text


@settings(deadline=None)
@given(any_text)
def test_char_decodes_what_it_encodes(text: str) -> None:
    tokenizer = CharTokenizer()
    tokenizer.build_vocab(text)
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.vocab == sorted(set(text))
    assert tokenizer.encode(text) == [sorted(set(text)).index(c) for c in text]


@pytest.mark.parametrize("kind", ["char", "bpe"])
def test_decode_accepts_any_integer_sequence_and_checks_the_range(kind: str) -> None:
    tokenizer = create_tokenizer(kind, 300, SONG)
    ids = tokenizer.encode_array(SONG)
    assert ids.dtype == np.int64
    assert ids.ndim == 1
    assert ids.tolist() == tokenizer.encode(SONG)
    for form in (ids, ids.astype(np.uint16), ids.tolist(), tuple(ids), iter(ids)):
        assert tokenizer.decode(form) == SONG
    assert tokenizer.encode("") == []
    assert tokenizer.encode_array("").dtype == np.int64
    assert tokenizer.encode_array("").shape == (0,)
    assert tokenizer.decode([]) == tokenizer.decode(np.array([])) == ""
    for bad in (-1, tokenizer.vocab_size, 2**70):
        with pytest.raises(ValueError, match=f"id {bad} is not in the vocabulary"):
            tokenizer.decode([0, bad])
    assert BPETokenizer().decode([0xC3, 97]) == "\ufffda"
    with pytest.raises(TypeError):
        tokenizer.decode(np.array([1.0]))
    with pytest.raises(ValueError, match="surrogates not allowed"):
        tokenizer.encode("\ud83d")


def test_char_vocabulary_is_sorted_and_validated() -> None:
    tokenizer = CharTokenizer()
    tokenizer.build_vocab(["ba", "cab"])
    assert tokenizer.vocab == ["a", "b", "c"]
    assert tokenizer.char_to_id == {"a": 0, "b": 1, "c": 2}
    assert tokenizer.id_to_char == {0: "a", 1: "b", 2: "c"}
    assert CharTokenizer(["z", "a"]).encode("az") == [1, 0]
    assert repr(tokenizer) == "CharTokenizer(vocab_size=3)"
    for bad in (["ab"], [""], ["a", "a"]):
        with pytest.raises(ValueError, match="character"):
            CharTokenizer(bad)


def test_char_error_lists_the_unknown_characters() -> None:
    with pytest.raises(
        ValueError, match=r"characters: '\\n', 'é', '😀'; call build_vocab"
    ) as caught:
        CharTokenizer("abc").encode("a😀bé\n")
    assert "<unk>" in str(caught.value)
    with pytest.raises(ValueError, match=r"'d', 'e', 'f', 'g', 'h', \.\.\."):
        CharTokenizer("abc").encode("abcdefghijklm")


def test_char_encodes_unknown_characters_as_the_unknown_token() -> None:
    tokenizer = CharTokenizer(unknown="<unk>")
    tokenizer.build_vocab("hello")
    assert tokenizer.vocab == ["<unk>", "e", "h", "l", "o"]
    assert tokenizer.encode("h\x00i😀!") == [2, 0, 0, 0, 0]
    assert tokenizer.decode([2, 0, 1]) == "h<unk>e"
    question = CharTokenizer(unknown="?")  # the unknown token may occur in the text
    question.build_vocab("who?")
    assert question.encode("w?!") == [question.char_to_id["w"], 0, 0]


def test_special_tokens_are_never_merged_and_encoded_on_request() -> None:
    tokenizer = BPETokenizer(270, special_tokens=["<s>", "<s>>"])
    tokenizer.train(["<s>ab", "ab<s>>ab"] * 20)
    assert tokenizer.special_tokens == {"<s>": 257, "<s>>": 258}
    assert tokenizer.vocab[256:] == [b"ab", b"<s>", b"<s>>"]  # nothing learned from "<s>"
    assert tokenizer.encode("ab<s>>ab<s>", allow_special=True) == [256, 258, 256, 257]
    assert tokenizer.encode("ab<s>") == [256, *b"<s>"]
    assert tokenizer.encode_array("<s>", allow_special=True).tolist() == [257]
    assert tokenizer.decode([257, 256]) == "<s>ab"
    for bad in ("<s>", [""], ["x", "x"]):
        with pytest.raises(ValueError, match="special_tokens"):
            BPETokenizer(300, special_tokens=bad)


def test_vocab_size_counts_bytes_merges_and_special_tokens() -> None:
    tokenizer = BPETokenizer(300)
    assert tokenizer.vocab_size == 256
    assert tokenizer.encode("hello") == list(b"hello")
    tokenizer.train("hello")
    assert tokenizer.encode("hello") == [259]
    assert tokenizer.vocab_size == len(tokenizer.vocab) == 260  # four merges make one word
    tokenizer.train(SONG, vocab_size=280)  # replaces the merges
    assert tokenizer.vocab_size == 280
    assert tokenizer.merges == naive_train(SONG, 24)
    ending = BPETokenizer(280, special_tokens=[END])
    ending.train(SONG)
    assert ending.vocab_size == 280
    tokenizer.train("")
    assert tokenizer.vocab_size == 256
    with pytest.raises(ValueError, match="vocab_size must be at least 256, not 100"):
        tokenizer.train("a", vocab_size=100)
    with pytest.raises(ValueError, match="257"):
        BPETokenizer(256, special_tokens=[END])


def test_the_word_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BPETokenizer, "_CACHED_WORDS", 10)
    tokenizer = BPETokenizer()
    text = " ".join(map(str, range(1000))) + "x" * 1000
    for _ in range(2):
        assert tokenizer.encode(text) == list(text.encode())
    assert len(tokenizer._cache) <= 10
    assert all(len(word) <= 64 for word in tokenizer._cache)


def test_load_restores_what_save_wrote(tmp_path: Path, bpe: BPETokenizer) -> None:
    path = tmp_path / "tokenizer.json"
    chars = CharTokenizer(unknown="<unk>")
    chars.build_vocab('a\n\r\u2028é😀"\\')
    for saved in (bpe, chars, CharTokenizer("ba"), BPETokenizer(special_tokens=["ab", "\x00ü"])):
        saved.save(path)
        for loaded in (Tokenizer.load(path), type(saved).load(str(path)), copy.deepcopy(saved)):
            assert type(loaded) is type(saved)
            assert loaded.to_dict() == saved.to_dict()
            assert loaded.vocab == saved.vocab
    assert [file.name for file in tmp_path.iterdir()] == ["tokenizer.json"]
    bpe.save(path)
    assert Tokenizer.load(path).encode(MIXED) == bpe.encode(MIXED)
    with pytest.raises(ValueError, match="BPETokenizer, not a CharTokenizer"):
        CharTokenizer.load(path)


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "tokenizer.json"
    CharTokenizer("old").save(path)

    def fail(*_: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(OSError, match="disk full"):
            CharTokenizer("new").save(path)
    assert Tokenizer.load(path).vocab == list("old")
    assert [file.name for file in tmp_path.iterdir()] == ["tokenizer.json"]


def damaged(**changes: object) -> str:
    return json.dumps(BPETokenizer().to_dict() | changes)


@pytest.mark.parametrize(
    "content",
    [
        *["", "{", "[]", "{}", '"char"', '{"type": []}', '{"type": "word"}', '{"type": "char"}'],
        *["\xff", '{"type": "char", "vocab": ["ab"], "unknown": null}', '{"type": "bpe"}'],
        *[damaged(vocab=[]), damaged(vocab={"a": 0}), damaged(special_tokens={END: 300})],
        *[damaged(special_tokens={END: 255}), damaged(merges=["a"]), damaged(merges=["a b"])],
        *[damaged(merges=["a b c"]), damaged(merges=["中 a"]), damaged(merges=5)],
    ],
)
def test_loading_a_damaged_file_is_an_error(tmp_path: Path, content: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(content, encoding="latin-1" if content == "\xff" else "utf-8")
    with pytest.raises(ValueError, match=r"cannot load a tokenizer from .*bad\.json: "):
        Tokenizer.load(path)
    with pytest.raises(FileNotFoundError):
        Tokenizer.load(tmp_path / "nowhere.json")
    with pytest.raises(ValueError, match="lacks some of the 256 bytes"):
        Tokenizer.from_dict(json.loads(damaged(vocab={"a": 0})))


def test_a_subclass_is_loaded_as_itself() -> None:
    class Words(CharTokenizer):
        pass

    assert type(Words.from_dict(Words("ab").to_dict())) is Words
    assert Tokenizer.encode_array(Words("ab"), "ba").dtype == np.int64


def write_gpt2(folder: Path, merges: list[str], vocab: dict[str, int]) -> tuple[Path, Path]:
    files = folder / "encoder.json", folder / "vocab.bpe"
    files[0].write_text(json.dumps(vocab))
    files[1].write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")
    return files


def gpt2_bytes() -> dict[str, int]:
    """GPT-2's order: printable bytes first, then the others, named from U+0100 on."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    return {
        chr(c): i for i, c in enumerate(printable + [256 + n for n in range(256 - len(printable))])
    }


def test_reads_the_files_of_gpt2(tmp_path: Path) -> None:
    merges = ["Ġ t", "h e", "Ġt he", "# #", "Ã ©"]
    names = [*gpt2_bytes(), *(merge.replace(" ", "") for merge in merges), END]
    files = write_gpt2(tmp_path, merges, {name: i for i, name in enumerate(names)})
    tokenizer = BPETokenizer.from_gpt2(*files)
    assert tokenizer.vocab_size == 262
    assert tokenizer.special_tokens == {END: 261}
    assert tokenizer.vocab[0] == b"!"
    assert tokenizer.vocab[256:] == [b" t", b"he", b" the", b"##", "é".encode(), END.encode()]
    assert tokenizer.encode("! the##é") == [0, 258, 259, 260]
    assert tokenizer.encode(END + "!", allow_special=True) == [261, 0]
    assert tokenizer.decode(tokenizer.encode(MIXED)) == MIXED
    assert Tokenizer.from_dict(tokenizer.to_dict()).encode(MIXED) == tokenizer.encode(MIXED)
    files[1].write_text("\r\n".join(merges), encoding="utf-8")  # no version, no last line feed
    assert BPETokenizer.from_gpt2(*files).merges == tokenizer.merges
    for broken in (["Ġ t", "x y"], ["Ġ t", "the"]):
        files[1].write_text("\n".join(broken), encoding="utf-8")
        with pytest.raises(ValueError, match=r"encoder\.json and .*vocab\.bpe"):
            BPETokenizer.from_gpt2(*files)
    files[0].write_text("[]")
    with pytest.raises(ValueError, match=r"encoder\.json"):
        BPETokenizer.from_gpt2(*files)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[BPETokenizer, object]:
    tokenizers = require("tokenizers")
    theirs = tokenizers.ByteLevelBPETokenizer()
    theirs.train_from_iterator([MIXED, shakespearean(50_000)], 800, show_progress=False)
    theirs.add_special_tokens([END])
    theirs.save_model(str(folder := tmp_path_factory.mktemp("gpt2")))
    return BPETokenizer.from_gpt2(folder / "vocab.json", folder / "merges.txt"), theirs


@settings(deadline=None)
@given(any_text | few_letters | st.text(alphabet=MIXED))
def test_bpe_equals_the_tokenizers_library(pair: tuple[BPETokenizer, object], text: str) -> None:
    ours, theirs = pair
    for sample in (text, MIXED):
        assert ours.encode(sample) == theirs.encode(sample).ids


def test_create_tokenizer_and_tokenize_dataset() -> None:
    assert isinstance(create_tokenizer(), CharTokenizer)
    assert create_tokenizer("bpe", 300).vocab_size == 256
    chars = create_tokenizer("char", corpus=["ab", "cd"])
    assert tokenize_dataset(["abcd", "", "d"], chars, max_length=3) == [[0, 1, 2], [], [3]]
    assert tokenize_dataset(["abcd"], chars) == [[0, 1, 2, 3]]
    with pytest.raises(ValueError, match="'word'"):
        create_tokenizer("word")


def lines(call: Callable[[], object]) -> int:
    """Number of lines of the package that a call runs: its cost, independent of the machine."""
    count, before = 0, sys.gettrace()

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal count
        count += event == "line"
        return trace if frame.f_code.co_filename.startswith(PACKAGE) else None

    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)  # that of a debugger or of coverage
    return count


def test_char_encode_array_does_not_loop_over_characters() -> None:
    text = shakespearean(20_000)
    chars = create_tokenizer("char", corpus=text)
    assert lines(lambda: chars.encode_array(text)) < 20


def test_the_cost_of_training_hardly_grows_with_the_number_of_merges() -> None:
    text = shakespearean(20_000)
    few, many = (lines(lambda n=n: BPETokenizer(256 + n).train(text)) for n in (300, 900))
    assert many < 1.2 * few


def test_repeated_words_are_encoded_from_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    text, encoded = shakespearean(20_000), 0
    pieces, apply_merges = create_tokenizer("bpe", 512, text), tokenization.apply_merges

    def counted(*args: Any) -> list[int]:
        nonlocal encoded
        encoded += 1
        return apply_merges(*args)

    monkeypatch.setattr(tokenization, "apply_merges", counted)
    ids = pieces.encode(text)
    assert encoded == len(set(split_words(text)))
    assert pieces.encode(text) == ids
    assert encoded == len(set(split_words(text)))


def test_the_cost_of_a_long_word_is_linear_in_its_length() -> None:
    def costs(length: int) -> tuple[int, int]:
        tokenizer, word = BPETokenizer(280), "a" * length
        train, encode = lines(lambda: tokenizer.train(word)), lines(lambda: tokenizer.encode(word))
        assert tokenizer.decode(tokenizer.encode(word)) == word
        return train, encode

    for short, long in zip(costs(2_000), costs(20_000), strict=True):
        assert long < 12 * short


def test_the_word_pattern_is_compiled_on_first_use() -> None:
    code = "import sys, tinytorch.tokenization; sys.exit('regex' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
