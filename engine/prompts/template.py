"""Prompt templates: text files with places for values, any of which the config can replace."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Template, TemplateError, meta
from jinja2.runtime import Context

from engine.config import RunConfig
from engine.errors import ConfigError
from engine.prompts.sandbox import Sandbox, check_loops, joined


class PromptTemplate:
    """A Jinja template with the blocks `system` and `user`; a Template.

    Values are data, never template text: the content of a dataset row is not evaluated. A config may come from
    somebody else, so a template reaches nothing but its values: no attribute with an underscore, no program.
    """

    def __init__(self, source: str, name: str) -> None:
        """Raises ConfigError if the template is wrong."""
        self.name = name
        self._environment = environment = Sandbox()
        self._globals = dict(environment.globals)
        try:
            self._template: Template = environment.from_string(source)
            parsed = environment.parse(source)
            check_loops(parsed)
            self.characters = len(re.sub(r"(?s)\{[#%].*?[#%]\}|\{\{.*?\}\}", "", source))
            self.variables = frozenset(meta.find_undeclared_variables(parsed))
        except TemplateError as error:
            line = getattr(error, "lineno", None)
            raise ConfigError(f"{name}{f' line {line}' if line else ''}: {error}") from None
        if list(meta.find_referenced_templates(parsed)):
            raise ConfigError(
                f"{name}: includes, imports or extends another template; a prompt must be one file"
            )
        for block in ("system", "user"):
            if block not in self._template.blocks:
                raise ConfigError(f"{name}: has no block {block!r}")

    @classmethod
    @lru_cache(maxsize=256)
    def made(cls, source: str, name: str) -> PromptTemplate:
        """The template of that text; one for all who ask for it. Raises ConfigError."""
        return cls(source, name)

    @classmethod
    def load(cls, purpose: str, replacement: Path | None = None) -> PromptTemplate:
        """The user's template, or the built-in one for that purpose. Raises ConfigError."""
        return (
            cls.read(replacement) if replacement is not None else cls.made(built_in(purpose), f"{purpose}.j2")
        )

    @classmethod
    def read(cls, path: Path) -> PromptTemplate:
        """Raises ConfigError."""
        try:
            return cls(path.read_text("utf-8"), str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: cannot be read as a prompt template: {error}") from None

    def replaced(self, path: Path | None) -> PromptTemplate:
        """The user's template instead of this one. Raises ConfigError if it uses a value that does not exist.

        If this template shows the item under discussion, the user's must do so too.
        """
        if path is None:
            return self
        own = self.read(path)
        given = self.variables | ALWAYS
        if unknown := sorted(own.variables - given):
            known = ", ".join(sorted(given))
            raise ConfigError(f"{path}: this prompt has no value {unknown[0]!r}; it has {known}")
        if "shown" in self.variables - own.variables:
            raise ConfigError(
                f"{path}: must contain {{{{ shown }}}}: without it no model sees what it is asked about"
            )
        return own

    def render(self, values: dict[str, Any]) -> tuple[str, str]:
        """(system, user). Raises ConfigError for an undefined variable."""
        # Not template.new_context: that copies the environment's globals for each prompt.
        context = Context(self._environment, {**self._globals, **values}, self.name, self._template.blocks)
        try:
            system, user = (joined(self._template.blocks[block](context)) for block in ("system", "user"))
        except Exception as error:  # a template is the user's program: it may fail in any way
            raise ConfigError(f"{self.name}: {type(error).__name__}: {error}") from None
        return system.strip(), user.strip()


ALWAYS = frozenset({"form"})
"""Values of every prompt: how to answer. A template that does not state it gets it at its end."""


def check_replacements(config: RunConfig) -> None:
    """Checks the user's templates; those with a built-in counterpart against it.

    Validators check theirs when they are constructed. Raises ConfigError.
    """
    for purpose, path in config.prompts.items():
        with naming(config, f"prompts.{purpose}"):
            if (_FOLDER / f"{purpose}.j2").is_file():
                PromptTemplate.load(purpose).replaced(path)
            else:
                PromptTemplate.read(path)


@contextmanager
def naming(config: RunConfig, key: str) -> Iterator[None]:
    """Adds the key that names a template, and its place in the file, to what is wrong with the template."""
    try:
        yield
    except ConfigError as error:
        raise config.wrong(key, str(error)) from None


_FOLDER = resources.files("engine.prompts") / "templates"


@cache
def built_in(purpose: str) -> str:
    """The text of the built-in template."""
    return (_FOLDER / f"{purpose}.j2").read_text("utf-8")
