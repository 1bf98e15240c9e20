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
# A network computes with numbers, and a text is no number. Before a language model sees anything,
# something must cut the text into pieces, **tokens**, and give each kind of piece a number, its
# **id**. What the model writes comes back as ids, and must become text again.
#
# Where to cut? Each way has its price:
#
# | tokens are | how many kinds (`V`) | length of a text (`T`) | what cannot be written |
# |---|---|---|---|
# | characters | as many as the text has; 65 in Shakespeare | long | characters that were not in the text |
# | bytes | 256, always | longest | nothing |
# | words | hundreds of thousands | short | every new word, every typing error |
# | **byte pairs** (BPE) | as many as you like | short | nothing |
#
# The last row is what GPT-2, GPT-4 and Llama 3 use. You will build the first row, then the second,
# and from the second the last.

# %% setup=true
import codecs
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tinytorch.text.fast_bpe import CharTable, accelerated
from tinytorch.text.gpt2_files import Vocabulary, read_gpt2, read_vocabulary, write_vocabulary
from tinytorch.tito.checks import Exercise
from tinytorch.tokenization import Ids, Pair, Tokenizer, split_words
from tinytorch.text.tokenizer import checked_ids, texts_of

# %% [markdown]
# ## The idea, by hand
#
# `V` is the size of the vocabulary, `T` the number of tokens of a text. A text becomes a list of
# `T` ids, each in [0, V).

# %%
text = "hello"
vocab = sorted(set(text))
ids = [vocab.index(character) for character in text]
print("vocabulary, V = 4:", vocab)
print("ids,        T = 5:", ids)
print("back again:      ", "".join(vocab[i] for i in ids))

# %% [markdown]
# ## 10.1 One id for each character
#
# `CharTokenizer` does just that, with a dictionary for each direction. Some of the class is there
# already: `_set_vocab` makes the dictionaries, and `_stranger` decides what happens to a character
# that is not in the vocabulary.
#
# Write the three methods that are blank. Two things to watch:
#
# - Sort the characters. A set has another order in every run of Python. A model that was trained
#   with one order reads nonsense with another.
# - In Python `vocab[-1]` is the last entry. An id of -1 is a bug somewhere in the model, and better
#   refused than decoded.

# %% exercise="10.1" points=3
from tinytorch.tokenization import CharTokenizer

# CharTokenizer.build_vocab:
#   texts_of(corpus) gives texts one by one, be the corpus one text or many.
#   Collect the characters of all of them in a set. Sort it.
#   self._set_vocab does the rest.
# CharTokenizer.encode:
#   self.char_to_id has the id of each character that is known.
#   For any other: self._stranger(character, text) returns its id, or raises the error.
# CharTokenizer.decode:
#   checked_ids(ids, self.vocab_size) gives plain integers, or refuses.
#   self.id_to_char has the characters.

