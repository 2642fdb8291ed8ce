"""The simulated harder item: its right answer stays the same, unless a defect is drawn."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from typing import Any

from engine.config.simulator import SimulatorConfig
from engine.simulator.content import facts
from engine.simulator.request import PRINCIPLES, Asked

_REWORDED = (
    "Put in a roundabout way, what is asked is this. {}",
    "Consider the matter below and work out what is wanted. {}",
    "The following has been asked more than once and answered in haste. {}",
)
_CONTEXT = (
    "Someone who kept a diary of that week noted the following. {}",
    "The weather was fair, the roads were quiet, and nobody was in a hurry. {}",
    "A neighbour told this story at dinner, and left out nothing. {}",
)
_CHOICE = ("It would be {}.", "None other than {}.", "That is {}.")
_UNWORDED = re.compile("|".join(re.escape(form).replace(r"\{\}", "(.+)") for form in _CHOICE))


def plan(asked: Asked, chance: random.Random) -> dict[str, Any]:
    """Chooses some of the four principles that fit the item; ignores the user's own principles."""
    named = re.findall(r"^- ([a-z_0-9]+): ", asked.text, re.MULTILINE)
    fitting = [name for name in PRINCIPLES if name in named] or list(PRINCIPLES[:2])
    return {
        "analysis": "These can be applied.",
        "principles": chance.sample(fitting, chance.randint(1, len(fitting))),
    }


def harder(asked: Asked, knobs: SimulatorConfig, chance: random.Random) -> dict[str, Any]:
    """Applies the principles that the request names to the item."""
    item = dict(asked.item)
    chosen = [name for name in PRINCIPLES if f"- {name}: " in asked.text]
    for name in chosen or ["add_context"]:
        item = _APPLIED[name](item, chance)
    if chance.random() < knobs.enhancement_errors:
        item = chance.choice(_DEFECTS)(item, chance)
    return {"item": item}


def plain_choice(choice: str) -> str:
    """A choice without the words that `paraphrase_choices` puts around it."""
    match = _UNWORDED.fullmatch(choice)
    return next(group for group in match.groups() if group) if match else choice


def is_harder(item: Mapping[str, Any]) -> bool:
    """Whether this module has applied one of the principles to the item."""
    text, choices = str(item.get("text", "")), item.get("choices") or ()
    worded = any(text.startswith(form.removesuffix("{}")) for form in _REWORDED + _CONTEXT)
    return worded or any(plain_choice(str(choice)) != choice for choice in choices)


# --- principles ------------------------------------------------------------------------------------


def _worded(forms: tuple[str, ...], item: Mapping[str, Any], chance: random.Random) -> dict[str, Any]:
    return {**item, "text": chance.choice(forms).format(item.get("text", ""))}


def _reworded_choices(item: Mapping[str, Any], chance: random.Random) -> dict[str, Any]:
    form = chance.choice(_CHOICE)
    return {**item, "choices": [form.format(plain_choice(str(choice))) for choice in item.get("choices", ())]}


def _one_more(item: Mapping[str, Any], chance: random.Random) -> dict[str, Any]:
    known = facts.known(str(item.get("text", "")))
    there = [str(choice) for choice in item.get("choices", ())]
    others = [wrong for wrong in (known.wrong if known else ()) if wrong not in map(plain_choice, there)]
    return {**item, "choices": [*there, chance.choice(others) if others else "None of these"]}


_APPLIED = {
    "paraphrase_question": lambda item, chance: _worded(_REWORDED, item, chance),
    "add_context": lambda item, chance: _worded(_CONTEXT, item, chance),
    "paraphrase_choices": _reworded_choices,
    "add_choice": _one_more,
}


# --- defects ---------------------------------------------------------------------------------------


def _other_number(item: Mapping[str, Any], chance: random.Random) -> dict[str, Any]:
    """Changes one number of the text; without a number, changes the label."""
    text = str(item.get("text", ""))
    matches = list(re.finditer(r"\d+", text))
    if not matches:
        return _other_label(item, chance)
    match = chance.choice(matches)
    return {**item, "text": f"{text[: match.start()]}{int(match[0]) + 1}{text[match.end() :]}"}


def _other_label(item: Mapping[str, Any], chance: random.Random) -> dict[str, Any]:
    """Moves the choices but keeps the letter; without choices, changes the label."""
    choices = list(item.get("choices", ()))
    if len(choices) > 1:
        return {**item, "choices": [*choices[1:], choices[0]]}
    return {**item, "label": f"{item.get('label', '')}0"}


_DEFECTS = (_other_number, _other_label)
