"""Right solutions of lesson 04 that differ from the package's.

The inline tests accept NumPy's own functions in an op, too; the integration tests on the strict
backend do not.
"""

from mistake import Alternative

SQUARE = "(difference * difference).mean()"

ALTERNATIVES = [
    # 4.1
    Alternative("a power", "4.1", SQUARE, "(difference**2).mean()"),
    Alternative(
        "the sum by the size", "4.1", SQUARE, "(difference * difference).sum() / difference.size"
    ),
    Alternative(
        "in one line",
        "4.1",
        within="MSELoss",
        new="""
def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
    guess, wanted = _check_shapes("MSELoss", prediction, target)
    return ((wanted - guess) ** 2).mean()
""",
    ),
    Alternative("the method square", "4.1", SQUARE, "difference.square().mean()"),
    Alternative(
        "the shapes alone are checked: operators take a list",
        "4.1",
        'prediction, target = _check_shapes("MSELoss"',
        '_check_shapes("MSELoss"',
    ),
    # 4.2
    Alternative("xp.mean", "4.2", "xp.sum(losses) / p.size", "xp.mean(losses)"),
    Alternative(
        "two terms subtracted",
        "4.2",
        "-(target * log_p + (1 - target) * log_q)",
        "-target * log_p - (1 - target) * log_q",
    ),
    Alternative(
        "xp.where for the limits",
        "4.2",
        new="""
def binary_cross_entropy(xp, p, target):
    def limited(log):
        return xp.where(log < -100, xp.full_like(log, -100.0), log)

    losses = target * limited(xp.log(p)) + (1 - target) * limited(xp.log(1 - p))
    return -xp.mean(losses), (p, target)
""",
    ),
    Alternative(
        "xp.clip",
        "4.2",
        new="""
def binary_cross_entropy(xp, p, target):
    log_p, log_q = xp.clip(xp.log(p), -100.0, None), xp.clip(xp.log(1 - p), -100.0, None)
    return -xp.sum(log_q + target * (log_p - log_q)) / p.size, [p, target]
""",
    ),
    Alternative(
        "NumPy's functions",
        "4.2",
        new="""
def binary_cross_entropy(xp, p, target):
    log_p, log_q = np.maximum(np.log(p), -100), np.maximum(np.log(1 - p), -100)
    return -np.mean(target * log_p + (1 - target) * log_q), (p, target)
""",
    ),
    # 4.3
    Alternative(
        "checks in another order",
        "4.3",
        within="BinaryCrossEntropyLoss",
        new="""
def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
    name = "BinaryCrossEntropyLoss"
    prediction, target = _check_shapes(name, prediction, target)
    for what, tensor in (("targets", target), ("predictions", prediction)):
        check_probabilities(name, what, tensor)
    return binary_cross_entropy(prediction, target)
""",
    ),
    # 4.4
    Alternative(
        "the formula in one line",
        "4.4",
        new="""
def log_probabilities(xp, rows):
    m = xp.max(rows, axis=1, keepdims=True)
    return (rows - m) - xp.log(xp.sum(xp.exp(rows - m), axis=1, keepdims=True))
""",
    ),
    Alternative(
        "log-sum-exp as a step of its own",
        "4.4",
        new="""
def log_probabilities(xp, rows):
    m = xp.max(rows, axis=-1, keepdims=True)
    log_sum = m + xp.log(xp.sum(xp.exp(rows - m), axis=-1, keepdims=True))
    return rows - log_sum
""",
    ),
    Alternative(
        "axes inserted by hand",
        "4.4",
        new="""
def log_probabilities(xp, rows):
    rows = rows - xp.expand_dims(xp.max(rows, axis=-1), axis=-1)
    return rows - xp.expand_dims(xp.log(xp.sum(xp.exp(rows), axis=-1)), axis=-1)
""",
    ),
    Alternative(
        "a loop over rows",
        "4.4",
        new="""
def log_probabilities(xp, rows):
    result = []
    for i in range(rows.shape[0]):
        row = rows[i] - xp.max(rows[i])
        result.append(row - xp.log(xp.sum(xp.exp(row))))
    return xp.stack(result)
""",
    ),
    # 4.5
    Alternative(
        "a product of numbers",
        "4.5",
        "xp.astype(hit & counted, dtype)",
        "xp.astype(hit, dtype) * xp.astype(counted, dtype)",
    ),
    Alternative(
        "rows of the identity",
        "4.5",
        new="""
def one_hot_targets(xp, targets, V, ignore_index, dtype):
    classes = xp.astype(xp.reshape(targets, (-1, 1)), xp.int64)
    counted = classes != ignore_index
    classes = look_up_classes(xp, classes, counted, V)
    weights = xp.astype(counted, dtype)
    return xp.take(xp.eye(V, dtype=dtype), classes[:, 0], axis=0) * weights, weights
""",
    ),
    Alternative(
        "assignment",
        "4.5",
        new="""
def one_hot_targets(xp, targets, V, ignore_index, dtype):
    classes = targets.reshape(-1, 1).astype(np.int64)
    counted = classes != ignore_index
    classes = look_up_classes(xp, classes, counted, V)
    hit = np.zeros((len(classes), V), dtype)
    hit[np.arange(len(classes)), classes[:, 0]] = counted[:, 0]
    return hit, counted.astype(dtype)
""",
    ),
    Alternative("logical_and", "4.5", "hit & counted", "xp.logical_and(hit, counted)"),
    Alternative(
        "not ignored",
        "4.5",
        "counted = classes != ignore_index",
        "counted = ~(classes == ignore_index)",
    ),
    # 4.6
    Alternative("rows by -1", "4.6", "(targets.size, V)", "(-1, V)"),
    Alternative("the condition is counted in the rows", "4.6", "xp.sum(counted)", "xp.sum(hit)"),
    Alternative("hit as a condition of equality", "4.6", "hit > 0", "hit == 1"),
    Alternative(
        "a sum of each row first",
        "4.6",
        "-xp.sum(chosen) / xp.sum(counted)",
        "xp.sum(-xp.sum(chosen, axis=-1)) / xp.sum(counted)",
    ),
    Alternative(
        "log probabilities of the logits as they are",
        "4.6",
        "log_probabilities(xp, xp.reshape(logits, (targets.size, V)))",
        "xp.reshape(log_probabilities(xp, logits), (targets.size, V))",
    ),
    Alternative(
        "booleans as an index",
        "4.6",
        "chosen = xp.where(hit > 0, log_p, xp.zeros_like(log_p))",
        "chosen = log_p[hit > 0]",
    ),
    # 4.7
    Alternative(
        "the argument by its name in a variable",
        "4.7",
        within="CrossEntropyLoss",
        new="""
def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
    x, t = _check_classes(logits, targets)
    return cross_entropy(x, t, ignore_index=self.ignore_index)
""",
    ),
    Alternative(
        "all but the ignored",
        "4.7",
        "(targets != self.ignore_index).sum()",
        "targets.size - (targets == self.ignore_index).sum()",
    ),
    Alternative(
        "arguments are checked alone: an op takes a list",
        "4.7",
        "logits, targets = _check_classes(",
        "_check_classes(",
    ),
    # 4.8
    Alternative(
        "a loop",
        "4.8",
        new="""
def perplexity(losses, counts):
    total, targets = 0.0, 0
    for loss, n in zip(losses, counts, strict=True):
        if n:
            total += loss * n
            targets += n
    if targets == 0:
        raise ValueError("no target")
    mean = total / targets
    return math.inf if mean > 709.78 else math.exp(mean)
""",
    ),
    Alternative(
        "NumPy's average",
        "4.8",
        new="""
def perplexity(losses, counts):
    losses, counts = np.array(losses, float), np.array(counts, float)
    if losses.shape != counts.shape:
        raise ValueError("a count for each loss")
    kept = counts > 0
    if not kept.any():
        raise ValueError("no target")
    with np.errstate(over="ignore"):
        return float(np.exp(np.average(losses[kept], weights=counts[kept])))
""",
    ),
]
