"""Programs for the sandbox that run a solution, and its tests or its inputs; what they tell.

An expected output is never part of a program: whoever has it run compares.
"""

from __future__ import annotations

import json
import re
import sqlite3
from functools import cache
from importlib import resources
from typing import Any


@cache
def _harness(name: str) -> str:
    return (resources.files("validators.testing.harness") / name).read_text("utf-8")


def _program(name: str, **given: Any) -> str:
    return f"GIVEN = {given!r}\n{_harness(name)}"


def unit_program(language: str, solution: str, tests: str, *, mark: str, seed: int, entry: str = "") -> str:
    """Runs tests in the solution's own language. `entry`: the function that `check(candidate)` gets."""
    if language == "javascript":
        prelude = _harness("prelude.js")
        inside = f"(function () {{\n{_as_script(tests)}\n}})();"  # names that it imports may be there already
        return _program("script.py", mark=mark, prelude=prelude, solution=_as_script(solution), tests=inside)
    return _program("unit.py", mark=mark, seed=seed, solution=solution, tests=tests, entry=entry)


_MODULE = re.compile(
    r"^[ \t]*import\b[^\n]*$|^[ \t]*export[ \t]+\{[^}]*\};?[ \t]*$|^[ \t]*export[ \t]+(?:default[ \t]+)?",
    re.M,
)


def _as_script(source: str) -> str:
    """A module of JavaScript as a script: what it exports is there for all."""
    return _MODULE.sub("", source)


def console_program(solution: str, given: str, seed: int) -> str:
    """Runs a Python program on an input."""
    return _program("console.py", seed=seed, input=given, solution=solution)


def query_program(solution: str, setup: str, *, mark: str) -> str:
    """Makes tables, and runs a query over them."""
    return _program("query.py", mark=mark, setup=setup, steps=statements(solution))


def statements(source: str) -> list[str]:
    """The statements of a script, which SQLite takes one at a time."""
    found, rest = list[str](), ""
    for piece in source.split(";"):
        rest = f"{rest};{piece}" if rest else piece
        if sqlite3.complete_statement(f"{rest};"):
            found.append(rest)
            rest = ""
    return [each for each in (*found, rest) if each.strip()]


def told_in(stdout: str, mark: str) -> dict[str, Any] | None:
    """What a program has told behind its mark; None where it has not come so far."""
    _, found, line = stdout.rpartition(mark)
    try:
        told = json.loads(line.splitlines()[0]) if found else None
    except (ValueError, IndexError):
        return None
    return told if isinstance(told, dict) else None
