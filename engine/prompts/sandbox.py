"""Where templates run: they reach nothing but their values, and make no more of these than a prompt can be.

A config may come from somebody else. Jinja's own sandbox keeps a template from attributes with underscores and from
changing values; these limits keep it from taking the machine's memory or time.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any

from jinja2 import StrictUndefined, TemplateError, nodes
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

_LARGEST_NUMBER = 10_000
"""In arguments and repetitions: a width of a column, how often a text is repeated."""
_DEEPEST_LOOPS = 4
LONGEST = 10_000_000
"""Characters of a rendered block."""
_WIDE = re.compile(r"%[^a-zA-Z%]*\d{5,}|\{[^}]*\d{5,}")


class Sandbox(ImmutableSandboxedEnvironment):
    """The environment of one template."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def __init__(self) -> None:
        super().__init__(undefined=StrictUndefined, trim_blocks=False, autoescape=False)
        self.filters = {name: _guarded(each) for name, each in self.filters.items()}
        self.globals["range"] = _small_range

    def getattr(self, obj: Any, attribute: str) -> Any:
        """What a row holds goes before what Python can do with it: `order.items` is a key, where there is one."""
        if isinstance(obj, Mapping) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Raises SecurityError."""
        _check((left, right))
        if operator == "**" and (abs(left) > 1000 or abs(right) > 20):
            raise SecurityError("a power that large is not for a prompt")
        return super().call_binop(context, operator, left, right)

    def call(self, context: Context, obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Raises SecurityError."""
        _check((*args, *kwargs.values()))
        return super().call(context, obj, *args, **kwargs)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """Raises SecurityError."""
        text = getattr(value, "__self__", None)
        _check((text,) if isinstance(text, str) else ())
        return super().wrap_str_format(value)


def check_loops(node: nodes.Node, depth: int = 0) -> None:
    """Raises TemplateError for loops within loops within loops: their time multiplies."""
    depth += isinstance(node, nodes.For)
    if depth > _DEEPEST_LOOPS:
        raise TemplateError(f"more than {_DEEPEST_LOOPS} loops within one another")
    for inner in node.iter_child_nodes():
        check_loops(inner, depth)


def joined(pieces: Iterable[str]) -> str:
    """The text of a block. Raises SecurityError beyond LONGEST characters."""
    parts, length, left = [], 0, iter(pieces)
    while some := list(islice(left, 500)):
        parts.append("".join(some))
        length += len(parts[-1])
        if length > LONGEST:
            raise SecurityError(f"the prompt is longer than {LONGEST:,} characters")
    return "".join(parts)


def _check(values: Iterable[Any]) -> None:
    for value in values:
        if isinstance(value, int) and abs(value) > _LARGEST_NUMBER:
            raise SecurityError(f"{value} is more than {_LARGEST_NUMBER:,}, which no prompt needs")
        if isinstance(value, str) and _WIDE.search(value):
            raise SecurityError("a format that wide is not for a prompt")


def _guarded(each: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(each)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        _check(value for value in (*args[1:], *kwargs.values()) if isinstance(value, int))
        _check(value for value in args if isinstance(value, str) and each.__name__ == "do_format")
        return each(*args, **kwargs)

    return guarded


def _small_range(*args: int) -> range:
    made = range(*args)
    if len(made) > 100:
        raise SecurityError("a range of more than 100 is not for a prompt")
    return made
