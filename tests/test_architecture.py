"""The order of the house: a file imports only from below itself, and the engine never names a validator."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT

ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
MAP = ARCHITECTURE.split("```")[1]
FLOORS = re.findall(r"^  (\w+)/? ", MAP, re.MULTILINE)
"""From the ground up, as the map has them."""
FOR_VALIDATORS = {f"engine.{name}" for name in "items errors escaping answers constraints protocols".split()}
LOOSE = 8
"""Files beside the rooms, at most."""

FILES = sorted(path for package in ("engine", "validators") for path in (ROOT / package).rglob("*.py"))


def imports(tree: ast.AST) -> set[str]:
    """Every module that a file imports: at its top, inside a function, or for types alone."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "engine":
                found.update(f"engine.{alias.name}" for alias in node.names)
            else:
                found.add(node.module)
    return found


def room(module: str) -> str:
    """The first part of a module's name below the engine."""
    parts = module.split(".")
    return parts[1] if parts[0] == "engine" and len(parts) > 1 else ""


def upward(module: str, imported: set[str]) -> list[str]:
    """What a module of the engine may not import."""
    here = FLOORS.index(room(module))
    return sorted(
        each
        for each in imported
        if each.startswith("validators") or (room(each) and FLOORS.index(room(each)) > here)
    )


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_downwards(path: Path) -> None:
    module, imported = name_of(path), imports(ast.parse(path.read_text()))
    if module == "engine":
        return  # the public names, loaded when asked for
    if module.startswith("validators"):
        engine = {each for each in imported if each.startswith("engine")}
        assert not {each for each in engine if ".".join(each.split(".")[:2]) not in FOR_VALIDATORS}
    else:
        assert upward(module, imported) == []


def test_an_arrow_upwards_is_seen() -> None:
    code = "if TYPE_CHECKING:\n    from engine.runs.session import Session\n"
    assert upward("engine.llm.client", imports(ast.parse(code))) == ["engine.runs.session"]
    assert upward("engine.runs.api", imports(ast.parse("import validators.code"))) == ["validators.code"]


def test_no_cycles() -> None:
    edges = {name_of(path): imports(ast.parse(path.read_text())) for path in FILES}
    modules, done = set(edges), set[str]()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, f"a cycle: {' -> '.join((*trail[trail.index(module) :], module))}"
        if module not in done and module != "engine":
            for imported in sorted(edges[module] & modules):
                if imported != module:
                    visit(imported, (*trail, module))
            done.add(module)

    for module in sorted(modules):
        visit(module, ())


def test_the_map_is_of_this_house() -> None:
    """Every room and every loose file has its place in it, and nothing else has."""
    loose = {path.stem for path in (ROOT / "engine").glob("*.py")}
    rooms = {path.parent.name for path in (ROOT / "engine").glob("*/__init__.py")}
    assert set(FLOORS) == (loose | rooms) - {"__init__"}
    assert len(loose) <= LOOSE
    named = set(re.findall(r"`(?:engine/)?((?:\w+/)+\w*(?:\.py)?)`", ARCHITECTURE))
    for place in named - {"templates/", "validators/NAME.py"}:
        folders = (ROOT, ROOT / "engine", ROOT / "engine" / "runs")
        there = [folder / end for folder in folders for end in (place, f"{place}.py")]
        assert any(path.exists() for path in there), f"the map names {place}"


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
    """Each is what its room calls so, also once the rooms themselves are loaded: no room has the name of a function."""
    import engine
    import engine.exports.whole
    import engine.runs.programs

    assert engine.run is engine.runs.programs.run
    assert engine.export is engine.exports.whole.export
    for name in engine.__all__:
        assert not inspect.ismodule(getattr(engine, name)), name
    assert {"RunConfig", "run", "arun", "audit", "evaluate", "export", "preview"} <= set(engine.__all__)


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
