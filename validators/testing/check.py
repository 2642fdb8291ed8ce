"""Checks code by its tests, in the sandbox: the solution passes all of them, and wrong versions of it do not.

Tests that an empty solution passes test nothing; those that a solution with one change passes test too little. That is
how test suites are measured since DeMillo, Lipton and Sayward (1978).
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from engine.items import Item, Verdict
from engine.protocols import Expected, Tools
from validators.code.levels import MISSING
from validators.code.sandbox import ProgramResult, Sandbox, SandboxOptions
from validators.options import parsed
from validators.testing.blocks import Code, code_of
from validators.testing.mutants import emptied, mutants, parses
from validators.testing.programs import console_program, query_program, told_in, unit_program

NAME = "tests"
QUICKJS = "quickjs"
Language = Literal["auto", "python", "javascript", "sql"]


class TestsOptions(BaseModel):
    """This validator's options in the config."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    code: str = "label"
    """The field of the solution: `label`, `text`, or the name of an extra. A fenced block in it is the solution."""
    tests: str = "tests"
    """The field of the tests; without it, fenced blocks with assertions anywhere in the item are the tests."""
    language: Language = "auto"
    """`auto`: as the fence, or a field `language`, says; else Python."""
    verify: Literal["auto", "unit", "io"] = "auto"
    """`unit`: tests in the solution's language; of SQL, tables and the rows that are expected. `io`: inputs, and the
    outputs that a program prints for them; `auto`: as the tests are."""
    entry: str = ""
    """The function that tests written as `check(candidate)` are given; the last one of the solution where absent."""
    runs: int = Field(default=3, ge=1, le=20)
    """How often the solution must pass, each time with other random numbers."""
    mutants: int = Field(default=10, ge=0, le=100)
    """Versions of the solution with one change, which the tests must fail."""
    caught: float = Field(default=1.0, ge=0, le=1)
    """The share of these that must fail. Some changes change nothing, so that 1 turns away a few good items."""
    least: int = Field(default=1, ge=1, le=1000)
    """Tests that an item must have."""
    sandbox: SandboxOptions = SandboxOptions()


class _Ran:
    """How a solution did: each test with the reason why it failed; `problem` where it did not come so far."""

    def __init__(self, ran: Sequence[tuple[str, str]], problem: str = "", error: str = "") -> None:
        self.ran = ran
        self.problem = problem
        """A reason as a slug."""
        self.error = error

    @property
    def failed(self) -> list[tuple[str, str]]:
        return [(name, why) for name, why in self.ran if why]

    @property
    def passes(self) -> bool:
        return bool(self.ran) and not self.failed and not self.problem

    @property
    def share(self) -> float:
        return (len(self.ran) - len(self.failed)) / len(self.ran) if self.ran and not self.problem else 0.0


