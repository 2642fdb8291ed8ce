"""Diversity of unit vectors: remote-clique, average pairwise similarity, Vendi score, nearest neighbours.

Vectors have shape [n, dimensions] and length 1; the caller leaves out rows that are not finite.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from engine.protocols import Vectors

_BLOCK = 2048
"""Rows in one product, so that its result stays in the processor's cache."""


class RemoteClique(NamedTuple):
    """Mean distance over all ordered pairs, with each item's distance of 0 to itself, and without these."""

    paper: float
    pairs: float


def remote_clique(vectors: Vectors) -> RemoteClique:
    """Mean pairwise Euclidean distance, exact, in O(n^2 d) time and constant memory.

    `paper` is DataGen's definition (arXiv 2406.18966, after Cevallos et al., 2018): (1/n^2) sum_ij ||e_i - e_j||.
    `pairs` is the mean over the n(n-1) pairs of different items, which does not shrink for small n. 0 for n < 2.
    """
    count, total = len(vectors), 0.0
    if count < 2:
        return RemoteClique(0.0, 0.0)
    space = np.empty((_BLOCK, _BLOCK), np.float32)
    for start in range(0, count, _BLOCK):
        rows = vectors[start : start + _BLOCK]
        for other in range(start, count, _BLOCK):
            columns = vectors[other : other + _BLOCK]
            block = space[: len(rows), : len(columns)]
            np.matmul(rows, columns.T, out=block)  # unit vectors: ||x - y||^2 = 2 - 2 x.y
            np.multiply(block, -2, out=block)
            np.add(block, 2, out=block)
            np.maximum(block, 0, out=block)
            np.sqrt(block, out=block)
            if start == other:
                np.fill_diagonal(block, 0)
            total += float(block.sum(dtype=np.float64)) * (1 if start == other else 2)
    return RemoteClique(total / count**2, total / (count * (count - 1)))


def average_pairwise_similarity(vectors: Vectors) -> float:
    """APS (Yu et al., 2023, AttrPrompt): mean cosine over the n(n-1) pairs of different items. 1 for n < 2.

    Exact in O(n d), since sum_ij x_i.x_j = ||sum_i x_i||^2.
    """
    count = len(vectors)
    if count < 2:
        return 1.0
    whole = vectors.sum(axis=0, dtype=np.float64)
    own = float(np.einsum("ij,ij->", vectors, vectors, dtype=np.float64))
    return min(1.0, float(whole @ whole - own) / (count * (count - 1)))


def vendi_score(vectors: Vectors) -> float:
    """Friedman and Dieng (2023): exp of the entropy of the eigenvalues of K/n, K the cosines of all pairs.

    The effective number of different items, from 1 (all alike) to n. The nonzero eigenvalues equal those of
    X^T X / n, so the cost is O(n d^2). 0 for no items.
    """
    if not len(vectors):
        return 0.0
    products = np.zeros((vectors.shape[1],) * 2)
    for start in range(0, len(vectors), 65536):
        rows = vectors[start : start + 65536]
        products += rows.T @ rows
    values = np.linalg.eigvalsh(products / len(vectors))
    values = values[values > 1e-12]
    values /= values.sum()
    return float(np.exp(-(values * np.log(values)).sum()))


def nearest_similarities(vectors: Vectors, others: Vectors | None = None) -> Vectors:
    """For each item, the cosine to the nearest other item, or to the nearest of `others`; exact, O(n m d)."""
    within = others is None
    against = vectors if others is None else others
    best = np.full(len(vectors), -1.0, np.float32)
    for start in range(0, len(vectors), _BLOCK):
        rows = vectors[start : start + _BLOCK]
        for other in range(0, len(against), _BLOCK):
            block = rows @ against[other : other + _BLOCK].T
            if within and start == other:
                np.fill_diagonal(block, -1)
            np.maximum(best[start : start + _BLOCK], block.max(axis=1), out=best[start : start + _BLOCK])
    return np.minimum(best, 1.0)  # rounding to half precision can exceed 1


QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)


def quantiles(values: Vectors) -> dict[str, float]:
    """By name: '0.5' is the median. Empty for no values."""
    if not len(values):
        return {}
    levels = np.quantile(values.astype(np.float64), QUANTILES)
    return {f"{share:g}": round(float(value), 4) for share, value in zip(QUANTILES, levels, strict=True)}
