"""Further wrong solutions of lesson 10, written without a look at mistakes.py and the tests."""

# fmt: off
from mistake import Mistake


def of_char(name, new):
    return Mistake(name, "10.1", within="CharTokenizer", new=new)


def of_bpe(name, new):
    return Mistake(name, "10.8", within="BPETokenizer", new=new)


BUILD='''
def build_vocab(self, corpus):
%s
'''
ENC='''
def encode(self, text):
%s
'''
DEC='''
def decode(self, ids):
%s
'''
TRAIN='''
def train(self, corpus, vocab_size=None):
    if vocab_size is not None:
        self._target = self._checked_target(vocab_size)
    words = Counter()
    for text in texts_of(corpus):
        for part in split_special(text, self.special_tokens)[::2]:
            words.update(split_words(part))
    self._set_merges(learn_merges(words, self._target - 256 - len(self.special_tokens)))
'''
ENCODE='''
def encode(self, text, allow_special=False):
    ids = []
    for n, part in enumerate(split_special(text, self.special_tokens if allow_special else [])):
        if n % 2:
            ids.append(self.special_tokens[part])
        else:
            for word in split_words(part):
                ids += self._cache.get(word) or self._encode_word(word)
    return ids
'''
def rep(s,*pairs):
    for a,b in pairs:
        assert a in s,a
        s=s.replace(a,b)
    return s

