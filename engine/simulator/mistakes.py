"""What the simulated model gets wrong: how often, on which texts, and which wrong answer it then gives.

Models make the same mistakes on the same hard texts. With the knob `correlation` two simulated models do: whether one
errs depends on a difficulty that the text has for all of them (a Gaussian copula, which leaves the share of errors as
it is set), and which wrong answer it gives depends on the text as well.
"""

from __future__ import annotations

import random
import re
from math import sqrt
from statistics import NormalDist

from engine.config.simulator import SimulatorConfig

_NORMAL = NormalDist()


def errs(share: float, text: str, knobs: SimulatorConfig, chance: random.Random) -> bool:
    """Whether a model that errs so often errs on this text."""
    drawn = chance.random()
    if not knobs.correlation or not 0 < share < 1:
        return drawn < share
    common = _NORMAL.inv_cdf(_of_text("difficulty", text, knobs).uniform(1e-9, 1 - 1e-9))
    own = _NORMAL.inv_cdf(min(max(drawn, 1e-9), 1 - 1e-9))
    shared = knobs.correlation
    return sqrt(shared) * common + sqrt(1 - shared) * own < _NORMAL.inv_cdf(share)


def tempted(text: str, knobs: SimulatorConfig, chance: random.Random) -> random.Random:
    """By which the wrong answer is drawn: by the text alone where models share their mistakes."""
    return _of_text("temptation", text, knobs) if chance.random() < knobs.correlation else chance


def wrong_number(text: str, right: int, chance: random.Random) -> int:
    """A number that somebody arrives at who takes a wrong step, or leaves one out; never the right one."""
    numbers = [int(number) for number in re.findall(r"\d+", text)][:6]
    steps = {one + other for one in numbers for other in numbers}
    steps |= {one * other for one in numbers for other in numbers if one * other <= 50 * max(1, abs(right))}
    steps |= {abs(right - one) for one in numbers} | {right + one for one in numbers} | {*numbers}
    steps |= {right + 1, right - 1, right + 10, 2 * right}
    return chance.choice(sorted(steps - {right}) or [right + 1])


def _of_text(what: str, text: str, knobs: SimulatorConfig) -> random.Random:
    return random.Random(f"{what}/{knobs.seed}/{' '.join(text.casefold().split())}")
