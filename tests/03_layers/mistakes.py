"""Typical mistakes in lesson 03."""

from mistake import Mistake

MISTAKES = [
    # 3.1
    Mistake("the weight is not transposed", "3.1", "rows @ xp.matrix_transpose(weight)", "rows @ weight"),
    Mistake("the bias is always added", "3.1", "    if bias is not None:\n        y = y + bias\n", "    y = y + bias\n"),
    Mistake("the bias is forgotten", "3.1", "        y = y + bias\n", "        pass\n"),
    Mistake("the bias is subtracted", "3.1", "y + bias", "y - bias"),
    Mistake("a bias of zeros counts as none", "3.1", "if bias is not None:", "if bias:"),
    Mistake("the axes are not restored", "3.1", "xp.reshape(y, (*x.shape[:-1], weight.shape[0]))", "y"),
    Mistake("the shape of x is restored", "3.1", "(*x.shape[:-1], weight.shape[0])", "x.shape"),
    Mistake("the last axis has in numbers", "3.1", "weight.shape[0])", "weight.shape[1])"),
    Mistake("only the first axis counts as examples", "3.1", "math.prod(x.shape[:-1])", "x.shape[0]"),
    Mistake("all axes count as examples", "3.1", "math.prod(x.shape[:-1])", "math.prod(x.shape)"),
    Mistake("x is kept instead of the rows", "3.1", "(rows, weight, x.shape)", "(x, weight, x.shape)"),
    Mistake("the transposed weight is kept", "3.1", "(rows, weight, x.shape)", "(rows, xp.matrix_transpose(weight), x.shape)"),
    Mistake("the shape is forgotten", "3.1", "(rows, weight, x.shape)", "(rows, weight)"),
    Mistake("only y is returned", "3.1", ", (rows, weight, x.shape)", ""),
    Mistake("a sum instead of a product of matrices", "3.1", "rows @ xp.matrix_transpose(weight)", "xp.sum(rows, axis=-1, keepdims=True) * weight[:, 0]"),
    Mistake("weight and bias are changed in place", "3.1", "        y = y + bias", "        bias += 0 * bias + 1\n        y = y + bias - 1"),
    Mistake("NumPy's float64", "3.1", "    y = rows @ xp.matrix_transpose(weight)", "    y = np.asarray(rows, np.float64) @ xp.matrix_transpose(weight)"),
    Mistake("the bias is added to the inputs", "3.1", new='''
def linear(xp, x, weight, bias=None):
    rows = xp.reshape(x, (math.prod(x.shape[:-1]), x.shape[-1]))
    if bias is not None:
        rows = rows + bias
    y = rows @ xp.matrix_transpose(weight)
    return xp.reshape(y, (*x.shape[:-1], weight.shape[0])), (rows, weight, x.shape)
'''),
    # 3.2
    Mistake("children are visited in reverse", "3.2", "reversed(children)", "children"),
    Mistake("breadth before depth", "3.2", new='''
def _walk(self, prefix="", once=True):
    read, seen = self._reader(), set()
    pending = [(prefix, self, ())]
    while pending:
        name, module, parents = pending.pop(0)
        if id(module) in (seen if once else parents):
            continue
        seen.add(id(module))
        tensors, children = read(module)
        yield name, module, tensors
        for child, value in children:
            pending.append((f"{name}.{child}" if name else child, value, (*parents, id(module))))
''', within="Contents"),
    Mistake("children before parents", "3.2", new='''
def _walk(self, prefix="", once=True):
    read, seen = self._reader(), set()

    def visit(name, module, parents):
        if id(module) in (seen if once else parents):
            return
        seen.add(id(module))
        tensors, children = read(module)
        for child, value in children:
            yield from visit(f"{name}.{child}" if name else child, value, (*parents, id(module)))
        yield name, module, tensors

    return visit(prefix, self, ())
''', within="Contents"),
    Mistake("only the direct children", "3.2", new='''
def _walk(self, prefix="", once=True):
    tensors, children = self._reader()(self)
    yield prefix, self, tensors
    for name, child in children:
        yield f"{prefix}.{name}" if prefix else name, child, self._reader()(child)[0]
''', within="Contents"),
    Mistake("names begin with a dot", "3.2", 'f"{name}." if name else ""', 'f"{name}."'),
    Mistake("names without those of the parents", "3.2", "start + child, value", "child, value"),
    Mistake("the prefix is ignored", "3.2", "[(prefix, self, ())]", '[("", self, ())]'),
    Mistake("shared modules are visited twice", "3.2", "(seen if once else parents)", "parents"),
    Mistake("each module once, always", "3.2", "(seen if once else parents)", "seen"),
    Mistake("modules are marked when they are found", "3.2", new='''
def _walk(self, prefix="", once=True):
    read, seen = self._reader(), {id(self)}
    pending = [(prefix, self, (id(self),))]
    while pending:
        name, module, path = pending.pop()
        tensors, children = read(module)
        yield name, module, tensors
        found = []
        for child, value in children:
            if id(value) not in (seen if once else path):
                seen.add(id(value))
                dotted = f"{name}.{child}" if name else child
                found.append((dotted, value, (*path, id(value))))
        pending += found[::-1]
''', within="Contents"),
    Mistake("only the parent counts, not its parents", "3.2", "(*parents, id(module))", "(id(module),)"),
    Mistake("no protection against cycles", "3.2", "if id(module) in (seen if once else parents):", "if once and id(module) in seen:"),
    Mistake("all tensors below are yielded for a module", "3.2", "yield name, module, tensors", 'yield name, module, tensors + [t for _, c in children for t in read(c)[0]]'),
    Mistake("modules of equal size are taken for the same", "3.2", "            seen.add(id(module))\n            tensors", "            seen.add(len(vars(module)))\n            tensors"),
    Mistake("buffers are parameters", "3.2", "isinstance(value, Parameter) and id(value) not in seen", "id(value) not in seen"),
    Mistake("shared parameters are yielded twice", "3.2", "isinstance(value, Parameter) and id(value) not in seen", "isinstance(value, Parameter)"),
    Mistake("shared parameters are never repeated", "3.2", "                if remove_duplicate:\n                    seen", "                if True:\n                    seen"),
    Mistake("recurse is ignored", "3.2", "(prefix, recurse, remove_duplicate)", "(prefix, True, remove_duplicate)"),
    Mistake("shared modules are left out with remove_duplicate=False", "3.2", "(prefix, recurse, remove_duplicate)", "(prefix, recurse)"),
    Mistake("the names are in the wrong place of the pairs", "3.2", "yield name, value", "yield value, name"),
    Mistake("parameters() yields pairs", "3.2", "(parameter for _, parameter in", "((_, parameter) for _, parameter in"),
    Mistake("parameters() of this module alone", "3.2", "self.named_parameters(recurse=recurse)", "self.named_parameters(recurse=False)"),
    Mistake("parameters() ignores recurse", "3.2", "self.named_parameters(recurse=recurse)", "self.named_parameters()"),
    Mistake("tensors are counted, not their elements", "3.2", "sum(parameter.size for parameter in self.parameters())", "len(list(self.parameters()))"),
    Mistake("the first axis is counted", "3.2", "sum(parameter.size for", "sum(parameter.shape[0] for"),
    Mistake("buffers are counted", "3.2", "sum(parameter.size for parameter in self.parameters())", "sum(t.size for _, t in self._named_tensors())"),
    Mistake("parameters of equal values are taken for the same", "3.2", new='''
def named_parameters(self, prefix="", recurse=True, remove_duplicate=True):
    seen = []
    for name, value in self._named_tensors(prefix, recurse, remove_duplicate):
        if isinstance(value, Parameter):
            numbers = value.numpy().tolist()
            if numbers not in seen or not remove_duplicate:
                seen.append(numbers)
                yield name, value
''', within="Contents"),
    Mistake("frozen parameters are left out", "3.2", "isinstance(value, Parameter) and", "isinstance(value, Parameter) and value.requires_grad and"),
    Mistake("what has a gradient is a parameter", "3.2", "isinstance(value, Parameter) and", "value.requires_grad and"),
    Mistake("modules are told apart by their texts", "3.2", new='''
def _walk(self, prefix="", once=True):
    read, seen = self._reader(), set()
    pending = [(prefix, self, ())]
    while pending:
        name, module, parents = pending.pop()
        key = repr(module)
        if key in (seen if once else parents):
            continue
        seen.add(key)
        tensors, children = read(module)
        yield name, module, tensors
        for child, value in reversed(children):
            pending.append((f"{name}.{child}" if name else child, value, (*parents, key)))
''', within="Contents"),
    Mistake("seen modules are remembered from one walk to the next", "3.2", new='''
def _walk(self, prefix="", once=True, seen=set(), parents=()):
    if id(self) in (seen if once else parents):
        return
    seen.add(id(self))
    tensors, children = self._reader()(self)
    yield prefix, self, tensors
    for child, value in children:
        dotted = f"{prefix}.{child}" if prefix else child
        yield from value._walk(dotted, once, seen, (*parents, id(self)))
''', within="Contents"),
    # 3.3
    Mistake("only this module is set", "3.3", "reversed(list(self.modules()))", "[self]"),
    Mistake("only direct children are set", "3.3", "reversed(list(self.modules()))", "[*self.children(), self]"),
    Mistake("this module is left out", "3.3", "reversed(list(self.modules()))", "reversed(list(self.modules())[1:])"),
    Mistake("parents first", "3.3", "reversed(list(self.modules()))", "self.modules()"),
    Mistake("the own train of a class is ignored", "3.3", "module is self or type(module).train is Module.train", "True"),
    Mistake("always True", "3.3", '["training"] = mode', '["training"] = True'),
    Mistake("the mode is not checked", "3.3", "if not isinstance(mode, bool):", "if False:"),
    Mistake("wrong modes are taken as true or false", "3.3",
            'raise TypeError(f"train(mode) takes True or False, not {type(mode).__name__}")', "mode = bool(mode)"),
    Mistake("integers are accepted", "3.3", "isinstance(mode, bool)", "isinstance(mode, int)"),
    Mistake("train returns nothing", "3.3", "                module.train(mode)\n        return self", "                module.train(mode)"),
    Mistake("eval returns nothing", "3.3", "return self.train(False)", "self.train(False)"),
    Mistake("eval is training", "3.3", "return self.train(False)", "return self.train(True)"),
    Mistake("eval passes the own train of a class by", "3.3", "return self.train(False)", "return Module.train(self, False)"),
    Mistake("a recursion that never ends in a cycle", "3.3", new='''
def train(self, mode=True):
    if mode is not True and mode is not False:
        raise TypeError(f"train takes a bool, not {type(mode).__name__}")
    for child in self.children():
        child.train(mode)
    self.training = mode
    return self
''', within="Module"),
    Mistake("another attribute is set", "3.3", '__dict__["training"]', '__dict__["mode"]'),
    # 3.4
    Mistake("the weight is (in, out)", "3.4", "shape = (out_features, in_features)", "shape = (in_features, out_features)"),
    Mistake("the bias has in numbers", "3.4", "random.uniform(shape[:1],", "random.uniform(shape[1:],"),
    Mistake("plain tensors instead of parameters", "3.4", "self.weight = Parameter(", "self.weight = Tensor("),
    Mistake("the bias is a plain tensor", "3.4", "self.bias = Parameter(", "self.bias = Tensor("),
    Mistake("the bias begins at 0", "3.4", "Parameter(random.uniform(shape[:1], -bound, bound), **place)", "Parameter([0.0] * out_features, **place)"),
    Mistake("the bound has no root", "3.4", "1 / math.sqrt(in_features)", "1 / in_features"),
    Mistake("the bound is that of the outputs", "3.4", "1 / math.sqrt(in_features)", "1 / math.sqrt(out_features)"),
    Mistake("only positive weights", "3.4", "random.uniform(shape, -bound, bound)", "random.uniform(shape, 0, bound)"),
    Mistake("normal weights", "3.4", "random.uniform(shape, -bound, bound)", "random.normal(shape, bound)"),
    Mistake("weights from NumPy, which manual_seed does not repeat", "3.4", "random.uniform(shape, -bound, bound)",
            "np.random.default_rng().uniform(-bound, bound, shape).astype(np.float32)"),
    Mistake("the bias is drawn first", "3.4",
            "        self.weight = Parameter(random.uniform(shape, -bound, bound), **place)\n"
            "        self.bias = Parameter(random.uniform(shape[:1], -bound, bound), **place) if bias else None",
            "        numbers = random.uniform(shape[:1], -bound, bound) if bias else None\n"
            "        self.weight = Parameter(random.uniform(shape, -bound, bound), **place)\n"
            "        self.bias = Parameter(numbers, **place) if bias else None"),
    Mistake("there is always a bias", "3.4", " if bias else None", ""),
    Mistake("a bias is drawn for nothing", "3.4",
            "        self.bias = Parameter(random.uniform(shape[:1], -bound, bound), **place) if bias else None",
            "        numbers = random.uniform(shape[:1], -bound, bound)\n"
            "        self.bias = Parameter(numbers, **place) if bias else None"),
    Mistake("Xavier's bound", "3.4", "1 / math.sqrt(in_features) if in_features else 0.0", "math.sqrt(6 / (in_features + out_features))"),
    Mistake("no attribute bias without one", "3.4",
            "        self.bias = Parameter(random.uniform(shape[:1], -bound, bound), **place) if bias else None",
            "        if bias:\n            self.bias = Parameter(random.uniform(shape[:1], -bound, bound), **place)"),
    Mistake("no inputs are an error", "3.4", "1 / math.sqrt(in_features) if in_features else 0.0", "1 / math.sqrt(in_features)"),
    Mistake("the dtype is not passed on", "3.4", '"dtype": dtype, ', ""),
    Mistake("the backend is not passed on", "3.4", ', "backend": backend}', "}"),
    Mistake("the device is not passed on", "3.4", '"device": device, ', ""),
    Mistake("the sizes are not kept", "3.4", "        self.in_features, self.out_features = in_features, out_features\n", ""),
    Mistake("the sizes are kept in the wrong order", "3.4", "= in_features, out_features", "= out_features, in_features"),
    Mistake("the shape is not checked", "3.4", "if x.shape[-1:] != (self.in_features,):", "if False:"),
    Mistake("the first axis is checked", "3.4", "x.shape[-1:] != (self.in_features,)", "x.shape[:1] != (self.in_features,)"),
    Mistake("only matrices are accepted", "3.4", "x.shape[-1:] != (self.in_features,)", "x.ndim != 2 or x.shape[1] != self.in_features"),
    Mistake("a number has no last axis", "3.4", "x.shape[-1:] != (self.in_features,)", "x.shape[-1] != self.in_features"),
    Mistake("another kind of error", "3.4", "raise ShapeError(", "raise TypeError("),
    Mistake("forward ignores the bias", "3.4", "linear(x, self.weight, self.bias)", "linear(x, self.weight)"),
    Mistake("forward transposes", "3.4", "linear(x, self.weight, self.bias)", "linear(x, Tensor(self.weight.numpy().T), self.bias)"),
    # 3.5
    Mistake("fan in and fan out are swapped", "3.5", "max(1, tensor.shape[1] * field), max(1, tensor.shape[0] * field)",
            "max(1, tensor.shape[0] * field), max(1, tensor.shape[1] * field)"),
    Mistake("the places are forgotten", "3.5", "field = math.prod(tensor.shape[2:])", "field = 1"),
    Mistake("only the first place axis counts", "3.5", "math.prod(tensor.shape[2:])", "math.prod(tensor.shape[2:3])"),
    Mistake("the places are added", "3.5", "math.prod(tensor.shape[2:])", "sum(tensor.shape[2:]) or 1"),
    Mistake("places count for the inputs alone", "3.5", "max(1, tensor.shape[0] * field)", "max(1, tensor.shape[0])"),
    Mistake("a fan of 0", "3.5", "max(1, tensor.shape[1] * field)", "tensor.shape[1] * field"),
    Mistake("vectors are accepted", "3.5", "if tensor.ndim < 2:", "if tensor.ndim < 1:"),
    Mistake("the fan is always that of the inputs", "3.5", "[modes.index(mode)]", "[0]"),
    Mistake("modes are not checked", "3.5", "if mode not in modes:", "if False:"),
    Mistake("the variance instead of its root", "3.5", "calculate_gain(nonlinearity, a) / math.sqrt(fan)", "calculate_gain(nonlinearity, a) ** 2 / fan"),
    Mistake("the fan without a root", "3.5", "/ math.sqrt(fan)", "/ fan"),
    Mistake("the gain is forgotten", "3.5", "calculate_gain(nonlinearity, a) / math.sqrt(fan)", "1 / math.sqrt(fan)"),
    Mistake("always the gain of relu", "3.5", "calculate_gain(nonlinearity, a)", "math.sqrt(2)"),
    Mistake("the slope is ignored", "3.5", "calculate_gain(nonlinearity, a)", "calculate_gain(nonlinearity)"),
    Mistake("the standard deviation is the mean", "3.5", "normal_(tensor, 0.0, std, generator)", "normal_(tensor, std, 1.0, generator)"),
    Mistake("the generator is not passed on to normal_", "3.5", "normal_(tensor, 0.0, std, generator)", "normal_(tensor, 0.0, std)"),
    Mistake("the generator is not passed on to uniform_", "3.5", "uniform_(tensor, -bound, bound, generator)", "uniform_(tensor, -bound, bound)"),
    Mistake("a new tensor", "3.5", "return normal_(tensor, 0.0, std, generator)", "return normal_(Tensor(tensor.numpy()), 0.0, std, generator)"),
    Mistake("nothing is returned", "3.5", "return normal_(tensor, 0.0, std, generator)", "normal_(tensor, 0.0, std, generator)"),
    Mistake("Xavier's bound is the standard deviation", "3.5", "math.sqrt(6 /", "math.sqrt(2 /"),
    Mistake("Xavier with one fan", "3.5", 'sum(_fans("xavier_uniform_", tensor))', '2 * _fans("xavier_uniform_", tensor)[0]'),
    Mistake("Xavier's gain under the root", "3.5", "gain * math.sqrt(6 / sum", "math.sqrt(gain * 6 / sum"),
    Mistake("Xavier without its gain", "3.5", "gain * math.sqrt(6", "math.sqrt(6"),
    Mistake("only positive numbers", "3.5", "uniform_(tensor, -bound, bound, generator)", "uniform_(tensor, 0.0, bound, generator)"),
    Mistake("another name in the message", "3.5", '_fans("xavier_uniform_", tensor)', '_fans("xavier", tensor)'),
    # 3.6
    Mistake("p is the share that stays", "3.6", "bits >= int(p * 2**32)", "bits < int(p * 2**32)"),
    Mistake("divided by p", "3.6", "(1 / (1 - p))", "(1 / p)"),
    Mistake("multiplied by 1 - p", "3.6", "(1 / (1 - p))", "(1 - p)"),
    Mistake("not scaled", "3.6", " * (1 / (1 - p))", ""),
    Mistake("the scale is not in what is kept", "3.6", new='''
def dropout(xp, x, *, p, seed):
    keep = xp.astype(xp.random_bits(seed, x.shape) >= int(p * 2**32), x.dtype)
    return x * keep / (1 - p), (keep,)
'''),
    Mistake("booleans are kept", "3.6", new='''
def dropout(xp, x, *, p, seed):
    keep = xp.random_bits(seed, x.shape) >= int(p * 2**32)
    return xp.where(keep, x / (1 - p), xp.zeros_like(x)), (keep,)
'''),
    Mistake("one bit for each row", "3.6", "xp.random_bits(seed, x.shape)", "xp.random_bits(seed, (*x.shape[:-1], 1))"),
    Mistake("masks of NumPy's generator", "3.6", "bits = xp.random_bits(seed, x.shape)", "bits = np.random.default_rng().integers(0, 2**32, x.shape)"),
    Mistake("the limit is 31 bits", "3.6", "2**32", "2**31"),
    Mistake("a float64 mask", "3.6", "xp.astype(bits >= int(p * 2**32), x.dtype)", "xp.astype(bits >= int(p * 2**32), xp.float64)"),
    Mistake("x is kept", "3.6", "(keep,)", "(x,)"),
    Mistake("no comma in the tuple", "3.6", "(keep,)", "keep"),
    Mistake("x is changed in place", "3.6", "    return x * keep, (keep,)", "    x *= keep\n    return x, (keep,)"),
    # 3.7
    Mistake("p = 1 divides by 0", "3.7", "    return x * 0 if p == 1 else dropout(x, p=p, seed=seed)", "    return dropout(x, p=p, seed=seed)"),
    Mistake("p = 1 returns x", "3.7", "x * 0 if p == 1", "x if p == 1"),
    Mistake("p = 0 needs a seed", "3.7", "    if p == 0:\n        return x\n", ""),
    Mistake("apply_dropout draws a seed itself", "3.7", "dropout(x, p=p, seed=seed)", "dropout(x, p=p, seed=random.next_seed())"),
    Mistake("p is not checked at first", "3.7", "self.p = _probability(p)", "self.p = p"),
    Mistake("p is not checked when it is used", "3.7", "_probability(self.p) if self.training", "self.p if self.training"),
    Mistake("always active", "3.7", "_probability(self.p) if self.training else 0.0", "_probability(self.p)"),
    Mistake("active outside of training", "3.7", "if self.training else", "if not self.training else"),
    Mistake("a seed is always drawn", "3.7", "random.next_seed() if 0 < p < 1 else None", "random.next_seed()"),
    Mistake("a seed is drawn for p = 1", "3.7", "0 < p < 1", "0 < p"),
    Mistake("one seed for all calls", "3.7", new='''
def __init__(self, p=0.5):
    self.p = _probability(p)
    self.seed = random.next_seed()

def draw(self):
    p = _probability(self.p) if self.training else 0.0
    return p, self.seed if 0 < p < 1 else None
''', within="Dropout"),
    Mistake("two seeds for each call", "3.7", "apply_dropout(x, *self.draw())", "apply_dropout(x, self.draw()[0], self.draw()[1])"),
    Mistake("seed before p", "3.7", "return p, random.next_seed() if 0 < p < 1 else None", "return random.next_seed() if 0 < p < 1 else None, p"),
    Mistake("the default is 0.1", "3.7", "p: float = 0.5", "p: float = 0.1"),
    Mistake("p is a parameter", "3.7", "self.p = _probability(p)", "self.p = Parameter(_probability(p))"),
    # 3.8
    Mistake("every layer receives the first input", "3.8", "            x = module(x)\n        return x", "            y = module(x)\n        return y"),
    Mistake("returns after the first layer", "3.8", "            x = module(x)\n        return x", "            return module(x)"),
    Mistake("layers are skipped", "3.8", "for module in self:", "for module in list(self)[::2]:"),
    Mistake("layers in reverse", "3.8", "for module in self:", "for module in reversed(list(self)):"),
    Mistake("hooks are skipped", "3.8", "module(x)", "module.forward(x)"),
    Mistake("layers are called twice", "3.8", "x = module(x)", "module(x)\n            x = module(x)"),
    Mistake("a layer that occurs twice is called once", "3.8", "for module in self:", "for module in self.children():"),
    Mistake("all modules within are called, also those in chains", "3.8", "for module in self:", "for module in list(self.modules())[1:]:"),
    Mistake("a slice loses a layer that occurs twice", "3.8", "self._items().items()", "self.named_children()"),
    Mistake("outputs are added", "3.8", "x = module(x)", "x = x + module(x)"),
    Mistake("a slice is a list", "3.8", "return Sequential(dict(list(self._items().items())[index]))", "return list(self)[index]"),
    Mistake("a slice is a ModuleList", "3.8", "return Sequential(dict(list(self._items().items())[index]))", "return super().__getitem__(index)"),
    Mistake("a slice loses the names", "3.8", "Sequential(dict(list(self._items().items())[index]))", "Sequential(*list(self)[index])"),
    Mistake("a slice contains all", "3.8", "[index]))", "))"),
    Mistake("the index is ignored", "3.8", "super().__getitem__(index)", "super().__getitem__(0)"),
    Mistake("nothing is returned for an index", "3.8", "return super().__getitem__(index)", "super().__getitem__(index)"),
    # what passed unnoticed before
    Mistake("each module has a reader of its own", "3.2", "read(module)", "module._reader()(module)"),
    Mistake("lists and dicts of modules are not searched", "3.2", within="Contents", new="""
def _walk(self, prefix="", once=True):
    seen = set()
    pending = [(prefix, self, ())]
    while pending:
        name, module, parents = pending.pop()
        if id(module) in (seen if once else parents):
            continue
        seen.add(id(module))
        yield name, module, [(n, v) for n, v in vars(module).items() if isinstance(v, Tensor)]
        for child, value in reversed(vars(module).items()):
            if isinstance(value, BaseModule):
                path = (*parents, id(module))
                pending.append((f"{name}.{child}" if name else child, value, path))
"""),
    Mistake("the walk leaves out buffers", "3.2", "yield name, module, tensors", "yield name, module, [t for t in tensors if isinstance(t[1], Parameter)]"),
    Mistake("parameters is a list", "3.2", "return (parameter for _, parameter in self.named_parameters(recurse=recurse))", "return [parameter for _, parameter in self.named_parameters(recurse=recurse)]"),
    Mistake("eval freezes the parameters", "3.3", "return self.train(False)", "[p.requires_grad_(False) for p in self.parameters()]\n        return self.train(False)"),
    Mistake("forward with NumPy: a result without a past", "3.4", "return linear(x, self.weight, self.bias)", "y = x.numpy() @ self.weight.numpy().T\n        return Tensor(y if self.bias is None else y + self.bias.numpy())"),
    Mistake("the error of a bias has another name", "3.5", "_fans(name, tensor)[", '_fans("kaiming_normal_", tensor)['),
    Mistake("the mask is always float32", "3.6", "x.dtype)", "xp.float32)"),
    Mistake("p = 1 gives new zeros", "3.7", "x * 0 if", "Tensor(np.zeros(x.shape), dtype=x.dtype, backend=x.backend) if"),
    Mistake("p is set to 0 outside of training", "3.7", "        p = _probability(self.p) if self.training else 0.0  # it may be assigned at any time\n", "        if not self.training:\n            self.p = 0.0\n        p = _probability(self.p)\n"),
]  # fmt: skip

SAME_SIZE = "x and weight have the same last size"
SWAPPED = "max of the same two numbers"
EQUIVALENT = {
    '3.3 Module.train: no message in "raise TypeError(f"train(mode) takes True or False, not {type(mode).__n..."':
        "what the message says is not asked for",
    '3.1 linear: x -> weight in "x.shape" #2': SAME_SIZE,
    '3.2 Contents._walk: items *parents and id(module) swapped in "(*parents, id(module))"':
        "only whether an id is among them matters",
    '3.5 _fans: arguments 1 and tensor.shape[1] * field swapped in "max(1, tensor.shape[1] * field)"': SWAPPED,
    '3.5 _fans: arguments 1 and tensor.shape[0] * field swapped in "max(1, tensor.shape[0] * field)"': SWAPPED,
    '3.6 dropout: without the call of int in "int(p * 2**32)"':
        "it differs for at most one of 2**32 random integers, the one just below the limit",
}  # fmt: skip