class TestsCheck:
    """PASS, or REJECT with the first reason that is found.

    Its reasons: no_code, no_tests, not_code, unreadable_tests, tests_fail, too_slow, out_of_memory, flaky,
    tests_vacuous (an empty solution passes), tests_weak (a changed one does), language.
    """

    name = NAME
    confirms = True
    __test__ = False

    def __init__(self, tools: Tools, **options: Any) -> None:
        """Raises ValueError for invalid options, or for a language whose interpreter is not installed."""
        self._options = given = parsed(TestsOptions, options)
        self._seed = tools.seed
        self._code, self._tests = (
            _named(tools, options, "code", given.code),
            _named(tools, options, "tests", given.tests),
        )
        self._javascript = find_spec(QUICKJS) is not None
        if given.language == "javascript" and not self._javascript:
            raise ValueError("language: javascript needs QuickJS: pip install 'datagen-engine[javascript]'")
        if given.verify == "io" and given.language == "javascript":
            raise ValueError("verify: io is for programs in Python and queries in SQL")
        preload = (*given.sandbox.preload, "sqlite3", "unittest", "ast", "io", "types")
        if self._javascript and given.language in ("auto", "javascript"):
            preload = (*preload, QUICKJS)
        self._sandbox = Sandbox(given.sandbox.model_copy(update={"preload": tuple(dict.fromkeys(preload))}))

    async def __aenter__(self) -> Self:
        """Raises SandboxUnavailable."""
        await self._sandbox.__aenter__()
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self._sandbox.__aexit__(*failure)

    def describe(self) -> dict[str, Any]:
        """The sandbox's level, and a warning if it is below the tightest."""
        level = self._sandbox.level
        about: dict[str, Any] = {
            "sandbox": {"level": self._sandbox.described, **self._sandbox.layers},
            "verify": self._options.verify,
        }
        if level != "full":
            about["warning"] = f"the sandbox is at the level {level!r}: {MISSING[level]}"
        return about

    def foresees(self) -> tuple[list[Expected], tuple[float, float, float]]:
        return [], (0.2, 0.6, 0.95)

    @staticmethod
    def examine() -> Iterator[tuple[str, bool | None, str]]:
        """For `datagen doctor`."""
        there = find_spec(QUICKJS) is not None
        said = "QuickJS is installed" if there else "not installed: pip install 'datagen-engine[javascript]'"
        yield "tests in JavaScript", None, said

    async def validate(self, item: Item) -> Verdict:
        """Raises SandboxUnavailable if programs can no longer be run."""
        options = self._options
        try:
            code = code_of(item, self._code, self._tests, options.language)
        except LookupError as error:
            missing = str(error.args[0])
            return Verdict.rejected(NAME, f"no_{missing}", f"the item has no {missing}")
        if code.language == "javascript" and not self._javascript:
            return Verdict.rejected(
                NAME, "language", "JavaScript cannot be run here: QuickJS is not installed"
            )
        if not parses(code.solution, code.language):
            return Verdict.rejected(NAME, "not_code", "the solution is no program", self._record(code))
        return await self._verdict(item, code)

    async def _verdict(self, item: Item, code: Code) -> Verdict:
        options = self._options
        record = self._record(code)
        first = await self._ran(code, code.solution, 1)
        record |= {"tests": len(first.ran), "tests_passed": round(first.share, 4)}
        if first.problem:
            return Verdict.rejected(NAME, first.problem, first.error, record)
        if first.failed:
            name, why = first.failed[0]
            said = f"{len(first.failed)} of {len(first.ran)} tests fail: {name}: {why}".rstrip(": ")
            return Verdict.rejected(NAME, "tests_fail", said, record)
        if len(first.ran) < options.least:
            reason = "no_tests" if not first.ran else "too_few_tests"
            return Verdict.rejected(
                NAME, reason, f"{len(first.ran)} tests, and {options.least} are wanted", record
            )
        for run in range(2, options.runs + 1):
            again = await self._ran(code, code.solution, run)
            if not again.passes:
                said = again.error or next((f"{name}: {why}" for name, why in again.failed), "no test ran")
                return Verdict.rejected(NAME, "flaky", f"run {run} of {options.runs}: {said}", record)
        if (await self._ran(code, emptied(code.solution, code.language), 1)).passes:
            return Verdict.rejected(
                NAME, "tests_vacuous", "a solution that does nothing passes the tests", record
            )
        return await self._against_mutants(code, record)

    async def _against_mutants(self, code: Code, record: dict[str, Any]) -> Verdict:
        options = self._options
        changed = mutants(code.solution, code.language, options.mutants, self._seed)
        passing, needed = list[str](), math.ceil(options.caught * len(changed))
        for mutant in changed:
            if (await self._ran(code, mutant, 1)).passes:
                passing.append(mutant)
                if len(changed) - len(passing) < needed:
                    break
        record["mutants"] = {"tried": len(changed), "passed": len(passing)}
        if len(changed) - len(passing) < needed:
            said = f"a changed solution passes the tests: {_difference(code.solution, passing[-1])}"
            return Verdict.rejected(NAME, "tests_weak", said, record)
        return Verdict.passed(NAME, record)

    def _record(self, code: Code) -> dict[str, Any]:
        verify = "io" if self._is_io(code) else "unit"
        return {"sandbox": self._sandbox.described, "language": code.language, "verify": verify}

    def _is_io(self, code: Code) -> bool:
        if self._options.verify == "auto":
            return code.language == "python" and bool(pairs_of(code.tests))
        return self._options.verify == "io"

    # --- running ---

    async def _ran(self, code: Code, solution: str, run: int) -> _Ran:
        if code.language == "sql":
            return await self._queried(solution, code.tests)
        if self._is_io(code):
            return await self._printed(solution, code.tests, run)
        tests = "\n".join(map(str, code.tests)) if isinstance(code.tests, list) else code.tests
        if not isinstance(tests, str) or not parses(tests, code.language):
            return _Ran((), "unreadable_tests", "the tests are no program")
        mark = secrets.token_hex(8)
        program = unit_program(code.language, solution, tests, mark=mark, seed=run, entry=self._options.entry)
        result = await self._sandbox.run(program)
        told = told_in(result.stdout, mark)
        if told is None:
            return _Ran((), *_ended(result))
        ran = [(str(name)[:100], str(why)) for name, why in told["ran"]]
        if any("MemoryError" in why for why in (told["error"], *(why for _, why in ran))):
            return _Ran(ran, "out_of_memory", "it took too much memory")
        if not told["error"]:
            return _Ran(ran)
        problem = "unreadable_tests" if told["error"].startswith("the tests") else "tests_fail"
        return _Ran(ran, problem, told["error"])

    async def _printed(self, solution: str, tests: Any, run: int) -> _Ran:
        """A program of its own for each input."""
        pairs = pairs_of(tests)
        if pairs is None:
            return _Ran((), "unreadable_tests", "tests are no list of inputs with their outputs")
        ran: list[tuple[str, str]] = []
        for place, (given, expected) in enumerate(pairs, 1):
            result = await self._sandbox.run(console_program(solution, given, run))
            if result.status in ("timeout", "cpu", "memory"):
                return _Ran(ran, *_ended(result))
            wrong = "" if result.ok and same_output(result.stdout, expected) else _wrong(result, expected)
            ran.append((f"input {place}", wrong))
        return _Ran(ran)

    async def _queried(self, solution: str, tests: Any) -> _Ran:
        cases = cases_of(tests)
        if cases is None:
            return _Ran((), "unreadable_tests", "tests are no list of tables (setup) with the rows expected")
        ran: list[tuple[str, str]] = []
        for place, (setup, expected) in enumerate(cases, 1):
            mark = secrets.token_hex(8)
            result = await self._sandbox.run(query_program(solution, setup, mark=mark))
            told = told_in(result.stdout, mark)
            if told is None:
                return _Ran(ran, *_ended(result))
            if told["error"].startswith("the tables"):
                return _Ran(ran, "unreadable_tests", told["error"])
            wrong = told["error"] or ("" if same_rows(told["rows"], expected, solution) else "other rows")
            ran.append((f"tables {place}", wrong))
        return _Ran(ran)


