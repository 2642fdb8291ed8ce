"""Code is kept if its tests hold it to something: the solution passes; what does nothing, or something else, fails."""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import CLEAN, Configs, Start, lines, run_in
from engine.conformance import check_validator, tools_for
from engine.errors import ConfigError
from engine.items import Batch, Item, Verdict
from engine.runs.modes import MapMode
from engine.simulator.content import code_tasks
from mapped_rows import config_of, mapped
from validators.testing.check import TestsCheck, same_output, same_rows
from validators.testing.mutants import emptied, mutants
from validators.testing.programs import statements

pytestmark = pytest.mark.filterwarnings("ignore:.*the sandbox is at the level.*")
QUICK = {"zygotes": 1, "cpu_s": 1}


def item(code: str, tests: Any = None, position: int = 0, **extras: Any) -> Item:
    held = {**extras, **({"tests": tests} if tests is not None else {})}
    return Item(Batch(0, 1, 0, 0.0), position, 1, "Do it.", code, extras=held)


@pytest.fixture
async def check() -> Any:
    async with TestsCheck(tools_for(), sandbox=QUICK) as opened:
        yield opened


async def verdict(
    code: str, tests: Any = None, *, extras: dict[str, Any] | None = None, **options: Any
) -> Verdict:
    async with TestsCheck(tools_for(), sandbox=QUICK, **options) as opened:
        return await opened.validate(item(code, tests, **(extras or {})))


ADD = "def add(a, b):\n    return a + b\n"
GOOD = "assert add(1, 2) == 3\nassert add(0, 5) == 5\n"
UNITTEST = """
import unittest
from solution import add
class TestAdd(unittest.TestCase):
    def test_small(self):
        self.assertEqual(add(1, 2), 3)
    def test_none(self):
        self.assertEqual(add(0, 7), 7)
if __name__ == "__main__":
    unittest.main()
"""
PYTEST = """
import pytest
@pytest.mark.parametrize("a, b, c", [(1, 2, 3), (2, 5, 7)])
def test_add(a, b, c):
    assert add(a, b) == c
def test_refuses():
    with pytest.raises(TypeError, match="int"):
        add(1, "x")
"""


@pytest.mark.parametrize(
    "tests",
    [
        GOOD,
        UNITTEST,
        PYTEST,
        "def check(candidate):\n    assert candidate(1, 2) == 3\n    assert candidate(9, 1) == 10\n",
        ["assert add(1, 2) == 3", "assert add(4, 4) == 8"],
        '["assert add(1, 2) == 3", "assert add(7, 1) == 8"]',
        f"Here they are:\n```python\n{GOOD}```\n",
        "class TestAll:\n    def test_it(self):\n        assert add(1, 2) == 3\n",
    ],
    ids=["asserts", "unittest", "pytest", "check", "list", "json", "fenced", "class"],
)
async def test_tests_in_any_of_their_forms(tests: Any, check: TestsCheck) -> None:
    found = await check.validate(item(ADD, tests))
    assert (found.decision.value, found.reason) == ("pass", ""), found.feedback
    assert found.record["tests_passed"] == 1.0
    assert found.record["mutants"]["passed"] == 0


FLAKY = "import random\ndef add(a, b):\n    return a + b if random.random() < 0.5 else 0"


