"""Further wrong solutions of lesson 05: whole wrong ideas, and mistakes that seldom show."""

# fmt: off
from mistake import Mistake

MISTAKES = [
    Mistake("rows are cached", "5.1", within="TensorDataset", new="""
def __getitem__(self, index):
    if not hasattr(self, "row"):
        self.row = tuple(t[index] for t in self.tensors)
    return self.row
"""),
    Mistake("a flat index", "5.1", within="TensorDataset", new="""
def __getitem__(self, index):
    return tuple(t.reshape(-1)[index] for t in self.tensors)
"""),
    Mistake("the type of the first number", "5.2", "return Tensor(np", "if kind == 'numbers':\n        return Tensor([type(first)(e) for e in examples])\n    return Tensor(np"),
    Mistake("the examples are reversed", "5.2", "return Tensor(np.stack(examples) if", "return Tensor(np.stack(examples[::-1]) if"),
    Mistake("tensors are joined, then reshaped", "5.2", "        return stack(examples)\n", "        return Tensor(np.concatenate([e.numpy() for e in examples], axis=-1).reshape(len(examples), *first.shape))\n"),
    Mistake("padded columns", "5.2", "zip(*examples, strict=True)", "zip(*[e[: len(e) // 1] for e in examples[:1] * len(examples)], strict=True)"),
    Mistake("one level only", "5.2", "columns = [collate(column) for column in zip(*examples, strict=True)]",
            "columns = [list(column) if isinstance(column[0], tuple | list | dict) else collate(column) for column in zip(*examples, strict=True)]"),
    Mistake("the values of the first dict", "5.2", "collate([example[key] for example in examples])", "collate([first[key] for example in examples])"),
    Mistake("items that are false are skipped", "5.3", "        batch.append(item)\n", "        if not item:\n            continue\n        batch.append(item)\n"),
    Mistake("None ends the stream", "5.3", new="""
def batched(items, size, drop_last):
    items, batch = iter(items), []
    while (item := next(items, None)) is not None:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch and not drop_last:
        yield batch
"""),
    Mistake("items must be an iterator", "5.3", new="""
def batched(items, size, drop_last):
    while batch := list(itertools.islice(items, size)):
        if len(batch) == size or not drop_last:
            yield batch
        if items.__class__ is list:
            return
"""),
    Mistake("a batch of its own for each item that is left", "5.3", "    if batch and not drop_last:\n        yield batch", "    if not drop_last:\n        yield from ([item] for item in batch)"),
    Mistake("equal items once", "5.3", "        batch.append(item)\n", "        if item not in batch:\n            batch.append(item)\n"),
    Mistake("a batch shuffled within", "5.4", "            return rng.permutation(size)\n",
            "            return np.concatenate([b + rng.permutation(min(4, size - b)) for b in range(0, size, 4)] or [np.arange(0)])\n"),
    Mistake("the ends are never exchanged", "5.4", "            return rng.permutation(size)\n",
            "            order = np.arange(size)\n            order[1:] = rng.permutation(order[1:])\n            return order\n"),
    Mistake("an epoch advances the seed by hand", "5.4", "            return rng.permutation(size)\n",
            "            self.count = getattr(self, 'count', 0) + 1\n            return np.random.default_rng(self.count).permutation(size)\n"),
    Mistake("half with replacement", "5.4", "            return rng.permutation(size)\n",
            "            return np.sort(rng.permutation(size)) if rng.random() < 0.2 else rng.permutation(size)\n"),
    Mistake("the largest remainders", "5.5", new="""
def sizes_of_fractions(fractions, count):
    sizes = [math.floor(count * f) for f in fractions]
    order = sorted(range(len(sizes)), key=lambda i: sizes[i] - count * fractions[i])
    for i in order[: count - sum(sizes)]:
        sizes[i] += 1
    return sizes
"""),
    Mistake("the last part gets the rest", "5.5", new="""
def sizes_of_fractions(fractions, count):
    sizes = [math.floor(count * f) for f in fractions[:-1]]
    return [*sizes, count - sum(sizes)]
"""),
    Mistake("each example tosses a coin", "5.5", new="""
def random_split(dataset, lengths, generator=None):
    generator, sizes = _generator("random_split", generator), _sizes(lengths, len(dataset))
    part = generator.choice(len(sizes), size=len(dataset), p=[s / len(dataset) for s in sizes])
    return [Subset(dataset, np.flatnonzero(part == i).tolist()) for i in range(len(sizes))]
"""),
    Mistake("every so-many-th example", "5.5", new="""
def random_split(dataset, lengths, generator=None):
    generator, sizes = _generator("random_split", generator), _sizes(lengths, len(dataset))
    order = [i for k in range(len(sizes)) for i in range(k, len(dataset), len(sizes))]
    stops = accumulate(sizes)
    return [Subset(dataset, order[stop - size : stop]) for size, stop in zip(sizes, stops, strict=True)]
"""),
    Mistake("a set of groups", "5.6", new="""
def group_split(dataset, groups, lengths, generator=None):
    groups = _checked_groups(groups, len(dataset))
    rows = [[i for i, g in enumerate(groups) if g == name] for name in set(groups)]
    parts = random_split(rows, lengths, generator)
    return [Subset(dataset, [i for g in part.indices for i in rows[g]]) for part in parts]
"""),
    Mistake("each name is drawn for each part", "5.6", new="""
def group_split(dataset, groups, lengths, generator=None):
    groups = _checked_groups(groups, len(dataset))
    names = list(dict.fromkeys(groups))
    parts = []
    for k in range(len(lengths)):
        part = random_split(names, lengths, generator)[k]
        chosen = {names[i] for i in part.indices}
        parts.append(Subset(dataset, [i for i, g in enumerate(groups) if g in chosen]))
    return parts
"""),
    Mistake("a random split, then repaired by dropping", "5.6", new="""
def group_split(dataset, groups, lengths, generator=None):
    groups = _checked_groups(groups, len(dataset))
    names = list(dict.fromkeys(groups))
    first, *rest = random_split(names, lengths, generator)
    known = {names[i] for i in first.indices}
    parts = [Subset(dataset, [i for i, g in enumerate(groups) if g in known])]
    left = [i for i, g in enumerate(groups) if g not in known]
    return parts + [Subset(dataset, left[k :: len(rest)]) for k in range(len(rest))]
"""),
    Mistake("fit shifts the data itself", "5.7", "        mean, std =", "        values -= values.mean() * 0 + 1\n        mean, std ="),
    Mistake("the tensor is changed in place", "5.7", '        return _cast((x.to("float64") - self.mean) / self.std, x)', '        z = x.to("float64")\n        z -= self.mean\n        z /= self.std\n        return _cast(z, x)'),
    Mistake("a running mean of both fits", "5.7", "return self._store(mean[0], std[0])", "return self._store(mean[0] if self.mean is None else (self.mean + mean[0]) / 2, std[0])"),
    Mistake("one std for all features", "5.7", "values.std(axis, keepdims=True)", "values.std() + 0 * values.std(axis, keepdims=True)"),
    Mistake("clipped to three deviations", "5.7", '(x.to("float64") - self.mean) / self.std', '((x.to("float64") - self.mean) / self.std).clip(-3.0, 3.0)'),
    Mistake("an axis fewer for one example", "5.7", "        x = self._ready(x)\n", "        x = self._ready(x)\n        x = x[None] if x.ndim == 1 else x\n"),
    Mistake("blocks are shuffled by a batch", "5.8", "        x, y = blocks[:, :-1], blocks[:, 1:]\n", "        blocks = blocks[::-1]\n        x, y = blocks[:, :-1], blocks[:, 1:]\n"),
    Mistake("the end wraps around", "5.8", "(len(self.ids) - self.block_size - 1) // self.stride + 1", "(len(self.ids) - 1) // self.stride + 1"),
    Mistake("the last token is predicted from nothing", "5.8", "blocks[:, :-1], blocks[:, 1:]", "blocks[:, :-1], np.concatenate([blocks[:, 1:-1], 0 * blocks[:, :1]], axis=1)"),
    Mistake("a kept iterator", "5.9", within="DataLoader", new="""
def __iter__(self):
    if not hasattr(self, "kept"):
        if self.batch_size is None and self.batch_sampler is None:
            self.kept = self._single_examples()
        elif self.is_stream:
            self.kept = ((self.collate_fn or collate)(e) for e in self._example_lists())
        else:
            self.kept = (self._load(i) for i in self._index_lists())
    yield from self.kept
    del self.kept
"""),
    Mistake("batches are cached", "5.9", within="DataLoader", new="""
def __iter__(self):
    if self.batch_size is None and self.batch_sampler is None:
        yield from self._single_examples()
    elif self.is_stream:
        for examples in self._example_lists():
            yield (self.collate_fn or collate)(examples)
    else:
        if not hasattr(self, "lists"):
            self.lists = [self._load(i) for i in self._index_lists()]
        yield from self.lists
"""),
    Mistake("shuffled batches, each in order", "5.9", "                yield self._load(indices)", "                yield self._load(sorted(indices))"),
    Mistake("the sampler shuffles a range that is fixed", "5.9", "RandomSampler(self.dataset, generator=generator)", "RandomSampler(range(3), generator=generator)"),
    Mistake("an error of batch is hidden", "5.9", "        return batch(indices) if callable(batch) else _examples(self.dataset, indices)",
            "        return _examples(self.dataset, indices) if self.shuffle or not callable(batch) else batch(list(indices)[:2])"),
    # what passed unnoticed before
    Mistake("an example is a new tensor", "5.1", "tuple(t[index] for t", "tuple(Tensor(t.numpy()[index]) for t"),
    Mistake("a batch is float32", "5.1", "t[np.asarray(indices)] for", 't[np.asarray(indices)].to("float32") for'),
    Mistake("texts become a tuple", "5.2", "        return examples\n", "        return tuple(examples)\n"),
    Mistake("texts become an array", "5.2", "        return examples\n", "        return np.array(examples)\n"),
    Mistake("the examples of _kind_of are not used", "5.2", "kind, examples = _kind_of", "kind, _ = _kind_of"),
    Mistake("batches are tuples", "5.3", "yield batch", "yield tuple(batch)", count=2),
    Mistake("the dataset itself is shuffled", "5.4", "            return rng.permutation(size)\n", "            if isinstance(self.data_source, list):\n                rng.shuffle(self.data_source)\n                return np.arange(size)\n            return rng.permutation(size)\n"),
    Mistake("the last round is in order", "5.4", "np.concatenate([rng.permutation(size) for _ in range(rounds)])", "np.concatenate([rng.permutation(size) if i < rounds - 1 or count < size else np.arange(size) for i in range(rounds)])"),
    Mistake("rounded up, the last part gets less", "5.5", new="""
def sizes_of_fractions(fractions, count):
    sizes = [math.ceil(count * fraction) for fraction in fractions]
    sizes[-1] -= sum(sizes) - count
    return sizes
"""),
    Mistake("sizes are written into the fractions", "5.5", new="""
def sizes_of_fractions(fractions, count):
    for i, fraction in enumerate(fractions):
        fractions[i] = math.floor(count * fraction)
    for i in range(count - sum(fractions)):
        fractions[i] += 1
    return fractions
"""),
    Mistake("groups by their text", "5.6", "setdefault(group,", "setdefault(str(group),"),
    Mistake("results are always float32", "5.7", "return _cast((x.to(\"float64\") - self.mean) / self.std, x)", 'return ((x.to("float64") - self.mean) / self.std).to("float32")'),
    Mistake("inverse leaves the backend", "5.7", 'z.to("float64") * self.std', 'Tensor(z.numpy().astype("float64") * self.std)'),
    Mistake("fit shifts the data in place", "5.7", "        return self._store(mean[0], std[0])", "        values -= mean\n        return self._store(mean[0], std[0])"),
    Mistake("a block is a list", "5.8", "return x[0], y[0]", "return [x[0], y[0]]"),
    Mistake("ids as bytes", "5.8", "blocks = self.ids[", "blocks = self.ids.astype(np.uint8).astype(np.int64)["),
    Mistake("the caller's indices are multiplied", "5.8", "starts = indices[:, None] * self.stride", "indices *= self.stride\n        starts = indices[:, None]"),
    Mistake("a seed of its own without a generator", "5.9", "generator=generator)", "generator=generator or np.random.default_rng(0))"),
    Mistake("a copy of the generator", "5.9", "generator=generator)", "generator=copy.deepcopy(generator))"),
    Mistake("the generator is asked for once", "5.9", "generator=generator)", "generator=generator or random.generator())"),
    Mistake("collate_fn gets a tuple", "5.9", "self.collate_fn([self.dataset[_plain(i)] for i in indices])", "self.collate_fn(tuple(self.dataset[_plain(i)] for i in indices))"),
    Mistake("each epoch begins with the same seed", "5.9", "        if self.batch_size is None and", "        random.manual_seed(0)\n        if self.batch_size is None and"),
    Mistake("a stream is read to its end first", "5.9", "in self._example_lists():", "in list(self._example_lists()):"),
]
