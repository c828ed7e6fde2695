"""The dense rest of the graph through TorchInductor, with our op spliced in at two microseconds a call."""

from __future__ import annotations

import functools
import logging
import shutil
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import fx

from spcomp import ops
from spcomp.codegen import isa

log = logging.getLogger("spcomp.inductor")
Program = Callable[..., Any]


def unavailable() -> str | None:
    """Why Inductor cannot generate CPU code here (it needs a C++ compiler), or None."""
    try:
        from torch._inductor import config
        from torch._inductor.cpp_builder import get_cpp_compiler
    except ImportError as error:
        return f"torch._inductor cannot be imported ({error})"
    named = config.cpp.cxx
    try:
        compiler = get_cpp_compiler()
    except Exception as error:  # Inductor raises its own InvalidCxxCompiler
        return f"no C++ compiler ({named}): {error}"
    if shutil.which(compiler) is None:
        return f"no C++ compiler ({compiler} is not on the PATH)"
    return None


@functools.cache
def register() -> None:
    """Teach Inductor the lowering of our op: a plain extern call that makes its own output."""
    from torch._inductor import ir
    from torch._inductor.lowering import register_lowering
    from torch._inductor.select_algorithm import ExternKernelChoice

    choice = ExternKernelChoice(ops.linear, None, name="spcomp_linear_v1", has_out_variant=False)

    @register_lowering(ops.LINEAR, type_promotion_kind=None)
    def lower(x: Any, slot: int, n: int) -> Any:
        x = ir.ExternKernel.require_contiguous(ir.ExternKernel.realize_input(x))
        size = [*x.get_size()[:-1], n]
        layout = ir.FixedLayout(x.get_device(), x.get_dtype(), size, ir.FlexibleLayout.contiguous_strides(size))
        bound = choice.bind([x], layout, slot=slot, n=n)  # type: ignore[no-untyped-call]
        node = bound.output_node()
        return node[0] if isinstance(node, tuple) else node

    plain = ExternKernelChoice(ops.conv, None, name="spcomp_conv_v1", has_out_variant=False)

    @register_lowering(ops.CONV, type_promotion_kind=None)
    def lower_conv(x: Any, residual: Any, slot: int, size: Sequence[int]) -> Any:
        given = [x] if residual is None else [x, residual]
        given = [ir.ExternKernel.require_contiguous(ir.ExternKernel.realize_input(t)) for t in given]
        shape = [given[0].get_size()[0], *size]
        layout = ir.FixedLayout(
            given[0].get_device(), given[0].get_dtype(), shape, ir.FlexibleLayout.contiguous_strides(shape)
        )
        more = {"residual": None} if residual is None else {}
        bound = plain.bind(given, layout, **more, slot=slot, size=list(size))  # type: ignore[no-untyped-call]
        node = bound.output_node()
        return node[0] if isinstance(node, tuple) else node


def prepare() -> None:
    """Import and find out what :func:`compile_graph` needs; worth doing while other threads generate kernels."""
    register()
    isa.settle()


def compile_graph(gm: fx.GraphModule, inputs: Sequence[Any]) -> Program:
    """Compile a graph whose placeholders carry fake values in ``meta["val"]``; symbolic sizes stay symbolic.

    ``inputs`` are example tensors in placeholder order. The result takes the same inputs and returns the flat tuple
    of outputs. Whatever Inductor raises comes through.
    """
    prepare()
    from torch._inductor import standalone_compile

    with torch.no_grad():
        return standalone_compile(gm, list(inputs), dynamic_shapes="from_graph")