@pytest.mark.parametrize(
    ("code", "tests", "reason"),
    [
        (ADD, "assert add(1, 2) == 4", "tests_fail"),
        (ADD, "assert True", "tests_vacuous"),
        (ADD, "def test_it():\n    add(1, 2)", "tests_vacuous"),
        (ADD, "assert callable(add)", "tests_vacuous"),
        (ADD, "x = 1", "no_tests"),
        (ADD, "assert add(", "unreadable_tests"),
        (ADD, "import no_such_module\nassert add(1, 2) == 3", "unreadable_tests"),
        ("def add(a, b):\n    return a * b", "assert add(2, 2) == 4", "tests_weak"),
        ("def add(a, b:\n", GOOD, "not_code"),
        ("", GOOD, "no_code"),
        (ADD, None, "no_tests"),
        ("def add(a, b):\n    while True: pass", GOOD, "too_slow"),
        ("def add(a, b):\n    return [0] * 10**9", GOOD, "out_of_memory"),
        (FLAKY, "assert add(1, 2) == 3", "flaky"),
        ("import sys\nsys.exit(0)", "assert 1 == 2", "tests_fail"),
        ("import os\nos._exit(0)", "assert 1 == 2", "tests_fail"),
        ("raise ValueError('no')", GOOD, "tests_fail"),
        ("def add(a, b):\n    raise SystemExit(0)", GOOD, "tests_fail"),
        ("open('/etc/passwd').read()", "assert 1 == 1", "tests_fail"),
    ],
)  # fmt: skip
async def test_why_code_is_turned_away(code: str, tests: Any, reason: str, check: TestsCheck) -> None:
    found = await check.validate(item(code, tests))
    assert (found.decision.value, found.reason) == ("reject", reason), found.feedback


FORGED = """
import json
json.dumps = lambda told: '{"ran": [["a", ""]], "error": ""}'
def add(a, b):
    return 0
"""


async def test_whoever_forges_the_result_forges_it_for_an_empty_solution_too(check: TestsCheck) -> None:
    found = await check.validate(item(FORGED, GOOD))
    assert found.reason == "tests_vacuous"


async def test_code_and_tests_in_fences_of_one_text(check: TestsCheck) -> None:
    said = f"This adds.\n```python\n{ADD}```\nIts tests:\n```python\n{GOOD}```\n"
    found = await check.validate(item(said))
    assert found.reason == "", found.feedback


async def test_equivalent_changes_can_be_allowed_for() -> None:
    code = "def double(x):\n    unused = 5\n    return x * 2\n"
    tests = "assert double(3) == 6\nassert double(0) == 0"
    strict = await verdict(code, tests, mutants=50)
    lenient = await verdict(code, tests, mutants=50, caught=0.5)
    assert (strict.reason, lenient.reason) == ("tests_weak", "")
    assert lenient.record["mutants"]["passed"] >= 1


@pytest.mark.parametrize(
    ("code", "tests", "reason"),
    [
        ("n = int(input())\nprint(n * n)", [{"input": "3", "output": "9"}, {"input": "5\n", "output": "25 \n"}], ""),
        ("import sys\nprint(sum(map(int, sys.stdin)))", {"inputs": [["1", "2"], "4"], "outputs": ["3", "4"]}, ""),
        ("print(1 / 3)", '[{"input": "", "output": "0.33333333"}]', ""),
        ("n = int(input())\nprint(n)", [{"input": "3", "output": "9"}], "tests_fail"),
        ("print(input())", [{"input": "", "output": "x"}], "tests_fail"),
        ("print(2)", "what?", "unreadable_tests"),
        ("print(2)", [], "no_tests"),
        ("while True: pass", [{"input": "", "output": "x"}], "too_slow"),
        ("n = int(input())\nprint(n * n)", [{"input": "2", "output": "4"}], "tests_weak"),
    ],
)  # fmt: skip
async def test_inputs_and_outputs(code: str, tests: Any, reason: str) -> None:
    assert (await verdict(code, tests, verify="io", mutants=9)).reason == reason


TABLES = "CREATE TABLE sales(name TEXT, amount INT);"
TABLES += "INSERT INTO sales VALUES ('a', 10), ('a', 6), ('b', 5), ('b; x', 7);"
QUERY = "SELECT name, SUM(amount) FROM sales WHERE amount > 5 GROUP BY name ORDER BY name"