# %% test="10.1" points=3
with Exercise("10.1", "CharTokenizer") as check:
    tokenizer = CharTokenizer()
    check.equal(lambda: tokenizer.build_vocab("sphinx of quartz"), None, "what build_vocab returns",
                cause="it only keeps the vocabulary; and a character is in it once, so use a set")  # fmt: skip
    check.equal(tokenizer.vocab, list(" afhinopqrstuxz"), "the vocabulary of 'sphinx of quartz'",
                cause="each character once, in sorted order: a set alone has no order")  # fmt: skip
    tokenizer.build_vocab(["ba", "cab"])
    check.equal(tokenizer.vocab, ["a", "b", "c"], "the vocabulary of the two texts 'ba' and 'cab'",
                cause="the characters of all texts, each once")  # fmt: skip
    tokenizer.build_vocab(["dad", "cab"])
    check.equal(tokenizer.vocab, ["a", "b", "c", "d"], "the vocabulary of 'dad' and 'cab'",
                cause="the first text's characters count too: do not begin anew with each text")  # fmt: skip
    tokenizer = CharTokenizer(["e", "h", "l", "o"])
    check.equal(tokenizer.encode("hole"), [1, 3, 2, 0], "the ids of 'hole', of e h l o",
                cause="ids begin at 0, in the order of the vocabulary")  # fmt: skip
    check.equal(tokenizer.decode([1, 3, 2, 0]), "hole", "the text of 1, 3, 2, 0",
                cause="one string, with nothing between the characters")  # fmt: skip
    check.equal(tokenizer.decode(np.array([3, 1])), "oh", "the text of an array of ids")
    check.equal(tokenizer.encode(""), [], "the ids of no text")
    check.raises(ValueError, lambda: tokenizer.encode("help"), "'p', which the vocabulary lacks",
                 cause="ask self._stranger; leaving a character out loses text silently")  # fmt: skip
    check.raises(ValueError, lambda: tokenizer.decode([-1]), "the id -1",
                 cause="checked_ids refuses it")  # fmt: skip
    check.raises(ValueError, lambda: tokenizer.decode([4]), "the id 4 where V is 4")
    tokenizer = CharTokenizer(["a", "b"], unknown="<unk>")
    check.equal(tokenizer.encode("abc"), [1, 2, 0], "the ids of 'abc', of <unk> a b",
                cause="'c' is unknown: self._stranger returns its id, 0")  # fmt: skip
    check.equal(tokenizer.decode([1, 0]), "a<unk>", "the text of 1, 0, of <unk> a b")

# %% [markdown]
# Now on real text. This loads Tiny Shakespeare: about a million characters from nine plays.

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
# There are 150,000 characters in Unicode, and each may turn up one day. But a file holds **bytes**,
# and there are only 256 of those. **UTF-8** is the rule that writes a character as bytes: one byte
# for each letter of English, up to four for others.
#
# | character | code point, `ord(c)` | bytes in UTF-8 |
# |---|---|---|
# | `a` | 97 | 97 |
# | `é` | 233 | 195 169 |
# | `中` | 20013 | 228 184 173 |
#
# So with 256 tokens everything can be written. The price: a token may be *half a character*. Whoever
# decodes must first join the bytes of all tokens, and then read them.

# %% exercise="10.2" points=2
from tinytorch.tokenization import bytes_to_text, text_to_bytes

# text_to_bytes:
#   A str has a method that gives its bytes in an encoding.
#   list(...) of a bytes object is a list of integers.
# bytes_to_text:
#   First join all tokens (b"".join), then decode once: a character may be spread over tokens.
#   The method's argument `errors` says what to do with bytes that are no UTF-8: replace them.

# %% test="10.2" points=2
with Exercise("10.2", "text_to_bytes and bytes_to_text") as check:
    check.equal(text_to_bytes("hi"), [104, 105], "the bytes of 'hi'",
                cause="a list of integers, not a bytes object; and UTF-8, not UTF-16")  # fmt: skip
    check.equal(text_to_bytes("é"), [195, 169], "the bytes of 'é'",
                cause="ord() gives code points; UTF-8 takes two bytes for this character")  # fmt: skip
    check.equal(text_to_bytes("中"), [228, 184, 173], "the bytes of '中'")
    check.equal(len(text_to_bytes("\N{WATERMELON}")), 4, "how many bytes a watermelon has")
    check.equal(text_to_bytes(""), [], "the bytes of no text")
    check.equal(bytes_to_text([b"h", b"i"]), "hi", "the text of b'h', b'i'")
    check.equal(bytes_to_text([b"n", b"\xc3", b"\xa9"]), "né", "'é' in two tokens",
                cause="join the tokens first, then decode: half a character is no character")  # fmt: skip
    check.equal(lambda: bytes_to_text([b"\xc3", b"a"]), "\ufffda", "the text of half of an 'é', then 'a'",
                cause="errors='replace': a model may write anything, and that must not fail,"
                " nor disappear")  # fmt: skip
    check.equal(bytes_to_text(token for token in [b"o", b"k"]), "ok", "tokens from a generator")

