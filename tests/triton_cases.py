"""Triton kernels against the reference, in a process of its own: the interpreter counts from Triton's first import.

``TRITON_INTERPRET=1`` must be in the environment of whoever imports this and runs :func:`error_of`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from spcomp.codegen.reference.backend import activate
from spcomp.codegen.reference.backend import linear as reference
from spcomp.codegen.triton.backend import Triton, kernel_of
from spcomp.codegen.triton.device import PROGRAMS
from spcomp.codegen.triton.schedules import schedules_of
from spcomp.conv_shape import ConvShape
from spcomp.encodings.spec import Encoding
from spcomp.encodings.table import parse_encoding
from spcomp.plan import Epilogue, RowRange
from tests import mma_sp
from tests.kernels import call_of, fitting, inputs, relative


@dataclass(frozen=True)
class Case:
    """A layer [n, k] in an encoding, M rows of x, and the end of the layer."""

    encoding: str
    m: int
    n: int
    k: int
    dtype: str = "float32"
    density: float = 0.3
    bias: bool = False
    activation: str = "none"
    residual: bool = False
    result_dtype: str = ""
    schedule: tuple[tuple[str, int], ...] = ()
    """Options that replace those of each schedule of the backend."""


def start() -> None:
    """In the new process: one thread, and products of bfloat16 as they should be (the interpreter multiplies the
    integers that stand for them), and the one instruction that is written as assembly."""
    import triton.language as tl
    import triton.runtime.interpreter as interpreter

    torch.set_num_threads(1)
    plain = interpreter.InterpreterBuilder.create_dot

    def wide(handle):  # type: ignore[no-untyped-def]
        if handle.dtype.scalar != tl.bfloat16:
            return handle
        return interpreter.TensorHandle((handle.data.astype(np.uint32) << 16).view(np.float32), tl.float32)

    def create_dot(self, a, b, d, *rest):  # type: ignore[no-untyped-def]
        return plain(self, wide(a), wide(b), d, *rest)

    interpreter.InterpreterBuilder.create_dot = create_dot
    interpreter.InterpreterBuilder.create_inline_asm = lambda _, text, constraints, values, *_rest: _Registers(
        mma_sp.run(text, constraints, [value.data for value in values])
    )


@dataclass(frozen=True)
class _Registers:
    """What an inline assembly text gave, as Triton asks for it."""

    outputs: list[np.ndarray]

    def get_result(self, i: int):  # type: ignore[no-untyped-def]
        import triton.language as tl
        import triton.runtime.interpreter as interpreter

        return interpreter.TensorHandle(self.outputs[i], tl.float32)


def error_of(case: Case) -> float:
    """Largest of max|y - exact| / max|exact| over the schedules; an assertion if shape or dtype are not right."""
    encoding: Encoding = parse_encoding(case.encoding)
    weight = fitting(encoding, case.n, case.k, density=case.density, dtype=case.dtype)
    bias = inputs(case.n, dtype=case.dtype, seed=2) if case.bias else None
    epilogue = Epilogue(case.bias, case.activation, residual=case.residual)
    call, packed = call_of(encoding, weight, rows=RowRange(case.m, case.m), epilogue=epilogue, backend="triton")
    x = inputs(case.m, case.k, dtype=case.dtype, seed=3)
    residual = inputs(case.m, case.n, dtype=case.dtype, seed=4) if case.residual else None
    exact = reference(x, weight, bias, "none")
    exact = activate(exact if residual is None else exact + residual.double(), case.activation)
    made = getattr(torch, case.result_dtype or case.dtype)
    errors = []
    offered = schedules_of(call, case.m, PROGRAMS)
    assert offered, f"no schedule for {case}"
    for schedule in dict.fromkeys(tuple(sorted((dict(s) | dict(case.schedule)).items())) for s in offered):
        kernel = kernel_of(replace(call, schedule=schedule), packed, bias, torch.device("cpu"), made)
        y = kernel(x, *(() if residual is None else (residual,)))
        assert y.shape == (case.m, case.n)
        assert y.dtype is made
        assert y.is_contiguous()
        errors.append(relative(y, exact))
    return max(errors)


def built(case: Case, weight: torch.Tensor | None = None):  # type: ignore[no-untyped-def]
    """The kernel of a case with the first schedule of the backend."""
    encoding = parse_encoding(case.encoding)
    if weight is None:
        weight = fitting(encoding, case.n, case.k, density=case.density, dtype=case.dtype)
    bias = inputs(case.n, dtype=case.dtype, seed=2) if case.bias else None
    epilogue = Epilogue(case.bias, case.activation, residual=case.residual)
    call, packed = call_of(encoding, weight, rows=RowRange(case.m, case.m), epilogue=epilogue, backend="triton")
    schedule = tuple(sorted((dict(schedules_of(call, case.m, PROGRAMS)[0]) | dict(case.schedule)).items()))
    return kernel_of(replace(call, schedule=schedule), packed, bias, torch.device("cpu"))


def source_of(case: Case) -> str:
    return str(built(case).source)


def repeats_exactly(case: Case) -> bool:
    kernel = built(replace(case, schedule=(("splits", 4),)))
    x = inputs(case.m, case.k, dtype=case.dtype, seed=3)
    first = kernel(x)
    kernel(x[:1])
    return all(torch.equal(first, kernel(x)) for _ in range(3))


def infinite_rows(encoding: str) -> list[int]:
    """Which outputs are not finite when input 7, for which rows 0 and 3 have weights, is infinite."""
    weight = torch.zeros(6, 40)
    weight[:, 3] = 1.0
    weight[[0, 3], 7] = 2.0
    x = torch.ones(1, 40)
    x[0, 7] = float("inf")
    y = built(Case(encoding, 1, 6, 40), weight)(x)
    return [int(i) for i in (~y[0].isfinite()).nonzero()]


def run_elsewhere() -> None:
    kernel = built(Case("bitmap", 1, 6, 40))
    kernel(torch.ones(1, 40, device="meta"))


def experts_error(dtype: str, sizes: tuple[int, ...], side: int, activation: str) -> float:
    """Experts that get so many tokens each (some none) against one reference layer each."""
    from spcomp.codegen.triton.expert_layer import GroupedBlocks
    from spcomp.encodings.block import Block

    n, k, experts = 2 * side, 70, len(sizes)
    weight = fitting(Block(side, side), experts * n, k, dtype=dtype)
    call, packed = call_of(Block(side, side), weight, epilogue=Epilogue(True, activation, residual=True))
    bias = inputs(experts, n, dtype=dtype, seed=2)
    x, residual = inputs(sum(sizes), k, dtype=dtype, seed=3), inputs(sum(sizes), n, dtype=dtype, seed=4)
    start = torch.tensor([0, *sizes]).cumsum(0).to(torch.int32)
    kernel = GroupedBlocks(call, packed, bias, experts, torch.device("cpu"))
    y = kernel(x, start, residual)
    assert "def blocks_grouped" in kernel.source
    parts = [
        reference(rows, weight[e * n : (e + 1) * n], bias[e], "none") for e, rows in enumerate(x.split(list(sizes)))
    ]
    return relative(y, activate(torch.cat(parts) + residual.double(), activation))


def conv_error(conv: ConvShape, n: int, side: int, dtype: str, activation: str) -> float:
    """A block-sparse convolution of two images, planes as they are and channels last, against the reference."""
    from spcomp.codegen.reference.conv import conv as reference_conv
    from spcomp.codegen.triton.conv_layer import BlocksConv
    from spcomp.encodings.block import Block
    from spcomp.kernel import LastKernel

    weight = fitting(Block(side, side), n, conv.k, density=0.5, dtype=dtype)
    call, packed = call_of(Block(side, side), weight, epilogue=Epilogue(True, activation, residual=True))
    call = replace(call, op="conv", conv=conv)
    bias = inputs(n, dtype=dtype, seed=2)
    planes = (conv.channels, *(conv.height, conv.width)[2 - conv.dims :])
    x, residual = inputs(2, *planes, dtype=dtype, seed=3), inputs(2, *conv.size(n), dtype=dtype, seed=4)
    exact = reference_conv(x, weight, conv, bias, activation, None, residual)
    errors = []
    for schedule in Triton().schedules(call, 2 * conv.pixels):
        kernel = BlocksConv(replace(call, schedule=schedule), packed, bias, torch.device("cpu"))
        assert isinstance(kernel, LastKernel)
        y = kernel(x, residual)
        assert y.shape == exact.shape
        assert y.is_contiguous()
        errors.append(relative(y, exact))
        if conv.dims == 2:
            last = kernel.on_last(*(t.to(memory_format=torch.channels_last) for t in (x, residual)))
            assert last.is_contiguous(memory_format=torch.channels_last)
            assert torch.equal(last, y)
    return max(errors)


def other_source(name: str) -> str:
    """The text of what is no plain linear layer."""
    from spcomp.codegen.triton.conv_layer import BlocksConv
    from spcomp.codegen.triton.expert_layer import GroupedBlocks
    from spcomp.encodings.block import Block

    if name == "ending":
        from spcomp.codegen.triton.ending import end_rows, quantize_rows
        from spcomp.codegen.triton.launch import text_of

        return "\n\n".join(map(text_of, (quantize_rows, end_rows)))
    conv = ConvShape(2, 16, 8, 8, (3, 3))
    call, packed = call_of(Block(16, 16), fitting(Block(16, 16), 32, conv.k))
    if name == "experts":
        return GroupedBlocks(call, packed, None, 2, torch.device("cpu")).source
    return BlocksConv(replace(call, op="conv", conv=conv), packed, None, torch.device("cpu")).source


def empty_shapes() -> list[tuple[int, ...]]:
    """Shapes of results of no rows."""
    kernels = [built(Case("bitmap", 1, 6, 40)), built(Case("block(rows=16, cols=16)", 64, 6, 40))]
    return [tuple(kernel(torch.zeros(*shape, 40)).shape) for kernel in kernels for shape in ((0,), (2, 0))]


def quantized_error(dtype: str, activation: str, m: int, n: int, k: int) -> float:
    """int8 2:4 with the operator faked and what is before and after it in Triton, against the reference."""
    from spcomp.codegen.cusparselt.quantized import QuantizedLinear, quantize_rows
    from spcomp.codegen.reference.int8 import linear_int8
    from spcomp.encodings.nm import Nm
    from tests.cusparselt_fake import Fake

    weight = fitting(Nm(2, 4), n, k, dtype=dtype)
    call, _ = call_of(Nm(2, 4), weight, epilogue=Epilogue(True, activation))
    values, scale = quantize_rows(weight, torch.int8)
    bias, x = inputs(n, dtype=dtype, seed=5), inputs(m, k, dtype=dtype) * 30
    kernel = QuantizedLinear(call, values, scale, bias, Fake().operators())
    y = kernel(x)
    assert y.dtype is weight.dtype
    assert y.shape == (m, n)
    x[0, 0] = float("inf")
    assert bool(kernel(x)[0].isnan().all())
    x[0, 0] = 1.0
    return relative(kernel(x), linear_int8(x, values, scale, bias, activation))


def float8_rounded(dtype: str, m: int, k: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """x [m, k] scaled, and as float8 by the kernel and by torch; scales and padding are looked at here."""
    from spcomp.codegen.cusparselt.quantized import MOST, quantize_rows
    from spcomp.codegen.triton.ending_layer import quantising

    kind, x = torch.float8_e4m3fn, inputs(m, k, dtype=dtype) * 5
    numbers, scales = torch.empty(m + 3, k + 26, dtype=kind), torch.empty(m + 3)
    quantising(x, numbers, scales, MOST[kind], 1.0).run()
    exact, exact_scales = quantize_rows(x, kind)
    padded = numbers.float()
    assert torch.equal(scales[:m], exact_scales)
    assert not padded[m:].any()
    assert not padded[:, k:].any()
    scaled = x.float() * (MOST[kind] / x.float().abs().amax(1))[:, None]
    return scaled, padded[:m, :k], exact.float()


def ended_error(dtype: str, activation: str, library: int, n: int) -> float:
    """2:4 with its residual and activation done by Triton in place of the faked operator's result."""
    from spcomp.codegen.cusparselt.backend import CuSparseLt
    from spcomp.encodings.nm import Nm
    from tests.cusparselt_fake import Fake

    weight = fitting(Nm(2, 4), n, 70, dtype=dtype)
    epilogue = Epilogue(True, activation, residual=True)
    call, packed = call_of(Nm(2, 4), weight, epilogue=epilogue, schedule=(("library", library),))
    bias, x, other = inputs(n, dtype=dtype, seed=5), inputs(13, 70, dtype=dtype), inputs(13, n, dtype=dtype, seed=6)
    y = CuSparseLt(operators=Fake().operators()).kernel_of(call, packed, bias, torch.device("cpu"))(x, other)
    return relative(y, activate(reference(x, weight, bias, "none") + other.double(), activation))
