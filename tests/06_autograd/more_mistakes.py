"""More wrong solutions of lesson 06: whole functions, and slips that leave most results right."""

from mistake import Mistake

MISTAKES = [
    # 6.1
    Mistake("a copy of the other gradient", "6.1", "return g, lambda: -g", "return -g, -g"),
    Mistake("the derivative of 1 / y is 1 / y²", "6.1", "-g * (x / y / y)", "g / y / y"),
    Mistake("the slope at the result", "6.1", "return g / x", "return g / xp.exp(x)"),
    Mistake("written into g by the sum", "6.1", new='''
def subtract_gradient(xp, g):
    h = g.copy()
    g *= -1
    return h, g
'''),
    Mistake("an absolute value", "6.1", "-g * (x / y / y)", "-xp.abs(g * x / y / y)"),
    Mistake("products in float64", "6.1", "lambda: g * y, lambda: g * x", "lambda: xp.astype(g, xp.float64) * y, lambda: g * x"),
    # 6.2
    Mistake("repeated along the last axis only", "6.2", "return xp.broadcast_to(xp.reshape(g, kept_shape), shape)", "return xp.reshape(xp.repeat(xp.reshape(g, (-1,)), np.prod(shape) // g.size), shape)"),
    Mistake("the mean of the sizes", "6.2", "g / count", "g / len(shape)"),
    Mistake("the first entry for all", "6.2", "return xp.broadcast_to(xp.reshape(g, kept_shape), shape)", "return xp.broadcast_to(xp.reshape(g, (-1,))[0], shape)"),
    Mistake("divided by the last axis", "6.2", "g / count", "g / shape[-1]"),
    Mistake("divided by the sum of the kept sizes", "6.2", "g / count", "g / xp.sum(xp.asarray(kept_shape))"),
    # 6.3
    Mistake("the permutation twice", "6.3", "tuple(order.index(a) for a in range(len(axes)))", "tuple(order[a] for a in order)"),
    Mistake("a reshape in place of a permutation", "6.3", "return xp.permute_dims(g, tuple(order.index(a) for a in range(len(axes))))", "return xp.reshape(g, tuple(g.shape[order.index(a)] for a in range(len(axes))))"),
    Mistake("only integers are scattered", "6.3", new='''
def getitem_gradient(xp, g, shape, key):
    d = xp.zeros(shape, dtype=g.dtype)
    d[key] = g
    return d
'''),
    Mistake("in-place addition counts once", "6.3", new='''
def getitem_gradient(xp, g, shape, key):
    d = xp.zeros(shape, dtype=g.dtype)
    d[key] += g
    return d
'''),
    Mistake("the size is kept, the order is not", "6.3", "return xp.reshape(g, shape)", "return xp.reshape(xp.permute_dims(g, tuple(range(g.ndim))[::-1]), shape)"),
    # 6.4
    Mistake("g transposed in both", "6.4", "lambda: g @ xp.matrix_transpose(y)", "lambda: xp.matrix_transpose(g) @ y"),
    Mistake("the mean over the batch", "6.4", "return xp.matrix_transpose(_rows(xp, x)) @ _rows(xp, g)", "return xp.matrix_transpose(_rows(xp, x)) @ _rows(xp, g) / x.shape[0]"),
    Mistake("vectors only as the second factor", "6.4", "if x.ndim == 1 or y.ndim == 1:", "if y.ndim == 1:"),
    Mistake("vectors only if both are", "6.4", "if x.ndim == 1 or y.ndim == 1:", "if x.ndim == 1 and y.ndim == 1:"),
    Mistake("x transposed on the right", "6.4", "return xp.matrix_transpose(x) @ g", "return g @ xp.matrix_transpose(x)"),
    # 6.5
    Mistake("a sum that is lost", "6.5", "self._sums[key] = backend.xp.add(self._sums[key], gradient)", "backend.xp.add(self._sums[key], gradient)"),
    Mistake("0 plus the first gradient", "6.5", within="_PendingGradients", new='''
def add(self, target, output_nr, gradient):
    key = (id(target), output_nr)
    self._sums[key] = self._sums.get(key, 0) + gradient
'''),
    Mistake("the key is the name", "6.5", "key = (id(target), output_nr)", "key = (getattr(target, 'name', ''), output_nr)"),
    Mistake("the key is the type", "6.5", "key = (id(target), output_nr)", "key = (type(target), output_nr)"),
    Mistake("the largest gradient", "6.5", "backend.xp.add(", "backend.xp.maximum("),
    Mistake("added axes counted from the end", "6.5", "(*range(extra), *repeated)", "(*range(-extra, 0), *repeated)"),
    Mistake("axes of size 1 are all that differ", "6.5", new='''
def _sum_to_shape(xp, gradient, shape, dtype=None):
    axes = tuple(i for i, (a, b) in enumerate(zip(gradient.shape, shape)) if a != b)
    return xp.reshape(xp.sum(gradient, axis=axes, keepdims=True, dtype=dtype), shape)
'''),
    Mistake("a sum in the input's dtype", "6.5", "dtype=dtype)", "dtype=gradient.dtype)"),
    Mistake("everything summed for a size of 1", "6.5", new='''
def _sum_to_shape(xp, gradient, shape, dtype=None):
    if 1 in shape or not shape:
        return xp.reshape(xp.sum(gradient, dtype=dtype), shape)
    extra = gradient.ndim - len(shape)
    return xp.sum(gradient, axis=tuple(range(extra)), dtype=dtype)
'''),
    # 6.6
    Mistake("leaves always keep the array", "6.6", "collector.add(target, array, can_steal)", "collector.add(target, array, True)"),
    Mistake("the shape of the root decides", "6.6", "pending.add(root, output_nr, gradient)", "pending.add(root, output_nr, gradient / gradient.size)"),
    Mistake("a stack", "6.6", "node = heapq.heappop(queue)[1]", "node = queue.pop()[1]"),
    Mistake("the last of the queue's list is the youngest", "6.6", "node = heapq.heappop(queue)[1]", "node = queue.pop(0)[1]"),
    Mistake("the gradient of the last path only", "6.6", "            pending.add(target, edge.output_nr, array)\n            if target.sequence_nr not in queued:\n", "            if target.sequence_nr not in queued:\n                pending.add(target, edge.output_nr, array)\n"),
    Mistake("the queue is a list with the root first", "6.6", "heapq.heappush(queue, (-target.sequence_nr, target))", "queue.append((-target.sequence_nr, target))"),
    Mistake("a node that was queued is forgotten when it ran", "6.6", "        if not retain_graph:\n", "        queued.clear()\n        if not retain_graph:\n"),
    Mistake("frees the root alone", "6.6", "            node.free_saved()", "            root.free_saved()"),
    Mistake("only growing counts are noticed from the second on", "6.6", "version.count != count", "version.count > count + 1"),
    Mistake("the message for both is the same", "6.6", "was modified in place; modify a", "was freed; pass retain_graph=True or a"),
    Mistake("a warning instead of an error", "6.6", new='''
def _check_saved(node):
    if node.saved is None:
        print(f"{node.name}: pass retain_graph=True")
    for reference, count in node.saved_versions:
        version = reference()
        if version is not None and version.count != count:
            print(f"{node.name} was modified in place")
'''),
    # 6.7
    Mistake("the slope of leaky relu", "6.7", "xp.where(off, xp.zeros_like(g), g)", "xp.where(off, 0.01 * g, g)"),
    Mistake("relu by the sign of g", "6.7", "xp.where(off, xp.zeros_like(g), g)", "xp.where(g <= 0, xp.zeros_like(g), g)"),
    Mistake("the sigmoid of tanh", "6.7", "g * (1 - y * y)", "g * 4 * y * (1 - y)"),
    Mistake("tanh without the square", "6.7", "g * (1 - y * y)", "g * (1 - xp.abs(y))"),
    Mistake("softmax with the mean", "6.7", "xp.sum(g * y, axis=along", "xp.mean(g * y, axis=along"),
    Mistake("log_softmax with the mean", "6.7", "xp.sum(g, axis=axes", "xp.mean(g, axis=axes"),
    Mistake("log_softmax over all", "6.7", "xp.sum(g, axis=axes, keepdims=True)", "xp.sum(g)"),
    # 6.8
    Mistake("dW is averaged", "6.8", "xp.matrix_transpose(g) @ rows", "xp.matrix_transpose(g) @ rows / rows.shape[0]"),
    Mistake("dx as a sum", "6.8", "xp.reshape(g @ weight, shape)", "xp.reshape(g @ weight, shape) * 2"),
    Mistake("rows of the wrong width", "6.8", "(rows.shape[0], weight.shape[0])", "(weight.shape[0], rows.shape[0])"),
    Mistake("rows of the inputs' width", "6.8", "(rows.shape[0], weight.shape[0])", "(-1, weight.shape[1])"),
    # 6.9
    Mistake("the softmax of the logarithms once more", "6.9", "xp.exp(log_p) - hit", "xp.exp(log_p) / xp.sum(xp.exp(xp.exp(log_p)), axis=-1, keepdims=True) - hit"),
    Mistake("the mean over the classes too", "6.9", "(g / count)", "(g / count / log_p.shape[-1])"),
    Mistake("counted once too often", "6.9", "count = xp.sum(counted)\n", "count = xp.sum(counted) + 1\n"),
    Mistake("twice the truth", "6.9", "- hit)", "- 2 * hit)"),
    Mistake("only the row of the target", "6.9", "(xp.exp(log_p) - hit)", "hit * (xp.exp(log_p) - hit)"),
]  # fmt: skip