# %%
for character in "aé中\N{WATERMELON}":
    print(ascii(character), "->", " ".join(f"{byte:3}" for byte in text_to_bytes(character)))

# %% [markdown]
# ## Merging what often stands together
#
# With bytes all text can be written, but it is long, and a model sees only a few hundred tokens at a
# time. **Byte-pair encoding** shortens it. It looks for the pair of neighbours that occurs most
# often, makes a new token of it, and does the same again. By hand, on `low low lower`:
#
# | step | most frequent pair | new token | the text |
# |---|---|---|---|
# | start | | | `l o w · l o w · l o w e r` |
# | 1 | `l o`, 3 times | `lo` = 256 | `lo w · lo w · lo w e r` |
# | 2 | `lo w`, 3 times | `low` = 257 | `low · low · low e r` |
# | 3 | `e r`, once | `er` = 258 | `low · low · low er` |
#
# The dots stand between words, and pairs are counted **within words** only. Otherwise `dog.` and
# `dog!` and `the dog` would each take a token of their own. `split_words` cuts a text like GPT-2. The
# space belongs to the word that follows, so joining the words gives the text back:

# %%
print(split_words("The dog's bone, 12 bones!"))

# %% [markdown]
# ## 10.3 Count pairs
#
# A word that occurs 1,000 times need not be counted 1,000 times: keep it once, with a number. So
# `words` is a list such as `[([108, 111, 119], 2), ...]`: the ids of a word, and how often it occurs.
#
# When two pairs are equally frequent, any rule would do, but there must *be* a rule. Else the same
# text gives different tokenizers on different days. Ours: the pair with the smaller ids. Tuples
# compare from left to right, so `(7, 8) < (7, 9) < (8, 0)`.

# %% exercise="10.3" points=3
from tinytorch.tokenization import count_pairs, most_frequent

# count_pairs:
#   pairwise([1, 2, 3]) gives (1, 2) and (2, 3).
#   A Counter begins every key at 0, so you can add to it at once. How much does a word count?
# most_frequent:
#   min takes a key: a function of a pair. Give it one whose smallest value is the pair you want:
#   a tuple of two things, of which the first is the count with a minus sign.

# %% test="10.3" points=3
with Exercise("10.3", "count_pairs and most_frequent") as check:
    check.equal(dict(count_pairs([([1, 2, 3], 1)])), {(1, 2): 1, (2, 3): 1}, "the pairs of 1 2 3",
                cause="each token with the one right after it")  # fmt: skip
    check.equal(dict(count_pairs([([2, 1, 2], 1)])), {(2, 1): 1, (1, 2): 1}, "the pairs of 2 1 2",
                cause="(1, 2) and (2, 1) are different pairs: order matters")  # fmt: skip
    check.equal(dict(count_pairs([([7, 8], 10)])), {(7, 8): 10}, "a word that occurs 10 times",
                cause="a pair counts as often as its word occurs")  # fmt: skip
    check.equal(dict(count_pairs([([7, 8, 7, 8], 5), ([7, 8], 1)])), {(7, 8): 11, (8, 7): 5},
                "the pairs of 7 8 7 8, 5 times, and of 7 8, once",
                cause="add up over places and words; nothing crosses from word to word")  # fmt: skip
    check.equal(dict(count_pairs([([5, 5, 5], 1)])), {(5, 5): 2}, "the pairs of 5 5 5")
    check.equal(dict(count_pairs([([4], 9), ([], 9)])), {}, "words of one token and of none")
    check.equal(most_frequent({(1, 2): 1, (3, 4): 5, (5, 6): 2}), (3, 4), "the most frequent pair",
                cause="min with the count as it is finds the rarest pair")  # fmt: skip
    check.equal(most_frequent({(7, 9): 3, (7, 8): 3, (8, 0): 3, (1, 2): 1}), (7, 8),
                "the pair among three that occur 3 times each",
                cause="among equals the one with the smallest ids")  # fmt: skip

