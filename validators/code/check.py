"""Checks a label with programs that a model writes without seeing it; they run in the sandbox."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

from engine.errors import PermanentError, SandboxUnavailable
from engine.items import Item, Verdict, said
from engine.protocols import Expected, Reply, Tools
from validators.ballot import LABEL, Ballot, Counting, as_label
from validators.code.levels import MISSING, Level
from validators.code.policy import Policy, PolicyName, Step
from validators.code.sandbox import ProgramResult, Sandbox, SandboxOptions
from validators.options import parsed
from validators.tags import mark
from validators.templates import template

NAME = "code"
UNVERIFIED = "unverified"
_PROSE = 2
"""Programs that do not parse, or repeat one that failed, after which an item gets no more."""
_SHOWN_ERROR = 600
"""How many characters from the end of a traceback are shown to a model and recorded."""


class CodeOptions(BaseModel):
    """This validator's options in the config."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    policy: PolicyName = "confirm"
    max_programs: int = Field(default=3, ge=1, le=20)
    agree: int = Field(default=1, ge=1, le=20)
    margin: int = Field(default=1, ge=1, le=20)
    """Votes by which an answer must lead once programs disagree."""
    relabel_margin: int = Field(default=0, ge=0, le=20)
    """For `confirm`: votes by which another answer must lead to replace the label; 0 never replaces it."""
    fixes: int = Field(default=1, ge=0, le=5)
    """How often a failed program is rewritten by a model that sees its error."""
    temperature: float = Field(default=0.7, ge=0, le=2)
    max_tokens: int = Field(default=1024, ge=64)
    sandbox: SandboxOptions = SandboxOptions()

    def as_policy(self) -> Policy:
        return Policy(self.policy, self.max_programs, self.agree, self.margin, self.relabel_margin)


class Program(Reply):
    """The wire's `program`."""

    analysis: str
    code: str


@dataclass
class _Case:
    """One item's programs. Mutable state: the votes so far, the runs."""

    item: Item
    ballot: Ballot
    runs: list[dict[str, Any]] = field(default_factory=list)
    asked: int = 0
    failed: set[str] = field(default_factory=set)
    """Programs that have failed."""
    prose: int = 0
    """Programs that are none: their text does not parse."""

    @property
    def hopeless(self) -> bool:
        """Whether the model writes no programs for this item: asking on would only cost."""
        return self.prose >= _PROSE


class CodeCheck:
    """PASS if the label is confirmed, REVISE if it is replaced, REJECT (`unverified`) otherwise.

    `_meta` records every program's outcome; the programs themselves are in the journal under their `call`.
    """

    name = NAME
    confirms = True

    def __init__(self, tools: Tools, **options: Any) -> None:
        """Raises ValueError for invalid options, and for items without a single label."""
        if tools.label != "one":
            raise ValueError(
                "items have no single label that programs could confirm; leave it out, or name it: dataset.fields.label"
            )
        self._options = parsed(CodeOptions, options)
        self._policy = self._options.as_policy()
        self._tools = tools
        self._asker = asker = tools.asker(NAME)
        chosen = self._options
        self._program = asker.question(
            "program",
            template("program"),
            Program,
            temperature=chosen.temperature,
            max_tokens=chosen.max_tokens,
            bounds={"analysis": {"maxLength": 2000}},
        )
        self._counting = Counting(asker)
        self._models = tuple(tools.models("program")) or ("",)
        self._sandbox = Sandbox(self._options.sandbox)

    async def __aenter__(self) -> Self:
        """Raises SandboxUnavailable."""
        await self._sandbox.__aenter__()
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self._sandbox.__aexit__(*failure)

    def describe(self) -> dict[str, Any]:
        """The sandbox's level and layers, and a warning if the level is below the tightest."""
        level = self._sandbox.level
        about: dict[str, Any] = {
            "sandbox": {"level": self._sandbox.described, **self._sandbox.layers},
            "caveat": "Labels were confirmed by programs that a model wrote; both can be wrong in the same way.",
        }
        if level != "full":
            about["warning"] = f"the sandbox is at the level {level!r}: {MISSING[level]}"
        return about

    def foresees(self) -> tuple[list[Expected], tuple[float, float, float]]:
        options = self._options
        least = 1 if options.policy != "confirm" else options.agree
        likely = 1 if options.policy == "relabel" else (least + options.max_programs) / 2
        written = Expected(self._program, (least, likely, options.max_programs * (1 + options.fixes)), 120)
        compared = Expected(self._counting.question, (0, 0.1, 2 * options.max_programs), 8)
        kept = (0.9, 1.0, 1.0) if options.policy == "relabel" else (0.2, 0.6, 0.95)
        return [written, compared], kept

    def policies(self) -> Iterator[tuple[Mapping[str, Any], CodeCheck]]:
        """One program, two that must agree, a label that is replaced."""
        one: dict[str, Any] = {"policy": "confirm", "max_programs": 1, "agree": 1, "relabel_margin": 0}
        of_three = {**one, "max_programs": 3}
        for options in (one, of_three, {**of_three, "agree": 2}, {**of_three, "relabel_margin": 2}):
            chosen = self._options.model_copy(update=options)
            if chosen != self._options:
                given = self._options.model_dump()
                yield (
                    {name: value for name, value in options.items() if given[name] != value},
                    self._with(chosen),
                )

    def _with(self, options: CodeOptions) -> CodeCheck:
        other = copy.copy(self)
        other._options, other._policy = options, options.as_policy()
        return other

    @staticmethod
    def examine() -> Iterator[tuple[str, bool | None, str]]:
        """For `datagen doctor`."""
        yield _examined()

    async def validate(self, item: Item) -> Verdict:
        """Raises SandboxUnavailable if programs can no longer be run."""
        if not isinstance(item.label, str):
            return Verdict.rejected(NAME, "no_label", "there is no single label to check")
        case = _Case(item, Ballot.about(item))
        while True:
            asked = self._policy.max_programs if case.hopeless else case.asked
            step, right = self._policy.step(case.ballot.votes, asked)
            if step is not Step.ASK:
                return self._verdict(case, step, right)
            await self._another(case)

    # --- programs ---

    async def _another(self, case: _Case) -> None:
        """Runs one more independent program, rewritten if it fails, and counts its answer."""
        case.asked += 1
        try:
            outcome = await self._run_mended(case)
        except PermanentError as error:
            case.runs.append({"status": error.reason})
            return
        if outcome is None or not outcome.ok or not outcome.last_line:
            return
        place = await self._counting.add(case.ballot, outcome.last_line, f"{case.asked}")
        case.runs[-1]["agrees"] = place == LABEL

    async def _run_mended(self, case: _Case) -> ProgramResult | None:
        tag, outcome = f"{case.asked}", None
        failure: dict[str, str] = {"failed": "", "status": "", "error": ""}
        for attempt in range(1, 2 + self._options.fixes):
            program = await self._asker.ask(
                self._program,
                case.item,
                self._tools.question(case.item),
                tag=tag,
                model=self._models[(case.asked - 1) % len(self._models)],
                choices=bool(case.item.choices),
                modules=self._options.sandbox.preload,
                **failure,
            )
            if program.code in case.failed:
                case.prose += 1
                case.runs.append({"call": f"program/{tag}", "status": "repeated"})
                return None
            outcome = await self._sandbox.run(printing(program.code))
            case.runs.append(_run(tag, outcome))
            if outcome.ok and outcome.last_line:
                return outcome
            case.failed.add(program.code)
            case.prose += not parses(program.code)
            if case.hopeless:
                return None
            failure = _failure(program.code, outcome)
            tag = f"{case.asked}-{attempt}-{mark(_MENDED.format(**failure))}"
        return outcome

    # --- verdicts ---

    def _verdict(self, case: _Case, step: Step, right: int) -> Verdict:
        record = {
            "sandbox": self._sandbox.described,
            "policy": self._policy.name,
            "programs": case.runs,
            "answers": case.ballot.counted(),
        }
        if step is Step.ACCEPT:
            return Verdict.passed(NAME, record)
        if step is Step.RELABEL:
            answer = said(case.ballot.answers[right])
            label = as_label(answer, case.item)
            if label is not None:
                revised = case.item.evolve(label=label)
                why = f"programs answer {answer}, not {case.item.label}"
                return Verdict.revised(NAME, "relabelled", revised, why, record)
        support = f"{case.ballot.votes[LABEL]} of {case.asked} programs"
        why = f"the label {case.item.label!r} has {support}; others: {case.ballot.others() or 'none'}"
        return Verdict.rejected(NAME, UNVERIFIED, why, record)


