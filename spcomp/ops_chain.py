"""The op of several convolutions, and poolings between them, that are run as one.

``spcomp::conv_chain_v1(Tensor[] given, str program, int[] shape) -> Tensor``: ``program`` is :func:`program_of` its
links, ``shape`` the shape of an image of the last one's result. What it means is :func:`one_by_one`; how it is done as
one, :mod:`spcomp.codegen.mlir_cpu.chain`.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from spcomp import ops
from spcomp.conv_layout import NATURAL, shape_of

Pair = tuple[int, int]


@dataclass(frozen=True)
class Link:
    """One op of a chain. Values are numbered: 0 and up are results of links, -1 and down the tensors given."""

    reads: tuple[int, ...]
    """x, and a residual where there is one."""
    size: tuple[int, ...]
    """Of one image of the natural result."""
    slot: int | None = None
    """None: a max pooling."""
    given: str = NATURAL
    made: str = NATURAL
    planes: tuple[int, ...] = ()
    plane: Pair = (0, 0)
    """What a pooling reads: height, width."""
    window: tuple[Pair, Pair, Pair] = ((1, 1), (1, 1), (0, 0))
    """Of a pooling: kernel, stride, padding."""

    @functools.cached_property
    def shape(self) -> tuple[int, ...]:
        """Of one image of the result as it lies."""
        return shape_of(self.made, self.size, self.planes)

    def run(self, tensors: Sequence[torch.Tensor], pool: Callable[..., torch.Tensor]) -> torch.Tensor:
        """The op alone, on what it reads."""
        if self.slot is None:
            kernel, stride, padding = self.window
            return pool(tensors[0], kernel=kernel, stride=stride, padding=padding)
        x, residual = (*tensors, None)[:2]
        assert x is not None
        if (self.given, self.made) == (NATURAL, NATURAL):
            return ops.conv(x, residual, slot=self.slot, size=self.size)
        return ops.conv_laid(
            x, residual, slot=self.slot, size=self.size, given=self.given, made=self.made, planes=self.planes
        )


def program_of(links: Sequence[Link]) -> str:
    """The links as text; :func:`links_of` is the inverse."""
    return json.dumps([asdict(link) for link in links], separators=(",", ":"))


@functools.lru_cache(maxsize=256)
def links_of(program: str) -> tuple[Link, ...]:
    def tuples(value: Any) -> Any:
        return tuple(map(tuples, value)) if isinstance(value, list) else value

    return tuple(Link(**{name: tuples(v) for name, v in one.items()}) for one in json.loads(program))


def one_by_one(given: Sequence[torch.Tensor], program: str) -> torch.Tensor:
    """Every link as an op of its own; the last one's result."""
    values: list[torch.Tensor] = []
    for link in links_of(program):
        values.append(link.run([values[v] if v >= 0 else given[-1 - v] for v in link.reads], ops.max_pool))
    return values[-1]


ops._library.define("conv_chain_v1(Tensor[] given, str program, int[] shape) -> Tensor")  # type: ignore[no-untyped-call]
ops._library.impl("conv_chain_v1", lambda given, program, shape: one_by_one(given, program), "CPU")  # type: ignore[no-untyped-call]


@torch.library.register_fake("spcomp::conv_chain_v1")  # type: ignore[untyped-decorator]
def _fake(given: Sequence[torch.Tensor], program: str, shape: Sequence[int]) -> torch.Tensor:
    return given[0].new_empty((given[0].shape[0], *shape))


CONV_CHAIN = torch.ops.spcomp.conv_chain_v1.default
