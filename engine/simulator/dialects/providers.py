"""Hosted providers. docs/endpoints.md has the sources of what stands here."""

from __future__ import annotations

from engine.simulator.dialects import envelopes, rate_headers, rules, usage
from engine.simulator.dialects.dialect import Dialect, Refusal

# --- OpenAI, and who speaks as it does --------------------------------------------------------------


def _too_long(size: int, prompt: int, asked: int) -> Refusal:
    said = (
        f"This model's maximum context length is {size} tokens. However, you requested {prompt + asked} tokens"
        f" ({prompt} in the messages, {asked} in the completion). Please reduce the length of the messages or"
        " completion."
    )
    return Refusal(said, code="context_length_exceeded", param="messages")


def _unsupported(name: str) -> Refusal:
    other = "Use 'max_completion_tokens' instead."
    said = f"Unsupported parameter: '{name}' is not supported with this model."
    return Refusal(
        f"{said} {other}" if name == "max_tokens" else said, code="unsupported_parameter", param=name
    )


def _only_one(value: str) -> Refusal:
    said = f"Unsupported value: 'temperature' does not support {value} with this model."
    return Refusal(
        f"{said} Only the default (1) value is supported.", code="unsupported_value", param="temperature"
    )


def _no_system(name: str) -> Refusal:
    said = f"Unsupported value: 'messages[0].role' does not support '{name}' with this model."
    return Refusal(said, code="unsupported_value", param="messages[0].role")


_REASONING = (
    rules.field_unknown({"max_tokens"}, _unsupported),
    rules.temperature_fixed(_only_one),
    rules.system_refused(_no_system("system")),
    rules.strict_schema,
    rules.context(_too_long),
)
OPENAI = Dialect(
    rules=_REASONING,
    usage=usage.detailed,
    cached=0.25,
    written=0.25,
    thinking="hidden",
)
_FILTER = Refusal(
    "The response was filtered due to the prompt triggering Azure OpenAI's content management policy."
    " Please modify your prompt and retry.",
    kind=None,
    param="prompt",
    code="content_filter",
    more={"status": 400, "innererror": {"code": "ResponsibleAIPolicyViolation"}},
)
AZURE = Dialect(
    rules=_REASONING,
    usage=usage.cache_read,
    cached=0.25,
    thinking="hidden",
    filtered=_FILTER,
    server_errors=(
        Refusal(
            "The system is currently experiencing high demand and cannot process your request. Your request exceeds"
            " the maximum usage size allowed during peak load. Please retry after 1 seconds.",
            429,
            None,
            "429",
        ),
    ),
)

# --- Anthropic --------------------------------------------------------------------------------------


def _beyond(size: int, prompt: int, asked: int) -> Refusal:
    said = f"input length and `max_tokens` exceed context limit: {prompt} + {asked} > {size}, decrease input length"
    return Refusal(f"{said} or `max_tokens` and try again")


_DEPRECATED = Refusal("`temperature` is deprecated for this model.")
ANTHROPIC = Dialect(
    rules=(
        rules.temperature_fixed(lambda value: _DEPRECATED),
        rules.tool_not_forced(Refusal("Thinking may not be enabled when tool_choice forces tool use.")),
        rules.context(_beyond),
    ),
    envelope=envelopes.typed,
    usage=usage.of_messages,
    rate_headers=rate_headers.anthropic,
    cached=0.25,
    written=0.25,
    thinking="parts",
    server_errors=(Refusal("Overloaded", 529, "overloaded_error"),),
    too_fast=Refusal("This request would exceed your rate limit.", 429, "rate_limit_error"),
    no_credit=Refusal("Your credit balance is too low to access the Anthropic API.", 400),
    messages_api=True,
)

# --- Google -----------------------------------------------------------------------------------------