def _run(tag: str, outcome: ProgramResult) -> dict[str, Any]:
    """One program's outcome, in the form that is recorded."""
    shown: dict[str, Any] = {"call": f"program/{tag}", "status": outcome.status}
    if outcome.ok:
        shown["answer"] = outcome.last_line[:200]
    elif outcome.stderr:
        shown["error"] = outcome.stderr.strip()[-_SHOWN_ERROR:]
    return shown


_MENDED = (
    "This program was to answer the question below, and failed:\n\n{failed}\n\nHow it ended: {status}; "
    "{error}\n\nWrite a program that works."
)
"""The fingerprint of a call for a rewrite is made from this; a change would pay for these calls again."""


def _failure(code: str, outcome: ProgramResult) -> dict[str, str]:
    """How a program failed, for the prompt that asks for a better one."""
    error = outcome.stderr.strip()[-_SHOWN_ERROR:] or "it printed nothing"
    if outcome.status in ("cpu", "timeout"):
        error = "it took too long"
    return {"failed": code, "status": outcome.status, "error": error}


def parses(code: str) -> bool:
    """Whether it is a program at all."""
    try:
        ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


_RESULTS = ("answer", "result", "final_answer")


def printing(code: str) -> str:
    """The program, made to print its result if it only assigns or returns it (`answer`, `solution()`)."""
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return code  # the sandbox will report what is wrong with it
    if any(isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print" for node in ast.walk(tree)):
        return code
    named = set(_top_level(tree))
    for name in _RESULTS:
        if name in named:
            return f"{code}\nprint({name})\n"
    call = next((name for name in ("solution()", "solve()", "main()") if name in named), None)
    return f"{code}\nprint({call})\n" if call is not None else code


def _top_level(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.args.args:
            yield f"{node.name}()"
        targets = node.targets if isinstance(node, ast.Assign) else ()
        yield from (target.id for target in targets if isinstance(target, ast.Name))


def _examined() -> tuple[str, bool | None, str]:
    import asyncio

    async def opened() -> tuple[Level, Mapping[str, Any]]:
        async with Sandbox(SandboxOptions(require="limits-only", zygotes=1)) as sandbox:
            return sandbox.level, sandbox.layers

    try:
        level, layers = asyncio.run(opened())
    except SandboxUnavailable as error:
        return "sandbox", False, str(error)
    refused = "; ".join(f"{name}: {why}" for name, why in layers["refused"].items())
    detail = MISSING[level] or "namespaces, private root, Landlock, seccomp and limits hold"
    return "sandbox", level != "limits-only", f"level {level!r}: {detail}{f' ({refused})' if refused else ''}"
