"""Tokenizers of others: ids equal to those of Hugging Face's `tokenizers`, files that are wrong."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import require, require_distribution

from tinytorch.pretrained.gguf_vocabulary import PRE_TOKENIZERS, tokenizer_from_gguf
from tinytorch.pretrained.tokenizer import PretrainedTokenizer
from tinytorch.pretrained.tokenizer_files import tokenizer_files
from tinytorch.text.tokenizer import Tokenizer

from .mixed_text import mixed_text

hf = require("tokenizers")
START, END, PLAIN = "<|im_start|>", "<|im_end|>", "<tool call>"


@pytest.fixture(scope="module")
def text() -> str:
    return mixed_text(16_000)


def trained(text: str, steps: Any, **settings: Any) -> Any:
    """A tokenizer of Hugging Face's package with a byte-level BPE learned from a text."""
    model = hf.Tokenizer(hf.models.BPE(**settings))
    model.pre_tokenizer = hf.pre_tokenizers.Sequence(steps)
    model.decoder = hf.decoders.ByteLevel()
    alphabet = hf.pre_tokenizers.ByteLevel.alphabet()
    model.train_from_iterator(
        [text], hf.trainers.BpeTrainer(vocab_size=1200, initial_alphabet=alphabet)
    )
    model.add_special_tokens([START, END])
    model.add_tokens([PLAIN])
    return model


def read(model: Any) -> PretrainedTokenizer:
    return PretrainedTokenizer(json.loads(model.to_str()))


def byte_level(**settings: bool) -> Any:
    return hf.pre_tokenizers.ByteLevel(**{"add_prefix_space": False, **settings})


def split(pattern: str, behavior: str = "isolated", invert: bool = False) -> Any:
    return hf.pre_tokenizers.Split(hf.Regex(pattern), behavior, invert)


LLAMA3 = PRE_TOKENIZERS["llama-bpe"][0]["pattern"]["Regex"]
GPT4O = PRE_TOKENIZERS["gpt-4o"][0]["pattern"]["Regex"]
STEPS = {
    "GPT-2": [byte_level()],
    "a space first": [byte_level(add_prefix_space=True)],
    "each digit": [hf.pre_tokenizers.Digits(individual_digits=True), byte_level()],
    "numbers": [hf.pre_tokenizers.Digits(individual_digits=False), byte_level()],
    "Llama 3": [split(LLAMA3), byte_level(use_regex=False)],
    "GPT-4o": [split(GPT4O), byte_level(use_regex=False)],
    "GPT-4, inverted": [split(LLAMA3, "removed", invert=True), byte_level(use_regex=False)],
    "without spaces": [split(r"\s+", "removed"), byte_level(use_regex=False)],
    "a text": [hf.pre_tokenizers.Split("e.", "isolated"), byte_level(use_regex=False)],
}


@pytest.mark.parametrize("name", STEPS)
def test_ids_equal_those_of_tokenizers(name: str, text: str) -> None:
    theirs = trained(text, STEPS[name])
    ours = read(theirs)
    marked = text.replace("\n\n", f"{END}\n{PLAIN}{START}")
    for theirs.encode_special_tokens in (True, False):
        ids = ours.encode(marked, allow_special=not theirs.encode_special_tokens)
        assert ids == theirs.encode(marked, add_special_tokens=False).ids
        for skip in (True, False):
            assert ours.decode(ids, skip) == theirs.decode(ids, skip_special_tokens=skip)
        assert "".join(ours.decode_stream(ids)) == ours.decode(ids)
    assert (ours.decode(ids) == marked) == (name not in ("a space first", "without spaces"))


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])
def test_normalizers_and_words_that_are_tokens(form: str, text: str) -> None:
    theirs = trained(text, [byte_level()], ignore_merges=True)
    state = json.loads(theirs.to_str())
    state["normalizer"] = {"type": "Sequence", "normalizers": [{"type": form}]}
    del state["model"]["merges"][::3]  # some tokens can then be reached as whole words only
    theirs = hf.Tokenizer.from_str(json.dumps(state))
    theirs.add_tokens([hf.AddedToken("ﬁn", normalized=True)])
    marked = text.replace("\n\n", "ﬁn é fin")
    assert read(theirs).encode(marked) == theirs.encode(marked).ids


