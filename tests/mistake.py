"""A typical mistake of a student, as a change of the correct code (mutation testing)."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mistake:
    """A mistake in one exercise of a lesson.

    Attributes:
        name: what is wrong, in a few words.
        exercise: the exercise's number, "12.1".
        old: a fragment of the correct code.
        new: the replacement for every occurrence of `old`.
        count: how often `old` occurs.
    """

    name: str
    exercise: str
    old: str
    new: str
    count: int = 1

    def in_source(self, source: str) -> str:
        """Return the exercise's source with the mistake.

        Raises:
            ValueError: `old` does not occur `count` times, so the mistake does not apply.
        """
        found = source.count(self.old)
        if found != self.count:
            raise ValueError(f"{self.name}: {self.old!r} occurs {found} times, not {self.count}")
        return source.replace(self.old, self.new)
