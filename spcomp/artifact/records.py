"""Programs and slot records from a manifest, each checked: nothing in the file is believed."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.fx.experimental.symbolic_shapes import statically_known_true

from spcomp import ops
from spcomp.artifact.allow import OWN
from spcomp.artifact.archive import bad
from spcomp.artifact.fitting import fits
from spcomp.artifact.graph import graph_from_json
from spcomp.artifact.pool import Views
from spcomp.artifact.saving import unplain
from spcomp.artifact.trees import load_tree
from spcomp.codegen.fake import refake
from spcomp.conv_shape import ConvShape
from spcomp.encodings.pack import TORCH_DTYPES, PackedTensor
from spcomp.parts import LAID_DOWN, Program
from spcomp.passes.base import Norm
from spcomp.plan import Epilogue, KernelCall, RowRange, TensorSpec
from spcomp.record import SlotRecord
from spcomp.signature import Constant, Signature, evaluate

OURS = ("direct", LAID_DOWN)
"""Engines that need no Inductor."""
ENGINES = ("inductor", *OURS, "eager")
_LARGEST = 1 << 48


def read_program(data: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], gpus: frozenset[str]) -> Program:
    """One program, its graph made but not yet checked against the kernels: see :func:`check_graph`. ``gpus``: the only
    ones that it may name."""
    signature = read_signature(unplain(data["signature"]))
    gm = graph_from_json(data["graph"])
    for node in gm.graph.nodes:
        for value in torch.utils._pytree.tree_leaves((node.args, dict(node.kwargs))):
            known = gpus | ({"cuda"} if gpus else frozenset())
            if isinstance(value, torch.device) and value.type != "cpu" and str(value) not in known:
                raise bad("the graph", f"{node.name} with the argument {value}, where nothing of the model is")
    lifted, hints = data["lifted"], data["hints"]
    if not isinstance(lifted, list) or any(name not in tensors for name in lifted):
        raise bad("a program", "weights in its graph that are not in the file")
    if not isinstance(hints, dict) or any(type(v) is not int or not 0 < v < _LARGEST for v in hints.values()):
        raise bad("a program", f"sizes to compile for: {str(hints)[:80]}")
    if missing := signature.symbols.keys() - hints.keys():
        raise bad("a program", f"no size to compile for {sorted(missing)[0]}")
    inputs = sum(n.op == "placeholder" for n in gm.graph.nodes)
    if inputs != len(lifted) + len(signature.leaves):
        found = f"{inputs} inputs of the graph, {len(lifted)} weights and {len(signature.leaves)} inputs"
        raise bad("a program", found)
    (output,) = (n for n in gm.graph.nodes if n.op == "output")
    if len(output.args[0]) != signature.out_tree.num_leaves:
        raise bad("a program", f"{len(output.args[0])} outputs of the graph, another number in its structure")
    if data["engine"] not in ENGINES or not isinstance(data["note"], str):
        raise bad("a program", f"the engine {str(data['engine'])[:40]!r}")
    program = Program(signature, gm, tuple(lifted), gm, "eager", hints=hints)
    if data["engine"] in OURS:
        program.engine, program.note = data["engine"], data["note"]
    return program


def torch_device(text: object) -> str:
    """The name of a torch device out of a file. Raises :class:`ArtifactError` for anything else."""
    if not isinstance(text, str) or not re.fullmatch(r"cpu|cuda:[0-9]{1,2}", text, re.ASCII):
        raise bad("the manifest", f"the device {str(text)[:40]!r}")
    return text


def read_signature(data: Any) -> Signature:
    """A signature, its structures, sizes and constants checked."""
    trees = [load_tree(data["in_tree"]), load_tree(data["out_tree"])]
    signature = Signature.from_dict(data)
    if len([torch_device(d) for d in signature.devices]) not in (0, len(signature.leaves)):
        raise bad("the signature", f"{len(signature.devices)} devices of {len(signature.leaves)} inputs")
    kinds = {kind.name for kind in inspect._ParameterKind}
    for p in signature.parameters:
        if (
            not isinstance(p.name, str)
            or not p.name.isidentifier()
            or p.kind not in kinds
            or type(p.optional) is not bool
        ):
            raise bad("the signature", f"the parameter {str(p.name)[:40]!r}")
    top = trees[0]
    if (
        top.type is not tuple
        or [c.type for c in top.children()] != [tuple, dict]
        or top.num_leaves != len(signature.leaves)
    ):
        raise bad("the signature", "inputs that are no arguments and keyword arguments")
    for name, symbol in signature.symbols.items():
        good = isinstance(name, str) and name.isidentifier() and type(symbol.lo) is int and 0 <= symbol.lo < _LARGEST
        if not good or (
            symbol.hi is not None and (type(symbol.hi) is not int or not symbol.lo <= symbol.hi < _LARGEST)
        ):
            raise bad("the signature", f"the dynamic size {str(name)[:40]!r}")
    values = {name: max(symbol.lo, 2) for name, symbol in signature.symbols.items()}
    for leaf in signature.leaves:
        if isinstance(leaf, Constant):
            if not isinstance(leaf.value, int | float | str | None):
                raise bad("the signature", f"the constant {str(leaf.value)[:40]!r}")
            continue
        _check_spec(leaf, values)
    return signature


def _check_spec(spec: TensorSpec, values: Mapping[str, int]) -> None:
    if not isinstance(spec.dtype, str) or not isinstance(getattr(torch, spec.dtype, None), torch.dtype):
        raise bad("the signature", f"the dtype {str(spec.dtype)[:40]!r}")
    for size in spec.shape:
        if type(size) is int and 0 <= size < _LARGEST:
            continue
        if not isinstance(size, str):
            raise bad("the signature", f"the size {str(size)[:40]!r}")
        evaluate(size, values)


def read_record(
    data: Mapping[str, Any], views: Mapping[str, Any], pool: Views, calls: Sequence[KernelCall]
) -> SlotRecord:
    """One slot, its buffers checked against the plan's calls: what a kernel is given is what it was compiled for."""
    record = SlotRecord(
        data["slot"], data["layer"], data["weight_name"], data["bias_name"], Epilogue(**data["epilogue"]),
        None if data["bias"] is None else pool.get(views[data["bias"]]),
        tuple(_read_packed(p, views, pool) for p in data["packed"]),
        None if data["weight"] is None else pool.get(views[data["weight"]]),
        tuple(RowRange(*d) for d in data["domains"]),
        None if data["conv"] is None else ConvShape.from_dict(data["conv"]),
        None if data["scale"] is None else pool.get(views[data["scale"]]),
        None if data["norm"] is None else _read_norm(unplain(data["norm"])),
        data["zero_inputs"],
        None if data.get("int8_scale") is None else pool.get(views[data["int8_scale"]]),
        calls[0].dtype, experts=data.get("experts", 0), where=torch_device(data.get("where", "cpu")),
    )  # fmt: skip
    first = calls[0]
    where = f"the layer {str(record.layer)[:80]}"
    names = [record.layer, record.weight_name, *([] if record.bias_name is None else [record.bias_name])]
    names += [] if record.norm is None else record.norm.names()
    if not all(isinstance(name, str) for name in names) or not record.domains:
        raise bad(where, "no names or no row counts")
    if any(type(v) is not int for d in record.domains for v in (d.lo, d.hi) if v is not None):
        raise bad(where, "row counts that are no integers")
    if first.dtype not in TORCH_DTYPES or any(type(v) is not int or not 0 <= v < _LARGEST for v in (first.n, first.k)):
        raise bad(where, f"a {first.n} x {first.k} weight in {first.dtype}")
    for call in calls:
        _check_call(call, record, first, where)
    dtype, shape = TORCH_DTYPES[first.dtype], (first.n, first.k)
    if record.weight is not None and (record.weight.dtype is not dtype or tuple(record.weight.shape) != shape):
        raise bad(where, f"a dense weight of shape {tuple(record.weight.shape)}, the plan says {shape}")
    if (record.bias is not None) != record.epilogue.bias:
        raise bad(where, "a bias where there is none, or none where there is one")
    share = record.zero_inputs
    if share is not None and (type(share) is not float or not 0 <= share <= 1):
        raise bad(where, f"{str(share)[:40]} of its inputs zero")
    if (record.scale is not None) != record.epilogue.scale:
        raise bad(where, "a scale where there is none, or none where there is one")
    for kind, vector in (("bias", record.bias), ("scale", record.scale)):
        if vector is not None and (vector.dtype is not dtype or tuple(vector.shape) != (first.n,)):
            raise bad(where, f"a {kind} of shape {tuple(vector.shape)}, the plan says {(first.n,)}")
    if record.weight is None and not record.packed:
        raise bad(where, "no weight")
    rounded = record.int8_scale
    if rounded is not None and (rounded.dtype is not torch.float32 or tuple(rounded.shape) != (first.n,)):
        raise bad(where, f"int8 scales of shape {tuple(rounded.shape)}, the plan says {(first.n,)}")
    dtypes = {first.dtype} if rounded is None else {first.dtype, "int8"}
    if any(p.shape != shape or p.dtype not in dtypes for p in record.packed):
        raise bad(where, f"a packed weight that is not {shape} in {first.dtype}")
    return record


