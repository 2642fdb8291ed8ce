"""Indexes of unit vectors: for each query, the nearest vector of at least some similarity.

    Exact      every neighbour is found; a scan, narrowed by a bound once there are many vectors
    Ivf        FAISS's inverted file: only the lists nearest to a query are looked into

The bound, after a rotation R that puts most of the length into the first k coordinates (principal components):
x.y = Rx.Ry <= x1.y1 + |x2||y2|, where x1 are the first k coordinates of Rx and x2 the others (Cauchy-Schwarz). With
|x2| as one more coordinate that is a single product of k + 1 dimensions; only pairs that reach the threshold
there are compared in full. benchmarks/groupcheck.py has what each costs and finds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from engine.protocols import Vectors

RowNumbers = npt.NDArray[np.int64]

FRONT = 95
"""Coordinates that the bound looks at; with the length of the others, a round number for matrix products."""
NARROWED_FROM = 4096
"""Vectors from which the bound pays; below, all coordinates are compared at once."""
_BLOCK = 4096
"""Vectors of one product, so that its result stays in the processor's cache."""
_QUERIES = 512
"""Queries of one product, for the same reason."""
_PAIRS = 4096
"""Pairs compared in full at once."""
_SLACK = 1e-4
"""More than single precision can be off, so that the bound never hides a neighbour."""


class Nearest(NamedTuple):
    """For each query the row of its nearest neighbour, -1 where none is near enough, and their similarity."""

    rows: RowNumbers
    similarities: Vectors


class Index(Protocol):
    """RowNumbers are counted from 0 in the order in which they were added."""

    def add(self, vectors: Vectors) -> None: ...

    def nearest(self, queries: Vectors, threshold: float) -> Nearest:
        """Among equally near neighbours, the one that was added first."""
        ...

    @property
    def vectors(self) -> Vectors:
        """A copy in single precision, shape [rows, dimensions]."""
        ...

    def __len__(self) -> int: ...


def similarity(left: Vectors, right: Vectors) -> Vectors:
    """Row by row. The same pair gives the same number to the last bit, whatever it is computed among."""
    return np.einsum("ij,ij->i", left, right)  # type: ignore[no-any-return]