def _no_field(name: str) -> Refusal:
    return Refusal(f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.')


def _many_tokens(size: int, prompt: int, asked: int) -> Refusal:
    said = f"The input token count ({prompt}) exceeds the maximum number of tokens allowed ({size})."
    return Refusal(said)


_STATES = Refusal("The specified schema produces a constraint that has too many states for serving.")
_QUOTA = Refusal(
    "You exceeded your current quota, please check your plan and billing details. \n* Quota exceeded for metric:"
    " generativelanguage.googleapis.com/generate_content_free_tier_requests\nPlease retry in 1.5s.",
    429,
)
GEMINI = Dialect(
    rules=(
        rules.fields_known(
            "model messages temperature top_p max_tokens max_completion_tokens response_format stream"
            " stream_options reasoning_effort stop n tools tool_choice".split(),
            _no_field,
        ),
        rules.keywords_refused({"maxItems", "maxLength", "minLength"}, lambda name: _STATES),
        rules.context(_many_tokens, with_answer=False),
    ),
    envelope=envelopes.in_list,
    usage=usage.thoughts_in_total,
    rate_headers=rate_headers.none,
    thinking="hidden",
    server_errors=(Refusal("The model is overloaded. Please try again later.", 503),),
    too_fast=_QUOTA,
    no_credit=Refusal("This API method requires billing to be enabled. The account has no credit left.", 402),
)


def _no_keyword(name: str) -> Refusal:
    old = {"minLength": "min_length", "maxLength": "max_length", "maxItems": "max_items"}.get(name, name)
    return Refusal(f"one or more response schemas specified unsupported field {old}", 501)


VERTEX = Dialect(
    rules=(
        rules.keywords_refused({"minLength", "maxLength", "pattern"}, _no_keyword),
        rules.context(_many_tokens, with_answer=False),
    ),
    envelope=envelopes.in_list,
    usage=usage.thoughts_in_total,
    rate_headers=rate_headers.none,
    thinking="hidden",
    server_errors=(Refusal("Resource exhausted. Please try again later.", 429),),
    too_fast=Refusal("Resource exhausted. Please try again later.", 429),
)

# --- further providers ------------------------------------------------------------------------------


def _extra(name: str) -> Refusal:
    place = {"type": "extra_forbidden", "loc": ["body", name], "msg": "Extra inputs are not permitted"}
    return Refusal("", 422, more={"message": {"detail": [place]}})


def _no_json_keyword(name: str) -> Refusal:
    return Refusal(f"Received unsupported keyword `{name}` in schema.")


MISTRAL = Dialect(
    rules=(
        rules.fields_known(
            "model messages temperature top_p max_tokens stream stop random_seed response_format tools tool_choice"
            " presence_penalty frequency_penalty n prediction parallel_tool_calls prompt_mode safe_prompt"
            " reasoning_effort metadata".split(),
            _extra,
        ),
        rules.keywords_refused({"format", "uniqueItems"}, _no_json_keyword),
    ),
    envelope=envelopes.flat,
    rate_headers=rate_headers.none,
    thinking="parts",
    server_errors=(Refusal("Service tier capacity exceeded for this model.", 503),),
    too_fast=Refusal("Rate limit exceeded", 429, "rate_limited", "1300", more={"raw_status_code": 429}),
)
_DEEPSEEK_MOST = 8192


def _out_of_range(asked: int) -> Refusal:
    said = f"Invalid max_tokens value, the valid range of max_tokens is [1, {_DEEPSEEK_MOST}]"
    return Refusal(said, code="invalid_request_error")


def _deepseek_long(size: int, prompt: int, asked: int) -> Refusal:
    return Refusal(_too_long(size, prompt, asked).message, code="invalid_request_error")


_UNAVAILABLE = Refusal("This response_format type is unavailable now", code="invalid_request_error")
DEEPSEEK = Dialect(
    rules=(
        rules.forms_refused({"json_schema"}, lambda form: _UNAVAILABLE),
        rules.json_mentioned(
            "Prompt must contain the word 'json' in some form to use 'response_format' of type 'json_object'"
        ),
        rules.longest_answer(_DEEPSEEK_MOST, _out_of_range),
        rules.context(_deepseek_long),
    ),
    usage=usage.hits_and_misses,
    rate_headers=rate_headers.none,
    cached=0.5,
    thinking="field",
    lead=b"\n\n\n",
    comment="keep-alive",
    server_errors=(Refusal("Service is too busy.", 503, "service_unavailable_error"),),
    no_credit=Refusal("Insufficient Balance", 402, "unknown_error", "invalid_request_error"),
)


def _not_supported(name: str) -> Refusal:
    return Refusal(
        f"invalid schema for response format: response_format/json_schema/answer: {name} is not supported"
    )


GROQ = Dialect(
    rules=(
        rules.keywords_refused({"minItems", "maxItems", "minLength", "maxLength", "pattern"}, _not_supported),
        rules.context(_too_long),
    ),
    usage=usage.timed,
    rate_headers=rate_headers.groq,
    cached=0.25,
    thinking="field",
    field="reasoning",
    server_errors=(
        Refusal(
            "Failed to generate JSON. Please adjust your prompt. See 'failed_generation' for more details.",
            code="json_validate_failed",
            more={"failed_generation": '{"items": [{"text": "'},
        ),
        Refusal("capacity_exceeded: flex tier capacity exceeded", 498, "capacity_exceeded"),
    ),
)


def _inputs(size: int, prompt: int, asked: int) -> Refusal:
    said = (
        f"`inputs` tokens + `max_new_tokens` must be <= {size}. Given: {prompt} `inputs` tokens and {asked}"
    )
    return Refusal(f"Input validation error: {said} `max_new_tokens`", 422)


def _no_grammar(name: str) -> Refusal:
    return Refusal(f"Input validation error: grammar is not valid: {name} is not supported in a grammar")


TOGETHER = Dialect(
    rules=(rules.keywords_refused({"pattern"}, _no_grammar), rules.context(_inputs)),
    usage=usage.cached_beside,
    cached=0.25,
    thinking="field",
    field="reasoning",
    server_errors=(Refusal("The engine is currently overloaded", 529, "server_error"),),
    too_fast=Refusal("You have been rate limited.", 429, "credit_limit"),
    no_credit=Refusal(
        "Credit limit exceeded. Please navigate to billing to add credit.", 402, "credit_limit"
    ),
)


def _not_permitted(name: str) -> Refusal:
    said = f"Invalid schema for response_format 'answer': In context=(), '{name}' is not permitted."
    return Refusal(said, param="response_format")


OPENROUTER = Dialect(
    rules=(rules.keywords_refused({"minLength", "maxLength"}, _not_permitted), rules.context(_too_long)),
    envelope=envelopes.routed,
    usage=usage.detailed,
    bill="dollars",
    cached=0.25,
    thinking="field",
    field="reasoning",
    comment="OPENROUTER PROCESSING",
    server_errors=(
        Refusal("Provider returned error", 502, served=True),
        Refusal("Provider disconnected unexpectedly", 502, served=True, code="server_error"),
    ),
    no_credit=Refusal(
        "This request requires more credits, or fewer max_tokens. You requested up to 1024 tokens, but can only"
        " afford 12.",
        402,
    ),
)
_STREAM_ONLY = "This model only support stream mode, please enable the stream parameter to access the model. "
_NO_JSON_MODE = "Json mode response is not supported when enable_thinking is true"


def _invalid(said: str) -> Refusal:
    return Refusal(f"<400> InternalError.Algo.InvalidParameter: {said}")


DASHSCOPE = Dialect(
    rules=(
        rules.stream_needed(_STREAM_ONLY),
        rules.forms_refused({"json_object", "json_schema"}, lambda form: _invalid(_NO_JSON_MODE)),
    ),
    envelope=envelopes.with_request,
    usage=usage.created,
    rate_headers=rate_headers.none,
    cached=0.25,
    written=0.25,
    thinking="field",
    too_fast=Refusal("Requests rate limit exceeded, please try again later.", 429, "limit_requests"),
    no_credit=Refusal("Access denied, please make sure your account is in good standing.", 400, "Arrearage"),
)


def _no_parameter(name: str) -> Refusal:
    head, *rest = name.split("_")
    camel = head + "".join(part.title() for part in rest)
    return Refusal(f"Model grok-4 does not support parameter {camel}.")


def _prompt_too_long(size: int, prompt: int, asked: int) -> Refusal:
    return Refusal(f"This model's maximum prompt length is {size} but the request contains {prompt} tokens.")


XAI = Dialect(
    rules=(
        rules.field_unknown({"reasoning_effort", "presence_penalty", "stop"}, _no_parameter),
        rules.context(_prompt_too_long, with_answer=False),
    ),
    envelope=envelopes.text_beside_code,
    usage=usage.reasoning_beside,
    bill="ticks",
    cached=0.25,
    thinking="hidden",
    no_credit=Refusal(
        "Your team has either used all available credits or reached its monthly spending limit.", 403
    ),
)
BEDROCK = Dialect(
    rules=(rules.system_refused(Refusal("System role not supported", code="text")),),
    envelope=envelopes.detail,
    rate_headers=rate_headers.none,
    thinking="tag",
    takes_schema=False,
    server_errors=(Refusal("An error occurred (ServiceUnavailableException)", 500),),
    too_fast=Refusal("Too many requests, please wait before trying again.", 429),
)
