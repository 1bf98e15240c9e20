"""Rules for the inline tests of lessons, checked in their syntax trees.

1. Every check has a cause.
2. The student's code runs only inside of a check: an error that it raises is then a message with
   the cause. `uses_outside_of_checks` follows the names of an exercise, of the results of
   `check.call`, and of functions that use them.
"""

import ast
from collections.abc import Iterator

# Position of the cause among the arguments of a check; None if it is a keyword only.
CAUSES = {"equal": 3, "close": 3, "true": 2, "call": 2, "raises": 3, "gradient": None}
PAIRED = ("zip", "enumerate", "reversed")  # functions that only rearrange what they are given


def checks_without_cause(source: str) -> Iterator[str]:
    """Yield the checks of a test that have no cause."""
    tree = ast.parse(source)
    for call in (n for n in ast.walk(tree) if isinstance(n, ast.Call)):
        if _method(call, _check_names(tree)) in CAUSES and not _has_cause(call):
            yield _text(call)


def _has_cause(call: ast.Call) -> bool:
    assert isinstance(call.func, ast.Attribute)
    found = [k.value for k in call.keywords if k.arg == "cause"]
    position = CAUSES[call.func.attr]
    if position is not None:
        found += call.args[position : position + 1]
    return any(not isinstance(value, ast.Constant) or value.value for value in found)


def _check_names(tree: ast.AST) -> set[str]:
    """Return the names of the `Exercise` objects of a test."""
    return {
        item.optional_vars.id
        for node in ast.walk(tree)
        if isinstance(node, ast.With)
        for item in node.items
        if isinstance(item.optional_vars, ast.Name)
        and isinstance(item.context_expr, ast.Call)
        and isinstance(item.context_expr.func, ast.Name)
        and item.context_expr.func.id == "Exercise"
    }


def _method(call: ast.Call, checks: set[str]) -> str:
    """Return the name of the check that is called; "" if it is no check."""
    match call.func:
        case ast.Attribute(value=ast.Name(id=name), attr=method) if name in checks:
            return method
    return ""


def _text(node: ast.AST) -> str:
    return f"line {getattr(node, 'lineno', 0)}: {ast.unparse(node):.90}"


def uses_outside_of_checks(source: str, names: set[str]) -> list[str]:
    """Return the statements of a test in which code of the student can raise an error.

    Args:
        source: the test.
        names: what the student defines. Names that the test binds to the student's objects are
            added, for the tests after this one.
    """
    tree = ast.parse(source)
    test = _Test(names, _check_names(tree))
    test.run(tree.body)
    return test.problems


