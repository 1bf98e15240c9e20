"""Mistakes of students in lesson 05, and generated mutants that are right."""

# fmt: off
from mistake import Mistake

ROWS = "tuple(t[np.asarray(indices)] for t in self.tensors)"
ROW = "tuple(t[index] for t in self.tensors)"
COLUMNS = "columns = [collate(column) for column in zip(*examples, strict=True)]"
SEQUENCE = 'type(first)(*columns) if hasattr(first, "_fields") else tuple(columns)'
ORDER = "generator.permutation(len(dataset)).tolist()"
PIECES = "Subset(dataset, order[stop - size : stop])"
FIT = "values.mean(axis, keepdims=True), values.std(axis, keepdims=True)"
APPLY = '(x.to("float64") - self.mean) / self.std'
LENGTH = "(len(self.ids) - self.block_size - 1) // self.stride + 1"
CHECK = "indices.size and not 0 <= indices.min() <= indices.max() < len(self)"
SAMPLER = "RandomSampler(self.dataset, generator=generator)"

MISTAKES = [
    # 5.1
    Mistake("the number of tensors", "5.1", "len(self.tensors[0])", "len(self.tensors)"),
    Mistake("the number of all numbers", "5.1", "len(self.tensors[0])", "self.tensors[0].size"),
    Mistake("the number of features", "5.1", "len(self.tensors[0])", "self.tensors[0].shape[-1]"),
    Mistake("a list instead of a tuple", "5.1", ROW, "[t[index] for t in self.tensors]"),
    Mistake("a batch that is a list", "5.1", ROWS, "[t[np.asarray(indices)] for t in self.tensors]"),
    Mistake("a generator instead of a tuple", "5.1", ROW, "(t[index] for t in self.tensors)"),
    Mistake("only the first tensor", "5.1", ROW, "self.tensors[0][index]"),
    Mistake("a column instead of a row", "5.1", ROW, "tuple(t[..., index] for t in self.tensors)"),
    Mistake("one tensor comes without a tuple", "5.1", ROW, "tuple(t[index] for t in self.tensors) if len(self.tensors) > 1 else self.tensors[0][index]"),
    Mistake("pairs only", "5.1", ROW, "(self.tensors[0][index], self.tensors[1][index])"),
    Mistake("arrays instead of tensors", "5.1", ROW, "tuple(t.numpy()[index] for t in self.tensors)"),
    Mistake("a slice of one row", "5.1", ROW, "tuple(t[index : index + 1] for t in self.tensors)"),
    Mistake("the index wraps around", "5.1", ROW, "tuple(t[index % len(self)] for t in self.tensors)"),
    Mistake("indices as they are", "5.1", "np.asarray(indices)", "indices"),
    Mistake("a list of indices", "5.1", "np.asarray(indices)", "tuple(indices)"),
    Mistake("sorted rows", "5.1", "np.asarray(indices)", "np.sort(np.asarray(indices))"),
    Mistake("each row once", "5.1", "np.asarray(indices)", "np.unique(np.asarray(indices))"),
    Mistake("a batch of tuples", "5.1", ROWS, "tuple(self[int(i)] for i in indices)"),
    Mistake("a range of rows", "5.1", ROWS, "tuple(t[min(indices) : max(indices) + 1] for t in self.tensors)"),
    Mistake("a batch on the host", "5.1", ROWS, "tuple(Tensor(t.numpy()[np.asarray(indices)]) for t in self.tensors)"),
    # 5.2
    Mistake("numbers stay a list", "5.2", 'Tensor(np.stack(examples) if kind == "arrays" else examples)', 'Tensor(np.stack(examples)) if kind == "arrays" else examples'),
    Mistake("arrays are not tensors", "5.2", 'return Tensor(np.stack(examples) if kind == "arrays" else examples)',
            'return np.stack(examples) if kind == "arrays" else Tensor(examples)'),
    Mistake("numbers become float32", "5.2", 'Tensor(np.stack(examples) if kind == "arrays" else examples)', "Tensor(np.stack(examples).astype(np.float32))"),
    Mistake("numbers by NumPy: float64", "5.2", 'np.stack(examples) if kind == "arrays" else examples', "np.array(examples)"),
    Mistake("arrays through lists lose their dtype", "5.2", "np.stack(examples) if", "np.stack(examples).tolist() if"),
    Mistake("joined along an axis that exists", "5.2", "np.stack(examples)", "np.concatenate([np.atleast_1d(e) for e in examples])"),
    Mistake("stacked along the last axis", "5.2", "np.stack(examples)", "np.stack(examples, axis=-1)"),
    Mistake("tensors stacked along the last axis", "5.2", "stack(examples)\n    if", "stack(examples, -1)\n    if"),
    Mistake("tensors leave their backend", "5.2", "return stack(examples)\n    if", "return Tensor(np.stack([e.numpy() for e in examples]))\n    if"),
    Mistake("one entry for each example", "5.2", COLUMNS, "columns = [collate(example) for example in examples]"),
    Mistake("columns are not collated", "5.2", COLUMNS, "columns = list(zip(*examples, strict=True))"),
    Mistake("columns are stacked, not collated", "5.2", COLUMNS, "columns = [Tensor(np.stack(column)) for column in zip(*examples, strict=True)]"),
    Mistake("only the first two columns", "5.2", COLUMNS, COLUMNS + "[:2]"),
    Mistake("a list of columns", "5.2", SEQUENCE, "columns"),
    Mistake("named tuples become tuples", "5.2", SEQUENCE, "tuple(columns)"),
    Mistake("lists stay lists", "5.2", SEQUENCE, 'type(first)(*columns) if hasattr(first, "_fields") else type(first)(columns)'),
    Mistake("a named tuple of one argument", "5.2", "type(first)(*columns)", "type(first)(columns)"),
    Mistake("dicts in the order of their values", "5.2", "{key: collate([example[key] for example in examples]) for key in first}",
            "dict(zip(first, (collate(column) for column in zip(*(e.values() for e in examples), strict=True)), strict=True))"),
    Mistake("a list of dicts", "5.2", "{key: collate([example[key] for example in examples]) for key in first}", "examples"),
    Mistake("lists of the values of a key", "5.2", "collate([example[key] for example in examples])", "[example[key] for example in examples]"),
    Mistake("texts are joined", "5.2", "    if kind == \"texts\":\n        return examples", "    if kind == \"texts\":\n        return \"\".join(examples)"),
    Mistake("no check", "5.2", "kind, examples = _kind_of(examples)", "kind = _kind_of(examples[:1])[0]"),
    # 5.3
    Mistake("the rest is lost", "5.3", "    if batch and not drop_last:\n        yield batch", "    return"),
    Mistake("the rest always comes", "5.3", "if batch and not drop_last", "if batch"),
    Mistake("an empty batch at the end", "5.3", "if batch and not drop_last", "if not drop_last"),
    Mistake("drop_last the wrong way round", "5.3", "if batch and not drop_last", "if batch and drop_last"),
    Mistake("one list for all batches", "5.3", "            batch = []\n", "            batch.clear()\n"),
    Mistake("the list is never emptied", "5.3", "            batch = []\n", ""),
    Mistake("one item too many", "5.3", "len(batch) == size", "len(batch) > size"),
    Mistake("everything is read first", "5.3", "for item in items:", "for item in list(items):"),
    Mistake("a slice of a list", "5.3", new="""
def batched(items, size, drop_last):
    items = list(items)
    for first in range(0, len(items), size):
        if not drop_last or first + size <= len(items):
            yield items[first : first + size]
"""),
    Mistake("one item is read ahead", "5.3", new="""
def batched(items, size, drop_last):
    batch = []
    for item in items:
        if len(batch) == size:
            yield batch
            batch = []
        batch.append(item)
    if batch and (len(batch) == size or not drop_last):
        yield batch
"""),
    Mistake("zip of one iterator loses the rest", "5.3", new="""
def batched(items, size, drop_last):
    yield from map(list, zip(*[iter(items)] * size))
"""),
    Mistake("tuples instead of lists", "5.3", "yield batch", "yield iter(batch)", 2),
    Mistake("rounded to the nearest", "5.3", "-(-count // size)", "round(count / size)"),
    Mistake("always one more", "5.3", "-(-count // size)", "count // size + 1"),
    Mistake("a float", "5.3", "-(-count // size)", "float(-(-count // size))"),
    Mistake("always rounded up", "5.3", "count // size if drop_last else -(-count // size)", "-(-count // size)"),
    Mistake("always rounded down", "5.3", "count // size if drop_last else -(-count // size)", "count // size"),
    # 5.4
    Mistake("no shuffling", "5.4", "return rng.permutation(size)\n", "return np.arange(size)\n"),
    Mistake("a global generator", "5.4", "return rng.permutation(size)\n", "return np.random.permutation(size)\n"),
    Mistake("the sampler's own generator", "5.4", "return rng.permutation(size)\n", "return self.random_numbers().permutation(size)\n"),
    Mistake("a fixed seed", "5.4", "return rng.permutation(size)\n", "return np.random.default_rng(0).permutation(size)\n"),
    Mistake("a random start", "5.4", "return rng.permutation(size)\n", "return np.roll(np.arange(size), rng.integers(max(size, 1)))\n"),
    Mistake("reversed or not", "5.4", "return rng.permutation(size)\n", "return np.arange(size)[:: 1 if rng.random() < 0.5 else -1]\n"),
    Mistake("swaps with any place", "5.4", "            return rng.permutation(size)\n",
            "            order = np.arange(size)\n            for i in range(size):\n                j = rng.integers(size)\n"
            "                order[[i, j]] = order[[j, i]]\n            return order\n"),
    Mistake("swaps without keeping a place", "5.4", "            return rng.permutation(size)\n",
            "            order = np.arange(size)\n            for i in range(size - 1, 0, -1):\n                j = rng.integers(i)\n"
            "                order[[i, j]] = order[[j, i]]\n            return order\n"),
    Mistake("each index by itself", "5.4", "return rng.permutation(size)\n", "return rng.integers(size, size=size)\n"),
    Mistake("the order is kept", "5.4", "            return rng.permutation(size)\n",
            "            self.kept = getattr(self, 'kept', None) if hasattr(self, 'kept') else np.random.default_rng(1).permutation(size)\n            return self.kept\n"),
    Mistake("only the first num_samples examples", "5.4", "for _ in range(rounds)])[:count]", "for _ in range(rounds)])[:count] if count > size else rng.permutation(count)"),
    Mistake("one permutation for all rounds", "5.4", "[rng.permutation(size) for _ in range(rounds)]", "[rng.permutation(size)] * rounds"),
    Mistake("rounds are not cut", "5.4", "for _ in range(rounds)])[:count]", "for _ in range(rounds)])"),
    Mistake("rounds are mixed", "5.4", "np.concatenate([rng.permutation(size) for _ in range(rounds)])[:count]", "rng.permutation(np.arange(rounds * size) % max(size, 1))[:count]"),
    Mistake("the last round starts at 0", "5.4", "np.concatenate([rng.permutation(size) for _ in range(rounds)])[:count]",
            "np.concatenate([*[rng.permutation(size) for _ in range(rounds - 1)], np.arange(count - size * (rounds - 1))]).astype(int)"),
    Mistake("replacement is ignored", "5.4", "if self.replacement:", "if False:"),
    Mistake("with replacement, as many as there are", "5.4", "rng.integers(size, size=count)", "rng.integers(size, size=size)"),
    Mistake("with replacement, below num_samples", "5.4", "rng.integers(size, size=count)", "rng.integers(count, size=count)"),
    Mistake("with replacement, never the last", "5.4", "rng.integers(size, size=count)", "rng.integers(max(size - 1, 1), size=count)"),
    Mistake("with replacement, never the first", "5.4", "rng.integers(size, size=count)", "rng.integers(1, max(size, 2), size=count)"),
    Mistake("with replacement, without numpy's generator", "5.4", "rng.integers(size, size=count)", "np.random.randint(size, size=count)"),
    Mistake("a shuffled permutation with replacement", "5.4", "rng.integers(size, size=count)", "rng.permutation(np.arange(count) % max(size, 1))"),
    # 5.5
    Mistake("all that is left goes to the first part", "5.5", "        sizes[i % len(sizes)] += 1", "        sizes[0] += 1"),
    Mistake("all that is left goes to the last part", "5.5", "        sizes[i % len(sizes)] += 1", "        sizes[-1] += 1"),
    Mistake("the last parts get what is left", "5.5", "sizes[i % len(sizes)] += 1", "sizes[-1 - i % len(sizes)] += 1"),
    Mistake("what rounding leaves is lost", "5.5", "        sizes[i % len(sizes)] += 1", "        pass"),
    Mistake("rounded to the nearest", "5.5", "math.floor(count * fraction)", "round(count * fraction)"),
    Mistake("rounded up", "5.5", "math.floor(count * fraction)", "math.ceil(count * fraction)"),
    Mistake("floats", "5.5", "math.floor(count * fraction)", "count * fraction // 1"),
    Mistake("no permutation", "5.5", ORDER, "list(range(len(dataset)))"),
    Mistake("a permutation of another generator", "5.5", ORDER, "np.random.permutation(len(dataset)).tolist()"),
    Mistake("a fixed seed", "5.5", ORDER, "np.random.default_rng(0).permutation(len(dataset)).tolist()"),
    Mistake("the global generator", "5.5", ORDER, "random.generator().permutation(len(dataset)).tolist()"),
    Mistake("indices drawn with replacement", "5.5", ORDER, "generator.integers(len(dataset), size=len(dataset)).tolist()"),
    Mistake("a permutation for each part", "5.5", PIECES, "Subset(dataset, generator.permutation(len(dataset)).tolist()[stop - size : stop])"),
    Mistake("parts start at 0", "5.5", PIECES, "Subset(dataset, order[:size])"),
    Mistake("parts grow", "5.5", PIECES, "Subset(dataset, order[:stop])"),
    Mistake("indices from 0 in each part", "5.5", PIECES, "Subset(dataset, list(range(stop - size, stop)))"),
    Mistake("lists instead of Subsets", "5.5", PIECES, "[dataset[i] for i in order[stop - size : stop]]"),
    Mistake("a Subset of a copy", "5.5", PIECES, "Subset([dataset[i] for i in range(len(dataset))], order[stop - size : stop])"),
    Mistake("an array of indices", "5.5", ".permutation(len(dataset)).tolist()", ".permutation(len(dataset))"),
    Mistake("shuffled blocks of neighbours", "5.5", ORDER, "np.roll(np.arange(len(dataset)), int(generator.integers(len(dataset)))).tolist()"),
    Mistake("the last part is lost", "5.5", "for size, stop in zip(sizes, stops, strict=True)\n    ]", "for size, stop in zip(sizes, stops, strict=True)\n    ][:-1]"),
    # 5.6
    Mistake("examples are split", "5.6", "    return [Subset(dataset, [index for g in part.indices for index in rows[g]]) for part in parts]", "    return random_split(dataset, [sum(len(rows[g]) for g in p.indices) for p in parts], generator)"),
    Mistake("one example of each group", "5.6", "for index in rows[g]]", "for index in rows[g][:1]]"),
    Mistake("numbers of groups as indices", "5.6", "[index for g in part.indices for index in rows[g]]", "part.indices"),
    Mistake("parts of groups", "5.6", "    return [Subset(dataset, [index for g in part.indices for index in rows[g]]) for part in parts]", "    return parts"),
    Mistake("groups in the order they come", "5.6", "random_split(rows, lengths, generator)", "[Subset(rows, list(range(0, len(rows)))) for _ in lengths]"),
    Mistake("the generator is not handed on", "5.6", ", lengths, generator)\n", ", lengths)\n"),
    Mistake("a fixed seed", "5.6", ", lengths, generator)\n", ", lengths, np.random.default_rng(0))\n"),
    Mistake("a new generator by default", "5.6", ", lengths, generator)\n", ", lengths, generator or np.random.default_rng())\n"),
    Mistake("groups are not checked", "5.6", "enumerate(_checked_groups(groups, len(dataset)))", "enumerate(groups)"),
    Mistake("only neighbours are a group", "5.6", new="""
def group_split(dataset, groups, lengths, generator=None):
    names = _checked_groups(groups, len(dataset))
    rows = [[i for i, _ in pairs] for _, pairs in itertools.groupby(enumerate(names), lambda pair: pair[1])]
    parts = random_split(rows, lengths, generator)
    return [Subset(dataset, [i for g in part.indices for i in rows[g]]) for part in parts]
"""),
    Mistake("groups that are 0 are dropped", "5.6", "        members.setdefault(group, []).append(index)", "        if group:\n            members.setdefault(group, []).append(index)"),
    Mistake("groups by their first part", "5.6", "members.setdefault(group, [])", "members.setdefault(group[0] if isinstance(group, tuple) else group, [])"),
    Mistake("the last example of each group", "5.6", "members.setdefault(group, []).append(index)", "members[group] = [index]"),
    Mistake("lists of examples", "5.6", "Subset(dataset, [index for g in part.indices for index in rows[g]])", "[dataset[index] for g in part.indices for index in rows[g]]"),
    # 5.7
    Mistake("the variance", "5.7", FIT, "values.mean(axis, keepdims=True), values.var(axis, keepdims=True)"),
    Mistake("divided by N - 1", "5.7", FIT, "values.mean(axis, keepdims=True), values.std(axis, keepdims=True, ddof=1)"),
    Mistake("from 0 to 1", "5.7", FIT, "values.min(axis, keepdims=True), np.ptp(values, axis, keepdims=True)"),
    Mistake("divided by the largest", "5.7", FIT, "values.mean(axis, keepdims=True), np.abs(values).max(axis, keepdims=True)"),
    Mistake("mean over everything", "5.7", FIT, "values.mean(keepdims=True), values.std(keepdims=True)"),
    Mistake("mean over the features", "5.7", FIT, "values.mean(-1, keepdims=True), values.std(-1, keepdims=True)"),
    Mistake("always axis 0", "5.7", FIT, "values.mean(0, keepdims=True), values.std(0, keepdims=True)"),
    Mistake("the median", "5.7", "values.mean(axis, keepdims=True)", "np.median(values, axis, keepdims=True)"),
    Mistake("the axis of examples stays", "5.7", "self._store(mean[0], std[0])", "self._store(mean, std)"),
    Mistake("statistics are rounded to float32", "5.7", FIT, "values.astype(np.float32).mean(axis, keepdims=True), values.astype(np.float32).std(axis, keepdims=True)"),
    Mistake("a formula that cancels", "5.7", "values.std(axis, keepdims=True)", "np.sqrt(np.abs((values.astype(np.float32)**2).mean(axis, keepdims=True) - mean.astype(np.float32)**2)) if (mean := values.mean(axis, keepdims=True)) is not None else 0"),
    Mistake("nothing is returned", "5.7", "return self._store", "self._store"),
    Mistake("no check of the data", "5.7", "self._checked(x, axis)", "np.asarray(x, np.float64)"),
    Mistake("fitted once only", "5.7", "        return self._store", "        if self.mean is not None:\n            return self\n        return self._store"),
    Mistake("only shifted", "5.7", APPLY, 'x.to("float64") - self.mean'),
    Mistake("only scaled", "5.7", APPLY, 'x.to("float64") / self.std'),
    Mistake("the mean is added", "5.7", APPLY, '(x.to("float64") + self.mean) / self.std'),
    Mistake("multiplied by std", "5.7", APPLY, '(x.to("float64") - self.mean) * self.std'),
    Mistake("without brackets", "5.7", APPLY, 'x.to("float64") - self.mean / self.std'),
    Mistake("a small number is added to std", "5.7", "/ self.std, x)", "/ (self.std + 1e-2), x)"),
    Mistake("statistics of the data at hand", "5.7", "        x = self._ready(x)\n", "        x = self._ready(x)\n        if x.ndim > 1 and len(x) > 1:\n            self.fit(x.numpy())\n"),
    Mistake("the result stays float64", "5.7", f"_cast({APPLY}, x)", APPLY),
    Mistake("integers become integers", "5.7", f"_cast({APPLY}, x)", f"({APPLY}).to(x.dtype)"),
    Mistake("float32 always", "5.7", 'z.to("float64") * self.std + self.mean, z)', 'z.to("float32") * self.std.astype(np.float32) + self.mean.astype(np.float32), z)'),
    Mistake("an array", "5.7", f"_cast({APPLY}, x)", f"_cast({APPLY}, x).numpy()"),
    Mistake("inverse adds first", "5.7", 'z.to("float64") * self.std + self.mean', '(z.to("float64") + self.mean) * self.std'),
    Mistake("inverse standardizes again", "5.7", 'z.to("float64") * self.std + self.mean', '(z.to("float64") - self.mean) / self.std'),
    Mistake("inverse divides", "5.7", 'z.to("float64") * self.std + self.mean', 'z.to("float64") / self.std + self.mean'),
    Mistake("applied before fit", "5.7", "        x = self._ready(x)\n", "        x = x if isinstance(x, Tensor) else Tensor(x)\n        self.mean = 0.0 if self.mean is None else self.mean\n        self.std = 1.0 if self.std is None else self.std\n"),
    # 5.8
    Mistake("one block too many", "5.8", LENGTH, "(len(self.ids) - self.block_size) // self.stride + 1"),
    Mistake("one block too few", "5.8", LENGTH, "(len(self.ids) - self.block_size - 1) // self.stride"),
    Mistake("blocks side by side", "5.8", LENGTH, "len(self.ids) // self.block_size"),
    Mistake("rounded up", "5.8", LENGTH, "-(-(len(self.ids) - self.block_size) // self.stride) + 1"),
    Mistake("the stride is ignored in the length", "5.8", LENGTH, "len(self.ids) - self.block_size"),
    Mistake("the number of tokens", "5.8", LENGTH, "len(self.ids)"),
    Mistake("the stride is ignored in a batch", "5.8", "indices[:, None] * self.stride", "indices[:, None]"),
    Mistake("blocks begin at multiples of T", "5.8", "indices[:, None] * self.stride", "indices[:, None] * self.block_size"),
    Mistake("targets are the inputs", "5.8", "blocks[:, :-1], blocks[:, 1:]", "blocks[:, :-1], blocks[:, :-1]"),
    Mistake("inputs and targets exchanged", "5.8", "blocks[:, :-1], blocks[:, 1:]", "blocks[:, 1:], blocks[:, :-1]"),
    Mistake("only the next token", "5.8", "blocks[:, :-1], blocks[:, 1:]", "blocks[:, :-1], blocks[:, -1:]"),
    Mistake("targets two tokens later", "5.8", "starts + np.arange(self.block_size + 1)]  # (B, T + 1)", "np.minimum(starts + np.arange(self.block_size + 2), len(self.ids) - 1)]"),
    Mistake("targets are rolled", "5.8", "blocks[:, :-1], blocks[:, 1:]", "blocks[:, :-1], np.roll(blocks[:, :-1], -1, axis=1)"),
    Mistake("blocks of T tokens in all", "5.8", "np.arange(self.block_size + 1)]", "np.arange(self.block_size)]"),
    Mistake("along the wrong axis", "5.8", "blocks[:, :-1], blocks[:, 1:]", "blocks[:-1], blocks[1:]"),
    Mistake("a block with an axis for the batch", "5.8", "return x[0], y[0]", "return x, y"),
    Mistake("a list of two", "5.8", "return x[0], y[0]", "return x[0], y[0], None"),
    Mistake("negative indices are refused", "5.8", "-len(self) <= index", "0 <= index"),
    Mistake("indices wrap around", "5.8", "if not -len(self) <= index < len(self):", "if False:"),
    Mistake("a ValueError", "5.8", "raise IndexError(f\"block {index} does", "raise ValueError(f\"block {index} does"),
    Mistake("no check in a batch", "5.8", CHECK, "False"),
    Mistake("an empty batch fails", "5.8", CHECK, "not 0 <= indices.min() <= indices.max() < len(self)"),
    Mistake("only the upper end is checked", "5.8", CHECK, "indices.size and indices.max() >= len(self)"),
    Mistake("only the first index is checked", "5.8", CHECK, "indices.size and not 0 <= indices[0] < len(self)"),
    Mistake("arrays instead of tensors", "5.8", "return Tensor(x, backend=self.backend), Tensor(y, backend=self.backend)", "return x, y"),
    Mistake("the backend of targets", "5.8", "Tensor(y, backend=self.backend)", "Tensor(y)"),
    Mistake("the backend of inputs", "5.8", "Tensor(x, backend=self.backend)", "Tensor(x)"),
    Mistake("int32", "5.8", "blocks[:, :-1], blocks[:, 1:]", "blocks[:, :-1].astype(np.int32), blocks[:, 1:].astype(np.int32)"),
    Mistake("a loop that forgets the order", "5.8", "indices = np.asarray(indices)  # (B,)", "indices = np.unique(np.asarray(indices))"),
    # 5.9
    Mistake("never shuffled", "5.9", "if self.shuffle:", "if False:"),
    Mistake("always shuffled", "5.9", "if self.shuffle:", "if True:"),
    Mistake("the generator is not handed on", "5.9", SAMPLER, "RandomSampler(self.dataset)"),
    Mistake("a generator of its own", "5.9", SAMPLER, "RandomSampler(self.dataset, generator=np.random.default_rng(0))"),
    Mistake("a new generator by default", "5.9", SAMPLER, "RandomSampler(self.dataset, generator=generator or np.random.default_rng())"),
    Mistake("drawn with replacement", "5.9", SAMPLER, "RandomSampler(self.dataset, replacement=True, generator=generator)"),
    Mistake("one order for all epochs", "5.9", SAMPLER, "list(RandomSampler(self.dataset, generator=generator))"),
    Mistake("collate_fn is ignored", "5.9", "if self.collate_fn is not None:", "if False:"),
    Mistake("collate_fn gets a batch", "5.9", "self.collate_fn([self.dataset[_plain(i)] for i in indices])", "self.collate_fn(_examples(self.dataset, indices))"),
    Mistake("collate_fn gets indices", "5.9", "self.collate_fn([self.dataset[_plain(i)] for i in indices])", "self.collate_fn(list(indices))"),
    Mistake("collate_fn gets its examples one by one", "5.9", "self.collate_fn([self.dataset[_plain(i)] for i in indices])", "[self.collate_fn(self.dataset[_plain(i)]) for i in indices]"),
    Mistake("NumPy's integers as indices", "5.9", "self.dataset[_plain(i)]", "self.dataset[i]"),
    Mistake("a fast batch comes first", "5.9", "if self.collate_fn is not None:", 'if self.collate_fn is not None and not hasattr(self.dataset, "batch"):'),
    Mistake("every dataset has batch", "5.9", "return batch(indices) if callable(batch) else _examples(self.dataset, indices)", "return self.dataset.batch(indices)"),
    Mistake("an attribute batch is called", "5.9", "if callable(batch)", "if batch is not None"),
    Mistake("the fast way is never used", "5.9", "return batch(indices) if callable(batch) else _examples(self.dataset, indices)", "return _examples(self.dataset, indices)"),
    Mistake("examples are not collated", "5.9", "else _examples(self.dataset, indices)", "else [self.dataset[_plain(i)] for i in indices]"),
    Mistake("indices instead of batches", "5.9", "yield self._load(indices)", "yield indices"),
    Mistake("a generator in a generator", "5.9", "yield from self._single_examples()", "yield self._single_examples()"),
    Mistake("return in a generator", "5.9", "yield from self._single_examples()", "return self._single_examples()"),
    Mistake("only the first batch", "5.9", "                yield self._load(indices)", "                yield self._load(indices)\n                return"),
    Mistake("all batches are loaded first", "5.9", "for indices in self._index_lists():", "for indices in list(self._index_lists()):"),
    Mistake("one batch is loaded ahead", "5.9", new="""
def __iter__(self):
    if self.batch_size is None and self.batch_sampler is None:
        yield from self._single_examples()
    elif self.is_stream:
        for examples in self._example_lists():
            yield (self.collate_fn or collate)(examples)
    else:
        lists = self._index_lists()
        ahead = next(lists, None)
        while ahead is not None:
            indices, ahead = ahead, next(lists, None)
            yield self._load(indices)
""", within="DataLoader"),
    Mistake("streams by index", "5.9", "elif self.is_stream:", "elif False:"),
    Mistake("streams ignore collate_fn", "5.9", "(self.collate_fn or collate)(examples)", "collate(examples)"),
    Mistake("streams are not collated", "5.9", "(self.collate_fn or collate)(examples)", "self.collate_fn(examples) if self.collate_fn else examples"),
    Mistake("a batch_sampler gives single examples", "5.9", "if self.batch_size is None and self.batch_sampler is None:", "if self.batch_size is None:"),
    Mistake("streams first", "5.9", "if self.batch_size is None and self.batch_sampler is None:", "if self.batch_size is None and self.batch_sampler is None and not self.is_stream:"),
]

