"""Mistakes of students in lesson 08, and generated mutants that are right."""

# fmt: off
from mistake import Mistake

WARM = "high * (step + 1) / (self.warmup_steps + 1)"
PROGRESS = "min(length, step - self.warmup_steps) / length"
RATE = "self.min_lr + (high - self.min_lr) * self.decay(progress)"
COSINE = "0.5 * (1 + math.cos(math.pi * progress))"
LINEAR = "min(1.0, (1 - progress) / self.fraction)"
SCALE = "scale = xp.where(scale >= 1, xp.ones_like(scale), scale)  # NaN stays NaN"
CLIPPED = "*(g * scale for g in gradients)"
SHARES = "[float(count / total) if total else 1 / len(counts) for count in counts]"
TARGETS = "count_targets(self.loss_fn, y) for _, y in batches"
FAILED = "            self.zero_grad()  # else the next step would add to the gradients of this one\n"

MISTAKES = [
    # 8.1
    Mistake("the first rate is 0", "8.1", WARM, "high * step / (self.warmup_steps + 1)"),
    Mistake("the warm-up ends one step early", "8.1", WARM, "high * (step + 1) / self.warmup_steps"),
    Mistake("the warm-up starts at min_lr", "8.1", WARM, "self.min_lr + (high - self.min_lr) * (step + 1) / (self.warmup_steps + 1)"),
    Mistake("progress counts from step 0", "8.1", PROGRESS, "min(length, step) / length"),
    Mistake("progress over all steps", "8.1", "max(1, self.total_steps - self.warmup_steps)", "max(1, self.total_steps)"),
    Mistake("progress goes on after the end", "8.1", PROGRESS, "(step - self.warmup_steps) / length"),
    Mistake("progress starts again after the end", "8.1", PROGRESS, "((step - self.warmup_steps) % length) / length"),
    Mistake("the decay has no length", "8.1", "max(1, self.total_steps - self.warmup_steps)", "self.total_steps - self.warmup_steps"),
    Mistake("the minimum is added", "8.1", RATE, "self.min_lr + high * self.decay(progress)"),
    Mistake("no minimum", "8.1", RATE, "high * self.decay(progress)"),
    Mistake("the minimum is a limit", "8.1", RATE, "max(self.min_lr, high * self.decay(progress))"),
    Mistake("a straight line instead of decay", "8.1", "self.decay(progress)", "(1 - progress)"),
    Mistake("a maximum of 0 is no maximum", "8.1", "1.0 if self.max_lr is None else self.max_lr", "self.max_lr or 1.0"),
    Mistake("negative steps", "8.1", "not step >= 0", "False"),
    Mistake("NaN is a step", "8.1", "not step >= 0", "step < 0"),
    # 8.2
    Mistake("degrees", "8.2", COSINE, "0.5 * (1 + math.cos(180 * progress))"),
    Mistake("a whole wave", "8.2", COSINE, "0.5 * (1 + math.cos(2 * math.pi * progress))"),
    Mistake("a quarter of a wave", "8.2", COSINE, "math.cos(math.pi / 2 * progress)"),
    Mistake("rises instead of falling", "8.2", COSINE, "0.5 * (1 - math.cos(math.pi * progress))"),
    Mistake("not halved", "8.2", COSINE, "1 + math.cos(math.pi * progress)"),
    Mistake("without a limit of 1", "8.2", LINEAR, "(1 - progress) / self.fraction"),
    Mistake("the fraction is ignored", "8.2", LINEAR, "1 - progress"),
    Mistake("the decay starts after the fraction", "8.2", LINEAR, "1.0 if progress < self.fraction else (1 - progress) / (1 - self.fraction) if self.fraction < 1 else 0.0"),
    Mistake("multiplied by the fraction", "8.2", LINEAR, "min(1.0, (1 - progress) * self.fraction)"),
    # 8.3
    Mistake("a norm for each gradient", "8.3", new="""
def clip_gradients(xp, *gradients, max_norm):
    norms = [xp.sqrt(xp.sum(g * g)) for g in gradients]
    return (norms[0], *(g * xp.minimum(xp.ones_like(n), max_norm / (n + 1e-6)) for g, n in zip(gradients, norms, strict=True))), ()
"""),
    Mistake("each number is limited", "8.3", CLIPPED, "*(xp.clip(g, -max_norm, max_norm) for g in gradients)"),
    Mistake("the sum of the norms", "8.3", "xp.sqrt(sum(squares[1:], squares[0]))", "sum(xp.sqrt(s) for s in squares)"),
    Mistake("no root", "8.3", "xp.sqrt(sum(squares[1:], squares[0]))", "sum(squares[1:], squares[0])"),
    Mistake("the largest norm", "8.3", "xp.sqrt(sum(squares[1:], squares[0]))", "xp.sqrt(xp.max(xp.stack(squares)))"),
    Mistake("the first gradient's norm", "8.3", "xp.sqrt(sum(squares[1:], squares[0]))", "xp.sqrt(squares[0])"),
    Mistake("small gradients grow", "8.3", SCALE, ""),
    Mistake("without the small number", "8.3", "norm + 1e-6", "norm"),
    Mistake("NaN is lost", "8.3", "xp.where(scale >= 1, xp.ones_like(scale), scale)", "xp.where(scale < 1, scale, xp.ones_like(scale))"),
    Mistake("an if reads the factor", "8.3", SCALE, "scale = xp.ones_like(scale) if scale >= 1 else scale"),
    Mistake("a factor of Python", "8.3", SCALE, "scale = xp.asarray(1.0 if float(scale) >= 1 else float(scale), dtype=norm.dtype)"),
    Mistake("only long gradients are copied", "8.3", SCALE, "if norm <= max_norm:\n        return (norm, *gradients), ()"),
    Mistake("the gradients as vectors", "8.3", CLIPPED, "*(f * scale for f in flat)"),
    Mistake("writes into the gradients", "8.3", "    return (norm, ", "    for g in gradients:\n        g *= scale\n    return (norm, *gradients), ()\n    return (norm, "),
    Mistake("the norm after clipping", "8.3", "return (norm, ", "return (norm * scale, "),
    Mistake("no norm", "8.3", "return (norm, *(g * scale for g in gradients)), ()", "return tuple(g * scale for g in gradients), ()"),
    Mistake("the gradients are saved", "8.3", "in gradients)), ()", "in gradients)), gradients"),
    # 8.4
    Mistake("equal weights", "8.4", SHARES, "[1 / len(counts) for count in counts]"),
    Mistake("counts of 0 divide by 0", "8.4", SHARES, "[float(count / total) for count in counts]"),
    Mistake("counts of 0 weigh nothing", "8.4", "else 1 / len(counts) for", "else 0.0 for"),
    Mistake("counts of 0 weigh 1 each", "8.4", "else 1 / len(counts) for", "else 1.0 for"),
    Mistake("counts as weights", "8.4", SHARES, "[float(count) for count in counts]"),
    Mistake("tensors are read", "8.4", "_weights_of_tensors(counts, total)", "[(c / total).item() for c in counts]"),
    Mistake("the target comes first", "8.4", "loss_fn(model(x), y)", "loss_fn(y, model(x))"),
    Mistake("no backward", "8.4", "    loss.backward()\n", ""),
    Mistake("weighted after backward", "8.4", "        loss = loss * weight\n    loss.backward()", "        loss.backward()\n        loss = loss * weight\n    else:\n        loss.backward()"),
    Mistake("weighted twice", "8.4", "loss = loss * weight", "loss = loss * weight * weight"),
    Mistake("divided by the weight", "8.4", "loss = loss * weight", "loss = loss / weight"),
    Mistake("a weight of 1 is asked for", "8.4", "isinstance(weight, Tensor) or weight != 1", "weight != 1"),
    Mistake("the weight is read", "8.4", "loss = loss * weight", "loss = loss * float(weight)"),
    Mistake("a weight of 0 is skipped", "8.4", "    loss.backward()", "    if not weight:\n        return Tensor(0.0)\n    loss.backward()"),
    Mistake("the graph is returned", "8.4", "loss.detach()", "loss"),
    Mistake("gradients are cleared first", "8.4", "    loss.backward()", "    model.zero_grad()\n    loss.backward()"),
    Mistake("NaN without targets", "8.4", "_zero_if_unweighted(loss.detach(), weight)", "loss.detach()"),
    Mistake("two backwards", "8.4", "    loss.backward()", "    loss.backward(retain_graph=True)\n    loss.backward()"),
    Mistake("accumulation sets training mode", "8.4", "    loss, weight = _checked_loss(", "    model.train()\n    loss, weight = _checked_loss("),
    Mistake("accumulation sets evaluation mode", "8.4", "    loss, weight = _checked_loss(", "    model.eval()\n    loss, weight = _checked_loss("),
    # 8.5
    Mistake("every batch weighs the same", "8.5", f"weights_of([{TARGETS}])", "[1 / len(batches) for _ in batches]"),
    Mistake("batches are not weighted", "8.5", f"weights_of([{TARGETS}])", "[1.0 for _ in batches]"),
    Mistake("ignored targets count", "8.5", TARGETS, "len(y) for _, y in batches"),
    Mistake("only the last loss", "8.5", "sum(losses[1:], losses[0])", "losses[-1]"),
    Mistake("the mean of weighted losses", "8.5", "sum(losses[1:], losses[0])", "sum(losses[1:], losses[0]) / len(losses)"),
    Mistake("the caller's backward is ignored", "8.5", "backward or partial(", "partial("),
    Mistake("clipped after the step", "8.5", new="""
def update(self, step=None):
    self._check_optimizers()
    self.updating = True
    for optimizer in self.optimizers:
        step(optimizer) if step else optimizer.step()
    if self.grad_clip_norm is not None:
        clip_grad_norm(self.parameters(), self.grad_clip_norm)
    self.zero_grad()
""", within="AccumulatingTrainer"),
    Mistake("never clipped", "8.5", "if self.grad_clip_norm is not None", "if False"),
    Mistake("gradients stay", "8.5", "            parameter.zero_grad()", "            pass"),
    Mistake("gradients of the optimizers only", "8.5", "parameter.zero_grad()", "None\n        for o in self.optimizers:\n            o.zero_grad()"),
    Mistake("only the first optimizer", "8.5", "for optimizer in self.optimizers:", "for optimizer in self.optimizers[:1]:"),
    Mistake("updating is not set", "8.5", "        self.updating = True\n", ""),
    Mistake("no check of the optimizers", "8.5", "        self._check_optimizers()\n", ""),
    Mistake("both steps", "8.5", "            else:\n                step(optimizer)", "            else:\n                step(optimizer)\n                optimizer.step()"),
    Mistake("accumulate clears first", "8.5", "        losses = [backward", "        self.zero_grad()\n        losses = [backward"),
    Mistake("accumulate sets training mode", "8.5", "        losses = [backward", "        self.model.train()\n        losses = [backward"),
    Mistake("the loss is read", "8.5", "return sum(losses[1:], losses[0])", "return sum(loss.item() for loss in losses)"),
    Mistake("each part is clipped", "8.5", within="AccumulatingTrainer", new="""
def accumulate(self, batches, backward=None):
    backward = backward or partial(accumulate_gradients, self.model, self.loss_fn)
    weights = weights_of([count_targets(self.loss_fn, y) for _, y in batches])
    losses = []
    for (x, y), weight in zip(batches, weights, strict=True):
        losses.append(backward(x, y, weight))
        if self.grad_clip_norm is not None:
            clip_grad_norm(self.parameters(), self.grad_clip_norm)
    return sum(losses[1:], losses[0])
"""),
    Mistake("a maximum of 0 is none", "8.5", "if self.grad_clip_norm is not None:", "if self.grad_clip_norm:"),
    Mistake("only the model is clipped", "8.5", "clip_grad_norm(parameters, ", "clip_grad_norm(self.model.parameters(), "),
    Mistake("updating before the check", "8.5", "        self._check_optimizers()\n", "        self.updating = True\n        self._check_optimizers()\n"),
    Mistake("updating before clipping", "8.5", "        self._check_optimizers()\n", "        self._check_optimizers()\n        self.updating = True\n"),
    Mistake("the check comes last", "8.5", within="AccumulatingTrainer", new="""
def update(self, step=None):
    if self.grad_clip_norm is not None:
        clip_grad_norm(self.parameters(), self.grad_clip_norm)
    self.updating = True
    for optimizer in self.optimizers:
        (step or (lambda o: o.step()))(optimizer)
    self.zero_grad()
    self._check_optimizers()
"""),
    Mistake("only the model is cleared", "8.5", "        for parameter in parameters:\n            parameter.zero_grad()", "        self.model.zero_grad()"),
    Mistake("update counts the step too", "8.5", "        for parameter in parameters:\n", "        self.step += 1\n        for parameter in parameters:\n"),
    # 8.6
    Mistake("the schedule is one step late", "8.6", "self.scheduler.apply(self.optimizers, self.step)", "self.scheduler.apply(self.optimizers, max(0, self.step - 1))"),
    Mistake("the schedule is one step early", "8.6", "self.scheduler.apply(self.optimizers, self.step)", "self.scheduler.apply(self.optimizers, self.step + 1)"),
    Mistake("no schedule", "8.6", "if self.scheduler is not None", "if False"),
    Mistake("gradients stay after an error", "8.6", FAILED, ""),
    Mistake("Ctrl-C leaves gradients", "8.6", "except BaseException", "except Exception"),
    Mistake("the error is swallowed", "8.6", "            raise\n", "            return Tensor(0.0)\n"),
    Mistake("steps are not counted", "8.6", "        self.step += 1\n", ""),
    Mistake("batches are counted", "8.6", "self.step += 1", "self.step += len(batches)"),
    Mistake("updating stays", "8.6", "        self.updating = False\n", ""),
    Mistake("updating is cleared after an error too", "8.6", FAILED, FAILED + "            self.updating = False\n"),
    Mistake("batches are not checked", "8.6", "list(checked_batches(batches))", "list(batches)"),
    Mistake("the loss is read", "8.6", "self.updating = False\n        return loss", "self.updating = False\n        return loss.item()"),
    Mistake("train mode is set", "8.6", "        self.step += 1", "        self.model.train()\n        self.step += 1"),
    Mistake("a generator is always true", "8.6", "list(checked_batches(batches))", "checked_batches(batches)"),
    Mistake("run_step is left out", "8.6", "loss = self.run_step(batches)", "loss = self.accumulate(batches)\n            self.update()"),
    Mistake("a rate for the first optimizer", "8.6", "apply(self.optimizers, ", "apply(self.optimizers[0], "),
    Mistake("optimizers are cleared after an error", "8.6", "            self.zero_grad()  #", "            [o.zero_grad() for o in self.optimizers]  #"),
    Mistake("the model is cleared after an error", "8.6", "            self.zero_grad()  #", "            self.model.zero_grad()  #"),
    Mistake("steps count with a schedule only", "8.6", "self.step += 1", "self.step += 1 if self.scheduler else 0"),
    Mistake("factors are rates", "8.6", "            self.scheduler.apply(self.optimizers, self.step)", "            for optimizer in self.optimizers:\n                optimizer.lr = self.scheduler.get_lr(self.step)"),
    # 8.7
    Mistake("the mean of means", "8.7", "float(sum(sums) / sum(counts)) if sums else math.nan", "float(sum(loss.item() for loss, _ in losses) / len(losses))"),
    Mistake("NaN of empty batches counts", "8.7", "strict=True) if n]", "strict=True)]"),
    Mistake("no targets divide by 0", "8.7", "float(sum(sums) / sum(counts)) if sums else math.nan", "float(sum(sums) / sum(counts))"),
    Mistake("no targets give 0", "8.7", "else math.nan", "else 0.0"),
    Mistake("NaN losses are left out", "8.7", "strict=True) if n]", "strict=True) if n and loss.item() == loss.item()]"),
    Mistake("the rest of the epoch is lost", "8.7", "        if pending:  # the last update has fewer batches\n            losses.append((self.train_step(pending), self._targets(pending)))\n", ""),
    Mistake("the list is never emptied", "8.7", "                pending = []\n", ""),
    Mistake("one batch too many", "8.7", "len(pending) == accumulation_steps", "len(pending) > accumulation_steps"),
    Mistake("dropout during evaluation", "8.7", "with evaluating():", "if True:"),
    Mistake("the model stays in evaluation mode", "8.7", "with evaluating():", "self.model.eval()\n        if True:"),
    Mistake("evaluation trains", "8.7", "        with evaluating():", "        self.train_epoch(loader := list(loader))\n        with evaluating():"),
    Mistake("evaluation weights batches equally", "8.7", "self._targets([(x, y)])", "1"),
    Mistake("examples instead of targets", "8.7", "self._targets(pending)", "sum(len(y) for _, y in pending)", count=2),
    Mistake("elements instead of targets", "8.7", "self._targets(pending)", "sum(y.size for _, y in pending)", count=2),
    Mistake("examples in the last update", "8.7", "        if pending:  # the last update has fewer batches\n            losses.append((self.train_step(pending), self._targets(pending)))", "        if pending:\n            losses.append((self.train_step(pending), sum(len(y) for _, y in pending)))"),
    Mistake("an epoch sets training mode", "8.7", "        pending: list[Any] = []\n", "        pending: list[Any] = []\n        self.model.train()\n"),
    Mistake("evaluation counts examples", "8.7", "self._targets([(x, y)])", "len(y)"),
    Mistake("evaluation counts elements", "8.7", "self._targets([(x, y)])", "y.size"),
    Mistake("eval, then train", "8.7", within="EpochTrainer", new="""
def evaluate(self, loader):
    self.model.eval()
    losses = [(self.loss_fn(self.model(x), y), self._targets([(x, y)])) for x, y in checked_batches(loader)]
    self.model.train()
    return mean_loss(losses)
"""),
    Mistake("the mode of the whole model comes back", "8.7", within="EpochTrainer", new="""
def evaluate(self, loader):
    mode = self.model.training
    self.model.eval()
    try:
        return mean_loss([(self.loss_fn(self.model(x), y), self._targets([(x, y)])) for x, y in checked_batches(loader)])
    finally:
        self.model.train(mode)
"""),
    Mistake("modes are lost in an error", "8.7", within="EpochTrainer", new="""
def evaluate(self, loader):
    modes = [(module, module.training) for module in self.model.modules()]
    self.model.eval()
    losses = [(self.loss_fn(self.model(x), y), self._targets([(x, y)])) for x, y in checked_batches(loader)]
    for module, mode in modes:
        module.training = mode
    return mean_loss(losses)
"""),
    Mistake("an epoch counts steps from 0", "8.7", "        pending: list[Any] = []\n", "        pending: list[Any] = []\n        self.step = 0\n"),
    Mistake("evaluation clears gradients", "8.7", "        with evaluating():", "        self.zero_grad()\n        with evaluating():"),
    Mistake("evaluation sets a seed", "8.7", "        with evaluating():", "        random.manual_seed(0)\n        with evaluating():"),
    # 8.8
    Mistake("optimizers are not saved", "8.8", "            arrays |= {f\"optimizer{index}/{name}\": a for name, a in own.items()}\n", ""),
    Mistake("all optimizers have one name", "8.8", 'f"optimizer{index}/{name}"', 'f"optimizer0/{name}"'),
    Mistake("the model's arrays have no prefix", "8.8", 'f"model/{name}"', "name"),
    Mistake("the step is one more", "8.8", '"step": self.step', '"step": self.step + 1'),
    Mistake("names are not checked", "8.8", "        _check_names(metadata)\n", ""),
    Mistake("the step is not loaded", "8.8", "self.step, self.updating = step, False", "self.updating = False"),
    Mistake("updating is not cleared", "8.8", "self.step, self.updating = step, False", "self.step = step"),
    Mistake("random numbers are not loaded", "8.8", "        random.set_generator(generator, masks)\n", ""),
    Mistake("optimizers are not loaded", "8.8", "            optimizer.load_state_dict(state)\n", "            pass\n"),
    Mistake("nothing is returned", "8.8", "        return metadata", "        pass"),
    Mistake("parameters without buffers", "8.8", "self.model.state_dict().items()", "self.model.named_parameters()"),
    Mistake("a random number is drawn", "8.8", "        _check_names(metadata)\n", "        _check_names(metadata)\n        random.next_seed()\n"),
    Mistake("names of the model may be missing", "8.8", '(arrays, "model/"))', '(arrays, "model/"), strict=False)'),
    Mistake("optimizers before the model", "8.8", '        self.model.load_state_dict(checkpoint.strip_prefix(arrays, "model/"))\n        for optimizer, state in zip(self.optimizers, states, strict=True):\n            optimizer.load_state_dict(state)\n',
            '        for optimizer, state in zip(self.optimizers, states, strict=True):\n            optimizer.load_state_dict(state)\n        self.model.load_state_dict(checkpoint.strip_prefix(arrays, "model/"))\n'),
    Mistake("the step before the model", "8.8", "        self.model.load_state_dict(", "        self.step = step\n        self.model.load_state_dict("),
    Mistake("updating before the model", "8.8", "        self.model.load_state_dict(", "        self.updating = False\n        self.model.load_state_dict("),
    Mistake("random numbers before the model", "8.8", "        self.model.load_state_dict(", "        random.set_generator(generator, masks)\n        self.model.load_state_dict("),
    Mistake("the random state is read last", "8.8", within="Trainer", new="""
def load_checkpoint(self, path):
    arrays, metadata = checkpoint.load(path)
    states, step, rng = read_training_state(path, arrays, metadata, len(self.optimizers))
    for optimizer, state in zip(self.optimizers, states, strict=True):
        optimizer.read_state(state)
    self.model.load_state_dict(checkpoint.strip_prefix(arrays, "model/"))
    for optimizer, state in zip(self.optimizers, states, strict=True):
        optimizer.load_state_dict(state)
    self.step, self.updating = step, False
    random.set_generator(*read_random_state(rng))
    return metadata
"""),
    Mistake("saving clears gradients", "8.8", "        _check_names(metadata)\n", "        _check_names(metadata)\n        self.zero_grad()\n"),
    Mistake("rates are kept", "8.8", "            optimizer.load_state_dict(state)\n", "            lr = optimizer.lr\n            optimizer.load_state_dict(state)\n            optimizer.lr = lr\n"),
    Mistake("the caller's metadata alone", "8.8", "        return metadata", '        return {name: value for name, value in metadata.items() if name not in ("step", "optimizers", "random")}'),
]

