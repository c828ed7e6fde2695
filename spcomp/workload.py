"""A compiled model at the sizes of given inputs -> the :class:`~spcomp.sim.workload.Workload` that machines run.

Sizes come from running the lowered graph on fake tensors; nothing is computed. Layers bring the call of the plan that
serves their rows and views of the very bytes that their kernel reads. Which rows a mixture sends to which of its
experts is known when it runs; here every expert is sent an equal share, the first ones one row more where that is not
even.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import fx
from torch._dispatch.python import enable_python_dispatcher
from torch._subclasses.fake_tensor import FakeTensorMode

from spcomp import ops
from spcomp.encodings.pack import bit_views
from spcomp.errors import InputError
from spcomp.experts import EXPERTS, GROUPED
from spcomp.ops_attention import TILES_ATTENTION
from spcomp.parts import Parts, Program
from spcomp.plan import KernelCall
from spcomp.sim.workload import Kind, Operand, Step, Workload, layer_step

_aten = torch.ops.aten
_LAYERS: Mapping[Any, int] = {
    ops.LINEAR: 1, ops.CONV: 2, ops.CONV_LAST: 2, ops.CONV_LAID: 2, ops.TILES_LINEAR: 1,
}  # fmt: skip
"""Ops that are layers -> where their slot stands among the arguments."""
_VIEWS = frozenset(
    {
        "view", "reshape", "_unsafe_view", "flatten", "unflatten", "unsqueeze", "squeeze", "transpose", "permute", "t",
        "expand", "alias", "detach", "slice", "select", "split", "split_with_sizes", "chunk", "getitem", "sym_size",
        "unbind", "numpy_T", "dropout", "lift_fresh_copy", "view_as", "expand_as", "diagonal", "narrow",
    }
)  # fmt: skip
"""Ops that move nothing (``dropout``: in evaluation mode)."""
_PRODUCTS = {"matmul", "mm", "bmm", "addmm", "baddbmm", "linear", "einsum", "convolution", "conv1d", "conv2d"}
_NORMS = {"layer_norm", "native_layer_norm", "rms_norm", "batch_norm", "group_norm", "native_batch_norm"}
_SOFTMAX = {"softmax", "_softmax", "log_softmax", "_log_softmax"}
_GATHERS = {"embedding", "index", "index_select", "gather", "take", "embedding_v1"}
_MOVES = {"clone", "contiguous", "cat", "stack", "copy", "constant_pad_nd", "pad", "repeat", "_to_copy", "to", "arange",
          "full", "zeros", "ones", "empty", "new_zeros", "scalar_tensor", "index_put", "slice_scatter"}  # fmt: skip


def workload_of(parts: Parts, flat: Sequence[Any], name: str = "") -> Workload:
    """The steps of the program of ``parts`` that takes these flat inputs, at their sizes.

    Raises :class:`~spcomp.errors.InputError` where no program takes them.
    """
    program = program_for(parts, flat)
    sizes = _Sizes(program.gm)
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    given = [mode.from_tensor(parts.tensors[n], static_shapes=True) for n in program.lifted]
    given += [mode.from_tensor(v, static_shapes=True) if isinstance(v, torch.Tensor) else v for v in flat]
    with mode, enable_python_dispatcher():
        sizes.run(*given)
    calls = parts.plan.slots()
    steps: list[Step | None] = []
    for node in program.gm.graph.nodes:
        if node.op == "call_function" and node.target is EXPERTS:
            steps += _experts(node, sizes.found, parts, calls)
        elif node.op == "call_function" and node.target is GROUPED:
            found = f"{parts.slots[int(node.args[2])].layer}, experts in one launch of a GPU"
            raise InputError("simulate a compiled model", found, "the model compiled with target='cpu'")
        elif node.op == "call_function":
            steps.append(_step(node, sizes.found, parts, calls))
    return Workload(tuple(s for s in steps if s is not None), parts.plan.digest, name)


def program_for(parts: Parts, flat: Sequence[Any]) -> Program:
    """The program that takes these flat inputs. Raises :class:`~spcomp.errors.InputError` where none does."""
    reason = ""
    for program in parts.programs:
        found = program.signature.mismatch(list(flat))
        if found is None:
            return program
        reason = reason or found
    raise InputError("simulate a compiled model", reason, "inputs like those that it was compiled for")


class _Sizes(fx.Interpreter):
    """Runs a graph on fake tensors and remembers what every node gave."""

    def __init__(self, gm: fx.GraphModule) -> None:
        super().__init__(gm)
        self.found: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        self.found[n] = value
        return value


def _step(
    node: fx.Node, values: Mapping[fx.Node, Any], parts: Parts, calls: Mapping[int, Sequence[KernelCall]]
) -> Step | None:
    if node.target in _LAYERS:
        return _layer(node, values, parts, calls)
    op = _name(node)
    written = _operands([node], values)
    if op in _VIEWS or not written:
        return None
    reads = _operands(node.all_input_nodes, values)
    if node.target is TILES_ATTENTION:
        return _tiles_attention(node, values, reads, written)
    if op.startswith(("scaled_dot_product", "_scaled_dot_product")):
        return _attention(node, values, reads, written)
    if op in _PRODUCTS:
        batch, m, n, k = _product(node, values, written[0])
        return Step(node.name, "matmul", reads, written, batch=batch, m=m, n=n, k=k)
    return Step(node.name, _kind(op), reads, written)


def _kind(op: str) -> Kind:
    for names, kind in ((_NORMS, "norm"), (_SOFTMAX, "softmax"), (_GATHERS, "gather"), (_MOVES, "move")):
        if op in names:
            return kind  # type: ignore[return-value]
    return "norm" if op == "tiles_norm_v1" else "elementwise"


def _layer(
    node: fx.Node, values: Mapping[fx.Node, Any], parts: Parts, calls: Mapping[int, Sequence[KernelCall]]
) -> Step:
    at = _LAYERS[node.target]
    slot = int(node.args[at])  # type: ignore[arg-type]
    x, y = node.args[0], values[node]
    assert isinstance(x, fx.Node)
    kernels = parts.table[slot]
    if node.target is ops.TILES_LINEAR:
        m = int(node.args[3]) if not isinstance(node.args[3], fx.Node) else int(values[node.args[3]])  # type: ignore[arg-type]
    elif at == 2:
        m = int(values[x].shape[0]) * kernels.rows
    else:
        m = y.numel() // max(1, y.shape[-1])
    call = next((c for c in calls[slot] if m in c.rows), calls[slot][0])
    residual = _base(node.args[1]).name if at == 2 and isinstance(node.args[1], fx.Node) else ""
    return layer_step(call, m, _base(x).name, node.name, _arrays(parts, slot, call), residual)


def _experts(
    node: fx.Node, values: Mapping[fx.Node, Any], parts: Parts, calls: Mapping[int, Sequence[KernelCall]]
) -> list[Step | None]:
    """A step for every expert that an equal share gives rows. All of them read and write from the same addresses on."""
    x, _, slots, _ = node.args
    assert isinstance(x, fx.Node)
    rows, found = int(values[node].shape[0]), list[Step | None]()
    for expert, slot in enumerate(slots):  # type: ignore[arg-type]
        m = rows // len(slots) + (expert < rows % len(slots))  # type: ignore[arg-type]
        if m:
            call = next((c for c in calls[slot] if m in c.rows), calls[slot][0])
            found.append(layer_step(call, m, _base(x).name, node.name, _arrays(parts, slot, call)))
    return found


def _arrays(parts: Parts, slot: int, call: KernelCall) -> dict[str, Any]:
    record = parts.slots[slot]
    for packed in record.packed:
        if packed.encoding == call.encoding and packed.dtype == call.weight_dtype:
            return dict(bit_views(packed.buffers, packed.dtype))
    if record.weight is None:
        return {}
    return dict(bit_views({"values": record.weight.contiguous()}, record.dtype))


def _attention(
    node: fx.Node, values: Mapping[fx.Node, Any], reads: tuple[Operand, ...], written: tuple[Operand, ...]
) -> Step:
    q, k, v = (values[n] for n in node.all_input_nodes[:3])
    batch = q.numel() // max(1, q.shape[-1] * q.shape[-2])
    return Step(
        node.name, "attention", reads, written[:1], batch=batch, m=int(q.shape[-2]), n=int(k.shape[-2]),
        k=int(q.shape[-1]), value_features=int(v.shape[-1]),
    )  # fmt: skip


def _tiles_attention(
    node: fx.Node, values: Mapping[fx.Node, Any], reads: tuple[Operand, ...], written: tuple[Operand, ...]
) -> Step:
    args: Any = node.args
    q, _, _, _, _, count, width, length, _, _ = args
    batch = values[q].shape[0] // -(-length // ops.LANES) * count
    return Step(node.name, "attention", reads, written, batch=batch, m=length, n=length, k=width, value_features=width)


def _product(node: fx.Node, values: Mapping[fx.Node, Any], written: Operand) -> tuple[int, int, int, int]:
    """(batch, m, n, k) of a product that is no layer of the plan."""
    op = _name(node)
    tensors = [values[i] for i in node.all_input_nodes if isinstance(values[i], torch.Tensor)]
    a, b = tensors[1:3] if op in ("addmm", "baddbmm") else (tensors[0], tensors[-1 if len(tensors) < 2 else 1])
    if op.startswith("conv"):
        per = b.numel() // max(1, b.shape[0])
        return 1, written.elements // max(1, int(b.shape[0])), int(b.shape[0]), per
    k = int(a.shape[-1])
    m = int(a.shape[-2]) if a.dim() > 1 else 1
    n = max(1, written.shape[-1]) if written.shape else 1
    return max(1, written.elements // max(1, m * n)), m, n, k


def _name(node: fx.Node) -> str:
    target = node.target
    packet = getattr(target, "overloadpacket", None)
    name = packet.__name__ if packet is not None else getattr(target, "__name__", str(target))
    return name.rstrip("_") if not name.startswith("_") else name


def _operands(nodes: Sequence[fx.Node], values: Mapping[fx.Node, Any]) -> tuple[Operand, ...]:
    """Tensors that nodes gave; a view is the tensor that it looks at, as much of it as it shows."""
    found = []
    for node in nodes:
        given = values[node]
        for i, value in enumerate(given if isinstance(given, tuple | list) else (given,)):
            if isinstance(value, torch.Tensor):
                base = _base(node)
                name = base.name if i == 0 else f"{base.name}/{i}"
                kind = str(value.dtype).removeprefix("torch.")
                found.append(Operand(name, tuple(map(int, value.shape)), kind, value.numel() * value.element_size()))
    return tuple(found)


def _base(node: fx.Node) -> fx.Node:
    """The node whose memory a chain of views looks at."""
    while node.op == "call_function" and _name(node) in _VIEWS and node.all_input_nodes:
        node = node.all_input_nodes[0]
    return node