# %% [markdown]
# ## 10.4 Merge a pair
#
# Go through the ids from left to right and copy them, with the new token wherever the pair stands.
#
# Mind the **overlap**: in `7 7 7` the pair `7 7` stands at places 0 and 1, but both want the token in
# the middle. The first one takes it: `7 7 7` becomes `256 7`. After a merge both of its tokens are
# used up.

# %% exercise="10.4" points=3
from tinytorch.tokenization import merge_pair

# merge_pair:
#   A new list, and a place that moves along ids in a while loop.
#   Does the pair stand at this place? Then the place moves on by more than one.
#   A slice may reach past the end of a list without an error; an index may not.
#   Do not change ids: somebody else may still need them.

# %% test="10.4" points=3
with Exercise("10.4", "merge_pair") as check:
    check.equal(lambda: merge_pair([3, 1, 2], (1, 2), 256), [3, 256], "1 2 merged in 3 1 2",
                cause="one new token in place of both; and a list is never equal to a tuple")  # fmt: skip
    check.equal(lambda: merge_pair([1, 2, 3], (1, 2), 256), [256, 3], "1 2 merged in 1 2 3",
                cause="the last token has no neighbour, and stays: ids[place + 1] is an error there,"
                " a slice is not")  # fmt: skip
    check.equal(merge_pair([1, 2, 1], (1, 2), 256), [256, 1], "1 2 merged in 1 2 1",
                cause="both tokens of the pair must be there")  # fmt: skip
    check.equal(merge_pair([1, 2, 5, 1, 2], (1, 2), 300), [300, 5, 300], "1 2 merged in 1 2 5 1 2",
                cause="everywhere, not only the first time")  # fmt: skip
    check.equal(merge_pair([2, 1, 1, 3], (1, 2), 256), [2, 1, 1, 3], "1 2 merged in 2 1 1 3",
                cause="the tokens of the pair must be there in this order")  # fmt: skip
    check.equal(merge_pair([7, 7, 7], (7, 7), 256), [256, 7], "7 7 merged in 7 7 7",
                cause="pairs overlap: after a merge go on behind both tokens, from left to right")  # fmt: skip
    check.equal(merge_pair([7, 7, 7, 7], (7, 7), 256), [256, 256], "7 7 merged in 7 7 7 7")
    check.equal(merge_pair([], (1, 2), 256), [], "no ids at all")
    ids = [1, 2, 3]
    merge_pair(ids, (1, 2), 256)
    check.equal(ids, [1, 2, 3], "the ids that were given, afterwards",
                cause="build a new list; do not change the one that was given")  # fmt: skip

# %% [markdown]
# ## 10.5 Learn the merges
#
# Now the algorithm of the table above. What is learned is a list of pairs, and the order is part of
# it: merge number 0 makes token 256, merge number 1 makes token 257. A pair may hold tokens that
# earlier merges have made, so tokens grow.
#
# The decorator `@accelerated` above the function is explained at the end of the lesson. Here, in the
# notebook, your function runs as you write it.

# %% exercise="10.5" points=4
from tinytorch.tokenization import learn_merges

# learn_merges:
#   Begin with the bytes of each word, and how often the word occurs: what count_pairs takes.
#   Then again and again: count, choose, merge in all words, remember the pair.
#   The counts of a step hold only for that step: a merge changes them.
#   Stop when there are enough merges, or when no pair is left.

