"""Errors for names of PyTorch that TinyTorch does not have."""

import difflib
from collections.abc import Iterable

# What to use instead of a missing name, where no name is similar.
INSTEAD: dict[str, str] = {
    "torch.nn.utils.rnn.pack_padded_sequence": "pass the padded batch to the recurrent layer.",
    "torch.nn.utils.rnn.pad_packed_sequence": "pass the padded batch to the recurrent layer.",
    "torch.optim.LBFGS": "use SGD with momentum, or Adam.",
    "torch.optim.NAdam": "use Adam.",
    "torch.optim.RAdam": "use Adam.",
    "torch.optim.SparseAdam": "use Adam.",
    "torch.utils.data.DistributedSampler": "use Trainer(..., processes=2).",
    "torch.nn.DataParallel": "use Trainer(..., processes=2).",
}


def missing_name(owner: str, name: str, present: Iterable[str]) -> AttributeError:
    """The error for an attribute `name` that `owner`, such as "torch.nn", does not have.

    Args:
        owner: PyTorch's name of the module or class.
        name: the attribute.
        present: the attributes that exist, among which the nearest is named.

    >>> from tinytorch.missing import missing_name
    >>> missing_name("torch.nn", "Linaer", ["Linear", "Dropout"])
    AttributeError('torch.nn.Linaer is not in tinytorch; did you mean Linear? See docs/pytorch.md')
    """
    near = difflib.get_close_matches(name, [n for n in present if n[:1] != "_"], n=1, cutoff=0.75)
    hint = INSTEAD.get(f"{owner}.{name}") or (f"did you mean {near[0]}?" if near else "")
    text = f"{owner}.{name} is not in tinytorch; {hint} See docs/pytorch.md"
    return AttributeError(text.replace(";  ", "; ").replace("; See", "; see"), name=name)
