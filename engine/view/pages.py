"""Renders the pages: every value escaped, and what would act on a page or a reader made visible."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from engine.escaping import printable
from engine.report.formatting import duration

_LONGEST_CODE = 30_000
"""Characters that are marked."""
_FILES = resources.files("engine.view")


def page(name: str, **values: Any) -> str:
    """The page, or the part of one, of this name."""
    return _environment().get_template(f"{name}.html.j2").render(**values)


@cache
def _environment() -> Environment:
    environment = Environment(
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_seen,
        loader=FunctionLoader(_source),
    )
    environment.filters |= {
        "number": lambda value: "-" if value is None else f"{value:,}",
        "dollars": dollars,
        "share": lambda value: "-" if value is None else f"{value:.0%}",
        "figure": lambda value: "-" if value is None else f"{value:.3g}",
        "seconds": lambda value: f"{value:.2f} s" if value < 60 else duration(value),
        "duration": duration,
        "day": lambda at: "" if at is None else f"{datetime.fromtimestamp(at):%Y-%m-%d %H:%M}",
        "clock": lambda at: "" if at is None else f"{datetime.fromtimestamp(at):%H:%M:%S}",
        "direction": direction,
        "code": highlighted,
    }
    return environment


def _source(name: str) -> str:
    return (_FILES / "templates" / name).read_text("utf-8")


def _seen(value: Any) -> Any:
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def dollars(amount: float | None) -> str:
    if amount is None:
        return "-"
    return (
        f"${amount:,.2f}"
        if amount >= 1 or not amount
        else f"${amount:.4f}"
        if amount >= 0.001
        else f"${amount:.6f}"
    )


def direction(text: str) -> str:
    """The direction in which a text is written: `auto` lets the browser tell by its first letter."""
    return "ltr" if text.isascii() else "auto"


def highlighted(text: str, language: str = "python") -> Markup | str:
    """Code with its parts marked, by Pygments, which escapes it; a very long one as it is."""
    if len(text) > _LONGEST_CODE:
        return text
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import get_lexer_by_name

    plain = printable(text)
    marked = highlight(plain, get_lexer_by_name(language, stripnl=False), HtmlFormatter(nowrap=True))
    return Markup(marked)  # noqa: S704 - escaped by the formatter
