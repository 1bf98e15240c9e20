"""Right solutions of lesson 10 that differ from the package's."""

from mistake import Alternative

ALTERNATIVES = [
    # 10.1
    Alternative("the set of all characters, in a comprehension", "10.1", within="CharTokenizer",
                new="""
def build_vocab(self, corpus):
    self._set_vocab(sorted({c for text in texts_of(corpus) for c in text}))
"""),
    Alternative("the joined texts", "10.1", within="CharTokenizer", new="""
def build_vocab(self, corpus):
    self._set_vocab(sorted(set("".join(texts_of(corpus)))))
"""),
    Alternative("a Counter of characters", "10.1", within="CharTokenizer", new="""
def build_vocab(self, corpus):
    counts = Counter()
    for text in texts_of(corpus):
        counts.update(text)
    self._set_vocab(sorted(counts, key=ord))
"""),
    Alternative("a list without repetitions", "10.1", within="CharTokenizer", new="""
def build_vocab(self, corpus):
    found = []
    for text in texts_of(corpus):
        for character in text:
            if character not in found:
                found.append(character)
    found.sort()
    self._set_vocab(found)
"""),
    Alternative("a loop over the characters", "10.1", within="CharTokenizer", new="""
def encode(self, text):
    ids = []
    for character in checked_text(text):
        if character in self.char_to_id:
            ids.append(self.char_to_id[character])
        else:
            ids.append(self._unknown_id(character, text))
    return ids
"""),
    Alternative("KeyError is caught", "10.1", within="CharTokenizer", new="""
def encode(self, text):
    checked_text(text)
    ids = []
    for c in text:
        try:
            ids.append(self.char_to_id[c])
        except KeyError:
            ids.append(self._unknown_id(c, text))
    return ids
"""),
    Alternative("get with None", "10.1", within="CharTokenizer", new="""
def encode(self, text):
    def one(c):
        i = self.char_to_id.get(c)
        return self._unknown_id(c, text) if i is None else i
    return list(map(one, checked_text(text)))
"""),
    Alternative("the table of encode_array", "10.1", within="CharTokenizer", new="""
def encode(self, text):
    return self.encode_array(text).tolist()
"""),
    Alternative("decode adds to a text", "10.1", within="CharTokenizer", new="""
def decode(self, ids):
    text = ""
    for i in checked_ids(ids, self.vocab_size):
        text += self.vocab[i]
    return text
"""),
    Alternative("decode with map", "10.1", within="CharTokenizer", new="""
def decode(self, ids: TokenIds) -> str:
    return "".join(map(self.id_to_char.get, checked_ids(ids, self.vocab_size)))
"""),
    # 10.2
    Alternative("the constructor of bytes", "10.2", 'list(text.encode("utf-8"))',
                '[*bytes(text, "utf-8")]'),
    Alternative("the default encoding", "10.2", 'list(text.encode("utf-8"))',
                "[byte for byte in text.encode()]"),
    Alternative("UTF-8 by hand", "10.2", new="""
def text_to_bytes(text):
    ids = []
    for character in text:
        c = ord(character)
        if 0xD800 <= c < 0xE000:
            raise ValueError("surrogates not allowed")
        if c < 0x80:
            ids.append(c)
        elif c < 0x800:
            ids += [0xC0 | c >> 6, 0x80 | c & 63]
        elif c < 0x10000:
            ids += [0xE0 | c >> 12, 0x80 | c >> 6 & 63, 0x80 | c & 63]
        else:
            ids += [0xF0 | c >> 18, 0x80 | c >> 12 & 63, 0x80 | c >> 6 & 63, 0x80 | c & 63]
    return ids
"""),
    Alternative("str of bytes", "10.2", 'b"".join(tokens).decode("utf-8", errors="replace")',
                'str(b"".join(tokens), "utf8", "replace")'),
    Alternative("a bytearray", "10.2", new="""
def bytes_to_text(tokens):
    data = bytearray()
    for token in tokens:
        data += token
    return data.decode(errors="replace")
"""),
    # 10.3
    Alternative("zip instead of pairwise", "10.3", "pairwise(ids)", "zip(ids, ids[1:])"),
    Alternative("an index, and a plain dictionary", "10.3", new="""
def count_pairs(words):
    counts = {}
    for ids, times in words:
        for i in range(len(ids) - 1):
            pair = (ids[i], ids[i + 1])
            counts[pair] = counts.get(pair, 0) + times
    return Counter(counts)
"""),
    Alternative("a Counter for each word", "10.3", new="""
def count_pairs(words):
    total = Counter()
    for ids, times in words:
        for pair, n in Counter(pairwise(ids)).items():
            total[pair] += n * times
    return total
"""),
    Alternative("the pairs are repeated", "10.3", new="""
def count_pairs(words):
    counts = Counter()
    for ids, times in words:
        counts.update(list(pairwise(ids)) * times)
    return counts
"""),
    Alternative("sorted, then the first", "10.3", new="""
def most_frequent(counts):
    return sorted(counts, key=lambda pair: (-counts[pair], pair))[0]
"""),
    Alternative("the largest count first", "10.3", new="""
def most_frequent(counts):
    best = max(counts.values())
    return min(pair for pair, n in counts.items() if n == best)
"""),
    Alternative("max of sorted pairs", "10.3", new="""
def most_frequent(counts):
    return max(sorted(counts), key=counts.get)
"""),
    Alternative("max with negated ids", "10.3", new="""
def most_frequent(counts):
    return max(counts, key=lambda p: (counts[p], -p[0], -p[1]))
"""),
    Alternative("most_common of the Counter", "10.3", new="""
def most_frequent(counts):
    times = counts.most_common(1)[0][1]
    return min(p for p in counts if counts[p] == times)
"""),
    Alternative("a loop with the best so far", "10.3", new="""
def most_frequent(counts):
    best = None
    for pair, n in counts.items():
        if best is None or n > counts[best] or (n == counts[best] and pair < best):
            best = pair
    return best
"""),
    # 10.4
    Alternative("an index with a bound", "10.4", "tuple(ids[i : i + 2]) == pair",
                "i + 1 < len(ids) and ids[i] == pair[0] and ids[i + 1] == pair[1]"),
    Alternative("a list of the pair", "10.4", "tuple(ids[i : i + 2]) == pair",
                "ids[i : i + 2] == list(pair)"),
    Alternative("a copy that is changed", "10.4", new="""
def merge_pair(ids, pair, merged):
    ids = list(ids)
    i = 0
    while i < len(ids) - 1:
        if (ids[i], ids[i + 1]) == pair:
            ids[i : i + 2] = [merged]
        i += 1
    return ids
"""),
    Alternative("looks back at the result", "10.4", new="""
def merge_pair(ids, pair, merged):
    result, open_ = [], False
    for i in ids:
        if open_ and (result[-1], i) == pair:
            result[-1], open_ = merged, False
        else:
            result.append(i)
            open_ = True
    return result
"""),
    Alternative("ids as characters", "10.4", new="""
def merge_pair(ids, pair, merged):
    text = "".join(map(chr, ids)).replace("".join(map(chr, pair)), chr(merged))
    return [ord(c) for c in text]
"""),
    Alternative("a for loop that skips", "10.4", new="""
def merge_pair(ids, pair, merged):
    new, skip = [], False
    for n, i in enumerate(ids):
        if skip:
            skip = False
        elif i == pair[0] and n < len(ids) - 1 and ids[n + 1] == pair[1]:
            new.append(merged)
            skip = True
        else:
            new += [i]
    return new
"""),
    Alternative("an iterator", "10.4", new="""
def merge_pair(ids, pair, merged):
    result, rest = [], iter(range(len(ids)))
    for n in rest:
        found = tuple(ids[n : n + 2]) == pair
        result.append(merged if found else ids[n])
        if found:
            next(rest)
    return result
"""),
    Alternative("recursion", "10.4", new="""
def merge_pair(ids, pair, merged):
    for i in range(len(ids) - 1):
        if (ids[i], ids[i + 1]) == pair:
            return [*ids[:i], merged, *merge_pair(ids[i + 2 :], pair, merged)]
    return list(ids)
"""),
    # 10.5
    Alternative("a for loop", "10.5", new="""
def learn_merges(words, count):
    split = [(text_to_bytes(word), times) for word, times in words.items()]
    merges = []
    for step in range(count):
        pairs = count_pairs(split)
        if len(pairs) == 0:
            return merges
        merges.append(most_frequent(pairs))
        split = [(merge_pair(ids, merges[-1], 256 + step), times) for ids, times in split]
    return merges
"""),
    Alternative("a dictionary of the words' ids", "10.5", new="""
def learn_merges(words, count):
    ids_of = {word: list(word.encode()) for word in words}
    merges, new = [], 256
    while new < 256 + count:
        pairs = count_pairs([(ids_of[word], words[word]) for word in words])
        if not pairs:
            break
        best = most_frequent(pairs)
        for word in words:
            ids_of[word] = merge_pair(ids_of[word], best, new)
        merges += [best]
        new += 1
    return merges
"""),
    Alternative("an error ends the loop", "10.5", new="""
def learn_merges(words, count):
    tokens = [[text_to_bytes(word), times] for word, times in words.items()]
    merges = []
    while len(merges) < count:
        try:
            pair = most_frequent(count_pairs(tokens))
        except ValueError:
            break
        for entry in tokens:
            entry[0] = merge_pair(entry[0], pair, 256 + len(merges))
        merges.append(pair)
    return merges
"""),
    # 10.6
    Alternative("infinity for pairs without a rule", "10.6", new="""
def apply_merges(ids, rules):
    while len(ids) > 1:
        pair = min(pairwise(ids), key=lambda p: rules.get(p, (float("inf"), 0)))
        if pair not in rules:
            break
        ids = merge_pair(ids, pair, rules[pair][1])
    return ids
"""),
    Alternative("recursion over the merges", "10.6", new="""
def apply_merges(ids, rules):
    known = set(pairwise(ids)) & set(rules)
    if not known:
        return list(ids)
    pair = min(known, key=lambda p: rules[p][0])
    return apply_merges(merge_pair(ids, pair, rules[pair][1]), rules)
"""),
    Alternative("all rules, from the lowest rank", "10.6", new="""
def apply_merges(ids, rules):
    for pair in sorted(rules, key=lambda p: rules[p][0]):
        ids = merge_pair(ids, pair, rules[pair][1])
    return ids
"""),
    Alternative("rank, pair and token in a tuple", "10.6", new="""
def apply_merges(ids, rules):
    while True:
        found = [(rules[p][0], p, rules[p][1]) for p in zip(ids, ids[1:]) if p in rules]
        if found == []:
            return ids
        _, pair, token = sorted(found)[0]
        ids = merge_pair(ids, pair, token)
"""),
    Alternative("the merges in a copy", "10.6", new="""
def apply_merges(ids, rules):
    ids = list(ids)
    while True:
        places = [i for i in range(len(ids) - 1) if (ids[i], ids[i + 1]) in rules]
        if not places:
            return ids
        i = min(places, key=lambda i: rules[ids[i], ids[i + 1]][0])
        ids[i : i + 2] = [rules[ids[i], ids[i + 1]][1]]
"""),
    # 10.7
    Alternative("reverse alphabetical order", "10.7", "key=len, reverse=True", "reverse=True"),
    Alternative("a negated length", "10.7", "key=len, reverse=True", "key=lambda t: -len(t)"),
    Alternative("escaped first", "10.7", new="""
def split_special(text, special_tokens):
    tokens = [re.escape(t) for t in sorted(special_tokens, key=len)[::-1]]
    if not tokens:
        return [text]
    pattern = "|".join(tokens)
    return re.compile(f"({pattern})").split(text)
"""),
    Alternative("the next token is searched", "10.7", new="""
def split_special(text, special_tokens):
    tokens = sorted(special_tokens, key=len, reverse=True)
    parts, start, i = [], 0, 0
    while i < len(text):
        token = next((t for t in tokens if text.startswith(t, i)), None)
        if token is None:
            i += 1
        else:
            parts += [text[start:i], token]
            start = i = i + len(token)
    return [*parts, text[start:]]
"""),
    Alternative("the matches of finditer", "10.7", new="""
def split_special(text, special_tokens):
    tokens = sorted(special_tokens, key=len, reverse=True)
    if not tokens:
        return [text]
    parts, end = [], 0
    for match in re.finditer("|".join(map(re.escape, tokens)), text):
        parts += [text[end : match.start()], match[0]]
        end = match.end()
    parts.append(text[end:])
    return parts
"""),
    # 10.8
    Alternative("a list of all words", "10.8", within="BPETokenizer", new="""
def train(self, corpus, vocab_size=None):
    if vocab_size is not None:
        self._target = self._checked_target(vocab_size)
    words = []
    for text in texts_of(corpus):
        for n, part in enumerate(split_special(text, self.special_tokens)):
            if n % 2 == 0:
                words += split_words(part)
    count = self._target - 256 - len(self.special_tokens)
    self._set_merges(learn_merges(Counter(words), count))
"""),
    Alternative("counts in a plain dictionary", "10.8", within="BPETokenizer", new="""
def train(self, corpus, vocab_size=None):
    self._target = self._target if vocab_size is None else self._checked_target(vocab_size)
    counts = {}
    for text in texts_of(corpus):
        for part in split_special(text, list(self.special_tokens))[0::2]:
            for word in split_words(part):
                counts[word] = counts.get(word, 0) + 1
    room = self._target - (256 + len(self.special_tokens))
    self._set_merges(learn_merges(counts, room))
"""),
    Alternative("the cache in a condition", "10.8", within="BPETokenizer", new="""
def encode(self, text, allow_special=False):
    special = self.special_tokens if allow_special else {}
    ids = []
    for n, part in enumerate(split_special(checked_text(text), special)):
        if n % 2 == 1:
            ids.append(special[part])
            continue
        for word in split_words(part):
            if word not in self._cache:
                ids.extend(self._encode_word(word))
            else:
                ids.extend(self._cache[word])
    return ids
"""),
    Alternative("plain and special parts in turn", "10.8", within="BPETokenizer", new="""
def encode(self, text, allow_special=False):
    def words(part):
        return [i for w in split_words(part) for i in self._cache.get(w) or self._encode_word(w)]

    checked_text(text)
    parts = split_special(text, self.special_tokens) if allow_special else [text]
    ids = words(parts[0])
    for token, plain in zip(parts[1::2], parts[2::2]):
        ids += [self.special_tokens[token], *words(plain)]
    return ids
"""),
    Alternative("a list of tokens in decode", "10.8", within="BPETokenizer", new="""
def decode(self, ids):
    tokens = []
    for i in checked_ids(ids, self.vocab_size):
        tokens.append(self.vocab[i])
    return bytes_to_text(tokens)
"""),
]  # fmt: skip
