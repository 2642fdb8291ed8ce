"""What a token costs, from the config or from the genai-prices package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Decimal
from typing import Any, NamedTuple

from engine.config import ModelConfig
from engine.config.parts import PriceConfig
from engine.items import PICO

MILLION = 1_000_000


class Tier(NamedTuple):
    """Picodollars per token, for prompts of more than `above` tokens."""

    above: int
    input: int
    cached: int
    output: int


@dataclass(frozen=True, slots=True)
class Price:
    """One model's price. Where there are several tiers, the highest one reached applies to all tokens."""

    tiers: tuple[Tier, ...]
    per_call: int = 0
    """Picodollars for each call, whatever it takes."""

    def cost(self, prompt_tokens: int, completion_tokens: int, cached_tokens: int = 0) -> int:
        """Picodollars for what was used; the cached tokens are part of the prompt's."""
        tier = self.tiers[0]
        for candidate in self.tiers[1:]:
            if prompt_tokens > candidate.above:
                tier = candidate
        fresh = prompt_tokens - cached_tokens
        tokens = fresh * tier.input + cached_tokens * tier.cached + completion_tokens * tier.output
        return tokens + self.per_call

    def worst(self, prompt_tokens: int, completion_tokens: int) -> int:
        """The most that a call within these bounds can cost."""
        return self.per_call + max(
            prompt_tokens * max(tier.input, tier.cached) + completion_tokens * tier.output
            for tier in self.tiers
            if prompt_tokens > tier.above
        )


@dataclass(frozen=True, slots=True)
class Prices:
    """What the run's models cost: the main one, and those of single purposes."""

    main: Price
    others: Mapping[str, Price] = field(default_factory=dict)

    def of(self, purpose: str) -> Price:
        return self.others.get(purpose, self.main)


FREE = Prices(Price((Tier(-1, 0, 0, 0),)))
"""Where a price is unknown and no cap asks for one."""


def prices_of(main: ModelConfig, others: Mapping[str, ModelConfig]) -> tuple[Prices | None, str | None]:
    """The prices, or the purpose ('' for the main model) of one whose price is not known."""
    found: dict[str, Price] = {}
    for purpose, model in {"": main, **others}.items():
        price = price_of(model)
        if price is None:
            return None, purpose
        found[purpose] = price
    return Prices(found.pop(""), found), None


def price_of(model: ModelConfig) -> Price | None:
    """The configured price, else the published one; None where neither is known."""
    return _configured(model.price) if model.price is not None else _published(model)


def _configured(price: PriceConfig) -> Price:
    cached = price.input if price.cached_input is None else price.cached_input
    tier = Tier(-1, _pico(price.input), _pico(cached), _pico(price.output))
    return Price((tier,), _pico(price.per_call * MILLION))


def _published(model: ModelConfig) -> Price | None:
    from genai_prices import Usage as PricedUsage
    from genai_prices import calc_price

    probe = PricedUsage(input_tokens=1, output_tokens=1)
    for address in (model.base_url, None):  # the provider's own price first, then any provider's
        try:
            return _tiered(calc_price(probe, model.name, provider_api_url=address).model_price)
        except LookupError:
            continue
    return None


def _tiered(prices: Any) -> Price | None:
    rates = [getattr(prices, name, None) for name in ("input_mtok", "cache_read_mtok", "output_mtok")]
    if rates[0] is None or rates[2] is None:
        return None
    rates[1] = rates[0] if rates[1] is None else rates[1]
    starts = sorted({tier.start for rate in rates for tier in getattr(rate, "tiers", ())})
    tiers = tuple(Tier(above, *(_at(rate, above) for rate in rates)) for above in (-1, *starts))
    per_thousand = getattr(prices, "requests_kcount", None) or 0
    return Price(tiers, _pico(per_thousand * 1000))


def _at(rate: Any, above: int) -> int:
    """Picodollars per token at a prompt length just over `above`."""
    if isinstance(rate, Decimal | int | float):
        return _pico(rate)
    reached = [tier.price for tier in rate.tiers if tier.start <= above]
    return _pico(reached[-1] if reached else rate.base)


def _pico(dollars_per_million: Decimal | float) -> int:
    """Rounded up: a cap must hold."""
    exact = Decimal(str(dollars_per_million)) * (PICO // MILLION)
    return int(exact.to_integral_value(ROUND_CEILING))
