"""Right solutions of lesson 06 that differ from the package's, which the inline tests accept.

They also accept NumPy's own functions in a gradient; the integration tests on the strict backend do
not.
"""

from mistake import Alternative

WALK = """
def _propagate(root, output_nr, gradient, collector, retain_graph):
    pending = _PendingGradients()
    pending.add(root, output_nr, gradient)
    waiting = {{root.sequence_nr: root}}
    while waiting:
        {next_node}
        outputs = collector.outputs_of(node, pending.pop(node, node.num_outputs))
        for edge, array, can_steal in _input_gradients(node, outputs):
            if isinstance(edge.target, Node):
                pending.add(edge.target, edge.output_nr, array)
                waiting[edge.target.sequence_nr] = edge.target
            else:
                collector.add(edge.target, array, can_steal)
        if not retain_graph:
            node.free_saved()
"""

ALTERNATIVES = [
    # 6.1
    Alternative("arrays instead of functions", "6.1", "return lambda: g * y, lambda: g * x", "return g * y, x * g"),
    Alternative("the minus in front of the quotient", "6.1", "-g * (x / y / y)", "-(g / y) * (x / y)"),
    Alternative("functions for the sum", "6.1", "return g, g", "return lambda: g, lambda: g"),
    Alternative("a tuple of one", "6.1", "return g / x", "return (g / x,)"),
    Alternative("xp's functions", "6.1", new='''
def subtract_gradient(xp, g):
    return g, lambda: xp.negative(g)

def exp_gradient(xp, g, y):
    return xp.multiply(y, g)
'''),
    Alternative("0 - g", "6.1", "return g, lambda: -g", "return g, 0 - g"),
    # 6.2
    Alternative("a product with ones", "6.2", "return xp.broadcast_to(xp.reshape(g, kept_shape), shape)", "return xp.reshape(g, kept_shape) * xp.ones(shape, dtype=g.dtype)"),
    Alternative("the quotient at the end", "6.2", "xp.broadcast_to(xp.reshape(g / count, kept_shape), shape)", "xp.broadcast_to(xp.reshape(g, kept_shape) / count, shape)"),
    Alternative("the mean by way of the sum", "6.2", new='''
def mean_gradient(xp, g, kept_shape, shape, count):
    return sum_gradient(xp, g / count, kept_shape, shape)
'''),
    Alternative("zeros plus g", "6.2", "return xp.broadcast_to(xp.reshape(g, kept_shape), shape)", "return xp.zeros(shape, dtype=g.dtype) + xp.reshape(g, kept_shape)"),
    # 6.3
    Alternative("argsort", "6.3", new='''
def permute_gradient(xp, g, axes):
    order = [a % len(axes) for a in axes]
    return xp.permute_dims(g, tuple(sorted(range(len(order)), key=lambda i: order[i])))
'''),
    Alternative("the inverse filled in place", "6.3", new='''
def permute_gradient(xp, g, axes):
    inverse = [0] * len(axes)
    for i, a in enumerate(axes):
        inverse[a] = i
    return xp.permute_dims(g, tuple(inverse))
'''),
    Alternative("a dictionary of places", "6.3", new='''
def permute_gradient(xp, g, axes):
    places = {a % g.ndim: i for i, a in enumerate(axes)}
    return xp.permute_dims(g, tuple(places[a] for a in range(g.ndim)))
'''),
    Alternative("a variable for the zeros", "6.3", new='''
def getitem_gradient(xp, g, shape, key):
    d = xp.zeros(shape, dtype=g.dtype)
    d = xp.index_add(d, key, g)
    return d
'''),
    Alternative("NumPy's add.at", "6.3", new='''
def getitem_gradient(xp, g, shape, key):
    d = np.zeros(shape, g.dtype)
    np.add.at(d, tuple(key) if isinstance(key, tuple) else key, g)
    return d
'''),
    # 6.4
    Alternative("arrays, and rows always", "6.4", new='''
def matmul_gradient(xp, g, x, y):
    if 1 in (x.ndim, y.ndim):
        return _vector_gradients(xp, g, x, y)
    if y.ndim > 2:
        return g @ xp.matrix_transpose(y), xp.matrix_transpose(x) @ g
    return g @ xp.matrix_transpose(y), xp.matrix_transpose(_rows(xp, x)) @ _rows(xp, g)
'''),
    Alternative("transposed twice", "6.4", "lambda: g @ xp.matrix_transpose(y)", "lambda: xp.matrix_transpose(y @ xp.matrix_transpose(g))"),
    Alternative("a sum over the batch", "6.4", "return xp.matrix_transpose(_rows(xp, x)) @ _rows(xp, g)", "d = xp.matrix_transpose(x) @ g\n            return xp.sum(d, axis=tuple(range(d.ndim - 2)))"),
    # 6.5
    Alternative("get", "6.5", within="_PendingGradients", new='''
def add(self, target, output_nr, gradient):
    key = (id(target), output_nr)
    before = self._sums.get(key)
    if before is None:
        self._sums[key] = gradient
    elif key in self._allocated:
        before += gradient
    else:
        self._sums[key] = before + gradient
        self._allocated.add(key)
'''),
    Alternative("the sum with an operator", "6.5", within="_PendingGradients", new='''
def add(self, target, output_nr, gradient):
    key = id(target), output_nr
    if key in self._allocated:
        self._sums[key] += gradient
    elif key in self._sums:
        self._allocated.add(key)
        self._sums[key] = gradient + self._sums[key]
    else:
        self._sums[key] = gradient
'''),
    Alternative("axis by axis", "6.5", new='''
def _sum_to_shape(xp, gradient, shape, dtype=None):
    while gradient.ndim > len(shape):
        gradient = xp.sum(gradient, axis=0, dtype=dtype)
    for axis, size in enumerate(shape):
        if size == 1:
            gradient = xp.sum(gradient, axis=axis, keepdims=True, dtype=dtype)
    return gradient
'''),
    Alternative("a padded shape", "6.5", new='''
def _sum_to_shape(xp, gradient, shape, dtype=None):
    padded = (1,) * (gradient.ndim - len(shape)) + tuple(shape)
    axes = tuple(i for i, n in enumerate(padded) if n == 1)
    return xp.reshape(xp.sum(gradient, axis=axes, dtype=dtype), shape)
'''),
    Alternative("from the last axis", "6.5", new='''
def _sum_to_shape(xp, gradient, shape, dtype=None):
    axes = [a for a in range(-gradient.ndim, 0) if -a > len(shape) or shape[a] != gradient.shape[a]]
    return xp.reshape(xp.sum(gradient, axis=tuple(axes), keepdims=True, dtype=dtype), shape)
'''),
    # 6.6
    Alternative("max of a dictionary", "6.6", new=WALK.format(next_node="node = waiting.pop(max(waiting))")),
    Alternative("a sorted list", "6.6", new=WALK.format(next_node="*_, (number, node) = sorted(waiting.items(), key=lambda pair: pair[0])\n        del waiting[number]")),
    Alternative("all nodes are collected first", "6.6", new='''
def _propagate(root, output_nr, gradient, collector, retain_graph):
    found, stack = {root.sequence_nr: root}, [root]
    while stack:
        for edge in stack.pop().inputs:
            if edge is not None and isinstance(edge.target, Node):
                if edge.target.sequence_nr not in found:
                    found[edge.target.sequence_nr] = edge.target
                    stack.append(edge.target)
    pending = _PendingGradients()
    pending.add(root, output_nr, gradient)
    for number in sorted(found, reverse=True):
        node = found[number]
        gradients = collector.outputs_of(node, pending.pop(node, node.num_outputs))
        for edge, array, can_steal in _input_gradients(node, gradients):
            if isinstance(edge.target, Variable):
                collector.add(edge.target, array, can_steal)
            else:
                pending.add(edge.target, edge.output_nr, array)
        if not retain_graph:
            node.free_saved()
'''),
    Alternative("the check with the walrus and other words", "6.6", new='''
def _check_saved(node):
    if node.saved is None:
        raise RuntimeError(f"{node.name} was freed; use retain_graph=True")
    if any((v := ref()) is not None and v.count != n for ref, n in node.saved_versions):
        raise RuntimeError(f"something that {node.name} saved was changed in place")
'''),
    Alternative("a leaf never gives its array away", "6.6", "collector.add(target, array, can_steal)", "collector.add(target, array, False)"),
    # 6.7
    Alternative("a product of the two slopes", "6.7", "g * y * (1 - y)", "g * (y - y * y)"),
    Alternative("a power", "6.7", "g * (1 - y * y)", "g * (1 - y**2)"),
    Alternative("two terms", "6.7", "y * (g - xp.sum(g * y, axis=along, keepdims=True))", "g * y - y * xp.sum(y * g, axis=along, keepdims=True)"),
    Alternative("where the other way round", "6.7", "xp.where(off, xp.zeros_like(g), g)", "xp.where(~off, g, xp.zeros_like(g))"),
    Alternative("a variable for the shares", "6.7", new='''
def log_softmax_gradient(xp, g, y, axes):
    p = xp.exp(y)
    total = xp.sum(g, axis=axes, keepdims=True)
    return g - total * p
'''),
    # 6.8
    Alternative("arrays", "6.8", new='''
def linear_gradient(xp, g, rows, weight, shape):
    flat = xp.reshape(g, (-1, g.shape[-1]))
    return xp.reshape(flat @ weight, shape), flat.T @ rows, xp.sum(flat, axis=0)
'''),
    Alternative("dx without rows", "6.8", new='''
def linear_gradient(xp, g, rows, weight, shape):
    flat = xp.reshape(g, (rows.shape[0], weight.shape[0]))
    dw = xp.matrix_transpose(xp.matrix_transpose(rows) @ flat)
    return g @ weight, dw, xp.sum(g, axis=tuple(range(g.ndim - 1)))
'''),
    # 6.9
    Alternative("divided at the end", "6.9", "* (counted * (g / count))", "* counted * g / count"),
    Alternative("max of Python", "6.9", "xp.maximum(count, xp.ones_like(count))", "max(count, 1)"),
    Alternative("where for the rows that count", "6.9", new='''
def cross_entropy_gradient(xp, g, log_p, hit, counted, shape):
    n = xp.maximum(xp.sum(hit), xp.ones_like(xp.sum(hit)))
    d = xp.where(counted > 0, xp.exp(log_p) - hit, xp.zeros_like(log_p))
    return xp.reshape(d * (g / n), shape), None
'''),
]  # fmt: skip