def _check_call(call: KernelCall, record: SlotRecord, first: KernelCall, where: str) -> None:
    same = (call.n, call.k, call.dtype, call.slot, call.layer) == (
        first.n,
        first.k,
        first.dtype,
        record.slot,
        record.layer,
    )
    rows = (call.rows.lo, 0 if call.rows.hi is None else call.rows.hi)
    counts = (call.nonzeros, call.stored, call.weight_nbytes, *rows, *(v for _, v in call.schedule))
    if not same or call.epilogue != record.epilogue or (call.conv, call.experts) != (record.conv, record.experts):
        raise bad(where, "a plan that is of another layer")
    if any(type(v) is not int or not 0 <= v < _LARGEST for v in counts) or not isinstance(call.backend, str):
        raise bad(where, f"a call with the numbers {str(counts)[:80]}")
    if call.backend.startswith("dense."):
        if record.weight is None:
            raise bad(where, "a dense kernel without a dense weight")
    elif all(
        (p.encoding, p.nonzeros, p.dtype) != (call.encoding, call.nonzeros, call.weight_dtype) for p in record.packed
    ):
        raise bad(where, f"a call on {call.encoding}, which is not in the file")


def _read_norm(data: Mapping[str, Any]) -> Norm:
    norm = Norm(**data)
    if not isinstance(norm.mean, str) or not isinstance(norm.var, str) or not isinstance(norm.eps, float):
        raise bad("a BatchNorm", f"{str(data)[:120]}")
    return norm


