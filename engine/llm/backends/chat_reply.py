"""What the body of a chat completion holds: the answer, wherever a server puts it, how it ended, what it used."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import orjson

from engine.errors import (
    ContentFiltered,
    EngineError,
    Looped,
    MalformedReply,
    PermanentError,
    TransientError,
    Truncated,
    Unavailable,
    Unparseable,
)
from engine.items import Completion, Usage
from engine.llm.backends.failures import failure_within, shown
from engine.llm.backends.usage import usage_of
from engine.llm.reasoning import Habit

#  finish_reason, in any spelling                                       counts as
#  stop, end_turn, eos, tool_calls, null, anything not named here       stop
#  length, max_tokens, model_length (Mistral), MAX_TOKENS (Gemini)      length
#  content_filter, safety, recitation, sensitive (GLM) ...              content_filter: the answer is withheld
#  error (OpenRouter, Mistral), abort (vLLM), network_error (GLM),      a failure of the server: asked again
#  insufficient_system_resource (DeepSeek), malformed_function_call

_LENGTH = frozenset("length max_tokens model_length max_output_tokens model_context_window_exceeded".split())
_FILTERED = frozenset(
    "content_filter content_filtered safety recitation prohibited_content blocklist spii sensitive refusal".split()
)
_BROKE_OFF = frozenset(
    "error abort aborted cancelled network_error insufficient_system_resource malformed_function_call".split()
)


class Message(NamedTuple):
    """One message of an assistant, its parts told apart."""

    text: str
    reasoning: str
    refusal: str
    """Why the model declined, where it has a field for it."""


def completion_of(
    body: bytes,
    model: str,
    host: str = "",
    habit: Habit | None = None,
) -> Completion:
    """The completion in a success's body. `model` is the name where the reply has none; `habit` is that model's.

    Raises MalformedReply, Unparseable, ContentFiltered, Truncated, Unavailable, and the errors of an error that
    came with status 200.
    """
    reply = _parsed(body)
    if not isinstance(reply, dict):
        raise MalformedReply("the body is no JSON object")
    if (failure := failure_within(reply)) is not None:
        raise with_usage(failure, usage_of(reply.get("usage"), host))
    usage = usage_of(reply.get("usage"), host, str(reply.get("service_tier") or ""))
    try:
        choice = reply["choices"][0]
        told = choice.get("message") or choice.get("delta") or {"content": choice["text"]}
        finish = finish_of(choice.get("finish_reason"))
        message = message_of(dict(told), habit or Habit(), cut=finish == "length")
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        raise with_usage(MalformedReply("the body holds no choices with a message"), usage) from None
    if finish == "broke_off":
        raise with_usage(
            Unavailable(f"the answer broke off: finish_reason {shown(choice['finish_reason'])!r}"), usage
        )
    if finish == "content_filter":
        raise with_usage(ContentFiltered("the endpoint's content filter withheld the answer"), usage)
    if not message.text.strip():
        raise with_usage(_empty(message, finish, usage), usage)
    return Completion(
        message.text, _named(str(reply.get("model") or model)), finish, usage, reasoning=message.reasoning
    )


def _named(model: str) -> str:
    """The name; of a file on the server's disk, as llama.cpp tells it, without the folders: items are published."""
    if model.startswith("/") or model[1:3] == ":\\":
        return model.replace("\\", "/").rpartition("/")[2] or model
    return model


def _empty(message: Message, finish: str, usage: Usage) -> PermanentError:
    if finish == "length":
        return Truncated(
            f"all {usage.completion_tokens:,} tokens went into reasoning, and no answer was begun"
        )
    if message.refusal:
        return Unparseable(f"the model refused: {shown(message.refusal)}")
    return Unparseable("the answer is empty")


def with_usage(error: EngineError, usage: Usage) -> EngineError:
    """The error, with the usage of the useless answer if there is one."""
    if isinstance(error, PermanentError) or (isinstance(error, TransientError) and not usage.estimated):
        error.usage = usage
    return error


