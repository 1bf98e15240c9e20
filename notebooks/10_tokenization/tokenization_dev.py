# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Lesson 10: Tokenization
#
# A network computes with numbers, but a text is a string of characters. Before a language model
# sees any text, a **tokenizer** splits it into pieces, called **tokens**, and maps each distinct
# token to an integer, its **id**. The model outputs ids too, and the tokenizer decodes them back
# into text.
#
# How should a text be split? Every choice is a trade-off:
#
# | tokens are | vocabulary size (`V`) | sequence length (`T`) | what cannot be encoded |
# |---|---|---|---|
# | characters | one per distinct character; 65 in Shakespeare | long | characters not seen in training |
# | bytes | always 256 | longest | nothing |
# | words | hundreds of thousands | short | new words and typos |
# | **byte pairs** (BPE) | your choice | short | nothing |
#
# GPT-2, GPT-4 and Llama 3 use the last row. You will build the first row, then the second, and then
# the last on top of the second.
#
# **You will build** tokenizers, up to GPT-2's.
#
# **You will learn** to
#
# - turn text into ids and back, without losing a character, and to refuse what cannot be encoded;
# - read UTF-8: why one character may be several tokens, and when its bytes may be decoded;
# - learn the merges of byte-pair encoding from a text, and apply them to another;
# - keep signals to the model, such as the end of a document, apart from what users type;
# - measure a tokenizer: bytes per token, and what a larger vocabulary costs and saves.
#
# **You need** Python: classes, dictionaries, list comprehensions and `collections.Counter`. No
# earlier lesson is required.
#
# **Time**: about three hours for 8 exercises, 24 points.

# %% setup=true
import codecs
import os
import re
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tinytorch.arguments import check_integer, shown
from tinytorch.text.fast_bpe import CharTable, accelerated
from tinytorch.text.gpt2_files import (
    Vocabulary,
    read_gpt2,
    vocabulary_from_dict,
    vocabulary_to_dict,
)
from tinytorch.tito.checks import Exercise
from tinytorch.text.tokenizer import checked_ids, checked_text, texts_of
from tinytorch.tokenization import Pair, TokenIds, Tokenizer, split_words

# %% [markdown]
# ## The idea, by hand
#
# `V` is the vocabulary size, `T` the number of tokens in a text. Encoding turns a text into a list
# of `T` ids, each in [0, V).

# %%
text = "hello"
vocab = sorted(set(text))
ids = [vocab.index(character) for character in text]
print("vocabulary, V = 4:", vocab)
print("ids,        T = 5:", ids)
print("decoded:         ", "".join(vocab[i] for i in ids))

# %% [markdown]
# ## 10.1 One id per character
#
# `CharTokenizer` does exactly that, with one dictionary for each direction. They belong to its base
# class, `CharVocabulary`, which is given: `_set_vocab` builds the dictionaries, and `_unknown_id`
# handles characters that are not in the vocabulary.
#
# Implement the three methods. Three things to watch out for:
#
# - Sort the characters. The order of a set changes from one Python run to the next, and a model
#   trained with one order reads gibberish in another.
# - Change nothing: `A` and `a`, spaces and line feeds are characters of their own. Otherwise
#   decoding does not restore the text.
# - In Python, `vocab[-1]` is the last entry. An id of -1 means that there is a bug somewhere in the
#   model: raise an error instead of decoding it.

# %% given="10.1"
from tinytorch.tokenization import CharVocabulary

# %% exercise="10.1" points=3
from tinytorch.tokenization import CharTokenizer

# CharTokenizer.build_vocab:
#   texts_of(corpus) yields the texts one by one, whether corpus is a single text or many.
#   Collect the characters of all texts in a set, and sort it.
#   self._set_vocab does the rest.
# CharTokenizer.encode:
#   checked_text(text) returns the text, or raises an error if it is not a str.
#   self.char_to_id maps each known character to its id.
#   For any other character, self._unknown_id(character, text) returns an id or raises the error.
# CharTokenizer.decode:
#   checked_ids(ids, self.vocab_size) returns plain integers, or raises an error.
#   self.id_to_char maps ids back to characters.


# %% test="10.1" points=3
# fmt: off
def char_vocab(*corpora, unknown=None):
    """The vocabulary after build_vocab was called with each corpus, one after the other."""
    tokenizer = CharTokenizer(unknown=unknown)
    for corpus in corpora:
        tokenizer.build_vocab(corpus)
    return tokenizer.vocab

def round_trip(text):
    tokenizer = CharTokenizer()
    tokenizer.build_vocab(text)
    return tokenizer.decode(tokenizer.encode(text))

with Exercise("10.1", "CharTokenizer") as check:
    check.equal(lambda: char_vocab("quarterbacks"), list("abcekqrstu"), "the vocabulary of 'quarterbacks'",
                cause="each character once, sorted: a set has no defined order; self._set_vocab(...)"
                " stores the vocabulary")
    check.equal(lambda: char_vocab(" Bach, ad\n"), list("\n ,Bacdh"), "the vocabulary of ' Bach, ad\\n'",
                cause="keep every character as it is, also capitals, spaces and line feeds; sort by code"
                " point: sorted does that without a key")
    check.equal(lambda: char_vocab(["ba", "cab"]), ["a", "b", "c"], "the vocabulary of the two texts 'ba' and 'cab'",
                cause="collect the characters of all texts, each once")
    check.equal(lambda: char_vocab(text for text in ["dad", "cab"]), ["a", "b", "c", "d"],
                "the vocabulary of a generator of 'dad' and 'cab'",
                cause="keep the first text's characters: do not start over with each text; and go through"
                " the texts only once")
    check.equal(lambda: char_vocab("xyz", "ab"), ["a", "b"], "the vocabulary after build_vocab('xyz') and build_vocab('ab')",
                cause="a new vocabulary replaces the old one")
    check.equal(lambda: char_vocab("cab", unknown="<unk>"), ["<unk>", "a", "b", "c"],
                "the vocabulary of 'cab' with the unknown token <unk>",
                cause="self._set_vocab(...) adds the unknown token, and updates both dictionaries")
    check.equal(lambda: CharTokenizer().build_vocab("ab"), None, "the return value of build_vocab",
                cause="it stores the vocabulary and returns nothing")
    check.raises(TypeError, lambda: CharTokenizer().build_vocab(b"ab"), "a vocabulary of bytes instead of a str",
                 message="a corpus is", cause="texts_of(corpus) raises the error")

    check.equal(lambda: CharTokenizer("olhe").encode("hole"), [2, 0, 1, 3], "the ids of 'hole' with vocabulary o l h e",
                cause="ids start at 0, in the order of the vocabulary; call self._unknown_id for unknown"
                " characters only (in d.get(c, f(c)), f is called for every c)")
    check.equal(lambda: CharTokenizer("Hh E!").encode(" h!EH "), [2, 1, 4, 3, 0, 2],
                "the ids of ' h!EH ' with vocabulary H h space E !",
                cause="encode every character as it is, also capitals and spaces")
    check.equal(lambda: CharTokenizer("ab").encode(""), [], "the ids of an empty text",
                cause="no characters, no ids: an empty list")
    check.equal(lambda: type(CharTokenizer("ab").encode("ba")).__name__, "list", "the type of the ids",
                cause="return a list, not a tuple, an array or a generator")
    tokenizer = check.call(lambda: CharTokenizer("ab"), "a tokenizer", cause="leave __init__ as it is")
    check.equal(lambda: [tokenizer.encode("ba"), tokenizer.encode("a")], [[1, 0], [0]],
                "the ids of 'ba', then those of 'a', from the same tokenizer",
                cause="start with a new, empty list in every call")
    check.raises(ValueError, lambda: CharTokenizer("ehlo").encode("help me"), "encoding 'help me' with vocabulary e h l o",
                 message="' ', 'm', 'p'",
                 cause="call self._unknown_id(character, text), with the whole text; skipping a character"
                 " loses text silently")
    check.equal(lambda: CharTokenizer("ab", unknown="<unk>").encode("abca<"), [1, 2, 0, 1, 0],
                "the ids of 'abca<' with vocabulary <unk> a b",
                cause="'c' and '<' are unknown: self._unknown_id returns their id, 0")
    check.raises(TypeError, lambda: CharTokenizer("ab").encode(b"ab"), "encoding bytes instead of a str",
                 message="encodes a str", cause="call checked_text(text) first")

    check.equal(lambda: CharTokenizer("olhe").decode([2, 0, 1, 3]), "hole", "the text of ids 2, 0, 1, 3",
                cause="return one string, with nothing between the characters")
    check.equal(lambda: CharTokenizer("Hh E!").decode([2, 1, 4, 3, 0, 2]), " h!EH ", "the text of ids 2, 1, 4, 3, 0, 2",
                cause="return the characters as they are, also capitals and spaces")
    check.equal(lambda: CharTokenizer("oh").decode(np.array([1, 0, 1])), "hoh", "the text of an array of ids",
                cause="checked_ids turns arrays into plain integers: use what it returns")
    check.equal(lambda: CharTokenizer("oh").decode(i for i in [1, 0]), "ho", "the text of a generator of ids",
                cause="a generator yields its ids only once: use the list that checked_ids returns")
    check.equal(lambda: CharTokenizer("ab", unknown="<unk>").decode([1, 0]), "a<unk>", "the text of ids 1, 0 with vocabulary <unk> a b",
                cause="self.id_to_char has the unknown token too")
    for bad in (-1, 2):
        check.raises(ValueError, lambda: CharTokenizer("oh").decode([0, bad]), f"decoding id {bad} when V is 2",
                     cause="checked_ids raises the error: V is self.vocab_size, and ids are in [0, V)")
    check.raises(TypeError, lambda: CharTokenizer("oh").decode([1.0]), "decoding id 1.0",
                 cause="checked_ids raises the error: an id is an integer")
    check.equal(lambda: round_trip("Zoë's 2 pies\t\n"), "Zoë's 2 pies\t\n", "a text after build_vocab, encode and decode",
                cause="a character must not change on its way")
