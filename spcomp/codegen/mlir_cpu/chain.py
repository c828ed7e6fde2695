"""``ops_chain.CONV_CHAIN``: convolutions and poolings laid down as one call, where their kernels can be."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch

from spcomp import ops
from spcomp.codegen.mlir_cpu import max_pool
from spcomp.codegen.mlir_cpu.laid_down import Chain, Step, Work
from spcomp.conv_layout import makes, reads
from spcomp.kernel import Kernel, LaidKernel
from spcomp.ops_chain import Link, links_of

MOST_KEPT = 4
"""Chains of other kernels (of other row counts or numbers of threads) that are kept for one program."""


@runtime_checkable
class ChainKernel(Protocol):
    """A convolution whose calls may be laid down among those of others."""

    def work(self, given: str, made: str, planes: tuple[int, ...]) -> Work:
        """The work for one image from one layout to another, for as many threads as torch has now; it reads x, and a
        residual where there is one. Compiled when this returns."""
        ...


@dataclass(frozen=True)
class Part:
    """Neighbouring links as one call, or one link that is called by itself: the values that it takes and makes."""

    chain: Chain | None
    takes: tuple[int, ...]
    makes: tuple[int, ...]
    drops: tuple[int, ...] = ()
    """Values that nobody reads later."""


def parts_of(links: Sequence[Link], works: Sequence[Work | None]) -> list[Part]:
    """Neighbouring links that have work as chains, all others one by one."""
    parts: list[Part] = []
    at = 0
    while at < len(links):
        end = at
        while end < len(links) and works[end] is not None:
            end += 1
        if end - at > 1:
            parts.append(_chained(links, works, at, end))
        else:
            end = at + 1
            parts.append(Part(None, links[at].reads, (at,)))
        at = end
    last = {value: i for i, part in enumerate(parts) for value in (*part.takes, *part.makes)}
    del last[len(links) - 1]
    return [replace(part, drops=tuple(v for v in last if last[v] == i)) for i, part in enumerate(parts)]


def _chained(links: Sequence[Link], works: Sequence[Work | None], at: int, end: int) -> Part:
    mine = range(at, end)
    takes = tuple(dict.fromkeys(v for link in links[at:end] for v in link.reads if v not in mine))
    later = {v for link in links[end:] for v in link.reads} | {len(links) - 1}
    makes = tuple(i for i in mine if i in later)
    inside = {v: v - at if v in mine else -1 - takes.index(v) for v in (*mine, *takes)}
    steps = [
        Step(work, tuple(inside[v] for v in link.reads), link.shape)
        for link, work in zip(links[at:end], works[at:end], strict=True)
        if work is not None
    ]
    return Part(Chain(steps, len(takes), [inside[i] for i in makes]), takes, makes)


_lock = threading.Lock()


def conv_chain(*given: torch.Tensor, program: str) -> torch.Tensor:
    """``ops_chain.one_by_one`` with calls laid down together where kernels can."""
    table, links = ops.running(), links_of(program)
    images = given[0].shape[0]
    slots = [table[link.slot] for link in links if link.slot is not None]
    kernels = [slot.pick(images * slot.rows) for slot in slots]
    known: dict[object, list[Part]] = slots[0].chains
    key = program, tuple(map(id, kernels)), torch.get_num_threads()
    parts = known.get(key)
    if parts is None:
        found = iter(kernels)
        works = [_work(link, None if link.slot is None else next(found)) for link in links]
        with _lock:
            for oldest in list(known)[: 1 - MOST_KEPT]:
                known.pop(oldest, None)
            parts = known[key] = parts_of(links, works)
    values: dict[int, torch.Tensor] = {-1 - i: t for i, t in enumerate(given)}
    for part in parts:
        tensors = [values[v] for v in part.takes]
        if part.chain is not None:
            values |= zip(part.makes, part.chain(tensors, images), strict=True)
        else:
            (number,) = part.makes
            values[number] = links[number].run(tensors, max_pool.max_pool)
        for value in part.drops:
            del values[value]
    return values[len(links) - 1]


def _work(link: Link, kernel: Kernel | None) -> Work | None:
    """None where it is called by itself."""
    if kernel is None:
        return max_pool.work(max_pool.Pool(*link.plane, *link.window), link.size[0])
    return conv_work(kernel, link.given, link.made, link.planes)


def conv_work(kernel: Kernel, given: str, made: str, planes: tuple[int, ...]) -> Work | None:
    """A convolution's work for one image from one layout to another; None where it is called by itself."""
    conv = kernel.call.conv
    if conv is None or not isinstance(kernel, ChainKernel) or not isinstance(kernel, LaidKernel):
        return None
    able = kernel.laid_served and given in reads(conv) and made in makes()
    return kernel.work(given, made, planes) if able else None
