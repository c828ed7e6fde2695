"""Changing a graph: new constants beside the old ones, and fake values brought up to date."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import torch
from torch import fx, nn
from torch._dispatch.python import enable_python_dispatcher
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from spcomp.passes.dataflow import is_mutable, same_size, shape_of
from spcomp.passes.origins import Origins, identity


def add_constant(
    gm: fx.GraphModule, target: str, tensor: torch.Tensor, word: str, before: fx.Node, origins: Origins | None = None
) -> fx.Node:
    """A ``get_attr`` node of a new tensor. ``fc.weight`` becomes ``fc.<word>.weight``, numbered if that is taken.

    With ``origins``, one name means one tensor in all programs.
    """
    path, _, name = target.rpartition(".")
    number = 1
    while True:
        inner = ".".join(p for p in (path, word if number == 1 else f"{word}{number}") if p)
        owner: nn.Module = gm
        for part in inner.split("."):
            owner = _child(owner, part)
        there = getattr(owner, name, None)
        again = origins is not None and isinstance(there, torch.Tensor) and identity(there) == identity(tensor)
        if (there is None or again) and (origins is None or origins.claim(f"{inner}.{name}", tensor, target)):
            break
        number += 1
    if there is None and tensor.is_floating_point():
        owner.register_parameter(name, nn.Parameter(tensor.detach(), requires_grad=False))
    elif there is None:
        owner.register_buffer(name, tensor)
    with gm.graph.inserting_before(before):
        node = gm.graph.create_node("get_attr", f"{inner}.{name}")
    mode = fake_mode(gm)
    node.meta["val"] = tensor if mode is None else _faked(mode, tensor, _device_near(gm, target, before))
    return node


def _device_near(gm: fx.GraphModule, target: str, before: fx.Node) -> torch.device:
    """Where a new constant is: with the one that it is named after, else with the node that it is made for."""
    held = [n for n in gm.graph.nodes if n.op == "get_attr"]
    if not held or all(_device(n).type == "cpu" for n in (held[0], before)):
        return torch.device("cpu")
    return _device(next((n for n in held if str(n.target) == target and "val" in n.meta), before))


def _device(node: fx.Node) -> torch.device:
    value = node.meta.get("val")
    return value.device if isinstance(value, torch.Tensor) else torch.device("cpu")


def _child(owner: nn.Module, name: str) -> nn.Module:
    if not hasattr(owner, name):
        owner.add_module(name, nn.Module())
    found = getattr(owner, name)
    assert isinstance(found, nn.Module)
    return found


def fake_mode(gm: fx.GraphModule) -> FakeTensorMode | None:
    """The mode of the graph's fake values."""
    for node in gm.graph.nodes:
        if isinstance(value := node.meta.get("val"), FakeTensor):
            return value.fake_mode
    return None


def _faked(mode: FakeTensorMode, tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A new fake tensor that looks like another tensor of fixed sizes, without asking the dispatcher.

    ``device``: where the model has it, which looks at its constants on the CPU.
    """
    meta = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")
    return FakeTensor(mode, meta, device)


def refresh(gm: fx.GraphModule, changed: set[fx.Node]) -> None:
    """Bring ``meta["val"]`` up to date, of ``changed`` nodes and of all that looks different because of them.

    A network repeats itself: what an op makes of tensors of fixed sizes is worked out once.
    """
    mode = fake_mode(gm)
    dirty = set(changed)
    worked_out: dict[Hashable, torch.Tensor] = {}
    for node in gm.graph.nodes:
        if node.op != "call_function" or not (node in dirty or any(s in dirty for s in node.all_input_nodes)):
            continue
        args, kwargs = fx.map_arg((node.args, dict(node.kwargs)), lambda n: n.meta.get("val"))
        if mode is None:
            made = node.target(*args, **kwargs)
        else:
            key = _call_key(node, args, kwargs)
            if key is not None and key in worked_out:
                made = _faked(mode, worked_out[key], worked_out[key].device)
            else:
                with mode, enable_python_dispatcher(), torch.no_grad():
                    made = node.target(*args, **kwargs)
                if key is not None and _fixed(made):
                    worked_out[key] = made
        if not _looks_like(made, node.meta.get("val")):
            dirty.add(node)
        node.meta["val"] = made
        node.meta.pop("tensor_meta", None)


def _call_key(node: fx.Node, args: Any, kwargs: Any) -> Hashable:
    """Equal for calls of one ATen op with arguments that look alike; None where a call cannot be compared."""
    if not hasattr(node.target, "_schema") or is_mutable(node):
        return None
    try:
        key = node.target, _look(args), _look(tuple(sorted(kwargs.items())))
        hash(key)
    except TypeError:
        return None
    return key


def _look(value: Any) -> Hashable:
    """What an op sees of an argument, where all sizes are fixed numbers. Raises TypeError where they are not."""
    if isinstance(value, torch.Tensor):
        if not _fixed(value):
            raise TypeError("a symbolic size")
        return value.dtype, value.device, tuple(value.shape), value.stride(), value.storage_offset()
    if isinstance(value, list | tuple):
        return tuple(_look(v) for v in value)
    if isinstance(value, torch.SymInt | torch.SymFloat | torch.SymBool):
        raise TypeError("a symbolic number")
    return type(value), value


def _fixed(value: Any) -> bool:
    """Whether a value is a plain tensor of fixed sizes."""
    if not isinstance(value, torch.Tensor) or value.layout is not torch.strided:
        return False
    return all(type(n) is int for n in (*value.shape, *value.stride(), value.storage_offset()))


def _looks_like(a: Any, b: Any) -> bool:
    """Whether two values are tensors of one shape, layout and dtype: what is computed of them stays as it was."""
    if not isinstance(a, torch.Tensor) or not isinstance(b, torch.Tensor) or a.dim() != b.dim():
        return False
    sizes = zip((*a.shape, *a.stride()), (*b.shape, *b.stride()), strict=True)
    return a.dtype == b.dtype and all(same_size(one, other) for one, other in sizes)


def remove_dead_code(gm: fx.GraphModule) -> bool:
    """Drop nodes that nobody reads; what writes in place stays. Checks of a dropped value's dtype go with it."""
    check = torch.ops.aten._assert_tensor_metadata.default
    changed = False
    for node in reversed(list(gm.graph.nodes)):
        if node.op not in ("call_function", "get_attr") or is_mutable(node):
            continue
        if node.target is check and shape_of(node.args[0]) is not None:
            given = node.args[0]
            if isinstance(given, fx.Node) and given.op != "placeholder":
                gm.graph.erase_node(node)  # its dtype and device are those of the op that made it
                changed = True
            continue
        if not node.users and not (node.op == "call_function" and _impure(node)):
            gm.graph.erase_node(node)
            changed = True
    return changed


def _impure(node: fx.Node) -> bool:
    plain = hasattr(node.target, "_schema") or getattr(node.target, "__module__", "") == "_operator"
    return not plain or _checks(node.target)


def _checks(target: Any) -> bool:
    """Ops that return nothing are there for what they do."""
    return hasattr(target, "_schema") and not target._schema.returns