def finish_of(reason: Any) -> str:
    """A finish reason as stop, length, content_filter or broke_off."""
    named = str(reason or "stop").lower()
    if named in _LENGTH:
        return "length"
    if named in _FILTERED:
        return "content_filter"
    return "broke_off" if named in _BROKE_OFF else "stop"


def _parsed(body: bytes) -> Any:
    """The body as JSON; one of server-sent events is put together. Raises MalformedReply, Unavailable."""
    start = body.lstrip()[:16].lower()
    if start.startswith((b"data:", b"event:", b":", b"id:")):
        answer = StreamedAnswer()
        for line in body.splitlines():
            if line.startswith(b"data:"):
                answer.add(line[5:].strip())
        return answer.reply()
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        if start.startswith((b"<!doctype", b"<html")):
            raise Unavailable("the answer is a web page, not a model's reply; see model.base_url") from None
        raise MalformedReply("the body is not whole JSON") from None


# --- where the answer is ----------------------------------------------------------------------------

#  the answer                                     sent so by
#  content: text                                  everybody
#  content: [{type: text}, {type: thinking}]      Mistral's reasoning models, some gateways to Anthropic
#  content: null, tool_calls or function_call     gateways that ask by a tool; Gemini through some proxies
#  content: null, reasoning(_content)             vLLM, SGLang, llama.cpp: a parser that took all for thinking
#  thinking in `reasoning`, `reasoning_content`,  vLLM, OpenRouter, Together, Groq; DeepSeek, Qwen, SGLang,
#  `reasoning_details`, `thinking`                llama.cpp; OpenRouter; Ollama


def message_of(message: dict[str, Any], habit: Habit, *, cut: bool) -> Message:
    """Tells the answer from the thinking. `cut`: the model had no tokens left."""
    text, thought = _content(message.get("content"))
    said = habit.separated(text, cut=cut)
    apart = [each for each in (said.reasoning, thought, *_thoughts(message)) if each]
    reasoning = "\n".join(dict.fromkeys(each.strip() for each in apart if each.strip())) if apart else ""
    answer = said.answer
    if not answer.strip():
        answer = _arguments(message) or _answer_within(reasoning, message)
    return Message(answer, reasoning, str(message.get("refusal") or _refusal(message.get("content"))))


def _content(content: Any) -> tuple[str, str]:
    """(answer, thinking) of a message's content, in whatever form."""
    if content is None or isinstance(content, str):
        return content or "", ""
    if isinstance(content, dict) and "type" not in content:  # a gateway has parsed the answer already
        return orjson.dumps(content).decode(), ""
    texts: tuple[list[str], list[str]] = [], []
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, str):
            texts[0].append(part)
        elif isinstance(part, dict):
            thinks = str(part.get("type")) in ("thinking", "reasoning", "redacted_thinking")
            texts[thinks].append("".join(_texts(part)))
    return "".join(texts[0]), "".join(texts[1])


