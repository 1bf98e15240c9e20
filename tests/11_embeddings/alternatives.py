"""Right solutions of lesson 11 that differ from the package's.

The inline tests accept NumPy's own functions in an op, too. Such an op fails on other backends, as
the lesson says, and so in the integration tests on the strict backend.
"""

from mistake import Alternative

ALTERNATIVES = [
    # 11.1
    Alternative("one-hot matrix for the gradient", "11.1", new='''
def embedding_gradient(xp, g, ids, shape):
    rows, C = shape
    one_hot = np.zeros((ids.size, rows), g.dtype)
    one_hot[np.arange(ids.size), np.reshape(ids, (-1,))] = 1
    return one_hot.T @ np.reshape(g, (-1, C)), None
'''),
    Alternative("np.add.at", "11.1", new='''
def embedding_gradient(xp, g, ids, shape):
    table = np.zeros(shape, dtype=g.dtype)
    np.add.at(table, ids, g)
    return table, None
'''),
    Alternative("xp.index_add", "11.1", new='''
def embedding_gradient(xp, g, ids, shape):
    return xp.index_add(xp.zeros(shape, dtype=g.dtype), ids, g), None
'''),
    Alternative("a loop over all tokens", "11.1", new='''
def embedding_gradient(xp, g, ids, shape):
    total = xp.zeros(shape, dtype=g.dtype)
    flat_g, flat_ids = g.reshape(-1, shape[1]), ids.reshape(-1)
    for i in range(len(flat_ids)):
        total[flat_ids[i]] += flat_g[i]
    return total, None
'''),
    Alternative("a loop over the vocabulary", "11.1", new='''
def embedding_gradient(xp, g, ids, shape):
    flat = xp.reshape(g, (-1, shape[-1]))
    rows = [xp.sum(flat[xp.reshape(ids, (-1,)) == v], axis=0) for v in range(shape[0])]
    return xp.stack(rows, axis=0), None
'''),
    Alternative("the gradient in a lambda", "11.1",
                "return xp.segment_sum(flat, xp.reshape(ids, (-1,)), shape[0]), None",
                "return lambda: xp.segment_sum(flat, xp.reshape(ids, (-1,)), shape[0]), None"),
    Alternative("V and C saved as numbers, in a list", "11.1", new='''
def embedding(xp, weight, ids):
    V, C = weight.shape
    return xp.take_rows(weight, ids), [ids, V, C]


def embedding_gradient(xp, g, ids, V, C):
    return xp.segment_sum(xp.reshape(g, (-1, C)), xp.reshape(ids, (-1,)), V), None
'''),
    Alternative("a check of the ids of one's own", "11.1", new='''
def embedding(xp, weight, ids):
    if ids.size and (ids.min() < 0 or ids.max() >= len(weight)):
        raise IndexError("no such token")
    return weight[ids], (ids, weight.shape)
'''),
    Alternative("a one-hot product, with a check", "11.1", new='''
def embedding(xp, weight, ids):
    V = weight.shape[0]
    if ((ids < 0) | (ids >= V)).any():
        raise IndexError(f"ids must be in [0, {V})")
    one_hot = xp.astype(xp.expand_dims(ids, axis=-1) == xp.arange(V), weight.dtype)
    return one_hot @ weight, (ids, (V, weight.shape[1]))
'''),
    Alternative("flat ids, reshaped in the end", "11.1", new='''
def embedding(xp, weight, ids):
    rows = xp.take_rows(weight, xp.reshape(ids, (-1,)))
    return xp.reshape(rows, (*ids.shape, weight.shape[1])), (ids, weight.shape)
'''),
    # 11.2
    Alternative("an explicit standard deviation", "11.2", "random.normal((vocab_size, embed_dim))",
                "random.normal(shape=(vocab_size, embed_dim), std=1.0)"),
    Alternative("a tensor first, then a parameter", "11.2",
                "self.weight = Parameter(random.normal((vocab_size, embed_dim)), backend=backend)",
                "table = Tensor(random.normal((vocab_size, embed_dim)), backend=backend)\n"
                "        self.weight = Parameter(table)"),
    Alternative("drawn row by row", "11.2", "random.normal((vocab_size, embed_dim))",
                "np.stack([random.normal((embed_dim,)) for _ in range(vocab_size)])"),
    Alternative("drawn as (C, V), then transposed", "11.2",
                "random.normal((vocab_size, embed_dim))",
                "random.normal((embed_dim, vocab_size)).T.copy()"),
    Alternative("the kind of the dtype decides", "11.2", within="Embedding", new='''
def __init__(self, vocab_size, embed_dim, *, backend=None):
    self.vocab_size = vocab_size
    self.embed_dim = embed_dim
    self.weight = Parameter(random.normal((vocab_size, embed_dim)), backend=backend)

def forward(self, ids):
    if not ids.backend.xp.isdtype(ids.dtype, "integral"):
        raise TypeError("ids must be integers")
    return embedding(self.weight, ids)
'''),
    # 11.3
    Alternative("division by a power", "11.3", new='''
def _angles(positions, size, base):
    i = np.arange(size // 2)
    return np.arange(positions).reshape(-1, 1) / base ** (2 * i / size)
'''),
    Alternative("exp of a logarithm", "11.3", new='''
def _angles(positions, size, base):
    frequencies = np.exp(np.arange(0, size, 2) * -(math.log(base) / size))
    return np.outer(np.arange(positions), frequencies)
'''),
    Alternative("loops", "11.3", new='''
def _angles(positions, size, base):
    return np.array([[p * base ** (-2 * i / size) for i in range(size // 2)]
                     for p in range(positions)])


def create_sinusoidal_embeddings(max_seq_len, embed_dim, backend=None):
    if embed_dim % 2 == 1:
        raise ValueError("odd: " + str(embed_dim))
    rows = [[f(angle) for angle in angles for f in (math.sin, math.cos)]
            for angles in _angles(max_seq_len, embed_dim, 10000)]
    return Tensor(np.array(rows, np.float32), backend=backend)
'''),
    Alternative("stack and reshape", "11.3", new='''
def create_sinusoidal_embeddings(max_seq_len, embed_dim, backend=None):
    if embed_dim % 2:
        raise ValueError(f"C = {embed_dim}")
    angles = _angles(max_seq_len, embed_dim, 10_000)
    waves = np.stack([np.sin(angles), np.cos(angles)], axis=-1)
    return Tensor(waves.reshape(max_seq_len, embed_dim), dtype="float32", backend=backend)
'''),
    Alternative("a cosine is a shifted sine", "11.3", "np.cos(angles)",
                "np.sin(angles + np.pi / 2)"),
    # 11.4
    Alternative("axes by name", "11.4", within="PositionalEncoding", new='''
def forward(self, x, start=0):
    *_, T, C = x.shape
    _check_positions(start, T, len(self.weight))
    rows = self.weight[start:start + T]
    return rows + x
'''),
    Alternative("rows by ids", "11.4", within="PositionalEncoding", new='''
def forward(self, x, start=0):
    T = x.shape[-2]
    _check_positions(start, T, self.weight.shape[0])
    ids = Tensor(np.arange(start, start + T), backend=x.backend)
    return x + embedding(self.weight, ids)
'''),
    Alternative("drawn with standard deviation 1, then scaled", "11.4",
                "random.normal((max_seq_len, embed_dim), 0.02)",
                "0.02 * random.normal((max_seq_len, embed_dim))"),
    Alternative("a check of one's own, of the waves", "11.4", within="SinusoidalEncoding", new='''
def forward(self, x, start=0):
    end = start + x.shape[-2]
    if start < 0 or end > self.table.shape[0]:
        raise ValueError(f"positions {start} to {end} of {self.max_seq_len}")
    return x + self.table[start:end]
'''),
    # 11.5
    Alternative("rotate_half, as in Hugging Face's code", "11.5", new='''
def _rotate(xp, x, cos, sin):
    half = x.shape[-1] // 2
    turned = xp.concat([-x[..., half:], x[..., :half]], axis=-1)
    return x * xp.concat([cos, cos], axis=-1) + turned * xp.concat([sin, sin], axis=-1)
'''),
    Alternative("complex numbers", "11.5", new='''
def _rotate(xp, x, cos, sin):
    half = x.shape[-1] // 2
    z = (x[..., :half] + 1j * x[..., half:]) * (cos + 1j * sin)
    return np.concatenate([z.real, z.imag], axis=-1).astype(x.dtype)
'''),
    Alternative("an axis for the two halves", "11.5", new='''
def _rotate(xp, x, cos, sin):
    pairs = xp.reshape(x, (*x.shape[:-1], 2, -1))
    a, b = pairs[..., 0, :], pairs[..., 1, :]
    both = xp.stack([a * cos - b * sin, b * cos + a * sin], axis=-2)
    return xp.reshape(both, x.shape)
'''),
    Alternative("an output that is filled", "11.5", new='''
def _rotate(xp, x, cos, sin):
    half = x.shape[-1] // 2
    y = xp.zeros_like(x)
    y[..., :half] = x[..., :half] * cos - x[..., half:] * sin
    y[..., half:] = x[..., :half] * sin + x[..., half:] * cos
    return y
'''),
    Alternative("2 x 2 matrices by einsum", "11.5", new='''
def _rotate(xp, x, cos, sin):
    pairs = x.reshape(*x.shape[:-1], 2, x.shape[-1] // 2)
    turn = np.stack([np.stack([cos, -sin]), np.stack([sin, cos])])  # (2, 2, T, hs/2)
    return np.einsum("ijtk,...tjk->...tik", turn, pairs).reshape(x.shape)
'''),
    Alternative("-sin is saved, and the gradient written out", "11.5", new='''
def rotary(xp, x, cos, sin):
    return _rotate(xp, x, cos, sin), (cos, -sin)


def rotary_gradient(xp, g, cos, minus_sin):
    return lambda: _rotate(xp, g, cos, minus_sin), None, None
'''),
    Alternative("the gradient by hand", "11.5", new='''
def rotary_gradient(xp, g, cos, sin):
    half = g.shape[-1] // 2
    a, b = g[..., :half], g[..., half:]
    return xp.concat([a * cos + b * sin, b * cos - a * sin], axis=-1), None, None
'''),
    Alternative("T by unpacking", "11.5", within="RotaryEmbedding", new='''
def forward(self, x, start=0):
    self._check_shape(x)
    *_, T, _ = x.shape
    return rotary(x, *self._tables(start, start + T))
'''),
    # 11.6
    Alternative("the scale always multiplied", "11.6",
                "        if self.scale != 1.0:\n            x =", "        x ="),
    Alternative("NumPy's root, and an own order", "11.6", within="EmbeddingLayer", new='''
def forward(self, ids, start=0):
    x = self.scale * self.tokens(ids)
    if self.positions is not None:
        x = self.positions(x, start=start)
    return x
'''),
    Alternative("if and elif instead of the table", "11.6", within="EmbeddingLayer", new='''
def __init__(self, vocab_size, embed_dim, max_seq_len=512, pos_encoding="learned",
             scale_embeddings=False, *, backend=None):
    self.scale = embed_dim ** 0.5 if scale_embeddings else 1
    if pos_encoding is None:
        self.positions = None
    elif pos_encoding == "learned":
        self.positions = PositionalEncoding(max_seq_len, embed_dim, backend=backend)
    elif pos_encoding == "sinusoidal":
        self.positions = SinusoidalEncoding(max_seq_len, embed_dim, backend=backend)
    else:
        raise ValueError(f"there is no encoding {pos_encoding}")
    self.tokens = Embedding(vocab_size, embed_dim, backend=backend)
'''),
    Alternative("a lookup that fails", "11.6",
                "        if pos_encoding is not None and pos_encoding not in ENCODINGS:\n",
                "        if not (pos_encoding is None or pos_encoding in ENCODINGS.keys()):\n"),
]  # fmt: skip
