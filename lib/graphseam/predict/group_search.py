"""The nearest vectors within a group, exactly, and the best of what several groups have found; both in one task."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from graphseam.arrow import positions
from graphseam.compiled import compiled
from graphseam.predict.cells import largest
from graphseam.predict.leaders import EXCLUDED, TELLABLE, TELLING, cosine_of, leading, leading_of_all, with_ties

if TYPE_CHECKING:
    import torch

BASE, QUERY, BOTH = 1, 2, 3  # the role of a row; BOTH = BASE | QUERY
TIES = 8  # extra nodes beyond the last rank, so that the id can break ties of equal cosine
TIED = 4  # where these are all alike, as a hub's leaves are, the first of all ties, up to so many times as are wanted
SCORES_AT_ONCE = 16 << 20  # in one block of products, 64 MB
ROWS_AT_ONCE = 2048
UNKNOWN, LEARNING, ALL = 0, 1, 2  # answers: without the known nodes, for learning (twice as many), of all nodes
FOUND_SCHEMA = "src BIGINT, kind INT, dst ARRAY<BIGINT>, score ARRAY<FLOAT>"
ARROW_FOUND = pa.schema(
    [("src", pa.int64()), ("kind", pa.int32()), ("dst", pa.list_(pa.int64())), ("score", pa.list_(pa.float32()))]
)


@dataclass(frozen=True)
class Members:
    """A group's rows, sorted by id: ids int64[n], unit vectors float32[n, dim], role int8[n], learning bool[n], and
    the nodes that each row excludes (list offsets int64[n + 1], ids)."""

    ids: np.ndarray
    unit: np.ndarray
    role: np.ndarray
    learning: np.ndarray
    known_ptr: np.ndarray
    known: np.ndarray


def wanted_of(top_k: int, of_all: int) -> tuple[int, int, int]:
    """How many nodes an answer of each kind has."""
    return top_k, 2 * top_k, of_all


class Scores:
    """Where the scores of one group after the other go: freed and taken anew, they would leave holes in a task's memory
    that grow to many times their size, as answers come to lie in them."""

    def __init__(self, device: str) -> None:
        import torch

        self.device, self._space = device, torch.empty(0, device=device)

    def of(self, queries: np.ndarray, base: torch.Tensor) -> torch.Tensor:
        """float32[q, b]: the products of queries, float32[q, dim], with base [b, dim]; valid until the next call."""
        import torch

        size = len(queries) * len(base)
        if self._space.numel() < size:
            self._space = torch.empty(max(size, SCORES_AT_ONCE), device=self.device)
        out = self._space[:size].view(len(queries), len(base))
        return torch.mm(torch.from_numpy(queries).to(self.device), base.T, out=out)


def search_group(
    members: Members,
    wanted: tuple[int, int, int],
    device: str,
    space: Scores | None = None,
    floor: np.ndarray | None = None,
) -> Iterator[pa.RecordBatch]:
    """Rows of FOUND_SCHEMA: for each query of the group those of its base with the largest cosine, best first.

    Excludes the query itself and, but for answers of kind ALL, what it knows. wanted: of `wanted_of`. space: for those
    who search many groups. floor: float32[n] of the rows, a cosine below which nothing is asked for; queries without an
    answer may be left out then. Cost: O(queries · base · dim). Memory: the vectors and 64 MB of scores.
    """
    import torch

    based = np.flatnonzero(members.role & BASE)
    if not len(based):
        return
    base_ids, base_unit = members.ids[based], members.unit[based]
    base = torch.from_numpy(base_unit).to(device)
    step = max(1, min(ROWS_AT_ONCE, SCORES_AT_ONCE // len(based)))
    space = space or Scores(device)
    for kind in (UNKNOWN, LEARNING):
        asked = np.flatnonzero((members.role & QUERY > 0) & (members.learning == (kind == LEARNING)))
        of_all = wanted[ALL] if kind == UNKNOWN else 0
        for start in range(0, len(asked), step):
            rows = asked[start : start + step]
            scores = space.of(members.unit[rows], base)
            itself, known = excluded(members, rows, base_ids)
            for at, columns in (itself, known):
                scores[torch.from_numpy(at).to(device), torch.from_numpy(columns).to(device)] = EXCLUDED
            owners = np.searchsorted(known[0], np.arange(len(rows) + 1))
            least = None if floor is None else floor[rows] - np.float32(TELLING)
            for chosen, values, places in _leaders(scores, max(wanted[kind], of_all), least):
                if least is not None:
                    some = (values[:, 0] > EXCLUDED) | (owners[chosen + 1] > owners[chosen])
                    chosen, values, places = chosen[some], values[some], places[some]
                parts = _answers(
                    members.unit,
                    rows[chosen],
                    base_unit,
                    base_ids,
                    np.where(values > EXCLUDED, places, -1),
                    owners[chosen],
                    owners[chosen + 1],
                    known[1],
                    wanted[kind],
                    of_all,
                )
                for answer, (kept, nodes, cosine) in zip((kind, ALL), parts, strict=True):
                    if wanted[answer] and (answer == kind or of_all):
                        offsets, kinds = np.r_[0, np.cumsum(kept)], np.full(len(chosen), answer)
                        yield found_batch(members.ids[rows[chosen]], kinds, offsets, nodes, cosine)


def _leaders(
    scores: torch.Tensor, wanted: int, least: np.ndarray | None
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(rows, values, columns) of the largest scores of each row, some more than wanted, so that ties can be broken.

    least: float32[rows], the score that others must exceed; all if None. A GPU gives more than are asked for.
    """
    import torch

    columns = scores.shape[1]
    count = min(wanted + TIES, columns)
    if scores.is_cuda:
        values, places = (part.cpu().numpy() for part in largest(scores, count))
    else:
        values, places = (
            leading_of_all(scores.numpy(), count) if least is None else leading(scores.numpy(), least, count)
        )
    alike = values[:, min(wanted, count) - 1] - values[:, -1] <= TELLING
    alike &= (values[:, -1] > EXCLUDED) & (count < columns)
    plain, tied = np.flatnonzero(~alike), np.flatnonzero(alike)
    if len(plain):
        yield plain, values[plain], places[plain]
    if len(tied):
        of_these = scores[torch.from_numpy(tied).to(scores.device)].cpu().numpy()
        values, places = with_ties(of_these, values[tied, -1], min(TIED * wanted + TIES, columns))
        yield tied, values, places