@pytest.mark.parametrize(
    ("code", "tests", "reason"),
    [
        (QUERY, [{"setup": TABLES, "expected": [["a", 16], ["b; x", 7]]}], ""),
        (f"```sql\n{QUERY};\n```", {"setup": TABLES, "output": [["a", 16.0], ["b; x", 7]]}, ""),
        (QUERY, [{"setup": TABLES, "expected": [["b; x", 7], ["a", 16]]}], "tests_fail"),
        ("SELECT nothing FROM sales", [{"setup": TABLES, "expected": []}], "tests_fail"),
        ("SELECT name FROM sales WHERE 0", [{"setup": TABLES, "expected": []}], "tests_vacuous"),
        (QUERY, [{"setup": "CREATE TABL", "expected": []}], "unreadable_tests"),
        (QUERY, "what", "unreadable_tests"),
        ("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT max(x) FROM c",
         [{"setup": "", "expected": [[1]]}], "too_slow"),
        ("ATTACH '/tmp/stolen.db' AS s; SELECT 1", [{"setup": "", "expected": [[1]]}], "tests_fail"),
    ],
)  # fmt: skip
async def test_queries(code: str, tests: Any, reason: str) -> None:
    found = await verdict(code, tests, language="sql")
    assert found.reason == reason, found.feedback


REQUIRED = "const { add } = require('./solution');\nconst assert = require('node:assert');"
JS = "function add(a, b) { return a + b; }"
JS_TEST = "import { add } from './solution.js';\n"
JS_TEST += "test('adds', () => { expect(add(1, 2)).toBe(3); expect(add(5, 5)).toEqual(10); });"


@pytest.mark.parametrize(
    ("code", "tests", "reason"),
    [
        (JS, "assert.strictEqual(add(1, 2), 3); assert.deepEqual([add(2, 2)], [4]); assert.equal(add(3, 5), 8)", ""),
        (f"```js\n{JS}\nmodule.exports = {{ add }};\n```", JS_TEST, ""),
        ("export const add = (a, b) => a + b;", JS_TEST, ""),
        (JS, f"{REQUIRED}\nassert(add(1, 2) === 3)", ""),
        (JS, "test('later', async () => { await null; expect(add(1, 2)).toBe(4); });", "tests_fail"),
        (JS, "assert(true)", "tests_vacuous"),
        (JS, "assert(add(1, 2) === 4)", "tests_fail"),
        ("function add(a, b) { for (;;) {} }", "assert(add(1, 2) === 3)", "too_slow"),
        ("function add(a { }", "assert(add(1, 2) === 3)", "tests_fail"),
        (JS, "assert(add(1,", "unreadable_tests"),
    ],
)  # fmt: skip
async def test_javascript(code: str, tests: Any, reason: str) -> None:
    pytest.importorskip("quickjs")
    found = await verdict(code, tests, language="javascript")
    assert found.reason == reason, found.feedback


def bodies() -> Iterator[str]:
    for number in range(60):
        yield code_tasks.draw(random.Random(number)).code


@given(st.integers(0, 10_000))
def test_a_mutant_is_another_program_that_parses(number: int) -> None:
    source = code_tasks.draw(random.Random(number)).code
    made = mutants(source, "python", 100, 0)
    assert made
    plain = ast.unparse(ast.parse(source))
    assert len(set(made)) == len(made)
    for mutant in made:
        assert ast.unparse(ast.parse(mutant)) != plain
    assert mutants(source, "python", 2, 0) == mutants(source, "python", 2, 0)
    assert "pass" in emptied(source, "python")


async def test_the_simulated_tasks_are_what_they_claim(check: TestsCheck) -> None:
    """The control: right code with real tests passes, wrong code and empty tests do not."""
    for number in range(25):
        task = code_tasks.draw(random.Random(number))
        assert code_tasks.known(f"Task: {task.text} Thanks.") == task
        assert (await check.validate(item(task.code, task.tests))).reason == ""
        assert (await check.validate(item(task.wrong, task.tests))).reason == "tests_fail"
        empty = code_tasks.vacuous(task, random.Random(number))
        assert (await check.validate(item(task.code, empty))).reason == "tests_vacuous"


