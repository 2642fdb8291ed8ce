"""Items in other names and numbers, with the label worked out anew: for models that know a dataset by heart.

Names are replaced wherever they stand. Numbers are, where the worked solution says how the label comes from them, as
GSM8K's does: `<<5*3=15>>` (Cobbe et al., 2021, arXiv 2110.14168). The steps are then calculated with the new numbers;
an item keeps its own where a step would no longer be a whole number, or where it is not plain which number is which.
"""

from __future__ import annotations

import ast
import operator
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

from engine.dataset.forms import Example
from engine.diversity.variants import other_names, put_names

_STEP = re.compile(r"<<([^=<>]+)=([^<>]+)>>")
_NUMBER = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?![\w]|\.\d)")
_FIXED = frozenset(map(Fraction, (0, 1, 2, 7, 10, 12, 24, 30, 52, 60, 100, 365, 1000)))
"""Days of a week, minutes of an hour: numbers that a step may hold though the text means something else by them."""
_TRIES = 40


def rewritten(example: Example, solution: str, chance: random.Random) -> Example | None:
    """The item with other names, and other numbers where its label can be worked out; None where neither is possible.

    `solution`: the extra that holds the worked solution.
    """
    if example.parts or example.choices or not isinstance(example.label, str):
        return None
    worked = example.extras.get(solution)
    text, label, extras = example.text, example.label, dict(example.extras)
    if isinstance(worked, str) and (found := _renumbered(text, label, worked, chance)) is not None:
        text, label, extras[solution] = found
    names = other_names(text, random.Random(chance.random()))
    text = put_names(text, names)
    if isinstance(worked, str):
        extras[solution] = put_names(str(extras[solution]), names)
    made = replace(example, text=text, label=label, extras=extras)
    return None if made.text == example.text else made


def _renumbered(text: str, label: str, worked: str, chance: random.Random) -> tuple[str, str, str] | None:
    """(text, label, solution) with other numbers; None where they cannot be changed without a doubt."""
    steps = [(expression, _value(result)) for expression, result in _STEP.findall(worked)]
    if not steps or any(result is None for _, result in steps) or _value(label) != steps[-1][1]:
        return None
    if any(calculated(expression) != result for expression, result in steps):
        return None
    there = {value for number in _NUMBER.findall(text) if (value := _value(number)) is not None}
    used = {
        value
        for expression, _ in steps
        for number in _NUMBER.findall(expression)
        if (value := _value(number))
    }
    free = sorted(value for value in there & used if value not in _FIXED and value.denominator == 1)
    results = [result for _, result in steps if result is not None]
    if not free or set(free) & set(results) or len(set(results) & there - _FIXED):
        return None
    for _ in range(_TRIES):
        given = {value: Fraction(_near(int(value), chance)) for value in free}
        if (numbers := _all_steps(steps, given)) is not None:
            new_text, new_worked = _put(text, given), _put(worked, numbers)
            if _holds(new_worked):
                return new_text, _put(label, numbers), new_worked
    return None


def _near(value: int, chance: random.Random) -> int:
    """Another number of about the same size, as round as it is."""
    round_ = 1
    while value % (round_ * 10) == 0:
        round_ *= 10
    whole = value // round_
    reach = max(3, whole // 3)
    return max(1, whole + chance.choice([step for step in range(-reach, reach + 1) if step])) * round_


def _all_steps(
    steps: list[tuple[str, Fraction | None]], given: Mapping[Fraction, Fraction]
) -> dict[Fraction, Fraction] | None:
    """Every number of the solution with its new value; None where two meanings meet, or a step is no longer whole."""
    numbers = dict(given)
    for expression, before in steps:
        assert before is not None
        after = calculated(_put(expression, numbers))
        if after is None or after <= 0 or (before.denominator == 1 and after.denominator != 1):
            return None
        if numbers.get(before, after) != after or (before in _FIXED and after != before):
            return None
        numbers[before] = after
    return numbers if len(set(numbers.values())) == len(numbers) else None


def _put(text: str, numbers: Mapping[Fraction, Fraction]) -> str:
    def one(match: re.Match[str]) -> str:
        value = _value(match[0])
        if value is None or value not in numbers:
            return match[0]
        number = numbers[value]
        whole = number.denominator == 1
        return (
            (f"{int(number):,}" if "," in match[0] else f"{int(number)}") if whole else f"{float(number):g}"
        )

    return _NUMBER.sub(one, text)


def _holds(worked: str) -> bool:
    return all(calculated(expression) == _value(result) for expression, result in _STEP.findall(worked))


def _value(text: str) -> Fraction | None:
    try:
        return Fraction(text.replace(",", "").strip().lstrip("$"))
    except (ValueError, ZeroDivisionError):
        return None


_OPERATORS: Mapping[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def calculated(expression: str) -> Fraction | None:
    """The value of a sum in digits, exactly; None for anything else: it is somebody's text."""
    if len(expression) > 200:
        return None
    plain = re.sub(r"(\d+(?:\.\d+)?)%", r"(\1/100)", expression.replace(",", "").replace("$", ""))
    try:
        return _of(ast.parse(plain.strip(), mode="eval").body)
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError, OverflowError):
        return None


def _of(node: ast.AST) -> Fraction:
    if (
        isinstance(node, ast.Constant)
        and isinstance(node.value, int | float)
        and not isinstance(node.value, bool)
    ):
        return Fraction(str(node.value))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_of(node.operand)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        value: Fraction = _OPERATORS[type(node.op)](_of(node.left), _of(node.right))
        return value
    raise ValueError(f"no sum: {type(node).__name__}")
