"""The names of `torch.nn.utils.rnn`: batches of sequences of different lengths."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...arguments import ShapeError, shown
from ...functions.creation import arange, tensor
from ...functions.joining import concat, stack
from ...missing import missing_name
from ...tensor import Tensor

__all__ = [
    "PackedSequence",
    "pack_padded_sequence",
    "pack_sequence",
    "pad_packed_sequence",
    "pad_sequence",
    "unpad_sequence",
]


@dataclass(frozen=True)
class PackedSequence:
    """A batch of sequences of different lengths, for recurrent layers.

    PyTorch stores the steps without padding; here the batch keeps it.

    Attributes:
        padded: the sequences (T, B, ...), with padding after their ends.
        lengths: the length of each sequence, from 1 to T.
    """

    padded: Tensor
    lengths: tuple[int, ...]

    def to(self, *target: Any, **options: Any) -> "PackedSequence":
        """The batch on another device or of another dtype."""
        return PackedSequence(self.padded.to(*target, **options), self.lengths)


def pack_padded_sequence(
    input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """A batch whose padding recurrent layers skip.

    Args:
        input: the sequences (T, B, ...), or (B, T, ...) with `batch_first`.
        lengths: the length of each, a list or a tensor.
        batch_first: whether the batch is the first axis.
        enforce_sorted: raise an error if the lengths are not descending.

    Raises:
        RuntimeError: a length is not in 1 to T, or they are not descending.
    """
    x = input.transpose(0, 1) if batch_first else input
    sizes = tuple(int(n) for n in lengths)
    if len(sizes) != x.shape[1] or not all(1 <= n <= len(x) for n in sizes):
        raise ShapeError(
            f"pack_padded_sequence needs {x.shape[1]} lengths from 1 to {len(x)}, got"
            f" {shown(sizes)}"
        )
    if enforce_sorted and list(sizes) != sorted(sizes, reverse=True):
        raise RuntimeError(
            "pack_padded_sequence: the lengths are not in descending order;"
            " pass enforce_sorted=False"
        )
    return PackedSequence(x[: max(sizes)], sizes)


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """The same for a list of sequences (T_i, ...)."""
    lengths = [len(x) for x in sequences]
    return pack_padded_sequence(pad_sequence(sequences), lengths, False, enforce_sorted)


def pad_packed_sequence(
    sequence: PackedSequence,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Tensor, Tensor]:
    """The sequences of a packed batch with padding (T, B, ...), and their lengths.

    Args:
        sequence: what a recurrent layer, or `pack_padded_sequence`, returned.
        batch_first: return (B, T, ...) instead.
        padding_value: the value after the end of each sequence.
        total_length: T; by default the largest length.
    """
    x, lengths = sequence.padded, tensor(sequence.lengths, device=sequence.padded.backend)
    steps = total_length or len(x)
    if steps < len(x):
        raise ShapeError(f"pad_packed_sequence: total_length {steps} is less than {len(x)}")
    if steps > len(x):
        x = concat([x, x.new_zeros((steps - len(x), *x.shape[1:]))])
    after = arange(steps, device=x.backend).unsqueeze(1) >= lengths  # (T, B)
    x = x.masked_fill(after.reshape(*after.shape, *[1] * (x.ndim - 2)), padding_value)
    return (x.transpose(0, 1) if batch_first else x), lengths


def pad_sequence(
    sequences: Sequence[Tensor],
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Tensor:
    """Stack sequences (T_i, ...) with padding at their ends, as (T, B, ...) for the largest T.

    Args:
        sequences: the tensors.
        batch_first: return (B, T, ...) instead.
        padding_value: the padding.
        padding_side: "right" puts it after the values, "left" before them.

    >>> from tinytorch import Tensor
    >>> from tinytorch.nn.utils.rnn import pad_sequence
    >>> pad_sequence([Tensor([1, 2, 3]), Tensor([4])], batch_first=True)
    Tensor([[1, 2, 3],
            [4, 0, 0]])
    """
    if padding_side not in ("left", "right"):
        raise ValueError(f"padding_side must be 'left' or 'right', not {padding_side!r}")
    given = list(sequences)
    if not given:
        raise ValueError("pad_sequence got no sequences")
    for sequence in given:
        if not isinstance(sequence, Tensor):
            raise TypeError(f"pad_sequence takes a list of tensors, not {type(sequence).__name__}")
    length = max(len(sequence) for sequence in given)

    def padded(x: Tensor) -> Tensor:
        padding = x.new_full((length - len(x), *x.shape[1:]), padding_value)
        return concat([x, padding] if padding_side == "right" else [padding, x])

    return stack([padded(x) for x in given], axis=0 if batch_first else 1)


def unpad_sequence(
    padded_sequences: Tensor, lengths: Tensor, batch_first: bool = False
) -> list[Tensor]:
    """The sequences of a batch (T, B, ...), or (B, T, ...), without the padding after them."""
    batch = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    return [x[:length] for x, length in zip(batch, lengths.tolist(), strict=True)]


def __getattr__(name: str) -> Any:
    raise missing_name("torch.nn.utils.rnn", name, globals())