class Growing:
    """RowNumbers of an array that grows by half when it is full. Mutable state: the array, and how much is used."""

    def __init__(self, width: int, dtype: npt.DTypeLike) -> None:
        self._rows = np.empty((0, width), dtype)
        self.used = 0

    def extend(self, rows: npt.NDArray[np.generic]) -> None:
        wanted = self.used + len(rows)
        if wanted > len(self._rows):
            grown = np.empty((max(wanted, len(self._rows) * 3 // 2), self._rows.shape[1]), self._rows.dtype)
            grown[: self.used] = self._rows[: self.used]
            self._rows = grown
        self._rows[self.used : wanted] = rows
        self.used = wanted

    @property
    def rows(self) -> npt.NDArray[Any]:
        return self._rows[: self.used]


class Exact:
    """Finds every neighbour. Keeps vectors in half precision, which those given must be rounded to already.

    Mutable state: the vectors, and from NARROWED_FROM on the rotation and their leading coordinates.
    """

    def __init__(self, dimensions: int) -> None:
        self._vectors = Growing(dimensions, np.float16)
        self._narrows = dimensions > 2 * FRONT
        self._rotation: Vectors | None = None
        self._front = Growing(FRONT + 1, np.float32)

    def __len__(self) -> int:
        return self._vectors.used

    @property
    def vectors(self) -> Vectors:
        """A copy in single precision, shape [rows, dimensions]."""
        return self._vectors.rows.astype(np.float32)

    def add(self, vectors: Vectors) -> None:
        self._vectors.extend(vectors)
        if self._rotation is not None:
            self._front.extend(self._leading(vectors))
        elif self._narrows and len(self) >= NARROWED_FROM:
            self._narrow()

    def nearest(self, queries: Vectors, threshold: float) -> Nearest:
        parts = [
            self._search(queries[start : start + _QUERIES], threshold)
            for start in range(0, len(queries), _QUERIES)
        ]
        if not parts:
            return Nearest(np.empty(0, np.int64), np.empty(0, np.float32))
        return Nearest(*(np.concatenate(part) for part in zip(*parts, strict=True)))

    def _search(self, queries: Vectors, threshold: float) -> Nearest:
        best = Nearest(np.full(len(queries), -1, np.int64), np.full(len(queries), threshold, np.float32))
        if self._rotation is None:
            left, right = queries, self._vectors.rows.astype(np.float32)
        else:
            left, right = self._leading(queries), self._front.rows
        space = np.empty(
            (len(queries), _BLOCK if len(self) >= _BLOCK else 0), np.float32
        )  # filled again and again
        for start in range(0, len(self), _BLOCK):
            block = right[start : start + _BLOCK]
            bounds = np.matmul(left, block.T, out=space if len(block) == _BLOCK else None)
            hopeful = np.flatnonzero(bounds.max(axis=1) >= best.similarities - _SLACK)
            if len(hopeful):
                found = bounds[hopeful] >= (best.similarities[hopeful] - _SLACK)[:, None]
                which, rows = np.nonzero(found)
                self._compare(queries, hopeful[which], rows + start, best)
        return best

    def _compare(self, queries: Vectors, which: RowNumbers, rows: RowNumbers, best: Nearest) -> None:
        """Candidates in full; what is better than the best so far takes its place."""
        for start in range(0, len(which), _PAIRS):
            query, row = which[start : start + _PAIRS], rows[start : start + _PAIRS]
            full = similarity(queries[query], self._vectors.rows[row].astype(np.float32))
            order = np.lexsort((row, -full, query))  # per query the best first, of equals the first added
            first = np.flatnonzero(np.r_[True, np.diff(query[order]) != 0])
            winners = order[first]
            query, row, full = query[winners], row[winners], full[winners]
            better = (full > best.similarities[query]) | (
                (best.rows[query] < 0) & (full >= best.similarities[query])
            )
            best.rows[query[better]] = row[better]
            best.similarities[query[better]] = full[better]

    # --- the bound ---

    def _narrow(self) -> None:
        """Learn the rotation from the vectors there are. It moves no similarity, so any sample will do."""
        sample = self._vectors.rows[:NARROWED_FROM].astype(np.float32)
        _, axes = np.linalg.eigh((sample.T @ sample).astype(np.float64))
        self._rotation = np.ascontiguousarray(axes[:, ::-1].astype(np.float32)[:, :FRONT])
        for start in range(0, len(self), _BLOCK):
            self._front.extend(self._leading(self._vectors.rows[start : start + _BLOCK].astype(np.float32)))

    def _leading(self, vectors: Vectors) -> Vectors:
        """The first coordinates after rotation, and the length of all the others."""
        assert self._rotation is not None
        front = vectors @ self._rotation
        whole, ahead = similarity(vectors, vectors), similarity(front, front)
        rest = np.sqrt(np.maximum(whole - ahead, 0) + _SLACK**2)
        return np.concatenate([front, rest[:, None]], axis=1)


class Ivf:
    """FAISS IVF, half precision. Approximate: its recall is in the docs. For millions of vectors.

    Concurrent add and search would corrupt it: it has one owner, who does one thing at a time.
    """

    def __init__(self, vectors: Vectors, lists: int | None = None, probes: int = 8) -> None:
        """Lists are learned from these vectors, and filled with them."""
        import faiss

        dimensions = vectors.shape[1]
        lists = lists or max(16, int(4 * len(vectors) ** 0.5))
        quantizer = faiss.IndexFlatIP(dimensions)
        self._index = faiss.IndexIVFScalarQuantizer(
            quantizer, dimensions, lists, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT, False
        )
        self._quantizer = quantizer
        self._index.cp.min_points_per_centroid = 1
        sample = vectors[:: max(1, len(vectors) // (64 * lists))]
        self._index.train(np.ascontiguousarray(sample))
        self._index.nprobe = probes
        self.add(vectors)

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def vectors(self) -> Vectors:
        vectors: Vectors = self._index.reconstruct_n(0, len(self))
        return vectors

    def add(self, vectors: Vectors) -> None:
        self._index.add(np.ascontiguousarray(vectors))

    def nearest(self, queries: Vectors, threshold: float) -> Nearest:
        similarities, rows = self._index.search(np.ascontiguousarray(queries), 1)
        near = similarities[:, 0] >= threshold
        return Nearest(np.where(near, rows[:, 0], -1), np.where(near, similarities[:, 0], threshold))
