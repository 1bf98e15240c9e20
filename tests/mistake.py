"""Changes of a lesson's correct code: typical mistakes of students, and other right solutions."""

import ast
from dataclasses import dataclass


@dataclass(frozen=True)
class Change:
    """A change of the code of one exercise.

    Either a fragment is replaced, or whole functions:

        Mistake("the mask looks ahead", "12.1", ">=", "<=")
        Mistake("ids are skipped", "10.1", within="CharTokenizer", new='''
    def encode(self, text):
        return [self.char_to_id[c] for c in text if c in self.char_to_id]
    ''')

    Attributes:
        name: what is different, in a few words.
        exercise: the exercise's number, "12.1".
        old: a fragment of the correct code; empty to replace whole functions.
        new: the replacement for every occurrence of `old`; or the functions, each in place of the
            one with its name, with the decorators of that one if it has none of its own. Other
            functions, and imports, are inserted in front.
        count: how often `old` occurs.
        within: the class whose methods are replaced; empty for functions at the top level.
    """

    name: str
    exercise: str
    old: str = ""
    new: str = ""
    count: int = 1
    within: str = ""

    def in_source(self, source: str) -> str:
        """Return the exercise's source with the change.

        Raises:
            ValueError: `old` does not occur `count` times, or `new` defines none of the exercise's
                functions, so the change does not apply.
        """
        if not self.old:
            return self._with_functions(source)
        found = source.count(self.old)
        if found != self.count:
            raise ValueError(f"{self.name}: {self.old!r} occurs {found} times, not {self.count}")
        return source.replace(self.old, self.new)

    def _with_functions(self, source: str) -> str:
        body: list[ast.stmt] = ast.parse(source).body
        where = self.within or "the exercise"
        if self.within:
            classes = [n for n in body if isinstance(n, ast.ClassDef) and n.name == self.within]
            if not classes:
                raise ValueError(f"{self.name}: there is no class {self.within}")
            body = classes[0].body
        theirs = {n.name: n for n in body if isinstance(n, ast.FunctionDef | ast.ClassDef)}
        mine = ast.parse(self.new).body
        names = [getattr(node, "name", "") for node in mine]
        if not set(names) & set(theirs):
            raise ValueError(f"{self.name}: {where} has no {' and no '.join(names) or 'function'}")
        lines, new = source.split("\n"), self.new.split("\n")
        edits = []
        for node, name in zip(mine, names, strict=True):
            own = new[_first_line(node) : node.end_lineno]
            old = theirs.get(name, body[0])
            start = _first_line(old)
            stop = (old.end_lineno or 0) if name in theirs else start
            if name in theirs and not getattr(node, "decorator_list", []):
                start = old.lineno - 1
            indent = " " * body[0].col_offset
            edits.append((start, stop, [indent + line if line else "" for line in own]))
        edits.sort(key=lambda edit: edit[:2])
        for start, stop, text in reversed(edits):
            lines[start:stop] = text
        return "\n".join(lines)


def _first_line(node: ast.stmt) -> int:
    """Return the first line of a definition, from 0, including its decorators."""
    return min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))]) - 1


class Mistake(Change):
    """A typical mistake of a student, which the inline test of its exercise must find."""


class Alternative(Change):
    """A right solution that differs from the package's, which the inline tests must accept."""
