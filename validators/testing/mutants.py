"""Wrong versions of a solution: with nothing in it, with one thing changed. Tests that let one pass test too little.

Mutation analysis (DeMillo, Lipton and Sayward, 1978). Few operators that seldom leave a program's meaning as it is:
arithmetic, comparisons, boolean operators, negated conditions, whole numbers, truth values.
"""

from __future__ import annotations

import ast
import copy
import random
import re
from collections.abc import Callable, Iterator

_BINARY: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.BitXor: ast.BitOr,
    ast.LShift: ast.RShift, ast.RShift: ast.LShift,
}  # fmt: skip
_COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.GtE, ast.GtE: ast.Lt, ast.Gt: ast.LtE, ast.LtE: ast.Gt,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
LARGEST = 65_536
"""Characters of a solution that is changed."""


def emptied(source: str, language: str) -> str:
    """The solution with nothing in it: what it defines is there, and does nothing."""
    if language == "python":
        return _empty_python(source)
    if language == "javascript":
        names = dict.fromkeys(_JS_NAMES.findall(source))
        return "\n".join(f"var {one or other} = function () {{}};" for one, other in names)
    return "SELECT NULL WHERE 0"


_JS_NAMES = re.compile(r"\bfunction\s*\*?\s+(\w+)|\b(?:const|let|var|class)\s+(\w+)")


def mutants(source: str, language: str, count: int, seed: int) -> list[str]:
    """At most `count` versions with one change each, spread over the places where one can be made."""
    if len(source) > LARGEST:
        return []
    made = list(_python(source) if language == "python" else _by_tokens(source, language))
    made = [each for each in dict.fromkeys(made) if each.strip() != source.strip()]
    if len(made) <= count:
        return made
    return random.Random(f"{seed}/mutants/{source}").sample(made, count)


# --- Python ----------------------------------------------------------------------------------------


def _parsed(source: str) -> ast.Module | None:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _empty_python(source: str) -> str:
    tree = _parsed(source)
    if tree is None:
        return ""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    if not functions:
        return ""
    for function in functions:
        function.body = [ast.Pass()]
        function.decorator_list = [
            each
            for each in function.decorator_list
            if ast.unparse(each) in ("staticmethod", "classmethod", "property")
        ]
    return ast.unparse(ast.fix_missing_locations(tree))


def _python(source: str) -> Iterator[str]:
    tree = _parsed(source)
    if tree is None:
        return
    body = [node for node in ast.walk(tree) if not _is_shown_only(node)]
    for place, node in enumerate(body):
        for change in _changes(node):
            copied = copy.deepcopy(tree)
            twin = [each for each in ast.walk(copied) if not _is_shown_only(each)][place]
            change(twin)
            yield ast.unparse(ast.fix_missing_locations(copied))


def _is_shown_only(node: ast.AST) -> bool:
    """Whether it is a text: a change of it changes what people read."""
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _changes(node: ast.AST) -> Iterator[Callable[[ast.AST], None]]:
    if (isinstance(node, ast.BinOp) and type(node.op) in _BINARY and not _formats(node)) or (
        isinstance(node, ast.AugAssign) and type(node.op) in _BINARY
    ):
        yield lambda twin: setattr(twin, "op", _BINARY[type(node.op)]())
    elif isinstance(node, ast.Compare) and type(node.ops[0]) in _COMPARED and not _is_main(node):
        yield lambda twin: setattr(twin, "ops", [_COMPARED[type(node.ops[0])](), *node.ops[1:]])
    elif isinstance(node, ast.BoolOp):
        other = ast.Or if isinstance(node.op, ast.And) else ast.And
        yield lambda twin: setattr(twin, "op", other())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield _unnegated
    elif isinstance(node, ast.Return) and node.value is not None and not _is_nothing(node.value):
        yield lambda twin: setattr(twin, "value", ast.Constant(None))
    elif isinstance(node, ast.Constant):
        if isinstance(node.value, bool):
            yield lambda twin: setattr(twin, "value", not node.value)
        elif isinstance(node.value, int):
            yield lambda twin: setattr(twin, "value", node.value + 1)  # type: ignore[operator]


def _unnegated(twin: ast.AST) -> None:
    """`not x` becomes `x`, as `not not x`, which is the same for a condition."""
    assert isinstance(twin, ast.UnaryOp)
    twin.operand = ast.UnaryOp(ast.Not(), twin.operand)


def _formats(node: ast.BinOp) -> bool:
    """Whether `%` or `+` joins texts that stand there."""
    return any(
        isinstance(each, ast.Constant) and isinstance(each.value, str) for each in (node.left, node.right)
    )


def _is_main(node: ast.Compare) -> bool:
    return isinstance(node.left, ast.Name) and node.left.id == "__name__"


def _is_nothing(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is None


# --- by tokens -------------------------------------------------------------------------------------

_JS_TOKENS = re.compile(
    r"""(?P<skip>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`|//[^\n]*|/\*.*?\*/)"""
    r"""|(?P<op>===|!==|==|!=|<=|>=|=>|\+\+|--|&&|\|\||\+=|-=|\*\*|[+\-*%<>])|\b(?P<word>true|false)\b|\b(?P<number>\d+)\b""",
    re.DOTALL,
)
_JS = {
    "===": "!==", "!==": "===", "==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">", "+": "-", "-": "+",
    "*": "+", "%": "*", "&&": "||", "||": "&&", "+=": "-=", "-=": "+=", "true": "false", "false": "true",
}  # fmt: skip
_SQL_TOKENS = re.compile(
    r"""(?P<skip>'(?:[^']|'')*'|"[^"]*"|--[^\n]*|/\*.*?\*/)"""
    r"""|(?P<op><>|!=|<=|>=|=|<|>|[+\-*](?=\s*[\w(]))|\b(?P<word>AND|OR|SUM|COUNT|MAX|MIN|AVG|ASC|DESC|LEFT|UNION|INTERSECT|EXCEPT)\b"""
    r"""|\b(?P<number>\d+)\b""",
    re.DOTALL | re.IGNORECASE,
)
_SQL = {
    "=": "<>", "<>": "=", "!=": "=", "<": ">=", ">=": "<", ">": "<=", "<=": ">", "+": "-", "-": "+", "AND": "OR",
    "OR": "AND", "SUM": "MAX", "COUNT": "MAX", "MAX": "MIN", "MIN": "MAX", "AVG": "MAX", "ASC": "DESC", "DESC": "ASC",
    "LEFT": "INNER", "UNION": "INTERSECT", "INTERSECT": "UNION", "EXCEPT": "INTERSECT",
}  # fmt: skip


def _by_tokens(source: str, language: str) -> Iterator[str]:
    tokens, table = (_JS_TOKENS, _JS) if language == "javascript" else (_SQL_TOKENS, _SQL)
    for match in tokens.finditer(source):
        if match["skip"] is not None:
            continue
        if match["number"] is not None:
            other = str(int(match["number"][:18]) + 1)
        else:
            other = table.get(match[0].upper() if language == "sql" else match[0], "")
        if other:
            yield f"{source[: match.start()]}{other}{source[match.end() :]}"


def parses(source: str, language: str) -> bool:
    """Whether a Python solution is a program at all; of other languages their interpreters tell."""
    return language != "python" or _parsed(source) is not None