# fmt: on

# %% [markdown]
# Now try it on real text. This loads Tiny Shakespeare: about a million characters from nine plays.

# %%
from tinytorch.data.datasets import tiny_shakespeare

shakespeare = tiny_shakespeare().text
characters = CharTokenizer()
characters.build_vocab(shakespeare)
print(f"{len(shakespeare):,} characters, V = {characters.vocab_size}")
print(repr("".join(characters.vocab)))
try:
    characters.encode("naïve café")
except ValueError as error:
    print("error:", error)

# %% [markdown]
# ## 10.2 Bytes
#
# Unicode has about 150,000 characters, and any of them may turn up one day. But files consist of
# **bytes**, and there are only 256 different bytes. **UTF-8** is the standard encoding of
# characters as bytes: one byte for each English letter, up to four for other characters.
#
# | character | code point, `ord(c)` | bytes in UTF-8 |
# |---|---|---|
# | `a` | 97 | 97 |
# | `é` | 233 | 195 169 |
# | `中` | 20013 | 228 184 173 |
#
# So 256 tokens are enough to encode any text. The price: a token may be only *part of a character*.
# To decode, first join the bytes of all tokens, then decode them as UTF-8.

# %% exercise="10.2" points=2
from tinytorch.tokenization import bytes_to_text, text_to_bytes

# text_to_bytes:
#   str has a method that returns its bytes in a given encoding.
#   list(...) of a bytes object is a list of integers.
# bytes_to_text:
#   Join all tokens first (b"".join), then decode once: a character may span several tokens.
#   The method's argument `errors` controls what happens to invalid UTF-8: replace it.

# %% test="10.2" points=2
# fmt: off
with Exercise("10.2", "text_to_bytes and bytes_to_text") as check:
    check.equal(lambda: text_to_bytes("hi"), [104, 105], "the bytes of 'hi'",
                cause="return a list of integers, not a bytes object; use UTF-8, not UTF-16")
    check.equal(lambda: type(text_to_bytes("hi")).__name__, "list", "the type of the bytes of 'hi'",
                cause="return a list: ids above 255 will take the place of some bytes, and an array of"
                " bytes cannot hold them")
    check.equal(lambda: text_to_bytes(" Hi\r\n"), [32, 72, 105, 13, 10], "the bytes of ' Hi\\r\\n'",
                cause="keep every character as it is, also capitals, spaces and line ends")
    check.equal(lambda: text_to_bytes("é"), [195, 169], "the bytes of 'é'",
                cause="ord() returns code points; UTF-8 uses two bytes for this character")
    check.equal(lambda: text_to_bytes("e\u0301"), [101, 204, 129], "the bytes of an 'e' and an accent, two characters",
                cause="do not normalize the text: decoding must restore it")
    check.equal(lambda: text_to_bytes("中"), [228, 184, 173], "the bytes of '中'",
                cause="UTF-8 uses three bytes for this character, from left to right")
    check.equal(lambda: text_to_bytes("\N{WATERMELON}"), [240, 159, 141, 137], "the bytes of a watermelon",
                cause="UTF-8 uses four bytes for this character")
    check.equal(lambda: text_to_bytes(""), [], "the bytes of an empty text", cause="an empty list")
    check.raises(ValueError, lambda: text_to_bytes("a\ud83d"), "encoding half of a surrogate pair",
                 cause="no errors=... here: str.encode raises the error; a character must not be dropped or"
                 " replaced silently")

    check.equal(lambda: bytes_to_text([b"h", b"i"]), "hi", "the text of b'h', b'i'",
                cause="join the tokens with nothing between them, and decode them to a str")
    check.equal(lambda: bytes_to_text([b" H", b"", b"I\n"]), " HI\n", "the text of b' H', b'', b'I\\n'",
                cause="keep every character as it is, also capitals, spaces and line ends")
    check.equal(lambda: bytes_to_text([b"n", b"\xc3", b"\xa9"]), "né", "the text of an 'é' split into two tokens",
                cause="join the tokens first, then decode: half a character is not valid UTF-8")
    check.equal(lambda: bytes_to_text([b"\xc3", b"a"]), "\ufffda", "the text of half of an 'é', then 'a'",
                cause="use errors='replace': a model may generate any bytes, and decoding must"
                " neither fail nor drop them")
    check.equal(lambda: bytes_to_text([b"a", b"\xe4\xb8"]), "a\ufffd", "the text of 'a', then two thirds of '中'",
                cause="what is incomplete at the end is replaced too")
    check.equal(lambda: bytes_to_text(token for token in [b"o", b"k", b"o"]), "oko", "the text of a generator of tokens",
                cause='b"".join takes any iterable')
    check.equal(lambda: bytes_to_text([]), "", "the text of no tokens", cause="an empty text")
# fmt: on

# %%
for character in "aé中\N{WATERMELON}":
    print(ascii(character), "->", " ".join(f"{byte:3}" for byte in text_to_bytes(character)))

