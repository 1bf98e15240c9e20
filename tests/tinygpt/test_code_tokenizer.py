"""Words of source code, and the tokens learned from them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinytorch.tinygpt.code_tokenizer import CodeTokenizer, split_code
from tinytorch.tokenization import BPETokenizer, Tokenizer

CODE = "def f(self):\n    if self.x:\n        return self.y\n\n    return None\n" * 3


def test_a_line_end_and_the_next_indentation_are_one_word() -> None:
    words = split_code("if x:\n    y = 1\n\n  \n\tz += 22 # c\n")
    assert words == [
        "if", " x", ":", "\n    ", "y", " =", " 1", "\n\n  \n\t", "z", " +=", " 22", " #", " c",
        "\n",
    ]  # fmt: skip


@given(st.text(alphabet=st.sampled_from("ab1_.( \t\n\f\réß漢")) | st.text())
def test_words_restore_any_text(text: str) -> None:
    assert "".join(split_code(text)) == text


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_ids_restore_any_text(text: str) -> None:
    tokenizer = CodeTokenizer(300)
    tokenizer.train(CODE)
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_statements_are_the_same_tokens_at_any_depth() -> None:
    tokenizer = CodeTokenizer(320)
    tokenizer.train(CODE)
    shallow, deep = (tokenizer.encode(f"x\n{' ' * n}return None") for n in (4, 8))
    assert shallow[2:] == deep[2:]
    assert len(shallow) == len(deep)
    assert tokenizer.vocab[deep[1]] == b"\n        "
    gpt2 = BPETokenizer(320)
    gpt2.train(CODE)
    assert len(tokenizer.encode(CODE)) <= len(gpt2.encode(CODE))


def test_it_is_saved_and_loaded_by_its_kind() -> None:
    tokenizer = CodeTokenizer(300)
    tokenizer.train([CODE, "x = 1\n"])
    state = json.loads(json.dumps(tokenizer.to_dict()))
    loaded = Tokenizer.from_dict(state)
    assert type(loaded) is CodeTokenizer
    assert loaded.encode(CODE) == tokenizer.encode(CODE)
    assert tokenizer.vocab_size == len(loaded.vocab) < 300  # no pair is left


def test_special_tokens_are_an_error() -> None:
    with pytest.raises(ValueError, match="no special tokens"):
        CodeTokenizer(300, ["<|end|>"])
    with pytest.raises(TypeError, match="encodes a str"):
        CodeTokenizer(300).encode(b"x")  # type: ignore[arg-type]
