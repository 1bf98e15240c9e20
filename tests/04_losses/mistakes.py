"""Mistakes of students in lesson 04, and generated mutants that are right."""

from mistake import Mistake

SQUARE = "(difference * difference).mean()"
MEAN = "xp.sum(losses) / p.size"
FLOORED = "xp.maximum(xp.log(p), floor), xp.maximum(xp.log(1 - p), floor)"
LOSS = "-xp.sum(chosen) / xp.sum(counted)"
WHERE = "xp.where(hit > 0, log_p, xp.zeros_like(log_p))"
SAVED = "(log_p, hit, counted, logits.shape)"
CALL = "cross_entropy(logits, targets, ignore_index=self.ignore_index)"
COUNT = "(targets != self.ignore_index).sum()"
HIT = "xp.arange(V) == look_up_classes(xp, classes, counted, V)"
SHIFTED = "rows - xp.max(rows, axis=-1, keepdims=True)"
LOG = "xp.log(xp.sum(xp.exp(shifted), axis=-1, keepdims=True))"
EXP = "math.exp(sum(loss * n for loss, n in batches) / sum(n for _, n in batches))"
FILTER = "zip(losses, counts, strict=True) if n > 0"

MISTAKES = [
    # 4.1
    Mistake("the sum instead of the mean", "4.1", SQUARE, "(difference * difference).sum()"),
    Mistake("half of the mean", "4.1", SQUARE, "(difference * difference).mean() / 2"),
    Mistake("the root of the mean", "4.1", SQUARE, "(difference * difference).mean() ** 0.5"),
    Mistake("absolute errors", "4.1", SQUARE, "difference.abs().mean()"),
    Mistake("the mean is squared", "4.1", SQUARE, "difference.mean() * difference.mean()"),
    Mistake("the mean of the last axis", "4.1", SQUARE, "(difference * difference).mean(axis=-1)"),
    Mistake(
        "divided by the batch", "4.1", SQUARE, "(difference * difference).sum() / len(prediction)"
    ),
    Mistake(
        "no check of the shapes",
        "4.1",
        '        prediction, target = _check_shapes("MSELoss", prediction, target)\n',
        "",
    ),
    Mistake(
        "a difference of squares",
        "4.1",
        "difference = prediction - target",
        "difference = (prediction * prediction - target * target) ** 0.5",
    ),
    Mistake("a NumPy number", "4.1", SQUARE, "np.mean(difference.numpy() ** 2)"),
    Mistake(
        "a tensor of float64",
        "4.1",
        SQUARE,
        "Tensor(np.mean(difference.numpy().astype(np.float64) ** 2))",
    ),
    Mistake(
        "the prediction is changed",
        "4.1",
        "difference = prediction - target",
        "prediction -= target\n        difference = prediction",
    ),
    # 4.2
    Mistake("the sign is missing", "4.2", "losses = -(target", "losses = (target"),
    Mistake(
        "only the first term",
        "4.2",
        "-(target * log_p + (1 - target) * log_q)",
        "-(target * log_p)",
    ),
    Mistake(
        "p and 1 - p exchanged",
        "4.2",
        "target * log_p + (1 - target) * log_q",
        "target * log_q + (1 - target) * log_p",
    ),
    Mistake("the sum of the losses", "4.2", MEAN, "xp.sum(losses)"),
    Mistake("divided by the first axis", "4.2", MEAN, "xp.sum(losses) / p.shape[0]"),
    Mistake("the mean of the last axis", "4.2", MEAN, "xp.mean(losses, axis=-1)"),
    Mistake("no limit", "4.2", FLOORED, "xp.log(p), xp.log(1 - p)"),
    Mistake(
        "a limit of the first logarithm alone",
        "4.2",
        FLOORED,
        "xp.maximum(xp.log(p), floor), xp.log(1 - p)",
    ),
    Mistake(
        "p is limited",
        "4.2",
        FLOORED,
        "xp.log(xp.clip(p, 1e-7, 1 - 1e-7)), xp.log(1 - xp.clip(p, 1e-7, 1 - 1e-7))",
    ),
    Mistake(
        "a small number is added to p", "4.2", FLOORED, "xp.log(p + 1e-8), xp.log(1 - p + 1e-8)"
    ),
    Mistake("limited from above", "4.2", "xp.maximum(", "xp.minimum(", 2),
    Mistake("the limit is -10", "4.2", "-100.0", "-10.0"),
    Mistake(
        "the loss is limited to 100",
        "4.2",
        "xp.sum(losses)",
        "xp.sum(xp.where(losses < 100, losses, xp.full_like(p, 100.0)))",
    ),
    Mistake(
        "NaN becomes 0",
        "4.2",
        "xp.sum(losses)",
        "xp.sum(xp.where(xp.isnan(losses), xp.zeros_like(p), losses))",
    ),
    Mistake("logarithms to base 2", "4.2", "xp.log(", "xp.log2(", 2),
    Mistake(
        "targets are rounded",
        "4.2",
        "target * log_p + (1 - target) * log_q",
        "xp.where(target >= 0.5, log_p, log_q)",
    ),
    Mistake(
        "p and 1 - p are limited to exp(-100)",
        "4.2",
        FLOORED,
        "xp.log(xp.maximum(p, xp.exp(floor))), xp.log(xp.maximum(1 - p, xp.exp(floor)))",
    ),
    Mistake("p is changed", "4.2", "floor = xp", "p *= 1 - 1e-9\n    floor = xp"),
    Mistake("saved in another order", "4.2", "(p, target)", "(target, p)"),
    Mistake("nothing is saved", "4.2", ", (p, target)", ", ()"),
    Mistake("the mean alone is returned", "4.2", ", (p, target)", ""),
    Mistake("the limited logarithms are saved", "4.2", "(p, target)", "(log_p, log_q)"),
    Mistake(
        "zeros in p are replaced",
        "4.2",
        "floor = xp.full_like(p, -100.0)",
        "floor = xp.full_like(p, -100.0)\n    p[p == 0] = 1e-44",
    ),
    # 4.3
    Mistake(
        "no check of predictions",
        "4.3",
        '        check_probabilities("BinaryCrossEntropyLoss", "predictions", prediction)\n',
        "",
    ),
    Mistake(
        "no check of targets",
        "4.3",
        '        check_probabilities("BinaryCrossEntropyLoss", "targets", target)\n',
        "",
    ),
    Mistake(
        "the arguments are exchanged",
        "4.3",
        "binary_cross_entropy(prediction, target)",
        "binary_cross_entropy(target, prediction)",
    ),
    Mistake(
        "a sigmoid of the predictions",
        "4.3",
        "binary_cross_entropy(prediction, target)",
        "binary_cross_entropy(1 / (1 + (-prediction).exp()), target)",
    ),
    Mistake(
        "no check of shapes",
        "4.3",
        "        prediction, target = _check_shapes("
        '"BinaryCrossEntropyLoss", prediction, target)\n',
        "",
    ),
    Mistake(
        "the squared error",
        "4.3",
        "binary_cross_entropy(prediction, target)",
        "((prediction - target) ** 2).mean()",
    ),
    Mistake(
        "the loss is a number",
        "4.3",
        "return binary_cross_entropy(prediction, target)",
        "return binary_cross_entropy(prediction, target).item()",
    ),
    # 4.4
    Mistake("no shift", "4.4", SHIFTED, "rows"),
    Mistake("the maximum of the whole array", "4.4", SHIFTED, "rows - xp.max(rows)"),
    Mistake(
        "the maximum of each column", "4.4", SHIFTED, "rows - xp.max(rows, axis=0, keepdims=True)"
    ),
    Mistake("the mean as a shift", "4.4", SHIFTED, "rows - xp.mean(rows, axis=-1, keepdims=True)"),
    Mistake(
        "the minimum as a shift", "4.4", SHIFTED, "rows - xp.min(rows, axis=-1, keepdims=True)"
    ),
    Mistake(
        "the logarithm of softmax",
        "4.4",
        new="""
def log_probabilities(xp, rows):
    e = xp.exp(rows - xp.max(rows, axis=-1, keepdims=True))
    return xp.log(e / xp.sum(e, axis=-1, keepdims=True))
""",
    ),
    Mistake(
        "softmax without a logarithm",
        "4.4",
        new="""
def log_probabilities(xp, rows):
    e = xp.exp(rows - xp.max(rows, axis=-1, keepdims=True))
    return e / xp.sum(e, axis=-1, keepdims=True)
""",
    ),
    Mistake("the scores are not shifted in front", "4.4", "return shifted -", "return rows -"),
    Mistake("the sum of all rows", "4.4", LOG, "xp.log(xp.sum(xp.exp(shifted)))"),
    Mistake(
        "the sum of columns", "4.4", LOG, "xp.log(xp.sum(xp.exp(shifted), axis=0, keepdims=True))"
    ),
    Mistake(
        "the sum of logarithms",
        "4.4",
        LOG,
        "xp.sum(xp.log(xp.exp(shifted)), axis=-1, keepdims=True)",
    ),
    Mistake(
        "no logarithm of the sum", "4.4", LOG, "xp.sum(xp.exp(shifted), axis=-1, keepdims=True)"
    ),
    Mistake("the mean of exponentials", "4.4", "xp.sum(", "xp.mean("),
    Mistake("axes are dropped", "4.4", ", keepdims=True", "", 2),
    Mistake("the logarithms are negative", "4.4", "return shifted -", "return -shifted +"),
    Mistake(
        "a small number in the logarithm",
        "4.4",
        LOG,
        "xp.log(xp.sum(xp.exp(shifted), axis=-1, keepdims=True) + 1e-3)",
    ),
    Mistake("float64", "4.4", "return shifted", "return xp.astype(shifted, xp.float64)"),
    Mistake(
        "the rows are changed",
        "4.4",
        "shifted = " + SHIFTED,
        "rows -= xp.max(rows, axis=-1, keepdims=True)\n    shifted = rows",
    ),
    # 4.5
    Mistake(
        "ignored targets are overwritten",
        "4.5",
        new="""
def one_hot_targets(xp, targets, V, ignore_index, dtype):
    classes = xp.reshape(targets, (targets.size, 1))
    counted = classes != ignore_index
    classes[~counted] = 0
    hit = xp.arange(V) == look_up_classes(xp, xp.astype(classes, xp.int64), counted, V)
    return xp.astype(hit & counted, dtype), xp.astype(counted, dtype)
""",
    ),
    Mistake("targets are not reshaped", "4.5", "xp.reshape(targets, (targets.size, 1))", "targets"),
    Mistake("targets as a row", "4.5", "(targets.size, 1)", "(1, targets.size)"),
    Mistake("only the first axis counts", "4.5", "(targets.size, 1)", "(targets.shape[0], 1)"),
    Mistake("ignored classes keep their rows", "4.5", "hit & counted", "hit"),
    Mistake("only ignored classes have rows", "4.5", "hit & counted", "hit & ~counted"),
    Mistake(
        "ignored instead of counted", "4.5", "classes != ignore_index", "classes == ignore_index"
    ),
    Mistake("negative targets are ignored", "4.5", "classes != ignore_index", "classes >= 0"),
    Mistake("-100 is always ignored", "4.5", "classes != ignore_index", "classes != -100"),
    Mistake("all classes are accepted", "4.5", HIT, "xp.arange(V) == classes"),
    Mistake("classes wrap around", "4.5", HIT, "xp.arange(V) == classes % V"),
    Mistake("classes count from 1", "4.5", "xp.arange(V) ==", "xp.arange(1, V + 1) =="),
    Mistake("one class too many", "4.5", "xp.arange(V) ==", "xp.arange(V + 1) =="),
    Mistake("one-cold rows", "4.5", "xp.arange(V) ==", "xp.arange(V) !="),
    Mistake("all classes up to the target", "4.5", "xp.arange(V) ==", "xp.arange(V) <="),
    Mistake("booleans are returned", "4.5", "xp.astype(hit & counted, dtype)", "hit & counted"),
    Mistake("counts are booleans", "4.5", "xp.astype(counted, dtype)", "counted"),
    Mistake("always float32", "4.5", "counted, dtype)", "counted, xp.float32)", 2),
    Mistake(
        "the results are exchanged",
        "4.5",
        "xp.astype(hit & counted, dtype), xp.astype(counted, dtype)",
        "xp.astype(counted, dtype), xp.astype(hit & counted, dtype)",
    ),
    Mistake(
        "the number of counted targets",
        "4.5",
        "xp.astype(counted, dtype)",
        "xp.sum(xp.astype(counted, dtype))",
    ),
    Mistake(
        "counts are (N,)", "4.5", "xp.astype(counted, dtype)", "xp.astype(counted[:, 0], dtype)"
    ),
    # 4.6
    Mistake("the sign is missing", "4.6", LOSS, "xp.sum(chosen) / xp.sum(counted)"),
    Mistake("the sum", "4.6", LOSS, "-xp.sum(chosen)"),
    Mistake("divided by all targets", "4.6", LOSS, "-xp.sum(chosen) / targets.size"),
    Mistake("divided by N and V", "4.6", LOSS, "-xp.mean(chosen)"),
    Mistake("divided by the batch", "4.6", LOSS, "-xp.sum(chosen) / logits.shape[0]"),
    Mistake(
        "0 if all are ignored",
        "4.6",
        LOSS,
        "-xp.sum(chosen) / xp.maximum(xp.sum(counted), xp.asarray(1.0))",
    ),
    Mistake("a product", "4.6", WHERE, "hit * log_p"),
    Mistake("probabilities", "4.6", WHERE, "hit * xp.exp(log_p)"),
    Mistake(
        "log_p is limited",
        "4.6",
        WHERE,
        "xp.where(hit > 0, xp.maximum(log_p, xp.full_like(log_p, -100.0)), xp.zeros_like(log_p))",
    ),
    Mistake("the other classes", "4.6", "hit > 0", "hit == 0"),
    Mistake("ignore_index is not handed on", "4.6", "V, ignore_index, logits", "V, -100, logits"),
    Mistake("another default", "4.6", "ignore_index: int = -100", "ignore_index: int = -1"),
    Mistake("logits are not reshaped", "4.6", "xp.reshape(logits, (targets.size, V))", "logits"),
    Mistake("logits are reshaped to (V, N)", "4.6", "(targets.size, V)))", "(V, targets.size)))"),
    Mistake("classes on axis 1", "4.6", "V = logits.shape[-1]", "V = logits.shape[1]"),
    Mistake(
        "softmax is applied first",
        "4.6",
        "xp.reshape(logits, (targets.size, V)))",
        "xp.exp(log_probabilities(xp, xp.reshape(logits, (targets.size, V)))))",
    ),
    Mistake("float64 rows", "4.6", "ignore_index, logits.dtype", "ignore_index, xp.float64"),
    Mistake(
        "the scores themselves are saved", "4.6", SAVED, "(logits, hit, counted, logits.shape)"
    ),
    Mistake("the shape of the rows is saved", "4.6", SAVED, "(log_p, hit, counted, log_p.shape)"),
    Mistake("probabilities are saved", "4.6", SAVED, "(xp.exp(log_p), hit, counted, logits.shape)"),
    Mistake("targets are saved", "4.6", SAVED, "(log_p, targets, counted, logits.shape)"),
    Mistake("three things are saved", "4.6", SAVED, "(log_p, hit, logits.shape)"),
    Mistake("the count is saved", "4.6", SAVED, "(log_p, hit, xp.sum(counted), logits.shape)"),
    Mistake("saved in another order", "4.6", SAVED, "(hit, log_p, counted, logits.shape)"),
    Mistake(
        "the logits are changed",
        "4.6",
        "    V = logits.shape[-1]\n",
        "    V = logits.shape[-1]\n    logits -= xp.max(logits, axis=-1, keepdims=True)\n",
    ),
    # 4.7
    Mistake("ignore_index is not handed on", "4.7", CALL, "cross_entropy(logits, targets)"),
    Mistake(
        "ignore_index is -100",
        "4.7",
        "self.ignore_index = int(ignore_index)",
        "self.ignore_index = -100",
    ),
    Mistake("ignore_index is not an int", "4.7", "int(ignore_index)", "ignore_index"),
    Mistake(
        "any ignore_index is accepted",
        "4.7",
        '        check_integer("CrossEntropyLoss: ignore_index", ignore_index, -(2**63))\n',
        "",
    ),
    Mistake("only classes may be ignored", "4.7", ", -(2**63))", ", 0)"),
    Mistake(
        "no check of classes",
        "4.7",
        "        logits, targets = _check_classes(logits, targets)\n",
        "",
    ),
    Mistake(
        "the arguments are exchanged",
        "4.7",
        CALL,
        "cross_entropy(targets, logits, ignore_index=self.ignore_index)",
    ),
    Mistake("ignored targets are counted", "4.7", COUNT, "(targets == self.ignore_index).sum()"),
    Mistake("all targets are counted", "4.7", COUNT, "Tensor(targets.size)"),
    Mistake("-100 is not counted", "4.7", COUNT, "(targets != -100).sum()"),
    Mistake("counts of the last axis", "4.7", COUNT, "(targets != self.ignore_index).sum(axis=-1)"),
    Mistake(
        "the mean instead of the count",
        "4.7",
        COUNT,
        "(targets != self.ignore_index).to('float32').mean()",
    ),
    Mistake(
        "the count is a float", "4.7", COUNT, "(targets != self.ignore_index).to('float32').sum()"
    ),
    Mistake(
        "the count leaves the backend",
        "4.7",
        COUNT,
        "Tensor(np.sum(targets.numpy() != self.ignore_index))",
    ),
    Mistake("the count is a number", "4.7", COUNT, "(targets != self.ignore_index).sum().item()"),
    Mistake(
        "the loss is a number",
        "4.7",
        "return cross_entropy(logits, targets, ignore_index=self.ignore_index)",
        "return cross_entropy(logits, targets, ignore_index=self.ignore_index).item()",
    ),
    # 4.8
    Mistake(
        "the mean of means", "4.8", EXP, "math.exp(sum(loss for loss, _ in batches) / len(batches))"
    ),
    Mistake(
        "the mean of perplexities",
        "4.8",
        EXP,
        "sum(math.exp(loss) * n for loss, n in batches) / sum(n for _, n in batches)",
    ),
    Mistake(
        "powers of 2",
        "4.8",
        EXP,
        "2 ** (sum(loss * n for loss, n in batches) / sum(n for _, n in batches))",
    ),
    Mistake(
        "no exponential",
        "4.8",
        EXP,
        "sum(loss * n for loss, n in batches) / sum(n for _, n in batches)",
    ),
    Mistake("exp of the sum", "4.8", EXP, "math.exp(sum(loss * n for loss, n in batches))"),
    Mistake(
        "divided by the number of batches",
        "4.8",
        EXP,
        "math.exp(sum(loss * n for loss, n in batches) / len(batches))",
    ),
    Mistake(
        "1 / p",
        "4.8",
        EXP,
        "math.exp(-sum(loss * n for loss, n in batches) / sum(n for _, n in batches))",
    ),
    Mistake("empty batches are kept", "4.8", FILTER, "zip(losses, counts, strict=True)"),
    Mistake(
        "batches with a NaN are dropped",
        "4.8",
        FILTER,
        "zip(losses, counts, strict=True) if loss == loss",
    ),
    Mistake("batches of one target are dropped", "4.8", "if n > 0", "if n > 1"),
    Mistake("pairs that do not match are dropped", "4.8", "strict=True", "strict=False"),
    Mistake(
        "no targets give 1",
        "4.8",
        'raise ValueError("perplexity needs at least one target")',
        "return 1.0",
    ),
    Mistake("no targets divide by 0", "4.8", "if not batches:", "if False:"),
    Mistake("the overflow is an error", "4.8", "OverflowError", "ZeroDivisionError"),
    Mistake("what overflows is NaN", "4.8", "return math.inf", "return math.nan"),
    Mistake(
        "infinite from a loss of 500 on",
        "4.8",
        "    try:\n",
        "    if max(loss for loss, _ in batches) > 500:\n        return math.inf\n    try:\n",
    ),
    Mistake(
        "an array",
        "4.8",
        EXP,
        "np.exp([sum(loss * n for loss, n in batches) / sum(n for _, n in batches)])",
    ),
    Mistake("losses of 0 are left out", "4.8", "if n > 0", "if loss and n > 0"),
    Mistake(
        "the perplexity is a tensor", "4.8", "return math.exp(", "return Tensor(1.0) * math.exp("
    ),
]