# %% [markdown]
# ## Merging frequent pairs
#
# Bytes can represent any text, but the sequences are long, and a model sees only a few hundred
# tokens at a time. **Byte-pair encoding** (BPE) shortens them: find the most frequent pair of
# adjacent tokens, replace it with a new token, and repeat. By hand, on `low low lower`, with `␣` for
# a space:
#
# | step | most frequent pair | new token | the text |
# |---|---|---|---|
# | start | | | `l o w` · `␣ l o w` · `␣ l o w e r` |
# | 1 | `l o`, 3 times | `lo` = 256 | `lo w` · `␣ lo w` · `␣ lo w e r` |
# | 2 | `lo w`, 3 times | `low` = 257 | `low` · `␣ low` · `␣ low e r` |
# | 3 | `␣ low`, twice | `␣low` = 258 | `low` · `␣low` · `␣low e r` |
# | 4 | `e r`, once | `er` = 259 | `low` · `␣low` · `␣low er` |
#
# In step 1, `o w` occurs 3 times too, and in step 4, `␣low e` occurs once too. Any rule for such
# ties works, but there must *be* one: otherwise the same text could give different tokenizers on
# different days. Our rule: the pair with the smaller ids wins. `l` is 108 and `o` is 111, so `l o`
# comes before `o w`.
#
# The dots separate words: pairs are counted **within words** only. Otherwise `dog.`, `dog!` and
# `the dog` would each become a token of their own. `split_words` splits a text as GPT-2 does. A
# space belongs to the word that follows it, so joining the words restores the text:

# %%
print(split_words("The dog's bone, 12 bones!"))
words = split_words(shakespeare)
print(f"Tiny Shakespeare has {len(words):,} words, {len(set(words)):,} of them distinct")

# %% [markdown]
# ## 10.3 Count pairs
#
# A word that occurs 1,000 times does not have to be counted 1,000 times: store it once, with its
# count. So `words` is a list such as `[([108, 111, 119], 2), ...]`: the ids of a word, and how
# often the word occurs.
#
# Ties go to the pair with the smaller ids. Python compares tuples from left to right, so
# `(7, 8) < (7, 9) < (8, 0)`.

# %% exercise="10.3" points=3
from tinytorch.tokenization import count_pairs, most_frequent

# count_pairs:
#   pairwise([1, 2, 3]) yields (1, 2) and (2, 3).
#   A Counter starts every key at 0, so you can add to it right away. How much does a word add?
# most_frequent:
#   min takes a key, a function of a pair. Write one that is smallest for the pair you want: it
#   returns a tuple of two values, and the first is the negated count.

# %% test="10.3" points=3
# fmt: off
with Exercise("10.3", "count_pairs and most_frequent") as check:
    check.equal(lambda: dict(count_pairs([([1, 2, 3], 1)])), {(1, 2): 1, (2, 3): 1}, "the pairs of 1 2 3",
                cause="pair each token with the next one")
    check.equal(lambda: dict(count_pairs([([2, 1, 2], 1)])), {(2, 1): 1, (1, 2): 1}, "the pairs of 2 1 2",
                cause="(1, 2) and (2, 1) are different pairs: order matters")
    check.equal(lambda: dict(count_pairs([([7, 300], 10)])), {(7, 300): 10}, "the pairs of 7 300, which occurs 10 times",
                cause="each pair counts as often as its word occurs")
    check.equal(lambda: dict(count_pairs([([7, 8, 7, 8], 5), ([7, 8], 1), ([8, 9], 2)])), {(7, 8): 11, (8, 7): 5, (8, 9): 2},
                "the pairs of 7 8 7 8 (5 times), 7 8 (once) and 8 9 (twice)",
                cause="add up over positions and words; no pair crosses a word boundary")
    check.equal(lambda: dict(count_pairs([([7, 8], 2), ([7, 8], 3)])), {(7, 8): 5}, "the pairs of 7 8 (twice) and 7 8 (3 times)",
                cause="add up over all entries of words, also those with the same ids")
    check.equal(lambda: dict(count_pairs([([5, 5, 5], 1)])), {(5, 5): 2}, "the pairs of 5 5 5",
                cause="count every position, also where pairs overlap")
    check.equal(lambda: dict(count_pairs([([4], 9), ([], 9)])), {}, "the pairs of 4 and of an empty word",
                cause="a word of one token has no pair")
    check.equal(lambda: dict(count_pairs(word for word in [([1, 0], 2), ([0, 1], 3)])), {(1, 0): 2, (0, 1): 3},
                "the pairs of a generator of the words 1 0 (twice) and 0 1 (3 times)",
                cause="go through the words only once")

    check.equal(lambda: most_frequent(Counter({(3, 4): 5})), (3, 4), "the most frequent of one pair",
                cause="return the pair alone, without its count")
    check.equal(lambda: most_frequent(Counter({(1, 2): 1, (3, 4): 10, (5, 6): 9})), (3, 4), "the most frequent pair",
                cause="negate the count: otherwise min finds the rarest pair")
    check.equal(lambda: most_frequent(Counter({(7, 9): 3, (7, 8): 3, (8, 0): 3, (1, 2): 1})), (7, 8),
                "the choice among three pairs that occur 3 times each",
                cause="break ties by the smallest ids, the first id before the second")
    check.equal(lambda: most_frequent(Counter({(10, 2): 4, (9, 300): 4})), (9, 300),
                "the choice between (10, 2) and (9, 300), equally frequent",
                cause="compare ids as numbers, not as text, and the first id before the second")
    check.equal(lambda: type(most_frequent(Counter({(3, 4): 5}))).__name__, "tuple", "the type of the most frequent pair",
                cause="return the key itself, a tuple: a list cannot be looked up in a dictionary")
# fmt: on

# %% [markdown]
# ## 10.4 Merge a pair
#
# Copy the ids from left to right, with the new token in place of every occurrence of the pair.
#
# Beware of **overlaps**: in `7 7 7`, the pair `7 7` occurs at positions 0 and 1, but both
# occurrences need the middle token. The first one gets it: `7 7 7` becomes `256 7`. A merge
# consumes both of its tokens.

# %% exercise="10.4" points=3
from tinytorch.tokenization import merge_pair

# merge_pair:
#   Build a new list, with a position that moves along ids in a while loop.
#   Is the pair at this position? Then advance by more than one.
#   A slice may extend past the end of a list without an error; an index may not.
#   Do not modify ids: the caller may still need it.

