"""Which embeddings read the packed bytes of a layer: a table that no planned layer needs dense is not kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from spcomp.build import Built
from spcomp.codegen.gather import exact, row_gather
from spcomp.passes.base import Site
from spcomp.passes.find_tables import weight_key
from spcomp.planning import Planners


def gathered_slots(
    tables: Mapping[tuple[object, ...], bool], sites: Sequence[Site], built: Sequence[Built]
) -> dict[tuple[object, ...], int]:
    """Tables (see :class:`~spcomp.passes.base.PassContext`) that nobody keeps dense -> a slot that has them packed.

    A table that some layer keeps dense is resident anyway, and reading it dense is the fastest; so is one of which
    only a rounding is kept.
    """
    pairs = list(zip(sites, built, strict=True))
    dense = {s.weight.untyped_storage().data_ptr() for s, b in pairs if b.record.weight is not None}
    found: dict[tuple[object, ...], int] = {}
    for site, made in pairs:
        rounded = exact(made.record.packed, made.record.dtype) is None
        kept = rounded or site.weight.untyped_storage().data_ptr() in dense
        if site.conv is None and tables.get(weight_key(site)) and not kept:
            found.setdefault(weight_key(site), site.slot)
    return found


def gathering(built: Built) -> Built:
    """The same, ready to hand out rows of its weight.

    Raises :class:`~spcomp.errors.KernelError` where only a rounded weight is kept.
    """
    record = replace(built.record, gathered=True)
    gather = row_gather(record.packed, record.weight, record.dtype)
    return replace(built, slot=replace(built.slot, gather=gather), record=record)


def gather_where_found(
    tables: Mapping[tuple[object, ...], bool], sites: Sequence[Site], built: list[Built], planners: Planners
) -> dict[tuple[object, ...], int]:
    """Make the slots of :func:`gathered_slots` ready, in ``built``; note it in their sites; give them back.

    On the CPU alone: no kernel of a GPU reads rows out of packed bytes, and a table there stays dense.
    """
    if not all(planners.device(s).host for s in sites):
        return {}
    found = gathered_slots(tables, sites, built)
    for slot in set(found.values()):
        sites[slot].gathered, built[slot] = True, gathering(built[slot])
    return found
