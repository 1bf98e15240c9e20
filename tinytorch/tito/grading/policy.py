"""What the code of an exercise may use, checked without running it.

An exercise computes: it needs arithmetic, containers, NumPy and the modules that its lesson uses,
but no files, no processes, no interpreter internals, and it never changes what others have
defined. Code that breaks a rule gets no points; the message names the line and the rule. Whatever
the lesson's own solution of the exercise uses is allowed, too.

The rules are the first of several layers, not a sandbox: see docs/grading.md.
"""

import ast
import importlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import ModuleType

from ..syntax import syntax_tree


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Modules of Python that only compute; of these, the public names.
PYTHON = _words("""
    __future__ abc array bisect cmath collections collections.abc contextlib copy dataclasses
    decimal enum fractions functools heapq itertools json math numbers operator random re
    statistics string struct textwrap time typing typing_extensions unicodedata warnings
""")
NUMPY = _words("""
    numpy numpy.fft numpy.lib.stride_tricks numpy.linalg numpy.polynomial numpy.random numpy.typing
""")
# Parts of the package without a second version of a lesson's code, such as a kernel.
PACKAGE = _words("""
    activations arguments attention autograd dataloader embeddings functions layers losses modules
    ops optimizers tensor tokenization training transformers
""")

# Functions of Python that run text as code, find variables by name, or use files.
FUNCTIONS = _words("""
    __import__ breakpoint compile delattr eval exec exit globals help input locals open quit setattr
    vars
""")
# Attributes that lead to other modules, files, frames or kernels, with or without a "_" in front.
ATTRIBUTES = _words("""
    DataSource ForwardRef Formatter attrgetter backends bltns builtins cffi codecs core ctypes
    ctypeslib dump f2py f_back f_builtins f_code f_globals f_locals fromfile fromregex gc genfromtxt
    get_field get_type_hints importlib inspect io kernels linecache loadtxt make_dataclass marshal
    memmap methodcaller mro multiprocessing open open_memmap os pathlib pickle posix registry runpy
    savetxt savez savez_compressed shutil signal socket subprocess sys testing thread threading tito
    tofile types updates weakref
""")
PREFIXES = ("ag_", "cr_", "gi_", "tb_")  # of coroutines, generators and tracebacks
OF_NUMPY = _words("lib load save source test")  # of the module only
# Special methods that an exercise may call; it may define these and a few others.
SPECIAL = _words("""
    __add__ __call__ __contains__ __doc__ __enter__ __exit__ __float__ __getitem__ __init__ __int__
    __iter__ __len__ __matmul__ __mul__ __name__ __neg__ __next__ __post_init__ __pow__ __qualname__
    __radd__ __repr__ __rmul__ __setitem__ __str__ __sub__ __truediv__
""")
DEFINED = SPECIAL | _words("__delitem__ __hash__ __lt__ __missing__ __reversed__ __slots__")
# Classes whose objects the tests take at their word.
BASES = _words("""
    Array BaseException Exercise KeyboardInterrupt Parameter SystemExit Tensor Variable bool bytes
    complex float frozenset generic int list ndarray property set str tuple type
""")
# Attributes of objects other than self that an exercise may set, beside those of the solution.
SET = _words("bias data grad length p requires_grad training weight")
# Methods that the tests call, which no object may replace.
READ = _words("""
    all allclose any append backward close equal item load_state_dict named_parameters numpy
    parameters raises state_dict tolist true
""")


@dataclass(frozen=True, order=True)
class Violation:
    """A line of an exercise that breaks a rule."""

    line: int
    text: str
    rule: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.text}: {self.rule}"


@dataclass(frozen=True)
class Solution:
    """What the lesson's own solution of an exercise uses, which is therefore allowed.

    Attributes:
        code: its definitions.
        imports: the import statement behind each name of its module, and of the lesson's notebook.
        public: the module behind each name of `tinytorch`, such as "tinytorch.tensor".
        modules: the modules of the lesson, in which all exercises are the student's or blank.
    """

    code: str
    imports: Mapping[str, str]
    public: Mapping[str, str]
    modules: Collection[str] = ()


def violations(
    definitions: Iterable[ast.stmt], imports: Mapping[str, str], solution: Solution
) -> list[Violation]:
    """Return the lines of an exercise that break a rule, in order.

    Args:
        definitions: the functions, classes and constants that would be exported.
        imports: the import statements behind names of the notebook, "np": "import numpy as np".
        solution: what is allowed beside the rules.
    """
    found: set[Violation] = set()
    for node in definitions:
        found.update(_Rules(node, imports, solution).visit(node))
    return sorted(found)


