"""Where the constants of a model are. Passes look at weights on the CPU: those on a GPU are copied, and found again.

before:  %w : get_attr[fc.weight]   (cuda:0)
after:   the same graph, its attributes on the CPU; the nodes' fake values still say cuda:0, and so do what the passes
         make of them. What is lifted in the end goes back: to the model's own tensor, if it is one of those.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import fx, nn

from spcomp.capture import Captured
from spcomp.parts import Program
from spcomp.passes.base import attribute
from spcomp.passes.origins import identity


@dataclass(eq=False)
class Placing:
    """Copies on the CPU of tensors that are elsewhere; views of one memory are views of one copy."""

    _storages: dict[tuple[str, int], tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)
    """(device, address of a memory) -> a tensor in it, kept so that the address stays its own; the copy's bytes."""
    _back: dict[tuple[object, ...], torch.Tensor] = field(default_factory=dict)
    """Identity of a copy -> the tensor that it was copied of."""
    _made: dict[tuple[object, ...], tuple[torch.Tensor, weakref.ref[torch.Tensor]]] = field(default_factory=dict)
    """(identity, device) -> a tensor on the CPU, kept so that its address stays its own, and its copy there."""

    def __len__(self) -> int:
        return len(self._storages)

    def home(self, tensor: torch.Tensor) -> torch.Tensor:
        """The same on the CPU: itself, if it is there."""
        return tensor if tensor.device.type == "cpu" else self.copied(tensor)

    def copied(self, tensor: torch.Tensor) -> torch.Tensor:
        """A copy on the CPU that shares memory with the copies of what this shares memory with."""
        storage = tensor.untyped_storage()
        key = (str(tensor.device), storage.data_ptr())
        if key not in self._storages:
            whole = torch.empty(0, dtype=torch.uint8, device=tensor.device).set_(storage)
            self._storages[key] = tensor, whole.to("cpu", copy=True)
        there = self._storages[key][1].untyped_storage()
        made = torch.empty(0, dtype=tensor.dtype).set_(there, tensor.storage_offset(), tensor.shape, tensor.stride())
        if tensor.numel():
            self._back.setdefault(identity(made), tensor.detach())
        return made

    def there(self, tensor: torch.Tensor, where: str) -> torch.Tensor:
        """A constant on the device ``where``: the model's own, if it has it there, else a copy."""
        if where == "cpu":
            return tensor
        own = self._back.get(identity(tensor))
        if own is not None and str(own.device) == where:
            return own
        key = (*identity(tensor), where)
        known = self._made.get(key)
        made = None if known is None or not tensor.numel() else known[1]()
        if made is None:
            made = tensor.to(where)
            self._made[key] = tensor, weakref.ref(made)
        return made

    def brought_home(self, captured: Captured) -> Captured:
        """The program with its constants on the CPU; the same object if they are."""
        gm, moved = captured.gm, False
        for node in gm.graph.nodes:
            value = attribute(gm, node) if node.op == "get_attr" else None
            if isinstance(value, torch.Tensor) and value.device.type != "cpu":
                _put(gm, str(node.target), self.home(value.detach()))
                moved = True
        if not moved:
            return captured
        return replace(captured, state={name: self.home(t.detach()) for name, t in captured.state.items()})


def _put(gm: fx.GraphModule, target: str, value: torch.Tensor) -> None:
    path, _, name = target.rpartition(".")
    owner = gm.get_submodule(path)
    if name in owner._parameters:
        owner._parameters[name] = nn.Parameter(value, requires_grad=False)
    else:
        setattr(owner, name, value)


def homes(programs: Sequence[Program]) -> dict[str, str]:
    """Of the lifted constants of freshly lowered programs, those that are not on the CPU: name -> torch device."""
    found: dict[str, str] = {}
    for program in programs:
        placeholders = [n for n in program.gm.graph.nodes if n.op == "placeholder"]
        for name, node in zip(program.lifted, placeholders, strict=False):
            value = node.meta.get("val")
            if isinstance(value, torch.Tensor) and value.device.type != "cpu":
                found[name] = str(value.device)
    return found


def placed(tensors: dict[str, torch.Tensor], where: Mapping[str, str], placing: Placing) -> dict[str, torch.Tensor]:
    """Constants on their devices; the same object where all are on the CPU."""
    if not where:
        return tensors
    return {name: placing.there(t, where.get(name, "cpu")) for name, t in tensors.items()}