def _read_packed(data: Mapping[str, Any], views: Mapping[str, Any], pool: Views) -> PackedTensor:
    buffers = {name: pool.get(views[key]) for name, key in data["buffers"].items()}
    return PackedTensor.from_buffers(data["manifest"], buffers)


def check_graph(program: Program, tensors: Mapping[str, torch.Tensor], calls: Sequence[KernelCall]) -> None:
    """Run the graph on fake tensors (nothing is computed) and hold every kernel's input against its weight.

    ``calls``: one of each slot. Kernels read memory by address: an input of another width must not reach
    them. Leaves ``meta["val"]`` on every node.
    """
    lifted = [tensors[name] for name in program.lifted]
    signature = program.signature
    try:
        refake(program.gm, lifted, signature, program.hints)
    except Exception as error:  # torch raises anything for a graph that makes no sense
        first = str(error).splitlines()[0][:200] if str(error) else ""
        raise bad("the graph", f"operators that do not fit together ({type(error).__name__}: {first})") from error
    for node in program.gm.graph.nodes:
        if node.target in OWN.values() and not fits(node, calls):
            raise bad("the graph", f"{node.name}, which calls a kernel with an input that is not its own")


def gathered(programs: Sequence[Program]) -> set[int]:
    """Slots of which the checked graphs read single rows."""
    nodes = (n for p in programs for n in p.gm.graph.nodes if n.target is ops.EMBEDDING)
    return {slot for node in nodes if isinstance(slot := node.args[1], int)}


def unproven(program: Program) -> str | None:
    """Why the graph may only run eagerly, or None. Inductor trusts ``as_strided`` to stay inside its storage; eager
    checks it at every call. To be asked after :func:`check_graph`."""
    aten = torch.ops.aten
    for node in program.gm.graph.nodes:
        if node.target in (aten.as_strided_copy.default, aten.as_strided_scatter.default):
            return f"{node.name} reads or writes at free strides"
        if node.target is not aten.as_strided.default:
            continue
        if not statically_known_true(_reach(node.meta["val"]) <= _reach(node.args[0].meta["val"])):
            return f"{node.name} reads at free strides that cannot be checked ahead"
    return None


def _reach(view: torch.Tensor) -> Any:
    """Elements of its storage that a view needs. Neither its own number (``expand`` repeats) nor the storage's (a fake
    one grows where ``as_strided`` leaves it) says so."""
    return sum((n - 1) * s for n, s in zip(view.shape, view.stride(), strict=True)) + 1 + view.storage_offset()