# %% test="10.4" points=3
# fmt: off
with Exercise("10.4", "merge_pair") as check:
    check.equal(lambda: merge_pair([3, 1, 2], (1, 2), 256), [3, 256], "1 2 merged in 3 1 2",
                cause="one new token replaces both; and a list is never equal to a tuple")
    check.equal(lambda: merge_pair([1, 2, 3], (1, 2), 256), [256, 3], "1 2 merged in 1 2 3",
                cause="the last token has no right neighbour, and stays: ids[i + 1] is an error there,"
                " a slice is not")
    check.equal(lambda: merge_pair([1, 2, 1], (1, 2), 256), [256, 1], "1 2 merged in 1 2 1",
                cause="both tokens of the pair must match")
    check.equal(lambda: merge_pair([1, 2, 5, 1, 2, 1, 2], (1, 2), 300), [300, 5, 300, 300], "1 2 merged in 1 2 5 1 2 1 2",
                cause="merge every occurrence, not only the first")
    check.equal(lambda: merge_pair([2, 1, 1, 3], (1, 2), 256), [2, 1, 1, 3], "1 2 merged in 2 1 1 3",
                cause="the tokens must occur in the order of the pair, side by side")
    check.equal(lambda: merge_pair([1, 1, 2], (1, 2), 256), [1, 256], "1 2 merged in 1 1 2",
                cause="without a match, advance by one token only")
    check.equal(lambda: merge_pair([7, 7, 7], (7, 7), 256), [256, 7], "7 7 merged in 7 7 7",
                cause="pairs may overlap: go from left to right, and skip both tokens after a merge")
    check.equal(lambda: merge_pair([7, 7, 7, 7, 7], (7, 7), 256), [256, 256, 7], "7 7 merged in 7 7 7 7 7",
                cause="continue after the two merged tokens")
    check.equal(lambda: merge_pair([11, 2, 1, 23, 31, 22], (1, 2), 256), [11, 2, 1, 23, 31, 22],
                "1 2 merged in 11 2 1 23 31 22",
                cause="compare ids as numbers: the text '11 2' contains '1 2', but the ids do not")
    check.equal(lambda: merge_pair([256, 119, 300, 256], (256, 119), 1000), [1000, 300, 256], "256 119 merged in 256 119 300 256",
                cause="ids may be larger than 255: tokens of earlier merges have such ids")
    check.equal(lambda: merge_pair([257, 258, 1, 2], (1, 2), 300), [257, 258, 300], "1 2 merged in 257 258 1 2",
                cause="257 is not 1: compare the ids themselves, not bytes")
    check.equal(lambda: merge_pair([2, 0, 1], (1, 2), 256), [2, 0, 1], "1 2 merged in 2 0 1",
                cause="the last token and the first are not side by side")
    check.equal(lambda: merge_pair([0, 5], (5, 0), 256), [0, 5], "5 0 merged in 0 5",
                cause="there is no token after the last, not a token 0")
    check.equal(lambda: merge_pair([], (1, 2), 256), [], "merging in an empty list", cause="an empty list")
    check.equal(lambda: type(merge_pair([3, 1, 2], (1, 2), 256)).__name__, "list", "the type of the result",
                cause="return a list")
    ids = [1, 2, 3, 1, 2]
    check.equal(lambda: (merge_pair(ids, (1, 2), 256), ids)[1], [1, 2, 3, 1, 2], "the input ids after the call",
                cause="build a new list; do not modify the input")
# fmt: on

# %% [markdown]
# ## 10.5 Learn the merges
#
# Now the algorithm of the table above. It learns a list of pairs, and their order matters: merge 0
# creates token 256, merge 1 creates token 257. A pair may contain tokens from earlier merges, so
# tokens grow longer. The four merges of the table are
# `[(108, 111), (256, 119), (32, 257), (101, 114)]`: the cell after the test
# prints them.
#
# The decorator `@accelerated` above the function is explained at the end of the lesson. In this
# notebook, your function runs exactly as you write it.

# %% exercise="10.5" points=4
from tinytorch.tokenization import learn_merges

# learn_merges:
#   Start with the bytes and the count of each word: the input of count_pairs.
#   Then repeat: count pairs, choose one, merge it in all words, and record it.
#   Counts are valid for one step only: a merge changes them.
#   Stop when there are enough merges, or when no pair is left.

# %% test="10.5" points=4
# fmt: off
with Exercise("10.5", "learn_merges") as check:
    check.equal(lambda: learn_merges({"low": 2, "lower": 1}, 1), [(108, 111)],
                "the first merge of 'low' (twice) and 'lower': l o, which is 108 111",
                cause="return as many merges as requested, each a pair of ids")
    check.equal(lambda: learn_merges({"low": 1, " low": 1, " lower": 1}, 4),
                [(108, 111), (256, 119), (32, 257), (101, 114)],
                "the four merges of the table, learned from 'low', ' low' and ' lower'",
                cause="the first merge creates token 256, the next one 257; after each merge, count"
                " again in the merged words; keep spaces; pairs that occur once are merged too")
    check.equal(lambda: learn_merges({"low": 2, "lower": 1}, 4),
                [(108, 111), (256, 119), (101, 114), (257, 258)],
                "the merges of 'low' (twice) and 'lower': l o, lo w, e r, low er",
                cause="a pair may consist of two merged tokens; no pair crosses a word boundary")
    check.equal(lambda: learn_merges({"ab": 1, "cd": 4, "ef": 2}, 2), [(99, 100), (101, 102)],
                "two merges when 'ab' occurs once, 'cd' 4 times and 'ef' twice: c d, e f",
                cause="a word counts as often as it occurs, also after a merge")
    check.equal(lambda: learn_merges({"zy": 1, "cb": 1, "xa": 1}, 3), [(99, 98), (120, 97), (122, 121)],
                "the merges of 'zy', 'cb' and 'xa', which occur once each: c b, x a, z y",
                cause="ties go to the smallest ids, not to the first word: use most_frequent")
    check.equal(lambda: learn_merges({"aaaaa": 1}, 9), [(97, 97), (256, 97), (256, 257)], "all merges of 'aaaaa'",
                cause="when every word is a single token, no pair is left: stop")
    check.equal(lambda: learn_merges({"Ab": 1}, 5), [(65, 98)], "all merges of 'Ab', which occurs once",
                cause="a pair that occurs once counts too; A and a are different bytes")
    check.equal(lambda: learn_merges({"é": 1}, 1), [(195, 169)], "the first merge of 'é'",
                cause="start from the bytes of the word")
    check.equal(lambda: learn_merges({"low": 1}, 0), [], "the merges when none are requested",
                cause="with count = 0, return an empty list")
    check.equal(lambda: [type(pair).__name__ for pair in learn_merges({"low": 1}, 2)], ["tuple", "tuple"],
                "the type of each merge", cause="record the pair itself, a tuple")
    check.equal(lambda: type(learn_merges({"low": 1}, 2)).__name__, "list", "the type of the merges",
                cause="return a list: its order is that of the merges")
    words = {"low": 2, "é": 1}
    check.equal(lambda: (learn_merges(words, 2), words)[1], {"low": 2, "é": 1}, "the input words after the call",
                cause="build new lists; do not modify the input")
# fmt: on

# %%
merges = learn_merges(Counter(split_words("low low lower")), 4)
tokens = [bytes([byte]) for byte in range(256)]  # the bytes of each id
for left, right in merges:
    print(f"{tokens[left].decode()!r} + {tokens[right].decode()!r} = token {len(tokens)}")
    tokens.append(tokens[left] + tokens[right])

# %% [markdown]
# What does it learn from Shakespeare? Here are the first and last merges, and how each merge
# shortens the text:

# %%
import matplotlib.pyplot as plt

sample = shakespeare[:30_000]
words = Counter(split_words(sample))
merges = learn_merges(words, 200)

tokens = [bytes([byte]) for byte in range(256)]  # the bytes of each id
for left, right in merges:
    tokens.append(tokens[left] + tokens[right])
print("first:", tokens[256:272])
print("last: ", tokens[-12:])

lengths = []  # number of tokens in the sample after each merge
encoded = [(text_to_bytes(word), times) for word, times in words.items()]
for step, pair in enumerate([None, *merges]):
    if pair is not None:
        encoded = [(merge_pair(ids, pair, 255 + step), times) for ids, times in encoded]
    lengths.append(sum(len(ids) * times for ids, times in encoded))

figure, axes = plt.subplots(figsize=(7, 3.5))
axes.plot(lengths)
for step in (5, 25, 60, 100, 150):
    name = tokens[255 + step].decode().replace(" ", "\N{OPEN BOX}").replace("\n", "\\n")
    axes.plot(step, lengths[step], "o", color="C1")
    axes.annotate(f"{step}: “{name}”", (step, lengths[step]), (step + 3, lengths[step] + 700))
