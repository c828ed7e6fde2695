"""Neighbours on tiles that take turns: some tiles go through all of them before the next tiles do.

What 256 rows make of 3072 features takes 3 MB: one layer after another, each finds what the layer before made in L3. In
turns of eight tiles, which are what a kernel multiplies with a row's nonzeros anyway, it is found in L2.

    linear 16 tiles; linear 16 tiles     ->     linear tiles 0-7; linear tiles 0-7; linear tiles 8-15; linear tiles 8-15
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import fx

from spcomp.codegen.laid_copies import shape
from spcomp.codegen.laid_nodes import LAYERS, Made
from spcomp.codegen.mlir_cpu.laid_down import FLOAT_BYTES, Slices
from spcomp.codegen.mlir_cpu.tokens import PANEL_TILES

FEWEST_LAYERS = 2
"""Layers that must take turns for anything to be found sooner."""


def sizes_of(tiles: int, size: int) -> tuple[int, ...]:
    """Tiles of each turn: ``size``, and what is left goes with the last, for every turn reads all weights."""
    turns = max(1, tiles // size)
    return (*[size] * (turns - 1), tiles - size * (turns - 1))


def slices_of(works: Mapping[fx.Node, Made], bases: Mapping[fx.Node, fx.Node]) -> dict[fx.Node, Slices]:
    """How nodes take turns, of those that do. ``works``: neighbours in their order; ``bases``: in whose memory a value
    lies, where that is another's."""
    size = PANEL_TILES * torch.get_num_threads()
    found: dict[fx.Node, Slices] = {}
    group: dict[fx.Node, Slices] = {}
    for node, made in works.items():
        slices = _sliced(node, made, size)
        if slices is None or not _fits(made, slices, group, bases):
            found |= _taken(group)
            group = {}
        if slices is not None:
            group[node] = slices
    return found | _taken(group)


def _taken(group: dict[fx.Node, Slices]) -> dict[fx.Node, Slices]:
    return group if sum(node.target in LAYERS for node in group) >= FEWEST_LAYERS else {}


def _sliced(node: fx.Node, made: Made, size: int) -> Slices | None:
    """Of one node alone; None where its tiles cannot be worked on apart, or are too few."""
    if made.part is None:
        return None
    tiles, sizes = shape(node)[0], sizes_of(shape(node)[0], size)
    own = made.reads[: len(made.reads) - made.shared]
    if len(sizes) == 1 or any(shape(n)[:1] != (tiles,) for n in own):
        return None
    works = {count: made.part(count) for count in dict.fromkeys(sizes)}
    turns = tuple(work for count in sizes if (work := works[count]) is not None)
    if len(turns) < len(sizes):
        return None
    apart = tuple(FLOAT_BYTES * math.prod(shape(n)[1:]) for n in own)
    return Slices(turns, sizes, (*apart, *[0] * made.shared))


def _fits(made: Made, slices: Slices, group: Mapping[fx.Node, Slices], bases: Mapping[fx.Node, fx.Node]) -> bool:
    """Whether a node can take turns with those before it: of their values it reads the same tiles, and no others."""
    if any(slices.sizes != other.sizes for other in group.values()):
        return False
    for node, apart in zip(made.reads, slices.apart, strict=True):
        base = bases.get(node, node)
        if base in group and (not apart or math.prod(shape(node)) != math.prod(shape(base))):
            return False
    return True
