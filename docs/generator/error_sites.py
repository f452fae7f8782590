"""Finding every error that patchpm can raise, by reading its code.

An error is made by a call of a class of `patchpm.errors` with the code first, or of `Record`, which takes the code and
the class by keyword. Where the code is a parameter of the function around the call, that function makes errors too,
and its own calls are looked at, until every code is known as text. A code that stays unknown is an error of its own,
so no code can be left out in silence.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from patchpm import errors
from patchpm.errors import PatchpmError

CLASSES = {
    name: found for name, found in vars(errors).items() if isinstance(found, type) and issubclass(found, PatchpmError)
}
_RECORD = "Record"
_READS_CODES = "patchpm/patch/record.py"
"""The module of `Record` itself, which passes codes on."""


@dataclass(frozen=True, slots=True, order=True)
class Site:
    """One kind of error: its code, its class, and what it says, with `…` for what differs."""

    code: str
    kind: str
    what: str


@dataclass(frozen=True, slots=True)
class _Made:
    """An error as the code writes it."""

    kind: str
    code: ast.expr
    what: ast.expr


@dataclass(frozen=True, slots=True)
class _Maker:
    """A function that makes an error whose code, or part of it, is one of its parameters."""

    made: _Made
    function: ast.FunctionDef


@dataclass
class _Module:
    path: str
    tree: ast.Module
    constants: dict[str, ast.expr] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """As it is imported."""
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


_Makers = dict[tuple[str, str], list[_Maker]]
"""By module and name; a public function is known in every module, under the empty one."""


def error_sites(package: Path) -> list[Site]:
    """All errors of a package, sorted.

    Raises:
        ValueError: for a code that cannot be found out.
    """
    modules = [_module(path, package) for path in sorted(package.rglob("*.py"))]
    _share_constants(modules)
    found: set[Site] = set()
    makers: _Makers = {}
    pending = [(module, function, call) for module in modules for function, call in _calls(module.tree)]
    known = -1
    while known != sum(map(len, makers.values())):
        known = sum(map(len, makers.values()))
        for module, function, call in pending:
            for made in _made(module, call, makers):
                _sort_in(found, makers, module, function, made)
    return sorted(found)


def _sort_in(found: set[Site], makers: _Makers, module: _Module, function: ast.FunctionDef | None, made: _Made) -> None:
    """Note an error whose code is known; else make the function around it a maker."""
    known = {**module.constants, **_locals(function)}
    said = _Made(made.kind, _bound(made.code, known), _bound(made.what, known))
    code = _text(said.code, unknown=None)
    if code is not None:
        found.add(Site(code, said.kind, _text(said.what, unknown="…") or "…"))
        return
    free = {node.id for node in ast.walk(said.code) if isinstance(node, ast.Name)}
    if function is None or not free or not free <= set(_parameters(function)):
        raise ValueError(f"{module.path}:{made.code.lineno}: which code is {ast.unparse(made.code)}?")
    scope = module.path if function.name.startswith("_") else ""
    same = makers.setdefault((scope, function.name), [])
    if all(
        ast.dump(one.made.code) + ast.dump(one.made.what) != ast.dump(said.code) + ast.dump(said.what) for one in same
    ):
        same.append(_Maker(said, function))


def _module(path: Path, package: Path) -> _Module:
    tree = ast.parse(path.read_text("utf-8"))
    module = _Module(path.relative_to(package.parent).as_posix(), tree)
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        value = getattr(node, "value", None)
        if isinstance(target, ast.Name) and isinstance(value, ast.Constant) and isinstance(value.value, str):
            module.constants[target.id] = value
    return module


def _share_constants(modules: Sequence[_Module]) -> None:
    """Let every module know the constants that it imports from the others."""
    own = {module.name: dict(module.constants) for module in modules}
    for module in modules:
        for node in module.tree.body:
            if isinstance(node, ast.ImportFrom) and node.module in own:
                found = {each.asname or each.name: own[node.module].get(each.name) for each in node.names}
                module.constants |= {name: value for name, value in found.items() if value is not None}


def _calls(tree: ast.Module) -> Iterator[tuple[ast.FunctionDef | None, ast.Call]]:
    """Every call with the innermost function around it."""
    stack: list[tuple[ast.FunctionDef | None, ast.AST]] = [(None, tree)]
    while stack:
        function, node = stack.pop()
        if isinstance(node, ast.Call):
            yield function, node
        inner = node if isinstance(node, ast.FunctionDef) else function
        stack += [(inner, child) for child in ast.iter_child_nodes(node)]


def _name(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")


def _made(module: _Module, call: ast.Call, makers: _Makers) -> Iterator[_Made]:
    """The errors that a call makes, in the words of the module that it stands in."""
    name = _name(call)
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    if name in CLASSES and len(call.args) > 1 and not _is_passed_on(call.args[0]):
        yield _Made(name, call.args[0], call.args[1])
    elif name == _RECORD and "code" in given and module.path != _READS_CODES and not _is_empty(call.args[0]):
        kind = ast.unparse(given["error"]) if "error" in given else "IntegrityError"
        yield _Made(kind, given["code"], ast.Constant("… is malformed"))
    for maker in [*makers.get((module.path, name), ()), *makers.get(("", name), ())]:
        bound = _arguments(maker.function, call)
        yield _Made(maker.made.kind, _bound(maker.made.code, bound), _bound(maker.made.what, bound))


def _is_passed_on(code: ast.expr) -> bool:
    """Whether a code is that of an error that was caught, which is known from where it was raised."""
    return isinstance(code, ast.Attribute) and code.attr == "code"


def _is_empty(value: ast.expr) -> bool:
    """Whether a value is `{}`, in which nothing can be wrong."""
    return isinstance(value, ast.Dict) and not value.keys


def _locals(function: ast.FunctionDef | None) -> dict[str, ast.expr]:
    """Sentences that a function puts into a variable first."""
    assigned = [node for node in ast.walk(function) if isinstance(node, ast.Assign)] if function else []
    texts = (ast.Constant, ast.JoinedStr)
    return {ast.unparse(one.targets[0]): one.value for one in assigned if isinstance(one.value, texts)}


def _parameters(function: ast.FunctionDef) -> list[str]:
    return [one.arg for one in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)]


def _arguments(function: ast.FunctionDef, call: ast.Call) -> dict[str, ast.expr]:
    """The arguments of a call by the name of the parameter, defaults included."""
    spec = function.args
    positional = [one.arg for one in (*spec.posonlyargs, *spec.args)]
    bound = dict(zip(reversed(positional), reversed(spec.defaults), strict=False))
    bound |= {
        one.arg: default for one, default in zip(spec.kwonlyargs, spec.kw_defaults, strict=True) if default is not None
    }
    bound |= dict(zip((name for name in positional if name != "self"), call.args, strict=False))
    return bound | {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg is not None}


class _Binder(ast.NodeTransformer):
    def __init__(self, bound: Mapping[str, ast.expr]) -> None:
        self._known = bound

    def visit_Name(self, node: ast.Name) -> ast.expr:  # ast's own naming
        return self._known.get(node.id, node)


def _bound(expression: ast.expr, bound: Mapping[str, ast.expr]) -> ast.expr:
    """The expression with the names that are known put in."""
    copied = ast.parse(ast.unparse(expression), mode="eval").body
    bound_expression = _Binder(bound).visit(copied)
    assert isinstance(bound_expression, ast.expr)  # a name becomes an expression
    return ast.copy_location(bound_expression, expression)


def _text(expression: ast.expr, *, unknown: str | None) -> str | None:
    """What an expression says, or None where a part of it is not known and `unknown` does not stand in."""
    match expression:
        case ast.Constant(value=str() as text):
            return text
        case ast.JoinedStr(values=values):
            parts = [_text(value, unknown=unknown) for value in values]
            return None if None in parts else "".join(part or "" for part in parts)
        case ast.FormattedValue(value=value):
            return _text(value, unknown=unknown)
        case _:
            return unknown