ALIKE = "_kind_of has checked that the examples are alike"
ROUNDS = "more rounds than needed are cut off"
ONE = "an axis of length 1"
NUMPY = "NumPy raises the IndexError for positions beyond the end"
ACCEPTED = "accepted: neither the docstring nor the hints ask for a message"

EQUIVALENT = {
    '5.1 TensorDataset.__len__: 0 -> -1 in "self.tensors[0]"': "all tensors are equally long",
    '5.2 collate: 0 -> -1 in "examples[0]"': ALIKE,
    '5.2 collate: without strict=True in "zip(*examples, strict=True)"': ALIKE,
    '5.2 collate: True -> False in "zip(*examples, strict=True)"': ALIKE,
    '5.4 RandomSampler.order: size -> count in "rng.permutation(size)"': "they are equal there",
    '5.4 RandomSampler.order: // -> * in "-count // max(1, size)"': ROUNDS,
    '5.4 RandomSampler.order: without the right operand of // in "-count // max(1, size)"': ROUNDS,
    '5.4 RandomSampler.order: arguments 1 and size swapped in "max(1, size)"': "the larger of two numbers",
    '5.4 RandomSampler.order: without the call of max in "max(1, size)"': ROUNDS,
    '5.4 RandomSampler.order: rounds -> rounds + 1 in "range(rounds)"': ROUNDS,
    '5.5 sizes_of_fractions: without the right operand of % in "i % len(sizes)"': "rounding leaves less than one for each part",
    '5.5 random_split: without strict=True in "zip(sizes, stops, strict=True)"': "both have one number for each part",
    '5.5 random_split: True -> False in "zip(sizes, stops, strict=True)"': "both have one number for each part",
    '5.6 group_split: rows -> members in "random_split(rows, lengths, generator)"': "only the number of groups matters",
    '5.7 Standardizer.fit: 0 -> -1 in "mean[0]"': ONE,
    '5.7 Standardizer.fit: 0 -> -1 in "std[0]"': ONE,
    '5.8 TokenDataset.__getitem__: no message in "raise IndexError(f"block {index} does not exist among {len(self)}")"': ACCEPTED,
    '5.8 TokenDataset.__getitem__: 0 -> -1 in "x[0]"': ONE,
    '5.8 TokenDataset.__getitem__: 0 -> -1 in "y[0]"': ONE,
    '5.8 TokenDataset.batch: < -> <= in "0 <= indices.min() <= indices.max() < len(self)"': NUMPY,
    '5.8 TokenDataset.batch: max -> min in "indices.max()"': NUMPY,
    '5.8 TokenDataset.batch: no message in "raise IndexError(f"block {indices} does not exist among {len(self)}")"': ACCEPTED,
}
