"""Mistakes that students make in lesson 06; its inline tests must find each of them."""

from mistake import Mistake

CHECKS = """
def _check_saved(node):
    if node.saved is None:
        raise RuntimeError(f"{node.name}: pass retain_graph=True")
"""

MISTAKES = [
    # 6.1
    Mistake("the first summand only", "6.1", "return g, g", "return g"),
    Mistake("half of g for each summand", "6.1", "return g, g", "return g / 2, g / 2"),
    Mistake("ones: g is forgotten", "6.1", "return g, g", "return xp.ones_like(g), xp.ones_like(g)"),
    Mistake("y of x - y gets g", "6.1", "g, lambda: -g", "g, lambda: g"),
    Mistake("the signs are swapped", "6.1", "g, lambda: -g", "-g, g"),
    Mistake("each factor gets itself", "6.1", "lambda: g * y, lambda: g * x", "lambda: g * x, lambda: g * y"),
    Mistake("the factors without g", "6.1", "lambda: g * y, lambda: g * x", "y, x"),
    Mistake("the product for both", "6.1", "lambda: g * y, lambda: g * x", "lambda: g * x * y, lambda: g * x * y"),
    Mistake("a list instead of a pair", "6.1", "return lambda: g * y, lambda: g * x", "return [g * y, g * x]"),
    Mistake("written into g", "6.1", new='''
def multiply_gradient(xp, g, x, y):
    dx = g * y
    g *= x
    return dx, g
'''),
    Mistake("written into what was saved", "6.1", new='''
def multiply_gradient(xp, g, x, y):
    x *= g
    return g * y, x
'''),
    Mistake("the sign of the denominator", "6.1", "lambda: -g * (x / y / y)", "lambda: g * (x / y / y)"),
    Mistake("divided by y only once", "6.1", "x / y / y", "x / y"),
    Mistake("y * y overflows", "6.1", "x / y / y", "x / (y * y)"),
    Mistake("without x", "6.1", "-g * (x / y / y)", "-g / y / y"),
    Mistake("the numerator gets g * y", "6.1", "lambda: g / y", "lambda: g * y"),
    Mistake("the exponential of the result", "6.1", "return g * y", "return g * xp.exp(y)"),
    Mistake("the rule of powers", "6.1", "return g * y\n", "return g * (y - 1)\n"),
    Mistake("the result alone", "6.1", "return g * y\n", "return y\n"),
    Mistake("g * x for the logarithm", "6.1", "return g / x", "return g * x"),
    Mistake("the slope of the logarithm without g", "6.1", "return g / x", "return 1 / x"),
    # 6.2
    Mistake("g is not repeated", "6.2", "return xp.broadcast_to(xp.reshape(g, kept_shape), shape)", "return xp.reshape(g, kept_shape)"),
    Mistake("g is not reshaped", "6.2", "xp.broadcast_to(xp.reshape(g, kept_shape), shape)", "xp.broadcast_to(g, shape)"),
    Mistake("ones of the shape", "6.2", "xp.broadcast_to(xp.reshape(g, kept_shape), shape)", "xp.ones(shape)"),
    Mistake("the sum of g for all", "6.2", "xp.broadcast_to(xp.reshape(g, kept_shape), shape)", "xp.broadcast_to(xp.sum(g), shape)"),
    Mistake("the mean as a sum", "6.2", "g / count", "g"),
    Mistake("times the count", "6.2", "g / count", "g * count"),
    Mistake("divided by the number of means", "6.2", "g / count", "g / g.size"),
    Mistake("divided by all numbers of x", "6.2", "g / count", "g / np.prod(shape)"),
    Mistake("a float64 count", "6.2", "g / count", "g / np.asarray(float(count))[None][:, None]"),
    # 6.3
    Mistake("g as it came", "6.3", "return xp.reshape(g, shape)", "return g"),
    Mistake("flat", "6.3", "return xp.reshape(g, shape)", "return xp.reshape(g, (-1,))"),
    Mistake("the permutation instead of its inverse", "6.3", "tuple(order.index(a) for a in range(len(axes)))", "tuple(order)"),
    Mistake("axes reversed", "6.3", "tuple(order.index(a) for a in range(len(axes)))", "tuple(reversed(order))"),
    Mistake("negative axes are not found", "6.3", "[a % len(axes) for a in axes]", "list(axes)"),
    Mistake("the last two axes swapped", "6.3", "xp.permute_dims(g, tuple(order.index(a) for a in range(len(axes))))", "xp.matrix_transpose(g)"),
    Mistake("an assignment: a number chosen twice gets one gradient", "6.3", "xp.index_add(", "xp.index_set("),
    Mistake("indexed again", "6.3", "return xp.index_add(xp.zeros(shape, dtype=g.dtype), key, g)", "return xp.index(g, key)"),
    Mistake("ones where nothing was chosen", "6.3", "xp.zeros(", "xp.ones("),
    Mistake("zeros of float64", "6.3", "xp.zeros(shape, dtype=g.dtype)", "xp.zeros(shape, dtype=xp.float64)"),
    Mistake("zeros of the shape of g", "6.3", "xp.zeros(shape, dtype=g.dtype)", "xp.zeros_like(g)"),
    Mistake("ones instead of g", "6.3", "key, g)", "key, xp.ones_like(g))"),
    # 6.4
    Mistake("without the transpose of y", "6.4", "g @ xp.matrix_transpose(y)", "g @ y"),
    Mistake("the factors in the wrong order", "6.4", "g @ xp.matrix_transpose(y)", "xp.matrix_transpose(y) @ g"),
    Mistake("g is transposed", "6.4", "return xp.matrix_transpose(x) @ g", "return xp.matrix_transpose(g) @ x"),
    Mistake("elementwise", "6.4", "lambda: g @ xp.matrix_transpose(y)", "lambda: g * y"),
    Mistake("the pair is swapped", "6.4", "return lambda: g @ xp.matrix_transpose(y), y_gradient", "return y_gradient, lambda: g @ xp.matrix_transpose(y)"),
    Mistake("all axes reversed", "6.4", "lambda: g @ xp.matrix_transpose(y)", "lambda: g @ y.T"),
    Mistake("vectors are forgotten", "6.4", "    if x.ndim == 1 or y.ndim == 1:\n        return _vector_gradients(xp, g, x, y)\n", ""),
    Mistake("one product for each batch", "6.4", "if y.ndim == 2 and x.ndim > 2:", "if False:"),
    Mistake("rows also for batches of y", "6.4", "if y.ndim == 2 and x.ndim > 2:", "if x.ndim > 2:"),
    Mistake("rows of x alone", "6.4", "xp.matrix_transpose(_rows(xp, x)) @ _rows(xp, g)", "xp.matrix_transpose(_rows(xp, x)) @ g"),
    Mistake("the first of the batch", "6.4", "xp.matrix_transpose(_rows(xp, x)) @ _rows(xp, g)", "(xp.matrix_transpose(x) @ g)[0]"),
    # 6.5
    Mistake("added into the first gradient", "6.5", "        if key not in self._sums:\n            self._sums[key] = gradient\n        elif key in self._allocated:", "        if key not in self._sums:\n            self._sums[key] = gradient\n        elif True:"),
    Mistake("the last gradient wins", "6.5", within="_PendingGradients", new='''
def add(self, target, output_nr, gradient):
    self._sums[id(target), output_nr] = gradient
'''),
    Mistake("the first gradient wins", "6.5", within="_PendingGradients", new='''
def add(self, target, output_nr, gradient):
    self._sums.setdefault((id(target), output_nr), gradient)
'''),
    Mistake("all outputs in one sum", "6.5", "key = (id(target), output_nr)", "key = (id(target), 0)"),
    Mistake("the target itself as key", "6.5", "key = (id(target), output_nr)", "key = (target, output_nr)"),
    Mistake("the first is noted as our own", "6.5", "            self._sums[key] = gradient\n        elif", "            self._sums[key] = gradient\n            self._allocated.add(key)\n        elif"),
    Mistake("the new array is not noted: one more for each gradient", "6.5", "            self._allocated.add(key)\n", ""),
    Mistake("the first is copied", "6.5", "            self._sums[key] = gradient\n        elif", "            self._sums[key] = gradient + 0\n            self._allocated.add(key)\n        elif"),
    Mistake("the second is subtracted", "6.5", "backend.xp.add(", "backend.xp.subtract("),
    Mistake("the mean of two", "6.5", "backend.xp.add(self._sums[key], gradient)", "backend.xp.add(self._sums[key], gradient) / 2"),
    Mistake("only the added axes", "6.5", "(*range(extra), *repeated)", "tuple(range(extra))"),
    Mistake("only the repeated axes", "6.5", "(*range(extra), *repeated)", "tuple(repeated)"),
    Mistake("numbers of axes as in shape", "6.5", "axis + extra\n", "axis\n"),
    Mistake("compared with the wrong axis", "6.5", "gradient.shape[axis + extra] != 1", "gradient.shape[axis] != 1"),
    Mistake("a mean", "6.5", "xp.sum(gradient, axis=(*range(extra), *repeated), keepdims=True, dtype=dtype)", "xp.mean(gradient, axis=(*range(extra), *repeated), keepdims=True)"),
    Mistake("the first of the repeated ones", "6.5", "gradient = xp.sum(gradient, axis=(*range(extra), *repeated), keepdims=True, dtype=dtype)", "gradient = gradient[(0,) * extra]"),
    Mistake("always over axis 0", "6.5", "axis=(*range(extra), *repeated)", "axis=0"),
    Mistake("the dtype is forgotten", "6.5", ", dtype=dtype)", ")"),
    Mistake("the shape is forgotten", "6.5", "return xp.reshape(gradient, shape)", "return gradient"),
    Mistake("a sum over axes of size 1 in the gradient too, and none in front", "6.5", "(*range(extra), *repeated)", "tuple(a for a, n in enumerate(gradient.shape) if n == 1)"),
    # 6.6
    Mistake("the oldest first", "6.6", "-target.sequence_nr, target)", "target.sequence_nr, target)"),
    Mistake("first come, first served", "6.6", new='''
def _propagate(root, output_nr, gradient, collector, retain_graph):
    pending = _PendingGradients()
    pending.add(root, output_nr, gradient)
    queue, queued = [root], {root.sequence_nr}
    while queue:
        node = queue.pop(0)
        outputs = collector.outputs_of(node, pending.pop(node, node.num_outputs))
        for edge, array, can_steal in _input_gradients(node, outputs):
            target = edge.target
            if isinstance(target, Variable):
                collector.add(target, array, can_steal)
                continue
            pending.add(target, edge.output_nr, array)
            if target.sequence_nr not in queued:
                queued.add(target.sequence_nr)
                queue.append(target)
        if not retain_graph:
            node.free_saved()
'''),
    Mistake("a recursion for each path", "6.6", new='''
def _propagate(root, output_nr, gradient, collector, retain_graph):
    outputs = [None] * root.num_outputs
    outputs[output_nr] = gradient
    outputs = collector.outputs_of(root, outputs)
    for edge, array, can_steal in _input_gradients(root, outputs):
        if isinstance(edge.target, Variable):
            collector.add(edge.target, array, can_steal)
        else:
            _propagate(edge.target, edge.output_nr, array, collector, True)
    if not retain_graph:
        root.free_saved()
'''),
    Mistake("a recursion in the right order", "6.6", new='''
def _propagate(root, output_nr, gradient, collector, retain_graph):
    pending = _PendingGradients()
    pending.add(root, output_nr, gradient)
    order, seen = [], set()

    def visit(node):
        if id(node) not in seen:
            seen.add(id(node))
            for edge in node.inputs:
                if edge is not None and not isinstance(edge.target, Variable):
                    visit(edge.target)
            order.append(node)

    visit(root)
    for node in reversed(order):
        outputs = collector.outputs_of(node, pending.pop(node, node.num_outputs))
        for edge, array, can_steal in _input_gradients(node, outputs):
            if isinstance(edge.target, Variable):
                collector.add(edge.target, array, can_steal)
            else:
                pending.add(edge.target, edge.output_nr, array)
        if not retain_graph:
            node.free_saved()
'''),
    Mistake("nodes are queued for each path", "6.6", "if target.sequence_nr not in queued:", "if True:"),
    Mistake("the output's number is ignored", "6.6", "pending.add(target, edge.output_nr, array)", "pending.add(target, 0, array)"),
    Mistake("always the first output of the root", "6.6", "pending.add(root, output_nr, gradient)", "pending.add(root, 0, gradient)"),
    Mistake("one gradient is popped", "6.6", "pending.pop(node, node.num_outputs)", "pending.pop(node)"),
    Mistake("leaves get nothing", "6.6", "                collector.add(target, array, can_steal)\n", ""),
    Mistake("the walk ends at a leaf", "6.6", "                continue", "                break"),
    Mistake("the graph is never freed", "6.6", "        if not retain_graph:\n            node.free_saved()\n", ""),
    Mistake("the graph is always freed", "6.6", "        if not retain_graph:\n            node.free_saved()\n", "        node.free_saved()\n"),
    Mistake("freed if it is retained", "6.6", "if not retain_graph:", "if retain_graph:"),
    Mistake("only the last node is freed", "6.6", "        if not retain_graph:\n            node.free_saved()\n", "    if not retain_graph:\n        node.free_saved()\n"),
    Mistake("freed before it ran", "6.6", "        outputs = collector", "        if not retain_graph:\n            node.free_saved()\n        outputs = collector"),
    Mistake("ones in place of the gradient", "6.6", "pending.add(root, output_nr, gradient)", "pending.add(root, output_nr, gradient * 0 + 1)"),
    Mistake("the collector does not see the nodes", "6.6", "collector.outputs_of(node, pending.pop(node, node.num_outputs))", "pending.pop(node, node.num_outputs)"),
    Mistake("what the collector returns is dropped", "6.6", "outputs = collector.outputs_of(node, pending.pop(node, node.num_outputs))", "outputs = pending.pop(node, node.num_outputs)\n        collector.outputs_of(node, outputs)"),
    Mistake("versions are not checked", "6.6", new=CHECKS),
    Mistake("only the first version", "6.6", new=CHECKS + '''
    for reference, count in node.saved_versions[:1]:
        if reference() is not None and reference().count != count:
            raise RuntimeError(f"{node.name}: modified in place")
'''),
    Mistake("any write counts, before the call too", "6.6", new=CHECKS + '''
    for reference, count in node.saved_versions:
        if reference() is not None and reference().count:
            raise RuntimeError(f"{node.name}: modified in place")
'''),
    Mistake("the first version that is gone ends the check", "6.6", new=CHECKS + '''
    for reference, count in node.saved_versions:
        if reference() is None:
            return
        if reference().count != count:
            raise RuntimeError(f"{node.name}: modified in place")
'''),
    Mistake("versions that are gone are not expected", "6.6", "version is not None and version", "version"),
    Mistake("freed values are not checked", "6.6", "if node.saved is None:", "if False:"),
    Mistake("a tuple that is empty counts as freed", "6.6", "if node.saved is None:", "if not node.saved:"),
    Mistake("the node is not named", "6.6", "a tensor that the gradient of {node.name} needs", "a tensor that a gradient needs"),
    Mistake("a wrong type of error", "6.6", "raise RuntimeError(", "raise ValueError(", 2),
    # 6.7
    Mistake("the wrong side of off", "6.7", "xp.where(off, xp.zeros_like(g), g)", "xp.where(off, g, xp.zeros_like(g))"),
    Mistake("the slope of relu without g", "6.7", "xp.where(off, xp.zeros_like(g), g)", "xp.where(off, xp.zeros_like(g), xp.ones_like(g))"),
    Mistake("a product with 0", "6.7", "xp.where(off, xp.zeros_like(g), g)", "g * (1 - xp.astype(off, g.dtype))"),
    Mistake("sigmoid of the result", "6.7", "return g * y * (1 - y)", "s = 1 / (1 + xp.exp(-y))\n    return g * s * (1 - s)"),
    Mistake("1 + y", "6.7", "g * y * (1 - y)", "g * y * (1 + y)"),
    Mistake("without y in front", "6.7", "g * y * (1 - y)", "g * (1 - y)"),
    Mistake("1 - y for tanh", "6.7", "g * (1 - y * y)", "g * (1 - y)"),
    Mistake("the slope of sigmoid for tanh", "6.7", "g * (1 - y * y)", "g * y * (1 - y)"),
    Mistake("softmax as if elementwise", "6.7", "y * (g - xp.sum(g * y, axis=along, keepdims=True))", "g * y * (1 - y)"),
    Mistake("the sum of g alone", "6.7", "xp.sum(g * y, axis=along, keepdims=True)", "xp.sum(g, axis=along, keepdims=True)"),
    Mistake("the sum of everything", "6.7", "xp.sum(g * y, axis=along, keepdims=True)", "xp.sum(g * y)"),
    Mistake("always the last axis", "6.7", "xp.sum(g * y, axis=along, keepdims=True)", "xp.sum(g * y, axis=-1, keepdims=True)"),
    Mistake("without keepdims", "6.7", "axis=along, keepdims=True", "axis=along"),
    Mistake("y only in front of g", "6.7", "y * (g - xp.sum(g * y, axis=along, keepdims=True))", "y * g - xp.sum(g * y, axis=along, keepdims=True)"),
    Mistake("the logarithms as shares", "6.7", "xp.exp(y) * xp.sum", "y * xp.sum"),
    Mistake("the shares are added", "6.7", "return g - xp.exp(y)", "return g + xp.exp(y)"),
    Mistake("softmax's formula for its logarithm", "6.7", "return g - xp.exp(y) * xp.sum(g, axis=axes, keepdims=True)", "return xp.exp(y) * (g - xp.sum(g * xp.exp(y), axis=axes, keepdims=True))"),
    Mistake("the sum of the shares, not of g", "6.7", "xp.sum(g, axis=axes", "xp.sum(xp.exp(y), axis=axes"),
    # 6.8
    Mistake("with the transpose of W", "6.8", "g @ weight", "g @ xp.matrix_transpose(weight)"),
    Mistake("dW as (in, out)", "6.8", "xp.matrix_transpose(g) @ rows", "xp.matrix_transpose(rows) @ g"),
    Mistake("db is not summed", "6.8", "lambda: xp.sum(g, axis=0)", "g"),
    Mistake("db sums the outputs", "6.8", "xp.sum(g, axis=0)", "xp.sum(g, axis=1)"),
    Mistake("db is a mean", "6.8", "xp.sum(g, axis=0)", "xp.mean(g, axis=0)"),
    Mistake("dx stays in rows", "6.8", "xp.reshape(g @ weight, shape)", "g @ weight"),
    Mistake("g is not made rows", "6.8", "    g = xp.reshape(g, (rows.shape[0], weight.shape[0]))  # (N, out)\n", ""),
    Mistake("the bias is forgotten", "6.8", "        lambda: xp.sum(g, axis=0),\n", ""),
    Mistake("W and x are swapped", "6.8", new='''
def linear_gradient(xp, g, rows, weight, shape):
    g = xp.reshape(g, (rows.shape[0], weight.shape[0]))
    return xp.matrix_transpose(g) @ rows, xp.reshape(g @ weight, shape), xp.sum(g, axis=0)
'''),
    # 6.9
    Mistake("truth minus probability", "6.9", "xp.exp(log_p) - hit", "hit - xp.exp(log_p)"),
    Mistake("the logarithms", "6.9", "xp.exp(log_p) - hit", "log_p - hit"),
    Mistake("the probabilities alone", "6.9", "xp.exp(log_p) - hit", "xp.exp(log_p)"),
    Mistake("minus hit alone", "6.9", "xp.exp(log_p) - hit", "-hit"),
    Mistake("without g", "6.9", "counted * (g / count)", "counted / count"),
    Mistake("ignored rows get a gradient", "6.9", "* (counted * (g / count))", "* (g / count)"),
    Mistake("a sum instead of a mean", "6.9", "(g / count)", "g"),
    Mistake("divided by all rows", "6.9", "count = xp.sum(counted)\n", "count = xp.sum(xp.ones_like(counted))\n"),
    Mistake("divided by all numbers", "6.9", "(g / count)", "(g / log_p.size)"),
    Mistake("0 / 0 if all are ignored", "6.9", "    count = xp.maximum(count, xp.ones_like(count))  # all ignored: zero gradients, as in PyTorch\n", ""),
    Mistake("the gradient stays in rows", "6.9", "xp.reshape(d, shape)", "d"),
    Mistake("the targets get none: one gradient", "6.9", "return xp.reshape(d, shape), None", "return xp.reshape(d, shape)"),
    Mistake("the targets get zeros", "6.9", "return xp.reshape(d, shape), None", "return xp.reshape(d, shape), xp.zeros_like(counted)"),
    Mistake("softmax in place of hit", "6.9", "(xp.exp(log_p) - hit)", "(hit * (xp.exp(log_p) - 1))"),
]  # fmt: skip

