"""The settings of the simulated endpoint."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from engine.config.markers import NotSecret
from engine.config.parts import PriceConfig, Section, Share

Dialect = Literal[
    "plain", "openai", "azure", "anthropic", "gemini", "vertex", "mistral", "deepseek", "groq", "together",
    "openrouter", "dashscope", "xai", "bedrock", "vllm", "llama.cpp", "ollama", "lm-studio",
]  # fmt: skip
"""The ways of providers and servers that the simulated endpoint can play."""
Thinking = Literal["own", "none", "hidden", "tag", "half_tag", "channel", "parts", "field"]
"""`hidden`: only counted; `half_tag`: only the end is marked; `parts`, `field`: apart from the answer."""
SIMULATED_PRICE = PriceConfig(input=0.15, output=0.60, cached_input=0.075, batch=0.5)
"""An invented price of the simulated endpoint, so that costs and the budget cap can be shown."""


class BatchKnobs(Section):
    """How the simulated endpoint plays its dialect's batch API, and what goes wrong with it."""

    day_s: float = Field(default=60.0, gt=0)
    """Seconds that stand for the 24 hours in which a batch is promised."""
    quickest: Share = 0.005
    """A batch takes so much of the day ..."""
    slowest: Share = 0.03
    """... to so much."""
    stall: Share = 0.0
    """Batches that do not end within the day."""
    stalled_at: Share = 0.6
    """The share of their calls that is answered all the same."""
    line_errors: Share = 0.0
    """Calls that fail with a server's error."""
    missing_lines: Share = 0.0
    """Answered calls that no file of results holds."""
    odd_lines: bool = False
    """Results hold a line twice, one that is cut, and one of somebody else's."""
    file_lag_s: float = Field(default=0.0, ge=0)
    """Seconds for which an uploaded file cannot be found."""
    lose_create: int = Field(default=0, ge=0)
    """So many creations are carried out, and their replies lost."""
    fail_create: int = Field(default=0, ge=0)
    """So many creations are answered with a failure, and nothing is made."""
    enqueued_tokens: int | None = Field(default=None, ge=1)
    """Tokens of prompts that may wait; a batch beyond them is refused after its creation."""
    queue: int | None = Field(default=None, ge=1)
    """Calls that may wait; a batch beyond them is refused."""
    refused_field: str = ""
    """A field of requests for which the whole batch is refused."""


class SimulatorConfig(Section):
    """The simulated endpoint: a program that imitates a language model.

    The default shares of defects are what the reference paper reports or implies for unchecked GPT-4 output.
    """

    seed: int = 0
    kind: Literal["auto", "word_problems", "multiple_choice", "short_facts", "code", "like_examples"] = "auto"
    wrong_labels: Share = 0.56
    """Word problems whose label is wrong (44 % right before code verification, 92 % after)."""
    wrong_facts: Share = 0.10
    """Facts and multiple-choice items whose label is wrong."""
    near_duplicates: Share = 0.10
    different: int | None = Field(default=None, ge=1)
    """How many different items the model has in it; where absent, no end is in sight."""
    violations: Share = 0.05
    """Items that break a length or language rule: far too long, or in another language."""
    bad_json: Share = 0.02
    prose: Share = 0.05
    """Replies with sentences and code fences around the JSON."""
    wrong_count: Share = 0.02
    refusals: Share = 0.005
    correlation: float = Field(default=0.0, ge=0, lt=1)
    """How much models err on the same texts, and alike: 0 not at all. The model's name tells them apart."""
    invented_quotes: Share = 0.0
    """Items from passages whose quote stands in no passage: a word is another, or a number."""
    unsupported: Share = 0.0
    """Items from passages whose answer is not what their quote says."""
    leaks: Share = 0.0
    """Items from passages whose question speaks of 'the passage'."""
    known_answers: Share = 0.0
    """Questions about documents that the model answers without them."""
    answered_anyway: Share = 0.0
    """Questions that were to have no answer in the passage, and have one."""
    failing_code: Share = 0.2
    """Code that fails the tests that its task has."""
    vacuous_tests: Share = 0.1
    """Tests of code that test nothing."""
    reading_errors: Share = 0.0
    """Fact checks that misread their passages."""
    answer_accuracy: Share = 0.80
    harder_accuracy: Share | None = None
    """The answer accuracy for items that were made harder; `answer_accuracy` where absent."""
    wordy_answers: Share = 0.0
    """Answers given as a whole sentence instead of the answer alone."""
    heeds_lessons: Share = 0.0
    """The share of new items' defects that lessons in the prompt prevent."""
    review_accuracy: Share = 0.90
    program_errors: Share = 0.08
    """Programs that compute a wrong answer or crash."""
    enhancement_errors: Share = 0.05
    """Harder items that lose a number, or whose right answer changes."""
    latency_s: float = Field(default=0.0, ge=0)
    """Seconds before a reply; the median if latency_p99_s is set too."""
    latency_p99_s: float | None = Field(default=None, gt=0)
    """The 99th percentile in seconds; makes the latency lognormal."""
    requests_per_minute: float | None = Field(default=None, gt=0)
    tokens_per_minute: float | None = Field(default=None, gt=0)
    errors: Share = 0.0
    """Replies with status 500."""
    resets: Share = 0.0
    """Connections reset instead of a reply."""
    cut_bodies: Share = 0.0
    """Replies with half a body."""
    stalls: Share = 0.0
    """Requests that are never answered."""
    slow_bodies: Share = 0.0
    """Bodies that arrive in small pieces over about a second."""
    no_usage: Share = 0.0
    """Replies without the usage field."""
    dialect: Dialect = "plain"
    """Whose rules, errors, usage and headers it plays; the sources are in docs/endpoints.md."""
    thinking: Thinking = "own"
    """Where thoughts stand in a reply: where the dialect has them, or as named; 'none': the model does not think."""
    thinking_tokens: int = Field(default=60, ge=0, le=100_000)
    """About how long a thought is; it holds a draft that is wrong."""
    context: int | None = Field(default=None, ge=64)
    """Tokens of a prompt and its answer; where absent, nothing is too long."""
    slots: int | None = Field(default=None, ge=1)
    """Requests that are worked on at once; the others wait."""
    system_role: bool = True
    """Whether the model's template has a system role."""
    credit: float | None = Field(default=None, ge=0)
    """US dollars in the account; once they are spent, requests are refused."""
    price: PriceConfig = SIMULATED_PRICE
    """By which the endpoint itself counts what it is owed (/stats, `billed_usd`)."""
    json_schema: bool = True
    """Whether response_format json_schema is accepted; otherwise the reply has status 400."""
    json_object: bool = True
    batches: BatchKnobs = BatchKnobs()
    api_key: Annotated[
        str | None, NotSecret("of an endpoint that this machine plays to itself, on loopback")
    ] = None
    """The only key that is accepted; where absent, any key is."""

    @model_validator(mode="after")
    def _lognormal(self) -> Self:
        if self.latency_p99_s is not None and not 0 < self.latency_s <= self.latency_p99_s:
            raise ValueError("latency_p99_s needs latency_s, the median, above 0 and not above it")
        return self
