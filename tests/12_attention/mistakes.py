"""Typical mistakes in lesson 12."""

from mistake import Mistake

MISTAKES = [
    Mistake("a token does not see itself", "12.1", ">=", ">"),
    Mistake("the mask looks ahead", "12.1", ">=", "<="),
    Mistake("queries start at 0 despite the past", "12.1",
            "arange(past, past + seq_len)", "arange(seq_len)"),
    Mistake("the keys of the past are missing", "12.1", "arange(past + seq_len)", "arange(seq_len)"),
    Mistake("queries and keys are swapped in the mask", "12.1",
            "(queries, axis=1) >= backend.xp.expand_dims(keys, axis=0)",
            "(queries, axis=0) >= backend.xp.expand_dims(keys, axis=1)"),
    Mistake("the scale is missing", "12.2", "matrix_transpose(k) * scale", "matrix_transpose(k)"),
    Mistake("the scores are divided by the scale", "12.2", "transpose(k) * scale", "transpose(k) / scale"),
    Mistake("softmax over the queries", "12.2", "softmax_array(xp, scores)",
            "xp.matrix_transpose(softmax_array(xp, xp.matrix_transpose(scores)))"),
    Mistake("the keys are not transposed", "12.2", "q @ xp.matrix_transpose(k)", "q @ k"),
    Mistake("the mask is inverted", "12.2",
            "xp.where(mask, scores, xp.full_like(scores, -math.inf))",
            "xp.where(mask, xp.full_like(scores, -math.inf), scores)"),
    Mistake("masked scores are 0 instead of -inf", "12.2", "-math.inf", "0.0"),
    Mistake("a floating mask is ignored", "12.2", "scores = scores + mask", "pass"),
    Mistake("the softmax is missing", "12.2", "weights = softmax_array(xp, scores)",
            "weights = scores"),
    Mistake("the sum of the softmax gradient is missing", "12.3",
            "(g - xp.sum(g * weights, axis=-1, keepdims=True))", "g"),
    Mistake("the softmax gradient sums over the wrong axis", "12.3", "axis=-1", "axis=-2"),
    Mistake("the gradient is not scaled", "12.3", " * scale", "", 2),
    Mistake("dK is missing the transpose", "12.3", "xp.matrix_transpose(d) @ q", "d @ q"),
    Mistake("q and k are swapped in the gradient", "12.3", "(d @ k)", "(d @ q)"),
    Mistake("the mask's gradient is scaled", "12.3", "lambda: d,", "lambda: d * scale,"),
    Mistake("the scale is 1 / hs", "12.4", "math.sqrt(max(1, Q.shape[-1]))",
            "max(1, Q.shape[-1])"),
    Mistake("the scale has T instead of hs", "12.4", "max(1, Q.shape[-1])",
            "max(1, Q.shape[-2])"),
    Mistake("the mask is not passed on", "12.4", "attention_weights(Q, K, mask,",
            "attention_weights(Q, K, None,"),
    Mistake("keys are averaged instead of values", "12.4", "@ V, weights", "@ K, weights"),
    Mistake("dropout changes the returned weights", "12.4",
            "return (weights if dropout is None else dropout(weights)) @ V, weights",
            "weights = weights if dropout is None else dropout(weights)\n"
            "    return weights @ V, weights"),
    Mistake("dropout is missing", "12.4",
            "(weights if dropout is None else dropout(weights)) @ V", "weights @ V"),
    Mistake("shapes are not checked", "12.4",
            "Q.shape[-1] != K.shape[-1] or K.shape[-2] != V.shape[-2]", "False"),
    Mistake("heads are split without a permutation", "12.5",
            "heads = xp.reshape(qkv, (B, T, 3, num_heads, width // (3 * num_heads)))  # (B, T, 3, nh, hs)\n"
            "    heads = xp.permute_dims(heads, (2, 0, 3, 1, 4))  # (3, B, nh, T, hs)",
            "heads = xp.reshape(qkv, (3, B, num_heads, T, -1))"),
    Mistake("the head axis comes before the axis of q, k and v", "12.5",
            "xp.reshape(qkv, (B, T, 3, num_heads, width // (3 * num_heads)))  # (B, T, 3, nh, hs)\n"
            "    heads = xp.permute_dims(heads, (2, 0, 3, 1, 4))",
            "xp.reshape(qkv, (B, T, num_heads, 3, -1))\n"
            "    heads = xp.permute_dims(heads, (3, 0, 2, 1, 4))"),
    Mistake("queries and keys are swapped", "12.5", "(heads[0, ...], heads[1, ...], heads[2, ...])",
            "(heads[1, ...], heads[0, ...], heads[2, ...])"),
    Mistake("heads are merged without a permutation", "12.5",
            "xp.reshape(xp.permute_dims(y, (0, 2, 1, 3)), (B, T, nh * hs))",
            "xp.reshape(y, (B, T, nh * hs))"),
    Mistake("the gradient of split_heads is not permuted back", "12.5",
            "xp.reshape(xp.permute_dims(heads, (1, 3, 0, 2, 4)), shape)",
            "xp.reshape(heads, shape)"),
    Mistake("the gradient of merge_heads permutes wrongly", "12.5",
            "xp.permute_dims(xp.reshape(g, (B, T, nh, hs)), (0, 2, 1, 3))",
            "xp.reshape(g, (B, nh, T, hs))"),
    Mistake("the length of the cache is not updated", "12.6", "        self.length = end\n", ""),
    Mistake("new keys overwrite the first ones", "12.6", "slice(start, end)", "slice(0, end - start)",
            2),
    Mistake("the values are overwritten with the keys", "12.6", "slice(start, end), values)", "slice(start, end), keys)"),
    Mistake("the cache may overflow", "12.6", "if end > self.max_seq_len:", "if False:"),
    Mistake("the last position is never used", "12.6", "end > self.max_seq_len",
            "end >= self.max_seq_len"),
    Mistake("keys with a gradient are accepted", "12.6", "if keys.requires_grad:", "if False:"),
    Mistake("the cache is allocated at every call", "12.6",
            "if self._keys is None or self._values is None:", "if True:"),
    Mistake("rotary positions ignore the past", "12.7", "self.rotary(q, past), self.rotary(k, past)",
            "self.rotary(q), self.rotary(k)"),
    Mistake("the past is read after appending", "12.7",
            "        if self.rotary is not None:\n"
            "            q, k = self.rotary(q, past), self.rotary(k, past)\n"
            "        if cache is not None:\n"
            "            k, v = cache.append(k, v)  # (B, nkv, S, hs)\n",
            "        if cache is not None:\n"
            "            k, v = cache.append(k, v)  # (B, nkv, S, hs)\n"
            "            past = cache.length\n"
            "        if self.rotary is not None:\n"
            "            q, k = self.rotary(q, past), self.rotary(k, past)\n"),
    Mistake("keys are not rotated", "12.7", "self.rotary(q, past), self.rotary(k, past)",
            "self.rotary(q, past), k"),
    Mistake("the result of append is ignored", "12.7", "k, v = cache.append(k, v)",
            "cache.append(k, v)"),
    Mistake("the output projection is missing", "12.7", "self.proj(merge_heads(y))",
            "merge_heads(y)"),
    Mistake("the graph is cut by a conversion to NumPy", "12.7", "self.proj(merge_heads(y))",
            "self.proj(Tensor(merge_heads(y).numpy()))"),
    Mistake("the number of heads is not checked", "12.7", "if num_heads < 1 or embed_dim % num_heads:",
            "if False:"),
    Mistake("attend ignores the mask", "12.7",
            "scaled_dot_product_attention(q, k, v, mask, self.weights_dropout)",
            "scaled_dot_product_attention(q, k, v, None, self.weights_dropout)"),
    Mistake("dropout of the output is missing", "12.7",
            "self.output_dropout(self.proj(merge_heads(y)))", "self.proj(merge_heads(y))"),
    Mistake("forward returns a tuple", "12.7", "need_weights=False)[0]",
            "need_weights=False)"),
    Mistake("forward ignores the mask", "12.7",
            "attention(q, k, v, mask, self.weights_dropout), None",
            "attention(q, k, v, None, self.weights_dropout), None"),

    # The mask
    Mistake("a floating mask", "12.1", "wrap_array(Tensor, visible, backend)",
            "wrap_array(Tensor, backend.xp.astype(visible, backend.xp.float32), backend)"),
    Mistake("an integer mask", "12.1", "wrap_array(Tensor, visible, backend)",
            "wrap_array(Tensor, visible * 1, backend)"),
    Mistake("the backend is not passed on", "12.1", "backend = get(backend)", "backend = get()"),
    Mistake("a plain tensor of the default backend", "12.1",
            "wrap_array(Tensor, visible, backend)", "Tensor(visible)"),
    Mistake("sizes are not checked", "12.1", "if seq_len < 0 or past < 0:", "if False:"),
    Mistake("only seq_len is checked", "12.1", "seq_len < 0 or past < 0", "seq_len < 0"),
    Mistake("only past is checked", "12.1", "seq_len < 0 or past < 0", "past < 0"),
    Mistake("only both negative is an error", "12.1", "seq_len < 0 or past", "seq_len < 0 and past"),
    Mistake("no tokens are an error", "12.1", "seq_len < 0 or", "seq_len < 1 or"),
    Mistake("the past is hidden", "12.1", new='''
def create_causal_mask(seq_len, past=0, backend=None):
    if seq_len < 0 or past < 0:
        raise ValueError
    visible = np.hstack([np.zeros((seq_len, past)), np.tri(seq_len)]) == 1
    return Tensor(visible, backend=backend)
'''),
    Mistake("the mask of the past and the new tokens, square", "12.1",
            "arange(past, past + seq_len)", "arange(past + seq_len)"),
    Mistake("True hides", "12.1", "wrap_array(Tensor, visible, backend)",
            "wrap_array(Tensor, ~visible, backend)"),
    # Weights
    Mistake("a large negative number instead of -inf", "12.2", "-math.inf", "-1e9"),
    Mistake("the least number of the dtype instead of -inf", "12.2", "-math.inf",
            "np.finfo(scores.dtype).min"),
    Mistake("a softmax without the maximum", "12.2", "weights = softmax_array(xp, scores)",
            "weights = xp.exp(scores)\n"
            "    weights = weights / xp.sum(weights, axis=-1, keepdims=True)"),
    Mistake("a softmax with the maximum, but NaN for no key", "12.2",
            "weights = softmax_array(xp, scores)",
            "weights = xp.exp(scores - xp.max(scores, axis=-1, keepdims=True))\n"
            "    weights = weights / xp.sum(weights, axis=-1, keepdims=True)"),
    Mistake("the masked weights are zeroed after the softmax", "12.2", new='''
def attention_weights(xp, q, k, mask=None, *, scale):
    scores = q @ xp.matrix_transpose(k) * scale
    if mask is not None and mask.dtype != xp.bool:
        scores = scores + mask
    weights = softmax_array(xp, scores)
    if mask is not None and mask.dtype == xp.bool:
        weights = xp.where(mask, weights, xp.zeros_like(weights))
    return weights, (q, k, weights, scale)
'''),
    Mistake("the mask is scaled as well", "12.2", new='''
def attention_weights(xp, q, k, mask=None, *, scale):
    scores = q @ xp.matrix_transpose(k)
    if mask is not None and mask.dtype == xp.bool:
        scores = xp.where(mask, scores, xp.full_like(scores, -math.inf))
    elif mask is not None:
        scores = scores + mask
    weights = softmax_array(xp, scores * scale)
    return weights, (q, k, weights, scale)
'''),
    Mistake("a floating mask is a boolean one", "12.2", "scores = scores + mask",
            "scores = xp.where(mask == 0, scores, xp.full_like(scores, -math.inf))"),
    Mistake("a floating mask is subtracted", "12.2", "scores = scores + mask",
            "scores = scores - mask"),
    Mistake("a floating mask replaces the scores", "12.2", "scores = scores + mask", "scores = mask"),
    Mistake("a floating mask multiplies the scores", "12.2", "scores = scores + mask",
            "scores = scores * mask"),
    Mistake("a boolean mask is added", "12.2", "mask.dtype == xp.bool", "False"),
    Mistake("every mask is boolean", "12.2", "mask is not None and mask.dtype == xp.bool",
            "mask is not None"),
    Mistake("all axes are transposed", "12.2", "xp.matrix_transpose(k)",
            "xp.permute_dims(k, tuple(range(k.ndim))[::-1])"),
    Mistake("keys times queries", "12.2", "q @ xp.matrix_transpose(k)", "k @ xp.matrix_transpose(q)"),
    Mistake("softmax over the whole table", "12.2", "weights = softmax_array(xp, scores)",
            "weights = softmax_array(xp, scores, axis=None)"),
    Mistake("softmax over the heads", "12.2", "softmax_array(xp, scores)",
            "softmax_array(xp, scores, axis=0)"),
    Mistake("the scale is squared", "12.2", "(k) * scale", "(k) * scale * scale"),
    Mistake("the scale is taken from the size", "12.2", "(k) * scale", "(k) * q.shape[-1] ** -0.5"),
    Mistake("the logarithm of the weights", "12.2", "softmax_array(xp, scores)",
            "xp.log(softmax_array(xp, scores))"),
    Mistake("the result is float64", "12.2", "weights = softmax_array(xp, scores)",
            "weights = xp.astype(softmax_array(xp, scores), xp.float64)"),
    Mistake("the scores are kept for the gradient", "12.2", "(q, k, weights, scale)",
            "(q, k, scores, scale)"),
    Mistake("q and k are kept in the wrong order", "12.2", "(q, k, weights, scale)",
            "(k, q, weights, scale)"),
    Mistake("the scale is not kept", "12.2", "(q, k, weights, scale)", "(q, k, weights)"),
    Mistake("nothing is kept", "12.2", "return weights, (q, k, weights, scale)", "return weights"),
    Mistake("k is kept transposed", "12.2", "(q, k, weights, scale)",
            "(q, xp.matrix_transpose(k), weights, scale)"),
    # Its gradient
    Mistake("the sum is added", "12.3", "(g - xp.sum", "(g + xp.sum"),
    Mistake("the sum is not multiplied by g", "12.3", "xp.sum(g * weights,", "xp.sum(weights,"),
    Mistake("the sum is not multiplied by the weights", "12.3", "xp.sum(g * weights,", "xp.sum(g,"),
    Mistake("a mean instead of the sum", "12.3", "xp.sum(g * weights,", "xp.mean(g * weights,"),
    Mistake("the weights are missing in front", "12.3", "d = weights * (g", "d = (g"),
    Mistake("the gradient of a sigmoid", "12.3",
            "weights * (g - xp.sum(g * weights, axis=-1, keepdims=True))",
            "g * weights * (1 - weights)"),
    Mistake("the sum without keepdims", "12.3", ", keepdims=True", ""),
    Mistake("dq is not scaled", "12.3", "(d @ k) * scale", "d @ k"),
    Mistake("dk is not scaled", "12.3", "(xp.matrix_transpose(d) @ q) * scale",
            "xp.matrix_transpose(d) @ q"),
    Mistake("dk is divided by the scale", "12.3", "(xp.matrix_transpose(d) @ q) * scale",
            "(xp.matrix_transpose(d) @ q) / scale"),
    Mistake("dq and dk in the wrong order", "12.3", new='''
def attention_weights_gradient(xp, g, q, k, weights, scale):
    d = weights * (g - xp.sum(g * weights, axis=-1, keepdims=True))
    return (lambda: (xp.matrix_transpose(d) @ q) * scale, lambda: (d @ k) * scale, lambda: d)
'''),
    Mistake("no gradient of the mask", "12.3", "        lambda: d,\n", ""),
    Mistake("the gradient of the mask is g", "12.3", "lambda: d,", "lambda: g,"),
    Mistake("the gradient of the mask has the wrong sign", "12.3", "lambda: d,", "lambda: -d,"),
    Mistake("d is None for the mask", "12.3", "lambda: d,", "lambda: None,"),
    # Scaled dot-product attention
    Mistake("the scale has the size of the values", "12.4", "Q.shape[-1]))", "V.shape[-1]))"),
    Mistake("the scale has the number of keys", "12.4", "Q.shape[-1]))", "K.shape[-2]))"),
    Mistake("the scale has the number of heads", "12.4", "Q.shape[-1]))", "Q.shape[1]))"),
    Mistake("the scale is sqrt(hs)", "12.4", "1 / math.sqrt", "math.sqrt"),
    Mistake("the scale is fixed", "12.4", "1 / math.sqrt(max(1, Q.shape[-1]))", "0.5"),
    Mistake("no scale", "12.4", "1 / math.sqrt(max(1, Q.shape[-1]))", "1.0"),
    Mistake("dropout after the product", "12.4",
            "return (weights if dropout is None else dropout(weights)) @ V, weights",
            "output = weights @ V\n"
            "    return (output if dropout is None else dropout(output)), weights"),
    Mistake("dropout of the values", "12.4",
            "(weights if dropout is None else dropout(weights)) @ V, weights",
            "weights @ (V if dropout is None else dropout(V)), weights"),
    Mistake("dropout of the queries", "12.4", "    weights = attention_weights(",
            "    Q = Q if dropout is None else dropout(Q)\n    weights = attention_weights("),
    Mistake("dropout before the mask", "12.4", new='''
def scaled_dot_product_attention(Q, K, V, mask=None, dropout=None):
    _check_arguments(Q, K, V, dropout)
    if Q.shape[-1] != K.shape[-1] or K.shape[-2] != V.shape[-2]:
        raise ValueError(f"{Q.shape}, {K.shape}, {V.shape}")
    if mask is not None:
        check_mask(Q, K, mask)
    scale = 1 / math.sqrt(Q.shape[-1])
    weights = attention_weights(Q, K, mask, scale=scale)
    used = weights if dropout is None else attention_weights(dropout(Q), K, mask, scale=scale)
    return used @ V, weights
'''),
    Mistake("dropout twice", "12.4", "else dropout(weights))", "else dropout(dropout(weights)))"),
    Mistake("values must have the size of keys", "12.4",
            "Q.shape[-1] != K.shape[-1] or", "not Q.shape[-1] == K.shape[-1] == V.shape[-1] or"),
    Mistake("keys and values must have one shape", "12.4", "K.shape[-2] != V.shape[-2]",
            "K.shape != V.shape"),
    Mistake("as many queries as keys are demanded", "12.4", "K.shape[-2] != V.shape[-2]",
            "not Q.shape[-2] == K.shape[-2] == V.shape[-2]"),
    Mistake("only the sizes are checked", "12.4", " or K.shape[-2] != V.shape[-2]", ""),
    Mistake("only the lengths are checked", "12.4", "Q.shape[-1] != K.shape[-1] or ", ""),
    Mistake("both must be wrong", "12.4", "K.shape[-1] or K.shape", "K.shape[-1] and K.shape"),
    Mistake("the shape of the values is not named", "12.4", " and V {V.shape}", ""),
    Mistake("the message names nothing", "12.4",
            'f"Q {Q.shape}, K {K.shape} and V {V.shape} have incompatible shapes"', '"wrong shapes"'),
    Mistake("the given check is not called", "12.4", "    _check_arguments(Q, K, V, dropout)\n", ""),
    Mistake("the mask is not checked", "12.4", "        check_mask(Q, K, mask)\n", "        pass\n"),
    Mistake("attention of keys to queries", "12.4", "attention_weights(Q, K, mask,",
            "attention_weights(K, Q, mask,"),
    Mistake("weights, output instead of output, weights", "12.4",
            "return (weights if dropout is None else dropout(weights)) @ V, weights",
            "return weights, (weights if dropout is None else dropout(weights)) @ V"),
    Mistake("the output alone", "12.4", "dropout(weights)) @ V, weights", "dropout(weights)) @ V"),
    Mistake("axes counted from the start", "12.4", "Q.shape[-1]))", "Q.shape[3]))"),
    Mistake("always a causal mask", "12.4", "attention_weights(Q, K, mask,",
            "attention_weights(Q, K, create_causal_mask(Q.shape[-2], K.shape[-2] - Q.shape[-2]),"),
    Mistake("the mask is inverted in between", "12.4", "attention_weights(Q, K, mask,",
            "attention_weights(Q, K, None if mask is None else mask == False,"),
    # Heads
    Mistake("keys and values are swapped", "12.5", "(heads[0, ...], heads[1, ...], heads[2, ...])",
            "(heads[0, ...], heads[2, ...], heads[1, ...])"),
    Mistake("the batch is mixed with the heads", "12.5", "heads, (2, 0, 3, 1, 4)",
            "heads, (2, 3, 0, 1, 4)"),
    Mistake("heads stay behind the tokens", "12.5", "heads, (2, 0, 3, 1, 4)", "heads, (2, 0, 1, 3, 4)"),
    Mistake("hs and T are swapped", "12.5", "heads, (2, 0, 3, 1, 4)", "heads, (2, 0, 3, 4, 1)"),
    Mistake("the size is that of one head too many", "12.5", "width // (3 * num_heads)",
            "width // 3 // num_heads + 1"),
    Mistake("heads have the wrong place in the row", "12.5",
            "(B, T, 3, num_heads, width // (3 * num_heads)))  # (B, T, 3, nh, hs)\n"
            "    heads = xp.permute_dims(heads, (2, 0, 3, 1, 4))",
            "(B, T, 3, width // (3 * num_heads), num_heads))\n"
            "    heads = xp.permute_dims(heads, (2, 0, 4, 1, 3))"),
    Mistake("the shape of the heads is kept", "12.5", "heads[2, ...]), (qkv.shape,)",
            "heads[2, ...]), (heads.shape,)"),
    Mistake("the shape is not in a tuple", "12.5", "heads[2, ...]), (qkv.shape,)",
            "heads[2, ...]), qkv.shape"),
    Mistake("None is not replaced", "12.5", "[xp.zeros_like(some) if g is None else g for g in gs]",
            "gs"),
    Mistake("gradients that are None are left out", "12.5",
            "[xp.zeros_like(some) if g is None else g for g in gs]",
            "[g for g in gs if g is not None]"),
    Mistake("ones for a gradient that is None", "12.5", "xp.zeros_like(some)", "xp.ones_like(some)"),
    Mistake("the gradients are stacked in reverse", "12.5", "else g for g in gs]",
            "else g for g in gs[::-1]]"),
    Mistake("the same permutation back", "12.5", "(heads, (1, 3, 0, 2, 4))", "(heads, (2, 0, 3, 1, 4))"),
    Mistake("the gradient has the heads first", "12.5", "(heads, (1, 3, 0, 2, 4))",
            "(heads, (1, 3, 2, 0, 4))"),
    Mistake("merged heads are interleaved", "12.5",
            "xp.permute_dims(y, (0, 2, 1, 3)), (B, T, nh * hs)",
            "xp.permute_dims(y, (0, 2, 3, 1)), (B, T, nh * hs)"),
    Mistake("only one head is merged", "12.5",
            "xp.reshape(xp.permute_dims(y, (0, 2, 1, 3)), (B, T, nh * hs)), (y.shape,)",
            "xp.permute_dims(y, (0, 2, 1, 3))[:, :, 0, :], (y.shape,)"),
    Mistake("texts are merged with heads", "12.5",
            "xp.permute_dims(y, (0, 2, 1, 3)), (B, T, nh * hs)",
            "xp.permute_dims(y, (2, 1, 0, 3)), (B, T, nh * hs)"),
    Mistake("the gradient of merge_heads is not permuted", "12.5",
            "xp.permute_dims(xp.reshape(g, (B, T, nh, hs)), (0, 2, 1, 3))",
            "xp.reshape(g, (B, T, nh, hs))"),
    Mistake("the gradient of merge_heads reads heads and tokens swapped", "12.5",
            "xp.reshape(g, (B, T, nh, hs))", "xp.reshape(g, (B, nh, T, hs))"),
    # The cache
    Mistake("the error of the cache names nothing", "12.6",
            'f"the cache holds at most {self.max_seq_len} tokens, got {end}"', '"the cache is full"'),
    Mistake("the error names the limit alone", "12.6", " tokens, got {end}", " tokens"),
    Mistake("the error names the length alone", "12.6", "at most {self.max_seq_len} tokens",
            "at most so many tokens"),
    Mistake("the length is set before the check", "12.6",
            "        start, end = self.length, self.length + keys.shape[2]\n",
            "        start, end = self.length, self.length + keys.shape[2]\n        self.length = end\n"),
    Mistake("texts are counted instead of tokens", "12.6", "self.length + keys.shape[2]",
            "self.length + keys.shape[0]"),
    Mistake("heads are counted instead of tokens", "12.6", "self.length + keys.shape[2]",
            "self.length + keys.shape[1]"),
    Mistake("calls are counted instead of tokens", "12.6", "self.length = end", "self.length += 1"),
    Mistake("the length is that of the new tokens", "12.6", "self.length = end",
            "self.length = end - start"),
    Mistake("the new keys alone are returned", "12.6",
            "return _first(self._keys, end, keys), _first(self._values, end, keys)",
            "return keys, values"),
    Mistake("the whole arrays are returned", "12.6",
            "_first(self._keys, end, keys), _first(self._values, end, keys)",
            "_first(self._keys, self.max_seq_len, keys), _first(self._values, self.max_seq_len, keys)"),
    Mistake("values, keys instead of keys, values", "12.6",
            "return _first(self._keys, end, keys), _first(self._values, end, keys)",
            "return _first(self._values, end, keys), _first(self._keys, end, keys)"),
    Mistake("keys are returned twice", "12.6", "_first(self._values, end, keys)",
            "_first(self._keys, end, keys)"),
    Mistake("the tokens before the new ones are returned", "12.6", "_first(self._keys, end, keys), _first(self._values, end",
            "_first(self._keys, start, keys), _first(self._values, start"),
    Mistake("keys and values share an array", "12.6",
            "self._values = _allocate(values, self.max_seq_len)", "self._values = self._keys"),
    Mistake("the array of values has the size of keys", "12.6", "_allocate(values, self.max_seq_len)",
            "_allocate(keys, self.max_seq_len)"),
    Mistake("the first call keeps the keys and returns", "12.6",
            "            self._keys = _allocate(keys, self.max_seq_len)\n"
            "            self._values = _allocate(values, self.max_seq_len)\n",
            "            self._keys, self._values = keys._array, values._array\n"
            "            self.length = end\n"
            "            return keys, values\n"),
    Mistake("new keys go behind a gap", "12.6", "slice(start, end), keys)",
            "slice(start + 1, end + 1), keys)"),
    Mistake("the last tokens of the array are written", "12.6", "slice(start, end), keys)",
            "slice(self.max_seq_len - end + start, None), keys)"),
    Mistake("the values are never written", "12.6",
            "        self._values = _write(self._values, slice(start, end), values)\n", ""),
    Mistake("another batch size is accepted", "12.6", "if self._keys.shape[:2] != keys.shape[:2]:",
            "if False:"),
    Mistake("only the batch size is compared", "12.6", "self._keys.shape[:2] != keys.shape[:2]",
            "self._keys.shape[0] != keys.shape[0]"),
    Mistake("only the number of heads is compared", "12.6",
            "self._keys.shape[:2] != keys.shape[:2]", "self._keys.shape[1] != keys.shape[1]"),
    Mistake("keys with a gradient are a ValueError", "12.6", "raise RuntimeError", "raise ValueError"),
    Mistake("a full cache starts again", "12.6",
            'raise ValueError(f"the cache holds at most {self.max_seq_len} tokens, got {end}")',
            "start, end = 0, keys.shape[2]"),
    # Multi-head attention
    Mistake("values are rotated as well", "12.7",
            "q, k = self.rotary(q, past), self.rotary(k, past)",
            "q, k, v = self.rotary(q, past), self.rotary(k, past), self.rotary(v, past)"),
    Mistake("queries are not rotated", "12.7", "self.rotary(q, past), self.rotary(k, past)",
            "q, self.rotary(k, past)"),
    Mistake("rotary is not kept", "12.7", "self.rotary = rotary", "self.rotary = None"),
    Mistake("the cached keys are rotated again", "12.7",
            "            q, k = self.rotary(q, past), self.rotary(k, past)\n"
            "        if cache is not None:\n"
            "            k, v = cache.append(k, v)  # (B, nkv, S, hs)\n",
            "            q = self.rotary(q, past)\n"
            "        if cache is not None:\n"
            "            k, v = cache.append(k, v)  # (B, nkv, S, hs)\n"
            "        if self.rotary is not None:\n"
            "            k = self.rotary(k, past)\n"),
    Mistake("weights are never dropped", "12.7", ", mask, self.weights_dropout)", ", mask)", 2),
    Mistake("forward never drops weights", "12.7", "attention(q, k, v, mask, self.weights_dropout), None",
            "attention(q, k, v, mask), None"),
    Mistake("attend never drops weights", "12.7",
            "scaled_dot_product_attention(q, k, v, mask, self.weights_dropout)",
            "scaled_dot_product_attention(q, k, v, mask)"),
    Mistake("the heads' outputs are dropped instead of the weights", "12.7", new='''
def attend(self, x, mask=None, cache=None, need_weights=True):
    _check_tokens(x, self.embed_dim)
    past = cache.length if cache else 0
    q, k, v = split_groups(self.qkv(x), self.num_heads, self.num_kv_heads)
    if self.rotary is not None:
        q, k = self.rotary(q, past), self.rotary(k, past)
    if cache is not None:
        k, v = cache.append(k, v)
    k, v = repeat_heads(k, self.num_heads), repeat_heads(v, self.num_heads)
    y, weights = scaled_dot_product_attention(q, k, v, mask)
    y = self.weights_dropout(y)
    return self.output_dropout(self.proj(merge_heads(y))), weights if need_weights else None
''', within="MultiHeadAttention"),
    Mistake("the output is dropped before the projection", "12.7",
            "self.output_dropout(self.proj(merge_heads(y)))",
            "self.proj(self.output_dropout(merge_heads(y)))"),
    Mistake("dropout is a fixed number", "12.7", "Dropout(dropout), Dropout(dropout)",
            "Dropout(), Dropout()"),
    Mistake("the output has no dropout", "12.7", "Dropout(dropout), Dropout(dropout)",
            "Dropout(dropout), Dropout(0.0)"),
    Mistake("the weights have no dropout", "12.7", "Dropout(dropout), Dropout(dropout)",
            "Dropout(0.0), Dropout(dropout)"),
    Mistake("dropout does not end with training", "12.7", "Dropout(dropout), Dropout(dropout)",
            "(lambda w: Dropout(dropout)(w)), (lambda y: Dropout(dropout)(y))"),
    Mistake("bias is not handed to qkv", "12.7", "width, bias, backend", "width, backend"),
    Mistake("bias is not handed to proj", "12.7", "(embed_dim, embed_dim, bias, backend",
            "(embed_dim, embed_dim, backend"),
    Mistake("no layer has a bias", "12.7", "bias, backend=backend", "False, backend=backend", 2),
    Mistake("backend is not handed to qkv", "12.7", "width, bias, backend=backend",
            "width, bias"),
    Mistake("backend is not handed to proj", "12.7", "embed_dim, embed_dim, bias, backend=backend",
            "embed_dim, embed_dim, bias"),
    Mistake("one Linear for queries alone", "12.7", "width, bias", "embed_dim, bias"),
    Mistake("always a causal mask of its own", "12.7",
            "        past = cache.length if cache else 0\n",
            "        past = cache.length if cache else 0\n"
            "        mask = create_causal_mask(x.shape[1], past)\n"),
    Mistake("a causal mask if there is none", "12.7",
            "        past = cache.length if cache else 0\n",
            "        past = cache.length if cache else 0\n"
            "        mask = create_causal_mask(x.shape[1], past) if mask is None else mask\n"),
    Mistake("one head", "12.7", "(self.qkv(x), self.num_heads, ", "(self.qkv(x), 1, "),
    Mistake("two heads", "12.7", "(self.qkv(x), self.num_heads, ", "(self.qkv(x), 2, "),
    Mistake("as many heads as tokens", "12.7", "(self.qkv(x), self.num_heads, ", "(self.qkv(x), x.shape[1], "),
    Mistake("one head is refused", "12.7", "num_heads < 1 or ", "num_heads <= 1 or "),
    Mistake("positions start at 1", "12.7", "cache.length if cache else 0", "cache.length if cache else 1"),
    Mistake("no head is accepted", "12.7", "num_heads < 1 or ", "num_heads < 0 or "),
    Mistake("heads that do not divide C are accepted", "12.7", "if num_heads < 1 or embed_dim % num_heads:",
            "if num_heads < 1:"),
    Mistake("forward ignores the cache", "12.7", "self.attend(x, mask, cache, need_weights=False)[0]",
            "self.attend(x, mask, need_weights=False)[0]"),
    Mistake("forward does not hand on its mask", "12.7", "self.attend(x, mask, cache, need_weights=False)[0]",
            "self.attend(x, None, cache, need_weights=False)[0]"),
    Mistake("need_weights is ignored", "12.7", "attention(q, k, v, mask, self.weights_dropout), None",
            "scaled_dot_product_attention(q, k, v, mask, self.weights_dropout)"),
    Mistake("the input is not checked", "12.7", "        _check_tokens(x, self.embed_dim)\n", ""),
    Mistake("the mask is dropped with a cache", "12.7", "            k, v = cache.append(k, v)  # (B, nkv, S, hs)\n",
            "            k, v = cache.append(k, v)\n            mask = None\n"),
    Mistake("keys and values are appended in the wrong order", "12.7", "k, v = cache.append(k, v)",
            "v, k = cache.append(v, k)[::-1]"),
    Mistake("keys are used as values", "12.7", "k, v = cache.append(k, v)", "k, v = cache.append(k, k)"),
    Mistake("the projection comes before the merge", "12.7", "self.proj(merge_heads(y))",
            "merge_heads(split_heads(self.qkv(merge_heads(y)), num_heads=self.num_heads)[0])"),
    Mistake("a residual connection", "12.7", "self.output_dropout(self.proj(merge_heads(y)))",
            "x + self.output_dropout(self.proj(merge_heads(y)))"),
    # Grouped queries
    Mistake("as many heads of keys as of queries", "12.7", "= embed_dim, num_heads, nkv",
            "= embed_dim, num_heads, num_heads"),
    Mistake("num_kv_heads is not checked", "12.7", "if nkv < 1 or num_heads % nkv:", "if False:"),
    Mistake("num_kv_heads must divide C", "12.7", "num_heads % nkv:", "embed_dim % nkv:"),
    Mistake("no head of keys is accepted", "12.7", "if nkv < 1 or", "if nkv < 0 or nkv and"),
    Mistake("the projection has 3 C in any case", "12.7",
            "(num_heads + 2 * nkv) * (embed_dim // num_heads)", "3 * embed_dim"),
    Mistake("heads are repeated before they are cached", "12.7",
            "            k, v = cache.append(k, v)  # (B, nkv, S, hs)\n"
            "        k, v = repeat_heads(k, self.num_heads), repeat_heads(v, self.num_heads)",
            "            k, v = cache.append(*(repeat_heads(x, self.num_heads) for x in (k, v)))\n"
            "        else:\n"
            "            k, v = repeat_heads(k, self.num_heads), repeat_heads(v, self.num_heads)"),
    Mistake("the heads take turns with the keys", "12.7",
            "repeat_heads(k, self.num_heads), repeat_heads(v, self.num_heads)",
            "(x.repeat(1, self.num_heads // self.num_kv_heads, 1, 1) for x in (k, v))"),
    Mistake("keys without a gradient", "12.7", "        if self.rotary is not None:\n",
            "        k = k.detach()\n        if self.rotary is not None:\n"),
    Mistake("the sizes are not kept", "12.7", "= embed_dim, num_heads, nkv",
            "= embed_dim, embed_dim // num_heads, nkv"),
]  # fmt: skip

