"""Measures diversity of wording: inter-sample n-gram frequency, distinct-n, self-BLEU, lengths."""

from __future__ import annotations

import math
import random
import re
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

Tokens = Sequence[str]
REFERENCES = 200
"""The number of other items that a sampled self-BLEU compares each item with."""
SAMPLED = 300
"""The number of items that a sampled self-BLEU scores."""


def tokens(text: str) -> list[str]:
    """Words in lower case, and punctuation marks."""
    return re.findall(r"\w+|[^\w\s]", text.casefold())


def _ngrams(words: Tokens, n: int) -> Iterator[tuple[str, ...]]:
    return zip(*(islice(words, start, None) for start in range(n)), strict=False)


def inter_sample_frequency(items: Iterable[Tokens], n: int = 3) -> float:
    """INGF: the mean number of items in which a distinct n-gram occurs. 1 if no n-gram is shared.

    AttrPrompt (Yu et al., 2023) adopts the measure from Mishra et al. (2020, DQI) and prints no formula;
    this is the mean document frequency, sum_g df(g) / |G|. Lower is more diverse. 0 without n-grams.
    """
    documents: Counter[tuple[str, ...]] = Counter()
    for words in items:
        documents.update(set(_ngrams(words, n)))
    return documents.total() / len(documents) if documents else 0.0


def distinct(items: Iterable[Tokens], n: int) -> float:
    """distinct-n (Li et al., 2016): distinct n-grams divided by all n-grams of the dataset, from 0 to 1.

    It falls as the number of items grows; compare datasets of equal size.
    """
    seen: set[tuple[str, ...]] = set()
    whole = 0
    for words in items:
        before = list(_ngrams(words, n))
        seen.update(before)
        whole += len(before)
    return len(seen) / whole if whole else 0.0


class SelfBleu(NamedTuple):
    """From 0 to 100; `half_width` is that of a 95 % confidence interval, 0 where nothing was sampled."""

    score: float
    half_width: float
    sampled: int
    """The number of items scored."""
    references: int
    """The number of items that each item was compared with."""


def self_bleu(
    texts: Sequence[str], seed: int = 0, most: int = SAMPLED, references: int = REFERENCES
) -> SelfBleu:
    """Zhu et al. (2018, Texygen): mean BLEU-4 of each item with all others as references. High means alike.

    Uses sacrebleu (sentence BLEU, exponential smoothing). Samples are drawn by `seed` without replacement:
    items if there are more than `most`, and for each item its references if there are more than `references`.
    The interval is for the mean over the sampled items. BLEU grows with the number of references, so compare
    datasets at equal `references`.
    """
    if len(texts) < 2:
        return SelfBleu(0.0, 0.0, len(texts), 0)
    from sacrebleu.metrics.bleu import BLEU

    bleu = BLEU(effective_order=True)
    chance = random.Random(seed)
    looked_at = range(len(texts)) if len(texts) <= most else chance.sample(range(len(texts)), most)
    compared_with = min(references, len(texts) - 1)
    scores = []
    for place in looked_at:
        others = [other for other in chance.sample(range(len(texts)), compared_with + 1) if other != place]
        given = [texts[other] for other in others[:compared_with]]
        scores.append(bleu.sentence_score(texts[place], given).score)
    whole = len(scores) == len(texts) and compared_with == len(texts) - 1
    spread = statistics.stdev(scores) / math.sqrt(len(scores)) if len(scores) > 1 else 0.0
    return SelfBleu(statistics.fmean(scores), 0.0 if whole else 1.96 * spread, len(scores), compared_with)


def lengths(items: Sequence[Tokens]) -> dict[str, float]:
    """Lengths in words and marks: mean, standard deviation, least, median, most."""
    if not items:
        return {}
    counts = [len(words) for words in items]
    return {
        "mean": round(statistics.fmean(counts), 2),
        "deviation": round(statistics.pstdev(counts), 2),
        "least": min(counts),
        "median": statistics.median(counts),
        "most": max(counts),
    }


def entropy(values: Iterable[str]) -> dict[str, float]:
    """Shannon entropy of the values in bits, and as a share of the maximum for that number of values.

    Empty values are skipped: such an item has no label, or was requested without this attribute.
    """
    counts = Counter(value for value in values if value)
    whole = counts.total()
    if not whole:
        return {"values": 0, "bits": 0.0, "evenness": 0.0}
    bits = -sum(count / whole * math.log2(count / whole) for count in counts.values())
    evenness = bits / math.log2(len(counts)) if len(counts) > 1 else 1.0
    return {"values": len(counts), "bits": abs(round(bits, 4)), "evenness": round(evenness, 4)}


MOST_LABELS = 12
"""The number of labels whose shares are reported, the most frequent ones."""


def balance(labels: Iterable[str]) -> dict[str, dict[str, float]]:
    """The share of each label, the most frequent first. Empty if labels recur less than twice on average."""
    counts = Counter(label for label in labels if label)
    whole = counts.total()
    if not whole or len(counts) > whole / 2:
        return {}
    return {"shares": {label: round(count / whole, 4) for label, count in counts.most_common(MOST_LABELS)}}
