"""Mistakes that students make in lesson 07; its inline tests must find each of them."""

from mistake import Mistake

MISTAKES = [
    # 7.1
    Mistake("uphill", "7.1", "return p - lr * direction", "return p + lr * direction"),
    Mistake("the learning rate is forgotten", "7.1", "p - lr * direction", "p - direction"),
    Mistake("the step alone", "7.1", "return p - lr * direction", "return -lr * direction"),
    Mistake("written into the parameter", "7.1", "return p - lr * direction", "p -= lr * direction\n    return p"),
    Mistake("divided by the learning rate", "7.1", "p - lr * direction", "p - direction / lr"),
    Mistake("the sign only", "7.1", "p - lr * direction", "p - lr * (direction / abs(direction))"),
    Mistake("a moving average for a velocity", "7.1", "momentum * v + damped", "momentum * v + (1 - momentum) * damped"),
    Mistake("momentum on the gradient", "7.1", "momentum * v + damped", "v + momentum * damped"),
    Mistake("no memory", "7.1", "momentum * v + damped", "damped"),
    Mistake("dampened in the first step too", "7.1", "dampening * (step > 1)", "dampening"),
    Mistake("dampened in the first step alone", "7.1", "step > 1", "step == 1"),
    Mistake("from the third step on", "7.1", "step > 1", "step > 2"),
    Mistake("times the dampening", "7.1", "g * (1 - dampening * (step > 1))", "g * (dampening if step > 1 else 1)"),
    Mistake("the velocity is dampened", "7.1", new='''
def update_velocity(v, g, momentum, dampening=0, step=1):
    return (1 - dampening * (step > 1)) * (momentum * v + g)
'''),
    Mistake("written into the velocity", "7.1", new='''
def update_velocity(v, g, momentum, dampening=0, step=1):
    v *= momentum
    v += g * (1 - dampening * (step > 1))
    return v
'''),
    # 7.2
    Mistake("both at once", "7.2", "return p * (1 - lr * weight_decay), g\n", "return p * (1 - lr * weight_decay), g + weight_decay * p\n"),
    Mistake("decoupled and not are swapped", "7.2", "if decoupled:", "if not decoupled:"),
    Mistake("decoupled without the learning rate", "7.2", "p * (1 - lr * weight_decay)", "p * (1 - weight_decay)"),
    Mistake("times lr * weight_decay", "7.2", "p * (1 - lr * weight_decay)", "p * lr * weight_decay"),
    Mistake("weights that grow", "7.2", "p * (1 - lr * weight_decay)", "p * (1 + lr * weight_decay)"),
    Mistake("the gradient with the learning rate", "7.2", "g + weight_decay * p", "g + lr * weight_decay * p"),
    Mistake("away from the penalty's minimum", "7.2", "g + weight_decay * p", "g - weight_decay * p"),
    Mistake("twice the penalty", "7.2", "g + weight_decay * p", "g + 2 * weight_decay * p"),
    Mistake("the sign of the weights: L1", "7.2", "g + weight_decay * p", "g + weight_decay * (p / abs(p))"),
    Mistake("a constant pull", "7.2", "g + weight_decay * p", "g + weight_decay"),
    Mistake("infinite weights become NaN", "7.2", "    if not weight_decay:\n        return p, g\n", ""),
    Mistake("the pair is swapped", "7.2", "return p, g + weight_decay * p", "return g + weight_decay * p, p"),
    Mistake("one result", "7.2", "return p, g + weight_decay * p", "return g + weight_decay * p"),
    Mistake("written into the weights", "7.2", "return p * (1 - lr * weight_decay), g\n", "p *= 1 - lr * weight_decay\n        return p, g\n"),
    Mistake("nothing without a decay", "7.2", "    if not weight_decay:\n        return p, g\n", "    if not weight_decay:\n        return None\n"),
    # 7.3
    Mistake("no weight decay", "7.3", "    p, g = apply_weight_decay(p, g, lr, weight_decay, decoupled=False)\n", ""),
    Mistake("decoupled: another direction with momentum", "7.3", "decoupled=False", "decoupled=True"),
    Mistake("decay after the velocity", "7.3", new='''
def sgd_update(xp, p, g, v=None, *, lr, momentum, weight_decay, nesterov, dampening=0, step=1):
    if v is None:
        return (descend(p, g, lr),), ()
    v = update_velocity(v, g, momentum, dampening, step)
    p, g = apply_weight_decay(p, g, lr, weight_decay, decoupled=False)
    return (descend(p, g + momentum * v if nesterov else v, lr), v), ()
'''),
    Mistake("the old velocity in Nesterov's direction", "7.3", new='''
def sgd_update(xp, p, g, v=None, *, lr, momentum, weight_decay, nesterov, dampening=0, step=1):
    p, g = apply_weight_decay(p, g, lr, weight_decay, decoupled=False)
    if v is None:
        return (descend(p, g, lr),), ()
    direction = g + momentum * v
    v = update_velocity(v, g, momentum, dampening, step)
    return (descend(p, direction if nesterov else v, lr), v), ()
'''),
    Mistake("always Nesterov", "7.3", "g + momentum * v if nesterov else v", "g + momentum * v"),
    Mistake("never Nesterov", "7.3", "g + momentum * v if nesterov else v", "v"),
    Mistake("Nesterov without the momentum", "7.3", "g + momentum * v if", "g + v if"),
    Mistake("descends along the gradient", "7.3", "g + momentum * v if nesterov else v", "g + momentum * v if nesterov else g"),
    Mistake("the velocity is not remembered", "7.3", "if nesterov else v, lr), v), ()", "if nesterov else v, lr), g), ()"),
    Mistake("no tuple without a velocity", "7.3", "return (descend(p, g, lr),), ()", "return descend(p, g, lr), ()"),
    Mistake("without the empty tuple", "7.3", "return (descend(p, g + momentum * v if nesterov else v, lr), v), ()", "return descend(p, g + momentum * v if nesterov else v, lr), v"),
    Mistake("the dampening is forgotten", "7.3", "update_velocity(v, g, momentum, dampening, step)", "update_velocity(v, g, momentum)"),
    Mistake("the step is forgotten", "7.3", "update_velocity(v, g, momentum, dampening, step)", "update_velocity(v, g, momentum, dampening)"),
    Mistake("the order of v and p", "7.3", "(descend(p, g + momentum * v if nesterov else v, lr), v), ()", "(v, descend(p, g + momentum * v if nesterov else v, lr)), ()"),
    Mistake("a velocity of zeros counts as none", "7.3", "if v is None:", "if v is None or momentum:"),
    # 7.4
    Mistake("always None", "7.4", "            if set_to_none:\n                parameter.zero_grad()\n            elif parameter.grad is not None:\n                parameter.grad.zero_()", "            parameter.zero_grad()"),
    Mistake("always zeros", "7.4", "            if set_to_none:\n                parameter.zero_grad()\n            elif parameter.grad is not None:", "            if parameter.grad is not None:"),
    Mistake("None is not expected", "7.4", "elif parameter.grad is not None:", "else:"),
    Mistake("the first group only", "7.4", "for parameter in self.parameters():", "for parameter in self.parameters()[:1]:"),
    Mistake("the closure after the update", "7.4", within="OptimizerSteps", new='''
def step(self, closure=None):
    self.count_step(self.update(*self.next_step()))
    if closure is not None:
        with enable_grad():
            return closure()
'''),
    Mistake("the closure runs without gradients", "7.4", "            with enable_grad():\n                loss = closure()", "            loss = closure()"),
    Mistake("the loss is not returned", "7.4", "        return loss", "        return None"),
    Mistake("the closure is called twice", "7.4", "                loss = closure()", "                closure()\n                loss = closure()"),
    Mistake("the step is not counted", "7.4", "self.count_step(self.update(*self.next_step()))", "self.update(*self.next_step())"),
    Mistake("nobody misses a step", "7.4", "        if len(updated) < len(self.parameters()):\n            for index in set(range(len(self.parameters()))).difference(updated):\n                self.missed[index] = self.missed.get(index, 0) + 1", "        pass"),
    Mistake("those that were updated miss a step", "7.4", "for index in set(range(len(self.parameters()))).difference(updated):", "for index in updated:"),
    Mistake("one missed step at most", "7.4", "self.missed[index] = self.missed.get(index, 0) + 1", "self.missed[index] = 1"),
    Mistake("missed steps in a row only", "7.4", within="OptimizerSteps", new='''
def count_step(self, updated):
    self.steps += 1
    self.missed = {i: self.missed.get(i, 0) + 1 for i in range(len(self.parameters())) if i not in updated}
'''),
    Mistake("counted for each parameter", "7.4", "self.steps += 1", "self.steps += len(updated)"),
    Mistake("numbers begin at 0 in each group", "7.4", "enumerate(group[\"params\"], first)", "enumerate(group[\"params\"])"),
    Mistake("only those with a gradient are numbered", "7.4", "enumerate(group[\"params\"], first):\n            if p.grad is not None:", "enumerate([q for q in group[\"params\"] if q.grad is not None], first):\n            if True:"),
    Mistake("the first without a gradient ends the loop", "7.4", "        for i, p in enumerate(group[\"params\"], first):\n            if p.grad is not None:", "        for i, p in enumerate(group[\"params\"], first):\n            if p.grad is None:\n                break\n            else:"),
    Mistake("maximize is forgotten", "7.4", "-p.grad if group.get(\"maximize\") else p.grad", "p.grad"),
    Mistake("always maximize", "7.4", "-p.grad if group.get(\"maximize\") else p.grad", "-p.grad"),
    Mistake("maximize if the key is there", "7.4", "group.get(\"maximize\")", "\"lr\" in group"),
    Mistake("the gradient itself is negated", "7.4", "-p.grad if group.get(\"maximize\") else p.grad", "p.grad.mul_(-1) if group.get(\"maximize\") else p.grad"),
    Mistake("the state is forgotten", "7.4", "p, gradient, *self._state_of(i, p, group)", "p, gradient"),
    Mistake("the state as a list", "7.4", "*self._state_of(i, p, group)", "self._state_of(i, p, group)"),
    Mistake("missed steps are ignored", "7.4", "step - missed if missed else step", "step"),
    Mistake("missed steps are added", "7.4", "step - missed if missed else step", "step + missed"),
    Mistake("missed is read before _state_of", "7.4", "                row = p, gradient, *self._state_of(i, p, group)\n                by_missed.setdefault(self.missed.get(i, 0), []).append(row)", "                missed = self.missed.get(i, 0)\n                row = p, gradient, *self._state_of(i, p, group)\n                by_missed.setdefault(missed, []).append(row)"),
    Mistake("one step for all rows", "7.4", "by_missed.setdefault(self.missed.get(i, 0), []).append(row)", "by_missed.setdefault(self.missed.get(first, 0), []).append(row)"),
    Mistake("the rate of the group", "7.4", "{**group, \"lr\": lr}", "group"),
    Mistake("the group's rate wins", "7.4", "{**group, \"lr\": lr}", "{\"lr\": lr, **group}"),
    Mistake("the optimizer's settings instead of the group's", "7.4", "{**group, \"lr\": lr}", "{**self.defaults, \"lr\": lr}"),
    Mistake("the last row only", "7.4", "update_tensors(self.rule_of(group), rows, **settings)", "update_tensors(self.rule_of(group), rows[-1:], **settings)"),
    Mistake("the parameters instead of their indices", "7.4", "updated.append(i)", "updated.append(p)"),
    Mistake("nothing is returned", "7.4", "        return updated", "        return []"),
    Mistake("counted in update_group", "7.4", "        return updated", "        self.steps += 1\n        return updated"),
    # 7.5
    Mistake("the shares are swapped", "7.5", "beta * average + (1 - beta) * new", "(1 - beta) * average + beta * new"),
    Mistake("a sum instead of an average", "7.5", "beta * average + (1 - beta) * new", "beta * average + new"),
    Mistake("the mean of both", "7.5", "beta * average + (1 - beta) * new", "(average + new) / 2"),
    Mistake("written into the average", "7.5", "return beta * average + (1 - beta) * new", "average *= beta\n    average += (1 - beta) * new\n    return average"),
    Mistake("times the sum of the weights", "7.5", "average / (1 - beta**step)", "average * (1 - beta**step)"),
    Mistake("1 - beta in every step", "7.5", "1 - beta**step", "1 - beta"),
    Mistake("beta times step", "7.5", "beta**step", "(beta * step)"),
    Mistake("steps that begin at 0", "7.5", "beta**step", "beta ** (step - 1)"),
    Mistake("one step too many", "7.5", "beta**step", "beta ** (step + 1)"),
    Mistake("divided by beta to the power of step", "7.5", "(1 - beta**step)", "beta**step"),
    # 7.6
    Mistake("no decay in Adam", "7.6", "    p, g = apply_weight_decay(p, g, lr, weight_decay, decoupled)\n", "", count=2),
    Mistake("always decoupled", "7.6", "weight_decay, decoupled)", "weight_decay, True)", count=2),
    Mistake("never decoupled", "7.6", "weight_decay, decoupled)", "weight_decay, False)", count=2),
    Mistake("the average of v without the square", "7.6", "moving_average(v, g * g, betas[1])", "moving_average(v, g, betas[1])", count=2),
    Mistake("the square of the average", "7.6", "moving_average(v, g * g, betas[1])", "moving_average(v, m * m, betas[1])", count=2),
    Mistake("the absolute value instead of the square", "7.6", "moving_average(v, g * g, betas[1])", "moving_average(v, abs(g), betas[1])", count=2),
    Mistake("one beta for both", "7.6", "moving_average(v, g * g, betas[1])", "moving_average(v, g * g, betas[0])", count=2),
    Mistake("betas are swapped", "7.6", "    m = moving_average(m, g, betas[0])\n    v = moving_average(v, g * g, betas[1])", "    m = moving_average(m, g, betas[1])\n    v = moving_average(v, g * g, betas[0])", count=2),
    Mistake("no bias correction", "7.6", "    m_hat = correct_bias(m, betas[0], step)\n    v_hat = correct_bias(v, betas[1], step)", "    m_hat, v_hat = m, v"),
    Mistake("m alone is corrected", "7.6", "v_hat = correct_bias(v, betas[1], step)", "v_hat = v"),
    Mistake("v alone is corrected", "7.6", "m_hat = correct_bias(m, betas[0], step)", "m_hat = m", count=2),
    Mistake("corrected with the other beta", "7.6", "correct_bias(v, betas[1], step)", "correct_bias(v, betas[0], step)"),
    Mistake("eps inside of the root", "7.6", "xp.sqrt(v_hat) + eps", "xp.sqrt(v_hat + eps)", count=2),
    Mistake("no eps", "7.6", "(xp.sqrt(v_hat) + eps)", "xp.sqrt(v_hat)", count=2),
    Mistake("no root", "7.6", "xp.sqrt(v_hat)", "v_hat", count=2),
    Mistake("the gradient instead of its average", "7.6", "lr * m_hat", "lr * g", count=2),
    Mistake("Adam uphill", "7.6", "p - lr * m_hat", "p + lr * m_hat", count=2),
    Mistake("corrected averages as state", "7.6", ", m, v), ()", ", m_hat, v_hat), ()"),
    Mistake("the moments are swapped", "7.6", ", m, v), ()", ", v, m), ()"),
    Mistake("precedence: eps is added to the quotient", "7.6", "lr * m_hat / (xp.sqrt(v_hat) + eps)", "lr * m_hat / xp.sqrt(v_hat) + eps", count=2),
    Mistake("no largest v", "7.6", "    v_max = xp.maximum(v_max, v)\n", ""),
    Mistake("the smallest v", "7.6", "xp.maximum(v_max, v)", "xp.minimum(v_max, v)"),
    Mistake("one number for the whole matrix", "7.6", "xp.maximum(v_max, v)", "xp.maximum(xp.max(v_max), xp.max(v))"),
    Mistake("the largest is compared with the average before", "7.6", "    v = moving_average(v, g * g, betas[1])\n    v_max = xp.maximum(v_max, v)", "    v_max = xp.maximum(v_max, v)\n    v = moving_average(v, g * g, betas[1])"),
    Mistake("the largest squared gradient", "7.6", "xp.maximum(v_max, v)", "xp.maximum(v_max, g * g)"),
    Mistake("the largest, but unused", "7.6", "correct_bias(v_max, betas[1], step)", "correct_bias(v, betas[1], step)"),
    Mistake("the largest is not corrected", "7.6", "v_hat = correct_bias(v_max, betas[1], step)", "v_hat = v_max"),
    Mistake("the largest of corrected averages is kept", "7.6", "    v_max = xp.maximum(v_max, v)\n", "    v_max = xp.maximum(v_max, correct_bias(v, betas[1], step))\n"),
    Mistake("the largest goes on as the average", "7.6", ", m, v, v_max), ()", ", m, v_max, v_max), ()"),
    Mistake("the average from the largest", "7.6", "    v_max = xp.maximum(v_max, v)\n", "    v = v_max = xp.maximum(v_max, v)\n"),
    Mistake("the largest is not returned", "7.6", ", m, v, v_max), ()", ", m, v), ()"),
    # 7.7
    Mistake("a tall matrix stays transposed", "7.7", "return xp.matrix_transpose(X) if tall else X", "return X"),
    Mistake("always transposed at the end", "7.7", "return xp.matrix_transpose(X) if tall else X", "return xp.matrix_transpose(X)"),
    Mistake("never transposed: the larger product", "7.7", "tall = G.shape[-2] > G.shape[-1]", "tall = False"),
    Mistake("wide matrices are transposed", "7.7", "G.shape[-2] > G.shape[-1]", "G.shape[-2] < G.shape[-1]"),
    Mistake("the axes of the batch", "7.7", "G.shape[-2] > G.shape[-1]", "G.shape[0] > G.shape[1]"),
    Mistake("one norm for the batch", "7.7", "xp.sum(X * X, axis=(-2, -1), keepdims=True)", "xp.sum(X * X)"),
    Mistake("a norm for each row", "7.7", "axis=(-2, -1)", "axis=-1"),
    Mistake("without a norm", "7.7", "    X = X / (xp.sqrt(xp.sum(X * X, axis=(-2, -1), keepdims=True)) + 1e-7)\n", ""),
    Mistake("the squared norm", "7.7", "xp.sqrt(xp.sum(X * X, axis=(-2, -1), keepdims=True))", "xp.sum(X * X, axis=(-2, -1), keepdims=True)"),
    Mistake("the largest number for the norm", "7.7", "xp.sqrt(xp.sum(X * X, axis=(-2, -1), keepdims=True))", "xp.max(abs(X), axis=(-2, -1), keepdims=True)"),
    Mistake("zeros become NaN", "7.7", " + 1e-7", ""),
    Mistake("one round", "7.7", "for _ in range(steps):", "for _ in range(1):"),
    Mistake("always five rounds", "7.7", "range(steps)", "range(5)"),
    Mistake("X^T X", "7.7", "A = X @ xp.matrix_transpose(X)", "A = xp.matrix_transpose(X) @ X"),
    Mistake("a sign in the polynomial", "7.7", "-4.7750 * A + 2.0315", "4.7750 * A + 2.0315"),
    Mistake("A squared number by number", "7.7", "A @ A", "A * A"),
    Mistake("the other side", "7.7", "3.4445 * X + (-4.7750 * A + 2.0315 * (A @ A)) @ X", "(-4.7750 * A + 2.0315 * (A @ A)) @ X"),
    Mistake("the cubic of Newton and Schulz", "7.7", "3.4445 * X + (-4.7750 * A + 2.0315 * (A @ A)) @ X", "1.5 * X - 0.5 * A @ X"),
    Mistake("written into G", "7.7", "    X = X / (xp", "    X /= (xp"),
    # 7.8
    Mistake("no decay in Muon", "7.8", "    p, _ = apply_weight_decay(p, g, lr, weight_decay, decoupled=True)\n", ""),
    Mistake("decay in the gradient", "7.8", "p, _ = apply_weight_decay(p, g, lr, weight_decay, decoupled=True)", "p, g = apply_weight_decay(p, g, lr, weight_decay, decoupled=False)"),
    Mistake("a velocity instead of an average", "7.8", "    m = moving_average(m, g, momentum)\n", "    m = update_velocity(m, g, momentum)\n"),
    Mistake("Muon is always Nesterov's", "7.8", "direction = moving_average(m, g, momentum) if nesterov else m", "direction = moving_average(m, g, momentum)"),
    Mistake("Muon is never Nesterov's", "7.8", "direction = moving_average(m, g, momentum) if nesterov else m", "direction = m"),
    Mistake("the direction is remembered", "7.8", "rate), m), ()", "rate), direction), ()"),
    Mistake("the orthogonal direction is remembered", "7.8", "rate), m), ()", "rate), orthogonalise(xp, direction)), ()"),
    Mistake("the gradient is orthogonalised before the average", "7.8", new='''
def muon_update(xp, p, g, m, *, lr, momentum, nesterov, weight_decay):
    p, _ = apply_weight_decay(p, g, lr, weight_decay, decoupled=True)
    g = orthogonalise(xp, g)
    m = moving_average(m, g, momentum)
    direction = moving_average(m, g, momentum) if nesterov else m
    rate = lr * math.sqrt(max(1.0, p.shape[-2] / max(1, p.shape[-1])))
    return (descend(p, direction, rate), m), ()
'''),
    Mistake("not orthogonalised", "7.8", "orthogonalise(xp, direction)", "direction"),
    Mistake("the rate of all shapes", "7.8", "lr * math.sqrt(max(1.0, p.shape[-2] / max(1, p.shape[-1])))", "lr"),
    Mistake("no root of the ratio", "7.8", "math.sqrt(max(1.0, p.shape[-2] / max(1, p.shape[-1])))", "max(1.0, p.shape[-2] / max(1, p.shape[-1]))"),
    Mistake("columns / rows", "7.8", "p.shape[-2] / max(1, p.shape[-1])", "p.shape[-1] / max(1, p.shape[-2])"),
    Mistake("wide matrices get less", "7.8", "max(1.0, p.shape[-2] / max(1, p.shape[-1]))", "p.shape[-2] / max(1, p.shape[-1])"),
    Mistake("the first two axes", "7.8", "p.shape[-2] / max(1, p.shape[-1])", "p.shape[0] / max(1, p.shape[1])"),
    Mistake("a division by no columns", "7.8", "max(1, p.shape[-1])", "p.shape[-1]"),
    Mistake("Muon uphill", "7.8", "descend(p, orthogonalise(xp, direction), rate)", "descend(p, -orthogonalise(xp, direction), rate)"),
    Mistake("rate is not used", "7.8", "orthogonalise(xp, direction), rate)", "orthogonalise(xp, direction), lr)"),
    Mistake("two results without the empty tuple", "7.8", "return (descend(p, orthogonalise(xp, direction), rate), m), ()", "return descend(p, orthogonalise(xp, direction), rate), m"),
]  # fmt: skip