MESSAGE = "accepted: the exercise demands no message here"
PAIR = "keys and values have the same tokens, texts and heads, and are allocated together"
NUMBER = "never None, and the other half of the condition suffices"

# Generated mutants that compute the same, or that are accepted on purpose.
EQUIVALENT = {
    '12.1 create_causal_mask: no message in "raise ValueError(f"seq_len and past must be at least 0, got {seq_len} ..."': MESSAGE,
    '12.1 create_causal_mask: without the call of backend.xp.expand_dims in "backend.xp.expand_dims(keys, axis=0)"': "broadcasting adds the first axis",
    '12.4 scaled_dot_product_attention: arguments Q and K swapped in "_check_arguments(Q, K, V, dropout)"': "the check treats the three alike",
    '12.4 scaled_dot_product_attention: arguments K and V swapped in "_check_arguments(Q, K, V, dropout)"': "the check treats the three alike",
    '12.4 scaled_dot_product_attention: K -> V in "check_mask(Q, K, mask)"': "K and V have the same tokens, checked before",
    '12.4 scaled_dot_product_attention: arguments 1 and Q.shape[-1] swapped in "max(1, Q.shape[-1])"': "the larger of two numbers",
    '12.4 scaled_dot_product_attention: 1 -> 0 in "max(1, Q.shape[-1])"': "accepted: differs for vectors of size 0 only",
    '12.4 scaled_dot_product_attention: Q -> K in "Q.shape" #2': "Q and K have the same last axis, checked before",
    '12.6 KVCache.append: keys -> values in "keys.shape"': PAIR,
    '12.6 KVCache.append: no message in "raise RuntimeError("no gradient flows through a cache: generate under ..."': MESSAGE,
    '12.6 KVCache.append: or -> and in "self._keys is None or self._values is None"': PAIR,
    '12.6 KVCache.append: without self._keys is None in "self._keys is None or self._values is None"': PAIR,
    '12.6 KVCache.append: without self._values is None in "self._keys is None or self._values is None"': PAIR,
    '12.6 KVCache.append: _keys -> _values in "self._keys is None"': PAIR,
    '12.6 KVCache.append: _keys -> length in "self._keys is None"': NUMBER,
    '12.6 KVCache.append: _keys -> max_seq_len in "self._keys is None"': NUMBER,
    '12.6 KVCache.append: _values -> _keys in "self._values is None"': PAIR,
    '12.6 KVCache.append: _values -> length in "self._values is None"': NUMBER,
    '12.6 KVCache.append: _values -> max_seq_len in "self._values is None"': NUMBER,
    '12.6 KVCache.append: _keys -> _values in "self._keys.shape"': PAIR,
    '12.6 KVCache.append: keys -> values in "keys.shape" #2': PAIR,
    '12.6 KVCache.append: no message in "raise ValueError(f"the cache was created for (B, nh) = {self._keys.sha..."': MESSAGE,
    '12.6 KVCache.append: keys -> values in "_first(self._keys, end, keys)"': "_first takes the backend alone from it",
    '12.6 KVCache.append: keys -> values in "_first(self._values, end, keys)"': "_first takes the backend alone from it",
    '12.7 MultiHeadAttention.__init__: no message in "raise ValueError(f"num_heads={num_heads} does not divide embed_dim={em..."': MESSAGE,
    '12.7 MultiHeadAttention.__init__: no message in "raise ValueError(f"num_kv_heads={nkv} does not divide num_heads={num_h..."': MESSAGE,
    '12.7 MultiHeadAttention.__init__: items self.weights_dropout and self.output_dropout swapped in "self.weights_dropout, self.output_dropout"': "both are the same",
    '12.7 MultiHeadAttention.forward: without need_weights=False in "self.attend(x, mask, cache, need_weights=False)"': "accepted: forward need not avoid the weights",
    '12.7 MultiHeadAttention.forward: False -> True in "self.attend(x, mask, cache, need_weights=False)"': "accepted: forward need not avoid the weights",
}  # fmt: skip
