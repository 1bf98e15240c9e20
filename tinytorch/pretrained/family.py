"""A family of models: how its files describe a model, and the table of its keys."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from .keys import Row, Sizes


class Layout(NamedTuple):
    """How one kind of files holds the models of a family.

    Attributes:
        model: class of the models; built from ``model.from_config(config)``.
        config: ``config(fields, source)`` is our configuration of a file's.
        sizes: the numbers of the letters in the rows, from our configuration.
        rows: the table of keys.
        ignored: patterns of tensors that are not weights.
        prefix: what names of tensors begin with in some files.
    """

    model: Any
    config: Callable[[Mapping[str, Any], Any], Any]
    sizes: Callable[[Any], Sizes]
    rows: list[Row]
    ignored: tuple[str, ...] = ()
    prefix: str = ""

    def rows_for(self, config: Any) -> list[Row]:
        """The rows of a model: without a head that is tied, and biases that it does not have."""
        bias = getattr(config, "bias", True)
        return [
            row
            for row in self.rows
            if (bias or not row.ours.endswith(".bias"))
            and not (config.tie_weights and row.ours == "head.weight")
        ]

    def ignored_for(self, config: Any) -> tuple[str, ...]:
        """Patterns of tensors that are not read: a tied head is one of them."""
        heads = [row.theirs for row in self.rows if row.ours == "head.weight"]
        return (*self.ignored, *heads) if config.tie_weights else self.ignored

    def short_name(self, name: str) -> str:
        """The name of a tensor as the rows have it."""
        return name.removeprefix("_orig_mod.").removeprefix(self.prefix)
