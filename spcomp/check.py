"""The compile-time check of a layer against float64, and what its zeros look like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from spcomp.codegen.reference.backend import activate
from spcomp.codegen.reference.backend import linear as reference_linear
from spcomp.codegen.reference.conv import conv as reference_conv
from spcomp.codegen.reference.conv import finish
from spcomp.codegen.reference.int8 import disagreement, relative_bound
from spcomp.conv_shape import ConvShape
from spcomp.encodings.matrix import weight_of
from spcomp.experts import shares
from spcomp.kernel import Kernel
from spcomp.passes.base import Site
from spcomp.passes.infer_sparsity import positive_zeros
from spcomp.passes.tune import Planner, dense_call
from spcomp.plan import Epilogue, RowRange
from spcomp.tolerance import TOLERANCES

CHECK_ROWS = 7
"""Rows of random input in the compile-time check of a layer: odd on purpose."""


def check(site: Site, kernels: Sequence[tuple[RowRange, Kernel]]) -> float:
    """max|y - y64| / max|y64| over the kernels of a site, on random inputs."""
    worst = 0.0
    weight = positive_zeros(site.weight)
    for rows, kernel in kernels:
        x = site.example(_rows(site, rows), torch.Generator().manual_seed(site.slot))
        exact = finite(x, weight, site.bias, site.epilogue, site.conv, site.scale, site.experts)
        worst = max(worst, relative_error(kernel(*(t.to(site.where) for t in x)).cpu(), exact))
    return worst


def _rows(site: Site, rows: RowRange) -> int:
    """How many rows to check a kernel of this range with."""
    only = site.domains[0].lo if len(site.domains) == 1 and site.domains[0].hi == site.domains[0].lo else None
    m = only if only is not None else max(1, rows.lo, min(CHECK_ROWS, rows.hi or CHECK_ROWS))
    return max(1, m // site.pixels) * site.pixels


@dataclass(frozen=True)
class Int8Check:
    """What the quantised kernels of a layer are off by; zeros where it has none."""

    error: float = 0.0
    """max|y - y64| / max|y64|, against the layer that is not quantised."""
    limit: float = 0.0
    """What arithmetic bounds it by: :func:`~spcomp.codegen.reference.int8.relative_bound`."""
    wrong: str = ""
    """Why a kernel must not be used: it is not what the reference says, or beyond the bound."""


def check_int8(site: Site, kernels: Sequence[tuple[RowRange, Kernel]]) -> Int8Check:
    """Hold quantised kernels against the reference's int8 (to rounding) and against float64 (to the bound)."""
    error = limit = 0.0
    weight = positive_zeros(site.weight)
    activation = site.epilogue.activation
    for rows, kernel in kernels:
        if not kernel.call.quantize:
            continue
        x = site.example(_rows(site, rows), torch.Generator().manual_seed(site.slot))
        exact = finite(x, weight, site.bias, site.epilogue, site.conv, site.scale)
        bound = relative_bound(x[0], weight, activation, exact, site.dtype, site.conv, site.scale)
        found, apart = relative_error(kernel(*x), exact), disagreement(kernel, x, weight, site.bias, site.scale)
        if apart > TOLERANCES[site.dtype]:
            return Int8Check(wrong=f"the int8 kernel is {apart:.1e} from what it means")
        if found > bound:
            return Int8Check(wrong=f"the int8 kernel's error {found:.1e} exceeds its bound {bound:.1e}")
        error, limit = max(error, found), max(limit, bound)
    return Int8Check(error, limit)


def finite(
    x: Sequence[torch.Tensor],
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    epilogue: Epilogue,
    conv: ConvShape | None = None,
    scale: torch.Tensor | None = None,
    experts: int = 0,
) -> torch.Tensor:
    """What a layer means for these inputs (x, and a residual, or where the shares of experts end), in float64.

    weight: the matrix [n, k]; of experts, all of theirs one below the other.
    """
    if experts:
        y = x[0].new_zeros(x[0].shape[0], len(weight) // experts, dtype=torch.float64)
        for expert, start, end in shares(x[1], len(y)):
            y[start:end] = finite_linear(x[0][start:end], weight.chunk(experts)[expert], None, "none")
        return y
    if conv is None:
        return finite_linear(x[0], weight, bias, epilogue.activation)
    residual = x[1] if len(x) > 1 else None
    if not bool(torch.isfinite(weight).all()):
        return reference_conv(x[0], weight, conv, bias, epilogue.activation, scale, residual)
    kernel = weight_of(weight.double(), conv.weight_shape)
    stride, padding, dilation = (list(p[2 - conv.dims :]) for p in (conv.stride, conv.padding, conv.dilation))
    run = torch.nn.functional.conv2d if conv.dims == 2 else torch.nn.functional.conv1d
    y = run(x[0].double(), kernel, None, stride=stride, padding=padding, dilation=dilation)
    return finish(y, bias, epilogue.activation, scale, residual)


def finite_linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, activation: str) -> torch.Tensor:
    """The reference in float64; for finite weights one matrix product says the same as skipping zeros."""
    if not bool(torch.isfinite(weight).all()):
        return reference_linear(x, weight, bias, activation)
    y = x.double() @ weight.double().T
    return activate(y if bias is None else y + bias.double(), activation)


def relative_error(y: torch.Tensor, exact: torch.Tensor) -> float:
    """max|y - exact| / max|exact| over what is finite; infinite where NaN or infinities differ."""
    if exact.numel() == 0:
        return 0.0
    wide = y.double()
    same = (wide == exact) | (torch.isnan(wide) & torch.isnan(exact))
    gap = torch.where(same, 0.0, (wide - exact).abs())
    largest = exact.abs().nan_to_num(0.0, posinf=0.0).max()
    error = float(gap.max()) / max(float(largest), 1e-30)
    return error if error == error else float("inf")


def dense_error(planner: Planner, site: Site) -> float:
    """The dense program's own error on the same inputs."""
    best = planner.dense(dense_call(site, RowRange(0, None), planner.target), site, [site.pixels])
    return check(site, [(RowRange(0, None), best)])


def pattern_of(site: Site) -> str:
    """The tightest pattern that the facts show, as a pattern prints itself."""
    facts = site.facts
    if facts.nonzeros == facts.elements:
        return "dense"
    found = [f"unstructured {facts.sparsity:.0%}"]
    for m in (4, 8, 16, 2):
        n = facts.group_max[1, m]
        if 0 < n < m and facts.nonzeros / facts.elements > 0.75 * n / m:
            found.insert(0, f"nm {n}:{m}")
            break
    shapes = [(r * c, (r, c)) for r, c in facts.block_counts if facts.block_occupancy(r, c) > 0.98]
    if shapes and max(shapes)[0] > 1 and facts.sparsity > 0.02:
        rows, cols = max(shapes)[1]
        found.insert(0, f"block {rows}x{cols} {facts.sparsity:.0%}")
    return found[0]
