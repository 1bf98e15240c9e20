"""Errors for names of PyTorch that TinyTorch does not have."""

import difflib
from collections.abc import Iterable

# What to use instead of a missing name, where no name is similar.
INSTEAD: dict[str, str] = {
    "torch.Tensor.new": "use new_tensor, new_zeros or new_empty.",
    "torch.Tensor.resize_": "use reshape, or a new tensor.",
    "torch.Tensor.storage": "use numpy().",
    "torch.Tensor.untyped_storage": "use numpy().",
    "torch.complex64": "tensors hold real numbers.",
    "torch.complex128": "tensors hold real numbers.",
    "torch.distributed": "use Trainer(..., processes=2).",
    "torch.fft": "use numpy.fft on x.numpy().",
    "torch.jit": "run the model as it is written.",
    "torch.multiprocessing": "use Trainer(..., processes=2).",
    "torch.profiler": "set TT_DEBUG=1, which prints the time of each op.",
    "torch.onnx": "save the weights with save(model.state_dict(), path).",
    "torch.nn.utils.rnn.pack_padded_sequence": "pass the padded batch to the recurrent layer.",
    "torch.nn.utils.rnn.pad_packed_sequence": "pass the padded batch to the recurrent layer.",
    "torch.optim.LBFGS": "use SGD with momentum, or Adam.",
    "torch.optim.NAdam": "use Adam.",
    "torch.optim.RAdam": "use Adam.",
    "torch.optim.SparseAdam": "use Adam.",
    "torch.utils.data.DistributedSampler": "use Trainer(..., processes=2).",
    "torch.nn.DataParallel": "use Trainer(..., processes=2).",
}


class MissingNameError(AttributeError):
    """An attribute that PyTorch may have and TinyTorch does not; see `missing_name`.

    The message is made when it is shown, because `hasattr` raises many such errors.
    """

    def __init__(self, owner: str, name: str, present: Iterable[str] | type) -> None:
        super().__init__(owner, name)
        self.owner, self.name, self._present = owner, name, present

    def __str__(self) -> str:
        known = self._present
        names = dir(known) if isinstance(known, type) else known
        present = [n for n in names if n[:1] != "_"]
        near = difflib.get_close_matches(str(self.name), present, n=1, cutoff=0.75)
        hint = INSTEAD.get(f"{self.owner}.{self.name}") or (near and f"did you mean {near[0]}?")
        start = f"{self.owner}.{self.name} is not in tinytorch"
        return f"{start}; {hint} See docs/pytorch.md" if hint else f"{start}; see docs/pytorch.md"


def missing_name(owner: str, name: str, present: Iterable[str] | type) -> AttributeError:
    """The error for an attribute `name` that `owner`, such as "torch.nn", does not have.

    Args:
        owner: PyTorch's name of the module or class.
        name: the attribute.
        present: the attributes that exist, or the class that has them; the nearest is named.

    >>> from tinytorch.missing import missing_name
    >>> print(missing_name("torch.nn", "Linaer", ["Linear", "Dropout"]))
    torch.nn.Linaer is not in tinytorch; did you mean Linear? See docs/pytorch.md
    """
    return MissingNameError(owner, name, present)