axes.set(xlabel="merges", ylabel="tokens", ylim=(0, None),
         title=f"{len(sample):,} characters: each merge shortens the text, the first ones most")  # fmt: skip
figure.tight_layout()
plt.show()

# %% [markdown]
# ## 10.6 Apply the merges
#
# A new word is encoded with the same merges, **in the order in which they were learned**. Suppose
# the rules are
#
# | rank | pair | token |
# |---|---|---|
# | 0 | `b c` | `bc` |
# | 1 | `a b` | `ab` |
#
# Then `a b c` becomes `a bc`, not `ab c`, although `a b` comes first in the word. Why does this
# matter? When the merges were learned, `bc` was merged first as well. The model was trained on
# these tokens, so it should see the same ones again.
#
# So: among all pairs in the word that have a rule, merge the one with the lowest rank, and repeat
# until no rule applies. `rules[pair]` is `(rank, token)`; the dictionary may have any order, and the
# token may be any number, as in the files of GPT-2.

# %% exercise="10.6" points=3
from tinytorch.tokenization import apply_merges

# apply_merges:
#   Which pairs of the word have a rule? If there are none, you are done.
#   Which of them has the lowest rank? rules[pair] starts with the rank.
#   Merge that pair into the token that its rule gives, and repeat with the new ids.

# %% test="10.6" points=3
# fmt: off
with Exercise("10.6", "apply_merges") as check:
    a, b, c, d = b"abcd"
    # From the lowest rank: b c -> 300, a b -> 900, bc d -> 700, c d -> 299, a bcd -> 500.
    rules = {(a, 700): (100, 500), (c, d): (12, 299), (300, d): (11, 700), (a, b): (10, 900), (b, c): (9, 300)}
    check.equal(lambda: apply_merges([b, a], rules), [b, a], "'ba', to which no rule applies",
                cause="without a rule, return the ids as they are")
    check.equal(lambda: apply_merges([a, b], rules), [900], "'ab' with the rule (10, 900)",
                cause="the first number of a rule is the rank, the second is the token")
    check.equal(lambda: apply_merges([a, b, c], rules), [a, 300], "'abc', where b c has rank 9 and a b rank 10",
                cause="merge the pair that was learned first, wherever it is in the word")
    check.equal(lambda: apply_merges([b, c, d], rules), [700], "'bcd', where b c has rank 9, bc d rank 11 and c d rank 12",
                cause="the lowest rank decides, as a number: not the token, not the place in the word,"
                " and not the order of the dictionary")
    check.equal(lambda: apply_merges([a, b, a, b, c], rules), [900, a, 300], "'ababc', where a b occurs twice",
                cause="the lowest rank decides, not how often a pair occurs")
    check.equal(lambda: apply_merges([a, b, c, d], rules), [500], "'abcd', in three merges",
                cause="a merge creates new pairs: repeat until no rule applies")
    check.equal(lambda: apply_merges([b, c, a, b, c, b], rules), [300, a, 300, b], "'bcabcb'",
                cause="merge the pair everywhere in the word")
    check.equal(lambda: apply_merges([0, 0, 0], {(0, 0): (0, 5), (5, 0): (1, 7)}), [7], "'0 0 0' with the rules 0 0 -> 5, 5 0 -> 7",
                cause="ids may be any numbers, also 0; of overlapping pairs, the left one is merged")
    check.equal(lambda: apply_merges([a, b], {(a, b): (0, 7), (a, a): (1, 3)}), [7], "'ab' with the rule (0, 7)",
                cause="take the token from the rule: in GPT-2's files it is not always 256 + rank")
    check.equal(lambda: apply_merges([], rules), [], "an empty word", cause="there is no pair: return an empty list")
    check.equal(lambda: [type(apply_merges(ids, rules)).__name__ for ids in ([a, b], [d])], ["list", "list"],
                "the types of the results for 'ab' and 'd'", cause="return a list of ids")
    ids = [a, b, c, d]
    check.equal(lambda: (apply_merges(ids, rules), ids)[1], [a, b, c, d], "the input ids after the call",
                cause="build a new list, as merge_pair does; do not modify the input")
    check.equal(lambda: (apply_merges(ids, rules), len(rules))[1], 5, "the number of rules after the call",
                cause="do not modify the rules: other words need them")
# fmt: on

# %% [markdown]
# ## 10.7 Special tokens
#
# Some tokens are not text but signals to the model: `<|endoftext|>` separates two documents and
# means *forget everything before this*. A special token is never split and never merged. So the
# text is split at special tokens first: plain text at indices 0, 2, 4, ... and special tokens at
# indices 1, 3, 5, ...
#
# There is a question of safety. If a user types `<|endoftext|>` into a chat, should the model see
# the special token or the 13 characters? The characters. So by default, `encode` treats special
# tokens as plain text.

# %% exercise="10.7" points=2
from tinytorch.tokenization import split_special

# split_special:
#   re.split(pattern, text) splits a text; with ( ) around the pattern it keeps the separators.
#   The pattern matches any of the special tokens: "a|b|c". But characters such as | have a
#   special meaning in a pattern: re.escape removes it.
#   "a|b" tries a first. So if one token is the beginning of another, which must come first?
#   Without special tokens, the whole text is the only part.

# %% test="10.7" points=2
# fmt: off
with Exercise("10.7", "split_special") as check:
    check.equal(lambda: split_special("One <end>\n two <end>.", ["<end>"]), ["One ", "<end>", "\n two ", "<end>", "."],
                "'One <end>\\n two <end>.', split at '<end>'",
                cause="re.split splits at every separator, and keeps those in a group: put ( ) around the"
                " pattern; keep spaces and capitals")
    check.equal(lambda: split_special("one<|end|>two", ["<|end|>"]), ["one", "<|end|>", "two"],
                "'one<|end|>two', split at '<|end|>'",
                cause="| means 'or' in a pattern: use re.escape")
    check.equal(lambda: split_special("a[x].+b.(x)xx", ["[x].+", ".(x)"]), ["a", "[x].+", "b", ".(x)", "xx"],
                "'a[x].+b.(x)xx', split at '[x].+' and '.(x)'",
                cause="many characters have a meaning in a pattern: use re.escape for each token")
    check.equal(lambda: split_special("1<s>>>2<s>>3<s>4", ["<s>>", "<s>", "<s>>>"]), ["1", "<s>>>", "2", "<s>>", "3", "<s>", "4"],
                "'1<s>>>2<s>>3<s>4', split at '<s>>', '<s>' and '<s>>>'",
                cause="the longest token must come first in the pattern: sort the tokens")
    check.equal(lambda: split_special("1<s>>2", ["<s>>", "<s>"]), ["1", "<s>>", "2"], "'1<s>>2', split at '<s>>' and '<s>'",
                cause="the longest token must come first in the pattern, whatever the order of the list")
    check.equal(lambda: split_special("<end><end>", ["<end>"]), ["", "<end>", "", "<end>", ""],
                "two special tokens and nothing else",
                cause="keep the empty parts: special tokens are at the odd indices")
    check.equal(lambda: split_special("<END>one", ["<end>"]), ["<END>one"], "'<END>one', split at '<end>'",
                cause="capitals matter: <END> is no special token")
    check.equal(lambda: split_special("one\n two", []) + split_special("one\n two", ["<end>"]), ["one\n two"] * 2,
                "'one\\n two', split at no special tokens and at '<end>'",
                cause="lines and spaces do not matter: a text without special tokens stays whole")
    check.equal(lambda: split_special("one<end>", []), ["one<end>"], "a text split at no special tokens",
                cause="an empty pattern splits everywhere")
    check.equal(lambda: [split_special("", []), split_special("", ["<end>"])], [[""], [""]], "an empty text, split at none and at '<end>'",
                cause="the whole text is the only part, also if it is empty")
    tokens = {"<s>": 257, "<s>>": 258}
    check.equal(lambda: split_special("a<s>>b", tokens), ["a", "<s>>", "b"], "'a<s>>b', split at the keys of a dictionary",
                cause="special_tokens is any iterable, such as the dictionary of BPETokenizer: sorted takes"
                " it, but it has no method sort")
    tokens = ["<s>", "<s>>"]
    check.equal(lambda: (split_special("a<s>b", tokens), tokens)[1], ["<s>", "<s>>"], "the list of special tokens after the call",
                cause="sorted returns a new list; do not sort the input in place")
