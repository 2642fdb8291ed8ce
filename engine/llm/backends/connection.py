"""The address of each kind of endpoint: its URL, its headers, its key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from engine.config import ModelConfig
from engine.errors import (
    AuthError,
    BadRequest,
    ConfigError,
    Looped,
    Renegotiated,
    SamplingFailed,
    Truncated,
    Unparseable,
)
from engine.items import Completion, Prompt, RateLimits
from engine.llm.backends.bodies import most_bytes, too_long
from engine.llm.backends.http import HttpEndpoint
from engine.llm.backends.negotiation import Negotiation, Negotiations
from engine.llm.backends.terms import Terms

AZURE_VERSION = "2024-10-21"
"""Azure's newest generally available `api-version` for deployments; it supports json_schema."""
ANTHROPIC_VERSION = "2023-06-01"
ENTRA_SCOPE = "https://cognitiveservices.azure.com/.default"


def connected(model: ModelConfig, path: str, *, concurrency: int) -> HttpEndpoint:
    """`path` is in OpenAI's or Anthropic's API, such as chat/completions. Raises ConfigError."""
    return HttpEndpoint(
        _url(model, path),
        headers=_headers(model),
        secrets=secret_headers(model),
        concurrency=concurrency,
        token=EntraToken() if model.entra else None,
        direct=model.simulated,  # it plays on this machine's loopback
    )


def _url(model: ModelConfig, path: str) -> str:
    if model.api == "azure":
        deployment = quote(model.deployment or model.name, safe="")
        version = quote(model.api_version or AZURE_VERSION, safe="")
        base = urlsplit(model.base_url)
        query = "&".join(
            filter(None, (base.query, "" if "api-version=" in base.query else f"api-version={version}"))
        )
        place = f"{base.path.rstrip('/')}/openai/deployments/{deployment}/{path}"
        return base._replace(path=place, query=query).geturl()
    base = urlsplit(model.base_url)  # a query belongs at the end: some gateways keep a key or a version there
    root = base.path.rstrip("/")
    root = root.removesuffix("/v1") if model.api == "anthropic" else root
    return base._replace(path=f"{root}/{path}").geturl()


def _headers(model: ModelConfig) -> dict[str, str]:
    return {"anthropic-version": model.api_version or ANTHROPIC_VERSION} if model.api == "anthropic" else {}


def secret_headers(model: ModelConfig) -> dict[str, str]:
    """The headers with secrets: the key, and the user's own headers, which may hold secrets too."""
    secrets = dict(model.headers)
    if model.api_key:
        name = {"azure": "api-key", "anthropic": "x-api-key"}.get(model.api, "Authorization")
        secrets[name] = f"Bearer {model.api_key}" if name == "Authorization" else model.api_key
    return secrets


class HttpBackend:
    """The common part of all HTTP backends: one address, its announced limits, its closing."""

    def __init__(self, model: ModelConfig, path: str, *, concurrency: int) -> None:
        """`path` is the same as for `connected`. Raises ConfigError."""
        self.name = f"{model.name} at {urlsplit(model.base_url)._replace(query='').geturl()}"
        self._model = model
        self._http = connected(model, path, concurrency=concurrency)

    @property
    def announced(self) -> RateLimits | None:
        """The last limits that the endpoint announced; the same object until they change."""
        return self._http.announced

    async def close(self) -> None:
        await self._http.close()


