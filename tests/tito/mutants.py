"""Generated mistakes: small changes of the code that a student writes in an exercise.

Each mutant differs from the solution in one place: another operator or comparison, a number that is
one off, an axis, the order of a tuple or of arguments, a statement or an argument left out, a
condition negated, one variable in place of another of the same kind. Its id names the function, the
change and the code around it, so it stays the same when other lines change:

    12.2 attention_weights: * -> / in "q @ xp.matrix_transpose(k) * scale"
"""

import ast
import builtins
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

OPERATORS: dict[type[ast.operator], tuple[str, tuple[str, ...]]] = {
    ast.Add: ("+", ("-",)), ast.Sub: ("-", ("+",)), ast.Mult: ("*", ("/", "+")),
    ast.Div: ("/", ("*",)), ast.FloorDiv: ("//", ("*",)), ast.Mod: ("%", ("//",)),
    ast.Pow: ("**", ("*",)), ast.MatMult: ("@", ("*",)), ast.BitAnd: ("&", ("|",)),
    ast.BitOr: ("|", ("&",)), ast.BitXor: ("^", ("|",)),
    ast.LShift: ("<<", (">>",)), ast.RShift: (">>", ("<<",)),
}  # fmt: skip
ORDERED = (ast.Sub, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.MatMult)
COMPARISONS: dict[type[ast.cmpop], tuple[str, tuple[str, ...]]] = {
    ast.Lt: ("<", ("<=", ">")), ast.LtE: ("<=", ("<", ">=")), ast.Gt: (">", (">=", "<")),
    ast.GtE: (">=", (">", "<=")), ast.Eq: ("==", ("!=",)), ast.NotEq: ("!=", ("==",)),
    ast.Is: ("is", ("is not",)), ast.IsNot: ("is not", ("is",)),
    ast.In: ("in", ("not in",)), ast.NotIn: ("not in", ("in",)),
}  # fmt: skip
# Functions and attributes that are taken for each other.
CONFUSED = {
    a: b
    for pair in (
        ("min", "max"), ("any", "all"), ("zeros", "ones"), ("zeros_like", "ones_like"),
        ("sum", "mean"), ("argmax", "argmin"), ("sin", "cos"), ("float32", "float64"),
        ("startswith", "endswith"), ("maximum", "minimum"), ("append", "extend"),
    )
    for a, b in (pair, pair[::-1])
}  # fmt: skip
LONGEST = 70  # characters of code in an id


@dataclass(frozen=True)
class Mutant:
    """The source of an exercise, changed in one place.

    Attributes:
        id: exercise, function, change and the code around it.
        exercise: its number.
        source: the changed source of the whole exercise.
        line: the changed line or lines.
    """

    id: str
    exercise: str
    source: str
    line: str


class Edit(NamedTuple):
    """Replace `node` by `new`; `around` is the code that the id shows."""

    node: ast.AST
    new: str
    change: str
    around: ast.AST


def mutants(exercise: str, source: str, written: Iterable[str]) -> list[Mutant]:
    """Return all mutants of an exercise.

    Args:
        exercise: its number.
        source: its solution.
        written: functions, and methods as "Class.method", that the student writes.
    """
    tree, text = ast.parse(source), Text(source)
    found, seen, counts = [], {ast.dump(tree)}, Counter[str]()
    for name in written:
        function = _function(tree, name)
        for edit in Edits(function, text, _attributes(tree, name)):
            start, stop = text.span(edit.node)
            changed = source[:start] + edit.new + source[stop:]
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    dumped = ast.dump(ast.parse(changed))
                    compile(changed, "mutant", "exec")
            except SyntaxError:  # the edit is not possible here
                continue
            if dumped in seen:
                continue
            seen.add(dumped)
            title = f'{exercise} {name}: {edit.change} in "{text.short(edit.around)}"'
            counts[title] += 1
            if counts[title] > 1:
                title += f" #{counts[title]}"
            first = source.rfind("\n", 0, start) + 1
            last = source.find("\n", stop)
            line = source[first:start] + edit.new + source[stop : last if last >= 0 else None]
            found.append(Mutant(title, exercise, changed, line.strip()))
    return found