# %% test="10.5" points=4
with Exercise("10.5", "learn_merges") as check:
    check.equal(learn_merges({"low": 2, "lower": 1}, 1), [(108, 111)],
                "the first merge of 'low', twice, and 'lower': l o, which is 108 111",
                cause="as many merges as asked for, and each a pair of ids")  # fmt: skip
    check.equal(learn_merges({"low": 2, "lower": 1}, 4),
                [(108, 111), (256, 119), (101, 114), (257, 258)],
                "the merges of 'low', twice, and 'lower': l o, lo w, e r, low er",
                cause="the first merge makes token 256, the next one 257; after each merge count"
                " again, in the merged words, down to pairs that occur once")  # fmt: skip
    check.equal(learn_merges({"ab": 1, "cd": 4, "ef": 2}, 2), [(99, 100), (101, 102)],
                "two merges where 'ab' occurs once, 'cd' 4 times and 'ef' twice: c d, e f",
                cause="a word counts as often as it occurs, after each merge too")  # fmt: skip
    check.equal(lambda: learn_merges({"aaaa": 1}, 9), [(97, 97), (256, 256)], "all merges of 'aaaa'",
                cause="when all words are one token each, no pair is left: stop")  # fmt: skip
    check.equal(learn_merges({"ab": 1}, 5), [(97, 98)], "all merges of 'ab', which occurs once",
                cause="a pair that occurs once is a pair")  # fmt: skip
    check.equal(learn_merges({"é": 1}, 1), [(195, 169)], "the first merge of 'é'",
                cause="start from the bytes of the word")  # fmt: skip
    check.equal(learn_merges({"low": 1}, 0), [], "no merges where none are asked for")

# %% [markdown]
# What does it learn from Shakespeare? The first merges, and what they do to the length of the text:

# %%
import matplotlib.pyplot as plt

sample = shakespeare[:30_000]
words = Counter(split_words(sample))
merges = learn_merges(words, 200)

tokens = [bytes([byte]) for byte in range(256)]  # what each id stands for
for left, right in merges:
    tokens.append(tokens[left] + tokens[right])
print("first:", tokens[256:272])
print("last: ", tokens[-12:])

lengths = []  # tokens of the whole sample, after each merge
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
# A new word is encoded by the same merges, **in the order in which they were learned**. Say, the
# rules are
#
# | rank | pair | token |
# |---|---|---|
# | 0 | `b c` | `bc` |
# | 1 | `a b` | `ab` |
#
# Then `a b c` becomes `a bc`, and not `ab c`, although `a b` comes first in the word. Why does it
# matter? In training `bc` was merged first as well. The model has seen these tokens, so it should
# get them again.
#
# So: of all pairs in the word that have a rule, take the one with the smallest rank, merge it, and
# look again, until there is none. `rules[pair]` is `(rank, token)`.

# %% exercise="10.6" points=3
from tinytorch.tokenization import apply_merges

# apply_merges:
#   Which of the word's pairs have a rule? If none has: done.
#   Which of these has the smallest rank? rules[pair] begins with it.
#   Merge that pair, with the token that its rule names, and begin again with the new ids.

# %% test="10.6" points=3
with Exercise("10.6", "apply_merges") as check:
    a, b, c, d = b"abcd"
    rules = {(b, c): (0, 256), (a, b): (1, 257), (256, d): (2, 258), (a, 258): (3, 259)}
    check.equal(apply_merges([c, d], rules), [c, d], "'cd', where no rule applies")
    check.equal(apply_merges([a, b], rules), [257], "'ab' by the rule of rank 1",
                cause="the rule's second number is the token")  # fmt: skip
    check.equal(apply_merges([a, b, c], rules), [a, 256], "'abc', where b c has rank 0 and a b rank 1",
                cause="the pair that was learned first goes first, wherever it stands")  # fmt: skip
    check.equal(apply_merges([a, b, c, d], rules), [259], "'abcd', in three merges",
                cause="a merge makes new pairs: go on until no rule applies")  # fmt: skip
    check.equal(apply_merges([b, c, a, b, c, b], rules), [256, a, 256, b], "'bcabcb'",
                cause="the pair is merged everywhere in the word")  # fmt: skip
    check.equal(apply_merges([a, b], {(a, b): (0, 7), (a, a): (1, 3)}), [7], "'ab' by the rule (0, 7)",
                cause="take the token from the rule: in GPT-2's files it is not always 256 + rank")  # fmt: skip
    check.equal(apply_merges([], rules), [], "no ids at all")

