"""Further wrong solutions of lesson 13, written without a look at mistakes.py and the tests."""

# fmt: off
from mistake import Mistake


def ln(body): return "def layer_norm(xp, x, weight, bias=None, *, eps=1e-5):"+body
FWD='''
def forward(self, ids, caches=None):
    if ids.ndim == 1:
        return self.forward(ids.reshape(1, -1), caches)[0]
    T = ids.shape[1]
    past = caches[0].length if caches else 0
    if past + T > self.config.max_seq_len:
        raise ValueError(f"{past + T} tokens exceed max_seq_len={self.config.max_seq_len}")
    mask = create_causal_mask(T, past, ids.backend) if T > 1 else None
    x = self.dropout(self.embedding(ids, past))
    for index, block in enumerate(self.blocks):
        x = block(x, mask, caches[index] if caches else None)
    return self.head(self.ln_f(x))
'''
def fwd(old,new):
    assert old in FWD, old
    return FWD.replace(old,new)
INIT='''
def init_gpt2(model):
    small = 0.02 / math.sqrt(2 * model.config.num_layers)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            parameter.data = 0.0
        elif parameter.ndim == 2:
            std = small if name.endswith("proj.weight") else 0.02
            parameter.data = random.normal(parameter.shape, std)
'''
def init(old,new):
    assert old in INIT, old
    return INIT.replace(old,new)
SAMPLE='''
def sample(logits, temperature=1.0, top_k=None, top_p=None, *, rng):
    logits, largest = finite_logits(logits)
    if temperature < SMALLEST_TEMPERATURE:
        return np.argmax(logits, axis=-1)
    scaled = (logits.astype(np.float64) - largest) / temperature
    if top_k is not None and top_k < scaled.shape[-1]:
        kth = np.partition(scaled, -top_k, axis=-1)[:, -top_k, None]
        scaled = np.where(scaled < kth, -np.inf, scaled)
    weights = np.exp(scaled)
    if top_p is not None and top_p < 1:
        weights = _nucleus(weights, top_p)
    total = np.cumsum(weights, axis=-1)
    u = rng.random((len(logits), 1)) * total[:, -1:]
    return np.argmax(total > u, axis=-1)
'''
def sam(*pairs):
    s=SAMPLE
    for old,new in pairs:
        assert old in s, old
        s=s.replace(old,new)
    return s
STREAM='''
def _stream(model, window, max_new_tokens, choice, stop_tokens, rng, use_cache):
    limit = model.config.max_seq_len
    window = window[:, -limit:]
    caches = model.new_caches() if use_cache else None
    unread = window
    done = np.zeros(len(window), dtype=bool)
    backend = model.backend
    for _ in range(max_new_tokens):
        logits = _last_logits(model, backend, unread, caches)
        token = choose_token(logits, *choice, rng=rng)
        if stop_tokens is not None:
            token = np.where(done, window[:, -1], token)
            done = (token[:, None] == stop_tokens).any(axis=1)
        yield token
        if done.all():
            return
        unread = token[:, None]
        if window.shape[1] == limit:
            window = window[:, limit - limit // 2 :]
            caches = model.new_caches() if use_cache else None
            unread = np.concatenate([window, unread], axis=1)
        window = np.concatenate([window, token[:, None]], axis=1)
        if not use_cache:
            unread = window
'''
def st(*pairs):
    s=STREAM
    for old,new in pairs:
        assert old in s, old
        s=s.replace(old,new)
    return s
