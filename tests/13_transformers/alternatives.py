"""Right solutions of lesson 13 that differ from the package's."""

from mistake import Alternative

ALTERNATIVES = [
    # 13.1
    Alternative("mean as a sum divided by C", "13.1", new='''
def layer_norm(xp, x, weight, bias=None, *, eps=1e-5):
    C = x.shape[-1]
    mean = xp.sum(x, axis=-1, keepdims=True) / C
    variance = xp.sum((x - mean) ** 2, axis=-1, keepdims=True) / C
    normal = (x - mean) / xp.sqrt(variance + eps)
    y = normal * weight
    if bias is not None:
        y = y + bias
    return y, (normal, 1 / xp.sqrt(variance + eps), weight)
'''),
    Alternative("xp.var", "13.1", new='''
def layer_norm(xp, x, weight, bias=None, *, eps=1e-5):
    scale = (xp.var(x, axis=-1, keepdims=True) + eps) ** -0.5
    normal = (x - xp.mean(x, axis=-1, keepdims=True)) * scale
    return normal * weight + (0 if bias is None else bias), (normal, scale, weight)
'''),
    Alternative("the gradient with sums", "13.1", new='''
def layer_norm_gradient(xp, g, normal, scale, weight):
    C = normal.shape[-1]
    d = g * weight
    total = xp.sum(d, axis=-1, keepdims=True)
    along = xp.sum(d * normal, axis=-1, keepdims=True)
    return (C * d - total - normal * along) * scale / C, lambda: normal * g, lambda: g
'''),
    Alternative("all gradients as functions", "13.1", new='''
def layer_norm_gradient(xp, g, normal, scale, weight):
    def for_x():
        d = g * weight
        along = normal * xp.mean(d * normal, axis=-1, keepdims=True)
        return (d - xp.mean(d, axis=-1, keepdims=True) - along) * scale
    return for_x, lambda: g * normal, lambda: g
'''),
    Alternative("the weight's gradient without a function", "13.1",
                "lambda: g * normal", "g * normal"),
    # 13.2
    Alternative("each step in a line", "13.2", within="MLP", new='''
def forward(self, x):
    hidden = self.fc(x)
    hidden = self.activation(hidden)
    out = self.proj(hidden)
    out = self.dropout(out)
    return out
'''),
    Alternative("hidden_dim with is None, the activation found first", "13.2", within="MLP", new='''
def __init__(self, embed_dim, hidden_dim=None, dropout=0.0, bias=True, activation="gelu",
             *, backend=None):
    kind = _choose("activation", ACTIVATIONS, activation)
    if hidden_dim is None:
        hidden_dim = embed_dim * 4
    self.dropout = Dropout(dropout)
    self.activation = kind()
    self.fc = Linear(embed_dim, hidden_dim, bias=bias, backend=backend)
    self.proj = Linear(hidden_dim, embed_dim, bias=bias, backend=backend)
'''),
    # 13.3
    Alternative("names for the steps", "13.3", within="TransformerBlock", new='''
def forward(self, x, mask=None, cache=None):
    attended = self.attention(self.ln1(x), mask=mask, cache=cache)
    middle = attended + x
    processed = self.mlp(self.ln2(middle))
    return processed + middle
'''),
    Alternative("attend instead of forward", "13.3", "self.attention(self.ln1(x), mask, cache)",
                "self.attention.attend(self.ln1(x), mask, cache)[0]"),
    Alternative("keyword arguments", "13.3", within="TransformerBlock", new='''
def __init__(self, embed_dim, num_heads, mlp_ratio=4, dropout=0.0, bias=True, rotary=None,
             activation="gelu", *, backend=None):
    self.ln1 = LayerNorm(embed_dim, 1e-5, bias=bias, backend=backend)
    self.attention = MultiHeadAttention(embed_dim=embed_dim, num_heads=num_heads, dropout=dropout,
                                        bias=bias, rotary=rotary, backend=backend)
    self.ln2 = LayerNorm(embed_dim, 1e-5, bias=bias, backend=backend)
    self.mlp = MLP(embed_dim, hidden_dim=embed_dim * mlp_ratio, dropout=dropout, bias=bias,
                   activation=activation, backend=backend)
'''),
    # 13.4
    Alternative("zip with the caches, always a mask", "13.4", within="GPT", new='''
def forward(self, ids, caches=None):
    single = ids.ndim == 1
    if single:
        ids = ids.reshape(1, ids.shape[0])
    B, T = ids.shape
    past = 0 if caches is None else caches[0].length
    limit = self.config.max_seq_len
    if past + T > limit:
        raise ValueError(f"too long: {past} + {T} = {past + T} tokens for {limit} positions")
    mask = create_causal_mask(T, past=past, backend=ids.backend)
    x = self.dropout(self.embedding(ids, start=past))
    for block, cache in zip(self.blocks, caches or [None] * len(self.blocks)):
        x = block(x, mask, cache)
    logits = self.head(self.ln_f(x))
    return logits[0] if single else logits
'''),
    Alternative("the length of the last cache", "13.4", "caches[0].length", "caches[-1].length"),
    Alternative("caches of a loop over the blocks", "13.4", within="GPT", new='''
def new_caches(self):
    caches = []
    for _ in self.blocks:
        caches.append(KVCache(max_seq_len=self.config.max_seq_len))
    return caches
'''),
    Alternative("the rows of a batch of one by reshape", "13.4", "return logits[0]",
                "return logits.reshape(logits.shape[1], logits.shape[2])"),
    # 13.5
    Alternative("norms skipped by continue, arrays of zeros", "13.5", new='''
def init_gpt2(model):
    L = len(model.blocks)
    for name, p in model.named_parameters():
        if name.split(".")[-1] == "bias":
            p.data = np.zeros(p.shape, dtype=np.float32)
            continue
        if len(p.shape) != 2:
            continue
        std = 0.02 * (2 * L) ** -0.5 if name.endswith(".proj.weight") else 0.02
        p.data = random.normal(p.shape, std)
'''),
    Alternative("standard normal numbers, scaled", "13.5", "random.normal(parameter.shape, std)",
                "random.normal(parameter.shape) * std"),
    # 13.6
    Alternative("Gumbel noise", "13.6", new='''
def sample(logits, temperature=1.0, top_k=None, top_p=None, *, rng):
    logits, largest = finite_logits(logits)
    if temperature < SMALLEST_TEMPERATURE:
        return np.argmax(logits, axis=-1)
    scores = (logits.astype(np.float64) - largest) / temperature
    if top_k is not None:
        k = min(top_k, scores.shape[1])
        scores = np.where(scores < np.sort(scores, axis=-1)[:, [-k]], -np.inf, scores)
    if top_p is not None and top_p < 1:
        with np.errstate(divide="ignore"):
            scores = np.log(_nucleus(np.exp(scores), top_p))
    return np.argmax(scores + rng.gumbel(size=scores.shape), axis=-1)
'''),
    Alternative("rng.choice for each row", "13.6", new='''
def sample(logits, temperature=1.0, top_k=None, top_p=None, *, rng):
    logits, largest = finite_logits(logits)
    if temperature < SMALLEST_TEMPERATURE:
        return logits.argmax(axis=-1)
    weights = np.exp((logits.astype(np.float64) - largest) / temperature)
    if top_k is not None and top_k < weights.shape[1]:
        rank = np.argsort(np.argsort(-weights, axis=1), axis=1)
        weights[rank >= top_k] = 0.0
    if top_p is not None and top_p < 1:
        weights = _nucleus(weights, top_p)
    p = weights / weights.sum(axis=1, keepdims=True)
    return np.array([rng.choice(p.shape[1], p=row) for row in p])
'''),
    Alternative("probabilities, searched", "13.6", new='''
def sample(logits, temperature=1.0, top_k=None, top_p=None, *, rng):
    logits, largest = finite_logits(logits)
    if temperature < SMALLEST_TEMPERATURE:
        return np.argmax(logits, axis=-1)
    scaled = (logits.astype(np.float64) - largest) / temperature
    if top_k is not None and top_k < scaled.shape[-1]:
        kth = np.partition(scaled, -top_k, axis=-1)[:, -top_k][:, np.newaxis]
        scaled[scaled < kth] = -math.inf
    weights = np.exp(scaled)
    if top_p is not None and top_p < 1:
        weights = _nucleus(weights, top_p)
    ends = np.cumsum(weights / weights.sum(axis=-1, keepdims=True), axis=-1)
    darts = rng.random(len(ends)) * ends[:, -1]
    return np.array([np.searchsorted(e, d, side="right") for e, d in zip(ends, darts)])
'''),
    Alternative("the dart counts the ends before it", "13.6", "np.argmax(total > u, axis=-1)",
                "np.sum(total <= u, axis=-1)"),
    # 13.7
    Alternative("a while loop, with the window cut before reading", "13.7", new='''
def _stream(model, window, max_new_tokens, choice, stop_tokens, rng, use_cache):
    limit, written = model.config.max_seq_len, 0
    window = window[:, -limit:]
    caches, unread = (model.new_caches() if use_cache else None), window
    done = np.full(window.shape[0], False)
    while written < max_new_tokens:
        if window.shape[1] > limit:
            window = window[:, -(limit // 2 + 1):]
            caches, unread = (model.new_caches() if use_cache else None), window
        read = unread if use_cache else window
        token = choose_token(_last_logits(model, model.backend, read, caches), *choice, rng=rng)
        if stop_tokens is not None:
            token = np.where(done, window[:, -1], token)
            done = done | np.isin(token, stop_tokens)
        written += 1
        yield token
        if stop_tokens is not None and done.all():
            break
        unread = token.reshape(-1, 1)
        window = np.hstack([window, unread])
'''),
    Alternative("sample instead of choose_token", "13.7", "choose_token(logits, *choice, rng=rng)",
                "sample(logits.numpy(), *choice, rng=rng)"),
    Alternative("no work after the last token", "13.7",
                "        if done.all():\n            return\n",
                "        max_new_tokens -= 1\n"
                "        if done.all() or max_new_tokens == 0:\n            return\n"),
    Alternative("the last tokens are kept apart", "13.7", new='''
def _stream(model, window, max_new_tokens, choice, stop_tokens, rng, use_cache):
    limit, last = model.config.max_seq_len, None
    stops = set() if stop_tokens is None else set(stop_tokens.tolist())
    texts = [list(row) for row in window[:, -limit:].tolist()]
    caches = model.new_caches() if use_cache else None
    unread = np.array(texts)
    for _ in range(max_new_tokens):
        logits = _last_logits(model, model.backend, unread, caches)
        token = choose_token(logits, *choice, rng=rng)
        if last is not None:
            token = np.array([old if old in stops else new for old, new in zip(last, token)])
        last = token.tolist()
        yield token
        if all(t in stops for t in last):
            return
        full = len(texts[0]) == limit
        if full:
            texts = [text[limit - limit // 2 :] for text in texts]
        texts = [[*text, t] for text, t in zip(texts, last)]
        if full and use_cache:
            caches = model.new_caches()
        unread = np.array(texts if full or not use_cache else [[t] for t in last])
'''),
]  # fmt: skip