# A module, and a name that is imported from it, or "" for the module itself.
Origin = tuple[str, str]


class _Rules:
    """The rules for one definition."""

    def __init__(self, node: ast.stmt, imports: Mapping[str, str], solution: Solution) -> None:
        self.public, self.modules = solution.public, solution.modules
        own = syntax_tree(solution.code)
        nodes = list(ast.walk(own))
        self.chains = set(_chains(own)) - {"getattr", "hasattr"}
        self.set = SET | {n.attr for n in nodes if isinstance(n, ast.Attribute) and _is_changed(n)}
        self.defined = DEFINED | {getattr(n, "name", "") for n in nodes}
        self.calls = {ast.unparse(n) for n in nodes if isinstance(n, ast.Call)}
        self.bases = {ast.unparse(b) for n in nodes for b in getattr(n, "bases", ())}
        known = {name: _origins(text)[name] for name, text in solution.imports.items()}
        self.used = set(known.values())
        self.origins = {n: _origins(text)[n] for n, text in imports.items()} | known
        self.locals: set[str] = set()
        for inner in ast.walk(node):
            if isinstance(inner, ast.Import | ast.ImportFrom):
                self.origins |= _origins(ast.unparse(inner))
            elif isinstance(inner, ast.arg):
                self.locals.add(inner.arg)
            elif isinstance(inner, ast.Name) and not isinstance(inner.ctx, ast.Load):
                self.locals.add(inner.id)

    def visit(self, node: ast.AST) -> Iterator[Violation]:
        """Yield the violations in a syntax tree."""
        if _chain(node) in self.chains and not _is_changed(node):
            return
        for rule in self._rules(node):
            text = ast.unparse(node).split("\n")[0]
            yield Violation(getattr(node, "lineno", 0), f"{text:.60}", rule)
        inner = list(ast.iter_child_nodes(node))
        if isinstance(node, ast.Call) and _chain(node.func) in ("getattr", "hasattr"):
            inner.remove(node.func)  # all other uses of these functions are violations
        for child in inner:
            yield from self.visit(child)

    def _rules(self, node: ast.AST) -> Iterator[str]:
        match node:
            case ast.Import(names=modules):
                for module in modules:
                    yield from self._imported((module.name, ""))
            case ast.ImportFrom():
                for origin in _origins(ast.unparse(node)).values():
                    yield from self._imported(origin)
            case ast.Name(id=name):
                yield from self._name(name)
            case ast.Attribute():
                yield from self._changed(node) if _is_changed(node) else self._read(node)
            case ast.Subscript(ctx=ast.Store() | ast.Del()) if self._origin(_root(node)):
                yield f"{_root(node)} is imported and must not be changed"
            case ast.Call(func=ast.Name(id="getattr" | "hasattr"), args=[_, name, *_]):
                if isinstance(name, ast.Constant) and isinstance(name.value, str):
                    yield from _attribute(name.value)
                elif ast.unparse(node) not in self.calls:
                    yield "the name of the attribute must be a text, as in getattr(x, 'ndim')"
            case ast.Call(func=ast.Name(id="type"), args=[_, _, *_]):
                yield "define classes with the statement class"
            case ast.Constant(value=str(text)):
                for name in _formatted(text):
                    yield from _attribute(name)
            case ast.MatchClass(kwd_attrs=names):
                for name in names:
                    yield from _attribute(name)
            case ast.ClassDef(bases=bases, keywords=keywords):
                for base in (b for b in bases if ast.unparse(b) not in self.bases):
                    name = _chain(base.value if isinstance(base, ast.Subscript) else base)
                    if not name or name.rpartition(".")[2] in BASES:
                        yield f"a class of an exercise must not be a kind of {ast.unparse(base)}"
                if any(k.arg in (None, "metaclass") for k in keywords):
                    yield "a class of an exercise has no metaclass"
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                if _is_special(name) and name not in self.defined:
                    yield f"an exercise must not define {name}"

    def _name(self, name: str) -> Iterator[str]:
        if origin := self._origin(name):
            yield from self._imported(origin)
        elif name in FUNCTIONS or (_is_special(name) and name not in DEFINED):
            yield f"{name} must not be used"
        elif name in ("getattr", "hasattr"):
            yield f"{name} must be called directly"

    def _origin(self, name: str) -> Origin | None:
        origin = self.origins.get(name)
        is_local = name in self.locals and not (origin and _is_dangerous(origin[0]))
        return None if is_local else origin

    def _changed(self, node: ast.Attribute) -> Iterator[str]:
        root = _root(node)
        if self._origin(root):
            yield f"{root} is imported and must not be changed"
        elif node.attr in READ or _is_special(node.attr):
            yield f"{node.attr} must not be replaced"
        elif root != "self" and node.attr not in self.set:
            yield f"{node.attr} must not be set, except of self"

    def _read(self, node: ast.Attribute) -> Iterator[str]:
        yield from _attribute(node.attr)
        module = self._module(node.value)
        if module:
            yield from self._imported((module, node.attr))

    def _module(self, node: ast.expr) -> str:
        """Return the module that an expression such as `np` or `np.random` is, or ""."""
        match node:
            case ast.Name(id=name) if origin := self._origin(name):
                full = ".".join(filter(None, origin))
                return full if not origin[1] or full in PYTHON | NUMPY else ""
            case ast.Attribute(value=value, attr=attr):
                full = f"{self._module(value)}.{attr}"
                return full if full in PYTHON | NUMPY else ""
        return ""

    def _imported(self, origin: Origin) -> Iterator[str]:
        """Yield a rule if a module, or a name of it, is not allowed."""
        module, name = origin
        if (origin in self.used and not _is_dangerous(module)) or module in self.modules:
            return
        if module == "tinytorch" and name:
            allowed = _is_of_package(self.public.get(name, f"tinytorch.{name}"))
        elif module in PYTHON and name:
            allowed = name in _public(module) or f"{module}.{name}" in PYTHON
        elif module == "numpy":
            allowed = name not in OF_NUMPY
        else:
            allowed = module in PYTHON | NUMPY | {"tinytorch"} or _is_of_package(module)
        if not allowed or name == "*":
            yield f"{'.'.join(filter(None, origin))} is not allowed in an exercise"
        yield from _attribute(name)


