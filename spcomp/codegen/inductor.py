"""The dense rest of the graph through TorchInductor, with our op spliced in at two microseconds a call."""

from __future__ import annotations

import copy
import functools
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import fx

from spcomp import ops, ops_chain, ops_planned
from spcomp.codegen import isa
from spcomp.codegen.mlir_cpu.attention import tiles_attention
from spcomp.codegen.mlir_cpu.chain import conv_chain
from spcomp.codegen.mlir_cpu.max_pool import max_pool
from spcomp.codegen.mlir_cpu.tiled import tiles_norm
from spcomp.conv_layout import shape_of
from spcomp.experts import EXPERTS, GROUPED, experts, grouped
from spcomp.ops_attention import TILES_ATTENTION, Heads

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
    """Teach Inductor the lowerings of our ops: extern calls that make their own outputs, or are given them."""
    from torch._inductor import ir
    from torch._inductor.lowering import register_lowering
    from torch._inductor.select_algorithm import ExternKernelChoice

    def residual_given(x: Any, residual: Any) -> tuple[list[Any], dict[str, None]]:
        return ([x], {"residual": None}) if residual is None else ([x, residual], {})

    def extern(choice: Any, tensors: Sequence[Any], shape: Sequence[Any], **more: Any) -> Any:
        given = [ir.ExternKernel.require_contiguous(ir.ExternKernel.realize_input(t)) for t in tensors]
        first: Any = given[0]
        strides = ir.FlexibleLayout.contiguous_strides(shape)
        layout = ir.FixedLayout(first.get_device(), first.get_dtype(), list(shape), strides)
        node = choice.bind(given, layout, **more).output_node()
        return node[0] if isinstance(node, tuple) else node

    def choice(run: Callable[..., torch.Tensor], name: str, *, out: bool = False) -> Any:
        return ExternKernelChoice(run, None, name=f"spcomp_{name}", has_out_variant=out)

    linear, conv = choice(ops.linear, "linear_v1"), choice(ops.conv, "conv_v1")
    pool, embedding = choice(max_pool, "max_pool_v1"), choice(ops.embedding, "embedding_v1")
    last, laid = choice(ops.conv_last, "conv_last_v1"), choice(ops.conv_laid, "conv_laid_v1")
    chain = choice(conv_chain, "conv_chain_v1")
    mixture, all_experts = choice(experts, "experts_v1"), choice(grouped, "grouped_v1")
    tiles, norm = choice(ops.tiles_linear, "tiles_linear_v1"), choice(_norm_given, "tiles_norm_v1")
    attention = choice(_attended, "tiles_attention_v2")

    @register_lowering(ops.LINEAR, type_promotion_kind=None)
    def lower(x: Any, slot: int, n: int) -> Any:
        return extern(linear, [x], [*x.get_size()[:-1], n], slot=slot, n=n)

    @register_lowering(ops.CONV, type_promotion_kind=None)
    def lower_conv(x: Any, residual: Any, slot: int, size: Sequence[int]) -> Any:
        given, more = residual_given(x, residual)
        return extern(conv, given, [x.get_size()[0], *size], **more, slot=slot, size=list(size))

    linear_into = choice(ops_planned.linear_into, "linear_planned_v1", out=True)
    conv_into = choice(ops_planned.conv_into, "conv_planned_v1", out=True)

    @register_lowering(ops_planned.LINEAR_PLANNED, type_promotion_kind=None)
    def lower_planned(x: Any, slot: int, n: int) -> Any:
        return extern(linear_into, [x], [*x.get_size()[:-1], n], slot=slot, n=n)

    @register_lowering(ops_planned.CONV_PLANNED, type_promotion_kind=None)
    def lower_conv_planned(x: Any, residual: Any, slot: int, size: Sequence[int]) -> Any:
        given, more = residual_given(x, residual)
        return extern(conv_into, given, [x.get_size()[0], *size], **more, slot=slot, size=list(size))

    @register_lowering(ops.CONV_LAST, type_promotion_kind=None)
    def lower_last(x: Any, residual: Any, slot: int, size: Sequence[int]) -> Any:
        tensors, more = residual_given(x, residual)
        given: list[Any] = [ir.ExternKernel.require_channels_last(ir.ExternKernel.realize_input(t)) for t in tensors]
        shape = [x.get_size()[0], *size]
        strides = ir.FlexibleLayout.stride_ordered(shape, ir.NHWC_STRIDE_ORDER)
        layout = ir.FixedLayout(given[0].get_device(), given[0].get_dtype(), shape, strides)
        node = last.bind(given, layout, **more, slot=slot, size=list(size)).output_node()
        return node[0] if isinstance(node, tuple) else node

    @register_lowering(ops.CONV_LAID, type_promotion_kind=None)
    def lower_laid(
        x: Any, residual: Any, slot: int, size: Sequence[int], given: str, made: str, planes: Sequence[int]
    ) -> Any:
        tensors, more = residual_given(x, residual)
        shape = [x.get_size()[0], *shape_of(made, size, planes)]
        layouts = {"given": given, "made": made, "planes": list(planes)}
        return extern(laid, tensors, shape, **more, slot=slot, size=list(size), **layouts)

    @register_lowering(ops_chain.CONV_CHAIN, type_promotion_kind=None)
    def lower_chain(given: Any, program: str, shape: Sequence[int]) -> Any:
        return extern(chain, given, [given[0].get_size()[0], *shape], program=program)

    @register_lowering(ops.EMBEDDING, type_promotion_kind=None)
    def lower_embedding(ids: Any, slot: int, k: int, dtype: torch.dtype) -> Any:
        given: Any = ir.ExternKernel.require_contiguous(ir.ExternKernel.realize_input(ids))
        shape = [*ids.get_size(), k]
        layout = ir.FixedLayout(given.get_device(), dtype, shape, ir.FlexibleLayout.contiguous_strides(shape))
        node = embedding.bind([given], layout, slot=slot).output_node()
        return node[0] if isinstance(node, tuple) else node

    @register_lowering(EXPERTS, type_promotion_kind=None)
    def lower_experts(x: Any, offs: Any, slots: Sequence[int], n: int) -> Any:
        return extern(mixture, [x, offs], [x.get_size()[0], n], slots=list(slots), n=n)

    @register_lowering(GROUPED, type_promotion_kind=None)
    def lower_grouped(x: Any, offs: Any, slot: int, n: int) -> Any:
        return extern(all_experts, [x, offs], [x.get_size()[0], n], slot=slot, n=n)

    @register_lowering(ops.MAX_POOL, type_promotion_kind=None)
    def lower_pool(x: Any, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int]) -> Any:
        numbers = {"kernel": list(kernel), "stride": list(stride), "padding": list(padding)}
        planes = zip(x.get_size()[2:], kernel, stride, padding, strict=True)
        shape = [*x.get_size()[:2], *((size + 2 * p - k) // s + 1 for size, k, s, p in planes)]
        return extern(pool, [x], shape, **numbers)

    @register_lowering(ops.TILES_LINEAR, type_promotion_kind=None)
    def lower_tiles(xs: Any, slot: int, n: int, m: int) -> Any:
        return extern(tiles, [xs], [xs.get_size()[0], n, ops.LANES], slot=slot, n=n, m=m)

    @register_lowering(ops.TILES_NORM, type_promotion_kind=None)
    def lower_norm(xs: Any, residual: Any, weight: Any, bias: Any, eps: float) -> Any:
        named = {"residual": residual, "weight": weight, "bias": bias}
        given = {name: t for name, t in named.items() if t is not None}
        return extern(norm, [xs, *given.values()], list(xs.get_size()), given=" ".join(given), eps=eps)

    @register_lowering(TILES_ATTENTION, type_promotion_kind=None)
    def lower_attention(q: Any, k: Any, v: Any, mask: Any, *given: Any) -> Any:
        heads, tensors = Heads.of(*given), [q, k, v] if mask is None else [q, k, v, mask]
        return extern(attention, tensors, [q.get_size()[0], heads.features, ops.LANES], **heads.numbers)


def _attended(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None = None, **numbers: Any
) -> torch.Tensor:
    return tiles_attention(q, k, v, mask, Heads.of(**numbers))


def _norm_given(xs: torch.Tensor, *tensors: torch.Tensor, given: str, eps: float) -> torch.Tensor:
    """LayerNorm on tiles with those of residual, weight and bias that are ``given``."""
    named: dict[str, torch.Tensor | None] = dict.fromkeys(("residual", "weight", "bias"))
    named |= dict(zip(given.split(), tensors, strict=True))
    return tiles_norm(xs, named["residual"], named["weight"], named["bias"], eps=eps)


PLANNED = {ops.LINEAR: ops_planned.LINEAR_PLANNED, ops.CONV: ops_planned.CONV_PLANNED}


def planned(gm: fx.GraphModule, slots: frozenset[int]) -> fx.GraphModule:
    """The same graph, in which Inductor makes the memory for the results of ``slots``; itself where there is none.

    The op's name says it, because Inductor's cache sees nothing else of what a lowering does.
    """
    wanted = [n.name for n in gm.graph.nodes if n.target in PLANNED and _slot(n) in slots]
    if not wanted:
        return gm
    made = fx.GraphModule(gm, copy.deepcopy(gm.graph))
    for node, old in zip(made.graph.nodes, gm.graph.nodes, strict=True):
        node.meta = old.meta
        if old.name in wanted:
            node.target = PLANNED[old.target]
    made.recompile()
    return made


def _slot(node: fx.Node) -> object:
    """Of a call of one of our ops."""
    place = {ops.LINEAR: 1, ops.CONV: 2}[node.target]  # type: ignore[index]
    return node.args[place] if len(node.args) > place else node.kwargs.get("slot")


ON_GPU: Mapping[str, Any] = {"max_autotune": True}
"""Options of Inductor for programs on GPUs: it tries its templates beside cuBLAS. CUDA graphs are ours."""


def unavailable_on_gpu() -> str | None:
    """Why Inductor cannot generate GPU code here (it writes Triton), or None."""
    try:
        from torch.utils._triton import has_triton
    except ImportError as error:
        return f"torch._inductor cannot be imported ({error})"
    return None if has_triton() else "Inductor finds no working Triton for this GPU"


def prepare(*, gpu: bool = False) -> None:
    """Import and find out what :func:`compile_graph` needs; worth doing while other threads generate kernels."""
    register()
    if not gpu:
        isa.settle()


def compile_graph(gm: fx.GraphModule, options: Mapping[str, Any] | None = None) -> Program:
    """Compile a graph whose placeholders carry fake values in ``meta["val"]``; symbolic sizes stay symbolic.

    The result takes tensors in the order of the placeholders and returns the flat tuple of outputs. ``options``:
    Inductor's own, for a program on GPUs. Whatever Inductor raises comes through.
    """
    prepare(gpu=bool(options))
    from torch._inductor import standalone_compile

    patches = {"config_patches": dict(options)} if options else {}
    with torch.no_grad():
        inputs = [n.meta["val"] for n in gm.graph.nodes if n.op == "placeholder"]
        return standalone_compile(gm, inputs, dynamic_shapes="from_graph", options=patches)
