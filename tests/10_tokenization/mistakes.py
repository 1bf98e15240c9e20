"""What students get wrong in lesson 10."""

from mistake import Mistake

MERGE_LOOP = """    result = []
    place = 0
    while place < len(ids):
        if tuple(ids[place : place + 2]) == pair:
            result.append(merged)
            place += 2
        else:
            result.append(ids[place])
            place += 1
    return result"""

IN_PLACE = """    place = 0
    while place < len(ids):
        if tuple(ids[place : place + 2]) == pair:
            ids[place : place + 2] = [merged]
        place += 1
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
    Mistake("characters occur twice", "10.1", "sorted(characters)", "sorted(list(corpus))"),
    Mistake(
        "only the last text counts", "10.1", "characters |= set(text)", "characters = set(text)"
    ),
    Mistake("ids begin at 1", "10.1", "known[c] if c in known", "known[c] + 1 if c in known"),
    Mistake(
        "unknown characters are left out",
        "10.1",
        "[known[c] if c in known else self._stranger(c, text) for c in text]",
        "[known[c] for c in text if c in known]",
    ),
    Mistake(
        "unknown characters are a KeyError",
        "10.1",
        "known[c] if c in known else self._stranger(c, text) for",
        "known[c] for",
    ),
    Mistake(
        "an id of -1 counts from the end",
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
    Mistake("bytes, but no list", "10.2", 'list(text.encode("utf-8"))', 'text.encode("utf-8")'),
    Mistake("UTF-16", "10.2", 'list(text.encode("utf-8"))', 'list(text.encode("utf-16-le"))'),
    Mistake(
        "bytes are decoded as Latin-1",
        "10.2",
        '.decode("utf-8", errors="replace")',
        '.decode("latin-1")',
    ),
    Mistake(
        "each token is decoded by itself",
        "10.2",
        'b"".join(tokens).decode("utf-8", errors="replace")',
        '"".join(token.decode("utf-8", errors="replace") for token in tokens)',
    ),
    Mistake("bytes that are no UTF-8 are an error", "10.2", ', errors="replace"', ""),
    Mistake("bytes that are no UTF-8 disappear", "10.2", 'errors="replace"', 'errors="ignore"'),
    # 10.3
    Mistake("a word counts once", "10.3", "+= times", "+= 1"),
    Mistake("the last word's count wins", "10.3", "counts[pair] += times", "counts[pair] = times"),
    Mistake("every second pair", "10.3", "pairwise(ids)", "zip(ids[::2], ids[1::2])"),
    Mistake("every token with the next but one", "10.3", "pairwise(ids)", "zip(ids, ids[2:])"),
    Mistake(
        "pairs cross from word to word",
        "10.3",
        "for ids, times in words:",
        "for ids, times in [([i for ids, n in words for i in ids * n], 1)]:",
    ),
    Mistake(
        "a pair and its reverse are the same",
        "10.3",
        "counts[pair]",
        "counts[tuple(sorted(pair))]",
        count=2,
    ),
    Mistake("the rarest pair", "10.3", "(-counts[pair], pair)", "(counts[pair], pair)"),
    Mistake(
        "among equals the largest ids",
        "10.3",
        "min(counts, key=lambda pair: (-counts[pair], pair))",
        "max(counts, key=lambda pair: (counts[pair], pair))",
    ),
    Mistake(
        "among equals the one that came first",
        "10.3",
        "min(counts, key=lambda pair: (-counts[pair], pair))",
        "max(counts, key=counts.get)",
    ),
    # 10.4
    Mistake("both of two overlapping pairs are merged", "10.4", MERGE_LOOP, OVERLAPPING),
    Mistake("the pair's second token stays", "10.4", "place += 2", "place += 1"),
    Mistake(
        "the last token is lost", "10.4", "while place < len(ids):", "while place < len(ids) - 1:"
    ),
    Mistake(
        "only the first occurrence",
        "10.4",
        "            place += 2",
        "            return [*result, *ids[place + 2 :]]",
    ),
    Mistake(
        "the pair in either order",
        "10.4",
        "tuple(ids[place : place + 2]) == pair",
        "set(ids[place : place + 2]) == set(pair)",
    ),
    Mistake(
        "only the first token is compared",
        "10.4",
        "tuple(ids[place : place + 2]) == pair",
        "ids[place] == pair[0]",
    ),
    Mistake(
        "an index past the end",
        "10.4",
        "tuple(ids[place : place + 2]) == pair",
        "(ids[place], ids[place + 1]) == pair",
    ),
    Mistake(
        "a list is compared with a tuple",
        "10.4",
        "tuple(ids[place : place + 2]) == pair",
        "ids[place : place + 2] == pair",
    ),
    Mistake("from right to left", "10.4", MERGE_LOOP, FROM_THE_RIGHT),
    Mistake("the ids that were given change", "10.4", MERGE_LOOP, IN_PLACE),
    # 10.5
    Mistake(
        "pairs are counted only once",
        "10.5",
        "        counts = count_pairs(tokens)",
        "        counts = counts if merges else count_pairs(tokens)",
    ),
    Mistake(
        "the new token is merged nowhere",
        "10.5",
        "[(merge_pair(ids, pair, merged), times) for ids, times in tokens]",
        "tokens",
    ),
    Mistake("the first merge makes token 255", "10.5", "256 + len(merges)", "255 + len(merges)"),
    Mistake("every merge makes token 256", "10.5", "256 + len(merges)", "256"),
    Mistake(
        "words count once",
        "10.5",
        "(text_to_bytes(word), times) for",
        "(text_to_bytes(word), 1) for",
    ),
    Mistake(
        "merging forgets how often a word occurs",
        "10.5",
        "(merge_pair(ids, pair, merged), times) for",
        "(merge_pair(ids, pair, merged), 1) for",
    ),
    Mistake("one merge too many", "10.5", "len(merges) < count", "len(merges) <= count"),
    Mistake("no end when no pair is left", "10.5", "if not counts:", "if False:"),
    Mistake(
        "pairs that occur once are left out",
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
    Mistake("all merges but the last are returned", "10.5", "return merges", "return merges[:-1]"),
    # 10.6
    Mistake(
        "the leftmost pair first", "10.6", "min(pairs, key=lambda pair: rules[pair])", "pairs[0]"
    ),
    Mistake("the pair learned last first", "10.6", "min(pairs", "max(pairs"),
    Mistake(
        "the pair with the smallest ids first",
        "10.6",
        "min(pairs, key=lambda pair: rules[pair])",
        "min(pairs)",
    ),
    Mistake("only one merge", "10.6", "        ids = merge_pair", "        return merge_pair"),
    Mistake("the rank instead of the token", "10.6", "rules[first][1]", "rules[first][0]"),
    Mistake("the token is 256 + rank", "10.6", "rules[first][1]", "256 + rules[first][0]"),
    # 10.7
    Mistake("signs have their meaning in patterns", "10.7", "re.escape(token) for", "token for"),
    Mistake("special tokens are lost", "10.7", '"(" + "|".join', '"(?:" + "|".join'),
    Mistake("the shorter special token wins", "10.7", ", key=len, reverse=True", ", key=len"),
    Mistake("an empty pattern", "10.7", "if not longest_first:", "if False:"),
    Mistake(
        "empty parts are dropped",
        "10.7",
        're.split("(" + "|".join(re.escape(token) for token in longest_first) + ")", text)',
        '[p for p in re.split("(" + "|".join(map(re.escape, longest_first)) + ")", text) if p]',
    ),
    # 10.8
    Mistake(
        "merges are learned beside V",
        "10.8",
        "self._target - 256 - len(self.special_tokens)",
        "self._target",
    ),
    Mistake(
        "special tokens do not count in V", "10.8", " - 256 - len(self.special_tokens)", " - 256"
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
        "words do not count how often they occur",
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
        "text is trained on in one piece",
        "10.8",
        "split_special(text, self.special_tokens)[::2]",
        "[text]",
    ),
    Mistake(
        "special tokens always count",
        "10.8",
        "self.special_tokens if allow_special else []",
        "self.special_tokens",
    ),
    Mistake(
        "special tokens never count", "10.8", "self.special_tokens if allow_special else []", "[]"
    ),
    Mistake("odd and even exchanged", "10.8", "if n % 2:", "if n % 2 == 0:"),
    Mistake(
        "merges cross words in encode",
        "10.8",
        "for word in split_words(part):",
        "for word in [part]:",
    ),
    Mistake(
        "ids of words are nested",
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