SAME = "p and target have the same shape, and the dtype to compute in"
EITHER = "the larger of two numbers"
EQUIVALENT = {
    '4.1 MSELoss.forward: items prediction and target swapped in "prediction, target"': "the square is the same",
    '4.1 MSELoss.forward: operands of - swapped in "prediction - target"': "the square is the same",
    '4.2 binary_cross_entropy: p -> target in "xp.full_like(p, -100.0)"': SAME,
    '4.2 binary_cross_entropy: arguments xp.log(p) and floor swapped in "xp.maximum(xp.log(p), floor)"': EITHER,
    '4.2 binary_cross_entropy: arguments xp.log(1 - p) and floor swapped in "xp.maximum(xp.log(1 - p), floor)"': EITHER,
    '4.2 binary_cross_entropy: p -> target in "p.size"': SAME,
    '4.4 log_probabilities: -1 -> 1 in "xp.max(rows, axis=-1, keepdims=True)"': "rows have two axes",
    '4.4 log_probabilities: -1 -> 1 in "xp.sum(xp.exp(shifted), axis=-1, keepdims=True)"': "rows have two axes",
    '4.5 one_hot_targets: without the call of xp.astype in "xp.astype(xp.reshape(targets, (targets.size, 1)), xp.int64)"': "NumPy compares integers of different dtypes by value",
    '4.6 cross_entropy: counted -> hit in "xp.sum(counted)"': "each row that counts has one 1",
    '4.8 perplexity: items loss and n swapped in "loss, n" #2': "the product is the same",
}  # fmt: skip