class Text:
    """A source text, and where its nodes are."""

    def __init__(self, source: str) -> None:
        self.source = source
        self._starts = [0]
        self._lines = source.split("\n")
        for line in self._lines:
            self._starts.append(self._starts[-1] + len(line) + 1)

    def span(self, node: ast.AST) -> tuple[int, int]:
        """Return the range of characters of a node."""
        return (
            self._index(node.lineno, node.col_offset),
            self._index(node.end_lineno, node.end_col_offset),
        )

    def _index(self, line: int, column: int) -> int:
        before = self._lines[line - 1].encode()[:column].decode()  # columns count bytes
        return self._starts[line - 1] + len(before)

    def of(self, node: ast.AST) -> str:
        """Return the code of a node."""
        start, stop = self.span(node)
        return self.source[start:stop]

    def short(self, node: ast.AST) -> str:
        """Return the code of a node on one line, without comments, shortened."""
        code = re.sub(r"(?m)\s+#.*$", "", self.of(node))
        code = re.sub(r"\s+", " ", code).replace("( ", "(").replace(", )", ")").replace(" )", ")")
        return code if len(code) <= LONGEST else f"{code[:LONGEST]}..."


class Edits:
    """All edits of a function's body."""

    def __init__(self, function: ast.FunctionDef, text: Text, attributes: list[str]) -> None:
        self.function, self.text, self.attributes = function, text, attributes
        self.roles = _roles(function, text)
        self.bound = _bound_at(function)
        self.calls = {id(node.func) for node in ast.walk(function) if isinstance(node, ast.Call)}

    def __iter__(self) -> Iterator[Edit]:
        body = self.function.body
        for statement in body[1:] if ast.get_docstring(self.function) is not None else body:
            yield from self.visit(statement, statement)

    def visit(self, node: ast.AST, parent: ast.AST) -> Iterator[Edit]:
        """Yield the edits of a node and of all nodes in it, except annotations and messages."""
        if isinstance(node, ast.JoinedStr):
            return
        if isinstance(node, ast.Raise):
            yield from self.raising(node)
            return
        if isinstance(node, ast.stmt):
            yield from self.statement(node)
        method = getattr(self, type(node).__name__, None)
        if method is not None:
            yield from method(node, parent)
        for field, value in ast.iter_fields(node):
            if field in ("annotation", "returns", "type_comment", "ctx", "args") and (
                field != "args" or not isinstance(node, ast.Call)
            ):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST) and not _is_negative(node):
                    shown = node if isinstance(node, ast.expr | ast.stmt) else parent
                    yield from self.visit(child, self.around(shown))

    def around(self, node: ast.AST) -> ast.AST:
        """The node that ids of its children show: of a block of statements, the condition."""
        if isinstance(node, ast.If | ast.While):
            return node.test
        if isinstance(node, ast.For):
            return node.iter
        if isinstance(node, ast.With):
            return node.items[0].context_expr
        return node

    # Statements

    def statement(self, node: ast.stmt) -> Iterator[Edit]:
        """Yield the edit that leaves a statement out."""
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Try | ast.Pass):
            return
        if isinstance(node, ast.Assign | ast.AnnAssign) and not self.may_be_dropped(node):
            return
        yield Edit(node, "pass", "dropped", self.around(node))

    def may_be_dropped(self, node: ast.Assign | ast.AnnAssign) -> bool:
        """Whether a name is bound earlier; otherwise leaving it out is a NameError."""
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        names = [n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)
                 and isinstance(n.ctx, ast.Store)]  # fmt: skip
        return all(self.bound[name] < node.lineno for name in names)

    def Assign(self, node: ast.Assign, parent: ast.AST) -> Iterator[Edit]:  # noqa: N802
        for target in node.targets:
            if isinstance(target, ast.Tuple):
                for element in target.elts:
                    if isinstance(element, ast.Attribute | ast.Subscript):
                        yield Edit(element, "_", "not assigned", element)

    def AugAssign(self, node: ast.AugAssign, parent: ast.AST) -> Iterator[Edit]:  # noqa: N802
        target, value = self.text.of(node.target), self.text.of(node.value)
        sign, others = OPERATORS[type(node.op)]
        yield Edit(node, f"{target} = {value}", f"{sign}= -> =", node)
        for other in others[:1]:
            yield Edit(node, f"{target} {other}= {value}", f"{sign}= -> {other}=", node)

    def raising(self, node: ast.Raise) -> Iterator[Edit]:
        yield Edit(node, "pass", "dropped", node)
        if isinstance(node.exc, ast.Call):
            kind = self.text.of(node.exc.func)
            other = "RuntimeError" if kind != "RuntimeError" else "ValueError"
            yield Edit(node.exc.func, other, f"{kind} -> {other}", node)
            yield Edit(node.exc, f"{kind}()", "no message", node)

    def If(self, node: ast.If, parent: ast.AST) -> Iterator[Edit]:  # noqa: N802
        yield from self.condition(node.test)

    def While(self, node: ast.While, parent: ast.AST) -> Iterator[Edit]:  # noqa: N802
        yield from self.condition(node.test)

    def IfExp(self, node: ast.IfExp, parent: ast.AST) -> Iterator[Edit]:  # noqa: N802
        for name, part in (("first value", node.body), ("second value", node.orelse)):
            yield Edit(node, f"({self.text.of(part)})", f"always the {name}", node)
        yield Edit(node.test, f"not ({self.text.of(node.test)})", "negated", node)

    def condition(self, test: ast.expr) -> Iterator[Edit]:
        if not isinstance(test, ast.Constant):
            yield Edit(test, f"not ({self.text.of(test)})", "negated", test)
            yield Edit(test, "True", "always true", test)
        yield Edit(test, "False", "always false", test)

    def For(self, node: ast.For, parent: ast.AST) -> Iterator[Edit]:  # noqa: N802
        yield from self.items(node.iter)

    def comprehension(self, node: ast.comprehension, parent: ast.AST) -> Iterator[Edit]:
        yield from self.items(node.iter)
        for test in node.ifs:
            yield Edit(test, f"not ({self.text.of(test)})", "negated", test)
            yield Edit(test, "True", "always true", test)

    def items(self, node: ast.expr) -> Iterator[Edit]:
        code = self.text.of(node)
        yield Edit(node, f"list({code})[1:]", "without the first item", node)
        yield Edit(node, f"list({code})[:-1]", "without the last item", node)

    def With(self, node: ast.With, parent: ast.AST) -> Iterator[Edit]:  # noqa: N802
        for item in node.items:
            if item.optional_vars is None:
                new = '__import__("contextlib").nullcontext()'
                yield Edit(item.context_expr, new, "without context manager", item.context_expr)

    # Expressions

    def BinOp(self, node: ast.BinOp, parent: ast.AST) -> Iterator[Edit]:  # noqa: N802
        left, right = f"({self.text.of(node.left)})", f"({self.text.of(node.right)})"
        sign, others = OPERATORS[type(node.op)]
        for other in others:
            yield Edit(node, f"({left} {other} {right})", f"{sign} -> {other}", node)
        yield Edit(node, left, f"without the right operand of {sign}", node)
        yield Edit(node, right, f"without the left operand of {sign}", node)
        if isinstance(node.op, ORDERED):
            yield Edit(node, f"({right} {sign} {left})", f"operands of {sign} swapped", node)

    def UnaryOp(self, node: ast.UnaryOp, parent: ast.AST) -> Iterator[Edit]:  # noqa: N802
        if _is_negative(node):
            assert isinstance(node.operand, ast.Constant)
            yield from self.number(node, -node.operand.value, parent)
        else:
            sign = {ast.USub: "-", ast.Not: "not", ast.Invert: "~"}.get(type(node.op), "+")
            yield Edit(node, f"({self.text.of(node.operand)})", f"without {sign}", node)

    def Compare(self, node: ast.Compare, parent: ast.AST) -> Iterator[Edit]:  # noqa: N802
        parts = [self.text.of(part) for part in (node.left, *node.comparators)]
        signs = [COMPARISONS[type(op)][0] for op in node.ops]
        for index, op in enumerate(node.ops):
            for other in COMPARISONS[type(op)][1]:
                changed = [*signs[:index], other, *signs[index + 1 :]]
                new = parts[0]
                for sign, part in zip(changed, parts[1:], strict=True):
                    new += f" {sign} {part}"
                yield Edit(node, f"({new})", f"{signs[index]} -> {other}", node)

    def BoolOp(self, node: ast.BoolOp, parent: ast.AST) -> Iterator[Edit]:  # noqa: N802
        parts = [f"({self.text.of(value)})" for value in node.values]
        sign, other = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        yield Edit(node, "(" + f" {other} ".join(parts) + ")", f"{sign} -> {other}", node)
        for index, part in enumerate(node.values):
            rest = f" {sign} ".join(parts[:index] + parts[index + 1 :])
            yield Edit(node, f"({rest})", f"without {self.text.short(part)}", node)

    def Constant(self, node: ast.Constant, parent: ast.AST) -> Iterator[Edit]:  # noqa: N802
        value = node.value
        if isinstance(value, bool):
            yield Edit(node, str(not value), f"{value} -> {not value}", parent)
        elif isinstance(value, int | float):
            yield from self.number(node, value, parent)
        elif isinstance(value, str) and value:
            yield Edit(node, '""', f'{self.text.short(node)} -> ""', parent)

    def number(self, node: ast.AST, value: float, parent: ast.AST) -> Iterator[Edit]:
        others = [value + 1, value - 1, 0, 1] if isinstance(value, int) else [2 * value, 0.0, 1.0]
        if value in (-1, -2):
            others.append(-3 - value)  # the other one of the last two axes
        for other in dict.fromkeys(others):
            if other != value:
                yield Edit(node, f"{other!r}", f"{self.text.of(node)} -> {other!r}", parent)

    def Tuple(self, node: ast.Tuple, parent: ast.AST) -> Iterator[Edit]:  # noqa: N802
        yield from self.swapped(node, node.elts, "items")

    def List(self, node: ast.List, parent: ast.AST) -> Iterator[Edit]:  # noqa: N802
        yield from self.swapped(node, node.elts, "items")

    def Slice(self, node: ast.Slice, parent: ast.AST) -> Iterator[Edit]:  # noqa: N802
        parts = {"lower": node.lower, "upper": node.upper, "step": node.step}
        for name, part in parts.items():
            if part is None:
                continue
            code = self.text.of(part)
            others = {f"no {name} bound" if name != "step" else "no step": ""}
            if not isinstance(part, ast.Constant) and name != "step":
                others |= {f"{name} bound + 1": f"{code} + 1", f"{name} bound - 1": f"{code} - 1"}
            for change, new in others.items():
                codes = {k: self.text.of(v) if v is not None else "" for k, v in parts.items()}
                codes[name] = new
                code_of = f"{codes['lower']} : {codes['upper']}"
                code_of += f" : {codes['step']}" if codes["step"] else ""
                yield Edit(node, code_of, change, parent)

    def swapped(self, node: ast.AST, parts: list[ast.expr], what: str) -> Iterator[Edit]:
        """Yield edits that exchange two neighbours."""
        start, stop = self.text.span(node)
        for first, second in pairwise(parts):
            (a, b), (c, d) = self.text.span(first), self.text.span(second)
            source = self.text.source
            new = source[start:a] + source[c:d] + source[b:c] + source[a:b] + source[d:stop]
            names = f"{self.text.short(first)} and {self.text.short(second)}"
            yield Edit(node, new, f"{what} {names} swapped", node)

    def Call(self, node: ast.Call, parent: ast.AST) -> Iterator[Edit]:  # noqa: N802
        args = [self.text.of(arg) for arg in node.args]
        keywords = [self.text.of(keyword) for keyword in node.keywords]
        function = self.text.of(node.func)
        if not any(isinstance(arg, ast.Starred | ast.GeneratorExp) for arg in node.args):
            yield from self.swapped(node, node.args, "arguments")
            if len(args) > 1:
                new = f"{function}({', '.join([*args[:-1], *keywords])})"
                yield Edit(
                    node, new, f"without the argument {self.text.short(node.args[-1])}", node
                )
            if function == "range":
                for index, arg in enumerate(args):
                    for sign in "+-":
                        changed = [*args[:index], f"{arg} {sign} 1", *args[index + 1 :]]
                        new = f"range({', '.join(changed)})"
                        yield Edit(node, new, f"{arg} -> {arg} {sign} 1", node)
        for index, keyword in enumerate(node.keywords):
            if keyword.arg is not None:
                rest = [*args, *keywords[:index], *keywords[index + 1 :]]
                new = f"{function}({', '.join(rest)})"
                yield Edit(node, new, f"without {self.text.short(keyword)}", node)
        if node.args and not isinstance(node.args[0], ast.Starred):
            arg = node.args[1] if function.startswith("softmax_array") else node.args[0]
            yield Edit(node, f"({self.text.of(arg)})", f"without the call of {function}", node)
        if isinstance(node.func, ast.Attribute):
            owner = self.text.of(node.func.value)
            if owner not in ("self", "np", "xp", "math", "random", "backend.xp", "re"):
                yield Edit(node, f"({owner})", f"without .{node.func.attr}()", node)

    def Attribute(self, node: ast.Attribute, parent: ast.AST) -> Iterator[Edit]:  # noqa: N802
        owner = self.text.of(node.value)
        others = [CONFUSED[node.attr]] if node.attr in CONFUSED else []
        if owner == "self" and isinstance(node.ctx, ast.Load):
            called = id(node) in self.calls
            used = {
                n.attr: id(n) in self.calls
                for n in ast.walk(self.function)
                if isinstance(n, ast.Attribute) and self.text.of(n.value) == "self"
            }
            others += [a for a in self.attributes if a != node.attr and used.get(a) == called]
        for other in others:
            yield Edit(node, f"{owner}.{other}", f"{node.attr} -> {other}", parent)

    def Name(self, node: ast.Name, parent: ast.AST) -> Iterator[Edit]:  # noqa: N802
        if not isinstance(node.ctx, ast.Load):
            return
        if hasattr(builtins, CONFUSED.get(node.id, "")):
            yield Edit(node, CONFUSED[node.id], f"{node.id} -> {CONFUSED[node.id]}", parent)
        role = self.roles.get(node.id)
        for other, its_role in self.roles.items():
            if role == its_role and other != node.id and role and self.bound[other] < node.lineno:
                yield Edit(node, other, f"{node.id} -> {other}", parent)


