"""What a token costs, from the config or from the genai-prices package."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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
    written: int = 0
    """For prompt tokens written to a cache; 0 if they cost the same as others."""


@dataclass(frozen=True, slots=True)
class Price:
    """One model's price. Where there are several tiers, the highest one reached applies to all tokens."""

    tiers: tuple[Tier, ...]
    per_call: int = 0
    """Picodollars for each call, in addition to its tokens."""
    services: Mapping[str, tuple[Tier, ...]] = field(default_factory=dict)
    """By service tier, where the provider has several (flex, priority): what calls that it served cost."""
    pinned: str = ""
    """The service tier that is asked for; '' if the provider chooses."""
    batch: tuple[Tier, ...] = ()
    """What calls in a batch cost; empty where that is not known."""

    def cost(
        self,
        prompt_tokens: int,
        completion_tokens: int,
        cached_tokens: int = 0,
        written_tokens: int = 0,
        service: str = "",
    ) -> int:
        """Picodollars for this usage; prompt tokens include those read from a cache or written to it.

        `service` is the service tier that the reply names. One without a known price costs as the dearest does.
        """
        tier = self._reached(prompt_tokens, service)
        fresh = prompt_tokens - cached_tokens
        tokens = fresh * tier.input + cached_tokens * tier.cached + completion_tokens * tier.output
        if written_tokens and tier.written:
            tokens += written_tokens * (tier.written - tier.input)
        return tokens + self.per_call

    def in_batches(self) -> Price | None:
        """The price of calls in a batch; None where it is not known."""
        return Price(self.batch, self.per_call) if self.batch else None

    def knows(self, service: str) -> bool:
        """Whether the price of this service tier is known; where there is one price, it is that of all."""
        return not self.services or service in _STANDARD or service in self.services

    def _reached(self, prompt_tokens: int, service: str) -> Tier:
        if not self.services:
            tiers = self.tiers
        elif self.knows(service):
            tiers = self.services.get(service, self.tiers)
        else:
            tiers = max(self._possible(), key=lambda each: _worst(each, prompt_tokens, prompt_tokens))
        if len(tiers) == 1:
            return tiers[0]
        return next((tier for tier in reversed(tiers[1:]) if prompt_tokens > tier.above), tiers[0])

    def _possible(self) -> list[tuple[Tier, ...]]:
        """The tiers of the service that is asked for; of all, where the provider chooses."""
        if self.pinned:
            return [self.services.get(self.pinned, self.tiers)]
        return [self.tiers, *self.services.values()]

    def worst(self, prompt_tokens: int, completion_tokens: int) -> int:
        """The most that a call within these bounds can cost, whichever service tier serves it."""
        if not self.services:
            return self.per_call + _worst(self.tiers, prompt_tokens, completion_tokens)
        return self.per_call + max(
            _worst(each, prompt_tokens, completion_tokens) for each in self._possible()
        )


_STANDARD = ("", "auto", "default", "standard", "on_demand")
"""What providers call the tier without a name of its own; it has the standard price."""


def _worst(tiers: Sequence[Tier], prompt_tokens: int, completion_tokens: int) -> int:
    dearest = -1
    for tier in tiers:
        if prompt_tokens > tier.above:
            whole = (
                prompt_tokens * max(tier.input, tier.cached, tier.written) + completion_tokens * tier.output
            )
            dearest = max(dearest, whole)
    return dearest


@dataclass(frozen=True, slots=True)
class Prices:
    """The prices of the run's models: the main one, and those for single purposes."""

    main: Price
    others: Mapping[str, Price] = field(default_factory=dict)

    def for_route(self, route: str) -> Price:
        return self.others.get(route, self.main)


FREE = Prices(Price((Tier(-1, 0, 0, 0),)))
"""Used where a price is unknown and no budget cap needs one."""