# fmt: on

# %% [markdown]
# ## 10.8 The tokenizer
#
# All the parts are ready, and `BPETokenizer` puts them together. Its base class, `BPEVocabulary`, is
# given: it numbers the tokens, saves and loads them. Ids 0 to 255 are the bytes, followed by the
# merges, then the special tokens.
#
# Words repeat often: Tiny Shakespeare has about 20 times as many words as distinct ones. So each
# distinct word is encoded once: `_encode_word` stores its ids in `_cache`, and `encode` looks there
# first.

# %% given="10.8"
from tinytorch.tokenization import BPEVocabulary

# %% exercise="10.8" points=4
from tinytorch.tokenization import BPETokenizer

# BPETokenizer.train:
#   If vocab_size is given, self._checked_target(vocab_size) is the new self._target.
#   Count the words of all texts in a Counter: it has a method update.
#   texts_of(corpus) yields texts, and split_words splits a text into words.
#   Special tokens are not words: count only the plain text that split_special(...) returns.
#   Learn as many merges as fit: V includes the bytes and the special tokens.
#   self._set_merges(merges) numbers the tokens.
# BPETokenizer.encode:
#   checked_text(text) returns the text, or raises an error if it is not a str.
#   Split at the special tokens if they are allowed, otherwise at none.
#   A part at an odd index is a single id. Split a part at an even index into words.
#   self._cache holds the ids of words seen before; self._encode_word computes the others.
# BPETokenizer.decode:
#   As for characters, but self.vocab holds bytes: which function turns these into text?


# %% test="10.8" points=4
# fmt: off
def trained(corpus, V, special=()):
    bpe = BPETokenizer(V, special_tokens=special)
    bpe.train(corpus)
    return bpe

def retrained():
    bpe = trained("low low lower", 260)
    seen = [bpe.encode("low")]
    bpe.train("ab Ab ab", vocab_size=257)
    seen += [bpe.vocab[256:], bpe.encode("low")]
    bpe.train("cd cd")
    return [*seen, bpe.vocab[256:]]

def encoded_words(text):
    """The words for which _encode_word was called, when the text was encoded twice."""
    bpe, words = trained("low low lower", 260), []
    encode_word = bpe._encode_word
    bpe._encode_word = lambda word: words.append(word) or encode_word(word)
    bpe.encode(text)
    bpe.encode(text)
    return words

def encode_and_append(text):
    bpe = trained("low low lower", 260)
    for _ in range(3):
        bpe.encode(text).append(0)
    return bpe.encode(text)

with Exercise("10.8", "BPETokenizer") as check:
    song = "low low lower"
    check.equal(lambda: trained(song, 260).vocab[256:], [b"lo", b"low", b" low", b"er"],
                "the merged tokens of 'low low lower' for V = 260, as in the table",
                cause="260 tokens are 256 bytes and 4 merges; split_words keeps the space before a word, and"
                " every occurrence of a word counts")
    check.equal(lambda: trained(["ab", "ab", "cd", "cd", "cd"], 300).vocab[256:], [b"cd", b"ab"],
                "the merged tokens of the texts 'ab' (twice) and 'cd' (3 times) for V = 300",
                cause="the words of all texts count, each as often as it occurs; no word goes on in the next"
                " text")
    check.equal(lambda: trained((text for text in ["Ab", "Ab", "ab"]), 257).vocab[256:], [b"Ab"],
                "the merged token of a generator of 'Ab', 'Ab' and 'ab' for V = 257",
                cause="go through the texts only once; keep capitals")
    check.equal(lambda: trained(" no no no go", 257).vocab[256:], [b" n"], "the merged token of ' no no no go' for V = 257",
                cause="every occurrence of a word in a text counts")
    check.equal(lambda: trained("a b a b\na b", 258).vocab[256:], [b" b", b" a"], "the merged tokens of 'a b a b\\na b' for V = 258",
                cause="count the words that split_words returns, not texts or lines: no merge crosses from one"
                " word to the next")
    check.raises(ValueError, lambda: BPETokenizer(300, special_tokens=["<end>"]).train("a", vocab_size=256),
                 "training for V = 256 with a special token", message="vocab_size",
                 cause="self._checked_target(vocab_size) raises the error: 256 bytes and a special token are more")
    check.raises(TypeError, lambda: BPETokenizer(300).train(b"ab"), "training on bytes instead of a str",
                 message="a corpus is", cause="texts_of(corpus) raises the error")
    check.equal(lambda: BPETokenizer(300).train(song), None, "the return value of train", cause="it returns nothing")
    end = ["<end>"]
    check.equal(lambda: trained("<end>uv<end>uv<end>uvxy<end>", 259, end).vocab[256:], [b"uv", b"xy", b"<end>"],
                "the tokens with '<end>' for V = 259",
                cause="V includes special tokens, and nothing is learned from their characters")

    check.equal(lambda: trained(song, 260).encode("slow low Low"), [115, 257, 258, 32, 76, 111, 119],
                "the ids of 'slow low Low'",
                cause="plain text is at the even indices; the ids of its words form one flat list; encode"
                " every character as it is")
    check.equal(lambda: trained("sa sa", 257).encode("'sa"), [39, 115, 97], "the ids of \"'sa\", the words 's and a",
                cause="merges do not cross word boundaries: encode word by word")
    check.equal(lambda: [trained(song, 260).encode(""), type(trained(song, 260).encode("low")).__name__], [[], "list"],
                "the ids of an empty text, and the type of the ids of 'low'", cause="return a list, empty or not")
    bpe = check.call(lambda: trained("ab ab ab", 259, ["<pad>", "<end>"]), "a trained tokenizer", cause="look at train")
    check.equal(lambda: bpe.encode("ab<end>"), [256, 60, 101, 110, 100, 62], "the ids of 'ab<end>' as typed by a user",
                cause="special tokens are plain text unless allow_special is true")
    check.equal(lambda: bpe.encode("<end>"), [60, 101, 110, 100, 62], "the ids of '<end>' alone as typed by a user",
                cause="a part is a special token if its index is odd, whatever its text is")
    check.equal(lambda: bpe.encode("<end>ab<pad>", allow_special=True), [258, 256, 257],
                "the ids of '<end>ab<pad>' when special tokens are allowed",
                cause="self.special_tokens maps each special token to its id")
    check.equal(lambda: bpe.encode("ab<end>", allow_special=True), [256, 258],
                "the ids of 'ab<end>' when special tokens are allowed, after it was encoded as plain text",
                cause="one call of encode must not change the next")
    check.equal(lambda: bpe.encode("ab<end>"), [256, 60, 101, 110, 100, 62],
                "the ids of 'ab<end>' as typed by a user, after special tokens were allowed once",
                cause="one call of encode must not change the next")
    check.equal(lambda: [bpe.encode("ab ab"), bpe.encode("ab ab")], [[256, 32, 256]] * 2, "the ids of 'ab ab', twice",
                cause="start with a new list, and do not append to the list in the cache")
    check.equal(lambda: encode_and_append("low"), [257], "the ids of 'low', after the caller appended to earlier results",
                cause="do not return the list in the cache: build a new list")
    check.equal(lambda: [w for w, n in Counter(encoded_words("low low slow low")).items() if n > 1], [],
                "the words that are encoded more than once",
                cause="look in self._cache first, and call self._encode_word only for other words (in"
                " d.get(w, f(w)), f is called for every w)")
    check.raises(TypeError, lambda: trained(song, 260).encode(b"low"), "encoding bytes instead of a str",
                 message="encodes a str", cause="call checked_text(text) first")
    check.equal(retrained, [[257], [b"ab"], [108, 111, 119], [b"cd"]],
                "the ids of 'low', then after train('ab Ab ab', vocab_size=257) the merged tokens and the"
                " ids of 'low', and the merged tokens after train('cd cd')",
                cause="self._target = self._checked_target(vocab_size); self._set_merges(merges) replaces the"
                " old merges and empties the cache")

    check.equal(lambda: trained(song, 260).decode([115, 257, 258, 259]), "slow lower", "the text of ids 115, 257, 258, 259",
                cause="join the bytes of the tokens, with nothing between them")
    check.equal(lambda: bpe.decode(np.array([256, 258])), "ab<end>", "the text of an array of ids 256, 258",
                cause="self.vocab holds the special tokens too; use what checked_ids returns")
    check.equal(lambda: bpe.decode(i for i in [195, 169, 195]), "é\ufffd", "the text of a generator of ids 195, 169, 195",
                cause="join the bytes of all tokens before you decode them: use bytes_to_text")
    everything = "Naïve café, \u4e2d\u6587, \N{WATERMELON}!\n\n  12 o'clock\t"
    check.equal(lambda: bpe.decode(bpe.encode(everything)), everything, "a text after encode and decode",
                cause="no character may be lost or changed on its way")
    for bad in (-1, 259):
        check.raises(ValueError, lambda: bpe.decode([0, bad]), f"decoding id {bad} when V is 259",
                     cause="checked_ids raises the error: V is self.vocab_size, and ids are in [0, V)")
