"""Right solutions of lesson 07 that differ from the package's, which the inline tests accept."""

from mistake import Alternative

ALTERNATIVES = [
    # 7.1
    Alternative("the sum of a negative step", "7.1", "return p - lr * direction", "return p + -lr * direction"),
    Alternative("the step has a name", "7.1", "return p - lr * direction", "step = direction * lr\n    return p - step"),
    Alternative("an if for the first step", "7.1", new='''
def update_velocity(v, g, momentum, dampening=0, step=1):
    if step > 1:
        g = g * (1 - dampening)
    return v * momentum + g
'''),
    Alternative("a copy, written into", "7.1", new='''
def descend(p, direction, lr):
    p = 1 * p
    p -= lr * direction
    return p
'''),
    # 7.2
    Alternative("nested ifs", "7.2", new='''
def apply_weight_decay(p, g, lr, weight_decay, decoupled):
    if weight_decay != 0:
        if decoupled:
            p = p - lr * weight_decay * p
        else:
            g = g + weight_decay * p
    return p, g
'''),
    Alternative("a list instead of a pair", "7.2", "return p, g + weight_decay * p", "return [p, weight_decay * p + g]"),
    Alternative("elif", "7.2", new='''
def apply_weight_decay(p, g, lr, weight_decay, decoupled):
    if weight_decay and decoupled:
        p = (1 - lr * weight_decay) * p
    elif weight_decay:
        g = g + p * weight_decay
    return p, g
'''),
    # 7.3
    Alternative("without the functions", "7.3", new='''
def sgd_update(xp, p, g, v=None, *, lr, momentum, weight_decay, nesterov, dampening=0, step=1):
    if weight_decay:
        g = g + weight_decay * p
    if v is None:
        return (p - lr * g,), ()
    v = momentum * v + (g if step == 1 else (1 - dampening) * g)
    if nesterov:
        return (p - lr * (g + momentum * v), v), ()
    return (p - lr * v, v), ()
'''),
    Alternative("one return", "7.3", new='''
def sgd_update(xp, p, g, v=None, *, lr, momentum, weight_decay, nesterov, dampening=0, step=1):
    _, direction = apply_weight_decay(p, g, lr, weight_decay, False)
    state = ()
    if v is not None:
        decayed = direction
        v = direction = update_velocity(v, decayed, momentum, dampening, step)
        if nesterov:
            direction = decayed + momentum * v
        state = (v,)
    return (descend(p, direction, lr), *state), ()
'''),
    Alternative("Nesterov as a second velocity", "7.3", "g + momentum * v if nesterov else v", "update_velocity(v, g, momentum) if nesterov else v"),
    # 7.4
    Alternative("one call for each row", "7.4", within="OptimizerSteps", new='''
def update_group(self, group, first, step, lr):
    updated = []
    for i, p in enumerate(group["params"], first):
        if p.grad is None:
            continue
        gradient = -p.grad if group.get("maximize") else p.grad
        row = (p, gradient, *self._state_of(i, p, group))
        settings = self.settings({**group, "lr": lr}, step - self.missed.get(i, 0))
        update_tensors(self.rule_of(group), [row], **settings)
        updated.append(i)
    return updated
'''),
    Alternative("a tuple of indices", "7.4", "        return updated", "        return tuple(updated)"),
    Alternative("an index that counts", "7.4", within="OptimizerSteps", new='''
def update_group(self, group, first, step, lr):
    rows, i = {}, first
    updated = []
    for p in group["params"]:
        if p.grad is not None:
            gradient = p.grad
            if group.get("maximize", False):
                gradient = -gradient
            state = self._state_of(i, p, group)
            missed = self.missed.get(i, 0)
            if missed not in rows:
                rows[missed] = []
            rows[missed].append([p, gradient] + list(state))
            updated.append(i)
        i += 1
    for missed in rows:
        update_tensors(self.rule_of(group), rows[missed], **self.settings(dict(group, lr=lr), step - missed))
    return updated
'''),
    Alternative("each index is looked up", "7.4", within="OptimizerSteps", new='''
def count_step(self, updated):
    for i in range(len(self.parameters())):
        if i not in updated:
            if i not in self.missed:
                self.missed[i] = 0
            self.missed[i] += 1
    self.steps = self.steps + 1
'''),
    Alternative("new zeros", "7.4", within="OptimizerSteps", new='''
def zero_grad(self, set_to_none=True):
    for group in self.param_groups:
        for p in group["params"]:
            if set_to_none:
                p.grad = None
            elif p.grad is not None:
                p.grad = Tensor(np.zeros(p.shape), dtype=p.dtype, backend=p.backend)
'''),
    Alternative("the closure first, in its own branch", "7.4", within="OptimizerSteps", new='''
def step(self, closure=None):
    if closure is None:
        loss = None
    else:
        with enable_grad():
            loss = closure()
    number, *rates = self.next_step()
    updated = self.update(number, *rates)
    self.count_step(updated)
    return loss
'''),
    # 7.5
    Alternative("a step towards the new value", "7.5", "beta * average + (1 - beta) * new", "average + (1 - beta) * (new - average)"),
    Alternative("the sum of the weights, added up", "7.5", "average / (1 - beta**step)", "average / sum((1 - beta) * beta**i for i in range(step))"),
    Alternative("math.pow", "7.5", "beta**step", "math.pow(beta, step)"),
    # 7.6
    Alternative("the learning rate last", "7.6", "p - lr * m_hat / (xp.sqrt(v_hat) + eps)", "descend(p, m_hat / (xp.sqrt(v_hat) + eps), lr)", count=2),
    Alternative("without the functions of before", "7.6", new='''
def adam_update(xp, p, g, m, v, *, lr, betas, eps, weight_decay, decoupled, step):
    b1, b2 = betas
    if weight_decay:
        if decoupled:
            p = p - lr * weight_decay * p
        else:
            g = g + weight_decay * p
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * g**2
    return (p - lr / (1 - b1**step) * m / (xp.sqrt(v) / (1 - b2**step) ** 0.5 + eps), m, v), ()
'''),
    Alternative("a power of a half", "7.6", "xp.sqrt(v_hat)", "v_hat**0.5", count=2),
    Alternative("xp.square", "7.6", "g * g", "xp.square(g)", count=2),
    Alternative("a choice instead of a maximum", "7.6", "xp.maximum(v_max, v)", "xp.where(v > v_max, v, v_max)"),
    # 7.7
    Alternative("two functions of one", "7.7", new='''
def orthogonalise(xp, G, steps=5):
    if G.shape[-2] > G.shape[-1]:
        return xp.matrix_transpose(orthogonalise(xp, xp.matrix_transpose(G), steps))
    X = G / (xp.sqrt(xp.sum(G**2, axis=(-2, -1), keepdims=True)) + 1e-7)
    for _ in range(steps):
        A = X @ xp.matrix_transpose(X)
        AX = A @ X
        X = 3.4445 * X - 4.7750 * AX + 2.0315 * (A @ AX)
    return X
'''),
    Alternative("NumPy's norm", "7.7", "xp.sqrt(xp.sum(X * X, axis=(-2, -1), keepdims=True))", "xp.linalg.matrix_norm(X, keepdims=True)"),
    # 7.8
    Alternative("an if for tall matrices", "7.8", new='''
def muon_update(xp, p, g, m, *, lr, momentum, nesterov, weight_decay):
    rows, columns = p.shape[-2:]
    m = momentum * m + (1 - momentum) * g
    direction = momentum * m + (1 - momentum) * g if nesterov else m
    rate = lr
    if rows > columns:
        rate = lr * (rows / max(columns, 1)) ** 0.5
    return (p * (1 - lr * weight_decay) - rate * orthogonalise(xp, direction), m), ()
'''),
    Alternative("Nesterov in an if", "7.8", "    direction = moving_average(m, g, momentum) if nesterov else m\n", "    direction = m\n    if nesterov:\n        direction = moving_average(direction, g, momentum)\n"),
    # Written without a look at those above, or at the tests.
    Alternative("a plain step decays the weights", "7.3", new="""
@op
def sgd_update(xp, p, g, v=None, *, lr, momentum, weight_decay, nesterov, dampening=0, step=1):
    if v is None:
        p, g = apply_weight_decay(p, g, lr, weight_decay, True)
        return (p - lr * g,), tuple()
    g = apply_weight_decay(p, g, lr, weight_decay, False)[1]
    v = update_velocity(v, g, momentum, dampening, step)
    if not nesterov:
        return (p - lr * v, v), ()
    return (p - lr * g - lr * momentum * v, v), ()
"""),
    Alternative("sorted by missed steps", "7.4", within="OptimizerSteps", new="""
def update_group(self, group, first, step, lr):
    indices = [first + k for k, p in enumerate(group["params"]) if p.grad is not None]
    rows = {}
    for i in indices:
        p = group["params"][i - first]
        sign = -1.0 if group.get("maximize") else 1.0
        rows[i] = (p, p.grad * sign, *self._state_of(i, p, group))
    counts = sorted({self.missed.get(i, 0) for i in indices})
    for count in counts:
        chosen = [rows[i] for i in indices if self.missed.get(i, 0) == count]
        settings = self.settings(dict(group, lr=lr), step - count)
        update_tensors(self.rule_of(group), chosen, **settings)
    return indices
"""),
    Alternative("the form of PyTorch", "7.6", new="""
@op
def adam_update(xp, p, g, m, v, *, lr, betas, eps, weight_decay, decoupled, step):
    beta1, beta2 = betas
    p, g = apply_weight_decay(p, g, lr, weight_decay, decoupled)
    m = m + (1 - beta1) * (g - m)
    v = beta2 * v + (1 - beta2) * g**2
    denominator = xp.sqrt(v) / math.sqrt(1 - beta2**step) + eps
    return (p - lr / (1 - beta1**step) * (m / denominator), m, v), ()
@op
def amsgrad_update(xp, p, g, m, v, v_max, *, lr, betas, eps, weight_decay, decoupled, step):
    beta1, beta2 = betas
    p, g = apply_weight_decay(p, g, lr, weight_decay, decoupled)
    m = m + (1 - beta1) * (g - m)
    v = beta2 * v + (1 - beta2) * g**2
    v_max = xp.where(v > v_max, v, v_max)
    denominator = xp.sqrt(v_max) / math.sqrt(1 - beta2**step) + eps
    return (p - lr / (1 - beta1**step) * (m / denominator), m, v, v_max), ()
"""),
    Alternative("tall matrices from the other side", "7.7", new="""
def orthogonalise(xp, G, steps=5):
    X = G / (xp.sqrt(xp.sum(G**2, axis=(-1, -2), keepdims=True)) + 1e-7)
    if G.shape[-2] <= G.shape[-1]:
        for _ in range(steps):
            A = X @ xp.matrix_transpose(X)
            X = 3.4445 * X + (-4.7750 * A + 2.0315 * A @ A) @ X
    else:
        for _ in range(steps):
            A = xp.matrix_transpose(X) @ X
            X = 3.4445 * X + X @ (-4.7750 * A + 2.0315 * A @ A)
    return X
"""),
    Alternative("permuted axes", "7.7", new="""
def orthogonalise(xp, G, steps=5):
    def turned(x):
        return xp.permute_dims(x, (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))
    if G.shape[-2] > G.shape[-1]:
        return turned(orthogonalise(xp, turned(G), steps))
    norm = xp.sqrt(xp.sum(G * G, axis=(-2, -1), keepdims=True))
    X = G / (norm + 1e-7)
    for _ in range(steps):
        A = xp.matmul(X, turned(X))
        AX = A @ X
        X = 3.4445 * X - 4.7750 * AX + 2.0315 * (A @ AX)
    return X
"""),
]  # fmt: skip
