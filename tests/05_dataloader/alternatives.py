"""Right solutions of lesson 05 that differ from the package's."""

from mistake import Alternative

ALTERNATIVES = [
    # 5.1
    Alternative(
        "a loop",
        "5.1",
        within="TensorDataset",
        new="""
def __len__(self):
    return self.tensors[-1].shape[0]

def __getitem__(self, index):
    rows = []
    for tensor in self.tensors:
        rows.append(tensor[index])
    return tuple(rows)

def batch(self, indices):
    indices = np.array(list(indices), dtype=int)
    return tuple([tensor[indices] for tensor in self.tensors])
""",
    ),
    Alternative(
        "rows are stacked",
        "5.1",
        within="TensorDataset",
        new="""
def batch(self, indices):
    return tuple(stack([t[int(i)] for i in indices]) for t in self.tensors)
""",
    ),
    Alternative(
        "a list of ints, and map",
        "5.1",
        within="TensorDataset",
        new="""
def batch(self, indices):
    return (*map(lambda t: t[[int(i) for i in indices]], self.tensors),)
""",
    ),
    # 5.2
    Alternative(
        "match",
        "5.2",
        new="""
def collate(examples):
    kind, examples = _kind_of(examples)
    match kind:
        case "texts":
            return list(examples)
        case "tensors":
            return stack(examples)
        case "arrays":
            return Tensor(np.stack(examples))
        case "numbers":
            return Tensor(examples)
        case "dicts":
            return {k: collate([e[k] for e in examples]) for k in examples[0].keys()}
    first = examples[0]
    joined = [collate([e[i] for e in examples]) for i in range(len(first))]
    if hasattr(first, "_fields"):
        return type(first)(*joined)
    return tuple(joined)
""",
    ),
    Alternative(
        "loops, and arrays by np.array",
        "5.2",
        new="""
def collate(examples):
    kind, examples = _kind_of(examples)
    if kind == "dicts":
        result = {}
        for key in examples[-1]:
            values = []
            for example in examples:
                values.append(example[key])
            result[key] = collate(values)
        return result
    if kind == "sequences":
        columns = []
        for column in zip(*examples):
            columns.append(collate(list(column)))
        if hasattr(examples[0], "_fields"):
            return type(examples[0])._make(columns)
        return tuple(columns)
    if kind == "tensors":
        return stack(examples, 0)
    if kind == "arrays":
        return Tensor(np.array(examples))
    return examples if kind == "texts" else Tensor(examples)
""",
    ),
    # 5.3
    Alternative(
        "islice",
        "5.3",
        new="""
def batched(items, size, drop_last):
    items = iter(items)
    while batch := list(itertools.islice(items, size)):
        if len(batch) == size or not drop_last:
            yield batch


def count_batches(count, size, drop_last):
    return math.floor(count / size) if drop_last else math.ceil(count / size)
""",
    ),
    Alternative(
        "a counter",
        "5.3",
        new="""
def batched(items, size, drop_last):
    batch, missing = [], size
    for item in items:
        batch += [item]
        missing -= 1
        if not missing:
            yield batch
            batch, missing = [], size
    if len(batch) > 0 and drop_last is False:
        yield batch


def count_batches(count, size, drop_last):
    full, rest = divmod(count, size)
    if rest and not drop_last:
        full += 1
    return full
""",
    ),
    Alternative("rounded up by adding", "5.3", "-(-count // size)", "(count + size - 1) // size"),
    Alternative("copies of the list", "5.3", "yield batch", "yield [*batch]", 2),
    # 5.4
    Alternative(
        "rng.shuffle",
        "5.4",
        within="RandomSampler",
        new="""
def order(self, rng):
    size = len(self.data_source)
    if self.replacement:
        return rng.choice(size, self.num_samples)
    order = []
    while size and len(order) < self.num_samples:
        one = np.arange(size)
        rng.shuffle(one)
        order.extend(one.tolist())
    return np.array(order[: self.num_samples], dtype=int)
""",
    ),
    Alternative(
        "sorted by random numbers", "5.4", "rng.permutation(size)", "rng.random(size).argsort()", 2
    ),
    Alternative(
        "Fisher and Yates",
        "5.4",
        "            return rng.permutation(size)\n",
        """            order = np.arange(size)
            for i in range(size - 1, 0, -1):
                j = rng.integers(i + 1)
                order[i], order[j] = order[j], order[i]
            return order
""",
    ),
    Alternative(
        "random numbers, rounded down",
        "5.4",
        "rng.integers(size, size=count)",
        "(rng.random(count) * size).astype(np.int64)",
    ),
    Alternative(
        "no case for one round",
        "5.4",
        within="RandomSampler",
        new="""
def order(self, rng):
    size, count = len(self.data_source), self.num_samples
    if self.replacement:
        return rng.integers(0, size, count)
    rounds = [rng.permutation(size)]
    while size and sum(map(len, rounds)) < count:
        rounds.append(rng.permutation(size))
    return np.concatenate(rounds)[:count]
""",
    ),
    # 5.5
    Alternative(
        "slices that move on",
        "5.5",
        new="""
def sizes_of_fractions(fractions, count):
    sizes = [int(count * f) for f in fractions]
    missing = count - sum(sizes)
    return [size + (i < missing) for i, size in enumerate(sizes)]


def random_split(dataset, lengths, generator=None):
    sizes = _sizes(lengths, len(dataset))
    rest = [int(i) for i in _generator("random_split", generator).permutation(len(dataset))]
    parts = []
    for size in sizes:
        parts.append(Subset(dataset, rest[:size]))
        rest = rest[size:]
    return parts
""",
    ),
    Alternative(
        "shuffled in place",
        "5.5",
        "    order = generator.permutation(len(dataset)).tolist()\n",
        "    order = list(range(len(dataset)))\n    generator.shuffle(order)\n",
    ),
    Alternative(
        "sorted parts", "5.5", "order[stop - size : stop]", "sorted(order[stop - size : stop])"
    ),
    Alternative(
        "np.cumsum and np.split",
        "5.5",
        new="""
def random_split(dataset, lengths, generator=None):
    generator = _generator("random_split", generator)
    sizes = _sizes(lengths, len(dataset))
    pieces = np.split(generator.permutation(len(dataset)), np.cumsum(sizes)[:-1])
    return [Subset(dataset, piece.tolist()) for piece in pieces]
""",
    ),
    # 5.6
    Alternative(
        "names of groups",
        "5.6",
        new="""
def group_split(dataset, groups, lengths, generator=None):
    groups = _checked_groups(groups, len(dataset))
    names = list(dict.fromkeys(groups))
    parts = []
    for part in random_split(names, lengths, generator):
        chosen = {names[i] for i in part.indices}
        parts.append(Subset(dataset, [i for i, name in enumerate(groups) if name in chosen]))
    return parts
""",
    ),
    Alternative(
        "a default dict, and the groups themselves",
        "5.6",
        new="""
def group_split(dataset, groups, lengths, generator=None):
    from collections import defaultdict

    members = defaultdict(list)
    for i, group in enumerate(_checked_groups(groups, len(dataset))):
        members[group].append(i)
    parts = random_split([*members.values()], lengths, generator)
    return [Subset(dataset, sum((part[k] for k in range(len(part))), [])) for part in parts]
""",
    ),
    # 5.7
    Alternative(
        "the formula of the standard deviation",
        "5.7",
        within="Standardizer",
        new="""
def fit(self, x, axis=0):
    values = self._checked(x, axis)
    mean = values.mean(axis=axis, keepdims=True)
    variance = ((values - mean) ** 2).mean(axis=axis, keepdims=True)
    self._store(mean[0], np.sqrt(variance)[0])
    return self
""",
    ),
    Alternative(
        "sums",
        "5.7",
        "values.mean(axis, keepdims=True), values.std(axis, keepdims=True)",
        "values.sum(axis, keepdims=True) / (values.size / values.std(axis).size),"
        " values.var(axis, keepdims=True) ** 0.5",
    ),
    Alternative(
        "np.squeeze",
        "5.7",
        "self._store(mean[0], std[0])",
        "self._store(np.squeeze(mean, 0), np.squeeze(std, axis=0))",
    ),
    Alternative(
        "the cast by hand",
        "5.7",
        within="Standardizer",
        new="""
def __call__(self, x):
    x = self._ready(x)
    wide = Tensor(self.mean, backend=x.backend), Tensor(self.std, backend=x.backend)
    z = (x.to("float64") - wide[0]) / wide[1]
    return z.to(x.dtype) if x.is_floating_point() else z.to("float32")

def inverse(self, z):
    z = self._ready(z)
    return _cast(self.mean + z.to("float64") * self.std, z)
""",
    ),
    Alternative(
        "with NumPy",
        "5.7",
        within="Standardizer",
        new="""
def __call__(self, x):
    x = self._ready(x)
    z = (x.numpy().astype(np.float64) - self.mean) / self.std
    return _cast(Tensor(z, backend=x.backend), x)
""",
    ),
    # 5.8
    Alternative(
        "slices and a loop",
        "5.8",
        within="TokenDataset",
        new="""
def __len__(self):
    return len(range(0, len(self.ids) - self.block_size, self.stride))

def __getitem__(self, index):
    start = range(0, len(self.ids) - self.block_size, self.stride)[index]
    T = self.block_size
    return (Tensor(self.ids[start : start + T], backend=self.backend),
            Tensor(self.ids[start + 1 : start + 1 + T], backend=self.backend))

def batch(self, indices):
    indices = [int(i) for i in indices]
    if any(i < 0 or i >= len(self) for i in indices):
        raise IndexError(indices)
    rows = [self.ids[i * self.stride : i * self.stride + self.block_size + 1] for i in indices]
    table = np.array(rows, np.int64).reshape(len(rows), self.block_size + 1)
    return Tensor(table[:, :-1], backend=self.backend), Tensor(table[:, 1:], backend=self.backend)
""",
    ),
    Alternative(
        "two look-ups",
        "5.8",
        within="TokenDataset",
        new="""
def batch(self, indices):
    i = np.asarray(indices)
    if ((i < 0) | (i >= len(self))).any():
        raise IndexError("no such block")
    at = np.expand_dims(i * self.stride, 1) + np.arange(self.block_size)
    return tuple(Tensor(self.ids[at + shift], backend=self.backend) for shift in (0, 1))
""",
    ),
    Alternative(
        "negative indices by adding the length",
        "5.8",
        within="TokenDataset",
        new="""
def __getitem__(self, index):
    if index < 0:
        index += len(self)
    if index < 0 or index >= len(self):
        raise IndexError(index)
    x, y = self.batch(np.array([index]))
    return x[0], y[0]
""",
    ),
    Alternative(
        "rounded up",
        "5.8",
        "(len(self.ids) - self.block_size - 1) // self.stride + 1",
        "-(-(len(self.ids) - self.block_size) // self.stride)",
    ),
    # 5.9
    Alternative(
        "return of generators",
        "5.9",
        within="DataLoader",
        new="""
def _default_sampler(self, generator):
    kind, options = SequentialSampler, {}
    if self.shuffle:
        kind, options = RandomSampler, {"generator": generator}
    return kind(self.dataset, **options)

def __iter__(self):
    if self.batch_size is None and self.batch_sampler is None:
        return iter(self._single_examples())
    if self.is_stream:
        return map(collate if self.collate_fn is None else self.collate_fn, self._example_lists())
    return (self._load(indices) for indices in self._index_lists())
""",
    ),
    Alternative(
        "hasattr",
        "5.9",
        within="DataLoader",
        new="""
def _load(self, indices):
    if self.collate_fn is None:
        if hasattr(self.dataset, "batch") and callable(self.dataset.batch):
            return self.dataset.batch(indices)
        return _examples(self.dataset, indices)
    examples = []
    for i in indices:
        examples.append(self.dataset[_plain(i)])
    return self.collate_fn(examples)
""",
    ),
    Alternative(
        "a collate_fn or collate",
        "5.9",
        "(self.collate_fn or collate)(examples)",
        "collate(examples) if self.collate_fn is None else self.collate_fn(examples)",
    ),
    Alternative(
        "a loop over single examples",
        "5.9",
        "            yield from self._single_examples()\n",
        "            for example in self._single_examples():\n                yield example\n",
    ),
]
