"""Hand activations over in the layouts of the kernels, if both programs say the same and the clock agrees.

Which layers work on tiles, and with which kernels, is one decision (:mod:`spcomp.passes.joint`): a layer costs what its
fastest kernel for either layout was measured to take, and a value that is converted costs what packing and unpacking
cost the kernels that do both themselves. Of convolutions :mod:`spcomp.laying` says so.
"""

from __future__ import annotations

import functools
import logging
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from spcomp import ops
from spcomp.build import Built, compile_rest, rebuilt
from spcomp.codegen.mlir_cpu.attention import tiles_attention
from spcomp.guard import agree, speedup
from spcomp.kernel import TilesKernel
from spcomp.laying import TURNS, Layable, changed, explained, lay_out, layable
from spcomp.ops_attention import Heads, mask_tiles
from spcomp.parts import Program
from spcomp.passes.base import PassContext, run_passes
from spcomp.passes.choose import Choice, affordable
from spcomp.passes.joint import Costs, LayoutCost, fastest
from spcomp.passes.keep_tiles import KeepTiles
from spcomp.passes.planned import Planned
from spcomp.passes.tune import SPARE_BYTES, Planner
from spcomp.plan import RowRange
from spcomp.profiling.timing import interleave
from spcomp.whole import laid_down

log = logging.getLogger("spcomp")
WORTH = 1.01
"""Keeping tiles must gain at least this factor."""
ATTENTION_RUNS = 12
"""Of either attention, in turns."""
Laid = tuple[Program, list[Built]]
"""A program with layouts, and the layers that it calls."""


@dataclass(frozen=True)
class OnTiles:
    """The fastest kernel of a layer that works on tiles, and what the layer costs in either layout."""

    kernel: str
    cost: LayoutCost


def with_tiles(
    program: Program,
    built: list[Built],
    planner: Planner,
    tensors: Mapping[str, torch.Tensor],
    flat: Sequence[object],
    *,
    alone: bool,
    laying: bool,
) -> Laid | None:
    """The program with activations kept as kernels want them between sparse layers, if there are any and it is faster.

    Where int8 was asked for, convolutions that floating point serves are tried in int8 too, between those that are, and
    all of them in floating point: the fastest is taken. Layouts answer for no rounding then: the same kernels must
    agree without them.

    ``flat``: example inputs; the results of both must agree. ``alone``: no other program calls these layers, so that
    they may change their kernels. ``laying``: the program's calls may be laid down later.
    """
    if program.engine != "inductor":
        return None
    uses = Counter(n.args[1] for n in program.gm.graph.nodes if n.target is ops.LINEAR)
    best: Laid | None = None
    least = WORTH
    turns = TURNS if alone and planner.quantize else ()
    for change, turn in [*((True, turn) for turn in turns), *([(True, "")] if alone else []), (False, "")]:
        found = {
            slot: on
            for slot, b in enumerate(built)
            if (on := on_tiles(b, planner, change=change and uses[slot] == 1)) is not None
        }
        convs = layable(program.gm, built, planner, change=change, turn=turn)
        if turn and not any(on.turned for on in convs.values()):
            continue  # nothing that the next way does not try
        laid = _laid(program, built, found, convs, planner, tensors)
        plain = (program, _table(laid[1] if laid is not None and turn else built))
        if laid is not None and agree(tensors, (laid[0], _table(laid[1])), plain, flat):
            gain = _gain(laid, (program, built), tensors, flat, least if laying else 0.0)
            log.info("activations as the kernels want them%s: %.2fx", f", more of them {turn}" if turn else "", gain)
            if gain > least:
                least, best = gain, (laid[0], explained(laid[0].gm, laid[1], convs))
        if not turn and (best is not None or laid is None or laid[1] == built):
            break
    return best


def _gain(
    laid: Laid, natural: Laid, tensors: Mapping[str, torch.Tensor], flat: Sequence[object], wanted: float
) -> float:
    """How much faster a program with layouts is; where Inductor's is not faster by ``wanted``, the faster of that and
    of its calls laid down, which gain most with tiles: nothing but layers, norms and attention is left there."""
    table, theirs = _table(laid[1]), (natural[0], _table(natural[1]))
    gain = speedup(tensors, (laid[0], table), theirs, flat)
    down = laid_down(laid[0], table) if gain <= wanted else None
    return gain if down is None else max(gain, speedup(tensors, (down, table), theirs, flat))


def on_tiles(built: Built, planner: Planner, *, change: bool) -> OnTiles | None:
    """The kernel that a layer would have on tiles: the one that serves it, or with ``change`` whichever is fastest."""
    planned, kernels = built.planned, built.slot.kernels
    able = all(isinstance(k, TilesKernel) and k.tiles_served for k in kernels)
    if planned is None or not planned.tiles:
        return OnTiles("", LayoutCost()) if able else None
    return planned_on_tiles(planned, planner, able=able, change=change)