UNUSED = "the rate matters only for a decoupled decay"
PRODUCT = "a product does not depend on the order"
SHAPE = "a parameter, its gradient and its average have the same shape"
DROPPED = "a decoupled decay leaves the gradient as it is, and it is not used"
COUNTED = "without missed parameters, the loop has no rounds: the condition saves time"

EQUIVALENT = {
    '7.1 update_velocity: always the first value in "g * (1 - dampening * (step > 1)) if dampening else g"': "a product with 1: the condition saves time",
    '7.3 sgd_update: lr -> momentum in "apply_weight_decay(p, g, lr, weight_decay, decoupled=False)"': UNUSED,
    '7.3 sgd_update: lr -> weight_decay in "apply_weight_decay(p, g, lr, weight_decay, decoupled=False)"': UNUSED,
    '7.3 sgd_update: lr -> dampening in "apply_weight_decay(p, g, lr, weight_decay, decoupled=False)"': UNUSED,
    '7.3 sgd_update: arguments g and lr swapped in "descend(p, g, lr)"': PRODUCT,
    '7.3 sgd_update: arguments g + momentum * v if nesterov else v and lr swapped in "descend(p, g + momentum * v if nesterov else v, lr)"': PRODUCT,
    '7.4 OptimizerSteps.count_step: always true in "len(updated) < len(self.parameters())"': COUNTED,
    '7.4 OptimizerSteps.count_step: < -> <= in "len(updated) < len(self.parameters())"': COUNTED,
    '7.4 OptimizerSteps.update_group: without the argument 0 in "self.missed.get(i, 0)"': "None is as false as 0",
    '7.4 OptimizerSteps.update_group: always the first value in "step - missed if missed else step"': "a difference with 0",
    '7.4 OptimizerSteps.update_group: missed -> rows in "step - missed if missed else step"': "a difference with 0",
    '7.6 amsgrad_update: arguments v_max and v swapped in "xp.maximum(v_max, v)"': "a maximum has no order",
    '7.7 orthogonalise: > -> >= in "G.shape[-2] > G.shape[-1]"': "both products of a square matrix have the same size",
    '7.7 orthogonalise: items -2 and -1 swapped in "(-2, -1)"': "a sum over both axes",
    '7.8 muon_update: arguments lr and weight_decay swapped in "apply_weight_decay(p, g, lr, weight_decay, decoupled=True)"': "the product lr * weight_decay; if one of them is 0, nothing changes",
    '7.8 muon_update: g -> p in "apply_weight_decay(p, g, lr, weight_decay, decoupled=True)"': DROPPED,
    '7.8 muon_update: g -> m in "apply_weight_decay(p, g, lr, weight_decay, decoupled=True)"': DROPPED,
    '7.8 muon_update: arguments 1.0 and p.shape[-2] / max(1, p.shape[-1]) swapped in "max(1.0, p.shape[-2] / max(1, p.shape[-1]))"': "the larger of two",
    '7.8 muon_update: p -> g in "p.shape"': SHAPE,
    '7.8 muon_update: p -> m in "p.shape"': SHAPE,
    '7.8 muon_update: arguments 1 and p.shape[-1] swapped in "max(1, p.shape[-1])"': "the larger of two",
    '7.8 muon_update: p -> g in "p.shape" #2': SHAPE,
    '7.8 muon_update: p -> m in "p.shape" #2': SHAPE,
    '7.8 muon_update: arguments orthogonalise(xp, direction) and rate swapped in "descend(p, orthogonalise(xp, direction), rate)"': PRODUCT,
}  # fmt: skip
