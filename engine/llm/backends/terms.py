"""What an endpoint takes of a request: the terms that a refusal changes, and how they are told to people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, Self

from engine.items import Prompt

Form = Literal["schema", "plain", "json_object", "none"]
FORMS: tuple[Form, ...] = ("schema", "plain", "json_object", "none")
"""How the form of an answer is asked for: by a schema with its bounds, by a schema without, as JSON, in words."""
Limit = Literal["max_tokens", "max_completion_tokens"]

SWAPPED = "swapped"
"""Among the fields that are left out: the other name of the limit was tried. No field of a request."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What is sent for one purpose."""

    form: Form = "schema"
    limit: Limit = "max_tokens"
    without: frozenset[str] = frozenset()
    """Optional fields that are left out: seed, temperature, stream_options, ..."""
    merged: bool = False
    """Whether the system message stands at the head of the user's."""
    streamed: bool = False
    most_tokens: int | None = None
    """The longest answer that the endpoint lets one ask for."""

    def dropping(self, name: str) -> Self:
        return replace(self, without=self.without | {name})

    @property
    def manners(self) -> Self:
        """What is likely to hold for the model's other purposes, too: all but the form."""
        return replace(self, form=FORMS[0])

    def as_dict(self) -> dict[str, Any]:
        """The terms that are not at their default, as plain JSON values."""
        first = type(self)()
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        changed = {name: value for name, value in values.items() if value != getattr(first, name)}
        return {name: sorted(value) if name == "without" else value for name, value in changed.items()}

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Self:
        """Reads what `as_dict` wrote; an unknown name is left out."""
        known = {each.name for each in fields(cls)}
        values = {name: value for name, value in told.items() if name in known}
        return cls(**{**values, "without": frozenset(values.get("without", ()))})

    def differences(self, first: Terms) -> str:
        """What is sent otherwise than at first, in words; '' where nothing is."""
        return "; ".join(self._differences(first))

    def _differences(self, first: Terms) -> Iterator[str]:
        if self.form != first.form:
            yield _IN_WORDS[self.form]
        for name in sorted(self.without - first.without - {SWAPPED}):
            yield f"no {name}"
        if self.merged and not first.merged:
            yield "the system message at the head of the user's"
        if self.limit != first.limit:
            yield f"{self.limit} in place of {first.limit}"
        if self.streamed != first.streamed:
            yield "answers streamed" if self.streamed else "answers not streamed"
        if self.most_tokens != first.most_tokens and self.most_tokens is not None:
            yield f"at most {self.most_tokens:,} tokens an answer"


_IN_WORDS: Mapping[Form, str] = {
    "schema": "the schema with all its bounds",
    "plain": "the schema without bounds on lengths and values (they are still checked)",
    "json_object": "JSON without a schema",
    "none": "no response format; the form is asked for in words",
}


def sampling_of(prompt: Prompt) -> dict[str, Any]:
    """What is asked of the sampling besides the temperature."""
    wanted = {"top_p": prompt.top_p, "top_k": prompt.top_k}
    return {name: value for name, value in wanted.items() if value is not None}
