"""Labels of made-up dense graphs, with a mean degree of 65 to 85: the refined vectors beside whole-graph ProNE.

    .venv/bin/python tests/bench/dense.py --variants prone default hops=1 rounds=2 whiten=0.25

Nodes belong to one group of each kind, and have a heavy-tailed attraction. A share of the edges of each kind joins two
nodes of one group, the rest any two, by attraction; labels are the groups of one kind. `friends`: 40 labels beside five
large groups that have three times their edges. `weak`: nine labels and 120 smaller groups, with most edges anywhere.
`single`: 60 labels, with most edges anywhere. Lines and variants are those of seams.py.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import seams

TAIL = 2.5  # exponent of the attractions' distribution
SHARED = seams.SHARED


@dataclass(frozen=True)
class Made:
    """kinds: (groups, share of the edges) of each; labels: which of the kinds. Edges drawn twice count once."""

    nodes: int
    drawn: int
    kinds: tuple[tuple[int, float], ...]
    labels: int
    seed: int

    def write(self, folder: Path) -> None:
        rng = np.random.default_rng(self.seed)
        attraction = np.minimum((1 - rng.random(self.nodes)) ** (-1 / (TAIL - 1)), self.nodes**0.5)
        groups = [rng.integers(0, count, self.nodes) for count, _ in self.kinds]
        ends = [
            self._inside(rng, attraction, group, int(self.drawn * share))
            for group, (_, share) in zip(groups, self.kinds, strict=True)
        ]
        rest = self.drawn - sum(len(src) for src, _ in ends)
        ends.append(self._inside(rng, attraction, np.zeros(self.nodes, np.int64), rest))
        src, dst = (np.concatenate(column) for column in zip(*ends, strict=True))
        pairs = np.unique(np.sort(np.stack([src, dst]), axis=0)[:, src != dst], axis=1)
        folder.mkdir(parents=True)
        pq.write_table(pa.table({"src": pairs[0], "dst": pairs[1]}), folder / "edges.parquet")
        pq.write_table(
            pa.table({"node": np.arange(self.nodes), "label": groups[self.labels]}), folder / "labels.parquet"
        )

    @staticmethod
    def _inside(
        rng: np.random.Generator, attraction: np.ndarray, group: np.ndarray, count: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Edges between nodes of one group, both ends drawn by attraction."""
        order = np.argsort(group, kind="stable")
        sums = np.r_[0, np.cumsum(attraction[order])]
        first = np.searchsorted(sums, rng.random(count) * sums[-1], side="right") - 1
        own = group[order][first]
        low = sums[np.searchsorted(group[order], own)]
        high = sums[np.searchsorted(group[order], own, side="right")]
        other = np.searchsorted(sums, low + rng.random(count) * (high - low), side="right") - 1
        return order[first], order[np.minimum(other, len(order) - 1)]


GRAPHS = {
    "friends": Made(9000, 414_000, ((5, 0.40), (40, 0.12), (25, 0.12)), labels=1, seed=1),
    "weak": Made(7500, 272_000, ((9, 0.12), (120, 0.10)), labels=0, seed=2),
    "single": Made(9000, 362_000, ((60, 0.12),), labels=0, seed=3),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", nargs="+", default=["prone", "default"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    chosen = parser.parse_args()
    sys.path.insert(0, str(SHARED / "evalkit"))
    import evalkit

    with tempfile.TemporaryDirectory(prefix="graphseam-bench-") as folder:
        seams.SHARED = Path(folder)
        for name, made in GRAPHS.items():
            made.write(Path(folder, "data", name))
            seams.score(evalkit, name, [1], chosen.seeds, chosen.variants)


if __name__ == "__main__":
    main()