# %% [markdown]
# ## 10.7 Special tokens
#
# Some tokens are no text but signs for the model: `<|endoftext|>` stands between two documents and
# says *forget what was before*. Such a token is never cut and never merged. So the text is cut at
# special tokens first: plain text at places 0, 2, 4, ... and special tokens at places 1, 3, 5, ...
#
# One question of safety. If a user types `<|endoftext|>` into a chat, should the model see the sign,
# or the 13 characters? The characters. So `encode` will take special tokens for plain text unless it
# is told otherwise.

# %% exercise="10.7" points=2
from tinytorch.tokenization import split_special

# split_special:
#   re.split(pattern, text) cuts a text; with the whole pattern in ( ) it keeps what it cut at.
#   The pattern: one special token or the other, "a|b|c". But | and others have a meaning in it:
#   re.escape takes that away.
#   "a|b" tries a first. So which of two tokens must come first if one begins with the other?
#   No special tokens: the whole text is the only part.

# %% test="10.7" points=2
with Exercise("10.7", "split_special") as check:
    check.equal(split_special("one<end>two", ["<end>"]), ["one", "<end>", "two"],
                "'one<end>two', cut at '<end>'",
                cause="re.split keeps what stands in a group: put ( ) around the pattern")  # fmt: skip
    check.equal(split_special("one<|end|>two", ["<|end|>"]), ["one", "<|end|>", "two"],
                "'one<|end|>two', cut at '<|end|>'",
                cause="| means 'or' in a pattern: use re.escape")  # fmt: skip
    check.equal(split_special("1<s>>2<s>3", ["<s>", "<s>>"]), ["1", "<s>>", "2", "<s>", "3"],
                "'1<s>>2<s>3', cut at '<s>' and '<s>>'",
                cause="the longer of two tokens must come first in the pattern")  # fmt: skip
    check.equal(split_special("<end><end>", ["<end>"]), ["", "<end>", "", "<end>", ""],
                "two special tokens and nothing else",
                cause="keep the empty parts: special tokens stand at the odd places")  # fmt: skip
    check.equal(split_special("one<end>", []), ["one<end>"], "a text without special tokens",
                cause="an empty pattern cuts everywhere")  # fmt: skip

# %% [markdown]
# ## 10.8 The tokenizer
#
# All parts are there. `BPETokenizer` puts them together; numbering the tokens, saving and loading
# are given. Ids 0 to 255 are the bytes, then come the merges, then the special tokens.
#
# Words come again and again. So `_encode_word` keeps the ids of each word that it has met: the
# 300,000 words of Tiny Shakespeare are only 15,000 different ones.

# %% exercise="10.8" points=4
from tinytorch.tokenization import BPETokenizer

# BPETokenizer.train:
#   If there is a vocab_size, self._checked_target(vocab_size) is the new self._target.
#   Count the words of all texts in a Counter: it has a method update.
#   texts_of(corpus) gives texts, split_words the words of a text.
#   Special tokens in a text are no words: of split_special(...) only the plain text counts.
#   Learn as many merges as there is room for: V counts bytes and special tokens too.
#   self._set_merges(merges) numbers the tokens.
# BPETokenizer.encode:
#   Cut at the special tokens if they are allowed, else at none.
#   A part at an odd place is one id. Of a part at an even place take the words.
#   self._cache has the ids of words that were there before; self._encode_word makes others.
# BPETokenizer.decode:
#   As for characters, but self.vocab holds bytes: which function makes text of these?

