"""The order of the house: a file imports only from below itself, and the engine never names a validator."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT

FLOORS = (
    "items escaping answers errors constraints config protocols dataset flow llm prompts conformance simulator"
    " diversity store planning stages report observe evaluation analysis export runs bench cli"
).split()
"""From the ground up."""
FOR_VALIDATORS = {
    "engine.items", "engine.errors", "engine.constraints", "engine.protocols",
    "engine.answers.same", "engine.answers.numbers", "engine.escaping",
}  # fmt: skip

FILES = sorted(path for package in ("engine", "validators") for path in (ROOT / package).rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Every module that a file imports, at its top or inside a function; not those for types alone."""
    tree = ast.parse(path.read_text())
    typing_only = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and ast.unparse(branch.test) == "TYPE_CHECKING"
        for node in ast.walk(branch)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "engine":
                found.update(f"engine.{alias.name}" for alias in node.names)
            found.add(node.module)
    return found


def floor(module: str) -> int | None:
    parts = module.split(".")
    if parts[0] != "engine" or len(parts) < 2 or parts[1] not in FLOORS:
        return None
    return FLOORS.index(parts[1])


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_downwards(path: Path) -> None:
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    if module == "engine":
        return  # the public names, loaded when asked for
    for imported in imports(path):
        if module.startswith("validators"):
            own = imported.startswith("validators")
            assert own or not imported.startswith("engine") or imported in FOR_VALIDATORS | {"engine"}
            continue
        assert not imported.startswith("validators"), f"{module} names {imported}"
        here, there = floor(module), floor(imported)
        assert here is not None, f"{module} has no floor"
        assert there is None or there <= here, f"{module} imports {imported} from above"


def test_every_file_says_its_job_first() -> None:
    for path in FILES:
        first = ast.get_docstring(ast.parse(path.read_text()))
        assert first, f"{path} has no first line"
        assert len(first.splitlines()[0]) <= 120


@pytest.mark.parametrize("module", ["engine", "engine.cli.app"])
def test_nothing_heavy_is_loaded_by_import(module: str) -> None:
    heavy = "torch faiss pandas pyarrow openai aiohttp pydantic genai_prices jinja2 sentence_transformers numpy".split()
    code = f"import {module}, sys; print([name for name in {heavy!r} if name in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_public_names() -> None:
    import engine
    import engine.runs.api

    assert engine.run is engine.runs.api.run
    assert {"RunConfig", "run", "arun", "Report"} <= set(engine.__all__)


def _self_attributes(node: ast.AST) -> set[str]:
    """Attributes of `self` that are set somewhere in it."""
    return {
        inner.attr
        for inner in ast.walk(node)
        if isinstance(inner, ast.Attribute)
        and isinstance(inner.ctx, ast.Store)
        and isinstance(inner.value, ast.Name)
        and inner.value.id == "self"
    }


def created_late(tree: ast.AST) -> list[str]:
    """Attributes that some method other than __init__ creates, so that an object is not whole before it is called."""
    late = []
    for cls in (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
        methods = [node for node in cls.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        names = (node.target for node in cls.body if isinstance(node, ast.AnnAssign))
        known = {target.id for target in names if isinstance(target, ast.Name)}
        for method in methods:
            known |= _self_attributes(method) if method.name in ("__init__", "__post_init__") else set()
        for method in methods:
            late += [f"{cls.name}.{method.name}: {name}" for name in sorted(_self_attributes(method) - known)]
    return late


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_object_is_half_built(path: Path) -> None:
    assert created_late(ast.parse(path.read_text())) == []


def test_a_half_built_object_is_seen() -> None:
    code = "class A:\n def __init__(self):\n  self.a = 1\n async def go(self):\n  self.a, self.b = 2, 3\n"
    assert created_late(ast.parse(code)) == ["A.go: b"]
