"""Random weights with zeros where a pattern wants them, and layers made of them; the same ones every time."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterable
from dataclasses import replace

import torch

from benchmarks.operators import Layer, dense_members
from spcomp.kernel import Kernel
from spcomp.passes.base import Site
from spcomp.plan import Epilogue, RowRange
from spcomp.sparsity.measure import measure

Shape = tuple[int, int]
BERT_CHAIN: tuple[Shape, ...] = 4 * (*(4 * ((768, 768),)), (3072, 768), (768, 3072))
"""(N, K) of four encoder layers' linear layers: 24 distinct weights, 113 MB dense."""
PATTERNS = (
    "u50", "u75", "u80", "u90", "u95", "nm24", "nm14", "b4x1_50", "b4x1_75", "b4x1_90", "b8x8_50", "b8x8_75", "b8x8_90",
)  # fmt: skip


def mask(shape: Shape, pattern: str, generator: torch.Generator) -> torch.Tensor:
    """bool [n, k], True where a weight stays. ``u90``: 90 % zeros anywhere; ``nm24``: 2 of 4 stay; ``b8x1_90``: 90 %
    of the blocks of 8 rows and 1 column are zero."""
    n, k = shape
    if pattern.startswith("nm"):
        few, group = int(pattern[2]), int(pattern[3:])
        kept = [[i in chosen for i in range(group)] for chosen in itertools.combinations(range(group), few)]
        table = torch.tensor(kept)
        return table[torch.randint(len(table), (n, -(-k // group)), generator=generator)].reshape(n, -1)[:, :k]
    if pattern.startswith("u"):
        return torch.rand(n, k, generator=generator) >= int(pattern[1:]) / 100
    size, zeros = pattern[1:].split("_")
    rows, columns = map(int, size.split("x"))
    live = torch.rand(-(-n // rows), -(-k // columns), generator=generator) >= int(zeros) / 100
    return live.repeat_interleave(rows, 0).repeat_interleave(columns, 1)[:n, :k]


def site_of(weight: torch.Tensor, m: int, epilogue: Epilogue | None = None) -> Site:
    """A linear layer of ``m`` rows without a bias, as the planner would see it."""
    facts = measure(weight)
    return Site(0, "layer", weight, None, epilogue or Epilogue(), facts, "weight", None, [RowRange(m, m)])


class Chain:
    """Distinct layers of the given shapes: dense weights once, sites of one pattern at a time, dense members by M."""

    def __init__(self, shapes: Iterable[Shape], seed: int = 0) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.weights = [torch.randn(s, generator=self.generator) for s in shapes]
        self.inputs: dict[Shape, torch.Tensor] = {}
        self.members: dict[int, list[dict[str, Kernel]]] = {}
        self.layers: list[Layer] = []

    def prune(self, pattern: str) -> None:
        """Make the sites of one pattern; dense rivals keep the dense weights: zeros do not change their time."""
        self.layers = []
        generator = torch.Generator().manual_seed(zlib.crc32(pattern.encode()))  # whatever was pruned before
        for weight in self.weights:
            keep = mask((weight.shape[0], weight.shape[1]), pattern, generator)
            self.layers.append(Layer(site_of(torch.where(keep, weight, 0.0), 1), (), {}))

    def at(self, m: int) -> list[Layer]:
        """The layers at ``m`` rows."""
        if m not in self.members:
            self.members[m] = [dense_members(replace(site_of_dense(w), domains=[RowRange(m, m)])) for w in self.weights]
        found = []
        for layer, dense in zip(self.layers, self.members[m], strict=True):
            x = self.inputs.setdefault((m, layer.site.k), torch.randn(m, layer.site.k, generator=self.generator))
            found.append(Layer(replace(layer.site, domains=[RowRange(m, m)]), (x,), dense, layer.packed))
        return found


_facts_of: dict[Shape, Site] = {}


def site_of_dense(weight: torch.Tensor) -> Site:
    """A site whose facts are those of another dense weight of the shape: only sizes matter to dense members."""
    shape = (weight.shape[0], weight.shape[1])
    if shape not in _facts_of:
        _facts_of[shape] = site_of(torch.ones(shape), 1)
    return replace(_facts_of[shape], weight=weight)
