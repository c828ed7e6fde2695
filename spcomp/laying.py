"""The convolutions of a program that may be laid out, what their kernels take in each layout, and what came of it.

Kernels that know layouts serve a layer already, or would, faster than best dense, were it not for copies: those count
too, where the layer may change its kernel. Where any of them cannot be timed, none is, and elements are counted.
Where int8 was asked for, layers may turn from floating point to int8 between others that are, or all the other way.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import fx

from spcomp import ops
from spcomp.build import INT8, Built
from spcomp.conv_layout import NATURAL, PIXELS, TILES
from spcomp.conv_shape import ConvShape
from spcomp.cost.records import filed, key_of
from spcomp.kernel import Kernel, LaidKernel
from spcomp.passes.choose import affordable, is_dense
from spcomp.passes.conv_layouts import LaidSeconds
from spcomp.passes.lay_out import LayOut
from spcomp.passes.planned import Planned
from spcomp.passes.propose import Candidate, call_for
from spcomp.passes.tune import SPARE_BYTES, Planner
from spcomp.passes.tune_layouts import LONGEST_SECONDS, seconds_in_layouts

TO_INT8, TO_FLOAT = "int8", "float"
TURNS = (TO_INT8, TO_FLOAT)
NEAR = 1.5
"""A layer whose other kind takes at most so many times as long turns wherever layouts want that: layers are timed
alone, on natural planes, and whole programs are timed afterwards, which decides."""


@dataclass(frozen=True)
class Layable:
    """A convolution with a kernel that knows layouts."""

    conv: ConvShape
    kernel: str = ""
    """The kernel's name, where it is not the one that serves the layer."""
    seconds: LaidSeconds | None = None
    quantize: str = ""
    """Of that kernel."""
    instead: str = ""
    """In words, what serves the layer where this kernel does not."""
    turned: bool = False
    """From int8 to floating point, or to int8."""

    @property
    def weighed(self) -> LaidSeconds | None:
        """The seconds that layouts are chosen by."""
        own = self.seconds
        if own is None or not self.turned or min(own.reads.values()) + min(own.makes.values()) > NEAR * own.served:
            return own
        return replace(own, served=math.inf)


def layable(
    program: fx.GraphModule, built: Sequence[Built], planner: Planner, *, change: bool, turn: str = ""
) -> dict[int, Layable]:
    """By slot; with ``change`` also layers that would change their kernel, if everything is timed: dense ones, and all
    that would ``turn`` to :data:`TO_INT8` or :data:`TO_FLOAT`."""
    uses = Counter(n.args[2] for n in program.graph.nodes if n.target is ops.CONV)
    able = {slot: on for slot in uses if (on := _served(built[slot])) is not None}
    others, between = {}, _between(program)
    for slot in uses if change else ():
        name = _other(built[slot], planner, turn if slot in between else "") if uses[slot] == 1 else None
        if name is not None:
            others[slot] = name
    if len(able.keys() | others.keys()) < 2:
        return able
    times = {slot: found for slot in able if (found := _timed(built[slot], planner, "")) is not None}
    if len(times) < len(able):
        return able
    made = {slot: replace(on, seconds=times[slot]) for slot, on in able.items()}
    for slot, name in others.items():
        conv, planned = built[slot].record.conv, built[slot].planned
        if conv is None or planned is None or (seconds := _timed(built[slot], planner, name)) is None:
            continue
        quantize = planned.candidates[name].quantize
        turned = _in_int8(planned) != bool(quantize)
        made[slot] = Layable(conv, name, seconds, quantize, _form(planned), turned)
    return made


def _between(program: fx.GraphModule) -> set[int]:
    """Slots of convolutions that are given the result of another, or give it theirs."""
    found = set()
    for node in program.graph.nodes:
        if node.target is ops.CONV:
            before = [n for n in node.all_input_nodes if n.target is ops.CONV]
            found |= {n.args[2] for n in before} | ({node.args[2]} if before else set())
    return found


def time_ahead(built: Sequence[Built], planner: Planner) -> None:
    """Time what :func:`layable` would ask for."""
    asked = {(i, "") for i, b in enumerate(built) if _served(b) is not None}
    for turn in ("", *TURNS) if planner.quantize else ("",):
        asked |= {(i, name) for i, b in enumerate(built) if (name := _other(b, planner, turn)) is not None}
    for i, name in sorted(asked) if len({i for i, _ in asked}) > 1 else ():
        _timed(built[i], planner, name)


def lay_out(found: Mapping[int, Layable]) -> LayOut:
    """The pass for these convolutions."""
    seconds = {slot: seconds for slot, on in found.items() if (seconds := on.weighed) is not None}
    whole = len(seconds) == len(found)
    int8 = frozenset(slot for slot, on in found.items() if on.quantize)
    return LayOut({slot: on.conv for slot, on in found.items()}, seconds if whole else None, int8)


def changed(gm: fx.GraphModule, found: Mapping[int, Layable]) -> Iterator[tuple[int, str, str]]:
    """(slot, kernel, why) of the layers that change their kernels for the layouts of a rewritten graph."""
    for node in gm.graph.nodes:
        if node.target is ops.CONV_LAID and (on := found[node.args[2]]).kernel and on.seconds is not None:
            given, made = node.args[4:6]
            why = f"its neighbours hand on {given} and want {made}: {1e6 * on.seconds.of(given, made):.0f} us"
            yield node.args[2], on.kernel, f"{why}, {on.instead} takes {1e6 * on.seconds.served:.0f} on natural planes"