# fmt: on

# %% [markdown]
# ## Look at the tokens
#
# Here is the same sentence, tokenized in five ways. Each box is a token. The small vocabularies
# were trained on 30,000 characters of Shakespeare, the large one on all of it. Common words are
# single tokens, and rare words are split into pieces. `ï`, which Shakespeare never used, is split
# into bytes, but nothing is lost.

# %%
import tinytorch.tokenization as package


def visible(token):
    """A token as text, or as hexadecimal bytes if it is not valid UTF-8."""
    try:
        return token.decode().replace(" ", "\N{OPEN BOX}").replace("\n", "\\n")
    except UnicodeDecodeError:
        return token.hex()


def boxes(axes, y, tokens):
    """Draw tokens as boxes from left to right, in alternating colours."""
    x, middle = 0.0, {"ha": "center", "va": "center"}
    for number, token in enumerate(tokens):
        text = visible(token)
        width = len(text) + 0.5
        colour = plt.cm.Pastel1(number % 9)
        axes.add_patch(plt.Rectangle((x, y), width, 0.8, color=colour, linewidth=0))
        axes.text(x + width / 2, y + 0.36, text, family="monospace", size=9, **middle)
        x += width + 0.2
    return x


sentence = "My lord, the naïve king shall be banished."
small, large, largest = BPETokenizer(300), BPETokenizer(600), package.BPETokenizer(2000)
small.train(sample)
large.train(sample)
largest.train(shakespeare)  # all of it, with the package's faster code
rows = {
    "characters": [character.encode() for character in sentence],
    "bytes": [bytes([byte]) for byte in text_to_bytes(sentence)],
    "BPE, V = 300": [small.vocab[i] for i in small.encode(sentence)],
    "BPE, V = 600": [large.vocab[i] for i in large.encode(sentence)],
    "BPE, V = 2000, all of Shakespeare": [largest.vocab[i] for i in largest.encode(sentence)],
}
figure, axes = plt.subplots(figsize=(10, 4.2))
ends = []
for y, (name, pieces) in enumerate(rows.items()):
    ends.append(boxes(axes, -1.7 * y, pieces))
    axes.text(0, -1.7 * y + 1, f"{name}: {len(pieces)} tokens", size=9, weight="bold")
axes.set(xlim=(0, max(ends)), ylim=(-1.7 * len(rows) + 1.6, 1.5))
axes.axis("off")
figure.tight_layout()
plt.show()

# %% [markdown]
# How long are the tokens? A few are long words, the names of the speakers. Most have two to four
# characters.

# %%
long_tokens = sorted(large.vocab[256:], key=len)[-8:]
print([token.decode() for token in long_tokens])

figure, axes = plt.subplots(figsize=(6, 3))
for bpe, colour in ((large, "C0"), (small, "C1")):
    sizes = Counter(len(token) for token in bpe.vocab[256:])
    axes.bar(sizes.keys(), sizes.values(), color=colour, label=f"V = {bpe.vocab_size}")
axes.set(xlabel="bytes per token", ylabel="number of tokens", title="Length of merged tokens")
axes.legend()
figure.tight_layout()
plt.show()

# %% [markdown]
# ## Measure a tokenizer
#
# A tokenizer shortens the texts that it was trained on. How well it does on other texts is measured
# in **bytes per token**, because every text has bytes, and the worst case is one token per byte.

# %%
print(f"{'text':<12}  characters  bytes  tokens  bytes per token  characters per token")
for name, text in {
    "Shakespeare": shakespeare[-2000:],
    "English": "The server was updated last week. Please restart it, and call us if that fails.",
    "French": "Le petit chat noir dort sur la chaise près de la fenêtre, et rêve d'une souris.",
    "Python": "for i in range(10):\n    if x[i] % 2 == 0:\n        total += x[i]\n",
    "numbers": "3.14159265358979 2718281828 1000000 65536",
    "Chinese": "我喜欢读莎士比亚的戏剧。尤其是在下雨的晚上。",
}.items():
    counts = len(text), len(text.encode()), len(largest.encode(text))
    print(f"{name:<12}  {counts[0]:10,}  {counts[1]:5,}  {counts[2]:6,}", end="  ")
    print(f"{counts[1] / counts[2]:15.2f}  {counts[0] / counts[2]:20.2f}")

# %% [markdown]
# Merges of English help French a little, code hardly, and numbers and Chinese not at all: without a
# fitting merge, each byte is a token. Where tokens are paid for, or the context is limited, such texts
# cost several times as much. That is why GPT-4 and Llama 3 learned their merges from many
# languages and from code, with 100,000 tokens and more.
#
# ## Batches of texts
#
# A batch is one array of shape (B, T), so all its texts need the same number of tokens. Longer texts
# are **truncated**, shorter ones **padded** with a special token that the loss ignores. Both have a
# price:

# %%
padded = package.BPETokenizer(600, special_tokens=["<pad>"])
padded.train(sample)
pad = padded.special_tokens["<pad>"]
lines = [padded.encode(line) for line in sample.splitlines() if line]
print("   T  tokens cut off  padding in the batch")
for T in (8, 16, 32):
    batch = np.array([ids[:T] + [pad] * (T - len(ids)) for ids in lines])  # (B, T)
    lost = 1 - (batch != pad).sum() / sum(map(len, lines))
    print(f"{T:4}  {lost:14.0%}  {(batch == pad).mean():20.0%}")
print("\nthe first rows for T = 8:", batch[:3, :8], sep="\n")

# %% [markdown]
# GPTs avoid both: all texts are joined, with `<|endoftext|>` between them, and cut into blocks of
# `T` tokens. `tinytorch.dataloader.TokenDataset` does that. Padding is needed where each text is
# processed by itself, as when several prompts are continued at once.
#
# ## Systems: what a large vocabulary costs and saves
#
# A larger vocabulary makes texts shorter: attention over `T` tokens computes `T * T` scores, and a
# model with a context of 256 tokens sees more text. But each token needs its own vector in the
# embedding table (lesson 11): `V * C` numbers of 4 bytes. And the last layer computes a score for
# every token of the vocabulary, at every position.
#
# Learning 4,000 merges from a larger text with the readable code would take more than a minute, so
# the package has faster code; more about that below. A trained tokenizer contains all smaller ones:
# its first `n` merges are exactly what a tokenizer with `n` merges would have learned.

# %%
C = 384
text = shakespeare[:300_000]
print(f"    V  tokens in the text  characters per token  context of 256  embedding, C = {C}")
costs = []
for V in (256, 512, 1024, 2048, 4096):
    pieces = package.BPETokenizer(V)
    pieces.train(text)
    T = len(pieces.encode(text))
    costs.append((V, T, 4 * V * C / 2**20))
    each, table = len(text) / T, costs[-1][2]
    print(f"{V:5}  {T:18,}  {each:20.2f}  {256 * each:8.0f} chars  {table:13.2f} MiB")

figure, left = plt.subplots(figsize=(7, 3.5))
sizes, lengths, memory = zip(*costs, strict=True)
left.plot(sizes, lengths, "o-", color="C0")
left.set(xlabel="vocabulary V", ylim=(0, None), xscale="log", xticks=sizes, xticklabels=sizes)
left.minorticks_off()
left.set_ylabel("tokens in the text", color="C0")
right = left.twinx()
right.plot(sizes, memory, "s--", color="C1")
right.set_ylabel("embedding table, MiB", color="C1")
right.set_ylim(0, None)
left.set_title("Doubling the vocabulary doubles the table, but does not halve the text")
figure.tight_layout()
plt.show()

# %% [markdown]
# ### Time
#
# Your `learn_merges` counts **all** pairs again for **each** merge: the time grows with the length
# of the text times the number of merges. But a merge changes only the few positions where its pair
# occurs. `tinytorch/text/fast_bpe.py` takes advantage of that:
#
# - the tokens form a *linked list*, so a merge is done in place, without copying the rest;
# - the positions of each pair are stored, so a merge visits only these;
# - the counts are updated at these positions, and a *heap* keeps the largest count on top.
#
# Both learn the same merges; tests compare them on random texts. How does the time grow?

# %%
import time

from tinytorch.text import fast_bpe as fast

readable = getattr(learn_merges, "__wrapped__", learn_merges)  # in a notebook: your own function
print("characters  merges  readable      fast")
for size, count in ((10_000, 100), (10_000, 200), (20_000, 200), (40_000, 200)):
    words = Counter(split_words(shakespeare[:size]))
    times = []
    for function in (readable, fast.learn_merges):
        start = time.perf_counter()
        learned = function(words, count)
        times.append(time.perf_counter() - start)
    print(f"{size:10,}  {count:6}  {times[0]:6.3f} s  {times[1]:6.3f} s")

start = time.perf_counter()
package.BPETokenizer(1024).train(shakespeare)
print(f"fast, all of Shakespeare, V = 1024: {time.perf_counter() - start:.2f} s")

# %% [markdown]
# That is what `@accelerated` is for. In the package, your function is the **reference**: the code
# that people read, and that tests compare the fast code with. The work is done by the function of
# the same name in `tinytorch/text/fast_bpe.py`. Ops work the same way: their kernels are in
# `backends/`.
#
# ## In other libraries
#
# PyTorch itself has no tokenizer; people use a separate library.
#
# | | here | tiktoken (OpenAI) | tokenizers (Hugging Face) |
# |---|---|---|---|
# | create | `BPETokenizer(V)` | `tiktoken.get_encoding("gpt2")` | `ByteLevelBPETokenizer()` |
# | train | `train(text)` | not possible | `train_from_iterator(texts, V)` |
# | encode | `encode(text)` | `encode(text)` | `encode(text).ids` |
# | special tokens | `allow_special=True` | `allowed_special={...}` | `add_special_tokens(...)` |
# | written in | Python | Rust | Rust |
#
# The algorithm is the same in all three. `BPETokenizer.from_gpt2` reads the two files released with
# GPT-2 and produces the same ids as GPT-2. SentencePiece (Llama 2) starts from characters, and uses
# bytes only for unknown ones.
#
# ## Questions to think about
#
# 1. GPT-2's vocabulary has 50,257 tokens. How many of them are merges? What are the others?
# 2. How `encode("12345")` splits the number depends on which numbers were frequent in training. Why
#    might that make arithmetic hard for a model?
# 3. A Chinese character takes three bytes. If a tokenizer was trained on English only, how much
#    does a Chinese text cost, compared with an English one of the same number of characters?
# 4. Two models use different tokenizers. Why can you not compare their losses per token? What could
#    you compare instead?
# 5. Is `encode(a) + encode(b)` the same as `encode(a + b)`? Find two texts for which it is not.

# %% [markdown] instructor=true
# ### Answers, for the instructor
#
# Two points each: one for the answer, one for the reason.
#
# 1. 50,000 merges; the others are the 256 bytes and `<|endoftext|>`: 256 + 50,000 + 1 = 50,257.
# 2. It may become `123 45`, `1 234 5` or five digits, so the same digit is in different tokens, and a
#    token says nothing about the place value of its digits. The model has to learn for each token
#    which digits it has; Llama 2 splits numbers into digits for that reason, GPT-4 into groups of
#    at most three.
# 3. Three tokens per character, since no merge fits; English text has about three characters per
#    token. So it costs eight to ten times as much: divide the last columns of the table under
#    "Measure a tokenizer".
# 4. A loss per token is an average over tokens, and these differ in length: a tokenizer with longer
#    tokens has fewer of them, each harder to predict. Compare the loss per character or per byte: the
#    sum of all losses, divided by the number of bytes. In base 2, that is *bits per byte*.
# 5. No: a merge may cross the seam. With the merges of the table, `lo` and `w` are 256 and 119, but
#    `low` is 257. Words too: `split_words("a" + " b")` and `split_words("a ") + split_words("b")`
#    differ. (A common wrong answer: "yes, because words are encoded one by one".)
#
# What students find hard: in 10.3, how a *minimum* finds the most frequent pair (let them write the
# keys of three pairs on paper); in 10.6, why the leftmost pair must not be merged first (let them
# encode `abc` by both rules); in 10.8, why `ids` must not be the list in the cache.

# %% [markdown]
# ## What comes next
#
# Ids are only names, and a network cannot compute with names. Lesson 11 gives each id a vector, and
# each position in the text as well.