ORDER = "the order does not matter"
TIMES_ONE = "a loss times 1 is the loss"
ONE_BATCH = "the weight of a single batch is 1 either way"
STRICT = "there is one weight for each batch"
CHECKED = "read_training_state has checked the number of states"

EQUIVALENT = {
    '8.1 Schedule.get_lr: < -> <= in "step < self.warmup_steps"': "step number warmup_steps has the whole rate in both cases",
    '8.1 Schedule.get_lr: arguments 1 and self.total_steps - self.warmup_steps swapped in "max(1, self.total_steps - self.warmup_steps)"': ORDER,
    '8.1 Schedule.get_lr: arguments length and step - self.warmup_steps swapped in "min(length, step - self.warmup_steps)"': ORDER,
    '8.2 LinearSchedule.decay: arguments 1.0 and (1 - progress) / self.fraction swapped in "min(1.0, (1 - progress) / self.fraction)"': ORDER,
    '8.3 clip_gradients: -1 -> -2 in "(-1,)"': "NumPy infers an axis from any negative number",
    '8.3 clip_gradients: >= -> > in "scale >= 1"': "a scale of 1 is replaced by 1",
    '8.3 clip_gradients: scale -> norm in "xp.ones_like(scale)"': "both have the same shape and dtype",
    '8.4 accumulate_gradients: always true in "isinstance(weight, Tensor) or weight != 1"': TIMES_ONE,
    '8.5 AccumulatingTrainer.accumulate: always true in "len(batches) > 1"': ONE_BATCH,
    '8.5 AccumulatingTrainer.accumulate: > -> >= in "len(batches) > 1"': ONE_BATCH,
    '8.5 AccumulatingTrainer.accumulate: 1 -> 0 in "len(batches) > 1"': ONE_BATCH,
    '8.5 AccumulatingTrainer.accumulate: without strict=True in "zip(batches, weights, strict=True)"': STRICT,
    '8.5 AccumulatingTrainer.accumulate: True -> False in "zip(batches, weights, strict=True)"': STRICT,
    '8.7 mean_loss: n -> _ in "[loss.item() * n for (loss, _), n in zip(losses, counts, strict=True) ..."': "the count before and after item() are 0 together",
    '8.7 mean_loss: without strict=True in "zip(losses, counts, strict=True)"': "there is one count for each loss",
    '8.7 mean_loss: True -> False in "zip(losses, counts, strict=True)"': "there is one count for each loss",
    '8.8 Trainer.save_checkpoint: without .numpy() in "t.numpy()"': "checkpoint.save converts tensors to arrays",
    '8.8 Trainer.load_checkpoint: without strict=True in "zip(self.optimizers, states, strict=True)"': CHECKED,
    '8.8 Trainer.load_checkpoint: True -> False in "zip(self.optimizers, states, strict=True)"': CHECKED,
    '8.8 Trainer.load_checkpoint: without strict=True in "zip(self.optimizers, states, strict=True)" #2': CHECKED,
    '8.8 Trainer.load_checkpoint: True -> False in "zip(self.optimizers, states, strict=True)" #2': CHECKED,
}
