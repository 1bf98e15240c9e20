"""Typical mistakes in lesson 02."""

from mistake import Mistake

SHIFT = "xp.where(largest == -math.inf, xp.zeros_like(largest), largest)"
TOTAL = "xp.where(total == 0, xp.ones_like(total), total)"
ALONG = "axes[0] if len(axes) == 1 else axes"
NUMERATOR = "xp.where(x >= 0, xp.ones_like(x), small)"
T = "xp.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x))"
LOG_SUM = "xp.log(xp.sum(xp.exp(shifted), axis=axes, keepdims=True))"

MISTAKES = [
    # 2.1
    Mistake("NaN becomes 0", "2.1", "xp.where(off, xp.zeros_like(x), x)", "xp.where(x > 0, x, xp.zeros_like(x))"),
    Mistake("the absolute value", "2.1", "xp.where(off, xp.zeros_like(x), x)", "xp.abs(x)"),
    Mistake("the condition is the wrong way round", "2.1", "off = x <= 0", "off = x >= 0"),
    Mistake("0 counts as on", "2.1", "off = x <= 0", "off = x < 0"),
    Mistake("a product with the mask", "2.1", "xp.where(off, xp.zeros_like(x), x)", "x * (x > 0)"),
    Mistake("ones instead of zeros", "2.1", "zeros_like", "ones_like"),
    Mistake("one branch is exchanged with the other", "2.1", "xp.zeros_like(x), x)", "x, xp.zeros_like(x))"),
    Mistake("x is saved instead of the mask", "2.1", ", (off,)", ", (x,)"),
    Mistake("the mask of the units that are on is saved", "2.1", ", (off,)", ", (~off,)"),
    Mistake("nothing is saved", "2.1", ", (off,)", ", ()"),
    Mistake("the mask is saved without a tuple", "2.1", ", (off,)", ", off"),
    Mistake("only the result is returned", "2.1", ", (off,)", ""),
    Mistake("the result is float64", "2.1", "xp.where(off, xp.zeros_like(x), x)", "xp.astype(xp.where(off, xp.zeros_like(x), x), xp.float64)"),
    Mistake("numbers are limited to 6", "2.1", "xp.where(off, xp.zeros_like(x), x)", "xp.where(off, xp.zeros_like(x), xp.minimum(x, xp.ones_like(x)))"),
    Mistake("a leaky ReLU", "2.1", "xp.zeros_like(x), x)", "x / 100, x)"),
    Mistake("the module returns its input", "2.1", "return relu(x)", "return x"),
    Mistake("the module returns nothing", "2.1", "return relu(x)", "relu(x)"),
    Mistake("the module calls the forward function of arrays", "2.1", "return relu(x)", "return relu.forward(x)"),
    Mistake("the module computes with NumPy", "2.1", "return relu(x)", "return Tensor(np.maximum(x.numpy(), 0))"),
    Mistake("the module returns NumPy's array", "2.1", "return relu(x)", "return np.maximum(x.numpy(), 0)"),
    Mistake("zeros are written into x", "2.1", new="""
def relu(xp, x):
    off = x <= 0
    x[off] = 0
    return x, (off,)
"""),
    # 2.2
    Mistake("the square without the ReLU", "2.2", "rectified * rectified, (rectified,)", "x * x, (rectified,)"),
    Mistake("twice instead of squared", "2.2", "return rectified * rectified", "return rectified + rectified"),
    Mistake("NaN becomes 0 before the square", "2.2", "xp.where(x <= 0, xp.zeros_like(x), x)", "xp.where(x > 0, x, xp.zeros_like(x))"),
    Mistake("the square is saved", "2.2", ", (rectified,)", ", (rectified * rectified,)"),
    Mistake("x itself is saved", "2.2", ", (rectified,)", ", (x,)"),
    Mistake("nothing is saved by the square", "2.2", ", (rectified,)", ", ()"),
    Mistake("the cube", "2.2", "return rectified * rectified", "return rectified * rectified * rectified"),
    Mistake("the square of the negative part", "2.2", "x <= 0", "x >= 0"),
    Mistake("a product with a mask", "2.2", "xp.where(x <= 0, xp.zeros_like(x), x)", "x * (x > 0)"),
    Mistake("the module is a ReLU", "2.2", "return squared_relu(x)", "return Tensor(x.numpy() * (x.numpy() > 0))"),
    Mistake("the module squares its input", "2.2", "return squared_relu(x)", "return squared_relu(squared_relu(x))"),
    Mistake("the module computes with NumPy", "2.2", "return squared_relu(x)", "return Tensor(np.maximum(x.numpy(), 0) ** 2)"),
    Mistake("zeros are written into x", "2.2", new="""
def squared_relu(xp, x):
    x[x <= 0] = 0
    return x * x, (x,)
"""),
    # 2.3
    Mistake("the textbook's formula overflows", "2.3", new='''
def sigmoid(xp, x):
    y = 1 / (1 + xp.exp(-x))
    return y, (y,)
'''),
    Mistake("the other formula gives NaN", "2.3", new='''
def sigmoid(xp, x):
    y = xp.exp(x) / (1 + xp.exp(x))
    return y, (y,)
'''),
    Mistake("both branches are computed for all numbers", "2.3", new='''
def sigmoid(xp, x):
    y = xp.where(x >= 0, 1 / (1 + xp.exp(-x)), xp.exp(x) / (1 + xp.exp(x)))
    return y, (y,)
'''),
    Mistake("the sign of the exponent is forgotten", "2.3", "xp.exp(-x", "xp.exp(x"),
    Mistake("without the absolute value", "2.3", "-xp.abs(x)", "-x"),
    Mistake("numerator 1 for all", "2.3", NUMERATOR, "xp.ones_like(x)"),
    Mistake("numerator m for all", "2.3", NUMERATOR, "small"),
    Mistake("the numerators are exchanged", "2.3", "xp.ones_like(x), small)", "small, xp.ones_like(x))"),
    Mistake("one minus, which loses all digits", "2.3", new='''
def sigmoid(xp, x):
    small = xp.exp(-xp.abs(x))
    right = 1 / (1 + small)
    y = xp.where(x >= 0, right, 1 - right)
    return y, (y,)
'''),
    Mistake("inputs are clipped to 10", "2.3", "xp.exp(-xp.abs(x))", "xp.exp(-xp.abs(xp.clip(x, -10, 10)))"),
    Mistake("the denominator is 1 - m", "2.3", "/ (1 + small)", "/ (1 - small)"),
    Mistake("the brackets of the denominator are missing", "2.3", "/ (1 + small)", "/ 1 + small"),
    Mistake("x is saved by the sigmoid", "2.3", ", (y,)", ", (x,)"),
    Mistake("the result is saved without a tuple", "2.3", ", (y,)", ", y"),
    Mistake("a base of 2", "2.3", "xp.exp(-xp.abs(x))", "2 ** (-xp.abs(x))"),
    Mistake("the sigmoid's module applies it twice", "2.3", "return sigmoid(x)", "return sigmoid(sigmoid(x))"),
    Mistake("the module computes with NumPy", "2.3", "return sigmoid(x)", "return Tensor(1 / (1 + np.exp(-x.numpy())))"),
    Mistake("x is limited to 88", "2.3", new="""
def sigmoid(xp, x):
    y = 1 / (1 + xp.exp(-xp.clip(x, -88, 88)))
    return y, (y,)
"""),
    Mistake("x is limited to 30", "2.3", new="""
def sigmoid(xp, x):
    y = 1 / (1 + xp.exp(-xp.clip(x, -30, 30)))
    return y, (y,)
"""),
    # 2.4
    Mistake("the tangent", "2.4", "xp.tanh(x)", "xp.tan(x)"),
    Mistake("the hyperbolic sine", "2.4", "xp.tanh(x)", "xp.sinh(x)"),
    Mistake("the formula with exponentials overflows", "2.4", "xp.tanh(x)", "(xp.exp(2 * x) - 1) / (xp.exp(2 * x) + 1)"),
    Mistake("a sigmoid instead of tanh", "2.4", "xp.tanh(x)", "1 / (1 + xp.exp(-x))"),
    Mistake("2 is forgotten in the sigmoid", "2.4", "xp.tanh(x)", "xp.tanh(x / 2)"),
    Mistake("x is saved by tanh", "2.4", ", (y,)", ", (x,)"),
    Mistake("the slope is saved by tanh", "2.4", ", (y,)", ", (1 - y * y,)"),
    Mistake("nothing is saved by tanh", "2.4", ", (y,)", ", ()"),
    Mistake("tanh in float64", "2.4", "xp.tanh(x)", "xp.tanh(xp.astype(x, xp.float64))"),
    Mistake("the module of tanh returns its input", "2.4", "return tanh(x)", "return x"),
    Mistake("the module computes with NumPy", "2.4", "return tanh(x)", "return Tensor(np.tanh(x.numpy()))"),
    # 2.5
    Mistake("the textbook's softplus", "2.5", "xp.logaddexp(x, xp.zeros_like(x))", "xp.log(1 + xp.exp(x))"),
    Mistake("the textbook's softplus with log1p", "2.5", "xp.logaddexp(x, xp.zeros_like(x))", "xp.log1p(xp.exp(x))"),
    Mistake("1 instead of its logarithm, 0", "2.5", "zeros_like", "ones_like"),
    Mistake("x twice", "2.5", "xp.logaddexp(x, xp.zeros_like(x))", "xp.logaddexp(x, x)"),
    Mistake("minus x", "2.5", "xp.logaddexp(x", "xp.logaddexp(-x"),
    Mistake("the exponential of x goes in", "2.5", "xp.logaddexp(x,", "xp.logaddexp(xp.exp(x),"),
    Mistake("a plain maximum", "2.5", "xp.logaddexp(x, xp.zeros_like(x))", "xp.maximum(x, xp.zeros_like(x))"),
    Mistake("the correction has the wrong sign", "2.5", "xp.logaddexp(x, xp.zeros_like(x))",
            "xp.maximum(x, xp.zeros_like(x)) - xp.log1p(xp.exp(-xp.abs(x)))"),
    Mistake("the absolute value in the exponent is missing", "2.5", "xp.logaddexp(x, xp.zeros_like(x))",
            "xp.maximum(x, xp.zeros_like(x)) + xp.log1p(xp.exp(-x))"),
    Mistake("x is saved by softplus", "2.5", ", (y,)", ", (x,)"),
    Mistake("nothing is saved by softplus", "2.5", ", (y,)", ", ()"),
    # 2.6
    Mistake("pi / 2 instead of 2 / pi", "2.6", "2 / math.pi", "math.pi / 2"),
    Mistake("without the root", "2.6", "math.sqrt(2 / math.pi)", "(2 / math.pi)"),
    Mistake("a square instead of a cube", "2.6", "0.044715 * x * x * x", "0.044715 * x * x"),
    Mistake("another constant", "2.6", "0.044715", "0.44715"),
    Mistake("the root belongs to x alone", "2.6", "* (x + 0.044715 * x * x * x)", "* x + 0.044715 * x * x * x"),
    Mistake("the half is forgotten", "2.6", "0.5 * x", "x"),
    Mistake("without x in front", "2.6", "0.5 * x * (1 + t)", "0.5 * (1 + t)"),
    Mistake("1 - t", "2.6", "(1 + t)", "(1 - t)"),
    Mistake("the brackets around 1 + t are missing", "2.6", "0.5 * x * (1 + t)", "0.5 * x * 1 + t"),
    Mistake("the approximation with a sigmoid", "2.6", new='''
def gelu(xp, x):
    t = xp.tanh(1.702 * x / 2)
    return 0.5 * x * (1 + t), (x, t)
'''),
    Mistake("the exact function", "2.6", new='''
def gelu(xp, x):
    t = xp.reshape(xp.asarray([math.erf(v / math.sqrt(2)) for v in x.reshape(-1).tolist()], dtype=x.dtype), x.shape)
    return 0.5 * x * (1 + t), (x, t)
'''),
    Mistake("saved in another order", "2.6", "(x, t)", "(t, x)"),
    Mistake("only t is saved", "2.6", ", (x, t)", ", (t,)"),
    Mistake("the result is saved", "2.6", ", (x, t)", ", (x, 0.5 * x * (1 + t))"),
    Mistake("NumPy's root makes float64", "2.6", "math.sqrt(2 / math.pi)", "np.sqrt(2 / math.pi)"),
    Mistake("the module of GELU returns its input", "2.6", "return gelu(x)", "return x"),
    Mistake("the sum is written into x", "2.6", new="""
def gelu(xp, x):
    half = 0.5 * x
    saved = 1.0 * x
    x += 0.044715 * x * x * x
    t = xp.tanh(math.sqrt(2 / math.pi) * x)
    return half * (1 + t), (saved, t)
"""),
    # 2.7
    Mistake("the maximum is not subtracted", "2.7", "xp.exp(x - shift)", "xp.exp(x)"),
    Mistake("one maximum for the whole array", "2.7", "xp.max(x, axis=axis, keepdims=True)", "xp.max(x)"),
    Mistake("the minimum is subtracted", "2.7", "xp.max(", "xp.min("),
    Mistake("the mean is subtracted", "2.7", "xp.max(x", "xp.mean(x"),
    Mistake("the maximum is added", "2.7", "x - shift", "x + shift"),
    Mistake("the sum of the whole array", "2.7", "xp.sum(weights, axis=axis, keepdims=True)", "xp.sum(weights)"),
    Mistake("the sum loses its axis", "2.7", "xp.sum(weights, axis=axis, keepdims=True)", "xp.sum(weights, axis=axis)"),
    Mistake("the maximum loses its axis", "2.7", "xp.max(x, axis=axis, keepdims=True)", "xp.max(x, axis=axis)"),
    Mistake("always the last axis", "2.7", "axis=axis", "axis=-1", 2),
    Mistake("always the first axis", "2.7", "axis=axis", "axis=0", 2),
    Mistake("hidden rows give NaN", "2.7", f"shift = {SHIFT}", "shift = largest"),
    Mistake("hidden rows give 0 / 0", "2.7", TOTAL, "total"),
    Mistake("a small number in the denominator", "2.7", f"weights / {TOTAL}", "weights / (total + 1e-3)"),
    Mistake("hidden rows give equal shares", "2.7", f"shift = {SHIFT}", "x = xp.where(largest == -math.inf, xp.zeros_like(x), x)\n    shift = xp.max(x, axis=axis, keepdims=True)"),
    Mistake("hidden scores are -1e9, so a hidden row has shares", "2.7", "if x.size == 0:", "x = xp.where(x == -math.inf, xp.full_like(x, -1e9), x)\n    if x.size == 0:"),
    Mistake("empty arrays raise", "2.7", "    if x.size == 0:\n        return xp.zeros_like(x)\n", ""),
    Mistake("a pair as from an op", "2.7", f"return weights / {TOTAL}", f"return weights / {TOTAL}, (weights,)"),
    Mistake("scores divided by their sum", "2.7", "xp.exp(x - shift)", "x - shift + 1"),
    Mistake("a base of two", "2.7", "xp.exp(x - shift)", "2 ** (x - shift)"),
    Mistake("divided by the largest", "2.7", "xp.sum(weights", "xp.max(weights"),
    Mistake("the maximum is subtracted in place", "2.7", "weights = xp.exp(x - shift)", "x -= shift\n    weights = xp.exp(x)"),
    # 2.8
    Mistake("always over the last axis", "2.8", "softmax_array(xp, x, along)", "softmax_array(xp, x)"),
    Mistake("only the first of several axes", "2.8", ALONG, "axes[0] if axes else axes"),
    Mistake("the first axis even of none", "2.8", ALONG, "axes[0] if len(axes) <= 1 else axes"),
    Mistake("the axis is not checked", "2.8", "axes = _axes(x, axis)", "axes = (axis,) if isinstance(axis, int) else axis"),
    Mistake("the axis is not saved", "2.8", ", (y, along)", ", (y,)"),
    Mistake("x is saved by softmax", "2.8", ", (y, along)", ", (x, along)"),
    Mistake("the order of what is saved", "2.8", ", (y, along)", ", (along, y)"),
    Mistake("the default axis is saved", "2.8", ", (y, along)", ", (y, -1)"),
    Mistake("the module forgets its axis", "2.8", "softmax(x, axis=self.axis)", "softmax(x)"),
    Mistake("the module has a fixed axis", "2.8", "self.axis = axis", "self.axis = -1"),
    Mistake("the module keeps no axis", "2.8", "self.axis = axis", "pass"),
    Mistake("softmax twice", "2.8", "return softmax(x, axis=self.axis)", "return softmax(softmax(x, axis=self.axis), axis=self.axis)"),
    Mistake("the module computes with NumPy", "2.8", "return softmax(x, axis=self.axis)", "return Tensor(softmax_array(x.backend.xp, x._array, self.axis))"),
    # 2.9
    Mistake("the logarithm of a softmax", "2.9", f"y = shifted - {LOG_SUM}", "y = xp.log(softmax_array(xp, x, axes))"),
    Mistake("the logarithm of shares", "2.9", f"y = shifted - {LOG_SUM}", "y = xp.log(xp.exp(shifted) / xp.sum(xp.exp(shifted), axis=axes, keepdims=True))"),
    Mistake("without the maximum", "2.9", "x - xp.max(x, axis=axes, keepdims=True)", "x"),
    Mistake("one maximum for all rows", "2.9", "xp.max(x, axis=axes, keepdims=True)", "xp.max(x)"),
    Mistake("the maximum without keepdims", "2.9", "xp.max(x, axis=axes, keepdims=True)", "xp.max(x, axis=axes)"),
    Mistake("the sum without keepdims", "2.9", "xp.exp(shifted), axis=axes, keepdims=True", "xp.exp(shifted), axis=axes"),
    Mistake("the sum of the whole tensor", "2.9", "xp.sum(xp.exp(shifted), axis=axes, keepdims=True)", "xp.sum(xp.exp(shifted))"),
    Mistake("x minus the logarithm: the maximum is counted twice", "2.9", "y = shifted -", "y = x -"),
    Mistake("plus the logarithm", "2.9", "y = shifted -", "y = shifted +"),
    Mistake("without the logarithm", "2.9", LOG_SUM, "xp.sum(xp.exp(shifted), axis=axes, keepdims=True)"),
    Mistake("without the exponential", "2.9", "xp.exp(shifted)", "xp.abs(shifted)"),
    Mistake("the negative: a loss", "2.9", f"y = shifted - {LOG_SUM}", f"y = {LOG_SUM} - shifted"),
    Mistake("the logarithm to base 2", "2.9", f"y = shifted - {LOG_SUM}", f"y = (shifted - {LOG_SUM}) / math.log(2)"),
    Mistake("the shifted scores are saved", "2.9", "return y, (y, axes)", "return y, (shifted, axes)"),
    Mistake("the axes are not saved", "2.9", "return y, (y, axes)", "return y, (y,)"),
    Mistake("probabilities are limited from below", "2.9", LOG_SUM, f"{LOG_SUM}\n    y = xp.maximum(y, xp.full_like(y, -100.0))"),
    Mistake("empty tensors raise", "2.9", "    if x.size == 0:\n        return xp.zeros_like(x), (x, axes)\n", ""),
    Mistake("no pair for empty tensors", "2.9", "return xp.zeros_like(x), (x, axes)", "return xp.zeros_like(x)"),
    Mistake("the last axis always", "2.9", "axis=axes", "axis=-1", 2),
    Mistake("the maximum is subtracted in place", "2.9", new="""
def log_softmax(xp, x, *, axis=-1):
    axes = _axes(x, axis)
    if x.size == 0:
        return xp.zeros_like(x), (x, axes)
    x -= xp.max(x, axis=axes, keepdims=True)
    y = x - xp.log(xp.sum(xp.exp(x), axis=axes, keepdims=True))
    return y, (y, axes)
"""),
]  # fmt: skip