def _named(tools: Tools, options: Mapping[str, Any], option: str, name: str) -> str:
    """The name on an item of a field as the dataset calls it. Raises ValueError for one that it has not."""
    known = {**tools.fields, **dict.fromkeys(("text", "label"), "")}
    if tools.fields and option in options and name not in known and name not in tools.fields.values():
        raise ValueError(f"{option}: items have no field {name!r}; they have {', '.join(tools.fields)}")
    return tools.fields.get(name, name)


def _ended(result: ProgramResult) -> tuple[str, str]:
    """(reason, sentence) of a program that did not come to its end."""
    if result.status in ("timeout", "cpu"):
        return "too_slow", f"it took more than {result.wall_s:.1f} s"
    if result.status == "memory":
        return "out_of_memory", "it took too much memory"
    said = result.stderr.strip()[-300:] or f"it ended before its tests had run ({result.status})"
    return "tests_fail", said


def _wrong(result: ProgramResult, expected: str) -> str:
    if not result.ok:
        return result.stderr.strip()[-200:] or result.status
    return f"prints {result.stdout.strip()[:100]!r}, not {expected.strip()[:100]!r}"


def _difference(before: str, after: str) -> str:
    """The first line that differs."""
    old, new = before.split(), after.split()
    place = next((n for n, (one, other) in enumerate(zip(old, new, strict=False)) if one != other), 0)
    return " ".join(new[max(0, place - 5) : place + 6])[:200]


# --- what is expected ------------------------------------------------------------------------------


def pairs_of(tests: Any) -> list[tuple[str, str]] | None:
    """(input, output) of each case: a list of objects, or `inputs` and `outputs` as of programming contests."""
    if isinstance(tests, dict) and isinstance(tests.get("inputs"), list):
        outputs = tests.get("outputs")
        if not isinstance(outputs, list) or len(outputs) != len(tests["inputs"]):
            return None
        return [(_text(given), _text(told)) for given, told in zip(tests["inputs"], outputs, strict=True)]
    if not isinstance(tests, list):
        return None
    pairs = []
    for case in tests:
        if not isinstance(case, dict) or not {"input", "output"} <= case.keys():
            return None
        pairs.append((_text(case["input"]), _text(case["output"])))
    return pairs


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "\n".join(map(str, value))
    return str(value)


def cases_of(tests: Any) -> list[tuple[str, list[list[Any]]]] | None:
    """(setup, rows) of each case of a query."""
    if isinstance(tests, dict):
        tests = [tests]
    if not isinstance(tests, list):
        return None
    cases = []
    for case in tests:
        rows = case.get("expected", case.get("output")) if isinstance(case, dict) else None
        if not isinstance(case, dict) or not isinstance(case.get("setup"), str) or not isinstance(rows, list):
            return None
        cases.append((case["setup"], [row if isinstance(row, list) else [row] for row in rows]))
    return cases


def same_output(given: str, expected: str) -> bool:
    """Whether two outputs are the same but for spaces at the ends of lines, and numbers within 1e-6 of each other."""
    lines = [[line.split() for line in text.strip().splitlines()] for text in (given, expected)]
    if len(lines[0]) != len(lines[1]):
        return False
    for one, other in zip(*lines, strict=True):
        if len(one) != len(other) or not all(map(_same_word, one, other)):
            return False
    return True


def _same_word(one: str, other: str) -> bool:
    if one == other:
        return True
    try:
        return ("." in one or "." in other) and math.isclose(
            float(one), float(other), rel_tol=1e-6, abs_tol=1e-6
        )
    except ValueError:
        return False


def same_rows(given: list[list[Any]], expected: list[list[Any]], query: str) -> bool:
    """Whether a query gave these rows; in their order where the query asks for one."""

    def plain(rows: list[list[Any]]) -> list[list[str]]:
        return [[f"{float(v):.6g}" if isinstance(v, int | float) else str(v) for v in row] for row in rows]

    one, other = plain(given), plain(expected)
    return one == other if "order by" in query.casefold() else sorted(one) == sorted(other)