def _attribute(name: str) -> Iterator[str]:
    if _is_special(name):
        forbidden = name not in SPECIAL
    else:
        forbidden = name.strip("_") in ATTRIBUTES or name.startswith(PREFIXES)
    if forbidden:
        yield f"the attribute {name} must not be used"


def _formatted(text: str) -> Iterator[str]:
    """Yield the attributes that str.format would read for a text, as in "{0.ndim}"."""
    for field in re.findall(r"\{([^{}]*)", text):
        yield from re.findall(r"\.(\w+)", field)


def _chain(node: ast.AST) -> str:
    """Return a name, or names with dots, as in `np.random`; "" for anything else."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=attr) if chain := _chain(value):
            return f"{chain}.{attr}"
    return ""


def _chains(node: ast.AST) -> Iterator[str]:
    """Yield the longest chains of a syntax tree: of `np.random.normal` not `np` by itself."""
    if chain := _chain(node):
        yield chain
    else:
        for child in ast.iter_child_nodes(node):
            yield from _chains(child)


def _root(node: ast.AST) -> str:
    """Return the name at the start of attributes and elements, as x in `x.a[0].b`, or ""."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _origins(statement: str) -> dict[str, Origin]:
    """Return the origin of each name that an import statement binds."""
    node = syntax_tree(statement).body[0]
    if isinstance(node, ast.ImportFrom):
        module = "." * node.level + (node.module or "")
        return {alias.asname or alias.name: (module, alias.name) for alias in node.names}
    assert isinstance(node, ast.Import)
    return {
        alias.asname or alias.name.partition(".")[0]: (
            alias.name if alias.asname else alias.name.partition(".")[0], ""
        )
        for alias in node.names
    }  # fmt: skip


def _is_changed(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del)


def _is_special(name: str) -> bool:
    return len(name) > 4 and name.startswith("__") and name.endswith("__")


def _is_of_package(module: str) -> bool:
    package, _, rest = module.partition(".")
    return package == "tinytorch" and rest.partition(".")[0] in PACKAGE


def _is_dangerous(module: str) -> bool:
    """Whether a module of Python does more than compute: of it, only what the solution uses."""
    return module.partition(".")[0] not in ("tinytorch", "numpy") and module not in PYTHON


@cache
def _public(module: str) -> frozenset[str]:
    """Return the public names of a module of Python, without the modules that it imports."""
    try:
        loaded = importlib.import_module(module)
    except ImportError:
        return frozenset()
    names = getattr(loaded, "__all__", [n for n in dir(loaded) if not n.startswith("_")])
    return frozenset(n for n in names if not isinstance(getattr(loaded, n, None), ModuleType))