ONE_AXIS = "a tuple with one axis works like that axis"
EMPTY = "the array is empty: it has no numbers that could differ"
ONES = "broadcast ones are ones"

EQUIVALENT = {
    '2.2 squared_relu: <= -> < in "x <= 0"': "the square of 0 is 0, and so is what is saved",
    '2.3 sigmoid: >= -> > in "x >= 0"': "both numerators are 1 at 0",
    '2.5 softplus: arguments x and xp.zeros_like(x) swapped in "xp.logaddexp(x, xp.zeros_like(x))"': "a sum",
    '2.7 softmax_array: without the call of xp.zeros_like in "xp.zeros_like(x)"': EMPTY,
    '2.7 softmax_array: zeros_like -> ones_like in "xp.zeros_like(x)"': EMPTY,
    '2.7 softmax_array: zeros_like -> ones_like in "xp.zeros_like(largest)"': "any finite number is right",
    '2.7 softmax_array: total -> weights in "total == 0"': "0 / 1 is 0, as 0 / total",
    '2.7 softmax_array: total -> largest in "xp.ones_like(total)"': ONES,
    '2.7 softmax_array: total -> shift in "xp.ones_like(total)"': ONES,
    '2.7 softmax_array: total -> weights in "xp.ones_like(total)"': ONES,
    '2.8 softmax: always the second value in "axes[0] if len(axes) == 1 else axes"': ONE_AXIS,
    '2.8 softmax: without the call of len in "len(axes)"': ONE_AXIS,
    '2.8 softmax: 0 -> -1 in "axes[0]"': "the first of one is the last",
    '2.8 softmax: along -> axes in "softmax_array(xp, x, along)"': ONE_AXIS,
    '2.8 softmax: along -> axes in "(y, along)"': ONE_AXIS,
    '2.9 log_softmax: without the call of xp.zeros_like in "xp.zeros_like(x)"': EMPTY,
    '2.9 log_softmax: zeros_like -> ones_like in "xp.zeros_like(x)"': EMPTY,
}  # fmt: skip
