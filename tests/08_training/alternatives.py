"""Right solutions of lesson 08 that differ from the package's, which the inline tests accept."""

# fmt: off
from mistake import Alternative

SHARES = "[float(count / total) if total else 1 / len(counts) for count in counts]"

ALTERNATIVES = [
    Alternative("the whole rate at the end of the warm-up", "8.1", "step < self.warmup_steps", "step <= self.warmup_steps and self.warmup_steps"),
    Alternative("the decay first", "8.1", within="Schedule", new="""
def get_lr(self, step):
    if step < 0 or step != step:
        raise ValueError(f"step must be at least 0, not {step}")
    high, w, total = self.max_lr, self.warmup_steps, self.total_steps
    if high is None:
        high = 1
    if step >= w:
        progress = 0.0 if step == w else min(1.0, (step - w) / max(total - w, 1))
        share = self.decay(progress)
        return high * share + self.min_lr * (1 - share)
    return high / (w + 1) * (step + 1)
"""),
    Alternative("half a cosine by its square", "8.2", "0.5 * (1 + math.cos(math.pi * progress))", "math.cos(math.pi * progress / 2) ** 2"),
    Alternative("a sine", "8.2", "0.5 * (1 + math.cos(math.pi * progress))", "(1 - math.sin(math.pi * (progress - 0.5))) / 2"),
    Alternative("two cases", "8.2", "min(1.0, (1 - progress) / self.fraction)", "1.0 if progress <= 1 - self.fraction else (1 - progress) / self.fraction"),
    Alternative("a ramp from the start of the decay", "8.2", "min(1.0, (1 - progress) / self.fraction)", "1 - max(0.0, progress - (1 - self.fraction)) / self.fraction"),
    Alternative("sums of squares", "8.3", new="""
def clip_gradients(xp, *gradients, max_norm):
    total = 0
    for g in gradients:
        total = total + xp.sum(g * g)
    norm = xp.sqrt(total)
    factor = max_norm / (norm + 1e-6)
    factor = xp.where(factor > 1, xp.ones_like(factor), factor)
    results = [norm]
    for g in gradients:
        results.append(factor * g)
    return tuple(results), ()
"""),
    Alternative("one long vector", "8.3", new="""
def clip_gradients(xp, *gradients, max_norm):
    whole = xp.concat([xp.reshape(g, (-1,)) for g in gradients])
    norm = xp.sqrt(xp.sum(xp.square(whole)))
    scale = xp.minimum(max_norm / (norm + 1e-6), xp.ones_like(norm))
    return (norm, *[g * scale for g in gradients]), ()
"""),
    Alternative("the norm of norms", "8.3", new="""
def clip_gradients(xp, *gradients, max_norm):
    norms = xp.stack([xp.linalg.vector_norm(g) for g in gradients])
    norm = xp.linalg.vector_norm(norms)
    scale = xp.clip(max_norm / (norm + 1e-6), None, 1.0)
    return (norm, *(xp.multiply(g, scale) for g in gradients)), ()
"""),
    Alternative("weights by a loop", "8.4", new="""
def weights_of(counts):
    total = sum(counts)
    if isinstance(total, Tensor):
        return _weights_of_tensors(counts, total)
    if total == 0:
        return [1 / len(counts)] * len(counts)
    weights = []
    for count in counts:
        weights.append(float(count) / float(total))
    return weights
"""),
    Alternative("always multiplied", "8.4", new="""
def accumulate_gradients(model, loss_fn, x, y, weight=1.0):
    prediction = model(x)
    loss, weight = _checked_loss(loss_fn(prediction, y), weight)
    weighted = weight * loss
    weighted.backward()
    return _zero_if_unweighted(weighted.detach(), weight)
"""),
    Alternative("the gradient is weighted", "8.4", "    if isinstance(weight, Tensor) or weight != 1:\n        loss = loss * weight\n    loss.backward()\n",
                "    start = weight if isinstance(weight, Tensor) else Tensor(weight, dtype=loss.dtype)\n    loss.backward(start)\n    loss = loss.detach() * weight\n"),
    Alternative("a loop of batches", "8.5", within="AccumulatingTrainer", new="""
def accumulate(self, batches, backward=None):
    if backward is None:
        def backward(x, y, weight):
            return accumulate_gradients(self.model, self.loss_fn, x, y, weight)
    counts = []
    for _, y in batches:
        counts.append(count_targets(self.loss_fn, y))
    total = None
    for (x, y), weight in zip(batches, weights_of(counts)):
        loss = backward(x, y, weight)
        total = loss if total is None else total + loss
    return total
"""),
    Alternative("zero_grad of the trainer", "8.5", within="AccumulatingTrainer", new="""
def update(self, step=None):
    self._check_optimizers()
    if self.grad_clip_norm is not None:
        clip_grad_norm(self.parameters(), max_norm=self.grad_clip_norm)
    self.updating = True
    run = step or (lambda optimizer: optimizer.step())
    for o in self.optimizers:
        run(o)
    self.zero_grad()
"""),
    Alternative("a generator of targets", "8.5", "[count_targets(self.loss_fn, y) for _, y in batches]", "list(map(lambda b: count_targets(self.loss_fn, b[1]), batches))"),
    Alternative("finally", "8.6", within="SteppingTrainer", new="""
def train_step(self, batches):
    batches = [*checked_batches(batches)]
    if len(batches) == 0:
        raise ValueError("there must be at least one batch")
    if self.scheduler:
        self.scheduler.apply(self.optimizers, self.step)
    done = False
    try:
        loss = self.run_step(batches)
        done = True
    finally:
        if not done:
            self.zero_grad()
    self.step, self.updating = self.step + 1, False
    return loss
"""),
    Alternative("gradients are cleared by hand", "8.6", "            self.zero_grad()  #", "            [p.zero_grad() for p in self.parameters()]  #"),
    Alternative("sums in a loop", "8.7", new="""
def mean_loss(losses):
    if len(losses) == 0:
        raise ValueError("no batch")
    total, many = 0.0, 0
    for loss, count in losses:
        count = int(count.item()) if isinstance(count, Tensor) else int(count)
        if count > 0:
            total += loss.item() * count
            many += count
    return total / many if many else float("nan")
"""),
    Alternative("slices of a list", "8.7", within="EpochTrainer", new="""
def train_epoch(self, loader, accumulation_steps=1):
    n = check_integer("accumulation_steps", accumulation_steps, 1)
    batches = list(checked_batches(loader))
    groups = [batches[i : i + n] for i in range(0, len(batches), n)]
    return mean_loss([(self.train_step(g), self._targets(g)) for g in groups])
"""),
    Alternative("a loop in the evaluation", "8.7", within="EpochTrainer", new="""
def evaluate(self, loader):
    losses = []
    with evaluating():
        for batch in checked_batches(loader):
            x, y = batch
            losses.append((self.loss_fn(self.model(x), y), count_targets(self.loss_fn, y)))
    return mean_loss(losses)
"""),
    Alternative("a new dict of metadata", "8.8", within="Trainer", new="""
def save_checkpoint(self, path, **metadata):
    _check_names(metadata)
    arrays = {}
    for name, tensor in self.model.state_dict().items():
        arrays["model/" + name] = tensor.numpy()
    settings = []
    for i in range(len(self.optimizers)):
        plain, own = split_state(self.optimizers[i].state_dict())
        settings.append(plain)
        for name in own:
            arrays[f"optimizer{i}/{name}"] = own[name]
    checkpoint.save(path, arrays, dict(metadata, step=self.step, optimizers=settings, random=random_state()))
"""),
    Alternative("optimizers before the model", "8.8", within="Trainer", new="""
def load_checkpoint(self, path):
    arrays, metadata = checkpoint.load(path)
    states, step, rng = read_training_state(path, arrays, metadata, len(self.optimizers))
    numbers = read_random_state(rng)
    for i, optimizer in enumerate(self.optimizers):
        optimizer.read_state(states[i])
    self.model.load_state_dict(checkpoint.strip_prefix(arrays, "model/"))
    for i, optimizer in enumerate(self.optimizers):
        optimizer.load_state_dict(states[i])
    random.set_generator(*numbers)
    self.updating = False
    self.step = step
    return metadata
"""),
    Alternative("decay or its two ends", "8.1", within="Schedule", new="""
def get_lr(self, step):
    if math.isnan(step) or step < 0:
        raise ValueError("step must be at least 0")
    high = self.max_lr if self.max_lr is not None else 1.0
    done, length = step - self.warmup_steps, self.total_steps - self.warmup_steps
    if done < 0:
        return (step + 1) * (high / (1 + self.warmup_steps))
    progress = done / length if done < length else float(done > 0 or length > 0)
    return self.min_lr + (high - self.min_lr) * self.decay(progress)
"""),
    Alternative("a choice of gradients, not of factors", "8.3", new="""
def clip_gradients(xp, *gradients, max_norm):
    norm = xp.sqrt(sum(xp.sum(g * g) for g in gradients))
    scale = max_norm / (norm + 1e-6)
    return (norm, *[xp.where(scale >= 1, g, g * scale) for g in gradients]), ()
"""),
    Alternative("products of vectors", "8.3", new="""
def clip_gradients(xp, *gradients, max_norm):
    flat = [xp.reshape(g, (-1,)) for g in gradients]
    norm = sum(f @ f for f in flat) ** 0.5
    scale = xp.minimum(max_norm / (norm + 1e-6), xp.ones_like(norm))
    return (norm, *[scale * g for g in gradients]), ()
"""),
    Alternative("the last weight is the rest", "8.4", SHARES, "[float(count / total) if total else 1 / len(counts) for count in counts[:-1]] + [float(1 - sum(count / total if total else 1 / len(counts) for count in counts[:-1]))]"),
    Alternative("weights by NumPy", "8.4", SHARES, "(np.array(counts) / total if total else np.full(len(counts), 1 / len(counts))).tolist()"),
    Alternative("any count is a tensor", "8.4", "isinstance(total, Tensor)", "any(isinstance(count, Tensor) for count in counts)"),
    Alternative("a sum from a tensor of 0", "8.5", "sum(losses[1:], losses[0])", "sum(losses, Tensor(0.0))"),
    Alternative("those with gradients are clipped", "8.5", "clip_grad_norm(parameters, ", "clip_grad_norm([p for p in parameters if p.grad is not None], "),
    Alternative("gradients are set to None", "8.5", "            parameter.zero_grad()", "            parameter.grad = None"),
    Alternative("the rate is set within try", "8.6", within="SteppingTrainer", new="""
def train_step(self, batches):
    pairs = [(x, y) for x, y in checked_batches(batches)]
    if not pairs:
        raise ValueError("train_step needs at least one batch")
    try:
        if self.scheduler is not None:
            self.scheduler.apply(self.optimizers, self.step)
        loss = self.run_step(pairs)
    except BaseException as error:
        self.zero_grad()
        raise error
    else:
        self.updating = False
        self.step = self.step + 1
        return loss
"""),
    Alternative("NumPy's average", "8.7", new="""
def mean_loss(losses):
    if not losses:
        raise ValueError("no batch")
    pairs = [(loss.item(), float(n.item() if isinstance(n, Tensor) else n)) for loss, n in losses]
    pairs = [(value, n) for value, n in pairs if n]
    return float(np.average(*np.transpose(pairs)[:1], weights=[n for _, n in pairs])) if pairs else math.nan
"""),
    Alternative("batches are numbered", "8.7", within="EpochTrainer", new="""
def train_epoch(self, loader, accumulation_steps=1):
    check_integer("accumulation_steps", accumulation_steps, 1)
    losses, group = [], []
    for number, batch in enumerate(checked_batches(loader), 1):
        group += [batch]
        if number % accumulation_steps == 0:
            losses += [(self.train_step(group), self._targets(group))]
            group.clear()
    if group:
        losses += [(self.train_step(group), self._targets(group))]
    return mean_loss(losses)
"""),
    Alternative("modes by hand", "8.7", within="EpochTrainer", new="""
def evaluate(self, loader):
    modes = [(module, module.training) for module in self.model.modules()]
    self.model.eval()
    try:
        return mean_loss([(self.loss_fn(self.model(x), y), self._targets([(x, y)])) for x, y in checked_batches(loader)])
    finally:
        for module, mode in modes:
            module.training = mode
"""),
    Alternative("names by a comprehension", "8.8", 'checkpoint.strip_prefix(arrays, "model/")', '{name[6:]: a for name, a in arrays.items() if name.startswith("model/")}'),
]