@pytest.mark.parametrize("flag", ["lstrip", "rstrip", "single_word"])
def test_added_tokens_that_look_around(flag: str) -> None:
    theirs = trained("to be or not", [byte_level()])
    theirs.add_tokens([hf.AddedToken("<mask>", **{flag: True}), hf.AddedToken("<mask>s")])
    for text in ("a <mask> b", "a  <mask>", "<mask>\n\nb", "a<mask>b", "<mask>_ <mask>s", "<mask>"):
        assert read(theirs).encode(text) == theirs.encode(text).ids


def test_tokens_before_and_after_a_text() -> None:
    theirs = trained("to be or not", [byte_level()])
    ids = {mark: theirs.token_to_id(mark) for mark in (START, END)}
    theirs.post_processor = hf.processors.Sequence([
        hf.processors.ByteLevel(),
        hf.processors.TemplateProcessing(f"{START} $A {END}", None, list(ids.items())),
    ])  # fmt: skip
    ours = read(theirs)
    assert ours.encode("to", add_special_tokens=True) == theirs.encode("to").ids
    assert ours.encode("to") == theirs.encode("to", add_special_tokens=False).ids


def test_it_is_saved_as_what_it_was_read_from(tmp_path: Path) -> None:
    theirs = trained("to be or not", [byte_level()])
    theirs.save(str(tmp_path / "tokenizer.json"))
    config = {"eos_token": {"content": END}, "bos_token": START, "chat_template": "<|im_start|>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    ours = PretrainedTokenizer.from_file(tmp_path / "tokenizer.json")
    assert [ours.bos_id, ours.eos_id] == [theirs.token_to_id(mark) for mark in (START, END)]
    ours.save(tmp_path / "ours.json")
    again = Tokenizer.load(tmp_path / "ours.json")
    assert isinstance(again, PretrainedTokenizer)
    assert again.description == json.loads((tmp_path / "tokenizer.json").read_text())
    assert again.encode("to be") == theirs.encode("to be").ids
    assert (again.eos_id, again.chat_template) == (ours.eos_id, "<|im_start|>")


@pytest.mark.slow
def test_a_real_tokenizer_gives_the_same_ids_for_a_megabyte() -> None:
    """The package carries the vocabulary of Claude 2: 65,000 tokens, NFKC."""
    path = Path(str(require_distribution("anthropic").locate_file("anthropic/tokenizer.json")))
    ours, theirs = PretrainedTokenizer.from_file(path), hf.Tokenizer.from_file(str(path))
    text = mixed_text()
    assert len(text.encode()) > 1_000_000
    assert ours.encode(text, allow_special=True) == theirs.encode(text).ids
    assert ours.vocab_size == theirs.get_vocab_size()


# GGUF ---------------------------------------------------------------------------------------------


def metadata(theirs: Any, steps: str, **changes: Any) -> dict[str, Any]:
    """The metadata of a GGUF file with a tokenizer."""
    state = json.loads(theirs.to_str())
    vocab = {**state["model"]["vocab"], **{t["content"]: t["id"] for t in state["added_tokens"]}}
    kinds = {t["content"]: 3 if t["special"] else 4 for t in state["added_tokens"]}
    tokens = sorted(vocab, key=lambda name: vocab[name])
    values = {
        "model": "gpt2", "pre": steps, "tokens": tokens,
        "token_type": np.array([kinds.get(token, 1) for token in tokens], np.int32),  # as read
        "merges": [" ".join(pair) for pair in state["model"]["merges"]],
        "bos_token_id": vocab[START], "eos_token_id": vocab[END], **changes,
    }  # fmt: skip
    return {f"tokenizer.ggml.{name}": value for name, value in values.items()}


@pytest.mark.parametrize(
    ("pre", "steps"),
    [("gpt-2", "GPT-2"), ("smollm", "each digit"), ("llama-bpe", "Llama 3"), ("gpt-4o", "GPT-4o")],
)
def test_a_vocabulary_of_gguf_gives_the_ids_of_its_tokenizer_json(
    pre: str, steps: str, text: str
) -> None:
    theirs = trained(text, STEPS[steps])
    ours = tokenizer_from_gguf(metadata(theirs, pre))
    marked = text.replace("\n\n", f"{END}\n{PLAIN}")
    assert ours.encode(marked, allow_special=True) == theirs.encode(marked).ids
    assert (ours.bos_id, ours.eos_id) == (theirs.token_to_id(START), theirs.token_to_id(END))
    begin = [ours.bos_id] if pre == "llama-bpe" else []
    assert ours.encode("", add_special_tokens=True) == begin
    again = hf.Tokenizer.from_str(json.dumps(tokenizer_files(ours)["tokenizer.json"]))
    assert again.encode(marked, add_special_tokens=False).ids == theirs.encode(marked).ids
    assert again.decode(ours.encode(text)) == text
    with_bos = tokenizer_from_gguf(metadata(theirs, pre, add_bos_token=True))
    assert with_bos.encode("", add_special_tokens=True) == [ours.bos_id]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "llama"}, "a tokenizer of the kind 'llama' is not supported"),
        ({"pre": "best"}, "the pre-tokenizer 'best' is unknown; known are gpt-2,"),
        ({"tokens": 7}, r"tokenizer\.ggml\.tokens must be a list of strings, not 7"),
        ({"merges": ["Ġ t", 5]}, r"tokenizer\.ggml\.merges must be a list of strings"),
        ({"merges": ["Ġ ¤¤"]}, "'Ġ ¤¤' does not merge two tokens"),
        ({"token_type": [1]}, r"tokenizer\.ggml\.token_type must have one entry for each of"),
        ({"eos_token_id": 10**9}, r"tokenizer\.ggml\.eos_token_id must be in \[0, "),
        ({"eos_token_id": -1}, r"tokenizer\.ggml\.eos_token_id must be in"),
    ],
)
def test_damaged_metadata_is_one_sentence(changes: dict[str, Any], message: str) -> None:
    model = trained("to be or not", [byte_level()])
    with pytest.raises(ValueError, match=message):
        tokenizer_from_gguf(metadata(model, "gpt-2", **changes))


