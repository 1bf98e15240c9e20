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
        gradients = pending.pop(node, node.num_outputs)
        if all(g is None for g in gradients):
            continue
        gradients = collector.outputs_of(node, gradients)
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
    # by a reader who had seen neither the lists nor the tests
    # 6.1
    Alternative("arrays, not functions", "6.1", "return lambda: g * y, lambda: g * x", "return g * y, g * x"),
    Alternative("ones times g", "6.1", "return g, g", "one = xp.ones_like(g)\n    return one * g, g * one"),
    Alternative("a reciprocal", "6.1", "return g / x", "return g * (1 / x)"),
    Alternative("a helper for both factors", "6.1", new="""
def both(g, first, second):
    return g * second, g * first


def multiply_gradient(xp, g, x, y):
    return both(g, x, y)
"""),
    # 6.2
    Alternative("zeros are added", "6.2", "return xp.broadcast_to(xp.reshape(g, kept_shape), shape)", "return xp.reshape(g, kept_shape) + xp.zeros(shape, dtype=g.dtype)"),
    Alternative("mean by sum", "6.2", "return xp.broadcast_to(xp.reshape(g / count, kept_shape), shape)", "return sum_gradient(xp, g, kept_shape, shape) / count"),
    Alternative("np.repeat, axis by axis", "6.2", "return xp.broadcast_to(xp.reshape(g, kept_shape), shape)",
                "y = xp.reshape(g, kept_shape)\n    for axis, (few, many) in enumerate(zip(kept_shape, shape)):\n        if few != many:\n            y = np.repeat(y, many, axis=axis)\n    return y"),
    # 6.3
    Alternative("argsort inverts", "6.3", "return xp.permute_dims(g, tuple(order.index(a) for a in range(len(axes))))", "return xp.permute_dims(g, tuple(int(i) for i in np.argsort(order)))"),
    Alternative("a table of places", "6.3", "    order = [a % len(axes) for a in axes]\n    return xp.permute_dims(g, tuple(order.index(a) for a in range(len(axes))))",
                "    back = [0] * len(axes)\n    for i, a in enumerate(axes):\n        back[a] = i\n    return xp.permute_dims(g, tuple(back))"),
    Alternative("a dict", "6.3", "    order = [a % len(axes) for a in axes]\n    return xp.permute_dims(g, tuple(order.index(a) for a in range(len(axes))))",
                "    place = {a % g.ndim: i for i, a in enumerate(axes)}\n    return g.transpose([place[a] for a in range(g.ndim)])"),
    Alternative("np.add.at", "6.3", "return xp.index_add(xp.zeros(shape, dtype=g.dtype), key, g)", "d = np.zeros(shape, g.dtype)\n    np.add.at(d, tuple(key) if isinstance(key, tuple) else key, g)\n    return d"),
    Alternative("the result of index_add is ignored", "6.3", "return xp.index_add(xp.zeros(shape, dtype=g.dtype), key, g)", "d = xp.zeros(shape, dtype=g.dtype)\n    xp.index_add(d, key, g)\n    return d"),
    # 6.4
    Alternative("one product for each matrix, then a sum", "6.4", "return xp.matrix_transpose(_rows(xp, x)) @ _rows(xp, g)", "return xp.sum(xp.matrix_transpose(x) @ g, axis=tuple(range(x.ndim - 2)))"),
    Alternative("tensordot", "6.4", "return xp.matrix_transpose(_rows(xp, x)) @ _rows(xp, g)", "batch = tuple(range(x.ndim - 1))\n            return xp.tensordot(x, g, axes=(batch, batch))"),
    Alternative("einsum", "6.4", "lambda: g @ xp.matrix_transpose(y), y_gradient", "np.einsum('...mn,...kn->...mk', g, y), y_gradient"),
    Alternative("rows of two axes too", "6.4", "if y.ndim == 2 and x.ndim > 2:", "if y.ndim == 2:"),
    Alternative("sums over the other axes at once", "6.4", new="""
def matmul_gradient(xp, g, x, y):
    if 1 in (x.ndim, y.ndim):
        return _vector_gradients(xp, g, x, y)
    dx, dy = g @ xp.matrix_transpose(y), xp.matrix_transpose(x) @ g
    while dy.ndim > y.ndim:
        dy = xp.sum(dy, axis=0)
    while dx.ndim > x.ndim:
        dx = xp.sum(dx, axis=0)
    return dx, dy
"""),
    # 6.5
    Alternative("operators, the known case first", "6.5", within="_PendingGradients", new="""
def add(self, target, output_nr, gradient):
    key = id(target), output_nr
    if key in self._allocated:
        self._sums[key] += gradient
        return
    old = self._sums.get(key)
    if old is None:
        self._sums[key] = gradient
        return
    self._sums[key] = old + gradient
    self._allocated.add(key)
"""),
    Alternative("np.add with out", "6.5", "            self._sums[key] += gradient\n", "            np.add(self._sums[key], gradient, out=self._sums[key])\n"),
    Alternative("axis by axis, once more", "6.5", new="""
def _sum_to_shape(xp, gradient, shape, dtype=None):
    while len(gradient.shape) > len(shape):
        gradient = xp.sum(gradient, axis=0, dtype=dtype)
    for axis in range(len(shape)):
        if shape[axis] == 1 and gradient.shape[axis] != 1:
            gradient = xp.sum(gradient, axis=axis, keepdims=True, dtype=dtype)
    return gradient
"""),
    Alternative("the shape is filled with ones", "6.5", new="""
def _sum_to_shape(xp, gradient, shape, dtype=None):
    filled = (1,) * (gradient.ndim - len(shape)) + tuple(shape)
    axes = tuple(i for i, n in enumerate(filled) if n == 1)
    return xp.reshape(xp.sum(gradient, axis=axes, dtype=dtype), shape)
"""),
    Alternative("cast first", "6.5", "    gradient = xp.sum(gradient, axis=(*range(extra), *repeated), keepdims=True, dtype=dtype)", "    if dtype is not None:\n        gradient = xp.astype(gradient, dtype)\n    gradient = xp.sum(gradient, axis=(*range(extra), *repeated), keepdims=True)"),
    Alternative("from the last axis to the first", "6.5", new="""
def _sum_to_shape(xp, gradient, shape, dtype=None):
    kept = list(shape)
    for axis in reversed(range(gradient.ndim)):
        size = kept.pop() if kept else None
        if size is None:
            gradient = xp.sum(gradient, axis=axis, dtype=dtype)
        elif size == 1:
            gradient = xp.sum(gradient, axis=axis, keepdims=True, dtype=dtype)
    return gradient
"""),
    Alternative("a leading ellipsis of axes in a string of einsum", "6.5", new="""
def _sum_to_shape(xp, gradient, shape, dtype=None):
    extra = gradient.ndim - len(shape)
    keep = [i for i in range(extra, gradient.ndim) if shape[i - extra] != 1]
    total = np.einsum(gradient, list(range(gradient.ndim)), keep, dtype=dtype)
    return np.reshape(total, shape)
"""),
    # 6.6
    Alternative("Kahn's topological order", "6.6", new="""
def _propagate(root, output_nr, gradient, collector, retain_graph):
    uses, found = {id(root): 0}, [root]
    for node in found:
        for edge in node.inputs:
            if edge is None or isinstance(edge.target, Variable):
                continue
            if id(edge.target) not in uses:
                found.append(edge.target)
                uses[id(edge.target)] = 0
            uses[id(edge.target)] += 1
    pending = _PendingGradients()
    pending.add(root, output_nr, gradient)
    ready, reached = [root], {id(root)}
    while ready:
        node = ready.pop()
        edges = node.inputs
        if id(node) in reached:
            outputs = collector.outputs_of(node, pending.pop(node, node.num_outputs))
            for edge, array, can_steal in _input_gradients(node, outputs):
                if isinstance(edge.target, Variable):
                    collector.add(edge.target, array, can_steal)
                else:
                    reached.add(id(edge.target))
                    pending.add(edge.target, edge.output_nr, array)
            if not retain_graph:
                node.free_saved()
        for edge in edges:
            if edge is not None and id(edge.target) in uses:
                uses[id(edge.target)] -= 1
                if uses[id(edge.target)] == 0:
                    ready.append(edge.target)
"""),
    Alternative("depth first with a stack of its own", "6.6", new="""
def _propagate(root, output_nr, gradient, collector, retain_graph):
    order, seen, stack = [], {root}, [(root, iter(list(root.inputs)))]
    while stack:
        node, edges = stack[-1]
        for edge in edges:
            target = None if edge is None else edge.target
            if isinstance(target, Node) and target not in seen:
                seen.add(target)
                stack.append((target, iter(list(target.inputs))))
                break
        else:
            order.append(node)
            stack.pop()
    pending = _PendingGradients()
    pending.add(root, output_nr, gradient)
    for node in order[::-1]:
        gradients = pending.pop(node, node.num_outputs)
        if any(g is not None for g in gradients):
            for edge, array, can_steal in _input_gradients(node, collector.outputs_of(node, gradients)):
                if isinstance(edge.target, Node):
                    pending.add(edge.target, edge.output_nr, array)
                else:
                    collector.add(edge.target, array, can_steal)
            if not retain_graph:
                node.free_saved()
"""),
    Alternative("duplicates in the queue, skipped when they come", "6.6", new="""
def _propagate(root, output_nr, gradient, collector, retain_graph):
    pending = _PendingGradients()
    pending.add(root, output_nr, gradient)
    queue, done, ticket = [(-root.sequence_nr, 0, root)], set(), 0
    while queue:
        _, _, node = heapq.heappop(queue)
        if node.sequence_nr in done:
            continue
        done.add(node.sequence_nr)
        outputs = collector.outputs_of(node, pending.pop(node, node.num_outputs))
        for edge, array, can_steal in _input_gradients(node, outputs):
            if isinstance(edge.target, Variable):
                collector.add(edge.target, array, can_steal)
            else:
                ticket += 1
                pending.add(edge.target, edge.output_nr, array)
                heapq.heappush(queue, (-edge.target.sequence_nr, ticket, edge.target))
        if not retain_graph:
            node.free_saved()
"""),
    Alternative("a dict of the waiting, and its largest number", "6.6", new="""
def _propagate(root, output_nr, gradient, collector, retain_graph):
    pending = _PendingGradients()
    pending.add(root, output_nr, gradient)
    waiting = {root.sequence_nr: root}
    while len(waiting) > 0:
        node = waiting.pop(max(waiting))
        outputs = pending.pop(node, node.num_outputs)
        outputs = collector.outputs_of(node, outputs)
        triples = _input_gradients(node, outputs)
        for edge, array, can_steal in triples:
            if isinstance(edge.target, Variable):
                collector.add(edge.target, array, can_steal)
            else:
                waiting[edge.target.sequence_nr] = edge.target
                pending.add(edge.target, edge.output_nr, array)
        if not retain_graph:
            node.free_saved()
"""),
    Alternative("everything is freed at the end", "6.6", new="""
def _propagate(root, output_nr, gradient, collector, retain_graph):
    pending, done = _PendingGradients(), []
    pending.add(root, output_nr, gradient)
    queue = [root]
    while queue:
        queue.sort(key=lambda node: node.sequence_nr)
        node = queue.pop()
        done.append(node)
        outputs = collector.outputs_of(node, pending.pop(node, node.num_outputs))
        for edge, array, can_steal in _input_gradients(node, outputs):
            if not isinstance(edge.target, Node):
                collector.add(edge.target, array, can_steal)
                continue
            pending.add(edge.target, edge.output_nr, array)
            if all(edge.target is not other for other in queue):
                queue.append(edge.target)
    for node in [] if retain_graph else done:
        node.free_saved()
"""),
    Alternative("a generator of the versions that changed", "6.6", new='''
def _check_saved(node):
    if node.saved is None:
        raise RuntimeError("the saved values of " + node.name + " are freed: pass retain_graph=True")
    alive = ((ref(), count) for ref, count in node.saved_versions if ref() is not None)
    if any(version.count != count for version, count in alive):
        raise RuntimeError("what " + node.name + " saved was modified in place")
'''),
    # 6.7
    Alternative("zero as a plain number", "6.7", "xp.where(off, xp.zeros_like(g), g)", "xp.where(off, 0, g)"),
    Alternative("relu on a copy", "6.7", "return xp.where(off, xp.zeros_like(g), g)", "d = g.copy()\n    d[off] = 0\n    return d"),
    Alternative("a product of two factors", "6.7", "g * (1 - y * y)", "g * (1 - y) * (1 + y)"),
    Alternative("softmax multiplied out", "6.7", "return y * (g - xp.sum(g * y, axis=along, keepdims=True))", "d = g * y\n    return d - y * xp.sum(d, axis=along, keepdims=True)"),
    # 6.8
    Alternative("reshape the matrices by -1", "6.8", "xp.reshape(g, (rows.shape[0], weight.shape[0]))", "xp.reshape(g, (-1, weight.shape[0]))"),
    Alternative("rows of ones for the bias", "6.8", "lambda: xp.sum(g, axis=0),", "xp.ones(rows.shape[0], dtype=g.dtype) @ g,"),
    Alternative("matmul and .T", "6.8", "lambda: xp.matrix_transpose(g) @ rows,", "lambda: xp.matmul(g.T, rows),"),
    Alternative("einsum for W", "6.8", "lambda: xp.matrix_transpose(g) @ rows,", "np.einsum('no,ni->oi', g, rows),"),
    # 6.9
    Alternative("if none counts", "6.9", "    count = xp.maximum(count, xp.ones_like(count))  # all ignored: zero gradients, as in PyTorch\n", "    if count == 0:\n        return xp.zeros(shape, dtype=log_p.dtype), None\n"),
    Alternative("g last", "6.9", "    d = (xp.exp(log_p) - hit) * (counted * (g / count))", "    d = (xp.exp(log_p) - hit) * counted / count * g"),
    Alternative("where instead of a product", "6.9", "(xp.exp(log_p) - hit) * (counted * (g / count))", "xp.where(counted > 0, (xp.exp(log_p) - hit) * g / count, xp.zeros_like(log_p))"),
    Alternative("in place in the probabilities", "6.9", "    d = (xp.exp(log_p) - hit) * (counted * (g / count))", "    d = xp.exp(log_p)\n    d -= hit\n    d *= counted\n    d *= g / count"),
    Alternative("the hits are counted", "6.9", "count = xp.sum(counted)\n", "count = xp.sum(hit)\n"),
]  # fmt: skip