def explained(gm: fx.GraphModule, built: Sequence[Built], found: Mapping[int, Layable]) -> list[Built]:
    """The layers, whose decisions say in which layouts the graph has them."""
    said = {}
    for node in gm.graph.nodes:
        if node.target is ops.CONV_LAID:
            said[node.args[2]] = _said(found[node.args[2]], node.args[4], node.args[5])
        elif node.target is ops.CONV and node.args[2] in found:
            said[node.args[2]] = _said(found[node.args[2]], NATURAL, NATURAL)
    return [
        replace(b, decision=replace(b.decision, layout=said[slot])) if slot in said else b
        for slot, b in enumerate(built)
    ]


def _said(on: Layable, given: str, made: str) -> str:
    text = f"reads {given} and makes {made}"
    if on.seconds is None:
        return f"{text}: fewest elements copied, layouts were not timed"
    lay = PIXELS if on.quantize else TILES
    other, pair = (f"from {lay} to {lay}", (lay, lay))
    if (given, made) != (NATURAL, NATURAL):
        other, pair = ("from natural to natural", (NATURAL, NATURAL))
    return f"{text}: {1e6 * on.seconds.of(given, made):.0f} us, {1e6 * on.seconds.of(*pair):.0f} us {other}"


def _served(built: Built) -> Layable | None:
    """A convolution whose kernels know layouts, the same ones."""
    kernels = built.slot.kernels
    able = all(isinstance(k, LaidKernel) and k.laid_served for k in kernels)
    first = kernels[0].call
    if not able or first.conv is None or any(k.call.quantize != first.quantize for k in kernels):
        return None
    return Layable(first.conv, quantize=first.quantize)


def _form(planned: Planned) -> str:
    """What a layer with one row count is, in words."""
    served = planned.choice.ranges[0][1]
    return "best dense" if is_dense(served) else str(planned.candidates[served].form)


def _in_int8(planned: Planned) -> bool:
    """Whether a layer with one row count is."""
    served = planned.choice.ranges[0][1]
    return served in INT8 if is_dense(served) else bool(planned.candidates[served].quantize)


def _other(built: Built, planner: Planner, turn: str) -> str | None:
    """The fastest sparse kernel of a convolution with one row count, that the budget has room for: of a layer that is
    to ``turn``, in int8 or in floating point, else of one that is dense in floating point."""
    planned = built.planned
    if planned is None or planned.site.conv is None or len(planned.measured) != 1 or len(planned.choice.ranges) != 1:
        return None
    served, int8 = planned.choice.ranges[0][1], _in_int8(planned)
    if turn == (TO_FLOAT if int8 else TO_INT8):
        found = _cheapest(planned, planner, "" if int8 else "int8")
        if found is not None:
            return found
    return _cheapest(planned, planner, "") if is_dense(served) and not int8 else None


def _cheapest(planned: Planned, planner: Planner, quantize: str) -> str | None:
    """The fastest candidate of a kind that the budget has room for."""
    (measured,) = planned.measured.values()
    nbytes = planned.site.weight.nbytes
    allowed = [
        name
        for name, c in planned.candidates.items()
        if name in measured
        and c.quantize == quantize
        and affordable(c, dense_nbytes=nbytes, budget=planner.budget, spare=SPARE_BYTES)
    ]
    return min(allowed, key=measured.__getitem__, default=None)


def _timed(built: Built, planner: Planner, other: str) -> LaidSeconds | None:
    """Seconds in layouts of the kernel that serves a layer, or of the ``other`` beside those of the one that does;
    None where nothing is timed."""
    planned = built.planned
    if planned is None or planned.sources or planner.tune == "off":
        return None
    site, name = planned.site, other or planned.choice.ranges[0][1]
    candidate = planned.candidates.get(name)
    m, measured = next(iter(planned.measured.items()))
    image = site.pixels / m
    if candidate is None or name not in measured or image * measured[name] > LONGEST_SECONDS:
        return None
    kernel = functools.partial(_build, planner, planned, candidate) if other else lambda: built.slot.kernels[0]
    facts = site.facts
    key = key_of(
        site.n, site.k, site.pixels, site.dtype, site.epilogue, site.conv, facts.density, site.zero_inputs or 0.0,
        facts.row_spread, 0,
    )  # fmt: skip
    file = filed(name, candidate.stored, facts.elements)
    found = seconds_in_layouts(planner.tuner, site, key, file, kernel, candidate.quantize)
    if found is None:
        return None
    as_cold = image * measured[name] - found.knowing(NATURAL, NATURAL)
    served = image * measured[planned.choice.ranges[0][1]] if other else math.inf
    return LaidSeconds({g: s + as_cold for g, s in found.reads.items()}, found.makes, served)


def _build(planner: Planner, planned: Planned, candidate: Candidate) -> Kernel:
    site = planned.site
    packed = planner.pack(site, candidate)
    return planner.build(site, candidate, call_for(site, candidate, site.domains[0], planner.target, packed.digest))