class NegotiatingBackend(HttpBackend):
    """A backend that finds out what its endpoint takes, for one purpose at a time; a Negotiating.

    Mutable state: the negotiations, the notices that nobody has read yet.
    """

    negotiations: Negotiations

    def __init__(self, model: ModelConfig, path: str, *, concurrency: int) -> None:
        super().__init__(model, path, concurrency=concurrency)
        self.notices: list[tuple[str, str]] = []
        """(kind, sentence) of what people should know; whoever reads it empties it."""
        self._warned: set[str] = set()

    async def complete(self, prompt: Prompt) -> Completion:
        """Raises TransientError, PermanentError or FatalError, by status and body."""
        return await self._negotiated(prompt, None)

    async def streamed(self, prompt: Prompt, heard: Callable[[], None]) -> Completion:
        """Like `complete`, but the endpoint streams the answer; `heard` is called at each piece of it."""
        return await self._negotiated(prompt, heard)

    def _most_bytes(self, tokens: int) -> int:
        """The longest body that an answer of so many tokens can have."""
        return most_bytes(tokens, extra=bool(self._model.extra_body))

    def _check_length(self, length: int, tokens: int) -> None:
        """Raises TooLong for a streamed answer of so many characters that no answer of these tokens has."""
        if length > (most := self._most_bytes(tokens)):
            raise too_long(most)

    async def _asked(self, prompt: Prompt, terms: Terms, heard: Callable[[], None] | None) -> Completion:
        """One request on these terms."""
        raise NotImplementedError

    def fields(self, prompt: Prompt, terms: Terms) -> dict[str, Any]:
        """The request's body on these terms."""
        raise NotImplementedError

    def otherwise(self, prompt: Prompt, terms: Terms) -> dict[str, Any]:
        """What of the sampling is asked otherwise than the prompt says; None for what is left out."""
        raise NotImplementedError

    def read(self, body: bytes) -> Completion:
        """What the body of a success holds. Raises PermanentError and TransientError."""
        raise NotImplementedError

    async def _negotiated(self, prompt: Prompt, heard: Callable[[], None] | None) -> Completion:
        negotiation = self.negotiations.of(prompt.purpose)
        terms = negotiation.terms
        try:
            completion = await self._asked(prompt, terms, heard)
        except (Unparseable, Truncated, Looped, SamplingFailed):
            self.settle(prompt.purpose, terms)  # useless, but an answer
            raise
        except BadRequest as refusal:
            streamed = terms.streamed or (heard is not None and "stream" not in terms.without)
            if self._changed(negotiation, refusal, prompt, terms, streamed=streamed):
                raise Renegotiated(str(refusal)) from None
            raise
        self.settle(prompt.purpose, terms)
        return completion

    def _changed(
        self, negotiation: Negotiation, refusal: BadRequest, prompt: Prompt, sent: Terms, *, streamed: bool
    ) -> bool:
        """Whether another request will differ from the one that was refused. Raises ContextExceeded."""
        asked = min(prompt.max_tokens, sent.most_tokens or prompt.max_tokens)
        if negotiation.terms != sent:
            return True  # another refusal has changed the terms meanwhile
        while negotiation.refused(refusal, asked, streamed=streamed):
            now = negotiation.terms
            if self.fields(prompt, now) != self.fields(prompt, sent) or now.streamed != sent.streamed:
                return True
            if streamed and now.without != sent.without:
                return True  # of the fields that only a stream has
        return False

    def settled(self, purpose: str) -> bool:
        """See Negotiating, as for the next two."""
        return self.negotiations.settled(purpose)

    def terms(self) -> Mapping[str, Any]:
        return self.negotiations.as_dict()

    def restore(self, terms: Mapping[str, Any]) -> None:
        self.negotiations.restore(terms)

    def settle(self, purpose: str, terms: Terms) -> None:
        """Takes in that a request on these terms was answered."""
        if self.negotiations.of(purpose).answered(terms):
            self.negotiations.learn(terms)
            if sentence := self.negotiations.sentence(purpose):
                self.notices.append(("negotiated", f"{self.name} is asked otherwise for {sentence}"))

    def _extra(self, terms: Terms) -> dict[str, Any]:
        """The user's own fields; those that were refused are left out."""
        return {name: value for name, value in self._model.extra_body.items() if name not in terms.without}


class EntraToken:
    """Tokens of Microsoft Entra ID, which azure-identity caches and renews."""

    def __init__(self) -> None:
        """Raises ConfigError without azure-identity."""
        try:
            from azure.identity.aio import DefaultAzureCredential, get_bearer_token_provider
        except ImportError:
            raise ConfigError(
                "model.entra: needs the package azure-identity: pip install 'datagen-engine[azure]'"
            ) from None
        self._credential: Any = DefaultAzureCredential()
        self._provider: Any = get_bearer_token_provider(self._credential, ENTRA_SCOPE)

    async def fresh(self) -> str:
        """Raises AuthError."""
        from azure.core.exceptions import ClientAuthenticationError

        try:
            return str(await self._provider())
        except ClientAuthenticationError as error:
            said = next(iter(str(error.message).strip().splitlines()), "no reason given")
            raise AuthError(f"Microsoft Entra ID gives no token: {said}") from None

    async def close(self) -> None:
        await self._credential.close()
