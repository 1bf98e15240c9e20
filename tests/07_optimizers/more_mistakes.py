"""Mistakes of students in lesson 07, written without a look at `mistakes.py` or at the tests."""

# fmt: off
from mistake import Mistake

DECAY = "apply_weight_decay(p, g, lr, weight_decay, decoupled)"
ROW = "row = p, gradient, *self._state_of(i, p, group)"
RATE = "lr * math.sqrt(max(1.0, p.shape[-2] / max(1, p.shape[-1])))"
STEP = "return (p - lr * m_hat / (xp.sqrt(v_hat) + eps), m, v), ()"

MISTAKES = [
    # 7.1
    Mistake("a step of length lr", "7.1", "p - lr * direction", "p - lr * direction / abs(direction).max()"),
    Mistake("the velocity is dampened, not the gradient", "7.1", new="""
def update_velocity(v, g, momentum, dampening=0, step=1):
    if step > 1:
        return momentum * (1 - dampening) * v + g
    return momentum * v + g
"""),
    Mistake("a moving average of the dampened gradient", "7.1", new="""
def update_velocity(v, g, momentum, dampening=0, step=1):
    return momentum * v + (1 - momentum) * g
"""),
    Mistake("the first velocity is the gradient alone", "7.1", new="""
def update_velocity(v, g, momentum, dampening=0, step=1):
    if step == 1:
        return g
    return momentum * v + (1 - dampening) * g
"""),
    Mistake("dampening grows with the steps", "7.1", "dampening * (step > 1)", "dampening ** max(1, step - 1)"),
    Mistake("the velocity in double precision", "7.1", "    return momentum * v + damped", "    return np.float64(momentum) * v + damped"),
    Mistake("velocities are added up in place", "7.1", new="""
def update_velocity(v, g, momentum, dampening=0, step=1):
    v *= momentum
    v += g * (1 - dampening if step > 1 else 1)
    return v
"""),
    # 7.2
    Mistake("half of the penalty's gradient", "7.2", "g + weight_decay * p", "g + weight_decay / 2 * p"),
    Mistake("the penalty pushes all weights down", "7.2", "g + weight_decay * p", "g + weight_decay * abs(p)"),
    Mistake("the sign instead of the weight: L1", "7.2", "g + weight_decay * p", "g + weight_decay * np.sign(p)"),
    Mistake("decoupled decay of the gradient", "7.2", "p * (1 - lr * weight_decay), g", "p, g * (1 - lr * weight_decay)"),
    Mistake("the decoupled weight is a new one, and the gradient too", "7.2", "return p * (1 - lr * weight_decay), g", "p = p * (1 - lr * weight_decay)\n        return p, g + weight_decay * p"),
    Mistake("the decay in double precision", "7.2", "1 - lr * weight_decay", "np.float64(1 - lr * weight_decay)"),
    Mistake("weights without a gradient do not decay", "7.2", "g + weight_decay * p", "g + weight_decay * p * (g != 0)"),
    Mistake("small decays are none", "7.2", "if not weight_decay:", "if weight_decay < 0.1:"),
    # 7.3
    Mistake("nesterov looks ahead with the weights", "7.3", "descend(p, g + momentum * v if nesterov else v, lr)", "descend(p - lr * momentum * v if nesterov else p, v, lr)"),
    Mistake("the decay is added after the velocity", "7.3", new="""
@op
def sgd_update(xp, p, g, v=None, *, lr, momentum, weight_decay, nesterov, dampening=0, step=1):
    if v is None:
        _, g = apply_weight_decay(p, g, lr, weight_decay, decoupled=False)
        return (descend(p, g, lr),), ()
    v = update_velocity(v, g, momentum, dampening, step)
    direction = g + momentum * v if nesterov else v
    _, direction = apply_weight_decay(p, direction, lr, weight_decay, decoupled=False)
    return (descend(p, direction, lr), v), ()
"""),
    Mistake("the velocity holds the rate", "7.3", new="""
@op
def sgd_update(xp, p, g, v=None, *, lr, momentum, weight_decay, nesterov, dampening=0, step=1):
    p, g = apply_weight_decay(p, g, lr, weight_decay, decoupled=False)
    if v is None:
        return (p - lr * g,), ()
    v = update_velocity(v, lr * g, momentum, dampening, step)
    return (p - (lr * g + momentum * v if nesterov else v), v), ()
"""),
    Mistake("without a velocity the state is None", "7.3", "return (descend(p, g, lr),), ()", "return (descend(p, g, lr), None), ()"),
    Mistake("the plain step forgets the decay", "7.3", new="""
@op
def sgd_update(xp, p, g, v=None, *, lr, momentum, weight_decay, nesterov, dampening=0, step=1):
    if v is None:
        return (descend(p, g, lr),), ()
    p, g = apply_weight_decay(p, g, lr, weight_decay, decoupled=False)
    v = update_velocity(v, g, momentum, dampening, step)
    return (descend(p, g + momentum * v if nesterov else v, lr), v), ()
"""),
    # 7.4
    Mistake("only the first group is cleared", "7.4", new="""
def zero_grad(self, set_to_none=True):
    for parameter in self.param_groups[0]["params"]:
        if set_to_none:
            parameter.zero_grad()
        elif parameter.grad is not None:
            parameter.grad.zero_()
""", within="OptimizerSteps"),
    Mistake("gradients times 0", "7.4", "parameter.grad.zero_()", "parameter.grad = parameter.grad * 0.0"),
    Mistake("gradients are made in their absence", "7.4", new="""
def zero_grad(self, set_to_none=True):
    for parameter in self.parameters():
        parameter.grad = None if set_to_none else Tensor(np.zeros(parameter.shape))
""", within="OptimizerSteps"),
    Mistake("the closure is called again for the loss", "7.4", "        return loss", "        return loss if closure is None else closure()"),
    Mistake("the rule of the class", "7.4", "self.rule_of(group)", "self.rule"),
    Mistake("settings by hand", "7.4", "self.settings({**group, \"lr\": lr}, step - missed if missed else step)",
            "OptimizerBase.settings(self, {**group, \"lr\": lr}, step - missed if missed else step)"),
    Mistake("the rate is written into the group", "7.4", '        for missed, rows in by_missed.items():\n', '        group["lr"] = lr\n        for missed, rows in by_missed.items():\n'),
    Mistake("a step without gradients does not count", "7.4", "        self.steps += 1\n", "        if not updated:\n            return\n        self.steps += 1\n"),
    Mistake("missed steps are made good by an update", "7.4", "                updated.append(i)", "                self.missed.pop(i, None)\n                updated.append(i)"),
    Mistake("positions instead of indices", "7.4", "updated.append(i)", "updated.append(i - first)"),
    Mistake("the parameters are counted as updated, with gradient or not", "7.4", "                updated.append(i)", "            updated.append(i)"),
    Mistake("frozen parameters count as updated", "7.4", "if p.grad is not None:", "if p.grad is None:\n                updated.append(i)\n            else:"),
    Mistake("maximize changes the gradient", "7.4", "gradient = -p.grad if group.get(\"maximize\") else p.grad", "if group.get(\"maximize\"):\n                    p.grad = -p.grad\n                gradient = p.grad"),
    Mistake("maximize of the first group", "7.4", 'group.get("maximize")', 'self.param_groups[0].get("maximize")'),
    Mistake("the gradients are cleared after the step", "7.4", "        return loss", "        self.zero_grad()\n        return loss"),
    Mistake("the step is the optimizer's own", "7.4", "step - missed if missed else step", "self.steps + 1 - missed"),
    Mistake("a loss of 0 is no loss", "7.4", "        return loss", "        return loss or None"),
    Mistake("gradients of 0 are none", "7.4", "            if p.grad is not None:", "            if p.grad is not None and p.grad.numpy().any():"),
    Mistake("maximize if the setting is there", "7.4", 'if group.get("maximize")', 'if "maximize" in group'),
    Mistake("maximize against the sign", "7.4", "-p.grad if", "-abs(p.grad) if"),
    # 7.5
    Mistake("half of the sum, times beta", "7.5", "beta * average + (1 - beta) * new", "beta * (average + new) / 2"),
    Mistake("1 - beta to the power of the step", "7.5", "1 - beta**step", "(1 - beta) ** step"),
    Mistake("an average in double precision", "7.5", "beta * average + (1 - beta) * new", "np.add(np.float64(beta) * average, (1 - beta) * new)"),
    # 7.6
    Mistake("epsilon below the root", "7.6", STEP, "return (p - lr * m_hat / xp.sqrt(v_hat + eps), m, v), ()"),
    Mistake("epsilon of the short form", "7.6", STEP, "return (p - lr * (1 - betas[1] ** step) ** 0.5 / (1 - betas[0] ** step) * m / (xp.sqrt(v) + eps), m, v), ()"),
    Mistake("a root of a number is a double", "7.6", new="""
@op
def adam_update(xp, p, g, m, v, *, lr, betas, eps, weight_decay, decoupled, step):
    p, g = apply_weight_decay(p, g, lr, weight_decay, decoupled)
    m = moving_average(m, g, betas[0])
    v = moving_average(v, g * g, betas[1])
    below = xp.sqrt(v) / np.sqrt(1 - betas[1] ** step) + eps
    return (p - lr / (1 - betas[0] ** step) * m / below, m, v), ()
"""),
    Mistake("RMSprop", "7.6", new="""
@op
def adam_update(xp, p, g, m, v, *, lr, betas, eps, weight_decay, decoupled, step):
    p, g = apply_weight_decay(p, g, lr, weight_decay, decoupled)
    v = moving_average(v, g * g, betas[1])
    return (p - lr * g / (xp.sqrt(correct_bias(v, betas[1], step)) + eps), m, v), ()
"""),
    Mistake("the decoupled decay after the step", "7.6", new="""
@op
def adam_update(xp, p, g, m, v, *, lr, betas, eps, weight_decay, decoupled, step):
    if not decoupled:
        p, g = apply_weight_decay(p, g, lr, weight_decay, decoupled)
    m = moving_average(m, g, betas[0])
    v = moving_average(v, g * g, betas[1])
    p = p - lr * correct_bias(m, betas[0], step) / (xp.sqrt(correct_bias(v, betas[1], step)) + eps)
    if decoupled:
        p, g = apply_weight_decay(p, g, lr, weight_decay, decoupled)
    return (p, m, v), ()
"""),
    Mistake("the variance around the average", "7.6", "moving_average(v, g * g, betas[1])", "moving_average(v, (g - m) ** 2, betas[1])", count=2),
    Mistake("AMSGrad forgets too", "7.6", "v_max = xp.maximum(v_max, v)", "v_max = xp.maximum(betas[1] * v_max, v)"),
    Mistake("AMSGrad keeps the corrected average", "7.6", "    v_max = xp.maximum(v_max, v)\n    m_hat = correct_bias(m, betas[0], step)\n    v_hat = correct_bias(v_max, betas[1], step)",
            "    m_hat = correct_bias(m, betas[0], step)\n    v_max = xp.maximum(v_max, correct_bias(v, betas[1], step))\n    v_hat = v_max"),
    Mistake("AMSGrad: the largest of all numbers", "7.6", "xp.maximum(v_max, v)", "xp.maximum(v_max, v.max())"),
    # 7.7
    Mistake("divided by the largest number", "7.7", "(xp.sqrt(xp.sum(X * X, axis=(-2, -1), keepdims=True)) + 1e-7)", "(abs(X).max(axis=(-2, -1), keepdims=True) + 1e-7)"),
    Mistake("powers number by number", "7.7", "3.4445 * X + (-4.7750 * A + 2.0315 * (A @ A)) @ X", "3.4445 * X - 4.7750 * X**3 + 2.0315 * X**5"),
    Mistake("A is computed once", "7.7", "    for _ in range(steps):\n        A = X @ xp.matrix_transpose(X)  # (..., m, m)\n", "    A = X @ xp.matrix_transpose(X)\n    for _ in range(steps):\n"),
    Mistake("square matrices are transposed at the end only", "7.7", "if tall else X", "if G.shape[-2] >= G.shape[-1] else X"),
    Mistake("an exact decomposition", "7.7", new="""
def orthogonalise(xp, G, steps=5):
    U, _, V = xp.linalg.svd(G, full_matrices=False)
    return U @ V
"""),
    # 7.8
    Mistake("Nesterov as in SGD", "7.8", "moving_average(m, g, momentum) if nesterov else m", "g + momentum * m if nesterov else m"),
    Mistake("the larger side", "7.8", RATE, "lr * math.sqrt(max(1.0, p.shape[-2], p.shape[-1]))"),
    Mistake("NumPy's root of a number is a double", "7.8", "math.sqrt", "np.sqrt"),
    Mistake("the gradient is orthogonalised, not the average", "7.8", "orthogonalise(xp, direction)", "orthogonalise(xp, g)"),
    Mistake("the decay grows with the rate of the shape", "7.8", new="""
@op
def muon_update(xp, p, g, m, *, lr, momentum, nesterov, weight_decay):
    rate = lr * math.sqrt(max(1.0, p.shape[-2] / max(1, p.shape[-1])))
    p, _ = apply_weight_decay(p, g, rate, weight_decay, decoupled=True)
    m = moving_average(m, g, momentum)
    direction = moving_average(m, g, momentum) if nesterov else m
    return (descend(p, orthogonalise(xp, direction), rate), m), ()
"""),
    Mistake("the orthogonalised direction is remembered", "7.8", "return (descend(p, orthogonalise(xp, direction), rate), m), ()", "direction = orthogonalise(xp, direction)\n    return (descend(p, direction, rate), direction), ()"),
    Mistake("whole times as many rows", "7.8", "p.shape[-2] / max", "p.shape[-2] // max"),
]