# Files that are wrong -----------------------------------------------------------------------------


def with_(path: str, value: Any) -> dict[str, Any]:
    """A tokenizer.json with one changed entry."""
    state = json.loads(trained("to be or not", [byte_level()]).to_str())
    *folders, name = path.split(".")
    inner = state
    for folder in folders:
        inner = inner[folder]
    inner[name] = value
    return dict(state)


TWO = {"type": "Split", "pattern": {"Regex": r"\d{1,3}+"}, "behavior": "Isolated"}


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("model", None, "model must be a dict, not None"),
        ("model.type", "WordPiece", "of the kind 'WordPiece' is not supported, only BPE is"),
        ("model.byte_fallback", True, "it is SentencePiece's BPE, of characters"),
        ("model.dropout", 0.1, "dropout=0.1 is not supported"),
        ("model.vocab", [], "vocab must be a dict"),
        ("model.vocab.a", -1, "the id of 'a' must be an integer, not -1"),
        ("model.vocab.a", True, "the id of 'a' must be an integer, not True"),
        ("model.vocab.a", 2**40, r"have ids up to 1099511627776"),
        ("model.vocab.a", 5, "gives an id twice"),
        ("model.merges", ["a"], "'a' does not merge two tokens"),
        ("model.merges", [["a", "b", "c"]], "does not merge two tokens"),
        ("model.merges", [[1, 2]], "does not merge two tokens"),
        ("model.merges", [7], "7 does not merge two tokens"),
        ("added_tokens", {}, ""),
        ("added_tokens", "x", "added_tokens must be a list, not 'x'"),
        ("added_tokens", [1], "an added token is described by a dict, not 1"),
        ("added_tokens", [{"id": 1}], "an added token needs a content and an id"),
        ("normalizer", {"type": "Lowercase"}, "the normalizer 'Lowercase' is not supported"),
        ("normalizer", "NFC", "a normalizer is described by a dict with a type, not 'NFC'"),
        ("pre_tokenizer", None, "no step of its pre-tokenizer is ByteLevel"),
        ("pre_tokenizer", {"type": "Metaspace"}, "no step of its pre-tokenizer is ByteLevel"),
        ("pre_tokenizer.pretokenizers", 3, "a Sequence needs a list of pretokenizers, not 3"),
        ("pre_tokenizer.pretokenizers", [{"type": "ByteLevel"}, {"type": "Whitespace"}],
         "the pre-tokenizer 'Whitespace' is not supported"),
        ("pre_tokenizer.pretokenizers", [{"type": "ByteLevel"}, TWO], "repeats a repetition"),
        ("pre_tokenizer.pretokenizers",
         [{"type": "ByteLevel"}, {**TWO, "pattern": {"Regex": "("}}], "'\\(' is not valid"),
        ("pre_tokenizer.pretokenizers", [{"type": "ByteLevel"}, {**TWO, "pattern": 1}],
         "Split needs a pattern, Regex or String, not 1"),
        ("pre_tokenizer.pretokenizers",
         [{"type": "ByteLevel"}, {**TWO, "behavior": "MergedWithNext"}], "behavior 'MergedWithN"),
        ("post_processor", {"type": "BertProcessing"}, "post-processor 'BertProcessing' is not"),
        ("post_processor", {"type": "TemplateProcessing", "special_tokens": {}, "single": [1]},
         "the post-processor is damaged"),
    ],
)  # fmt: skip
def test_what_is_damaged_or_unknown_is_one_sentence(
    path: str, value: Any, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "tokenizer.json"
    file.write_text(json.dumps(with_(path, value)))
    if not message:
        PretrainedTokenizer.from_file(file)
        return
    with pytest.raises(ValueError, match=message) as caught:
        PretrainedTokenizer.from_file(file)
    assert str(caught.value).startswith(f"cannot load a tokenizer from {file}: ")
    assert "\n" not in str(caught.value)


def test_files_that_are_no_tokenizer(tmp_path: Path) -> None:
    file = tmp_path / "tokenizer.json"
    for text in ("", "{", "[]", "7", "null", '{"model": {"type": []}}', "[" * 100_000):
        file.write_text(text)
        with pytest.raises(ValueError, match="cannot load a tokenizer from "):
            PretrainedTokenizer.from_file(file)
    config = tmp_path / "tokenizer_config.json"
    file.write_text(json.dumps(with_("version", "1.0")))
    for text, message in (("[]", "must be a dict"), ('{"eos_token": "<x>"}', "'<x>' is not among")):
        config.write_text(text)
        with pytest.raises(ValueError, match=message):
            PretrainedTokenizer.from_file(file)


def test_bytes_that_a_vocabulary_lacks_are_skipped() -> None:
    theirs = trained("to be or not", [byte_level()])
    state = json.loads(theirs.to_str())
    del state["model"]["vocab"]["Ä"], state["model"]["vocab"]["¿"]  # the bytes of Ŀ, a letter
    theirs = hf.Tokenizer.from_str(json.dumps(state))
    ours = PretrainedTokenizer(state)
    assert ours.encode("tĿo") == theirs.encode("tĿo").ids == theirs.encode("to").ids
    with pytest.raises(ValueError, match="surrogates not allowed"):
        ours.encode("\ud800")
    with pytest.raises(ValueError, match="token id 5000 is not in the vocabulary"):
        ours.decode([5000])
    state["model"]["unk_token"] = END
    with pytest.raises(ValueError, match="lacks bytes"):
        PretrainedTokenizer(state)