def excluded(members: Members, rows: np.ndarray, base_ids: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """(row, column) positions of scores: those of a query with itself, and those with other nodes it knows, by row."""
    lengths = members.known_ptr[rows + 1] - members.known_ptr[rows]
    owners = np.repeat(np.arange(len(rows)), lengths)
    known = members.known[positions(members.known_ptr[rows], lengths)]
    others = known != members.ids[rows][owners]
    owners, known = owners[others], known[others]
    found = []
    for at, ids in ((np.arange(len(rows)), members.ids[rows]), (owners, known)):
        columns = np.minimum(np.searchsorted(base_ids, ids), len(base_ids) - 1)
        here = base_ids[columns] == ids
        found.append((at[here], columns[here]))
    return found


def found_batch(
    src: np.ndarray, kind: np.ndarray, offsets: np.ndarray, dst: np.ndarray, score: np.ndarray
) -> pa.RecordBatch:
    """A batch of FOUND_SCHEMA from flat arrays and the offsets of each row's part."""
    ends = pa.array(offsets.astype(np.int32))
    return pa.RecordBatch.from_arrays(
        [
            pa.array(src),
            pa.array(kind.astype(np.int32)),
            pa.ListArray.from_arrays(ends, pa.array(dst)),
            pa.ListArray.from_arrays(ends, pa.array(score.astype(np.float32))),
        ],
        schema=ARROW_FOUND,
    )


def merge(found: pa.Table, wanted: tuple[int, int, int]) -> pa.RecordBatch:
    """One row per query and kind: the best of its rows of FOUND_SCHEMA, each node once, ties in order of the id."""
    src, kind = found["src"].to_numpy(), found["kind"].to_numpy()
    dst, score = (found[name].combine_chunks() for name in ("dst", "score"))
    lengths = dst.value_lengths().to_numpy()
    ends = np.cumsum(lengths)
    order = np.lexsort((kind, src))
    new = np.r_[True, (np.diff(src[order]) != 0) | (np.diff(kind[order]) != 0)]
    starts = np.flatnonzero(new)
    allowed = np.array(wanted, np.int64)[kind[order[starts]]]
    values = score.flatten().to_numpy()
    kept, nodes, scores = merge_lists(
        np.append(starts, len(order)),
        order,
        ends - lengths,
        ends,
        dst.flatten().to_numpy(),
        values,
        np.round(values * np.float32(TELLABLE)).astype(np.int64),
        allowed,
    )
    return found_batch(src[order[starts]], kind[order[starts]], np.r_[0, np.cumsum(kept)], nodes, scores)


@compiled
def insert(at: Any, best: Any, size: int, most: int, dst: Any, rank: Any) -> int:
    """Put the entry into best[:size], sorted by falling rank, then node, unless its node is there or `most` are better;
    returns the new size."""
    place = size
    while place > 0 and (
        rank[best[place - 1]] < rank[at] or (rank[best[place - 1]] == rank[at] and dst[best[place - 1]] > dst[at])
    ):
        place -= 1
    if place >= most:
        return size
    for other in range(size):
        if dst[best[other]] == dst[at]:
            return size
    size = min(size + 1, most)
    for other in range(size - 1, place, -1):
        best[other] = best[other - 1]
    best[place] = at
    return size


@compiled
def flat(kept: Any, nodes: Any, scores: Any) -> Any:
    """(kept, nodes, scores): the first kept[i] of each row i, one row after the other."""
    total = kept.sum()
    listed, values = np.empty(total, np.int64), np.empty(total, np.float32)
    start = 0
    for row in range(len(kept)):
        stop = start + kept[row]
        listed[start:stop], values[start:stop] = nodes[row, : kept[row]], scores[row, : kept[row]]
        start = stop
    return kept, listed, values


@compiled
def _answers(
    unit: Any, rows: Any, base: Any, ids: Any, places: Any, first: Any, last: Any, known: Any, wanted: int, of_all: int
) -> Any:
    """((how many each query keeps, nodes, cosines) without what it knows, the same of all), each best first.

    places: int64[n, k], the columns of the largest scores of those that a query does not know, -1 for none; known: the
    columns of those it knows, of query i known[first[i] : last[i]]. Scored again pair by pair, so that a score does not
    depend on the rows beside it; ties in order of the id. The largest of all are among both.
    """
    queries, width = places.shape
    kept, nodes = np.zeros((2, queries), np.int64), np.empty((2, queries, max(wanted, of_all, 1)), np.int64)
    scores = np.empty(nodes.shape, np.float32)
    most = width + (last - first).max() if queries else 0
    node, score, rank = np.empty(most, np.int64), np.empty(most, np.float32), np.empty(most, np.int64)
    best = np.empty((2, max(wanted, of_all) + 1), np.int64)
    for query in range(queries):
        size = np.zeros(2, np.int64)
        num_known = last[query] - first[query] if of_all else 0
        for at in range(width + num_known):
            column = places[query, at] if at < width else known[first[query] + at - width]
            if column < 0:
                continue
            cosine = cosine_of(unit[rows[query]], base[column])
            node[at], score[at], rank[at] = ids[column], cosine, np.int64(np.rint(cosine * np.float32(TELLABLE)))
            if at < width:
                size[0] = insert(at, best[0], size[0], wanted, node, rank)
            if of_all:
                size[1] = insert(at, best[1], size[1], of_all, node, rank)
        for answer in range(2):
            kept[answer, query] = size[answer]
            for at in range(size[answer]):
                nodes[answer, query, at] = node[best[answer, at]]
                scores[answer, query, at] = score[best[answer, at]]
    return flat(kept[0], nodes[0], scores[0]), flat(kept[1], nodes[1], scores[1])


@compiled
def merge_lists(
    starts: Any, order: Any, begin: Any, end: Any, dst: Any, score: Any, rank: Any, allowed: Any
) -> tuple[Any, Any, Any]:
    """(how many each query keeps, nodes, scores): by insertion into a short sorted list.

    The rows of query q are order[starts[q] : starts[q + 1]], the nodes of a row dst[begin[row] : end[row]].
    """
    queries = len(starts) - 1
    kept = np.zeros(queries, np.int64)
    nodes, scores = np.empty(allowed.sum(), np.int64), np.empty(allowed.sum(), np.float32)
    best = np.empty(allowed.max() + 1, np.int64)  # positions, best first
    total = 0
    for q in range(queries):
        size = 0
        for row in order[starts[q] : starts[q + 1]]:
            for at in range(begin[row], end[row]):
                size = insert(at, best, size, allowed[q], dst, rank)
        for other in range(size):
            nodes[total + other], scores[total + other] = dst[best[other]], score[best[other]]
        kept[q] = size
        total += size
    return kept, nodes[:total], scores[:total]
