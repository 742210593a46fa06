"""Single edits of a module's code that a good test would notice, as changed syntax trees."""

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

COMPARISONS = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
OPERATIONS = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
}
# Decorators keep results or name kinds of methods; annotations are never computed; messages are compared in part.
UNTOUCHED = (ast.JoinedStr, ast.Raise, ast.Assert, ast.Import, ast.ImportFrom)
# Assertions, caches and words of `zip`, `dict` and files that change no result.
KEYWORDS = ("strict", "maxsize", "parents", "exist_ok", "missing_ok", "ignore_errors")


@dataclass(frozen=True)
class Edit:
    """The `number`-th edit of a module: at which line, and what becomes of what stands there."""

    module: str
    number: int
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.module}:{self.line}: {self.what}"


def edits(module: str, path: Path) -> list[Edit]:
    """All edits of a module's code, in the order of its lines."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [Edit(module, k, line, what) for k, (line, what, _) in enumerate(_changes(tree))]


def edited(edit: Edit, path: Path) -> ast.Module:
    """The module's syntax tree with one edit made."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for k, (_, _, change) in enumerate(_changes(tree)):
        if k == edit.number:
            change()
            return ast.fix_missing_locations(tree)
    raise ValueError(f"{edit} is not among the edits of {path}")


def _changes(tree: ast.Module) -> Iterator[tuple]:
    """(line, what, how to make it in the tree) of every edit; the next one is asked for only if none was made."""
    for owner, name, index, node in _places(tree):
        for new in _instead(node):
            what = f"{_short(node)} -> {_short(new) or 'nothing'}"
            yield node.lineno, what, lambda owner=owner, name=name, index=index, new=new: _put(owner, name, index, new)


def _places(node: ast.AST) -> Iterator[tuple]:
    """Every node below with where it stands: (owner, field, index or None, node)."""
    for name, value in ast.iter_fields(node):
        if name in ("decorator_list", "annotation", "returns", "type_comment") or isinstance(node, ast.arg):
            continue
        for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(child, ast.keyword) and child.arg in KEYWORDS:
                continue
            if isinstance(child, ast.AST) and not isinstance(child, UNTOUCHED):
                if hasattr(child, "lineno") and not _docstring(child):
                    yield node, name, index, child
                yield from _places(child)


def _docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _instead(node: ast.AST) -> Iterator[ast.AST]:
    """What may stand where `node` does."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARISONS:
        yield _with(node, ops=[COMPARISONS[type(node.ops[0])](), *node.ops[1:]])
    elif isinstance(node, ast.BinOp) and type(node.op) in OPERATIONS and not _text(node):
        yield _with(node, op=OPERATIONS[type(node.op)]())
    elif isinstance(node, ast.BoolOp):
        yield _with(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        yield node.operand
    elif isinstance(node, ast.IfExp):
        yield _with(node, test=ast.UnaryOp(ast.Not(), node.test))
    elif isinstance(node, ast.If) and not isinstance(node.test, ast.Compare | ast.BoolOp | ast.UnaryOp):
        yield _with(node, test=ast.UnaryOp(ast.Not(), node.test))
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield _with(node, value=not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int):
        yield _with(node, value=node.value + 1)
    elif isinstance(node, ast.Constant) and isinstance(node.value, float):
        yield _with(node, value=2 * node.value or 1.0)
    elif isinstance(node, ast.AugAssign) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
        yield ast.Pass()


def _text(node: ast.BinOp) -> bool:
    return any(isinstance(x, ast.Constant | ast.JoinedStr) and not _number(x) for x in (node.left, node.right))


def _number(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int | float)


def _with(node: ast.AST, **changes) -> ast.AST:
    new = copy.copy(node)
    for name, value in changes.items():
        setattr(new, name, value)
    return new


def _put(owner: ast.AST, name: str, index: int | None, new: ast.AST) -> None:
    if index is None:
        setattr(owner, name, new)
    else:
        getattr(owner, name)[index] = new


def _short(node: ast.AST) -> str:
    text = ast.unparse(ast.fix_missing_locations(copy.deepcopy(node))).splitlines()
    return "" if isinstance(node, ast.Pass) else text[0][:90]