async def test_none_of_the_wrong_code_is_kept(endpoint: Start, configs: Configs, tmp_path: Any) -> None:
    url, _ = await endpoint(failing_code=0.4, vacuous_tests=0.3)
    base = tmp_path / "code.jsonl"
    tasks = [code_tasks.draw(random.Random(number)) for number in range(900, 906)]
    base.write_bytes(
        b"".join(orjson.dumps({"task": t.text, "code": t.code, "tests": t.tests}) + b"\n" for t in tasks)
    )
    config = configs.load(
        url,
        dataset={"path": str(base), "fields": {"text": "task", "label": "code", "extras": ["tests"]}},
        generate={"target": 25, "batch_size": 4},
        validators=[{"tests": {"sandbox": QUICK}}],
    )
    report = await run_in(tmp_path / "run", config)
    assert report.outcome == "target"
    for row in lines(tmp_path / "run" / "accepted.jsonl"):
        task = code_tasks.known(row["task"])
        assert task is not None
        assert (row["code"].strip(), row["tests"]) == (task.code.strip(), task.tests)
        for mutant in mutants(row["code"], "python", 100, 0):
            assert not passes(mutant, row["tests"]), mutant
    reasons = report.data["validators"]["tests"]["reasons"]
    assert reasons["tests_fail"] > 5
    assert reasons["tests_vacuous"] > 3


def passes(code: str, tests: str) -> bool:
    """Whether the simulated endpoint's own code passes, run here."""
    space: dict[str, Any] = {}
    try:
        exec(code, space)  # noqa: S102
        exec(tests, space)  # noqa: S102
    except Exception:
        return False
    return True


def test_outputs_are_compared_by_what_they_say() -> None:
    assert same_output("1 2\n3\n", "1  2\n3")
    assert same_output("0.3333333\n", "0.33333334")
    assert not same_output("1\n2", "1 2")
    assert not same_output("12", "13")
    assert same_rows([[1.0, "a"]], [[1, "a"]], "SELECT")
    assert same_rows([[2], [1]], [[1], [2]], "SELECT x")
    assert not same_rows([[2], [1]], [[1], [2]], "SELECT x ORDER BY x")
    assert statements("SELECT 'a;b'; SELECT 2;") == ["SELECT 'a;b'", " SELECT 2"]


async def test_the_conformance_suite() -> None:
    await check_validator(
        lambda tools: TestsCheck(tools, sandbox=QUICK),
        good=item(ADD, GOOD),
        bad=item(ADD, "assert add(1, 1) == 3", position=1),
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tsts": "x"}, "tsts.*allowed: code"),
        ({"runs": 0}, "runs: .*greater than or equal to 1"),
        ({"language": "cobol"}, "language"),
        ({"language": "javascript", "verify": "io"}, "programs in Python"),
    ],
)
def test_wrong_options(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        TestsCheck(tools_for(), **options)


async def test_fields_may_be_named_as_the_dataset_has_them(endpoint: Start, tmp_path: Path) -> None:
    url, _ = await endpoint()
    data = tmp_path / "tasks.jsonl"
    data.write_bytes(
        b"".join(orjson.dumps({"task": code_tasks.draw(random.Random(n)).text}) + b"\n" for n in range(4))
    )
    spec = {"prompt": "{{ task }}", "columns": {"solution": "string", "tests": "string"}}
    check = {"tests": {"code": "solution", "tests": "tests", "sandbox": QUICK}}
    report = await mapped(tmp_path / "run", config_of(tmp_path, url, data, map=spec, validators=[check]))
    assert report.accepted == 4
    wrong = {"tests": {"code": "nocolumn", "sandbox": QUICK}}
    with pytest.raises(ConfigError, match="items have no field 'nocolumn'"):
        MapMode().load(config_of(tmp_path, url, data, map=spec, validators=[wrong]))


async def test_inputs_and_outputs_are_told_by_their_form(check: TestsCheck) -> None:
    found = await check.validate(item("n = int(input())\nprint(n * n)", [{"input": "3", "output": "9"}]))
    assert (found.reason, found.record["verify"]) == ("", "io")


assert CLEAN["failing_code"] == 0.0
