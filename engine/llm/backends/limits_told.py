"""Reads the limits that a refusal tells of: the longest answer, the context's size, the prompt's."""

from __future__ import annotations

import re
from typing import NamedTuple

#  said by                 words
#  OpenAI, DeepSeek, vLLM  maximum context length is 4096 tokens ... (3072 in the messages, 2048 in the completion)
#  vLLM                    max_tokens=131072 cannot be greater than max_model_len=max_total_tokens=40960
#  llama.cpp               request (9012 tokens) exceeds the available context size (4096 tokens)
#  Anthropic               input length and `max_tokens` exceed context limit: 143653 + 64000 > 200000
#  xAI                     maximum prompt length is 131072 but the request contains 136973 tokens
#  Gemini                  The input token count (1200293) exceeds the maximum number of tokens allowed (1048576)
#  TGI, Together           `inputs` tokens + `max_new_tokens` must be <= 2048. Given: 2019 `inputs` tokens
#  SGLang                  The input (5000 tokens) is longer than the model's context length (4096 tokens)
#  DashScope               Range of input length should be [1, 30720]; Range of max_tokens should be [1, 65536]
#  OpenAI                  max_tokens is too large: 8192. This model supports at most 4096 completion tokens

_NUMBER = r"(\d[\d,]*)"
_CONTEXT = (
    re.compile(r'"n_ctx"\s*:\s*(\d+)'),
    re.compile(rf"\d[\d,]* \+ \d[\d,]* > {_NUMBER}"),
    re.compile(rf"`?inputs`? tokens \+ `?max_new_tokens`? must be <= {_NUMBER}"),
    re.compile(
        r"(?:context (?:length|size|window|limit)|max_model_len|maximum prompt length|maximum number of tokens allowed"
        rf"|range of input length|maximum model length|maximum allowed length)\D{{0,60}}?(?:\[\d+, )?{_NUMBER}",
        re.IGNORECASE,
    ),
)
_PROMPT = (
    re.compile(r'"n_prompt_tokens"\s*:\s*(\d+)'),
    re.compile(rf"{_NUMBER} \+ \d[\d,]* > \d"),
    re.compile(
        rf"{_NUMBER} (?:tokens )?(?:in|from) (?:the|your) (?:input |prompt )?(?:messages|prompt)",
        re.IGNORECASE,
    ),
    re.compile(rf"Given: {_NUMBER} `?inputs"),
    re.compile(rf"(?:input|request|prompt|token count)\s*\({_NUMBER}(?: tokens)?\)", re.IGNORECASE),
    re.compile(
        rf"(?:resulted in|contains|has|requested)(?: at least)? {_NUMBER} (?:input )?tokens", re.IGNORECASE
    ),
)
_ANSWER = re.compile(
    r"max_(?:completion_|output_|new_)?tokens|maxtokens|max(?:imum)? (?:output|completion) tokens",
    re.IGNORECASE,
)
_LEAST_ANSWER = 16


class Overrun(NamedTuple):
    """A request that does not fit: tokens of the context, and of the prompt where that is told."""

    context: int
    prompt: int | None


def overrun(said: str) -> Overrun | None:
    """None where the refusal speaks of no context."""
    context = _first(_CONTEXT, said)
    return None if context is None or context < _LEAST_ANSWER else Overrun(context, _first(_PROMPT, said))


def longest_answer(said: str, asked: int) -> int | None:
    """The most tokens that one may ask for: the largest number in the words that is smaller than what was asked.

    None where the refusal speaks of no limit for the answer. `asked` is what was sent.
    """
    if not _ANSWER.search(said):
        return None
    numbers = (int(match.replace(",", "")) for match in re.findall(r"\d[\d,]*", said))
    return max((number for number in numbers if _LEAST_ANSWER <= number < asked), default=None)


def _first(patterns: tuple[re.Pattern[str], ...], said: str) -> int | None:
    for pattern in patterns:
        if (match := pattern.search(said)) is not None:
            return int(match[1].replace(",", ""))
    return None
