"""Further wrong solutions of lesson 11, written without a look at mistakes.py and the tests."""

# fmt: off
from mistake import Mistake

MISTAKES = [
    Mistake("g: fancy += loses duplicates", "11.1", new='''
def embedding_gradient(xp, g, ids, shape):
    table = np.zeros(shape, dtype=g.dtype)
    table[ids] += g
    return table, None
'''),
    Mistake("g: only rows up to the largest id", "11.1", new='''
def embedding_gradient(xp, g, ids, shape):
    table = np.zeros((int(ids.max()) + 1, shape[1]), dtype=g.dtype)
    np.add.at(table, ids, g)
    return table, None
'''),
    Mistake("g: token 0 is padding", "11.1", new='''
def embedding_gradient(xp, g, ids, shape):
    table = np.zeros(shape, dtype=g.dtype)
    np.add.at(table, ids, g)
    table[0] = 0
    return table, None
'''),
    Mistake("g: mean over the batch", "11.1", new='''
def embedding_gradient(xp, g, ids, shape):
    table = np.zeros(shape, dtype=g.dtype)
    np.add.at(table, ids, g)
    return table / len(g), None
'''),
    Mistake("g: dense one-hot with wrong axis", "11.1", new='''
def embedding_gradient(xp, g, ids, shape):
    one_hot = np.eye(shape[0], dtype=g.dtype)[ids]
    return np.tensordot(one_hot, g, axes=(0, 0)), None
'''),
    Mistake("g: loop over first two axes only", "11.1", new='''
def embedding_gradient(xp, g, ids, shape):
    table = np.zeros(shape, dtype=g.dtype)
    for b in range(ids.shape[0]):
        for t in range(ids.shape[1]):
            table[ids[b, t]] += g[b, t]
    return table, None
'''),
    Mistake("forward returns a view that is written to", "11.1", new='''
def embedding(xp, weight, ids):
    ids = ids % weight.shape[0]
    return weight[ids], (ids, weight.shape)
'''),
    Mistake("saved g shape from output", "11.1", new='''
def embedding(xp, weight, ids):
    rows = xp.take_rows(weight, ids)
    return rows, (ids, rows.shape)
'''),
    Mistake("xavier init", "11.2","random.normal((vocab_size, embed_dim))","random.normal((vocab_size, embed_dim)) / math.sqrt(embed_dim)"),
    Mistake("seed in constructor", "11.2","        self.vocab_size, self","        random.manual_seed(0)\n        self.vocab_size, self"),
    Mistake("unit vectors", "11.2", within="Embedding",new='''
def forward(self, ids):
    if ids.is_floating_point() or ids.dtype == ids.backend.xp.bool:
        raise TypeError("integers")
    x = embedding(self.weight, ids)
    return x / ((x * x).sum(axis=-1, keepdims=True)) ** 0.5
'''),
    Mistake("floats that are whole numbers are accepted", "11.2", within="Embedding",new='''
def forward(self, ids):
    if ids.dtype == ids.backend.xp.bool or (ids.numpy() % 1).any():
        raise TypeError("integers")
    return embedding(self.weight, Tensor(ids.numpy().astype(int)))
'''),
    Mistake("int64 only", "11.2", within="Embedding",new='''
def forward(self, ids):
    if ids.dtype != ids.backend.xp.int64:
        raise TypeError("integers")
    return embedding(self.weight, ids)
'''),
    Mistake("numpy lookup", "11.2", within="Embedding",new='''
def forward(self, ids):
    if ids.is_floating_point() or ids.dtype == ids.backend.xp.bool:
        raise TypeError("integers")
    return Tensor(self.weight.numpy()[ids.numpy()])
'''),
    Mistake("positive weights", "11.2","random.normal((vocab_size, embed_dim))","abs(random.normal((vocab_size, embed_dim)))"),
    Mistake("each column its own frequency", "11.3", new='''
def create_sinusoidal_embeddings(max_seq_len, embed_dim, backend = None):
    if embed_dim % 2:
        raise ValueError(f"{embed_dim}")
    table = np.zeros((max_seq_len, embed_dim), dtype=np.float32)
    for p in range(max_seq_len):
        for j in range(embed_dim):
            angle = p / 10000 ** (j / embed_dim)
            table[p, j] = math.sin(angle) if j % 2 == 0 else math.cos(angle)
    return Tensor(table, backend=backend)
'''),
    Mistake("tensor2tensor spacing", "11.3", new='''
def _angles(positions, size, base):
    half = size // 2
    frequencies = np.exp(-math.log(base) * np.arange(half) / max(half - 1, 1))
    return np.arange(positions)[:, None] * frequencies
'''),
    Mistake("2 pi", "11.3", new='''
def _angles(positions, size, base):
    return 2 * math.pi * np.arange(positions)[:, None] * base ** (-np.arange(0, size, 2) / size)
'''),
    Mistake("base ignored", "11.3", new='''
def _angles(positions, size, base):
    return np.arange(positions)[:, None] * 10000.0 ** (-np.arange(0, size, 2) / size)
'''),
    Mistake("2i doubled", "11.3", new='''
def _angles(positions, size, base):
    return np.arange(positions)[:, None] * base ** (-2 * np.arange(0, size, 2) / size)
'''),
    Mistake("float32 angles by accumulation", "11.3", new='''
def _angles(positions, size, base):
    return (np.arange(positions, dtype=np.float32)[:, None] * (base ** (-np.arange(0, size, 2) / size)).astype(np.float16)).astype(np.float32)
'''),
    Mistake("normalised rows", "11.3","    return Tensor(table, backend=backend)","    return Tensor(table / np.linalg.norm(table, axis=1, keepdims=True), backend=backend)"),
    Mistake("odd sizes rounded down", "11.3",'        raise ValueError(f"embed_dim={embed_dim} must be even, for pairs of a sine and a cosine")',"        embed_dim -= 1"),
    Mistake("internal counter", "11.4", within="PositionalEncoding",new='''
def forward(self, x, start = 0):
    start = start or getattr(self, "_seen", 0)
    T = x.shape[-2]
    _check_positions(start, T, self.max_seq_len)
    self._seen = start + T
    return x + self.weight[start : start + T]
'''),
    Mistake("scaled positions", "11.4", within="PositionalEncoding",new='''
def forward(self, x, start = 0):
    T = x.shape[-2]
    _check_positions(start, T, self.max_seq_len)
    return x * math.sqrt(x.shape[-1]) + self.weight[start : start + T]
'''),
    Mistake("start times T", "11.4", within="SinusoidalEncoding",new='''
def forward(self, x, start = 0):
    T = x.shape[-2]
    _check_positions(start, T, self.max_seq_len)
    return x + self.table[start * T : start * T + T]
'''),
    Mistake("check without start", "11.4", within="SinusoidalEncoding",new='''
def forward(self, x, start = 0):
    T = x.shape[-2]
    _check_positions(0, T, self.max_seq_len)
    return x + self.table[start : start + T]
'''),
    Mistake("clip to the last position", "11.4", within="PositionalEncoding",new='''
def forward(self, x, start = 0):
    T = x.shape[-2]
    _check_positions(start, T, self.max_seq_len)
    return x + self.weight[np.minimum(np.arange(start, start + T), self.max_seq_len - 2)]
'''),
    Mistake("interleaved pairs", "11.5", new='''
def _rotate(xp, x, cos, sin):
    first, second = x[..., 0::2], x[..., 1::2]
    return xp.reshape(xp.stack([first * cos - second * sin, second * cos + first * sin], axis=-1), x.shape)
'''),
    Mistake("split interleaved, joined in halves", "11.5", new='''
def _rotate(xp, x, cos, sin):
    first, second = x[..., 0::2], x[..., 1::2]
    return xp.concat([first * cos - second * sin, second * cos + first * sin], axis=-1)
'''),
    Mistake("overwritten first", "11.5", new='''
def _rotate(xp, x, cos, sin):
    half = x.shape[-1] // 2
    first, second = x[..., :half], x[..., half:]
    first = first * cos - second * sin
    second = second * cos + first * sin
    return xp.concat([first, second], axis=-1)
'''),
    Mistake("start only for one token", "11.5", within="RotaryEmbedding",new='''
def forward(self, x, start = 0):
    self._check_shape(x)
    T = x.shape[-2]
    cos, sin = self._tables(start, start + T) if T == 1 else self._tables(0, T)
    return rotary(x, cos, sin)
'''),
    Mistake("the same position for all tokens", "11.5", within="RotaryEmbedding",new='''
def forward(self, x, start = 0):
    self._check_shape(x)
    cos, sin = self._tables(start, start + 1)
    return rotary(x, cos, sin)
'''),
    Mistake("cos and sin multiplied elementwise over all of x (no pairs)", "11.5", new='''
def _rotate(xp, x, cos, sin):
    c, s = xp.concat([cos, cos], axis=-1), xp.concat([sin, sin], axis=-1)
    return x * c + xp.flip(x, axis=-1) * s
'''),
    Mistake("rotate_half without the minus", "11.5", new='''
def _rotate(xp, x, cos, sin):
    half = x.shape[-1] // 2
    c, s = xp.concat([cos, cos], axis=-1), xp.concat([sin, sin], axis=-1)
    return x * c + xp.concat([x[..., half:], x[..., :half]], axis=-1) * s
'''),
    Mistake("scale after positions", "11.6", within="EmbeddingLayer",new='''
def forward(self, ids, start = 0):
    x = self.tokens(ids)
    if self.positions is not None:
        x = self.positions(x, start)
    return x * self.scale
'''),
    Mistake("scale only without positions", "11.6", within="EmbeddingLayer",new='''
def forward(self, ids, start = 0):
    x = self.tokens(ids)
    return x * self.scale if self.positions is None else self.positions(x, start)
'''),
    Mistake("positions added twice", "11.6", within="EmbeddingLayer",new='''
def forward(self, ids, start = 0):
    x = self.tokens(ids) * self.scale
    return x if self.positions is None else x + self.positions(x, start)
'''),
    Mistake("embeds positions by ids", "11.6", within="EmbeddingLayer",new='''
def forward(self, ids, start = 0):
    x = self.tokens(ids) * self.scale
    if self.positions is None:
        return x
    return self.positions(x, int(ids.numpy().min()) * 0 + (start if ids.ndim > 1 else 0))
'''),
    Mistake("unknown names are learned", "11.6","pos_encoding not in ENCODINGS","False"),
]
