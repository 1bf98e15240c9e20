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
    Mistake("the same array counts once", "6.5", within="_PendingGradients", new="""
def add(self, target, output_nr, gradient):
    key = (id(target), output_nr)
    before = self._sums.setdefault(key, gradient)
    if before is gradient and key not in self._allocated:
        return
    if key in self._allocated:
        before += gradient
    else:
        self._sums[key] = before + gradient
        self._allocated.add(key)
"""),
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
    # by a reader who had seen neither the lists nor the tests
    # 6.1
    Mistake("exp writes into the saved result", "6.1", "return g * y\n", "y *= g\n    return y\n"),
    Mistake("log writes into the saved input", "6.1", "return g / x", "x **= -1\n    x *= g\n    return x"),
    Mistake("multiply writes into the factors", "6.1", "return lambda: g * y, lambda: g * x", "x *= g\n    y *= g\n    return y, x"),
    Mistake("subtract flips the sign of g in place", "6.1", "return g, lambda: -g", "dx = g.copy()\n    g *= -1\n    return dx, g"),
    Mistake("multiply adds both", "6.1", "return lambda: g * y, lambda: g * x", "return g * (x + y), g * (x + y)"),
    Mistake("the gradient of the sum of both in divide", "6.1", "lambda: -g * (x / y / y)", "lambda: g * (1 / y - x / y / y)"),
    Mistake("divide by the wrong operand", "6.1", "return lambda: g / y, lambda: -g * (x / y / y)", "return lambda: g / x, lambda: -g * (y / x / x)"),
    Mistake("divide squares x too", "6.1", "-g * (x / y / y)", "-g * (x * x / y / y)"),
    Mistake("functions that take g", "6.1", "return g, lambda: -g", "return g, lambda g: -g"),
    Mistake("the mean of g instead of g", "6.1", "return g, g", "g = xp.mean(g) * xp.ones_like(g)\n    return g, g"),
    # 6.2
    Mistake("sum in float64", "6.2", "return xp.broadcast_to(xp.reshape(g, kept_shape), shape)", "return xp.reshape(g, kept_shape) * xp.ones(shape)"),
    Mistake("g is spread evenly", "6.2", "xp.broadcast_to(xp.reshape(g, kept_shape), shape)", "xp.broadcast_to(xp.reshape(g / math.prod(shape), kept_shape), shape)"),
    Mistake("the mean divides by all numbers of x", "6.2", "g / count", "g / math.prod(shape)"),
    Mistake("the mean divides by the numbers of g", "6.2", "g / count", "g / math.prod(kept_shape)"),
    Mistake("the mean divides after and before", "6.2", "return xp.broadcast_to(xp.reshape(g / count, kept_shape), shape)", "return xp.broadcast_to(xp.reshape(g / count, kept_shape), shape) / count"),
    Mistake("a new axis at the end", "6.2", "xp.broadcast_to(xp.reshape(g, kept_shape), shape)", "xp.broadcast_to(g if g.ndim == len(shape) else g[..., None], shape)"),
    Mistake("the numbers are repeated one after the other", "6.2", "return xp.broadcast_to(xp.reshape(g, kept_shape), shape)",
            "return xp.reshape(np.repeat(g, math.prod(shape) // max(1, math.prod(kept_shape))), shape)"),
    # 6.3
    Mistake("permute applies its own order twice", "6.3", "return xp.permute_dims(g, tuple(order.index(a) for a in range(len(axes))))", "return xp.permute_dims(xp.permute_dims(g, tuple(order)), tuple(order))"),
    Mistake("negative axes lose their sign", "6.3", "a % len(axes) for a in axes", "abs(a) for a in axes"),
    Mistake("a new axis order sorted", "6.3", "tuple(order.index(a) for a in range(len(axes)))", "tuple(sorted(order))"),
    Mistake("getitem adds into the view once", "6.3", "return xp.index_add(xp.zeros(shape, dtype=g.dtype), key, g)", "d = xp.zeros(shape, dtype=g.dtype)\n    d[key] += g\n    return d"),
    Mistake("getitem reads at key", "6.3", "return xp.index_add(xp.zeros(shape, dtype=g.dtype), key, g)", "return g[key]"),
    Mistake("getitem gives the mean to what was chosen twice", "6.3", "return xp.index_add(xp.zeros(shape, dtype=g.dtype), key, g)",
            "d = xp.index_add(xp.zeros(shape, dtype=g.dtype), key, g)\n    n = xp.index_add(xp.zeros(shape, dtype=g.dtype), key, xp.ones_like(g))\n    return d / xp.maximum(n, xp.ones_like(n))"),
    Mistake("reshape transposes first", "6.3", "return xp.reshape(g, shape)", "return xp.reshape(g.T, shape)"),
    Mistake("key is used as a number of rows", "6.3", "xp.index_add(xp.zeros(shape, dtype=g.dtype), key, g)", "xp.index_add(xp.zeros(g.shape, dtype=g.dtype), key, g)"),
    # 6.4
    Mistake("rows of x whenever it has more axes than y", "6.4", "if y.ndim == 2 and x.ndim > 2:", "if x.ndim > y.ndim:"),
    Mistake("rows always, back into y's shape", "6.4", "if y.ndim == 2 and x.ndim > 2:", "if x.ndim > 2 and x.shape[0] != y.shape[0]:"),
    Mistake("only axis 0 is summed", "6.4", "return xp.matrix_transpose(_rows(xp, x)) @ _rows(xp, g)", "return xp.sum(xp.matrix_transpose(x) @ g, axis=0)"),
    Mistake("the batch is averaged", "6.4", "return xp.matrix_transpose(_rows(xp, x)) @ _rows(xp, g)", "return xp.mean(xp.matrix_transpose(x) @ g, axis=tuple(range(x.ndim - 2)))"),
    Mistake("the first matrix of the batch", "6.4", "return xp.matrix_transpose(_rows(xp, x)) @ _rows(xp, g)", "d = xp.matrix_transpose(x) @ g\n            return xp.reshape(d, (-1, *d.shape[-2:]))[0]"),
    Mistake("an elementwise product with the slope", "6.4", "lambda: g @ xp.matrix_transpose(y)", "lambda: xp.sum(g) * xp.broadcast_to(xp.sum(y, axis=-1), x.shape)"),
    Mistake("only a vector x is treated as one", "6.4", "if x.ndim == 1 or y.ndim == 1:", "if x.ndim == 1:"),
    # 6.5
    Mistake("the newest gradient replaces the others", "6.5", "        if key not in self._sums:\n            self._sums[key] = gradient\n        elif", "        if key not in self._sums or key not in self._allocated:\n            self._sums[key] = gradient\n            self._allocated.add(key)\n        elif"),
    Mistake("number and id are added", "6.5", "key = (id(target), output_nr)", "key = (type(target).__name__, output_nr)"),
    Mistake("the second is added into the array that comes", "6.5", "            backend = target.backend if isinstance(target, Node) else target._backend\n            self._sums[key] = backend.xp.add(self._sums[key], gradient)", "            gradient += self._sums[key]\n            self._sums[key] = gradient"),
    Mistake("each gradient is kept, the last two summed", "6.5", "            self._sums[key] += gradient\n", "            self._sums[key] = self._sums[key] * 0 + gradient\n"),
    Mistake("the mean of what arrives", "6.5", "self._sums[key] = backend.xp.add(self._sums[key], gradient)", "self._sums[key] = (self._sums[key] + gradient) / 2"),
    Mistake("a copy of the first, so that the rest can be in place", "6.5", "            self._sums[key] = gradient\n", "            self._sums[key] = gradient.copy()\n            self._allocated.add(key)\n"),
    Mistake("axes are compared from the front", "6.5", "        axis + extra\n        for axis, size in enumerate(shape)\n        if size == 1 and gradient.shape[axis + extra] != 1", "        axis\n        for axis, size in enumerate(shape)\n        if size == 1 and gradient.shape[axis] != 1"),
    Mistake("the sum in float16, cast afterwards", "6.5", "    gradient = xp.sum(gradient, axis=(*range(extra), *repeated), keepdims=True, dtype=dtype)\n    return xp.reshape(gradient, shape)",
            "    gradient = xp.sum(gradient, axis=(*range(extra), *repeated), keepdims=True, dtype=gradient.dtype)\n    return xp.reshape(gradient if dtype is None else xp.astype(gradient, dtype), shape)"),
    Mistake("repeated axes are sliced", "6.5", new="""
def _sum_to_shape(xp, gradient, shape, dtype=None):
    extra = len(gradient.shape) - len(shape)
    gradient = xp.sum(gradient, axis=tuple(range(extra)), dtype=dtype)
    return gradient[tuple(slice(0, n) for n in shape)]
"""),
    Mistake("axes in front, then the whole if it is still too large", "6.5", new="""
def _sum_to_shape(xp, gradient, shape, dtype=None):
    while len(gradient.shape) > len(shape):
        gradient = xp.sum(gradient, axis=0, dtype=dtype)
    if gradient.shape != shape:
        gradient = xp.broadcast_to(xp.sum(gradient, dtype=dtype), shape)
    return gradient
"""),
    Mistake("one repeated axis", "6.5", new="""
def _sum_to_shape(xp, gradient, shape, dtype=None):
    extra = len(gradient.shape) - len(shape)
    gradient = xp.sum(gradient, axis=tuple(range(extra)), dtype=dtype)
    if 1 in shape:
        gradient = xp.sum(gradient, axis=shape.index(1), keepdims=True, dtype=dtype)
    return gradient
"""),
    Mistake("axes that vanish while the loop counts on", "6.5", new="""
def _sum_to_shape(xp, gradient, shape, dtype=None):
    extra = len(gradient.shape) - len(shape)
    for axis in range(extra):
        gradient = xp.sum(gradient, axis=axis, dtype=dtype)
    for axis, size in enumerate(shape):
        if size == 1:
            gradient = xp.sum(gradient, axis=axis, keepdims=True, dtype=dtype)
    return gradient
"""),
    # 6.6
    Mistake("a walk by recursion", "6.6", new="""
def _propagate(root, output_nr, gradient, collector, retain_graph):
    order, seen = [], set()
    def visit(node):
        if id(node) in seen:
            return
        seen.add(id(node))
        for edge in node.inputs:
            if edge is not None and not isinstance(edge.target, Variable):
                visit(edge.target)
        order.append(node)
    visit(root)
    pending = _PendingGradients()
    pending.add(root, output_nr, gradient)
    for node in reversed(order):
        outputs = collector.outputs_of(node, pending.pop(node, node.num_outputs))
        if all(g is None for g in outputs):
            continue
        for edge, array, can_steal in _input_gradients(node, outputs):
            if isinstance(edge.target, Variable):
                collector.add(edge.target, array, can_steal)
            else:
                pending.add(edge.target, edge.output_nr, array)
        if not retain_graph:
            node.free_saved()
"""),
    Mistake("each path by itself", "6.6", new="""
def _propagate(root, output_nr, gradient, collector, retain_graph):
    waiting, done = [(root, output_nr, gradient)], []
    while waiting:
        node, nr, g = waiting.pop()
        done.append(node)
        outputs = collector.outputs_of(node, [g if i == nr else None for i in range(node.num_outputs)])
        for edge, array, can_steal in _input_gradients(node, outputs):
            if isinstance(edge.target, Variable):
                collector.add(edge.target, array, can_steal)
            else:
                waiting.append((edge.target, edge.output_nr, array))
    if not retain_graph:
        for node in done:
            node.free_saved()
"""),
    Mistake("breadth first", "6.6", new="""
def _propagate(root, output_nr, gradient, collector, retain_graph):
    pending = _PendingGradients()
    pending.add(root, output_nr, gradient)
    queue, seen = [root], {root.sequence_nr}
    for node in queue:
        outputs = collector.outputs_of(node, pending.pop(node, node.num_outputs))
        for edge, array, can_steal in _input_gradients(node, outputs):
            target = edge.target
            if isinstance(target, Variable):
                collector.add(target, array, can_steal)
                continue
            pending.add(target, edge.output_nr, array)
            if target.sequence_nr not in seen:
                seen.add(target.sequence_nr)
                queue.append(target)
        if not retain_graph:
            node.free_saved()
"""),
    Mistake("Kahn's order waits for gradients that are None", "6.6", new="""
def _propagate(root, output_nr, gradient, collector, retain_graph):
    uses, found = {}, [root]
    for node in found:
        for edge in node.inputs:
            if edge is None or isinstance(edge.target, Variable):
                continue
            if id(edge.target) not in uses:
                found.append(edge.target)
            uses[id(edge.target)] = uses.get(id(edge.target), 0) + 1
    pending = _PendingGradients()
    pending.add(root, output_nr, gradient)
    ready = [root]
    while ready:
        node = ready.pop()
        outputs = collector.outputs_of(node, pending.pop(node, node.num_outputs))
        for edge, array, can_steal in _input_gradients(node, outputs):
            target = edge.target
            if isinstance(target, Variable):
                collector.add(target, array, can_steal)
                continue
            pending.add(target, edge.output_nr, array)
            uses[id(target)] -= 1
            if uses[id(target)] == 0:
                ready.append(target)
        if not retain_graph:
            node.free_saved()
"""),
    Mistake("all nodes in order, also those that no gradient reaches", "6.6", new="""
def _propagate(root, output_nr, gradient, collector, retain_graph):
    nodes, waiting = {root.sequence_nr: root}, [root]
    while waiting:
        for edge in waiting.pop().inputs:
            if edge is not None and isinstance(edge.target, Node) and edge.target.sequence_nr not in nodes:
                nodes[edge.target.sequence_nr] = edge.target
                waiting.append(edge.target)
    pending = _PendingGradients()
    pending.add(root, output_nr, gradient)
    for number in sorted(nodes, reverse=True):
        node = nodes[number]
        outputs = collector.outputs_of(node, pending.pop(node, node.num_outputs))
        for edge, array, can_steal in _input_gradients(node, outputs):
            if isinstance(edge.target, Variable):
                collector.add(edge.target, array, can_steal)
            else:
                pending.add(edge.target, edge.output_nr, array)
        if not retain_graph:
            node.free_saved()
"""),
    Mistake("every node goes into the queue once for each use", "6.6", "            if target.sequence_nr not in queued:\n                queued.add(target.sequence_nr)\n                heapq.heappush(queue, (-target.sequence_nr, target))", "            heapq.heappush(queue, (-target.sequence_nr, target))"),
    Mistake("a queue by name", "6.6", "            if target.sequence_nr not in queued:\n                queued.add(target.sequence_nr)", "            if target.name not in queued:\n                queued.add(target.name)"),
    Mistake("hooks run, and their result is dropped", "6.6", "outputs = collector.outputs_of(node, pending.pop(node, node.num_outputs))", "outputs = pending.pop(node, node.num_outputs)\n        collector.outputs_of(node, list(outputs))"),
    Mistake("hooks run twice", "6.6", "outputs = collector.outputs_of(node, pending.pop(node, node.num_outputs))", "outputs = collector.outputs_of(node, collector.outputs_of(node, pending.pop(node, node.num_outputs)))"),
    Mistake("the saved values alone are dropped", "6.6", "            node.free_saved()", "            node.saved = None"),
    Mistake("only the root is freed", "6.6", "        if not retain_graph:\n            node.free_saved()", "    if not retain_graph:\n        root.free_saved()"),
    Mistake("a warning, not an error", "6.6", """            raise RuntimeError(
                f"a tensor that""", """            print(
                f"a tensor that"""),
    Mistake("an assertion", "6.6", new='''
def _check_saved(node):
    assert node.saved is not None, f"{node.name}: freed, pass retain_graph=True"
    for reference, count in node.saved_versions:
        version = reference()
        assert version is None or version.count == count, f"{node.name}: modified in place"
'''),
    Mistake("the number of versions", "6.6", "version.count != count", "version.count > len(node.saved_versions)"),
    Mistake("the sum of all counts", "6.6", new='''
def _check_saved(node):
    if node.saved is None:
        raise RuntimeError(f"{node.name} was freed: retain_graph=True")
    counts = [(r().count, n) for r, n in node.saved_versions if r() is not None]
    if max((c for c, _ in counts), default=0) != max((n for _, n in counts), default=0):
        raise RuntimeError(f"{node.name}: modified in place")
'''),
    Mistake("a version that is gone is an error", "6.6", "if version is not None and version.count != count:", "if version is None or version.count != count:"),
    Mistake("a version that is gone ends the loop", "6.6", "        version = reference()\n", "        version = reference()\n        if version is None:\n            return\n"),
    Mistake("the reference is not called", "6.6", "version = reference()", "version = reference"),
    Mistake("gradients of data are wanted too", "6.6", "            target = edge.target\n            if isinstance(target, Variable):", "            target = edge.target\n            if isinstance(target, Variable) and target._grad is None:"),
    Mistake("a leaf gets the newest gradient", "6.6", "                collector.add(target, array, can_steal)\n", "                target._grad = None\n                collector.add(target, array, can_steal)\n"),
    # 6.7
    Mistake("relu writes zeros into g", "6.7", "return xp.where(off, xp.zeros_like(g), g)", "g[off] = 0\n    return g"),
    Mistake("relu of g", "6.7", "xp.where(off, xp.zeros_like(g), g)", "xp.where(g > 0, g, xp.zeros_like(g))"),
    Mistake("sigmoid writes into what was saved", "6.7", "return g * y * (1 - y)", "y *= 1 - y\n    return g * y"),
    Mistake("tanh of y again", "6.7", "(1 - y * y)", "(1 - xp.tanh(y) ** 2)"),
    Mistake("softmax over everything", "6.7", "axis=along", "axis=None"),
    Mistake("log_softmax sums the products", "6.7", "xp.sum(g, axis=axes, keepdims=True)", "xp.sum(g * xp.exp(y), axis=axes, keepdims=True)"),
    Mistake("log_softmax sums one axis", "6.7", "xp.sum(g, axis=axes, keepdims=True)", "xp.sum(g, axis=axes[-1], keepdims=True)"),
    Mistake("log_softmax writes its exponential into y", "6.7", "return g - xp.exp(y) *", "y[...] = xp.exp(y)\n    return g - y *"),
    # 6.8
    Mistake("db keeps a row", "6.8", "lambda: xp.sum(g, axis=0),", "lambda: xp.sum(g, axis=0, keepdims=True),"),
    Mistake("db sums every axis", "6.8", "lambda: xp.sum(g, axis=0),", "lambda: xp.sum(g),"),
    Mistake("W and b exchanged", "6.8", "        lambda: xp.matrix_transpose(g) @ rows,\n        lambda: xp.sum(g, axis=0),", "        lambda: xp.sum(g, axis=0),\n        lambda: xp.matrix_transpose(g) @ rows,"),
    Mistake("g in rows of x's width", "6.8", "xp.reshape(g, (rows.shape[0], weight.shape[0]))", "xp.reshape(g, rows.shape)"),
    Mistake("no gradient for the bias", "6.8", "lambda: xp.sum(g, axis=0),", "None,"),
    # 6.9
    Mistake("one is added to the count", "6.9", "xp.maximum(count, xp.ones_like(count))", "count + xp.ones_like(count)"),
    Mistake("the gradient of the chosen probability alone", "6.9", "(xp.exp(log_p) - hit)", "(xp.exp(log_p) - 1) * hit"),
    Mistake("-1/p of the target", "6.9", "(xp.exp(log_p) - hit)", "(-hit / xp.exp(log_p))"),
    Mistake("softmax once more", "6.9", "xp.exp(log_p) - hit", "xp.exp(xp.exp(log_p)) / xp.sum(xp.exp(xp.exp(log_p)), axis=1, keepdims=True) - hit"),
    Mistake("g is not used", "6.9", "(g / count)", "(1 / count)"),
    Mistake("hit is written into", "6.9", "    d = (xp.exp(log_p) - hit) * (counted * (g / count))", "    hit -= xp.exp(log_p)\n    d = -hit * (counted * (g / count))"),
    Mistake("zeros for the targets", "6.9", "xp.reshape(d, shape), None", "xp.reshape(d, shape), xp.zeros(shape[:-1])"),
]  # fmt: skip