FLAT = "a matrix that is not in a batch is its own rows"
SUM = "the order of summands or axes does not matter"
KEPT = "the shape is set afterwards"

EQUIVALENT = {
    '6.4 matmul_gradient: without x.ndim > 2 in "y.ndim == 2 and x.ndim > 2"': FLAT,
    '6.4 matmul_gradient: > -> >= in "x.ndim > 2"': FLAT,
    '6.4 matmul_gradient: x -> g in "x.ndim" #2': "x and g have the same number of axes if y has two",
    '6.4 matmul_gradient: 2 -> 1 in "x.ndim > 2"': FLAT,
    '6.4 matmul_gradient: 2 -> 0 in "x.ndim > 2"': FLAT,
    '6.5 _PendingGradients.add: always the first value in "target.backend if isinstance(target, Node) else target._backend"': "a tensor has an attribute backend, too",
    '6.5 _PendingGradients.add: arguments self._sums[key] and gradient swapped in "backend.xp.add(self._sums[key], gradient)"': SUM,
    '6.5 _sum_to_shape: without gradient.shape[axis + extra] != 1 in "size == 1 and gradient.shape[axis + extra] != 1"': "a sum over one number is that number",
    '6.5 _sum_to_shape: without keepdims=True in "xp.sum(gradient, axis=(*range(extra), *repeated), keepdims=True, dtype..."': KEPT,
    '6.5 _sum_to_shape: True -> False in "xp.sum(gradient, axis=(*range(extra), *repeated), keepdims=True, dtype..."': KEPT,
    '6.5 _sum_to_shape: items *range(extra) and *repeated swapped in "(*range(extra), *repeated)"': SUM,
    '6.6 _propagate: without - in "-root.sequence_nr"': "the root is alone in the queue",
    '6.7 relu_gradient: g -> off in "xp.zeros_like(g)"': "NumPy converts booleans; the strict backend, in the integration tests, does not",
    '6.9 cross_entropy_gradient: counted -> hit in "xp.sum(counted)"': "each row that counts has one hit",
    '6.9 cross_entropy_gradient: arguments count and xp.ones_like(count) swapped in "xp.maximum(count, xp.ones_like(count))"': SUM,
}  # fmt: skip