class _Test:
    def __init__(self, names: set[str], checks: set[str]) -> None:
        self.names, self.checks = names, checks
        self.helpers: set[str] = set()  # functions that contain checks
        self.problems: list[str] = []

    def run(self, body: list[ast.stmt]) -> None:
        for statement in body:
            self.statement(statement)

    def statement(self, node: ast.stmt) -> None:
        match node:
            case ast.With():
                for item in node.items:
                    self.require(item.context_expr, node)
                self.run(node.body)
            case ast.For():
                self.require(node.iter, node)
                self.bind(node.target, node.iter, loop=True)
                self.run(node.body + node.orelse)
            case ast.If() | ast.While():
                self.require(node.test, node)
                self.run(node.body + node.orelse)
            case ast.Try():
                self.run([*node.body, *node.orelse, *node.finalbody])
            case ast.Assign():
                self.require(node.value, node)
                for target in node.targets:
                    self.bind(target, node.value)
            case ast.AnnAssign(value=ast.expr() as value):
                self.require(value, node)
                self.bind(node.target, value)
            case ast.FunctionDef():
                self.function(node)
            case ast.ClassDef():
                self.names |= {node.name} if self.used(node) else set()
            case ast.Import() | ast.ImportFrom() | ast.Pass() | ast.Global():
                pass
            case ast.Expr(value=value):
                self.require(value, node)
            case _:
                if self.used(node):
                    self.problems.append(_text(node))

    def function(self, node: ast.FunctionDef) -> None:
        for default in (*node.args.defaults, *node.args.kw_defaults):
            if default is not None:
                self.require(default, node)
        calls = (n for n in ast.walk(node) if isinstance(n, ast.Call))
        if any(_method(call, self.checks) in CAUSES for call in calls):
            before = set(self.names)
            self.names |= {argument.arg for argument in ast.walk(node.args)
                           if isinstance(argument, ast.arg)}  # fmt: skip
            self.run(node.body)
            self.names = before
            self.helpers.add(node.name)
        elif self.used(node):
            self.names.add(node.name)
        else:
            self.names.discard(node.name)

    def require(self, value: ast.expr, statement: ast.stmt) -> None:
        """Report an expression in which code of the student runs."""
        if not self.is_deferred(value):
            self.problems.append(_text(value if isinstance(value, ast.Call) else statement))

    def is_deferred(self, node: ast.expr) -> bool:
        """Whether evaluating an expression only refers to the student's objects."""
        match node:
            case ast.Name():
                return True
            case ast.Lambda():
                defaults = (*node.args.defaults, *node.args.kw_defaults)
                return all(self.is_deferred(d) for d in defaults if d is not None)
            case ast.Tuple() | ast.List() | ast.Set():
                return all(self.is_deferred(element) for element in node.elts)
            case ast.Dict():
                return all(self.is_deferred(v) for v in (*node.keys, *node.values) if v)
            case ast.Starred(value=value):
                return isinstance(value, ast.Name) and value.id not in self.names
            case ast.ListComp() | ast.GeneratorExp():
                iters = [g.iter for g in node.generators]
                tests = [test for g in node.generators for test in g.ifs]
                return all(map(self.is_deferred, [node.elt, *iters, *tests]))
            case ast.Call() if self.only_passes(node):
                arguments = [*node.args, *(k.value for k in node.keywords)]
                return all(self.is_deferred(argument) for argument in arguments)
        return not self.used(node)

    def only_passes(self, call: ast.Call) -> bool:
        """Whether a call is a check, or rearranges its arguments."""
        known = isinstance(call.func, ast.Name) and call.func.id in (*PAIRED, *self.helpers)
        return known or _method(call, self.checks) in CAUSES

    def used(self, node: ast.AST) -> bool:
        return any(isinstance(n, ast.Name) and n.id in self.names for n in ast.walk(node))

    def bind(self, target: ast.expr, value: ast.expr, loop: bool = False) -> None:
        """Follow a value to the names of the target; with `loop`, its elements."""
        if isinstance(target, ast.Name):
            call = isinstance(value, ast.Call) and _method(value, self.checks) == "call"
            change = self.names.add if call or self.used(value) else self.names.discard
            change(target.id)
        elif isinstance(target, ast.Tuple | ast.List):
            parts = _parts(value, len(target.elts)) if loop else _elements(value)
            if isinstance(value, ast.ListComp | ast.GeneratorExp):
                parts = [value.elt] * len(target.elts)
            counted = isinstance(value, ast.Call) and any(k.arg == "count" for k in value.keywords)
            if parts is None and self.used(value) and not (counted or loop):
                self.problems.append(f"{_text(target)} = ...: needs count={len(target.elts)}")
            for index, element in enumerate(target.elts):
                known = parts is not None and index < len(parts)
                self.bind(element, parts[index] if parts and known else value)
        elif self.used(target):
            self.problems.append(f"{_text(target)} = ...")


def _elements(value: ast.expr) -> list[ast.expr] | None:
    return value.elts if isinstance(value, ast.Tuple | ast.List) else None


def _parts(value: ast.expr, count: int) -> list[ast.expr] | None:
    """Return what each of `count` targets of a loop over `value` is bound to."""
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
        if value.func.id == "zip":
            return value.args
        if value.func.id == "enumerate":
            return [ast.Constant(0), *value.args]
    rows = [_elements(element) for element in _elements(value) or []]
    if not rows or any(row is None or len(row) != count for row in rows):
        return None
    return [ast.Tuple([row[i] for row in rows if row]) for i in range(count)]
