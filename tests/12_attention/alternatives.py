"""Right solutions of lesson 12 that differ from the package's."""

from mistake import Alternative

ALTERNATIVES = [
    # 12.1
    Alternative("a triangle of ones", "12.1", new='''
def create_causal_mask(seq_len, past=0, backend=None):
    if seq_len < 0 or past < 0:
        raise ValueError("negative")
    table = np.tril(np.ones((seq_len, past + seq_len)), past)
    return Tensor(table == 1, backend=backend)
'''),
    Alternative("nested lists", "12.1", new='''
def create_causal_mask(seq_len, past=0, backend=None):
    if min(seq_len, past) < 0:
        raise ValueError(seq_len)
    rows = [[s <= past + t for s in range(past + seq_len)] for t in range(seq_len)]
    return Tensor(np.array(rows, bool).reshape(seq_len, past + seq_len), backend=backend)
'''),
    Alternative("keys at most queries", "12.1", new='''
def create_causal_mask(seq_len, past=0, backend=None):
    if seq_len < 0:
        raise ValueError("seq_len")
    if past < 0:
        raise ValueError("past")
    backend = get(backend)
    xp = backend.xp
    rows = xp.reshape(xp.arange(seq_len), (seq_len, 1)) + past
    return wrap_array(Tensor, xp.arange(past + seq_len) <= rows, backend)
'''),
    Alternative("a loop that fills a table", "12.1", new='''
def create_causal_mask(seq_len, past=0, backend=None):
    if seq_len < 0 or past < 0:
        raise ValueError("negative")
    table = np.zeros((seq_len, past + seq_len), dtype=bool)
    for t in range(seq_len):
        table[t, : past + t + 1] = True
    return Tensor(table, backend=backend)
'''),
    # 12.2
    Alternative("einsum", "12.2", "q @ xp.matrix_transpose(k) * scale",
                'np.einsum("...th,...sh->...ts", q, k) * scale'),
    Alternative("the queries are scaled", "12.2", "q @ xp.matrix_transpose(k) * scale",
                "(q * scale) @ xp.matrix_transpose(k)"),
    Alternative("swapaxes", "12.2", "xp.matrix_transpose(k)", "k.swapaxes(-1, -2)"),
    Alternative("-inf added where nothing is visible", "12.2",
                "scores = xp.where(mask, scores, xp.full_like(scores, -math.inf))",
                "scores = scores + np.where(mask, 0, -np.inf).astype(scores.dtype)"),
    Alternative("-inf as a number", "12.2", "xp.full_like(scores, -math.inf)", "-math.inf"),
    Alternative("a softmax of its own", "12.2", "weights = softmax_array(xp, scores)",
                "largest = np.max(scores, axis=-1, keepdims=True)\n"
                "    powers = np.exp(scores - np.where(np.isinf(largest), 0, largest))\n"
                "    total = np.sum(powers, axis=-1, keepdims=True)\n"
                "    weights = powers / np.where(total == 0, 1, total)"),
    Alternative("one branch for each mask", "12.2", new='''
def attention_weights(xp, q, k, mask=None, *, scale):
    scores = xp.matmul(q, xp.matrix_transpose(k)) * scale
    if mask is None:
        pass
    elif mask.dtype == bool:
        scores = np.where(~mask, -np.inf, scores)
    else:
        scores = mask + scores
    weights = softmax_array(xp, scores, axis=-1)
    saved = [q, k, weights, scale]
    return weights, tuple(saved)
'''),
    Alternative("a shortcut for no tokens", "12.2", "    scores = q @",
                "    assert q.shape[-1] == k.shape[-1]\n    scores = q @"),
    # 12.3
    Alternative("arrays instead of functions", "12.3", new='''
def attention_weights_gradient(xp, g, q, k, weights, scale):
    d = weights * (g - (g * weights).sum(axis=-1, keepdims=True))
    return d @ k * scale, d.swapaxes(-1, -2) @ q * scale, d
'''),
    Alternative("the sum first", "12.3", new='''
def attention_weights_gradient(xp, g, q, k, weights, scale):
    product = g * weights
    d = product - weights * xp.sum(product, axis=-1, keepdims=True)
    scaled = d * scale
    return lambda: scaled @ k, lambda: xp.matrix_transpose(scaled) @ q, lambda: d
'''),
    Alternative("the sum with einsum", "12.3", new='''
def attention_weights_gradient(xp, g, q, k, weights, scale):
    d = weights * (g - np.einsum("...ts,...ts->...t", g, weights)[..., None])
    return (
        lambda: np.einsum("...ts,...sh->...th", d, k) * scale,
        lambda: np.einsum("...ts,...th->...sh", d, q) * scale,
        lambda: d,
    )
'''),
    Alternative("the matrix of all derivatives", "12.3", new='''
def attention_weights_gradient(xp, g, q, k, weights, scale):
    S = weights.shape[-1]
    jacobian = weights[..., :, None] * np.eye(S) - weights[..., :, None] * weights[..., None, :]
    d = (jacobian @ g[..., None])[..., 0]

    def of_keys():
        return xp.matrix_transpose(xp.matrix_transpose(q) @ d) * scale

    return (lambda: (d @ k) * scale), of_keys, (lambda: d)
'''),
    # 12.4
    Alternative("a power of -1/2", "12.4", "scale=1 / math.sqrt(max(1, Q.shape[-1]))",
                "scale=Q.shape[-1] ** -0.5"),
    Alternative("NumPy's square root", "12.4", "1 / math.sqrt(max(1, Q.shape[-1]))",
                "float(1 / np.sqrt(K.shape[-1]))"),
    Alternative("steps in a row", "12.4", new='''
def scaled_dot_product_attention(Q, K, V, mask=None, dropout=None):
    _check_arguments(Q, K, V, dropout)
    *_, T, hs = Q.shape
    *_, S, other = K.shape
    if hs != other or V.shape[-2] != S:
        raise ValueError(f"got {Q.shape}, {K.shape}, {V.shape}")
    if mask is not None:
        check_mask(Q, K, mask)
    weights = attention_weights(Q, K, mask, scale=1.0 / hs**0.5)
    used = weights
    if dropout is not None:
        used = dropout(weights)
    output = used @ V
    return output, weights
'''),
    Alternative("two errors", "12.4", new='''
def scaled_dot_product_attention(Q, K, V, mask=None, dropout=None):
    _check_arguments(Q, K, V, dropout)
    shapes = f"Q {Q.shape}, K {K.shape}, V {V.shape}"
    if Q.shape[-1] != K.shape[-1]:
        raise ValueError(f"queries and keys differ in size: {shapes}")
    if K.shape[-2] != V.shape[-2]:
        raise ValueError(f"keys and values differ in number: {shapes}")
    None if mask is None else check_mask(Q, K, mask)
    weights = attention_weights(Q, K, mask, scale=1 / math.sqrt(Q.shape[-1]))
    drop = dropout or (lambda w: w)
    return [drop(weights) @ V, weights]
'''),
    # 12.5
    Alternative("slices", "12.5", new='''
def split_heads(xp, qkv, *, num_heads):
    B, T, width = qkv.shape
    C = width // 3
    parts = []
    for i in range(3):
        part = qkv[:, :, i * C : (i + 1) * C].reshape(B, T, num_heads, C // num_heads)
        parts.append(part.transpose(0, 2, 1, 3))
    return tuple(parts), (qkv.shape,)
'''),
    Alternative("-1 for hs", "12.5", "width // (3 * num_heads)", "-1"),
    Alternative("a reshape to (B, T, 3 nh, hs)", "12.5", new='''
def split_heads(xp, qkv, *, num_heads):
    B, T, width = qkv.shape
    all_heads = xp.permute_dims(xp.reshape(qkv, (B, T, 3 * num_heads, -1)), (0, 2, 1, 3))
    q, k, v = (all_heads[:, i * num_heads : (i + 1) * num_heads] for i in range(3))
    return (q, k, v), (qkv.shape,)
'''),
    Alternative("gradients joined along the row", "12.5", new='''
def split_heads_gradient(xp, gs, shape):
    some = [g for g in gs if g is not None][0]
    B, nh, T, hs = some.shape
    rows = []
    for g in gs:
        g = np.zeros_like(some) if g is None else g
        rows.append(g.transpose(0, 2, 1, 3).reshape(B, T, nh * hs))
    return np.concatenate(rows, axis=-1)
'''),
    Alternative("a table that is filled", "12.5", new='''
def split_heads_gradient(xp, gs, shape):
    some = next(g for g in gs if g is not None)
    B, nh, T, hs = some.shape
    table = np.zeros((B, T, 3, nh, hs), some.dtype)
    for i, g in enumerate(gs):
        if g is not None:
            table[:, :, i] = g.transpose(0, 2, 1, 3)
    return table.reshape(shape)
'''),
    Alternative("heads concatenated", "12.5", new='''
def merge_heads(xp, y):
    heads = [y[:, h] for h in range(y.shape[1])]
    return np.concatenate(heads, axis=-1), (y.shape,)
'''),
    Alternative("the gradient of merge_heads by slices", "12.5", new='''
def merge_heads_gradient(xp, g, shape):
    _, nh, _, hs = shape
    return np.stack([g[..., h * hs : (h + 1) * hs] for h in range(nh)], axis=1)
'''),
    Alternative("the gradient of merge_heads in a lambda", "12.5",
                "return xp.permute_dims(xp.reshape(g, (B, T, nh, hs)), ",
                "return lambda: xp.permute_dims(xp.reshape(g, (B, T, nh, -1)), "),
    # 12.6
    Alternative("a cache that concatenates", "12.6", within="KVCache", new='''
def append(self, keys, values):
    total = self.length + keys.shape[2]
    if total > self.max_seq_len:
        raise ValueError(f"{total} tokens, but at most {self.max_seq_len} fit")
    if keys.requires_grad or values.requires_grad:
        raise RuntimeError("use no_grad()")
    new_keys, new_values = keys.numpy(), values.numpy()
    if self._keys is not None:
        if self._keys.shape[:2] != new_keys.shape[:2]:
            raise ValueError("another batch")
        new_keys = np.concatenate([self._keys, new_keys], axis=2)
        new_values = np.concatenate([self._values, new_values], axis=2)
    self._keys, self._values, self.length = new_keys, new_values, total
    return Tensor(new_keys), Tensor(new_values)
'''),
    Alternative("slices instead of _write and _first", "12.6", within="KVCache", new='''
def append(self, keys, values):
    B, nh, T, _ = keys.shape
    begin = self.length
    if begin + T > self.max_seq_len:
        raise ValueError("{} > {}".format(begin + T, self.max_seq_len))
    if keys.requires_grad:
        raise RuntimeError
    if not begin:
        self._keys = np.zeros((B, nh, self.max_seq_len, keys.shape[-1]), dtype=keys.dtype)
        self._values = np.zeros((B, nh, self.max_seq_len, values.shape[-1]), dtype=values.dtype)
    if (B, nh) != self._keys.shape[:2]:
        raise ValueError((B, nh))
    self._keys[:, :, begin : begin + T] = keys.numpy()
    self._values[:, :, begin : begin + T] = values.numpy()
    self.length += T
    return [Tensor(a[:, :, : self.length]) for a in (self._keys, self._values)]
'''),
    Alternative("the gradient is checked first", "12.6", within="KVCache", new='''
def append(self, keys, values):
    if keys.requires_grad:
        raise RuntimeError("no gradient flows through a cache")
    start = self.length
    end = start + keys.shape[-2]
    if self.max_seq_len < end:
        raise ValueError(f"{self.max_seq_len} < {end}")
    if self._keys is None:
        self._keys = _allocate(keys, self.max_seq_len)
        self._values = _allocate(values, self.max_seq_len)
    elif tuple(self._keys.shape[:2]) != tuple(keys.shape[:2]):
        raise ValueError("B or nh")
    where = slice(start, end)
    self._keys, self._values = _write(self._keys, where, keys), _write(self._values, where, values)
    self.length = end
    return _first(self._keys, end, keys), _first(self._values, end, values)
'''),
    # 12.7
    Alternative("one Dropout for both", "12.7", "Dropout(dropout), Dropout(dropout)",
                "(both := Dropout(dropout)), both"),
    Alternative("attend always computes the weights", "12.7", new='''
def attend(self, x, mask=None, cache=None, need_weights=True):
    _check_tokens(x, self.embed_dim)
    start = 0
    if cache is not None:
        start = cache.length
    queries, keys, values = split_groups(self.qkv(x), self.num_heads, self.num_kv_heads)
    if self.rotary:
        queries = self.rotary(queries, start)
        keys = self.rotary(keys, start)
    if cache is not None:
        keys, values = cache.append(keys, values)
    keys, values = (repeat_heads(x, self.num_heads) for x in (keys, values))
    drop = self.weights_dropout
    output, weights = scaled_dot_product_attention(queries, keys, values, mask, dropout=drop)
    output = self.proj(merge_heads(output))
    return self.output_dropout(output), weights if need_weights else None
''', within="MultiHeadAttention"),
    Alternative("forward calls attend with all", "12.7",
                "return self.attend(x, mask, cache, need_weights=False)[0]",
                "output, _ = self.attend(x, mask=mask, cache=cache)\n        return output"),
    Alternative("tensors are split by slices", "12.7",
                "q, k, v = split_groups(self.qkv(x), self.num_heads, self.num_kv_heads)",
                "B, T, C = x.shape\n"
                "        nh, nkv = self.num_heads, self.num_kv_heads\n"
                "        row = self.qkv(x).reshape((B, T, nh + 2 * nkv, C // nh))\n"
                "        row = row.permute((0, 2, 1, 3))\n"
                "        q, k, v = row[:, :nh], row[:, nh : nh + nkv], row[:, nh + nkv :]"),
    Alternative("heads are repeated by an index", "12.7",
                "repeat_heads(k, self.num_heads), repeat_heads(v, self.num_heads)",
                "(x[:, [i * self.num_kv_heads // self.num_heads for i in range(self.num_heads)]]"
                " for x in (k, v))"),
    Alternative("heads are merged by permute and reshape", "12.7",
                "self.proj(merge_heads(y))", "self.proj(y.permute((0, 2, 1, 3)).reshape(x.shape))"),
    Alternative("the check of heads in two steps", "12.7",
                "        if num_heads < 1 or embed_dim % num_heads:\n",
                "        if num_heads <= 0:\n            raise ValueError('at least one head')\n"
                "        if embed_dim // num_heads * num_heads != embed_dim:\n"),
    Alternative("more attributes and layers under other names", "12.7",
                "        self.rotary = rotary\n",
                "        self.rotary = rotary\n        self.head_size = embed_dim // num_heads\n"
                "        self.note = print\n"),
    Alternative("values are cached before the rotation", "12.7",
                "        if self.rotary is not None:\n"
                "            q, k = self.rotary(q, past), self.rotary(k, past)\n",
                "        turn = self.rotary or (lambda y, start: y)\n"
                "        q, k = turn(q, start=past), turn(k, start=past)\n"),
]  # fmt: skip
