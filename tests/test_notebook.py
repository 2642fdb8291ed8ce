"""The engine in programs and notebooks: inside a running loop, results as items and tables, a notebook that runs."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from nbclient import NotebookClient

import engine
from conftest import Configs, Start, lines
from engine import RunConfig, as_dataset
from engine.errors import ConfigError
from engine.report.notebook import progress_html, result_html
from engine.runs.programs import finished
from engine.runs.result import Result
from hostile_strings import hostile_strings
from test_live import SNAPSHOT

EXAMPLE = Path(__file__).parent.parent / "examples" / "notebook.ipynb"


async def test_run_works_where_a_loop_is_running(tmp_path: Path, endpoint: Start, configs: Configs) -> None:
    url, simulator = await endpoint()
    config = configs.load(url)
    loop = asyncio.get_running_loop()
    result = await loop.run_in_executor(None, lambda: asyncio.run(_inside(config, tmp_path / "run")))
    assert (result.outcome, result.accepted) == ("target", 20)
    assert simulator.statistics.served
    rows = lines(tmp_path / "run" / "accepted.jsonl")
    assert [each.id for each in result.items()] == [row["_meta"]["id"] for row in rows]
    assert [each.text for each in result.items()] == [row["question"] for row in rows]
    assert [each.label for each in result.items()] == [row["answer"] for row in rows]
    assert len(list(result.items("rejected"))) == result.data["items"]["rejected"]
    table = result.to_arrow()
    assert table.column_names == ["question", "answer"]
    assert result.to_pandas().shape == (20, 2)
    assert result.to_dataset(meta=True).column_names == ["question", "answer", "_meta"]
    assert "20 of 20" in result._repr_html_()


async def _inside(config: RunConfig, folder: Path) -> Result:
    return engine.run(config, folder)


def test_a_stop_cancels_and_keeps_what_was_paid_for() -> None:
    """The stop button of a notebook raises KeyboardInterrupt in the thread that waits."""
    begun, ended = threading.Event(), []

    async def work() -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async def inside() -> None:
        threading.Timer(0.3, lambda: _interrupt_main()).start()
        finished(work)

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(inside())
    assert begun.is_set()
    assert ended == ["cancelled"]


def _interrupt_main() -> None:
    import _thread

    _thread.interrupt_main()


@pytest.mark.parametrize("given", ["rows", "pandas", "arrow", "datasets"])
def test_a_dataset_from_what_a_program_has(given: str) -> None:
    rows = [{"question": f"{n} and 1?", "answer": n + 1} for n in range(12)]
    table = pyarrow.Table.from_pylist(rows)
    made: dict[str, Callable[[], Any]] = {
        "rows": lambda: rows,
        "pandas": table.to_pandas,
        "arrow": lambda: table,
        "datasets": lambda: __import__("datasets").Dataset(__import__("datasets").table.InMemoryTable(table)),
    }
    path = as_dataset(made[given]())
    assert path == as_dataset(made[given]()), "the same data is the same file: a run of it can be continued"
    config = RunConfig.model_validate(
        {"dataset": {"path": (path,), "description": "Sums.", "fields": {"text": "question", "label": "answer"}},
         "generate": {"target": 5}, "model": {"name": "simulated"}}
    )  # fmt: skip
    from engine.dataset.base import BaseDataset

    assert len(BaseDataset.load(config.dataset).examples) == 12


def test_no_column_and_no_type_is_lost_on_the_way() -> None:
    rows = [
        {
            "q": "a",
            "n": np.int64(3),
            "x": [np.float64(0.5)],
            "v": np.arange(2),
            "in": {"deep": np.bool_(True)},
        }
    ]
    [row] = lines(Path(as_dataset(rows)))
    assert row == {"q": "a", "n": 3, "x": [0.5], "v": [0, 1], "in": {"deep": True}}
    frame = pyarrow.table({"question": ["a", "b"], "answer": [1, 2]}).to_pandas()
    for given in (frame, frame.set_index("question"), frame.sort_values("answer", ascending=False)):
        assert set(pyarrow.parquet.read_table(as_dataset(given)).column_names) == {"question", "answer"}


@pytest.mark.parametrize(
    ("data", "said"), [("text", "not str"), ([], "has no row"), ([1], "row 0"), (5, "not int")]
)
def test_what_is_no_dataset(data: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        as_dataset(data)


async def test_preview_shows_all_and_keeps_nothing(tmp_path: Path, endpoint: Start, configs: Configs) -> None:
    url, _ = await endpoint(kind="word_problems", wrong_labels=0.3)
    config = configs.load(
        url, generate={"target": 500}, validators=["constraints", "reflection"], limits={"mode": "auto"}
    )
    before = sorted(tmp_path.rglob("*"))
    found = await asyncio.to_thread(engine.preview, config, 4)
    assert sorted(tmp_path.rglob("*")) == before
    assert sum(each.state == "accepted" for each in found.items) == 4
    assert "Write exactly" in found.batches[0].user
    assert found.spent_usd == pytest.approx(
        sum(c.usd for c in found.batches) + sum(c.usd for i in found.items for c in i.calls)
    )
    reviewed = next(each for each in found.items if each.calls)
    assert reviewed.calls[0].purpose == "review"
    assert [verdict["by"] for verdict in reviewed.verdicts][:2] == ["constraints", "reflection"]
    assert "Write exactly" in found._repr_html_()


async def test_audit_evaluate_export(tmp_path: Path, endpoint: Start, configs: Configs) -> None:
    url, _ = await endpoint()
    config = configs.load(url)

    def work() -> tuple[Any, Any, int]:
        checked = engine.audit(config, tmp_path / "audit")
        made = engine.run(config, tmp_path / "run")
        count = engine.export(made.folder, tmp_path / "deeper.parquet")
        tested = engine.evaluate(config, tmp_path / "evaluation", data=[tmp_path / "deeper.parquet"])
        return checked, tested, count

    checked, tested, count = await asyncio.to_thread(work)
    assert (checked.outcome, tested.outcome, count) == ("target", "target", 20)


def test_html_escapes_whatever_it_is_given() -> None:
    for text in hostile_strings()[:200]:
        html = result_html({text: text}, [{text: text}], {text: 3}, text)
        html += progress_html(SNAPSHOT, [text])
        shown = [each for each in ("<script", "<img", "<svg", "<iframe") if each in html.lower()]
        assert not shown, text


def test_the_example_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a real kernel, in whose loop everything is called; the display is updated in place."""
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    monkeypatch.setenv("HOME", str(tmp_path))
    notebook = nbformat.read(EXAMPLE, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "it is committed without outputs"
    client = NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.km = client.create_kernel_manager()
    client.km.kernel_spec.argv[0] = sys.executable
    client.execute()
    shown = [
        output.get("data", {}).get("text/html", "")
        for cell in notebook.cells
        for output in cell.get("outputs", ())
    ]
    assert any("40 of 40" in html for html in shown)
    assert any('<progress max="1"' in html for html in shown)
    assert (tmp_path / "runs" / "notebook.parquet").is_file()


def test_a_config_of_classes_is_the_one_of_mappings() -> None:
    from engine.config import (
        DatasetConfig,
        FieldsConfig,
        GenerateConfig,
        LimitsConfig,
        ModelConfig,
        ValidatorConfig,
    )

    path = as_dataset([{"question": "1 and 1?", "answer": "2"}])
    fields = {"text": "question", "label": "answer"}
    plain = RunConfig(
        dataset={"path": path, "description": "Sums.", "fields": fields},  # type: ignore[arg-type]
        generate={"target": 5}, model={"name": "simulated"}, validators=["constraints"],  # type: ignore[arg-type, list-item]
        limits={"budget_usd": 2},  # type: ignore[arg-type]
    )  # fmt: skip
    typed = RunConfig(
        dataset=DatasetConfig(path=(path,), description="Sums.", fields=FieldsConfig.model_validate(fields)),
        generate=GenerateConfig(target=5),
        model=ModelConfig(name="simulated"),
        validators=(ValidatorConfig(name="constraints"),),
        limits=LimitsConfig(budget_usd=2),
    )
    assert plain.without_secrets() == typed.without_secrets()
