"""What the tests of kernels share: weights that fit an encoding, calls, and a kernel built for them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import torch

from spcomp.codegen.mlir_cpu.backend import MlirCpu
from spcomp.codegen.reference.backend import linear as reference
from spcomp.encodings.bitmap import Bitmap
from spcomp.encodings.block import Block
from spcomp.encodings.csr import Csr
from spcomp.encodings.nm import Nm
from spcomp.encodings.pack import TORCH_DTYPES, PackedTensor, pack
from spcomp.encodings.sell import Sell
from spcomp.encodings.sorted_csr import SortedCsr
from spcomp.encodings.spec import ITEM_BYTES, Encoding
from spcomp.encodings.split import Split
from spcomp.encodings.transposed import Transposed
from spcomp.encodings.vnm import Vnm
from spcomp.encodings.window import Window
from spcomp.kernel import Kernel
from spcomp.plan import Epilogue, KernelCall, RowRange, Schedule
from spcomp.sparsity.measure import measure
from spcomp.targets.host import host_cpu
from spcomp.tolerance import TOLERANCES

ANY_ROWS = RowRange(0, None)
BACKEND = MlirCpu()
PLAIN = Epilogue()


def fitting(
    encoding: Encoding, n: int, k: int, *, density: float = 0.4, dtype: str = "float32", seed: int = 0
) -> torch.Tensor:
    """A weight [n, k] that ``encoding`` takes, about ``density`` of it nonzero (0.0: none, 1.0: all that fits)."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(n, k, generator=generator)
    weight = torch.where(weight == 0, 1.0, weight)
    match encoding:
        case Nm(n=most, m=m):
            groups = -(-k // m)
            order = torch.rand(n, groups, m, generator=generator).argsort(2).argsort(2)
            keep = (order < most).reshape(n, groups * m)[:, :k]
            keep &= torch.rand(n, k, generator=generator) < (2 * density if density < 1 else 1.1)
        case Vnm(v=v, m=m):
            strips, groups = -(-n // v), -(-k // m)
            chosen = torch.rand(strips, groups, m, generator=generator).argsort(2).argsort(2) < 4
            order = torch.rand(strips * v, groups, m, generator=generator)
            order = order.masked_fill(~chosen.repeat_interleave(v, 0), 2.0).argsort(2).argsort(2)
            keep = (order < 2).reshape(strips * v, groups * m)[:n, :k]
            keep &= torch.rand(n, k, generator=generator) < (2 * density if density < 1 else 1.1)
        case Block(rows=rows, cols=cols):
            live = torch.rand(-(-n // rows), -(-k // cols), generator=generator) < density
            keep = live.repeat_interleave(rows, 0).repeat_interleave(cols, 1)[:n, :k]
        case Split(rows=rows, cols=cols):
            live = torch.rand(-(-n // rows), -(-k // cols), generator=generator) < density
            keep = live.repeat_interleave(rows, 0).repeat_interleave(cols, 1)[:n, :k]
            keep = (keep & (torch.rand(n, k, generator=generator) < 0.9)) | (
                torch.rand(n, k, generator=generator) < density / 3
            )
        case _:
            keep = torch.rand(n, k, generator=generator) < density
    return torch.where(keep, weight, 0.0).to(TORCH_DTYPES[dtype])


def call_of(
    encoding: Encoding,
    weight: torch.Tensor,
    *,
    rows: RowRange = ANY_ROWS,
    epilogue: Epilogue = PLAIN,
    schedule: Schedule = (),
    backend: str = "mlir_cpu",
) -> tuple[KernelCall, PackedTensor]:
    """The call that ``weight`` in ``encoding`` would be, and the packed weight."""
    facts = measure(weight)
    packed = pack(weight, encoding, facts)
    n, k = facts.shape
    stored = encoding.stored_values(facts)
    call = KernelCall(
        "layer", 0, rows, n, k, facts.dtype, encoding, facts.nonzeros,
        packed.buffers["values"].numel() if stored is None else stored,
        packed.nbytes, packed.digest, epilogue, backend, host_cpu().target, schedule,
    )  # fmt: skip
    return call, packed


def build_all(
    encoding: Encoding, weight: torch.Tensor, bias: torch.Tensor | None, activation: str, *, rows: int = 129
) -> list[Kernel]:
    """A kernel for every schedule that the backend would try for one row and for ``rows`` rows."""
    call, packed = call_of(encoding, weight, epilogue=Epilogue(bias is not None, activation))
    schedules = dict.fromkeys(
        [*BACKEND.schedules(call, 1), *BACKEND.schedules(call, 8), *BACKEND.schedules(call, rows)]
    )
    return [BACKEND.build(replace(call, schedule=s), packed, bias) for s in schedules]


def dense_call(
    n: int, k: int, dtype: str = "float32", epilogue: Epilogue = PLAIN, *, layer: str = "layer"
) -> KernelCall:
    """The call of a dense layer."""
    from spcomp.encodings.dense import Dense

    size = n * k * ITEM_BYTES[dtype]
    return KernelCall(
        layer, 0, ANY_ROWS, n, k, dtype, Dense(), n * k, n * k, size, "", epilogue, "dense", host_cpu().target
    )  # fmt: skip


def relative(y: torch.Tensor, exact: torch.Tensor) -> float:
    """max|y - exact| / max|exact|, both finite."""
    if exact.numel() == 0:
        return 0.0
    return float((y.double() - exact).abs().max()) / max(float(exact.abs().max()), 1e-30)


def inputs(*shape: int, dtype: str = "float32", seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(TORCH_DTYPES[dtype])


def bodies(kernel: Any) -> dict[int, Any]:
    """The compiled middle functions of a kernel, by tiles or tokens at a time."""
    found: dict[int, Any] = kernel.bodies
    return found


ROWS = (1, 15, 16, 17, 129)
SHAPE = (37, 150)
"""Odd on purpose: three column blocks of 64, a ragged tile of rows, ragged groups and blocks."""
FAMILIES: list[Encoding] = [
    Csr(64), SortedCsr(64, 16), Sell(64, 24), Block(4, 4), Block(16, 1), Nm(2, 4), Window(64), Transposed(), Bitmap(),
]  # fmt: skip


def agree(kernel: Kernel, weight: torch.Tensor, bias: torch.Tensor | None, x: torch.Tensor) -> None:
    """Same shape and dtype as ``F.linear``, and the reference's numbers."""
    activation = kernel.call.epilogue.activation
    y = kernel(x)
    assert y.shape == (*x.shape[:-1], weight.shape[0])
    assert y.dtype == weight.dtype
    assert y.is_contiguous()
    error = relative(y, reference(x, weight, bias, activation))
    assert error <= TOLERANCES[kernel.call.dtype], f"{kernel.call.encoding} {kernel.call.schedule}: {error:.1e}"


def in_threads(work: Callable[[int], None], count: int) -> None:
    """``work(0)`` to ``work(count - 1)`` side by side, each in a Python thread; an error of any is raised."""
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(work, range(count)))