MISTAKES = [
    of_char("vocab in order of first appearance", BUILD%"    seen = {}\n    for text in texts_of(corpus):\n        for c in text:\n            seen.setdefault(c)\n    self._set_vocab(list(seen))"),
    of_char("by frequency", BUILD%"    counts = Counter()\n    for text in texts_of(corpus):\n        counts.update(text)\n    self._set_vocab([c for c, _ in counts.most_common()])"),
    of_char("lower case", BUILD%"    self._set_vocab(sorted({c for text in texts_of(corpus) for c in text.lower()}))"),
    of_char("sorted ignoring case", BUILD%"    self._set_vocab(sorted({c for text in texts_of(corpus) for c in text}, key=str.lower))"),
    of_char("whitespace dropped", BUILD%"    self._set_vocab(sorted({c for text in texts_of(corpus) for c in text if not c.isspace()}))"),
    of_char("only newline dropped (splitlines)", BUILD%"    self._set_vocab(sorted({c for text in texts_of(corpus) for line in text.splitlines() for c in line}))"),
    of_char("strip", BUILD%"    self._set_vocab(sorted({c for text in texts_of(corpus) for c in text.strip()}))"),
    of_char("only letters", BUILD%"    self._set_vocab(sorted({c for text in texts_of(corpus) for c in text if c.isalnum() or c == ' '}))"),
    of_char("adds to old vocab", BUILD%"    chars = set(self.vocab)\n    for text in texts_of(corpus):\n        chars |= set(text)\n    self._set_vocab(sorted(chars))"),
    of_char("only ascii", BUILD%"    self._set_vocab(sorted({c for text in texts_of(corpus) for c in text if ord(c) < 128}))"),
    of_char("last text only", BUILD%"    for text in texts_of(corpus):\n        self._set_vocab(sorted(set(text)))"),
    of_char("corpus iterated directly: works for str and list of str", BUILD%"    self._set_vocab(sorted(set(''.join(corpus))))"),
    of_char("unicode normalised", BUILD%"    import unicodedata\n    self._set_vocab(sorted({c for text in texts_of(corpus) for c in unicodedata.normalize('NFKD', text)}))"),
    of_char("encode skips unknown", ENC%"    return [self.char_to_id[c] for c in text if c in self.char_to_id]"),
    of_char("encode maps unknown to 0", ENC%"    return [self.char_to_id.get(c, 0) for c in text]"),
    of_char("encode lowercases when unknown", ENC%"    return [self.char_to_id[c] if c in self.char_to_id else self.char_to_id.get(c.lower(), None) or self._unknown_id(c, text) for c in text]"),
    of_char("encode: truthiness of id 0", ENC%"    return [self.char_to_id.get(c) or self._unknown_id(c, text) for c in text]"),
    of_char("encode eager default", ENC%"    return [self.char_to_id.get(c, self._unknown_id(c, text)) for c in text]"),
    of_char("encode array", ENC%"    return np.array([self.char_to_id[c] if c in self.char_to_id else self._unknown_id(c, text) for c in text], dtype=np.int64)"),
    of_char("encode tuple", ENC%"    return tuple(self.char_to_id[c] if c in self.char_to_id else self._unknown_id(c, text) for c in text)"),
    of_char("encode strips", ENC%"    return [self.char_to_id[c] if c in self.char_to_id else self._unknown_id(c, text) for c in text.strip()]"),
    of_char("encode with ord", ENC%"    return [ord(c) - 97 if c in self.char_to_id else self._unknown_id(c, text) for c in text]"),
    of_char("encode: position of the first in text", ENC%"    return [text.index(c) if c in self.char_to_id else self._unknown_id(c, text) for c in text]"),
    of_char("decode with spaces", DEC%"    return ' '.join(self.id_to_char[i] for i in checked_ids(ids, self.vocab_size))"),
    of_char("decode via vocab[-1]", DEC%"    return ''.join(self.vocab[i] for i in ids)"),
    of_char("decode skips unknown", DEC%"    return ''.join(self.id_to_char[i] for i in checked_ids(ids, self.vocab_size) if self.id_to_char[i] != self.unknown)"),
    of_char("decode strips", DEC%"    return ''.join(self.id_to_char[i] for i in checked_ids(ids, self.vocab_size)).strip()"),
    of_char("decode unknown as ?", DEC%"    return ''.join('?' if self.id_to_char[i] == self.unknown else self.id_to_char[i] for i in checked_ids(ids, self.vocab_size))"),
    # 10.2
    Mistake("ord", "10.2", new="def text_to_bytes(text):\n    return [ord(c) for c in text]"),
    Mistake("ascii ignore", "10.2", new="def text_to_bytes(text):\n    return list(text.encode('ascii', 'ignore'))"),
    Mistake("latin-1 replace", "10.2", new="def text_to_bytes(text):\n    return list(text.encode('latin-1', 'replace'))"),
    Mistake("ord mod 256", "10.2", new="def text_to_bytes(text):\n    return [ord(c) % 256 for c in text]"),
    Mistake("bytes per character only two", "10.2", new="def text_to_bytes(text):\n    return [b for c in text for b in c.encode('utf-8')[:2]]"),
    Mistake("decode each", "10.2", new="def bytes_to_text(tokens):\n    return ''.join(t.decode('utf-8', errors='replace') for t in tokens)"),
    Mistake("len first, consumes a generator", "10.2", new="def bytes_to_text(tokens):\n    if not any(True for _ in tokens):\n        return ''\n    return b''.join(tokens).decode('utf-8', errors='replace')"),
    # 10.3
    Mistake("times ignored", "10.3", new="def count_pairs(words):\n    return Counter(p for ids, _ in words for p in pairwise(ids))"),
    Mistake("non-overlapping", "10.3", new="def count_pairs(words):\n    counts = Counter()\n    for ids, times in words:\n        for i in range(0, len(ids) - 1, 2):\n            counts[ids[i], ids[i + 1]] += times\n    return counts"),
    Mistake("overlaps like 5 5 5 counted once", "10.3", new="def count_pairs(words):\n    counts = Counter()\n    for ids, times in words:\n        last = None\n        for pair in pairwise(ids):\n            if pair != last:\n                counts[pair] += times\n                last = pair\n            else:\n                last = None\n    return counts"),
    Mistake("across words", "10.3", new="def count_pairs(words):\n    counts = Counter()\n    flat = []\n    for ids, times in words:\n        flat += list(ids) * times\n    for pair in pairwise(flat):\n        counts[pair] += 1\n    return counts"),
    Mistake("unordered pairs", "10.3", new="def count_pairs(words):\n    counts = Counter()\n    for ids, times in words:\n        for a, b in pairwise(ids):\n            counts[min(a, b), max(a, b)] += times\n    return counts"),
    Mistake("with wrap-around", "10.3", new="def count_pairs(words):\n    counts = Counter()\n    for ids, times in words:\n        for i in range(len(ids)):\n            counts[ids[i - 1], ids[i]] += times\n    return counts"),
    Mistake("keys are lists as strings", "10.3", new="def count_pairs(words):\n    counts = Counter()\n    for ids, times in words:\n        for a, b in pairwise(ids):\n            counts[f'{a} {b}'] += times\n    return counts"),
    Mistake("most_common(1)", "10.3", new="def most_frequent(counts):\n    return Counter(counts).most_common(1)[0][0]"),
    Mistake("ties by second id", "10.3", new="def most_frequent(counts):\n    return min(counts, key=lambda pair: (-counts[pair], pair[::-1]))"),
    Mistake("returns pair and count", "10.3", new="def most_frequent(counts):\n    pair = min(counts, key=lambda pair: (-counts[pair], pair))\n    return pair, counts[pair]"),
    # 10.4
    Mistake("text replace", "10.4", new="def merge_pair(ids, pair, merged):\n    s = ' '.join(map(str, ids)).replace(f'{pair[0]} {pair[1]}', str(merged))\n    return [int(x) for x in s.split()]"),
    Mistake("padded text replace", "10.4", new="def merge_pair(ids, pair, merged):\n    s = (' ' + ' '.join(map(str, ids)) + ' ').replace(f' {pair[0]} {pair[1]} ', f' {merged} ')\n    return [int(x) for x in s.split()]"),
    Mistake("bytes/chr replace", "10.4", new="def merge_pair(ids, pair, merged):\n    s = ''.join(chr(i) for i in ids).replace(chr(pair[0]) + chr(pair[1]), chr(merged % 256))\n    return [ord(c) for c in s]"),
    Mistake("right to left", "10.4", new="def merge_pair(ids, pair, merged):\n    out, i = [], len(ids)\n    while i > 0:\n        if tuple(ids[max(i - 2, 0):i]) == tuple(pair):\n            out.append(merged); i -= 2\n        else:\n            out.append(ids[i - 1]); i -= 1\n    return out[::-1]"),
    Mistake("in place", "10.4", new="def merge_pair(ids, pair, merged):\n    i = 0\n    while i < len(ids) - 1:\n        if (ids[i], ids[i + 1]) == tuple(pair):\n            ids[i:i + 2] = [merged]\n        i += 1\n    return ids"),
    Mistake("first only", "10.4", new="def merge_pair(ids, pair, merged):\n    for i in range(len(ids) - 1):\n        if (ids[i], ids[i + 1]) == tuple(pair):\n            return ids[:i] + [merged] + ids[i + 2:]\n    return ids"),
    Mistake("any of both orders", "10.4", new="def merge_pair(ids, pair, merged):\n    out, i = [], 0\n    while i < len(ids):\n        if sorted(ids[i:i + 2]) == sorted(pair):\n            out.append(merged); i += 2\n        else:\n            out.append(ids[i]); i += 1\n    return out"),
    Mistake("drops the last", "10.4", new="def merge_pair(ids, pair, merged):\n    out, i = [], 0\n    while i < len(ids) - 1:\n        if tuple(ids[i:i + 2]) == tuple(pair):\n            out.append(merged); i += 2\n        else:\n            out.append(ids[i]); i += 1\n    return out"),
    Mistake("256 always", "10.4", new="def merge_pair(ids, pair, merged):\n    out, i = [], 0\n    while i < len(ids):\n        if tuple(ids[i:i + 2]) == tuple(pair):\n            out.append(max(256, max(ids) + 1)); i += 2\n        else:\n            out.append(ids[i]); i += 1\n    return out"),
    # 10.5
    Mistake("stops at pairs that occur once", "10.5", new='''
def learn_merges(words, count):
    tokens = [(text_to_bytes(w), n) for w, n in words.items()]
    merges = []
    while len(merges) < count:
        counts = count_pairs(tokens)
        if not counts or max(counts.values()) < 2:
            break
        pair = most_frequent(counts)
        tokens = [(merge_pair(ids, pair, 256 + len(merges)), n) for ids, n in tokens]
        merges.append(pair)
    return merges
'''),
    Mistake("counted once at the start", "10.5", new='''
def learn_merges(words, count):
    tokens = [(text_to_bytes(w), n) for w, n in words.items()]
    counts = count_pairs(tokens)
    return sorted(counts, key=lambda p: (-counts[p], p))[:count]
'''),
    Mistake("one word at a time", "10.5", new='''
def learn_merges(words, count):
    merges = []
    for word, n in words.items():
        ids = text_to_bytes(word)
        while len(merges) < count and len(ids) > 1:
            pair = most_frequent(count_pairs([(ids, n)]))
            ids = merge_pair(ids, pair, 256 + len(merges))
            merges.append(pair)
    return merges
'''),
    Mistake("always 256", "10.5", new='''
def learn_merges(words, count):
    tokens = [(text_to_bytes(w), n) for w, n in words.items()]
    merges = []
    while len(merges) < count:
        counts = count_pairs(tokens)
        if not counts:
            break
        pair = most_frequent(counts)
        tokens = [(merge_pair(ids, pair, 256), n) for ids, n in tokens]
        merges.append(pair)
    return merges
'''),
    Mistake("by characters", "10.5", new='''
def learn_merges(words, count):
    tokens = [([ord(c) for c in w], n) for w, n in words.items()]
    merges = []
    while len(merges) < count:
        counts = count_pairs(tokens)
        if not counts:
            break
        pair = most_frequent(counts)
        tokens = [(merge_pair(ids, pair, 256 + len(merges)), n) for ids, n in tokens]
        merges.append(pair)
    return merges
'''),
    Mistake("too many", "10.5", new='''
def learn_merges(words, count):
    tokens = [(text_to_bytes(w), n) for w, n in words.items()]
    merges = []
    while True:
        counts = count_pairs(tokens)
        if not counts:
            break
        pair = most_frequent(counts)
        tokens = [(merge_pair(ids, pair, 256 + len(merges)), n) for ids, n in tokens]
        merges.append(pair)
        if len(merges) >= count:
            break
    return merges
'''),
    Mistake("set of merges", "10.5", new='''
def learn_merges(words, count):
    tokens = [(text_to_bytes(w), n) for w, n in words.items()]
    merges = []
    while len(merges) < count:
        counts = count_pairs(tokens)
        if not counts:
            break
        pair = most_frequent(counts)
        tokens = [(merge_pair(ids, pair, 256 + len(merges)), n) for ids, n in tokens]
        merges.append(pair)
    return sorted(merges)
'''),
    Mistake("counts of words lost after the first merge", "10.5", new='''
def learn_merges(words, count):
    tokens = [(text_to_bytes(w), n) for w, n in words.items()]
    merges = []
    while len(merges) < count:
        counts = count_pairs(tokens)
        if not counts:
            break
        pair = most_frequent(counts)
        tokens = [(merge_pair(ids, pair, 256 + len(merges)), 1) for ids, n in tokens]
        merges.append(pair)
    return merges
'''),
    Mistake("two pairs of equal count in one round", "10.5", new='''
def learn_merges(words, count):
    tokens = [(text_to_bytes(w), n) for w, n in words.items()]
    merges = []
    while len(merges) < count:
        counts = count_pairs(tokens)
        if not counts:
            break
        best = max(counts.values())
        for pair in sorted(p for p in counts if counts[p] == best):
            if len(merges) < count:
                tokens = [(merge_pair(ids, pair, 256 + len(merges)), n) for ids, n in tokens]
                merges.append(pair)
    return merges
'''),
    Mistake("most_common tie", "10.5", new='''
def learn_merges(words, count):
    tokens = [(text_to_bytes(w), n) for w, n in words.items()]
    merges = []
    while len(merges) < count:
        counts = count_pairs(tokens)
        if not counts:
            break
        pair = counts.most_common(1)[0][0]
        tokens = [(merge_pair(ids, pair, 256 + len(merges)), n) for ids, n in tokens]
        merges.append(pair)
    return merges
'''),
    Mistake("lowercase", "10.5", new='''
def learn_merges(words, count):
    tokens = [(text_to_bytes(w.lower()), n) for w, n in words.items()]
    merges = []
    while len(merges) < count:
        counts = count_pairs(tokens)
        if not counts:
            break
        pair = most_frequent(counts)
        tokens = [(merge_pair(ids, pair, 256 + len(merges)), n) for ids, n in tokens]
        merges.append(pair)
    return merges
'''),
    # 10.6
    Mistake("leftmost", "10.6", new="def apply_merges(ids, rules):\n    while True:\n        pairs = [p for p in pairwise(ids) if p in rules]\n        if not pairs:\n            return ids\n        ids = merge_pair(ids, pairs[0], rules[pairs[0]][1])"),
    Mistake("smallest token", "10.6", new="def apply_merges(ids, rules):\n    while True:\n        pairs = [p for p in pairwise(ids) if p in rules]\n        if not pairs:\n            return ids\n        p = min(pairs, key=lambda p: rules[p][1])\n        ids = merge_pair(ids, p, rules[p][1])"),
    Mistake("256 + rank", "10.6", new="def apply_merges(ids, rules):\n    while True:\n        pairs = [p for p in pairwise(ids) if p in rules]\n        if not pairs:\n            return ids\n        p = min(pairs, key=lambda p: rules[p])\n        ids = merge_pair(ids, p, 256 + rules[p][0])"),
    Mistake("one merge", "10.6", new="def apply_merges(ids, rules):\n    pairs = [p for p in pairwise(ids) if p in rules]\n    if not pairs:\n        return ids\n    p = min(pairs, key=lambda p: rules[p])\n    return merge_pair(ids, p, rules[p][1])"),
    Mistake("most frequent pair", "10.6", new="def apply_merges(ids, rules):\n    while True:\n        c = count_pairs([(ids, 1)])\n        c = {p: n for p, n in c.items() if p in rules}\n        if not c:\n            return ids\n        p = min(c, key=lambda p: (-c[p], rules[p]))\n        ids = merge_pair(ids, p, rules[p][1])"),
    Mistake("longest match (greedy)", "10.6", new="def apply_merges(ids, rules):\n    while True:\n        pairs = [p for p in pairwise(ids) if p in rules]\n        if not pairs:\n            return ids\n        p = max(pairs, key=lambda p: rules[p])\n        ids = merge_pair(ids, p, rules[p][1])"),
    Mistake("only first occurrence merged then stop on changed", "10.6", new="def apply_merges(ids, rules):\n    last = None\n    while True:\n        pairs = [p for p in pairwise(ids) if p in rules and p != last]\n        if not pairs:\n            return ids\n        p = min(pairs, key=lambda p: rules[p])\n        i = list(pairwise(ids)).index(p)\n        ids = ids[:i] + [rules[p][1]] + ids[i + 2:]\n        last = p"),
    # 10.7
    Mistake("no escape", "10.7", new="def split_special(text, special_tokens):\n    t = sorted(special_tokens, key=len, reverse=True)\n    return re.split('(' + '|'.join(t) + ')', text) if t else [text]"),
    Mistake("filtered empty", "10.7", new="def split_special(text, special_tokens):\n    t = sorted(special_tokens, key=len, reverse=True)\n    return [p for p in re.split('(' + '|'.join(map(re.escape, t)) + ')', text) if p] if t else [text]"),
    Mistake("sequential str.split", "10.7", new="def split_special(text, special_tokens):\n    parts = [text]\n    for t in special_tokens:\n        new = []\n        for p in parts:\n            if p in special_tokens:\n                new.append(p)\n                continue\n            for i, x in enumerate(p.split(t)):\n                if i:\n                    new.append(t)\n                new.append(x)\n        parts = new\n    return parts"),
    Mistake("each group", "10.7", new="def split_special(text, special_tokens):\n    t = sorted(special_tokens, key=len, reverse=True)\n    return re.split('|'.join('(' + re.escape(x) + ')' for x in t), text) if t else [text]"),
    Mistake("no tokens gives letters", "10.7", new="def split_special(text, special_tokens):\n    t = sorted(special_tokens, key=len, reverse=True)\n    return re.split('(' + '|'.join(map(re.escape, t)) + ')', text)"),
    Mistake("case insensitive", "10.7", new="def split_special(text, special_tokens):\n    t = sorted(special_tokens, key=len, reverse=True)\n    return re.split('(' + '|'.join(map(re.escape, t)) + ')', text, flags=re.I) if t else [text]"),
    Mistake("first occurrence", "10.7", new="def split_special(text, special_tokens):\n    t = sorted(special_tokens, key=len, reverse=True)\n    return re.split('(' + '|'.join(map(re.escape, t)) + ')', text, maxsplit=1) if t else [text]"),
    Mistake("shortest first", "10.7", new="def split_special(text, special_tokens):\n    t = sorted(special_tokens, key=len)\n    return re.split('(' + '|'.join(map(re.escape, t)) + ')', text) if t else [text]"),
    Mistake("strips parts", "10.7", new="def split_special(text, special_tokens):\n    t = sorted(special_tokens, key=len, reverse=True)\n    return [p.strip() for p in re.split('(' + '|'.join(map(re.escape, t)) + ')', text)] if t else [text]"),
    Mistake("dot not multi-line: none with newline", "10.7", new="def split_special(text, special_tokens):\n    t = sorted(special_tokens, key=len, reverse=True)\n    if not t or not any(x in text for x in t):\n        return text.split('\\n')\n    return re.split('(' + '|'.join(map(re.escape, t)) + ')', text)"),
    Mistake("empty text", "10.7", new="def split_special(text, special_tokens):\n    t = sorted(special_tokens, key=len, reverse=True)\n    if not text:\n        return []\n    return re.split('(' + '|'.join(map(re.escape, t)) + ')', text) if t else [text]"),
    # 10.8
    of_bpe("encode split()", rep(ENCODE,("split_words(part)","part.split()"))),
    of_bpe("256 not subtracted", rep(TRAIN,(" - 256",""))),
    of_bpe("last text only", rep(TRAIN,("    words = Counter()\n    for text in texts_of(corpus):\n","    for text in texts_of(corpus):\n        words = Counter()\n"))),
    of_bpe("only up to the first special token", rep(TRAIN,("[::2]","[:1]"))),
    of_bpe("lines", rep(TRAIN,("split_words(part)","part.splitlines()"))),
    of_bpe("lower", rep(TRAIN,("split_words(part)","split_words(part.lower())"))),
    of_bpe("always special", rep(ENCODE,("self.special_tokens if allow_special else []","self.special_tokens"))),
    of_bpe("never special", rep(ENCODE,("self.special_tokens if allow_special else []","[]"))),
    of_bpe("special ids left out", rep(ENCODE,("            ids.append(self.special_tokens[part])\n","            pass\n"))),
    of_bpe("cache extended", rep(ENCODE,("    ids = []\n","    ids = None\n"),("                ids += self._cache.get(word) or self._encode_word(word)\n","                if ids is None:\n                    ids = self._cache.get(word) or self._encode_word(word)\n                else:\n                    ids += self._cache.get(word) or self._encode_word(word)\n"),("            ids.append(self","            ids = [] if ids is None else ids\n            ids.append(self"),("    return ids","    return ids or []"))),
    of_bpe("whole part as a word", rep(ENCODE,("split_words(part)","[part]"))),
    of_bpe("nested lists", rep(ENCODE,("ids += self._cache.get(word) or self._encode_word(word)","ids.append(self._cache.get(word) or self._encode_word(word))"))),
    of_bpe("lowercase encode", rep(ENCODE,("split_words(part)","split_words(part.lower())"))),
    of_bpe("strip parts", rep(ENCODE,("split_words(part)","split_words(part.strip())"))),
    of_bpe("odd and even confused", rep(ENCODE,("if n % 2:","if part in self.special_tokens:"))),
    of_bpe("decode of bytes: latin", "def decode(self, ids):\n    return b''.join(self.vocab[i] for i in checked_ids(ids, self.vocab_size)).decode('utf-8', 'ignore')"),
    of_bpe("cache never used, keyed by part", rep(ENCODE,("self._cache.get(word) or self._encode_word(word)","self._cache.get(word[0]) or self._encode_word(word)"))),
]
