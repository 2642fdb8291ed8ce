"""The built-in validators' prompts, by purpose."""

from __future__ import annotations

from importlib import resources


def template(purpose: str) -> str:
    """The text of a template: Jinja, with the blocks `system` and `user`."""
    return (resources.files(__name__) / f"{purpose}.j2").read_text("utf-8")
