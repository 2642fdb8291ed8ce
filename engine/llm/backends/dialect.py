"""Learns which request fields an OpenAI-compatible endpoint accepts from the requests that it refuses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from engine.config import ModelConfig
from engine.errors import BadRequest
from engine.items import Prompt

if TYPE_CHECKING:
    from openai.types.chat.completion_create_params import ResponseFormat

_FORMATS = ("json_schema", "json_object", "none")


class Dialect:
    """The optional fields of a request. Starts with all of them and drops those that the endpoint refuses.

    Mutable state: the response format in use, the name of the token limit, the fields left out, and
    `version`, which counts the changes.
    """

    def __init__(self, model: ModelConfig) -> None:
        fixed = model.response_format != "auto"
        self._format = model.response_format if fixed else _FORMATS[0]
        self._format_fixed = fixed
        own = "api.openai.com" in model.base_url or "openai.azure.com" in model.base_url
        self._limit = "max_completion_tokens" if own else "max_tokens"
        self._limit_swapped = False
        self._left_out: set[str] = set() if model.send_seed else {"seed"}
        self.version = 0

    def fields(self, prompt: Prompt) -> dict[str, Any]:
        """The request's optional fields for this prompt."""
        fields: dict[str, Any] = {
            "temperature": prompt.temperature,
            self._limit: prompt.max_tokens,
            "seed": prompt.seed,
        }
        if self._format != "none":
            fields["response_format"] = self._response_format(prompt)
        return {name: value for name, value in fields.items() if name not in self._left_out}

    def _response_format(self, prompt: Prompt) -> ResponseFormat:
        if self._format == "json_object":
            return {"type": "json_object"}
        schema = {"name": prompt.purpose, "strict": True, "schema": prompt.schema}
        return {"type": "json_schema", "json_schema": schema}  # type: ignore[typeddict-item]

    def adapt(self, refusal: BadRequest, version: int) -> bool:
        """Leaves out the field that the endpoint refused in a request made at `version`.

        True if another attempt will differ, False if no optional field is the cause. If many requests are
        refused at once, only the first changes anything.
        """
        if version == self.version:
            self.version += self._change((refusal.param or "").lower(), str(refusal).lower())
        return version != self.version

    def _change(self, param: str, said: str) -> bool:
        """`param` is what the endpoint names as the cause; if empty, `said` must quote the field."""
        if "max_tokens" in said and "max_completion_tokens" in said:
            return self._swap_limit()
        if any(word in param + said for word in ("response_format", "json_schema", "json_object", "guided")):
            return self._step_down()
        for name in ("seed", "temperature"):
            blamed = param == name or (not param and re.search(rf"['\"`]{name}['\"`]", said))
            if blamed and name not in self._left_out:
                self._left_out.add(name)
                return True
        return False

    def _step_down(self) -> bool:
        if self._format_fixed or self._format == _FORMATS[-1]:
            return False
        self._format = _FORMATS[_FORMATS.index(self._format) + 1]
        return True

    def _swap_limit(self) -> bool:
        if self._limit_swapped:
            return False
        names = ("max_tokens", "max_completion_tokens")
        self._limit = names[1 - names.index(self._limit)]
        self._limit_swapped = True
        return True

    def settings(self) -> Mapping[str, Any]:
        return {"response_format": self._format, "limit": self._limit, "left_out": sorted(self._left_out)}

    def __repr__(self) -> str:
        return f"<Dialect {dict(self.settings())}>"