def _refusal(content: Any) -> str:
    """Why the model declined, where that is a part of the content."""
    parts = [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    return "".join(str(part.get("refusal") or "") for part in parts)


def _texts(part: Any) -> Iterator[str]:
    """The texts of one part; Mistral's thinking is a list of parts itself."""
    if isinstance(part, str):
        yield part
    elif isinstance(part, list):
        for inner in part:
            yield from _texts(inner)
    elif isinstance(part, dict):
        for name in ("text", "thinking", "reasoning", "content", "summary"):
            yield from _texts(part.get(name))


def _thoughts(message: dict[str, Any]) -> Iterator[str]:
    for name in ("reasoning_content", "reasoning", "reasoning_details", "thinking"):
        if name in message:
            yield "".join(_texts(message[name]))


def _arguments(message: dict[str, Any]) -> str:
    """The arguments of the first tool call: a gateway may have turned the schema into a tool."""
    calls = message.get("tool_calls")
    call = calls[0] if isinstance(calls, list) and calls else None
    function = (call.get("function") if isinstance(call, dict) else None) or message.get("function_call")
    arguments = function.get("arguments") if isinstance(function, dict) else None
    return orjson.dumps(arguments).decode() if isinstance(arguments, dict) else str(arguments or "")


def _answer_within(reasoning: str, message: dict[str, Any]) -> str:
    """Everything that the server took for thinking, if it may hold an object and the message ends whole."""
    whole = "reasoning" in message or "reasoning_content" in message
    return reasoning if whole and reasoning.rstrip().rstrip("`").rstrip().endswith(("}", "]")) else ""


_LOOK = 64
"""Pieces of a streamed answer between two looks for a loop."""
_LOOP = 480
_LONGEST_PERIOD = 80
"""Characters: an answer whose last 480 repeat something of at most 80 goes round in a circle."""


def repeats_itself(said: str) -> bool:
    """Whether the end of a text is one short piece, again and again; blanks and rules of dashes count as well."""
    end = said[-_LOOP:]
    if len(end) < _LOOP:
        return False
    return any(end[period:] == end[:-period] for period in range(1, _LONGEST_PERIOD + 1))


class StreamedAnswer:
    """Joins the events of a streamed answer. Mutable state: what has arrived so far."""

    def __init__(self, heard: Callable[[], None] = lambda: None) -> None:
        self._heard = heard
        self.length = 0
        """Characters so far."""
        self._texts: dict[str, list[str]] = {}
        self._parts: list[Any] = []
        self._arguments: list[str] = []
        self._reply: dict[str, Any] = {"model": None, "usage": None, "service_tier": None}
        self._finish: str | None = None
        self._pieces = 0

    def add(self, event: bytes) -> None:
        """Raises MalformedReply, and the error that an event tells of."""
        if event in (b"[DONE]", b""):
            return
        try:
            chunk = orjson.loads(event)
            failure = failure_within(chunk)
            for name in self._reply:
                self._reply[name] = chunk.get(name) or self._reply[name]
            for choice in chunk.get("choices") or ():
                self._finish = choice.get("finish_reason") or self._finish
                self._add(choice.get("delta") or choice.get("message") or {})
        except (ValueError, AttributeError, TypeError):
            raise MalformedReply("an event of the stream is not a chunk of an answer") from None
        if failure is not None:
            raise with_usage(failure, usage_of(self._reply["usage"]))

    def _add(self, delta: dict[str, Any]) -> None:
        content = delta.get("content")
        if isinstance(content, list):
            self._parts += content
            self.length += len(str(content))
        texts = {name: delta.get(name) for name in ("content", "reasoning_content", "reasoning", "refusal")}
        for name, text in texts.items():
            if isinstance(text, str) and text:
                self._texts.setdefault(name, []).append(text)
                self.length += len(text)
        arguments = _arguments(delta)
        if arguments:
            self._arguments.append(arguments)
            self.length += len(arguments)
        if any(texts.values()) or arguments:
            self._heard()
            self._pieces += 1
            if self._pieces % _LOOK == 0:
                self._check_for_a_loop()

    def _check_for_a_loop(self) -> None:
        """Raises Looped where the end of the answer only repeats itself."""
        for texts in (*self._texts.values(), self._arguments):
            said = "".join(texts)
            if repeats_itself(said):
                raise with_usage(
                    Looped(f"the answer repeated itself without end: {shown(said[-60:])!r}", said),
                    Usage(estimated=True),
                )

    def reply(self) -> dict[str, Any]:
        """The same reply as without streaming. Raises MalformedReply for a stream that did not end."""
        message: dict[str, Any] = {"content": None}
        message |= {name: "".join(texts) for name, texts in self._texts.items()}
        if self._parts:
            text = [{"type": "text", "text": message["content"]}] if message["content"] else []
            message["content"] = [*self._parts, *text]
        if self._arguments:
            message["function_call"] = {"arguments": "".join(self._arguments)}
        if self._finish is None:
            raise with_usage(
                MalformedReply("the stream ended before the answer did"), usage_of(self._reply["usage"])
            )
        return {**self._reply, "choices": [{"message": message, "finish_reason": self._finish}]}