MISTAKES = [
    # 13.1
    Mistake("batch norm: over tokens", "13.1", new=ln('''
    centred = x - xp.mean(x, axis=-2, keepdims=True)
    scale = 1 / xp.sqrt(xp.mean(centred * centred, axis=-2, keepdims=True) + eps)
    normal = centred * scale
    y = normal * weight
    return (y if bias is None else y + bias), (normal, scale, weight)
''')),
    Mistake("over tokens and features", "13.1", new=ln('''
    centred = x - xp.mean(x)
    scale = 1 / xp.sqrt(xp.mean(centred * centred) + eps)
    normal = centred * scale
    y = normal * weight
    return (y if bias is None else y + bias), (normal, scale, weight)
''')),
    Mistake("rms norm", "13.1", new=ln('''
    scale = 1 / xp.sqrt(xp.mean(x * x, axis=-1, keepdims=True) + eps)
    normal = x * scale
    y = normal * weight
    return (y if bias is None else y + bias), (normal, scale, weight)
''')),
    Mistake("C - 1", "13.1", new=ln('''
    centred = x - xp.mean(x, axis=-1, keepdims=True)
    scale = 1 / xp.sqrt(xp.sum(centred * centred, axis=-1, keepdims=True) / (x.shape[-1] - 1) + eps)
    normal = centred * scale
    y = normal * weight
    return (y if bias is None else y + bias), (normal, scale, weight)
''')),
    Mistake("std + eps", "13.1", new=ln('''
    centred = x - xp.mean(x, axis=-1, keepdims=True)
    scale = 1 / (xp.sqrt(xp.mean(centred * centred, axis=-1, keepdims=True)) + eps)
    normal = centred * scale
    y = normal * weight
    return (y if bias is None else y + bias), (normal, scale, weight)
''')),
    Mistake("1 + weight", "13.1", new=ln('''
    centred = x - xp.mean(x, axis=-1, keepdims=True)
    scale = 1 / xp.sqrt(xp.mean(centred * centred, axis=-1, keepdims=True) + eps)
    normal = centred * scale
    y = normal * (1 + weight)
    return (y if bias is None else y + bias), (normal, scale, weight)
''')),
    Mistake("mean of squares minus square of mean, float32 cancellation", "13.1", new=ln('''
    mean = xp.mean(x, axis=-1, keepdims=True)
    variance = xp.mean(x * x, axis=-1, keepdims=True) - mean * mean
    scale = 1 / xp.sqrt(variance + eps)
    normal = (x - mean) * scale
    y = normal * weight
    return (y if bias is None else y + bias), (normal, scale, weight)
''')),
    Mistake("bias required", "13.1", new=ln('''
    centred = x - xp.mean(x, axis=-1, keepdims=True)
    scale = 1 / xp.sqrt(xp.mean(centred * centred, axis=-1, keepdims=True) + eps)
    normal = centred * scale
    return normal * weight + bias, (normal, scale, weight)
''')),
    Mistake("in place", "13.1", new=ln('''
    x -= xp.mean(x, axis=-1, keepdims=True)
    scale = 1 / xp.sqrt(xp.mean(x * x, axis=-1, keepdims=True) + eps)
    x *= scale
    y = x * weight
    return (y if bias is None else y + bias), (x.copy(), scale, weight)
''')),
    Mistake("gradient of the mean alone", "13.1", new='''
def layer_norm_gradient(xp, g, normal, scale, weight):
    d = g * weight
    return (d - xp.mean(d, axis=-1, keepdims=True)) * scale, lambda: g * normal, g
'''),
    Mistake("gradient: weight forgotten", "13.1", new='''
def layer_norm_gradient(xp, g, normal, scale, weight):
    d = g
    return (d - xp.mean(d, axis=-1, keepdims=True) - normal * xp.mean(d * normal, axis=-1, keepdims=True)) * scale, lambda: g * normal, g
'''),
    Mistake("gradient: sums not means", "13.1", new='''
def layer_norm_gradient(xp, g, normal, scale, weight):
    d = g * weight
    return (d - xp.sum(d, axis=-1, keepdims=True) - normal * xp.sum(d * normal, axis=-1, keepdims=True)) * scale, lambda: g * normal, g
'''),
    Mistake("gradient of weight is g", "13.1", new='''
def layer_norm_gradient(xp, g, normal, scale, weight):
    d = g * weight
    return (d - xp.mean(d, axis=-1, keepdims=True) - normal * xp.mean(d * normal, axis=-1, keepdims=True)) * scale, lambda: g, g
'''),
    # 13.2
    Mistake("relu", "13.2", within="MLP",new='''
def forward(self, x):
    h = self.fc(x)
    return self.dropout(self.proj(h * Tensor((h.numpy() > 0).astype(np.float32))))
'''),
    Mistake("residual", "13.2", within="MLP",new='''
def forward(self, x):
    return x + self.dropout(self.proj(self.activation(self.fc(x))))
'''),
    Mistake("activation twice", "13.2", within="MLP",new='''
def forward(self, x):
    return self.dropout(self.activation(self.proj(self.activation(self.fc(x)))))
'''),
    Mistake("activation class not instance", "13.2","_choose(\"activation\", ACTIVATIONS, activation)()","_choose(\"activation\", ACTIVATIONS, activation)"),
    Mistake("proj bias always", "13.2","Linear(hidden_dim, embed_dim, bias, backend=backend)","Linear(hidden_dim, embed_dim, backend=backend)"),
    # 13.3
    Mistake("post norm", "13.3", within="TransformerBlock",new='''
def forward(self, x, mask=None, cache=None):
    x = self.ln1(x + self.attention(x, mask, cache))
    return self.ln2(x + self.mlp(x))
'''),
    Mistake("residual from the norm", "13.3", within="TransformerBlock",new='''
def forward(self, x, mask=None, cache=None):
    n = self.ln1(x)
    x = n + self.attention(n, mask, cache)
    n = self.ln2(x)
    return n + self.mlp(n)
'''),
    Mistake("mask not passed with a cache", "13.3", within="TransformerBlock",new='''
def forward(self, x, mask=None, cache=None):
    x = x + (self.attention(self.ln1(x), mask) if cache is None else self.attention(self.ln1(x), None, cache))
    return x + self.mlp(self.ln2(x))
'''),
    Mistake("attention called twice (cache appended twice)", "13.3", within="TransformerBlock",new='''
def forward(self, x, mask=None, cache=None):
    self.attention(self.ln1(x), mask, cache)
    x = x + self.attention(self.ln1(x), mask, cache)
    return x + self.mlp(self.ln2(x))
'''),
    Mistake("always causal inside", "13.3", within="TransformerBlock",new='''
def forward(self, x, mask=None, cache=None):
    mask = create_causal_mask(x.shape[1], cache.length if cache else 0)
    x = x + self.attention(self.ln1(x), mask, cache)
    return x + self.mlp(self.ln2(x))
'''),
    Mistake("in-place sum", "13.3", within="TransformerBlock",new='''
def forward(self, x, mask=None, cache=None):
    x += self.attention(self.ln1(x), mask, cache)
    x += self.mlp(self.ln2(x))
    return x
'''),
    Mistake("shared norm object", "13.3","self.ln2 = LayerNorm(embed_dim, bias=bias, backend=backend)","self.ln2 = self.ln1"),
    # 13.4
    Mistake("mask even for the cached single token of wrong past", "13.4", within="GPT",new=fwd("create_causal_mask(T, past, ids.backend) if T > 1 else None","create_causal_mask(T, 0, ids.backend) if T > 1 and past == 0 else None")),
    Mistake("one token never masked but several with cache unmasked", "13.4", within="GPT",new=fwd("if T > 1 else None","if T > 1 and not caches else None")),
    Mistake("no mask", "13.4", within="GPT",new=fwd("create_causal_mask(T, past, ids.backend) if T > 1 else None","None")),
    Mistake("no dropout", "13.4", within="GPT",new=fwd("self.dropout(self.embedding(ids, past))","self.embedding(ids, past)")),
    Mistake("dropout before the head", "13.4", within="GPT",new=fwd("self.dropout(self.embedding(ids, past))","self.embedding(ids, past)").replace("self.ln_f(x)","self.dropout(self.ln_f(x))")),
    Mistake("no ln_f", "13.4", within="GPT",new=fwd("self.ln_f(x)","x")),
    Mistake("ln_f after the head", "13.4", within="GPT",new=fwd("self.head(self.ln_f(x))","(lambda h: (h - h.mean(axis=-1, keepdims=True)))(self.head(x))")),
    Mistake("softmax at the end", "13.4", within="GPT",new=fwd("return self.head(self.ln_f(x))","h = self.head(self.ln_f(x)); e = (h - h.max(axis=-1, keepdims=True)).exp(); return e / e.sum(axis=-1, keepdims=True)")),
    Mistake("only last position with caches", "13.4", within="GPT",new=fwd("return self.head(self.ln_f(x))","x = self.head(self.ln_f(x)); return x[:, -1:] if caches else x")),
    Mistake("embedding from 0", "13.4", within="GPT",new=fwd("self.embedding(ids, past)","self.embedding(ids)")),
    Mistake("the limit without past", "13.4", within="GPT",new=fwd("if past + T >","if T >")),
    Mistake("the limit: too long prompts are cut", "13.4", within="GPT",new=fwd("        raise ValueError(f\"{past + T} tokens exceed max_seq_len={self.config.max_seq_len}\")","        ids = ids[:, -self.config.max_seq_len + past:]; T = ids.shape[1]")),
    Mistake("single text returns (1, T, V)", "13.4", within="GPT",new=fwd("caches)[0]","caches)")),
    Mistake("single text without caches", "13.4", within="GPT",new=fwd("self.forward(ids.reshape(1, -1), caches)","self.forward(ids.reshape(1, -1))")),
    Mistake("(T,) as a batch of T texts", "13.4", within="GPT",new=fwd("self.forward(ids.reshape(1, -1), caches)[0]","self.forward(ids.reshape(-1, 1), caches)[:, 0]")),
    Mistake("past from the last cache after blocks", "13.4", within="GPT",new=fwd("past = caches[0].length if caches else 0","past = sum(c.length for c in caches) if caches else 0")),
    Mistake("first block twice", "13.4", within="GPT",new=fwd("        x = block(x, mask","        x = self.blocks[0](x, mask")),
    Mistake("last block left out", "13.4", within="GPT",new=fwd("enumerate(self.blocks)","enumerate(list(self.blocks)[:-1])")),
    Mistake("blocks reversed", "13.4", within="GPT",new=fwd("enumerate(self.blocks)","reversed(list(enumerate(self.blocks)))")),
    Mistake("tied head always", "13.4", within="GPT",new=fwd("self.head(self.ln_f(x))","self.ln_f(x) @ self.embedding.tokens.weight.swapaxes(0, 1)")),
    Mistake("caches half as long", "13.4", within="GPT",new='''
def new_caches(self):
    return [KVCache(2 * self.config.max_seq_len) for _ in range(self.config.num_layers)]
'''),
    Mistake("embedding scaled", "13.4", within="GPT",new=fwd("self.embedding(ids, past)","self.embedding(ids, past) * math.sqrt(self.config.embed_dim)")),
    Mistake("residual over everything", "13.4", within="GPT",new=fwd("    return self.head(self.ln_f(x))","    return self.head(self.ln_f(x + self.embedding(ids, past)))")),
    # 13.5
    Mistake("uniform", "13.5", new=init("random.normal(parameter.shape, std)","random.uniform(parameter.shape, -std, std)")),
    Mistake("depth dependent", "13.5", new=init("std = small if","small = 0.02 / math.sqrt(2 * (int(name.split('.')[1]) + 1)) if name.startswith('blocks') else 0.02\n            std = small if")),
    Mistake("all weights incl norms", "13.5", new=init("parameter.ndim == 2","True")),
    Mistake("biases small random", "13.5", new=init("parameter.data = 0.0","parameter.data = random.normal(parameter.shape, 0.02)")),
    Mistake("ln bias untouched", "13.5", new=init('name.endswith("bias")','name.endswith("bias") and "ln" not in name')),
    Mistake("positions not initialised", "13.5", new=init("parameter.ndim == 2","parameter.ndim == 2 and 'positions' not in name")),
    Mistake("head zero", "13.5", new=init("std = small if","std = 0.0 if name == 'head.weight' else small if")),
    Mistake("norm weights to one", "13.5", new=init("        elif","        elif parameter.ndim == 1:\n            parameter.data = 1.0\n        elif")),
    Mistake("truncated at 1 std", "13.5", new=init("random.normal(parameter.shape, std)","Tensor(np.clip(random.normal(parameter.shape, std), -std, std) * 1.25)")),
    # 13.6
    Mistake("multiply temperature", "13.6", new=sam(("/ temperature","* temperature"))),
    Mistake("temperature after exp", "13.6", new=sam((") / temperature",")"),("weights = np.exp(scaled)","weights = np.exp(scaled) / temperature"))),
    Mistake("weights ** temperature", "13.6", new=sam((") / temperature",")"),("weights = np.exp(scaled)","weights = np.exp(scaled) ** temperature"))),
    Mistake("top_k after dividing by sum, k+1", "13.6", new=sam(("-top_k, axis","-top_k - 1, axis"),("[:, -top_k, None]","[:, -top_k - 1, None]"))),
    Mistake("top_k smallest", "13.6", new=sam(("np.partition(scaled, -top_k, axis=-1)[:, -top_k, None]","np.sort(scaled, axis=-1)[:, top_k - 1, None]"),("scaled < kth","scaled > kth"))),
    Mistake("top_k by values of row 0", "13.6", new=sam(("[:, -top_k, None]","[0, -top_k]"))),
    Mistake("top_p before top_k", "13.6", new=sam(("top_p is not None and top_p < 1","top_p is not None and top_p < 1 and top_k is None"))),
    Mistake("top_k sets to 0 not -inf", "13.6", new=sam(("-np.inf, scaled)","0.0, scaled)"))),
    Mistake("one dart for all rows", "13.6", new=sam(("rng.random((len(logits), 1))","rng.random()"))),
    Mistake("np.random", "13.6", new=sam(("rng.random((len(logits), 1))","np.random.random((len(logits), 1))"))),
    Mistake("fresh rng", "13.6", new=sam(("rng.random((len(logits), 1))","np.random.default_rng(0).random((len(logits), 1))"))),
    Mistake("normal dart", "13.6", new=sam(("rng.random((len(logits), 1))","np.abs(rng.standard_normal((len(logits), 1))) % 1"))),
    Mistake("dart not scaled", "13.6", new=sam((" * total[:, -1:]",""))),
    Mistake("argmax always at T<1", "13.6", new=sam(("temperature < SMALLEST_TEMPERATURE","temperature < 1"))),
    Mistake("no maximum", "13.6", new=sam((" - largest",""))),
    Mistake("maximum of all", "13.6", new=sam(("- largest","- largest.max()"))),
    Mistake("float16", "13.6", new=sam(("np.float64","np.float16"))),
    Mistake("returns (B,1)", "13.6", new=sam(("np.argmax(total > u, axis=-1)","np.argmax(total > u, axis=-1)[:, None]"))),
    Mistake("returns int", "13.6", new=sam(("np.argmax(total > u, axis=-1)","int(np.argmax(total > u, axis=-1)[0])"))),
    Mistake("searchsorted over row 0", "13.6", new=sam(("np.argmax(total > u, axis=-1)","np.searchsorted(total[0], u[:, 0], side='right')"))),
    Mistake("top_k zero temperature ignored", "13.6", new=sam(("    if temperature < SMALLEST_TEMPERATURE:\n        return np.argmax(logits, axis=-1)\n","    temperature = max(temperature, 1e-2)\n"))),
    Mistake("count of totals below u, off by one", "13.6", new=sam(("np.argmax(total > u, axis=-1)","np.minimum((total < u).sum(axis=-1) + 1, total.shape[-1] - 1)"))),
    Mistake("no finite check", "13.6", new=sam(("    logits, largest = finite_logits(logits)\n","    largest = logits.max(axis=-1, keepdims=True)\n"))),
    # 13.7
    Mistake("prompt not cut", "13.7", new=st(("    window = window[:, -limit:]\n",""))),
    Mistake("cache ignored", "13.7", new=st(("caches = model.new_caches() if use_cache else None","caches = None"),("        if not use_cache:\n            unread = window","        unread = window"))),
    Mistake("use_cache ignored", "13.7", new=st(("model.new_caches() if use_cache else None","model.new_caches()"),("        if not use_cache:\n            unread = window\n",""))),
    Mistake("finished rows go on", "13.7", new=st(("            token = np.where(done, window[:, -1], token)\n            done = (","            done = done | ("))),
    Mistake("finished rows padded with 0", "13.7", new=st(("np.where(done, window[:, -1], token)","np.where(done, 0, token)"),("done = (","done = done | ("))),
    Mistake("all must stop at the same step", "13.7", new=st(("            token = np.where(done, window[:, -1], token)\n            done = (token[:, None] == stop_tokens).any(axis=1)\n","            if (token[:, None] == stop_tokens).any(axis=1).all():\n                yield token\n                return\n"))),
    Mistake("only the first stop token", "13.7", new=st(("(token[:, None] == stop_tokens).any(axis=1)","token == stop_tokens[0]"))),
    Mistake("slides by one", "13.7", new=st(("window[:, limit - limit // 2 :]","window[:, 1:]"))),
    Mistake("unread only the new token after sliding", "13.7", new=st(("            unread = np.concatenate([window, unread], axis=1)\n",""))),
    Mistake("greedy", "13.7", new=st(("choose_token(logits, *choice, rng=rng)","np.argmax(logits.numpy(), axis=-1)"))),
    Mistake("only the temperature", "13.7", new=st(("choose_token(logits, *choice, rng=rng)","choose_token(logits, choice[0], None, None, rng=rng)"))),
    Mistake("own rng", "13.7", new=st(("    done = np","    rng = np.random.default_rng(0)\n    done = np"))),
    Mistake("rng renewed in each round", "13.7", new=st(("        logits = _last","        rng = np.random.default_rng(rng.integers(1))\n        logits = _last"))),
    Mistake("all at the end", "13.7", new=st(("        yield token\n","        out.append(token)\n"),("    done = np","    out = []\n    done = np"),("            return\n","            break\n"))+"    yield from out\n"),
    Mistake("yields lists of ints of the first row", "13.7", new=st(("yield token","yield token[:1]"))),
    Mistake("model in eval afterwards", "13.7", new=st(("    done = np","    model.eval()\n    done = np"))),
    Mistake("own forward without evaluating", "13.7", new=st(("_last_logits(model, backend, unread, caches)","Tensor(model(Tensor(unread), caches).detach().numpy()[:, -1])"))),
    Mistake("logits of the first position", "13.7", new=st(("_last_logits(model, backend, unread, caches)","Tensor(model(Tensor(unread), caches).detach().numpy()[:, 0])"))),
    Mistake("window grows beyond, always cut by one", "13.7", new=st(("window = window[:, limit - limit // 2 :]","window = window[:, -(limit - 1) :]"))),
    Mistake("window appended before the limit is checked", "13.7", new=st(("        unread = token[:, None]\n","        unread = token[:, None]\n        window = np.concatenate([window, token[:, None]], axis=1)\n"),("        window = np.concatenate([window, token[:, None]], axis=1)\n        if not","        if not"),("window.shape[1] == limit","window.shape[1] > limit"),("limit - limit // 2 :","limit // 2 :"))),
]