def planned_on_tiles(planned: Planned, planner: Planner, *, able: bool = True, change: bool = True) -> OnTiles | None:
    """The same of what was planned and not built; ``able``: whether the kernel that serves it may, if it was timed."""
    (_, served), *_ = planned.choice.ranges
    (measured,) = planned.measured.values()
    site = planned.site
    allowed = [served] if able else []
    if change and not site.gathered:
        allowed += [
            name
            for name, c in planned.candidates.items()
            if not c.extra_nbytes
            and affordable(c, dense_nbytes=site.weight.nbytes, budget=planner.budget, spare=SPARE_BYTES)
        ]
    found = fastest(planned.tiles, allowed)
    return None if found is None else OnTiles(found[0], LayoutCost(measured[served], found[1]))


def seconds_per_element(plans: Iterable[Planned | None]) -> float:
    """What packing or unpacking takes: the median over kernels of what they save on tiles, by the elements that they
    need not convert there."""
    found = []
    for planned in plans:
        if planned is None or not planned.tiles:
            continue
        ((m, measured),) = planned.measured.items()
        moved = m * (planned.site.n + planned.site.k)
        found += [(measured[n] - s) / moved for n, s in planned.tiles.items() if n in measured]
    return max(0.0, statistics.median(found)) if found else 0.0


@functools.lru_cache(maxsize=64)
def _attention_on(heads: Heads, rows: int, masked: bool, threads: int) -> LayoutCost:
    """What torch's attention takes, and ours on tiles; ``threads``: torch's number, for the cache."""
    sequences, tiles = rows // heads.length, -(-rows // ops.LANES)
    like: dict[str, Any] = {"dtype": torch.float32, "device": "cpu"}
    natural = torch.ones(sequences, heads.length, 3, heads.count, heads.width, **like)
    q, k, v = (natural[:, :, i].transpose(1, 2) for i in range(3))
    xs = torch.ones(tiles, 3 * heads.features, ops.LANES, **like)
    packed = replace(heads, firsts=(0, heads.features, 2 * heads.features))
    mask = torch.zeros(heads.length, heads.length, **like) if masked else None
    added = None if mask is None else mask_tiles(mask, heads)
    work = {
        "rows": lambda: torch.nn.functional.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=heads.causal, scale=heads.scale
        ),
        "tiles": lambda: tiles_attention(xs, xs, xs, added, packed),
    }
    with torch.no_grad():
        times = interleave(work, rounds=ATTENTION_RUNS)
    return LayoutCost(times["rows"].median, times["tiles"].median)


def attention_cost(heads: Heads, rows: int, masked: bool) -> LayoutCost:
    """Seconds of an attention of so many rows, with a mask or without, in either layout, measured here."""
    return _attention_on(heads, rows, masked, torch.get_num_threads())


def _costs(built: Sequence[Built], found: Mapping[int, OnTiles]) -> Costs | None:
    """None where nobody measured: then elements are counted."""
    rate = seconds_per_element(b.planned for b in built)
    layers = {slot: on.cost for slot, on in found.items()}
    if any(not on.kernel for on in found.values()):
        return None
    return Costs(layers, lambda rows, features: rate * rows * features, attention_cost)


def _laid(
    program: Program,
    built: list[Built],
    found: Mapping[int, OnTiles],
    convs: Mapping[int, Layable],
    planner: Planner,
    tensors: Mapping[str, torch.Tensor],
) -> Laid | None:
    """The program rewritten and compiled, and its layers; None where nothing changes or it cannot be."""
    gm = run_passes((KeepTiles(frozenset(found), _costs(built, found)), lay_out(convs)), program.gm, PassContext())
    if gm is program.gm:
        return None
    layers = list(built)
    changes = {slot: (kernel, why) for slot, kernel, why in changed(gm, convs)}
    for slot in {n.args[1] for n in gm.graph.nodes if n.target is ops.TILES_LINEAR}:
        if (on := found[slot]).kernel and on.kernel != _served(built[slot]):
            changes[slot] = on.kernel, _why(built[slot], on)
    for slot, (kernel, why) in changes.items():
        if (other := _changed(planner, built[slot], kernel, why)) is None:
            return None
        layers[slot] = other
    made = Program(program.signature, gm, program.lifted, gm, "eager", hints=program.hints)
    compile_rest(made, tensors, "auto")
    return (made, layers) if made.engine == "inductor" else None


def _why(built: Built, on: OnTiles) -> str:
    return (
        f"{1e6 * on.cost.tiles:.0f} us on tiles, between layers that are; "
        f"{_served(built)} takes {1e6 * on.cost.natural:.0f} on rows"
    )


def _changed(planner: Planner, built: Built, kernel: str, why: str) -> Built | None:
    """A layer served by another kernel, the one for its layout; None where that is not exact enough."""
    planned = built.planned
    assert planned is not None
    choice = Choice(((RowRange(0, None), kernel),), why, (planned.candidates[kernel].form,))
    return rebuilt(planner, replace(planned, choice=choice))


def _served(built: Built) -> str:
    assert built.planned is not None
    return built.planned.choice.ranges[0][1]


def _table(built: Sequence[Built]) -> ops.KernelTable:
    return tuple(b.slot for b in built)
