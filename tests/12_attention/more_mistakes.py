"""Further wrong solutions of lesson 12, written without a look at mistakes.py and the tests."""

# fmt: off
from mistake import Mistake

SDPA_CHECK='''
    if Q.shape[-1] != K.shape[-1] or K.shape[-2] != V.shape[-2] or min(Q.ndim, K.ndim, V.ndim) < 2:
        raise ValueError(f"Q {Q.shape}, K {K.shape} and V {V.shape} have incompatible shapes")
    if mask is not None:
        check_mask(Q, K, mask)
'''
def sdpa(body): return "def scaled_dot_product_attention(Q, K, V, mask=None, dropout=None):"+SDPA_CHECK+body
MISTAKES = [
    Mistake("tril of seq_len, padded with True for the past at the end", "12.1", new='''
def create_causal_mask(seq_len, past=0, backend=None):
    if seq_len < 0 or past < 0:
        raise ValueError(f"{seq_len} {past}")
    b = get(backend)
    m = np.concatenate([np.tril(np.ones((seq_len, seq_len), bool)), np.ones((seq_len, past), bool)], axis=1)
    return Tensor(m, backend=b)
'''),
    Mistake("tril without k=past", "12.1", new='''
def create_causal_mask(seq_len, past=0, backend=None):
    if seq_len < 0 or past < 0:
        raise ValueError(f"{seq_len} {past}")
    return Tensor(np.tril(np.ones((seq_len, past + seq_len), bool)), backend=backend)
'''),
    Mistake("floats 0 and -inf", "12.1", new='''
def create_causal_mask(seq_len, past=0, backend=None):
    if seq_len < 0 or past < 0:
        raise ValueError(f"{seq_len} {past}")
    m = np.tril(np.ones((seq_len, past + seq_len)), k=past)
    return Tensor(np.where(m > 0, 0.0, -np.inf), backend=backend)
'''),
    Mistake("floats 1 and 0", "12.1", new='''
def create_causal_mask(seq_len, past=0, backend=None):
    if seq_len < 0 or past < 0:
        raise ValueError(f"{seq_len} {past}")
    return Tensor(np.tril(np.ones((seq_len, past + seq_len)), k=past), backend=backend)
'''),
    Mistake("integers", "12.1", new='''
def create_causal_mask(seq_len, past=0, backend=None):
    if seq_len < 0 or past < 0:
        raise ValueError(f"{seq_len} {past}")
    return Tensor(np.tril(np.ones((seq_len, past + seq_len), int), k=past), backend=backend)
'''),
    Mistake("True hides, as in torch MHA", "12.1", new='''
def create_causal_mask(seq_len, past=0, backend=None):
    if seq_len < 0 or past < 0:
        raise ValueError(f"{seq_len} {past}")
    return Tensor(np.triu(np.ones((seq_len, past + seq_len), bool), k=past + 1), backend=backend)
'''),
    Mistake("square mask (past+T)^2", "12.1", new='''
def create_causal_mask(seq_len, past=0, backend=None):
    if seq_len < 0 or past < 0:
        raise ValueError(f"{seq_len} {past}")
    n = seq_len + past
    return Tensor(np.tril(np.ones((n, n), bool)), backend=backend)
'''),
    Mistake("backend ignored", "12.1", new='''
def create_causal_mask(seq_len, past=0, backend=None):
    if seq_len < 0 or past < 0:
        raise ValueError(f"{seq_len} {past}")
    return Tensor(np.tril(np.ones((seq_len, past + seq_len), bool), k=past))
'''),
    Mistake("negative past is abs", "12.1", new='''
def create_causal_mask(seq_len, past=0, backend=None):
    if seq_len < 0:
        raise ValueError(f"{seq_len} {past}")
    past = max(past, 0)
    return Tensor(np.tril(np.ones((seq_len, past + seq_len), bool), k=past), backend=backend)
'''),
    Mistake("window of the last few keys (sliding)", "12.1", new='''
def create_causal_mask(seq_len, past=0, backend=None):
    if seq_len < 0 or past < 0:
        raise ValueError(f"{seq_len} {past}")
    q, k = np.arange(past, past + seq_len)[:, None], np.arange(past + seq_len)
    return Tensor((q >= k) & (q - k < 4), backend=backend)
'''),
    # 12.2
    Mistake("masked after softmax, not renormalised", "12.2", new='''
def attention_weights(xp, q, k, mask=None, *, scale):
    scores = q @ xp.matrix_transpose(k) * scale
    if mask is not None and mask.dtype != xp.bool:
        scores = scores + mask
    weights = softmax_array(xp, scores)
    if mask is not None and mask.dtype == xp.bool:
        weights = weights * mask
    return weights, (q, k, weights, scale)
'''),
    Mistake("multiplied by the mask before softmax", "12.2", new='''
def attention_weights(xp, q, k, mask=None, *, scale):
    scores = q @ xp.matrix_transpose(k) * scale
    if mask is not None:
        scores = scores * mask if mask.dtype == xp.bool else scores + mask
    weights = softmax_array(xp, scores)
    return weights, (q, k, weights, scale)
'''),
    Mistake("any mask is taken as boolean", "12.2", new='''
def attention_weights(xp, q, k, mask=None, *, scale):
    scores = q @ xp.matrix_transpose(k) * scale
    if mask is not None:
        scores = xp.where(mask != 0, scores, xp.full_like(scores, -math.inf))
    weights = softmax_array(xp, scores)
    return weights, (q, k, weights, scale)
'''),
    Mistake("scale on weights", "12.2", new='''
def attention_weights(xp, q, k, mask=None, *, scale):
    scores = q @ xp.matrix_transpose(k)
    if mask is not None and mask.dtype == xp.bool:
        scores = xp.where(mask, scores, xp.full_like(scores, -math.inf))
    elif mask is not None:
        scores = scores + mask
    weights = softmax_array(xp, scores) * scale
    return weights, (q, k, weights, scale)
'''),
    Mistake("softmax without maximum", "12.2", new='''
def attention_weights(xp, q, k, mask=None, *, scale):
    scores = q @ xp.matrix_transpose(k) * scale
    if mask is not None and mask.dtype == xp.bool:
        scores = xp.where(mask, scores, xp.full_like(scores, -math.inf))
    elif mask is not None:
        scores = scores + mask
    e = xp.exp(scores)
    weights = e / xp.sum(e, axis=-1, keepdims=True)
    return weights, (q, k, weights, scale)
'''),
    Mistake("small negative -10", "12.2","-math.inf","-10.0"),
    Mistake(".T reverses all axes", "12.2","xp.matrix_transpose(k)","k.T"),
    Mistake("einsum with fixed rank", "12.2", new='''
def attention_weights(xp, q, k, mask=None, *, scale):
    scores = np.einsum("bhqd,bhkd->bhqk", q, k) * scale
    if mask is not None and mask.dtype == xp.bool:
        scores = xp.where(mask, scores, xp.full_like(scores, -math.inf))
    elif mask is not None:
        scores = scores + mask
    weights = softmax_array(xp, scores)
    return weights, (q, k, weights, scale)
'''),
    Mistake("scores saved instead of weights", "12.2", new='''
def attention_weights(xp, q, k, mask=None, *, scale):
    scores = q @ xp.matrix_transpose(k) * scale
    if mask is not None and mask.dtype == xp.bool:
        scores = xp.where(mask, scores, xp.full_like(scores, -math.inf))
    elif mask is not None:
        scores = scores + mask
    return softmax_array(xp, scores), (q, k, scores, scale)
'''),
    Mistake("scale always 1/sqrt(hs)", "12.2", new='''
def attention_weights(xp, q, k, mask=None, *, scale):
    scores = q @ xp.matrix_transpose(k) / math.sqrt(q.shape[-1])
    if mask is not None and mask.dtype == xp.bool:
        scores = xp.where(mask, scores, xp.full_like(scores, -math.inf))
    elif mask is not None:
        scores = scores + mask
    weights = softmax_array(xp, scores)
    return weights, (q, k, weights, scale)
'''),
    # 12.3
    Mistake("softmax derivative elementwise w(1-w)g", "12.3", new='''
def attention_weights_gradient(xp, g, q, k, weights, scale):
    d = weights * (1 - weights) * g
    return lambda: (d @ k) * scale, lambda: (xp.matrix_transpose(d) @ q) * scale, lambda: d
'''),
    Mistake("sum over all", "12.3", new='''
def attention_weights_gradient(xp, g, q, k, weights, scale):
    d = weights * (g - xp.sum(g * weights))
    return lambda: (d @ k) * scale, lambda: (xp.matrix_transpose(d) @ q) * scale, lambda: d
'''),
    Mistake("no gradient for the mask", "12.3", new='''
def attention_weights_gradient(xp, g, q, k, weights, scale):
    d = weights * (g - xp.sum(g * weights, axis=-1, keepdims=True))
    return lambda: (d @ k) * scale, lambda: (xp.matrix_transpose(d) @ q) * scale, None
'''),
    # 12.4
    Mistake("scale by V", "12.4", new=sdpa('''
    weights = attention_weights(Q, K, mask, scale=1 / math.sqrt(V.shape[-1]))
    return (weights if dropout is None else dropout(weights)) @ V, weights
''')),
    Mistake("scale by T of keys", "12.4", new=sdpa('''
    weights = attention_weights(Q, K, mask, scale=1 / math.sqrt(K.shape[-2]))
    return (weights if dropout is None else dropout(weights)) @ V, weights
''')),
    Mistake("dropout after product", "12.4", new=sdpa('''
    weights = attention_weights(Q, K, mask, scale=1 / math.sqrt(Q.shape[-1]))
    out = weights @ V
    return (out if dropout is None else dropout(out)), weights
''')),
    Mistake("dropout before softmax on Q", "12.4", new=sdpa('''
    if dropout is not None:
        Q = dropout(Q)
    weights = attention_weights(Q, K, mask, scale=1 / math.sqrt(Q.shape[-1]))
    return weights @ V, weights
''')),
    Mistake("dropout also on V", "12.4", new=sdpa('''
    weights = attention_weights(Q, K, mask, scale=1 / math.sqrt(Q.shape[-1]))
    if dropout is not None:
        return dropout(weights) @ dropout(V), weights
    return weights @ V, weights
''')),
    Mistake("dropout applied, then renormalised", "12.4", new=sdpa('''
    weights = attention_weights(Q, K, mask, scale=1 / math.sqrt(Q.shape[-1]))
    if dropout is not None:
        w = dropout(weights)
        return (w / (w.sum(axis=-1, keepdims=True) + 1e-9)) @ V, weights
    return weights @ V, weights
''')),
    Mistake("mask only applied for square scores", "12.4", new=sdpa('''
    if Q.shape[-2] != K.shape[-2]:
        mask = None
    weights = attention_weights(Q, K, mask, scale=1 / math.sqrt(Q.shape[-1]))
    return (weights if dropout is None else dropout(weights)) @ V, weights
''')),
    Mistake("V must have K's size", "12.4", new=sdpa('''
    if V.shape != K.shape:
        raise ValueError(f"{Q.shape} {K.shape} {V.shape}")
    weights = attention_weights(Q, K, mask, scale=1 / math.sqrt(Q.shape[-1]))
    return (weights if dropout is None else dropout(weights)) @ V, weights
''')),
    Mistake("Q must have K's shape", "12.4", new=sdpa('''
    if Q.shape != K.shape:
        raise ValueError(f"{Q.shape} {K.shape} {V.shape}")
    weights = attention_weights(Q, K, mask, scale=1 / math.sqrt(Q.shape[-1]))
    return (weights if dropout is None else dropout(weights)) @ V, weights
''')),
    Mistake("mask transposed", "12.4", new=sdpa('''
    if mask is not None and mask.shape[-1] == mask.shape[-2]:
        mask = mask.swapaxes(-1, -2) if not mask.numpy().all() and Q.ndim > 99 else mask
    weights = attention_weights(K, Q, mask, scale=1 / math.sqrt(Q.shape[-1])).swapaxes(-1, -2)
    return (weights if dropout is None else dropout(weights)) @ V, weights
''')),
    Mistake("always causal", "12.4", new=sdpa('''
    if mask is None and Q.shape[-2] == K.shape[-2]:
        mask = create_causal_mask(Q.shape[-2])
    weights = attention_weights(Q, K, mask, scale=1 / math.sqrt(Q.shape[-1]))
    return (weights if dropout is None else dropout(weights)) @ V, weights
''')),
    Mistake("integers accepted", "12.4", new='''
def scaled_dot_product_attention(Q, K, V, mask=None, dropout=None):
    if min(Q.ndim, K.ndim, V.ndim) < 2 or Q.shape[-1] != K.shape[-1] or K.shape[-2] != V.shape[-2]:
        raise ValueError(f"Q {Q.shape}, K {K.shape} and V {V.shape} have incompatible shapes")
    weights = attention_weights(Q, K, mask, scale=1 / math.sqrt(Q.shape[-1]))
    return (weights if dropout is None else dropout(weights)) @ V, weights
'''),
    Mistake("dropped weights of the graph: weights returned as numpy", "12.4", new=sdpa('''
    weights = attention_weights(Q, K, mask, scale=1 / math.sqrt(Q.shape[-1]))
    return (weights if dropout is None else dropout(weights)) @ V, weights.numpy()
''')),
    # 12.5
    Mistake("heads per token interleaved (hs, nh)", "12.5", new='''
def split_heads(xp, qkv, *, num_heads):
    B, T, width = qkv.shape
    h = xp.permute_dims(xp.reshape(qkv, (B, T, 3, width // (3 * num_heads), num_heads)), (2, 0, 4, 1, 3))
    return (h[0, ...], h[1, ...], h[2, ...]), (qkv.shape,)
'''),
    Mistake("per head qkv (GPT-NeoX)", "12.5", new='''
def split_heads(xp, qkv, *, num_heads):
    B, T, width = qkv.shape
    h = xp.permute_dims(xp.reshape(qkv, (B, T, num_heads, 3, width // (3 * num_heads))), (3, 0, 2, 1, 4))
    return (h[0, ...], h[1, ...], h[2, ...]), (qkv.shape,)
'''),
    Mistake("(B,T,nh,hs) returned", "12.5", new='''
def split_heads(xp, qkv, *, num_heads):
    B, T, width = qkv.shape
    h = xp.permute_dims(xp.reshape(qkv, (B, T, 3, num_heads, width // (3 * num_heads))), (2, 0, 1, 3, 4))
    return (h[0, ...], h[1, ...], h[2, ...]), (qkv.shape,)
'''),
    Mistake("None gradients unsupported", "12.5", new='''
def split_heads_gradient(xp, gs, shape):
    heads = xp.stack([g for g in gs])
    return xp.reshape(xp.permute_dims(heads, (1, 3, 0, 2, 4)), shape)
'''),
    Mistake("None: same gradient for all", "12.5", new='''
def split_heads_gradient(xp, gs, shape):
    some = next(g for g in gs if g is not None)
    heads = xp.stack([some if g is None else g for g in gs])
    return xp.reshape(xp.permute_dims(heads, (1, 3, 0, 2, 4)), shape)
'''),
    Mistake("merge averages heads", "12.5", new='''
def merge_heads(xp, y):
    B, nh, T, hs = y.shape
    m = xp.mean(y, axis=1)
    return xp.reshape(xp.stack([m] * nh, axis=2), (B, T, nh * hs)), (y.shape,)
'''),
    Mistake("merge gradient permutes before reshape", "12.5", new='''
def merge_heads_gradient(xp, g, shape):
    B, nh, T, hs = shape
    return xp.reshape(xp.permute_dims(g, (0, 2, 1)), (B, nh, hs, T)).swapaxes(2, 3)[:, ::-1]
'''),
    # 12.6
    Mistake("concat cache, no limit check on first", "12.6", within="KVCache",new='''
def append(self, keys, values):
    if keys.requires_grad:
        raise RuntimeError("no gradient")
    if self._keys is None:
        self._keys, self._values = keys, values
    else:
        if self.length + keys.shape[2] > self.max_seq_len:
            raise ValueError(f"{self.max_seq_len} {self.length + keys.shape[2]}")
        if self._keys.shape[:2] != keys.shape[:2]:
            raise ValueError(f"{self._keys.shape} {keys.shape}")
        self._keys = Tensor(np.concatenate([self._keys.numpy(), keys.numpy()], axis=2))
        self._values = Tensor(np.concatenate([self._values.numpy(), values.numpy()], axis=2))
    self.length = self._keys.shape[2]
    return self._keys, self._values
'''),
    Mistake("concat on axis 1", "12.6", within="KVCache",new='''
def append(self, keys, values):
    end = self.length + keys.shape[2]
    if end > self.max_seq_len:
        raise ValueError(f"{self.max_seq_len} {end}")
    if keys.requires_grad:
        raise RuntimeError("no gradient")
    if self._keys is None:
        self._keys, self._values = keys, values
    else:
        self._keys = Tensor(np.concatenate([self._keys.numpy(), keys.numpy()], axis=1))
        self._values = Tensor(np.concatenate([self._values.numpy(), values.numpy()], axis=1))
    self.length = end
    return self._keys, self._values
'''),
    Mistake("ring buffer forgets the oldest", "12.6", within="KVCache",new='''
def append(self, keys, values):
    if keys.requires_grad:
        raise RuntimeError("no gradient")
    if self._keys is None:
        self._keys, self._values = keys, values
    else:
        if self._keys.shape[:2] != keys.shape[:2]:
            raise ValueError(f"{self._keys.shape} {keys.shape}")
        self._keys = Tensor(np.concatenate([self._keys.numpy(), keys.numpy()], axis=2)[:, :, -self.max_seq_len:])
        self._values = Tensor(np.concatenate([self._values.numpy(), values.numpy()], axis=2)[:, :, -self.max_seq_len:])
    self.length = self._keys.shape[2]
    return self._keys, self._values
'''),
    Mistake("length counts calls", "12.6", within="KVCache",new='''
def append(self, keys, values):
    start, end = self.length, self.length + keys.shape[2]
    if end > self.max_seq_len:
        raise ValueError(f"{self.max_seq_len} {end}")
    if keys.requires_grad:
        raise RuntimeError("no gradient")
    if self._keys is None:
        self._keys, self._values = self._allocate(keys), self._allocate(values)
    if self._keys.shape[:2] != keys.shape[:2]:
        raise ValueError(f"{self._keys.shape} {keys.shape}")
    self._keys = _write(self._keys, slice(start, end), keys)
    self._values = _write(self._values, slice(start, end), values)
    self.length += 1
    return _first(self._keys, end, keys), _first(self._values, end, values)
'''),
    Mistake("returns only the new ones", "12.6", within="KVCache",new='''
def append(self, keys, values):
    start, end = self.length, self.length + keys.shape[2]
    if end > self.max_seq_len:
        raise ValueError(f"{self.max_seq_len} {end}")
    if keys.requires_grad:
        raise RuntimeError("no gradient")
    if self._keys is None:
        self._keys, self._values = self._allocate(keys), self._allocate(values)
    if self._keys.shape[:2] != keys.shape[:2]:
        raise ValueError(f"{self._keys.shape} {keys.shape}")
    self._keys = _write(self._keys, slice(start, end), keys)
    self._values = _write(self._values, slice(start, end), values)
    self.length = end
    return keys, values
'''),
    Mistake("whole buffer returned", "12.6", within="KVCache",new='''
def append(self, keys, values):
    start, end = self.length, self.length + keys.shape[2]
    if end > self.max_seq_len:
        raise ValueError(f"{self.max_seq_len} {end}")
    if keys.requires_grad:
        raise RuntimeError("no gradient")
    if self._keys is None:
        self._keys, self._values = self._allocate(keys), self._allocate(values)
    if self._keys.shape[:2] != keys.shape[:2]:
        raise ValueError(f"{self._keys.shape} {keys.shape}")
    self._keys = _write(self._keys, slice(start, end), keys)
    self._values = _write(self._values, slice(start, end), values)
    self.length = end
    return _first(self._keys, self.max_seq_len, keys), _first(self._values, self.max_seq_len, values)
'''),
    Mistake("one array for both", "12.6", within="KVCache",new='''
def append(self, keys, values):
    start, end = self.length, self.length + keys.shape[2]
    if end > self.max_seq_len:
        raise ValueError(f"{self.max_seq_len} {end}")
    if keys.requires_grad:
        raise RuntimeError("no gradient")
    if self._keys is None:
        self._keys = self._values = self._allocate(keys)
    if self._keys.shape[:2] != keys.shape[:2]:
        raise ValueError(f"{self._keys.shape} {keys.shape}")
    self._keys = _write(self._keys, slice(start, end), keys)
    self._values = _write(self._values, slice(start, end), values)
    self.length = end
    return _first(self._keys, end, keys), _first(self._values, end, values)
'''),
    Mistake("requires_grad detached silently", "12.6", within="KVCache",new='''
def append(self, keys, values):
    start, end = self.length, self.length + keys.shape[2]
    if end > self.max_seq_len:
        raise ValueError(f"{self.max_seq_len} {end}")
    keys, values = keys.detach(), values.detach()
    if self._keys is None:
        self._keys, self._values = self._allocate(keys), self._allocate(values)
    if self._keys.shape[:2] != keys.shape[:2]:
        raise ValueError(f"{self._keys.shape} {keys.shape}")
    self._keys = _write(self._keys, slice(start, end), keys)
    self._values = _write(self._values, slice(start, end), values)
    self.length = end
    return _first(self._keys, end, keys), _first(self._values, end, values)
'''),
    Mistake("only batch must match, heads broadcast", "12.6", within="KVCache",new='''
def append(self, keys, values):
    start, end = self.length, self.length + keys.shape[2]
    if end > self.max_seq_len:
        raise ValueError(f"{self.max_seq_len} {end}")
    if keys.requires_grad:
        raise RuntimeError("no gradient")
    if self._keys is None:
        self._keys, self._values = self._allocate(keys), self._allocate(values)
    if self._keys.shape[0] != keys.shape[0]:
        raise ValueError(f"{self._keys.shape} {keys.shape}")
    self._keys = _write(self._keys, slice(start, end), keys)
    self._values = _write(self._values, slice(start, end), values)
    self.length = end
    return _first(self._keys, end, keys), _first(self._values, end, values)
'''),
    Mistake("length updated before the checks", "12.6", within="KVCache",new='''
def append(self, keys, values):
    start = self.length
    self.length = end = self.length + keys.shape[2]
    if end > self.max_seq_len:
        raise ValueError(f"{self.max_seq_len} {end}")
    if keys.requires_grad:
        raise RuntimeError("no gradient")
    if self._keys is None:
        self._keys, self._values = self._allocate(keys), self._allocate(values)
    if self._keys.shape[:2] != keys.shape[:2]:
        raise ValueError(f"{self._keys.shape} {keys.shape}")
    self._keys = _write(self._keys, slice(start, end), keys)
    self._values = _write(self._values, slice(start, end), values)
    return _first(self._keys, end, keys), _first(self._values, end, values)
'''),
    Mistake("class-level caches (shared by instances)", "12.6", within="KVCache",new='''
def append(self, keys, values):
    cls = type(self)
    start, end = self.length, self.length + keys.shape[2]
    if end > self.max_seq_len:
        raise ValueError(f"{self.max_seq_len} {end}")
    if keys.requires_grad:
        raise RuntimeError("no gradient")
    if getattr(cls, "K", None) is None:
        cls.K, cls.W = self._allocate(keys), self._allocate(values)
    if cls.K.shape[:2] != keys.shape[:2]:
        raise ValueError(f"{cls.K.shape} {keys.shape}")
    cls.K = _write(cls.K, slice(start, end), keys)
    cls.W = _write(cls.W, slice(start, end), values)
    self.length = end
    return _first(cls.K, end, keys), _first(cls.W, end, values)
'''),
    # 12.7
    Mistake("rotary before the split", "12.7","            q, k = self.rotary(q, past), self.rotary(k, past)","            k, v = self.rotary(k, past), v"),
    Mistake("qkv without bias", "12.7","self.qkv = Linear(embed_dim, width, bias, backend=backend)","self.qkv = Linear(embed_dim, width, False, backend=backend)"),
    Mistake("weights averaged over heads", "12.7","self.proj(merge_heads(y))), weights","self.proj(merge_heads(y))), (None if weights is None else weights.mean(axis=1))"),
    Mistake("need_weights ignored in forward: rotates twice", "12.7","        return self.attend(x, mask, cache, need_weights=False)[0]","        return self.attend(x, mask, None, need_weights=False)[0]"),
    Mistake("cache only if past", "12.7","        if cache is not None:\n            k, v","        if cache is not None and past:\n            k, v"),
    Mistake("causal only without cache", "12.7","        past = cache.length if cache else 0\n","        past = cache.length if cache else 0\n        mask = None if cache is not None else mask\n"),
    Mistake("always training dropout", "12.7","return self.output_dropout(self.proj(merge_heads(y))), weights","self.output_dropout.train(); return self.output_dropout(self.proj(merge_heads(y))), weights"),
    Mistake("rotary created in init even if None", "12.7","        self.rotary = rotary","        self.rotary = rotary or RotaryEmbedding(embed_dim // num_heads, 64)"),
]
