"""The address of each kind of endpoint: its URL, its headers, its key."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from engine.config import ModelConfig
from engine.errors import AuthError, ConfigError
from engine.items import RateLimits
from engine.llm.backends.http import HttpEndpoint

AZURE_VERSION = "2024-10-21"
"""Azure's newest generally available `api-version` for deployments; it supports json_schema."""
ANTHROPIC_VERSION = "2023-06-01"
ENTRA_SCOPE = "https://cognitiveservices.azure.com/.default"


def connected(model: ModelConfig, path: str, *, concurrency: int) -> HttpEndpoint:
    """`path` is in OpenAI's or Anthropic's API, such as chat/completions. Raises ConfigError."""
    return HttpEndpoint(
        _url(model, path),
        headers=_headers(model),
        secrets=_secrets(model),
        concurrency=concurrency,
        token=EntraToken() if model.entra else None,
    )


def _url(model: ModelConfig, path: str) -> str:
    if model.api == "azure":
        deployment = quote(model.deployment or model.name, safe="")
        version = quote(model.api_version or AZURE_VERSION, safe="")
        return f"{model.base_url}/openai/deployments/{deployment}/{path}?api-version={version}"
    base = model.base_url.removesuffix("/v1") if model.api == "anthropic" else model.base_url
    return f"{base}/{path}"


def _headers(model: ModelConfig) -> dict[str, str]:
    return {"anthropic-version": model.api_version or ANTHROPIC_VERSION} if model.api == "anthropic" else {}


def _secrets(model: ModelConfig) -> dict[str, str]:
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
        self.name = f"{model.name} at {model.base_url}"
        self._model = model
        self._http = connected(model, path, concurrency=concurrency)

    @property
    def announced(self) -> RateLimits | None:
        """The last limits that the endpoint announced; the same object until they change."""
        return self._http.announced

    async def close(self) -> None:
        await self._http.close()


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
