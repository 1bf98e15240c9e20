"""Tables of configurations: the fields of a file that are arguments of a model, and the others.

What a model of ours cannot be told must have the value that it computes with; what differs is named
field by field.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..arguments import shown
from .errors import PretrainedError


class Field(NamedTuple):
    """A field of a file, and the argument that it is.

    Attributes:
        ours: name of the argument.
        theirs: name in files.
        default: of files without it; ... if it must be there.
    """

    ours: str
    theirs: str
    default: Any = ...


def read_fields(fields: list[Field], given: Mapping[str, Any], source: Any) -> dict[str, Any]:
    """The arguments of a model from a file's configuration.

    Raises:
        PretrainedError: fields are missing; it names them.
    """
    missing = [f.theirs for f in fields if f.default is ... and given.get(f.theirs) is None]
    if missing:
        raise PretrainedError(f"{source} lacks {', '.join(missing)}")
    found = {f.ours: given.get(f.theirs) for f in fields}
    return {f.ours: f.default if found[f.ours] is None else found[f.ours] for f in fields}


def check_fixed(fixed: Mapping[str, Any], given: Mapping[str, Any], source: Any) -> None:
    """Check that fields which are no arguments have the values that the model computes with.

    Raises:
        PretrainedError: they differ; it names all of them.
    """
    wrong = [
        f"{name} is {shown(given[name])}, not {shown(value)}"
        for name, value in fixed.items()
        if given.get(name) is not None and not _equal(given[name], value)
    ]
    if wrong:
        raise PretrainedError(f"{source} describes another model: {'; '.join(wrong)}")


def _equal(given: Any, value: Any) -> bool:
    if isinstance(value, float) and type(given) in (int, float):
        return bool(abs(given - value) <= 1e-6 * value)  # some are saved as float32
    return type(given) is type(value) and bool(given == value)
