"""All dialects, by name."""

from __future__ import annotations

from collections.abc import Mapping

from engine.simulator.dialects import providers, servers
from engine.simulator.dialects.dialect import Dialect

DIALECTS: Mapping[str, Dialect] = {
    "plain": Dialect(),
    "openai": providers.OPENAI,
    "azure": providers.AZURE,
    "anthropic": providers.ANTHROPIC,
    "gemini": providers.GEMINI,
    "vertex": providers.VERTEX,
    "mistral": providers.MISTRAL,
    "deepseek": providers.DEEPSEEK,
    "groq": providers.GROQ,
    "together": providers.TOGETHER,
    "openrouter": providers.OPENROUTER,
    "dashscope": providers.DASHSCOPE,
    "xai": providers.XAI,
    "bedrock": providers.BEDROCK,
    "vllm": servers.VLLM,
    "llama.cpp": servers.LLAMA,
    "ollama": servers.OLLAMA,
    "lm-studio": servers.STUDIO,
}