def prices_of(
    main: Sequence[ModelConfig], others: Mapping[str, ModelConfig]
) -> tuple[Prices | None, str | None]:
    """The prices, or the purpose ('main: NAME' for a main model) of a model without a known price.

    Of several main models, the most expensive sets the main price: the worst case of a call.
    """
    dear: list[Price] = []
    for model in main:
        if (price := price_of(model)) is None:
            return None, f"main: {model.name}"
        dear.append(price)
    prices: dict[str, Price] = {}
    for purpose, model in others.items():
        if (price := price_of(model)) is None:
            return None, purpose
        prices[purpose] = price
    return Prices(max(dear, key=lambda price: price.worst(1000, 1000)), prices), None


def price_of(model: ModelConfig) -> Price | None:
    """The configured price, otherwise the published one; None if neither is known."""
    return _configured(model.price) if model.price is not None else _published(model)


def _configured(price: PriceConfig) -> Price:
    cached = price.input if price.cached_input is None else price.cached_input
    written = price.input if price.cache_write is None else price.cache_write
    tier = Tier(-1, _pico(price.input), _pico(cached), _pico(price.output), _pico(written))
    batch = () if price.batch is None else (_scaled(tier, price.batch),)
    return Price((tier,), _pico(price.per_call * MILLION), batch=batch)


def _scaled(tier: Tier, share: float) -> Tier:
    rates = (math.ceil(Decimal(str(share)) * rate) for rate in tier[1:])
    return Tier(tier.above, *rates)


def _published(model: ModelConfig) -> Price | None:
    """None, too, where the model has no price for the service tier that is asked for."""
    from genai_prices import Usage as PricedUsage
    from genai_prices import calc_price

    probe = PricedUsage(input_tokens=1, output_tokens=1)
    for address in (model.base_url, None):  # the provider's own price first, then any provider's
        try:
            found = calc_price(probe, model.name, provider_api_url=address)
        except LookupError:
            continue
        names = {variant.when.get("service_tier") for variant in found.model.price_variants or ()} - {None}
        services = {}
        for name in sorted(map(str, names)):
            context = {"service_tier": name}
            priced = calc_price(
                probe, model.name, provider_api_url=address, price_context=context
            ).model_price
            if (tiers := _tiered(priced)) is not None:
                services[name] = tiers
        standard, pinned = _tiered(found.model_price), model.pinned_tier
        if standard is None or (pinned not in _STANDARD and pinned not in services):
            return None
        by_batch = {"processing": "batch"}
        price = calc_price(probe, model.name, provider_api_url=address, price_context=by_batch).model_price
        batch = _tiered(price) or ()
        per_thousand = getattr(found.model_price, "requests_kcount", None) or 0
        return Price(
            standard,
            _pico(per_thousand * 1000),
            services,
            # What falls back is served at the standard price, and so much is set aside.
            "" if pinned == "auto" else "default" if model.flex_fallback else pinned,
            () if batch == standard else batch,  # no variant of its own
        )
    return None


def _tiered(prices: Any) -> tuple[Tier, ...] | None:
    names = ("input_mtok", "cache_read_mtok", "output_mtok", "cache_write_mtok")
    rates = [getattr(prices, name, None) for name in names]
    if rates[0] is None or rates[2] is None:
        return None
    rates[1] = rates[0] if rates[1] is None else rates[1]
    rates[3] = rates[0] if rates[3] is None else rates[3]
    starts = sorted({tier.start for rate in rates for tier in getattr(rate, "tiers", ())})
    return tuple(Tier(above, *(_at(rate, above) for rate in rates)) for above in (-1, *starts))


def _at(rate: Any, above: int) -> int:
    """Picodollars per token at a prompt length just over `above`."""
    if isinstance(rate, Decimal | int | float):
        return _pico(rate)
    reached = [tier.price for tier in rate.tiers if tier.start <= above]
    return _pico(reached[-1] if reached else rate.base)


def _pico(dollars_per_million: Decimal | float) -> int:
    """Picodollars per token, rounded up because a cap must hold."""
    exact = Decimal(str(dollars_per_million)) * (PICO // MILLION)
    return int(exact.to_integral_value(ROUND_CEILING))
