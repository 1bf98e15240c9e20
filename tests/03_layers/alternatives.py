"""Right solutions of lesson 03 that differ from the package's."""

from mistake import Alternative

ALTERNATIVES = [
    # 3.1
    Alternative("-1 for the number of rows", "3.1",
                "xp.reshape(x, (math.prod(x.shape[:-1]), x.shape[-1]))",
                "xp.reshape(x, (-1, x.shape[-1]))"),
    Alternative("a product of tensors, without rows", "3.1", new='''
def linear(xp, x, weight, bias=None):
    y = x @ weight.T
    if bias is None:
        bias = 0
    n = 1
    for size in x.shape[:-1]:
        n *= size
    return y + bias, (xp.reshape(x, (n, x.shape[-1])), weight, x.shape)
'''),
    Alternative("einsum", "3.1",
                "rows @ xp.matrix_transpose(weight)",
                'np.einsum("ni,oi->no", rows, weight)'),
    Alternative("one branch for each case", "3.1", new='''
def linear(xp, x, weight, bias=None):
    *axes, size = x.shape
    out = weight.shape[0]
    rows = x.reshape((math.prod(axes), size))
    if bias is None:
        y = rows @ xp.permute_dims(weight, (1, 0))
    else:
        y = bias + xp.matmul(rows, xp.matrix_transpose(weight))
    return y.reshape(tuple(axes) + (out,)), [rows, weight, x.shape]
'''),
    # 3.2
    Alternative("recursion", "3.2", new='''
def _walk(self, prefix="", once=True):
    read, seen = self._reader(), set()

    def visit(name, module, parents):
        if id(module) in (seen if once else parents):
            return
        seen.add(id(module))
        tensors, children = read(module)
        yield name, module, tensors
        for child, value in children:
            dotted = f"{name}.{child}" if name else child
            yield from visit(dotted, value, parents | {id(module)})

    yield from visit(prefix, self, frozenset())
''', within="Contents"),
    Alternative("modules are compared themselves", "3.2", new='''
def _walk(self, prefix="", once=True):
    read = self._reader()
    visited = set()
    todo = [(prefix, self, [])]
    while len(todo) > 0:
        name, module, above = todo.pop()
        if once and module in visited:
            continue
        if not once and module in above:
            continue
        visited.add(module)
        tensors, children = read(module)
        yield (name, module, tensors)
        for child, value in children[::-1]:
            full = child if name == "" else name + "." + child
            todo.append((full, value, [module] + above))
''', within="Contents"),
    Alternative("a list that is returned", "3.2", new='''
def _walk(self, prefix="", once=True):
    read, found, seen = self._reader(), [], []

    def visit(name, module, parents):
        seen.append(id(module))
        tensors, children = read(module)
        found.append((name, module, tensors))
        for child, value in children:
            if id(value) not in (seen if once else [*parents, id(module)]):
                visit(".".join(filter(None, [name, child])), value, [*parents, id(module)])

    visit(prefix, self, [])
    return iter(found)
''', within="Contents"),
    Alternative("a queue whose front is filled", "3.2", new='''
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
        start = name + "." if name else ""
        pending = [(start + c, v, (*parents, id(module))) for c, v in children] + pending
''', within="Contents"),
    Alternative("parameters by identity in a dict", "3.2", new='''
def named_parameters(self, prefix="", recurse=True, remove_duplicate=True):
    found = {}
    for name, value in self._named_tensors(prefix, recurse, remove_duplicate):
        if type(value) is not Parameter:
            continue
        found.setdefault(id(value) if remove_duplicate else name, (name, value))
    return iter(found.values())

def parameters(self, recurse=True):
    for _, parameter in self.named_parameters("", recurse):
        yield parameter
''', within="Contents"),
    Alternative("a list of parameters, and products of shapes", "3.2", new='''
def parameters(self, recurse=True):
    return iter([p for _, p in self.named_parameters(recurse=recurse)])

def num_parameters(self):
    total = 0
    for parameter in self.parameters():
        total += math.prod(parameter.shape)
    return total
''', within="Contents"),
    # 3.3
    Alternative("the property", "3.3",
                'module.__dict__["training"] = mode',
                "module.training = mode"),
    Alternative("a reversed copy", "3.3", new='''
def train(self, mode=True):
    if type(mode) is not bool:
        raise TypeError(type(mode).__name__)
    modules = [module for module in self.modules()]
    modules.reverse()
    for module in modules:
        if module is not self and type(module).train is not Module.train:
            module.train(mode)
            continue
        module.__dict__.update(training=mode)
    return self

def eval(self):
    self.train(mode=False)
    return self
''', within="Module"),
    # 3.4
    Alternative("a power, and the sizes one by one", "3.4", new='''
def __init__(self, in_features, out_features, bias=True, device=None, dtype=None, *, backend=None):
    self.in_features = check_integer("Linear: in_features", in_features)
    self.out_features = check_integer("Linear: out_features", out_features)
    check_flag("Linear: bias", bias)
    k = 0.0 if self.in_features == 0 else self.in_features ** -0.5
    weight = random.uniform((self.out_features, self.in_features), low=-k, high=k)
    self.weight = Parameter(weight, dtype=dtype, device=device, backend=backend)
    if bias:
        values = random.uniform((self.out_features,), low=-k, high=k)
        self.bias = Parameter(values, dtype=dtype, device=device, backend=backend)
    else:
        self.bias = None
''', within="Linear"),
    Alternative("numbers in [0, 1), stretched", "3.4",
                "random.uniform(shape, -bound, bound)",
                "2 * bound * random.uniform(shape) - bound"),
    Alternative("the last axis by its index", "3.4",
                "x.shape[-1:] != (self.in_features,)",
                "x.ndim == 0 or x.shape[-1] != self.in_features"),
    Alternative("the bias only if there is one", "3.4",
                "linear(x, self.weight, self.bias)",
                "linear(x, self.weight, *([] if self.bias is None else [self.bias]))"),
    Alternative("the shape of the weight", "3.4", new='''
def forward(self, x):
    if list(x.shape)[-1:] != [self.weight.shape[1]]:
        raise ShapeError(f"{self!r} does not take {tuple(x.shape)}")
    return linear(x, self.weight, self.bias)
''', within="Linear"),
    # 3.5
    Alternative("a loop over the places", "3.5", new='''
def _fans(name, tensor):
    if len(tensor.shape) in (0, 1):
        raise ValueError(f"{name} needs two axes, got {tensor.shape}")
    out, inputs, *places = tensor.shape
    for place in places:
        out, inputs = out * place, inputs * place
    return max(inputs, 1), max(out, 1)
'''),
    Alternative("a dict of fans", "3.5", new='''
def _kaiming_std(name, tensor, a, mode, nonlinearity):
    fans = dict(zip(("fan_in", "fan_out"), _fans(name, tensor)))
    if mode not in fans:
        raise ValueError(f"{name}: unknown mode {mode!r}")
    return math.sqrt(calculate_gain(nonlinearity, a) ** 2 / fans[mode])
'''),
    Alternative("an if for each mode", "3.5", new='''
def _kaiming_std(name, tensor, a, mode, nonlinearity):
    fan_in, fan_out = _fans(name, tensor)
    gain = calculate_gain(nonlinearity, a)
    if mode == "fan_in":
        return gain * fan_in ** -0.5
    if mode == "fan_out":
        return gain * fan_out ** -0.5
    raise ValueError(f"{name} does not know the mode {mode!r}")
'''),
    Alternative("from the variance", "3.5", new='''
def xavier_uniform_(tensor, gain=1.0, generator=None):
    fan_in, fan_out = _fans("xavier_uniform_", tensor)
    variance = gain ** 2 * 2 / (fan_in + fan_out)
    b = math.sqrt(3 * variance)
    uniform_(tensor, a=-b, b=b, generator=generator)
    return tensor
'''),
    Alternative("the standard deviation by name", "3.5", new='''
def kaiming_normal_(tensor, a=0, mode="fan_in", nonlinearity="leaky_relu", generator=None):
    name = "kaiming_normal_"
    std = _kaiming_std(nonlinearity=nonlinearity, mode=mode, a=a, tensor=tensor, name=name)
    normal_(tensor, std=std, generator=generator)
    return tensor
'''),
    # 3.6
    Alternative("bits as a share of 1", "3.6", "bits >= int(p * 2**32)", "bits / 2**32 >= p"),
    Alternative("where", "3.6", new='''
def dropout(xp, x, *, p, seed):
    dropped = xp.random_bits(seed, x.shape) < int(p * 2**32)
    keep = xp.where(dropped, xp.zeros_like(x), xp.full_like(x, 1 / (1 - p)))
    return keep * x, (keep,)
'''),
    Alternative("divided in two steps", "3.6", new='''
def dropout(xp, x, *, p, seed):
    stays = ~(xp.random_bits(seed, x.shape) < int(p * 2**32))
    keep = xp.astype(stays, x.dtype) / (1 - p)
    y = x * keep
    return y, tuple([keep])
'''),
    # 3.7
    Alternative("zeros from a product in the other order", "3.7", new='''
def apply_dropout(x, p, seed):
    if p == 1:
        return 0 * x
    if p > 0:
        return dropout(x, p=p, seed=seed)
    return x
'''),
    Alternative("draw with early returns", "3.7", new='''
def draw(self):
    if not self.training:
        return 0.0, None
    p = _probability(self.p)
    if p in (0.0, 1.0):
        return p, None
    return p, random.next_seed()

def forward(self, x):
    p, seed = self.draw()
    return apply_dropout(x, p, seed)
''', within="Dropout"),
    Alternative("forward without a mask returns x", "3.7", new='''
def forward(self, x):
    if not self.training:
        return x
    p, seed = self.draw()
    return apply_dropout(x, p=p, seed=seed)
''', within="Dropout"),
    # 3.8
    Alternative("reduce", "3.8", new='''
def forward(self, x):
    import functools
    return functools.reduce(lambda value, module: module(value), self, x)
''', within="Sequential"),
    Alternative("indices", "3.8", new='''
def forward(self, x):
    for index in range(len(self)):
        x = self[index](x)
    return x

def __getitem__(self, index):
    if not isinstance(index, slice):
        return super().__getitem__(index)
    names, modules = list(self._items()), list(self)
    return Sequential(dict(zip(names[index], modules[index])))
''', within="Sequential"),
    Alternative("the names in a slice are looked up", "3.8", new='''
def __getitem__(self, index):
    own = self._items()
    if isinstance(index, slice):
        return Sequential({name: own[name] for name in list(own)[index]})
    return super().__getitem__(index)
''', within="Sequential"),
]  # fmt: skip