# %% test="10.8" points=4
with Exercise("10.8", "BPETokenizer") as check:
    song = "low lower lowest"
    bpe = BPETokenizer(258)
    bpe.train(song)
    check.equal(bpe.vocab[256:], [b"lo", b"low"], "the merges that V = 258 has room for",
                cause="258 tokens are 256 bytes and 2 merges")  # fmt: skip
    check.equal(lambda: bpe.encode("slow"), [115, 257], "the ids of 'slow'",
                cause="plain text stands at the even places; its words' ids go into one flat list")  # fmt: skip
    check.equal(bpe.decode([115, 257]), "slow", "the text of 115, 257")
    bpe.train(["ab ab", "cd cd cd"], vocab_size=257)
    check.equal(bpe.vocab[256:], [b"cd"], "what is learned from 2 times 'ab' and 3 times 'cd'",
                cause="the words of all texts count, each as often as it occurs")  # fmt: skip
    check.equal(bpe.vocab_size, 257, "V after train(..., vocab_size=257)",
                cause="self._target = self._checked_target(vocab_size)")  # fmt: skip
    bpe = BPETokenizer(257)
    bpe.train("sa sa")
    check.equal(bpe.encode("sa"), [256], "the ids of 'sa', after training on it")
    check.equal(bpe.encode("'sa"), [39, 115, 97], "the ids of \"'sa\", the words 's and a",
                cause="merges do not cross words: encode word by word")  # fmt: skip
    bpe = BPETokenizer(259, special_tokens=["<end>"])
    bpe.train("<end>ab<end>ab<end>abcd<end>")
    check.equal(bpe.vocab[256:], [b"ab", b"cd", b"<end>"], "the tokens with '<end>', V = 259",
                cause="special tokens count in V, and nothing is learned from their characters")  # fmt: skip
    check.equal(bpe.encode("ab<end>", allow_special=True), [256, 258],
                "the ids of 'ab<end>' where special tokens are allowed",
                cause="self.special_tokens has the id of a special token")  # fmt: skip
    check.equal(bpe.encode("ab<end>"), [256, 60, 101, 110, 100, 62], "'ab<end>' as a user types it",
                cause="special tokens are plain text unless allow_special")  # fmt: skip
    check.equal(bpe.decode([256, 258]), "ab<end>", "the text of 256, 258")
    everything = "naïve café, \u4e2d\u6587, \N{WATERMELON}!\n\n  12 o'clock\t"
    check.equal(bpe.decode(bpe.encode(everything)), everything, "text in, ids, and text again",
                cause="join the bytes of all tokens before they become text")  # fmt: skip
    check.raises(ValueError, lambda: bpe.decode([-1]), "the id -1", cause="use checked_ids")
    check.raises(ValueError, lambda: bpe.decode([259]), "the id 259 where V is 259")

# %% [markdown]
# ## Look at it
#
# The same sentence, cut in five ways. Each box is a token. The small vocabularies were learned from
# 30,000 characters of Shakespeare, the large one from all of it. Common words are whole, rare ones
# fall into pieces. What Shakespeare never wrote, `ï`, falls into bytes, but nothing is lost.

# %%
import tinytorch.tokenization as package


def visible(token):
    """A token as text, or its bytes as hexadecimal numbers if it is no text."""
    try:
        return token.decode().replace(" ", "\N{OPEN BOX}").replace("\n", "\\n")
    except UnicodeDecodeError:
        return token.hex()


