"""What students typically get wrong, as a change of the right code."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mistake:
    """A mistake in one exercise of a lesson.

    Attributes:
        name: what is wrong, in a few words.
        exercise: its number, "12.1".
        old: a piece of the right code, which occurs `count` times.
        new: what the student writes instead, everywhere.
        count: how often.
    """

    name: str
    exercise: str
    old: str
    new: str
    count: int = 1

    def in_source(self, source: str) -> str:
        """The exercise's source with the mistake."""
        found = source.count(self.old)
        if found != self.count:
            raise ValueError(f"{self.name}: {self.old!r} occurs {found} times, not {self.count}")
        return source.replace(self.old, self.new)
