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
    # What the first inputs of the inline tests did not find, and more of these kinds.
    # 10.1
    Mistake("sorted without regard to case", "10.1", "sorted(characters)",
            "sorted(characters, key=str.lower)"),
    Mistake("sorted backwards", "10.1", "sorted(characters)", "sorted(characters, reverse=True)"),
    Mistake("sorted by frequency", "10.1", within="CharTokenizer", new="""
def build_vocab(self, corpus):
    counts = Counter("".join(texts_of(corpus)))
    self._set_vocab([c for c, _ in counts.most_common()])
"""),
    Mistake("the vocabulary of lower case", "10.1", "set(text)", "set(text.lower())"),
    Mistake("the text of encode in lower case", "10.1", "checked_text(text)",
            "checked_text(text).lower()"),
    Mistake("the text of encode is stripped", "10.1", "checked_text(text)",
            "checked_text(text).strip()"),
    Mistake("the texts of the vocabulary are stripped", "10.1", "set(text)", "set(text.strip())"),
    Mistake("spaces are no characters", "10.1", "set(text)", 'set(text) - {" "}'),
    Mistake("line feeds are no characters", "10.1", "set(text)", 'set(text) - {"\\n"}'),
    Mistake("only letters and digits and spaces", "10.1", "set(text)",
            '{c for c in text if c.isalnum() or c == " "}'),
    Mistake("only ASCII", "10.1", "set(text)", "{c for c in text if c.isascii()}"),
    Mistake("the vocabulary grows with every call", "10.1", "characters: set[str] = set()",
            "characters = set(self.vocab)"),
    Mistake("the dictionaries are not updated", "10.1", "self._set_vocab(sorted(characters))",
            "self.vocab = sorted(characters)"),
    Mistake("the dictionaries are built without the unknown token", "10.1",
            "self._set_vocab(sorted(characters))", """self.vocab = sorted(characters)
        self.char_to_id = {c: i for i, c in enumerate(self.vocab)}
        self.id_to_char = dict(enumerate(self.vocab))"""),
    Mistake("the vocabulary is returned", "10.1", "self._set_vocab(sorted(characters))",
            "self._set_vocab(sorted(characters))\n        return self.vocab"),
    Mistake("a generator of texts is used up before", "10.1", "for text in texts_of(corpus):",
            "count = len(list(corpus))\n        for text in texts_of(corpus):"),
    Mistake("only the first text", "10.1", within="CharTokenizer", new="""
def build_vocab(self, corpus):
    self._set_vocab(sorted(set(next(texts_of(corpus)))))
"""),
    Mistake("no text is checked", "10.1", "checked_text(text)", "text"),
    Mistake("encode returns an array", "10.1",
        "[known[c] if c in known else self._unknown_id(c, text) for c in text]",
        "np.array([known[c] if c in known else self._unknown_id(c, text) for c in text], int)"),
    Mistake("encode returns a tuple", "10.1",
            "[known[c] if c in known else self._unknown_id(c, text) for c in text]",
            "tuple(known[c] if c in known else self._unknown_id(c, text) for c in text)"),
    Mistake("encode returns a generator", "10.1",
            "[known[c] if c in known else self._unknown_id(c, text) for c in text]",
            "(known[c] if c in known else self._unknown_id(c, text) for c in text)"),
    Mistake("the unknown id is computed for every character", "10.1",
            "known[c] if c in known else self._unknown_id(c, text)",
            "known.get(c, self._unknown_id(c, text))"),
    Mistake("unknown characters are always 0", "10.1",
            "known[c] if c in known else self._unknown_id(c, text)", "known.get(c, 0)"),
    Mistake("unknown characters are -1", "10.1",
            "known[c] if c in known else self._unknown_id(c, text)", "known.get(c, -1)"),
    Mistake("the unknown id is asked for the character alone", "10.1", "self._unknown_id(c, text)",
            "self._unknown_id(c, c)"),
    Mistake("ids of the sorted vocabulary", "10.1", "known = self.char_to_id",
            "known = {c: i for i, c in enumerate(sorted(self.vocab))}"),
    Mistake("code points", "10.1", "known[c] if c in known else self._unknown_id(c, text)",
            "ord(c)"),
    Mistake("the ids of earlier calls are kept", "10.1", within="CharTokenizer", new="""
def encode(self, text, ids=[]):
    text = checked_text(text)
    for c in text:
        ids.append(self.char_to_id[c] if c in self.char_to_id else self._unknown_id(c, text))
    return ids
"""),
    Mistake("decode checks the range with <=", "10.1", within="CharTokenizer", new="""
def decode(self, ids):
    if any(i < 0 or i > self.vocab_size for i in ids):
        raise ValueError("not in the vocabulary")
    return "".join(self.vocab[int(i)] for i in ids if i < self.vocab_size)
"""),
    Mistake("a generator of ids is used up by the check", "10.1", within="CharTokenizer", new="""
def decode(self, ids):
    checked_ids(ids, self.vocab_size)
    return "".join(self.id_to_char[i] for i in ids)
"""),
    Mistake("invalid ids are skipped", "10.1", within="CharTokenizer", new="""
def decode(self, ids):
    return "".join(self.id_to_char.get(int(i), "") for i in ids)
"""),
    Mistake("decode returns a list", "10.1",
            '"".join([self.id_to_char[i] for i in checked_ids(ids, self.vocab_size)])',
            "[self.id_to_char[i] for i in checked_ids(ids, self.vocab_size)]"),
    Mistake("decode strips the text", "10.1", "self.vocab_size)])", "self.vocab_size)]).strip()"),
    Mistake("decode in lower case", "10.1", "self.vocab_size)])", "self.vocab_size)]).lower()"),
    # 10.2
    Mistake("bytes of lower case", "10.2", "text.encode", "text.lower().encode"),
    Mistake("bytes of the stripped text", "10.2", "text.encode", "text.strip().encode"),
    Mistake("Windows line ends are changed", "10.2", "text.encode",
            'text.replace("\\r\\n", "\\n").encode'),
    Mistake("bytes of the normalized text", "10.2", new="""
def text_to_bytes(text):
    import unicodedata
    return list(unicodedata.normalize("NFC", text).encode("utf-8"))
"""),
    Mistake("what UTF-8 cannot encode is dropped", "10.2", 'text.encode("utf-8")',
            'text.encode("utf-8", errors="ignore")'),
    Mistake("what UTF-8 cannot encode is replaced", "10.2", 'text.encode("utf-8")',
            'text.encode("utf-8", errors="replace")'),
    Mistake("surrogates pass", "10.2", 'text.encode("utf-8")',
            'text.encode("utf-8", errors="surrogatepass")'),
    Mistake("a byte-order mark", "10.2", 'text.encode("utf-8")', 'text.encode("utf-8-sig")'),
    Mistake("Latin-1", "10.2", 'text.encode("utf-8")', 'text.encode("latin-1", errors="replace")'),
    Mistake("an array of bytes", "10.2", 'list(text.encode("utf-8"))',
            'np.frombuffer(text.encode("utf-8"), np.uint8)'),
    Mistake("a tuple of bytes", "10.2", 'list(text.encode("utf-8"))',
            'tuple(text.encode("utf-8"))'),
    Mistake("hexadecimal bytes", "10.2", 'list(text.encode("utf-8"))',
            '[hex(byte) for byte in text.encode("utf-8")]'),
    Mistake("the bytes of each character backwards", "10.2", 'list(text.encode("utf-8"))',
            "[byte for c in text for byte in reversed(c.encode())]"),
    Mistake("spaces between tokens", "10.2", 'b"".join', 'b" ".join'),
    Mistake("the decoded text is stripped", "10.2", 'errors="replace")',
            'errors="replace").strip()'),
    Mistake("invalid bytes as escapes", "10.2", 'errors="replace"', 'errors="backslashreplace"'),
    Mistake("what is incomplete at the end is lost", "10.2", new="""
def bytes_to_text(tokens):
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    return "".join(decoder.decode(token) for token in tokens)
"""),
    Mistake("tokens are added to a first token", "10.2", new="""
def bytes_to_text(tokens):
    tokens = list(tokens)
    data = tokens[0]
    for token in tokens[1:]:
        data += token
    return data.decode("utf-8", errors="replace")
"""),
    Mistake("a replacement for every byte", "10.2", new="""
def bytes_to_text(tokens):
    data = b"".join(tokens)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return "".join(chr(byte) if byte < 128 else "\\ufffd" for byte in data)
"""),
    # 10.3
    Mistake("each pair once per word", "10.3", "pairwise(ids)", "set(pairwise(ids))"),
    Mistake("equal words overwrite each other", "10.3", "for ids, times in words:",
            "for ids, times in {tuple(ids): times for ids, times in words}.items():"),
    Mistake("overlapping pairs count once", "10.3", new="""
def count_pairs(words):
    counts = Counter()
    for ids, times in words:
        i = 0
        while i < len(ids) - 1:
            pair = ids[i], ids[i + 1]
            counts[pair] += times
            i += 2 if pair[0] == pair[1] else 1
    return counts
"""),
    Mistake("the last token is paired with the first", "10.3", "pairwise(ids)",
            "zip(ids, ids[1:] + ids[:1])"),
    Mistake("the words are used up before", "10.3", "for ids, times in words:",
            "for ids, times in words if any(True for _ in words) else []:"),
    Mistake("ids as bytes", "10.3", "pairwise(ids)", "pairwise(bytes(ids))"),
    Mistake("pairs as text", "10.3", "counts[pair] += times",
            'counts[f"{pair[0]} {pair[1]}"] += times'),
    Mistake("pairs with id 0 are left out", "10.3", "        for pair in pairwise(ids):",
            "        for pair in (p for p in pairwise(ids) if all(p)):"),
    Mistake("the pair and its count", "10.3",
            "return min(counts, key=lambda pair: (-counts[pair], pair))",
            "return min(counts.items(), key=lambda item: (-item[1], item[0]))"),
    Mistake("the count instead of the pair", "10.3", "return min(counts, key=",
            "return max(counts.values()) or min(counts, key="),
    Mistake("ties by the second id", "10.3", "(-counts[pair], pair)", "(-counts[pair], pair[1])"),
    Mistake("ties by the first id alone", "10.3", "(-counts[pair], pair)",
            "(-counts[pair], pair[0])"),
    Mistake("ties by the sum of the ids", "10.3", "(-counts[pair], pair)",
            "(-counts[pair], sum(pair))"),
    Mistake("ties by the text of the pair", "10.3", "(-counts[pair], pair)",
            "(-counts[pair], str(pair))"),
    Mistake("counts compared as text", "10.3", "return min(counts, key=lambda pair: (-counts[pair], pair))",
            "return max(sorted(counts), key=lambda pair: str(counts[pair]))"),
    Mistake("the pair as a list", "10.3", "return min(counts, key=lambda pair: (-counts[pair], pair))",
            "return list(min(counts, key=lambda pair: (-counts[pair], pair)))"),
    # 10.4
    Mistake("merging as text", "10.4", new="""
def merge_pair(ids, pair, merged):
    text = " ".join(map(str, ids)).replace(f"{pair[0]} {pair[1]}", str(merged))
    return [int(i) for i in text.split()]
"""),
    Mistake("merging as bytes", "10.4", new="""
def merge_pair(ids, pair, merged):
    parts = bytes(ids).split(bytes(pair))
    result = list(parts[0])
    for part in parts[1:]:
        result += [merged, *part]
    return result
"""),
    Mistake("a token that does not match takes its neighbour along", "10.4", new="""
def merge_pair(ids, pair, merged):
    result, i = [], 0
    while i < len(ids):
        if ids[i] == pair[0] and i + 1 < len(ids):
            result += [merged] if ids[i + 1] == pair[1] else ids[i : i + 2]
            i += 2
        else:
            result.append(ids[i])
            i += 1
    return result
"""),
    Mistake("the end is followed by the start", "10.4", "tuple(ids[i : i + 2]) == pair",
            "(ids[i], ids[(i + 1) % len(ids)]) == pair"),
    Mistake("the end is followed by a 0", "10.4", "tuple(ids[i : i + 2]) == pair",
            "(ids[i], ids[i + 1] if i + 1 < len(ids) else 0) == pair"),
    Mistake("the previous token at the start is the last", "10.4", new="""
def merge_pair(ids, pair, merged):
    result = list(ids)
    for i in range(len(ids)):
        if (ids[i - 1], ids[i]) == pair:
            result[i - 1 : i + 1] = [merged, None]
    return [i for i in result if i is not None]
"""),
    Mistake("only the second token is compared", "10.4", "tuple(ids[i : i + 2]) == pair",
            "ids[i + 1 : i + 2] == [pair[1]]"),
    Mistake("the pair may be a token apart", "10.4", "tuple(ids[i : i + 2]) == pair",
            "ids[i] == pair[0] and pair[1] in ids[i + 1 : i + 3]"),
    Mistake("skips a token after a merge", "10.4", "i += 2", "i += 3"),
    Mistake("the merged token is doubled", "10.4", "result.append(merged)",
            "result += [merged, merged]"),
    Mistake("always token 256", "10.4", "result.append(merged)", "result.append(256)"),
    Mistake("the sum of the pair", "10.4", "result.append(merged)", "result.append(sum(pair))"),
    Mistake("the pair itself", "10.4", "result.append(merged)", "result.append(pair)"),
    Mistake("a tuple of ids", "10.4", "return result", "return tuple(result)"),
    Mistake("an array of ids", "10.4", "return result", "return np.array(result, int)"),
    Mistake("ids are compared up to 255", "10.4", "tuple(ids[i : i + 2]) == pair",
            "tuple(i % 256 for i in ids[i : i + 2]) == tuple(i % 256 for i in pair)"),
    # 10.5
    Mistake("words are stripped", "10.5", "text_to_bytes(word)", "text_to_bytes(word.strip())"),
    Mistake("words in lower case", "10.5", "text_to_bytes(word)", "text_to_bytes(word.lower())"),
    Mistake("all words are one text", "10.5",
            "tokens = [(text_to_bytes(word), times) for word, times in words.items()]",
            'tokens = [(text_to_bytes("".join(w * n for w, n in words.items())), 1)]'),
    Mistake("ties go to the first word", "10.5", "most_frequent(counts)",
            "max(counts, key=counts.get)"),
    Mistake("only the first word is merged", "10.5",
            "[(merge_pair(ids, pair, merged), times) for ids, times in tokens]",
            "[(merge_pair(tokens[0][0], pair, merged), tokens[0][1]), *tokens[1:]]"),
    Mistake("the merges are lists", "10.5", "merges.append(pair)", "merges.append(list(pair))"),
    Mistake("the merges are a tuple", "10.5", "return merges", "return tuple(merges)"),
    Mistake("the merges are a dictionary", "10.5", "return merges",
            "return {pair: 256 + n for n, pair in enumerate(merges)}"),
    Mistake("the merges with their tokens", "10.5", "merges.append(pair)",
            "merges.append((pair, merged))"),
    Mistake("the new tokens instead of the pairs", "10.5", "merges.append(pair)",
            "merges.append(merged)"),
    Mistake("the new token is the number of tokens", "10.5", "256 + len(merges)",
            "256 + len(merges) + len(words) - 1"),
    Mistake("the words are changed", "10.5", "return merges", "words.clear()\n    return merges"),
    Mistake("the merges are sorted", "10.5", "return merges", "return sorted(merges)"),
    Mistake("one merge at least", "10.5", "while len(merges) < count:",
            "while not merges or len(merges) < count:"),
    Mistake("an error when no pair is left", "10.5", "            break\n",
            '            raise ValueError("no pair is left")\n'),
    # 10.6
    Mistake("the smallest token is merged first", "10.6", "key=lambda pair: rules[pair]",
            "key=lambda pair: rules[pair][1]"),
    Mistake("the largest token is merged first", "10.6", "key=lambda pair: rules[pair]",
            "key=lambda pair: -rules[pair][1]"),
    Mistake("the rightmost pair is merged first", "10.6",
            "min(pairs, key=lambda pair: rules[pair])", "pairs[-1]"),
    Mistake("the pair with the largest ids is merged first", "10.6",
            "min(pairs, key=lambda pair: rules[pair])", "max(pairs)"),
    Mistake("the most frequent pair of the word is merged first", "10.6",
            "min(pairs, key=lambda pair: rules[pair])", "most_frequent(Counter(pairs))"),
    Mistake("the first rule of the dictionary", "10.6", new="""
def apply_merges(ids, rules):
    for pair, (_, token) in rules.items():
        ids = merge_pair(ids, pair, token)
    return ids
"""),
    Mistake("rules are used up", "10.6", "rules[first][1])", "rules.pop(first)[1])"),
    Mistake("the input is changed", "10.6", new="""
def apply_merges(ids, rules):
    while True:
        found = [i for i in range(len(ids) - 1) if (ids[i], ids[i + 1]) in rules]
        if not found:
            return ids
        i = min(found, key=lambda i: rules[ids[i], ids[i + 1]])
        ids[i : i + 2] = [rules[ids[i], ids[i + 1]][1]]
"""),
    Mistake("the ids as a tuple", "10.6", "            return ids", "            return tuple(ids)"),
    Mistake("the rank counts from 1", "10.6", "if pair in rules]",
            "if pair in rules and rules[pair][0]]"),
    Mistake("stops at a word of two tokens", "10.6", "if not pairs:",
            "if not pairs or len(ids) <= 2:"),
    # 10.7
    Mistake("special tokens in any case", "10.7", '+ ")", text)', '+ ")", text, flags=re.I)'),
    Mistake("parts are stripped", "10.7",
            're.split("(" + "|".join(re.escape(token) for token in longest_first) + ")", text)',
            '[p.strip() for p in re.split("(" + "|".join(map(re.escape, longest_first)) + ")", text)]'),
    Mistake("only | is escaped", "10.7", "re.escape(token)", r'token.replace("|", r"\|")'),
    Mistake("special tokens in the order given", "10.7",
            "sorted(special_tokens, key=len, reverse=True)", "list(special_tokens)"),
    Mistake("special tokens in the reverse order", "10.7",
            "sorted(special_tokens, key=len, reverse=True)", "list(special_tokens)[::-1]"),
    Mistake("special tokens in alphabetical order", "10.7",
            "sorted(special_tokens, key=len, reverse=True)", "sorted(special_tokens)"),
    Mistake("the list of special tokens is sorted in place", "10.7", new="""
def split_special(text, special_tokens):
    if not special_tokens:
        return [text]
    if isinstance(special_tokens, list):
        special_tokens.sort(key=len, reverse=True)
    tokens = sorted(special_tokens, key=len, reverse=True)
    return re.split("(" + "|".join(re.escape(token) for token in tokens) + ")", text)
"""),
    Mistake("only lists can be sorted", "10.7", new="""
def split_special(text, special_tokens):
    if not special_tokens:
        return [text]
    tokens = special_tokens.copy()
    tokens.sort(key=len, reverse=True)
    return re.split("(" + "|".join(re.escape(token) for token in tokens) + ")", text)
"""),
    Mistake("a set of letters", "10.7", """"(" + "|".join(re.escape(token) for token in longest_first) + ")\"""",
            """"([" + "".join(re.escape(token) for token in longest_first) + "]+)\""""),
    Mistake("split at the first special token only", "10.7", '+ ")", text)',
            '+ ")", text, maxsplit=1)'),
    Mistake("a group for each special token", "10.7", """re.escape(token) for""",
            """f"({re.escape(token)})" for"""),
    Mistake("nothing to split in an empty text", "10.7", "if not longest_first:",
            "if not text:\n        return []\n    if not longest_first:"),
    # 10.8
    Mistake("words are split at spaces", "10.8", "words.update(split_words(part))",
            "words.update(part.split())"),
    Mistake("encode splits at spaces", "10.8", "in split_words(part):", "in part.split():"),
    Mistake("training in lower case", "10.8", "split_special(text, self.special_tokens)[",
            "split_special(text.lower(), self.special_tokens)["),
    Mistake("encode in lower case", "10.8", "text = checked_text(text)",
            "text = checked_text(text).lower()"),
    Mistake("encode strips the text", "10.8", "text = checked_text(text)",
            "text = checked_text(text).strip()"),
    Mistake("encode does not check its text", "10.8", "        text = checked_text(text)\n", ""),
    Mistake("vocab_size is not checked", "10.8", "self._checked_target(vocab_size)", "vocab_size"),
    Mistake("vocab_size of train is not kept", "10.8", within="BPETokenizer", new="""
def train(self, corpus, vocab_size=None):
    target = self._target if vocab_size is None else self._checked_target(vocab_size)
    words = Counter()
    for text in texts_of(corpus):
        for part in split_special(text, self.special_tokens)[::2]:
            words.update(split_words(part))
    self._set_merges(learn_merges(words, target - 256 - len(self.special_tokens)))
"""),
    Mistake("the merges are not numbered", "10.8", "self._set_merges(learn_merges(",
            "self.merges = list(learn_merges("),
    Mistake("the merges of an earlier training are kept", "10.8",
            "self._set_merges(learn_merges(", "self._set_merges(self.merges + learn_merges("),
    Mistake("each text is trained by itself", "10.8", within="BPETokenizer", new="""
def train(self, corpus, vocab_size=None):
    if vocab_size is not None:
        self._target = self._checked_target(vocab_size)
    for text in texts_of(corpus):
        words = Counter()
        for part in split_special(text, self.special_tokens)[::2]:
            words.update(split_words(part))
        self._set_merges(learn_merges(words, self._target - 256 - len(self.special_tokens)))
"""),
    Mistake("texts are joined", "10.8", "for text in texts_of(corpus):",
            'for text in ["".join(texts_of(corpus))]:'),
    Mistake("texts are joined with spaces", "10.8", "for text in texts_of(corpus):",
            'for text in [" ".join(texts_of(corpus))]:'),
    Mistake("the corpus is one text", "10.8", "for text in texts_of(corpus):",
            "for text in [corpus]:"),
    Mistake("the corpus is many texts", "10.8", "for text in texts_of(corpus):",
            "for text in corpus:"),
    Mistake("only words that occur twice", "10.8", "learn_merges(words,",
            "learn_merges({w: n for w, n in words.items() if n > 1},"),
    Mistake("the list in the cache is extended", "10.8", within="BPETokenizer", new="""
def encode(self, text, allow_special=False):
    text = checked_text(text)
    ids = None
    for n, part in enumerate(split_special(text, self.special_tokens if allow_special else [])):
        if n % 2:
            ids = (ids or []) + [self.special_tokens[part]]
            continue
        for word in split_words(part):
            new = self._cache.get(word) or self._encode_word(word)
            if ids is None:
                ids = new
            else:
                ids += new
    return ids or []
"""),
    Mistake("the list in the cache is returned", "10.8", "        ids: list[int] = []\n",
            "        if text in self._cache:\n            return self._cache[text]\n"
            "        ids: list[int] = []\n"),
    Mistake("every word is encoded again", "10.8",
            "self._cache.get(word) or self._encode_word(word)", "self._encode_word(word)"),
    Mistake("the cache is asked, but every word encoded", "10.8",
            "self._cache.get(word) or self._encode_word(word)",
            "self._cache.get(word, self._encode_word(word))"),
    Mistake("only words of the cache", "10.8", "self._cache.get(word) or self._encode_word(word)",
            "self._cache.get(word, [])"),
    Mistake("bytes, without merges", "10.8", "self._cache.get(word) or self._encode_word(word)",
            "text_to_bytes(word)"),
    Mistake("the whole text is cached, special or not", "10.8", within="BPETokenizer", new="""
def encode(self, text, allow_special=False):
    text = checked_text(text)
    if text not in self._cache:
        ids = []
        for n, part in enumerate(split_special(text, self.special_tokens if allow_special else [])):
            if n % 2:
                ids.append(self.special_tokens[part])
            else:
                for word in split_words(part):
                    ids += self._cache.get(word) or self._encode_word(word)
        self._cache[text] = ids
    return list(self._cache[text])
"""),
    Mistake("special tokens are split by the words", "10.8", within="BPETokenizer", new="""
def encode(self, text, allow_special=False):
    ids = []
    for word in split_words(checked_text(text)):
        if allow_special and word in self.special_tokens:
            ids.append(self.special_tokens[word])
        else:
            ids += self._cache.get(word) or self._encode_word(word)
    return ids
"""),
    Mistake("special tokens count from 256", "10.8", "ids.append(self.special_tokens[part])",
            "ids.append(256 + list(self.special_tokens).index(part))"),
    Mistake("special tokens as text", "10.8", "ids.append(self.special_tokens[part])",
            "ids.append(part)"),
    Mistake("the ids as an array", "10.8", "return ids", "return np.array(ids, int)"),
    Mistake("the ids as a tuple, in BPETokenizer", "10.8", "return ids", "return tuple(ids)"),
    Mistake("merges of bytes in decode", "10.8",
            "bytes_to_text(self.vocab[i] for i in checked_ids(ids, self.vocab_size))",
            'bytes(checked_ids(ids, self.vocab_size)).decode("utf-8", errors="replace")'),
    Mistake("special tokens are not decoded", "10.8",
            "self.vocab[i] for i in checked_ids(ids, self.vocab_size))",
            "self.vocab[i] for i in checked_ids(ids, self.vocab_size)"
            " if i not in self.special_tokens.values())"),
    Mistake("ids are used up by the check", "10.8",
            "bytes_to_text(self.vocab[i] for i in checked_ids(ids, self.vocab_size))",
            "checked_ids(ids, self.vocab_size) and bytes_to_text(self.vocab[i] for i in ids) or ''"),
    Mistake("half a character is dropped", "10.8",
            "bytes_to_text(self.vocab[i] for i in checked_ids(ids, self.vocab_size))",
            'b"".join(self.vocab[i] for i in checked_ids(ids, self.vocab_size)).decode(errors="ignore")'),
    Mistake("the decoded text is stripped, in BPETokenizer", "10.8",
            "bytes_to_text(self.vocab[i] for i in checked_ids(ids, self.vocab_size))",
            "bytes_to_text(self.vocab[i] for i in checked_ids(ids, self.vocab_size)).strip()"),
    Mistake("repeated tokens are lost", "10.2", 'b"".join(tokens)',
            'b"".join(dict.fromkeys(tokens))'),
    Mistake("ranks are compared as text", "10.6", "key=lambda pair: rules[pair]",
            "key=lambda pair: str(rules[pair])"),
    Mistake("every special token is the first", "10.8", "self.special_tokens[part]",
            "min(self.special_tokens.values())"),
    Mistake("an id of 0 counts as unknown", "10.1",
            "known[c] if c in known else self._unknown_id(c, text)",
            "known.get(c) or self._unknown_id(c, text)"),
    Mistake("every unknown character is an error", "10.1", "self._unknown_id(c, text) for",
            "self.char_to_id[c] for"),
    Mistake("a special token is found by its text, also where it is ordinary text", "10.8",
            "if n % 2:", "if part in self.special_tokens:"),
]  # fmt: skip


def _finds_an_encoding_without_a_name() -> bool:
    """Some installations register a codec for every name."""
    try:
        return "é".encode("") == "é".encode()
    except LookupError:
        return False


EQUIVALENT = {
    '10.7 split_special: without key=len in "sorted(special_tokens, key=len, reverse=True)"': (
        "only a token that another one starts with must come after it, and it does in reverse"
        " alphabetical order too"
    ),
}
if _finds_an_encoding_without_a_name():
    EQUIVALENT['10.2 text_to_bytes: "utf-8" -> "" in "text.encode("utf-8")"'] = (
        "this installation takes an empty name for UTF-8"
    )
