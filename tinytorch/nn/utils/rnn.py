"""The names of `torch.nn.utils.rnn`: batches of sequences of different lengths."""

from collections.abc import Sequence
from typing import Any

from ...functions.shapes import concat, stack
from ...missing import missing_name
from ...tensor import Tensor

__all__ = ["pad_sequence", "unpad_sequence"]


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