def boxes(axes, y, tokens):
    """Draw tokens as boxes from left to right, in colours by turns."""
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
largest.train(shakespeare)  # all of it: the package's is faster
rows = {
    "characters": [character.encode() for character in sentence],
    "bytes": [bytes([byte]) for byte in text_to_bytes(sentence)],
    "BPE, V = 300": [small.vocab[i] for i in small.encode(sentence)],
    "BPE, V = 600": [large.vocab[i] for i in large.encode(sentence)],
    "BPE, V = 2000, from all of Shakespeare": [largest.vocab[i] for i in largest.encode(sentence)],
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
# How long are the tokens? A few are long words: the names of those who speak. Most have two to four
# characters.

# %%
long_tokens = sorted(large.vocab[256:], key=len)[-8:]
print([token.decode() for token in long_tokens])

figure, axes = plt.subplots(figsize=(6, 3))
for bpe, colour in ((large, "C0"), (small, "C1")):
    sizes = Counter(len(token) for token in bpe.vocab[256:])
    axes.bar(sizes.keys(), sizes.values(), color=colour, label=f"V = {bpe.vocab_size}")
axes.set(xlabel="bytes in a token", ylabel="tokens", title="Tokens that merges made, by length")
axes.legend()
figure.tight_layout()
plt.show()

# %% [markdown]
# ## Systems: what a large vocabulary costs and saves
#
# A larger vocabulary makes texts shorter: attention over `T` tokens has `T * T` scores, and a model
# with room for 256 tokens sees more text. But each token needs a vector of its own in the embedding
# table (lesson 11): `V * C` numbers of 4 bytes. And the last layer computes a score for every token
# of the vocabulary, at every place.
#
# Learning 4,000 merges from a larger text with the readable code would take more than a minute. So the
# package has a faster one; more about that below. A trained tokenizer holds all smaller ones: the first `n`
# merges are what a tokenizer with `n` merges would have learned.

# %%
C = 384
text = shakespeare[:300_000]
print(f"    V  tokens of the text  characters per token  context of 256  embedding, C = {C}")
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
left.set_ylabel("tokens of the text", color="C0")
right = left.twinx()
right.plot(sizes, memory, "s--", color="C1")
right.set_ylabel("embedding table, MiB", color="C1")
right.set_ylim(0, None)
left.set_title("Twice the vocabulary: twice the table, but not half of the text")
figure.tight_layout()
plt.show()

# %% [markdown]
# ### Time
#
# Your `learn_merges` counts **all** pairs again for **each** merge: text times merges. But a merge
# changes only the few places where its pair stands. `backends/text.py` uses that:
#
# - the tokens are a *linked list*, so a merge is done on the spot, without copying the rest;
# - for each pair it knows the places, so a merge visits these and no others;
# - the counts are corrected at these places, and a *heap* has the largest one on top.
#
# Both give the same merges; tests compare them on random texts. How does the time grow?

# %%
import time

from tinytorch.text import fast_bpe as fast

readable = getattr(learn_merges, "__wrapped__", learn_merges)  # in a notebook: your own
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
# That is what `@accelerated` is for. In the package your function is the **reference**: the one to
# read, and the one that tests hold the fast one against. The work is done by the function of the
# same name in `backends/text.py`. It is the same arrangement as for ops, whose kernels stand in
# `backends/` too.
#
# ## Where others have it
#
# PyTorch itself has no tokenizer; one takes a library beside it.
#
# | | here | tiktoken (OpenAI) | tokenizers (Hugging Face) |
# |---|---|---|---|
# | make one | `BPETokenizer(V)` | `tiktoken.get_encoding("gpt2")` | `ByteLevelBPETokenizer()` |
# | train | `train(text)` | not possible | `train_from_iterator(texts, V)` |
# | encode | `encode(text)` | `encode(text)` | `encode(text).ids` |
# | special tokens | `allow_special=True` | `allowed_special={...}` | `add_special_tokens(...)` |
# | written in | Python | Rust | Rust |
#
# The algorithm is the same in all three. `BPETokenizer.from_gpt2` reads the two files that came with
# GPT-2, and then gives GPT-2's ids. SentencePiece (Llama 2) begins with characters, and uses bytes
# only for those it does not know.
#
# ## Questions
#
# 1. GPT-2's vocabulary has 50,257 tokens. How many of these are merges? What are the others?
# 2. `encode("12345")` gives pieces that depend on which numbers were frequent. Why may that make
#    arithmetic hard for a model?
# 3. Chinese takes three bytes for a character. A tokenizer was trained on English only: what does a
#    Chinese text cost, compared to an English one of the same number of characters?
# 4. Two models have different tokenizers. Why can you not compare their loss per token? What could
#    you compare?
# 5. Is `encode(a) + encode(b)` the same as `encode(a + b)`? Find two texts where it is not.
#
# ## What comes next
#
# Ids are names; a network cannot compute with names. Lesson 11 gives each id a vector, and each place
# in the text as well.
