"""Typical mistakes in lesson 10."""

from mistake import Mistake

MERGE_LOOP = """    result = []
    i = 0
    while i < len(ids):
        if tuple(ids[i : i + 2]) == pair:
            result.append(merged)
            i += 2
        else:
            result.append(ids[i])
            i += 1
    return result"""

IN_PLACE = """    i = 0
    while i < len(ids):
        if tuple(ids[i : i + 2]) == pair:
            ids[i : i + 2] = [merged]
        i += 1
    return ids"""

FROM_THE_RIGHT = MERGE_LOOP.replace(
    "result = []", "result, ids, pair = [], ids[::-1], pair[::-1]"
).replace("return result", "return result[::-1]")

OVERLAPPING = """    starts = {n for n, found in enumerate(pairwise(ids)) if found == pair}
    gone = {n + 1 for n in starts} - starts
    return [merged if n in starts else i for n, i in enumerate(ids) if n not in gone]"""

MISTAKES = [
    # 10.1
    Mistake("characters are not sorted", "10.1", "sorted(characters)", "characters"),
    Mistake("repeated characters are kept", "10.1", "sorted(characters)", "sorted(list(corpus))"),
    Mistake(
        "only the last text counts", "10.1", "characters |= set(text)", "characters = set(text)"
    ),
    Mistake("ids start at 1", "10.1", "known[c] if c in known", "known[c] + 1 if c in known"),
    Mistake(
        "unknown characters are skipped",
        "10.1",
        "[known[c] if c in known else self._unknown_id(c, text) for c in text]",
        "[known[c] for c in text if c in known]",
    ),
    Mistake(
        "unknown characters raise KeyError",
        "10.1",
        "known[c] if c in known else self._unknown_id(c, text) for",
        "known[c] for",
    ),
    Mistake(
        "id -1 indexes from the end",
        "10.1",
        "self.id_to_char[i] for i in checked_ids(ids, self.vocab_size)",
        "self.vocab[i] for i in ids",
    ),
    Mistake("spaces between characters", "10.1", '"".join([self', '" ".join([self'),
    # 10.2
    Mistake(
        "code points instead of bytes",
        "10.2",
        'list(text.encode("utf-8"))',
        "[ord(character) for character in text]",
    ),
    Mistake(
        "a bytes object instead of a list",
        "10.2",
        'list(text.encode("utf-8"))',
        'text.encode("utf-8")',
    ),
    Mistake("UTF-16", "10.2", 'list(text.encode("utf-8"))', 'list(text.encode("utf-16-le"))'),
    Mistake(
        "bytes are decoded as Latin-1",
        "10.2",
        '.decode("utf-8", errors="replace")',
        '.decode("latin-1")',
    ),
    Mistake(
        "each token is decoded separately",
        "10.2",
        'b"".join(tokens).decode("utf-8", errors="replace")',
        '"".join(token.decode("utf-8", errors="replace") for token in tokens)',
    ),
    Mistake("invalid UTF-8 raises an error", "10.2", ', errors="replace"', ""),
    Mistake("invalid UTF-8 is dropped", "10.2", 'errors="replace"', 'errors="ignore"'),
    # 10.3
    Mistake("every word counts once", "10.3", "+= times", "+= 1"),
    Mistake("the last word's count wins", "10.3", "counts[pair] += times", "counts[pair] = times"),
    Mistake("every second pair", "10.3", "pairwise(ids)", "zip(ids[::2], ids[1::2])"),
    Mistake(
        "each token is paired with the next but one", "10.3", "pairwise(ids)", "zip(ids, ids[2:])"
    ),
    Mistake(
        "pairs cross word boundaries",
        "10.3",
        "for ids, times in words:",
        "for ids, times in [([i for ids, n in words for i in ids * n], 1)]:",
    ),
    Mistake(
        "a pair and its reverse are counted together",
        "10.3",
        "counts[pair]",
        "counts[tuple(sorted(pair))]",
        count=2,
    ),
    Mistake("the rarest pair", "10.3", "(-counts[pair], pair)", "(counts[pair], pair)"),
    Mistake(
        "ties go to the largest ids",
        "10.3",
        "min(counts, key=lambda pair: (-counts[pair], pair))",
        "max(counts, key=lambda pair: (counts[pair], pair))",
    ),
    Mistake(
        "ties go to the pair that occurs first",
        "10.3",
        "min(counts, key=lambda pair: (-counts[pair], pair))",
        "max(counts, key=counts.get)",
    ),
    # 10.4
    Mistake("overlapping pairs are both merged", "10.4", MERGE_LOOP, OVERLAPPING),
    Mistake("the second token of the pair is kept", "10.4", "i += 2", "i += 1"),
    Mistake("the last token is lost", "10.4", "while i < len(ids):", "while i < len(ids) - 1:"),
    Mistake(
        "only the first occurrence is merged",
        "10.4",
        "            i += 2",
        "            return [*result, *ids[i + 2 :]]",
    ),
    Mistake(
        "the pair is merged in either order",
        "10.4",
        "tuple(ids[i : i + 2]) == pair",
        "set(ids[i : i + 2]) == set(pair)",
    ),
    Mistake(
        "only the first token is compared",
        "10.4",
        "tuple(ids[i : i + 2]) == pair",
        "ids[i] == pair[0]",
    ),
    Mistake(
        "an index past the end",
        "10.4",
        "tuple(ids[i : i + 2]) == pair",
        "(ids[i], ids[i + 1]) == pair",
    ),
    Mistake(
        "a list is compared with a tuple",
        "10.4",
        "tuple(ids[i : i + 2]) == pair",
        "ids[i : i + 2] == pair",
    ),
    Mistake("merging from right to left", "10.4", MERGE_LOOP, FROM_THE_RIGHT),
    Mistake("the input list is modified", "10.4", MERGE_LOOP, IN_PLACE),
    # 10.5
    Mistake(
        "pairs are counted only once",
        "10.5",
        "        counts = count_pairs(tokens)",
        "        counts = counts if merges else count_pairs(tokens)",
    ),
    Mistake(
        "the words are not merged",
        "10.5",
        "[(merge_pair(ids, pair, merged), times) for ids, times in tokens]",
        "tokens",
    ),
    Mistake("the first merge creates token 255", "10.5", "256 + len(merges)", "255 + len(merges)"),
    Mistake("every merge creates token 256", "10.5", "256 + len(merges)", "256"),
    Mistake(
        "word counts are ignored",
        "10.5",
        "(text_to_bytes(word), times) for",
        "(text_to_bytes(word), 1) for",
    ),
    Mistake(
        "merging loses the word counts",
        "10.5",
        "(merge_pair(ids, pair, merged), times) for",
        "(merge_pair(ids, pair, merged), 1) for",
    ),
    Mistake("one merge too many", "10.5", "len(merges) < count", "len(merges) <= count"),
    Mistake("no stop when no pair is left", "10.5", "if not counts:", "if False:"),
    Mistake(
        "pairs that occur once are not merged",
        "10.5",
        "if not counts:",
        "if not counts or max(counts.values()) < 2:",
    ),
    Mistake(
        "starts from code points",
        "10.5",
        "text_to_bytes(word)",
        "[ord(character) for character in word]",
    ),
    Mistake("the last merge is not returned", "10.5", "return merges", "return merges[:-1]"),
    # 10.6
    Mistake(
        "the leftmost pair is merged first",
        "10.6",
        "min(pairs, key=lambda pair: rules[pair])",
        "pairs[0]",
    ),
    Mistake("the pair learned last is merged first", "10.6", "min(pairs", "max(pairs"),
    Mistake(
        "the pair with the smallest ids is merged first",
        "10.6",
        "min(pairs, key=lambda pair: rules[pair])",
        "min(pairs)",
    ),
    Mistake("only one merge", "10.6", "        ids = merge_pair", "        return merge_pair"),
    Mistake("the rank instead of the token", "10.6", "rules[first][1]", "rules[first][0]"),
    Mistake("256 + rank instead of the token", "10.6", "rules[first][1]", "256 + rules[first][0]"),
    # 10.7
    Mistake("special tokens are not escaped", "10.7", "re.escape(token) for", "token for"),
    Mistake("special tokens are lost", "10.7", '"(" + "|".join', '"(?:" + "|".join'),
    Mistake("the shorter special token matches", "10.7", ", key=len, reverse=True", ", key=len"),
    Mistake("an empty pattern", "10.7", "if not longest_first:", "if False:"),
    Mistake(
        "empty parts are dropped",
        "10.7",
        're.split("(" + "|".join(re.escape(token) for token in longest_first) + ")", text)',
        '[p for p in re.split("(" + "|".join(map(re.escape, longest_first)) + ")", text) if p]',
    ),
    # 10.8
    Mistake(
        "V merges are learned",
        "10.8",
        "self._target - 256 - len(self.special_tokens)",
        "self._target",
    ),
    Mistake(
        "special tokens are not counted in V", "10.8", " - 256 - len(self.special_tokens)", " - 256"
    ),
    Mistake(
        "vocab_size of train is ignored",
        "10.8",
        "self._target = self._checked_target(vocab_size)\n        words",
        "pass\n        words",
    ),
    Mistake(
        "characters are counted, not words",
        "10.8",
        "words.update(split_words(part))",
        "words.update(part)",
    ),
    Mistake(
        "repeated words count once",
        "10.8",
        "words.update(split_words(part))",
        "words.update(set(split_words(part)))",
    ),
    Mistake(
        "merges are learned from special tokens",
        "10.8",
        "split_special(text, self.special_tokens)[::2]",
        "split_special(text, self.special_tokens)",
    ),
    Mistake(
        "special tokens do not split the text",
        "10.8",
        "split_special(text, self.special_tokens)[::2]",
        "[text]",
    ),
    Mistake(
        "special tokens are always encoded",
        "10.8",
        "self.special_tokens if allow_special else []",
        "self.special_tokens",
    ),
    Mistake(
        "special tokens are never encoded",
        "10.8",
        "self.special_tokens if allow_special else []",
        "[]",
    ),
    Mistake("odd and even parts are swapped", "10.8", "if n % 2:", "if n % 2 == 0:"),
    Mistake(
        "encode merges across words",
        "10.8",
        "for word in split_words(part):",
        "for word in [part]:",
    ),
    Mistake(
        "the ids of words are nested",
        "10.8",
        "ids += self._cache.get(word)",
        "ids += [self._cache.get(word)]",
    ),
    Mistake(
        "an id of -1 is decoded",
        "10.8",
        "self.vocab[i] for i in checked_ids(ids, self.vocab_size))",
        "self.vocab[i] for i in ids)",
    ),
    Mistake(
        "tokens are decoded one by one",
        "10.8",
        "bytes_to_text(self.vocab[i] for i in checked_ids(ids, self.vocab_size))",
        '"".join(bytes_to_text([self.vocab[i]]) for i in checked_ids(ids, self.vocab_size))',
    ),
]