def _is_negative(node: ast.AST) -> bool:
    """Whether a node is a negative number, such as an axis -1."""
    return (
        isinstance(node, ast.UnaryOp)
        and isinstance(node.op, ast.USub)
        and isinstance(node.operand, ast.Constant)
    )


def _function(tree: ast.Module, name: str) -> ast.FunctionDef:
    """Return a function, or the method "Class.method"."""
    body: list[ast.stmt] = tree.body
    *owners, name = name.split(".")
    for owner in owners:
        body = next(n.body for n in body if isinstance(n, ast.ClassDef) and n.name == owner)
    return next(n for n in body if isinstance(n, ast.FunctionDef) and n.name == name)


def _attributes(tree: ast.Module, name: str) -> list[str]:
    """Return the names of all attributes of self that the function's class mentions."""
    owner = name.rpartition(".")[0]
    nodes = (n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == owner)
    return sorted(
        {
            node.attr
            for top in nodes
            for node in ast.walk(top)
            if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "self"
        }
    )


def _roles(function: ast.FunctionDef, text: Text) -> dict[str, str]:
    """Return what kind of value each variable of a function holds, as far as one can see it.

    Parameters with the same annotation are of one kind, and so are names that are bound together,
    as in `B, T, C = x.shape`. All other local variables are of one kind.
    """
    roles = {}
    arguments = function.args
    for arg in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
        if arg.annotation is not None:
            roles[arg.arg] = text.of(arg.annotation).removesuffix(" | None")
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            roles.setdefault(node.id, "local")
        if isinstance(node, ast.Tuple) and isinstance(node.ctx, ast.Store):
            for name in node.elts:
                if isinstance(name, ast.Name) and roles.get(name.id, "local") == "local":
                    roles[name.id] = text.of(node)
    return roles


def _bound_at(function: ast.FunctionDef) -> dict[str, int]:
    """Return the line at which each variable is bound first."""
    lines = {arg.arg: function.lineno for arg in ast.walk(function) if isinstance(arg, ast.arg)}
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            lines[node.id] = min(node.lineno, lines.get(node.id, node.lineno))
    return lines
