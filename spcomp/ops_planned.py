"""Ops of layers whose results lie in memory that Inductor plans; what they mean is in :mod:`spcomp.ops`."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from spcomp import ops


def linear_into(x: torch.Tensor, *, slot: int, n: int, out: torch.Tensor) -> torch.Tensor:
    """:func:`spcomp.ops.linear` with the result in ``out``, contiguous."""
    ops.running()[slot].into(out, x)
    return out


def conv_into(
    x: torch.Tensor, residual: torch.Tensor | None = None, *, slot: int, size: Sequence[int], out: torch.Tensor
) -> torch.Tensor:
    """:func:`spcomp.ops.conv` with the result in ``out``, contiguous."""
    ops.running()[slot].into(out, x, *(() if residual is None else (residual,)))
    return out


ops._library.define("linear_planned_v1(Tensor x, int slot, int n) -> Tensor")  # type: ignore[no-untyped-call]
ops._library.define("conv_planned_v1(Tensor x, Tensor? residual, int slot, int[] size) -> Tensor")  # type: ignore[no-untyped-call]
for _key in ops.KEYS:
    ops._library.impl("linear_planned_v1", lambda x, slot, n: ops.linear(x, slot=slot, n=n), _key)  # type: ignore[no-untyped-call]
    ops._library.impl("conv_planned_v1", lambda x, r, slot, size: ops.conv(x, r, slot=slot, size=size), _key)  # type: ignore[no-untyped-call]
torch.library.register_fake("spcomp::linear_planned_v1")(ops._fake)
torch.library.register_fake("spcomp::conv_planned_v1")(ops._fake_conv)

LINEAR_PLANNED = torch.ops.spcomp.linear_planned_v1.default
"""``ops.LINEAR`` whose result Inductor makes the memory for, among what it plans, by the ``out`` forms above."""
CONV_PLANNED = torch.ops.spcomp.conv_planned_v1.default
