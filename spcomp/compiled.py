"""`CompiledModule`: what ``compile`` and ``load`` hand out. Called like the original; explains itself."""

from __future__ import annotations

import copy
import logging
import threading
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn, Self

import torch
from torch import nn
from torch.nn.modules.module import _IncompatibleKeys as IncompatibleKeys
from torch.utils import _pytree as pytree

from spcomp import ops
from spcomp.errors import InputError, StateError
from spcomp.parts import Parts, Program
from spcomp.plan import KernelPlan
from spcomp.report.explain import Explanation
from spcomp.resident import resident_nbytes
from spcomp.signature import Signature, bind
from spcomp.warming import warm

log = logging.getLogger("spcomp")


Build = Callable[[tuple[Any, ...], Mapping[str, Any]], Parts]


class CompiledModule(nn.Module):
    """A compiled model. Call it like the original; it computes without gradients.

    Made by :func:`spcomp.compile` and :func:`spcomp.load`. If it was made without example inputs, the first call
    captures and compiles.
    """

    def __init__(self, parts: Parts | None, *, build: Build | None = None, original: nn.Module | None = None) -> None:
        super().__init__()
        self._parts = parts
        self._build = build
        self._lock = threading.Lock()
        self._original = weakref.ref(original) if original is not None else None
        self.training = False

    # -- running ------------------------------------------------------------------------------------------------

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Whatever the original returns for these inputs. Raises :class:`InputError` for inputs of another shape."""
        parts = self._parts
        if parts is None:
            parts = self._capture(args, kwargs)
        if parts.quick is not None and not kwargs:
            y = parts.quick(*args)
            if y is not None:
                return y
        return _call(parts, args, kwargs)

    def _capture(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Parts:
        with self._lock:
            if self._parts is None:
                assert self._build is not None
                self._parts = self._build(args, kwargs)
                self._build = None
            return self._parts

    @property
    def parts(self) -> Parts:
        """What it is made of. Raises :class:`StateError` before the first call of a model without examples."""
        if self._parts is None:
            raise StateError(
                "look into a compiled model",
                "it has not been captured yet",
                "call it once, or give compile() an example",
            )
        return self._parts

    def warmup(self) -> Self:
        """Run every program once on zeros, and on GPUs every kernel at the row counts that it serves, so that the
        first request pays nothing."""
        warm(self.parts)
        return self

    # -- looking ------------------------------------------------------------------------------------------------

    @property
    def plan(self) -> KernelPlan:
        """Every kernel call as data."""
        return self.parts.plan

    def explain(self) -> Explanation:
        """What was found, chosen and measured, layer by layer. Prints as a table; ``to_dict()`` for machines."""
        parts = self.parts
        engines = tuple(p.described for p in parts.programs)
        read = [r.layer for r, slot in zip(parts.slots, parts.table, strict=True) if slot.gather is not None]
        notes = (*parts.notes, *(f"{layer}: an embedding reads rows of the same weight" for layer in read))
        targets = tuple(d.title for d in parts.devices)
        return Explanation(parts.decisions, engines, notes, parts.plan.digest, self.nbytes, self.dense_nbytes, targets)

    @property
    def nbytes(self) -> int:
        """Bytes resident: packed weights, dense weights, tables, and what stayed in the graph; each copy once."""
        return resident_nbytes(self.parts)

    @property
    def dense_nbytes(self) -> int:
        """Bytes of the same weights and buffers held dense, once each."""
        parts = self.parts
        if parts.whole_nbytes:
            return parts.whole_nbytes
        sizes = {name: t.nbytes for name, t in parts.tensors.items()}
        sizes |= {str(r.bias_name): r.bias.nbytes for r in parts.slots if r.bias is not None}
        sizes |= {r.weight_name: d.dense_nbytes for d, r in zip(parts.decisions, parts.slots, strict=True)}
        return sum(sizes.values())

    def verify(self, *args: Any, **kwargs: Any) -> Any:
        """Compare with the original on these inputs, layer by layer: :class:`spcomp.report.verification.Verification`.

        Every compiled layer is checked against the float64 reference on the inputs that it meets in this run. Its
        ``first_bad`` names the first layer outside its dtype's tolerance. The whole output is compared with the
        original model too, while that is alive.
        """
        from spcomp.verify import verify_parts

        parts = self.parts
        return verify_parts(parts, self._original() if self._original is not None else None, args, kwargs)

    # -- keeping ------------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> Path:
        """Write the model to ``path`` (one file). See :mod:`spcomp.artifact`."""
        from spcomp.artifact import save

        return save(self.parts, Path(path))

    def update_weights(self, model: nn.Module) -> Self:
        """Take the weights of ``model`` (same architecture) and pack them again; kernels change where zeros moved."""
        from spcomp.repack import repack, state_of_model

        self._parts = repack(self.parts, state_of_model(model))
        self._original = weakref.ref(model)
        return self

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """The original's state bit by bit, but for weights that its forward never uses; copies on the CPU of a model on
        a GPU. Of what was cut, little is kept in memory, and much on disk; :class:`StateError` where it could not be,
        or the model was loaded from a file, which leaves it out."""
        if args or kwargs.get("prefix"):
            raise StateError("nest a compiled model in a state_dict", "a prefix was asked for", "saving it by itself")
        parts = self._parts
        if parts is None:
            return {}
        state = {name: t.cpu() for name, t in parts.tensors.items() if not name.startswith("_lifted_tensor_")}
        for record in parts.slots:
            state[record.weight_name] = record.original_weight()
            if record.bias_name is not None and record.bias is not None:
                state[record.bias_name] = record.bias
        return parts.state.complete(state)

    def load_state_dict(self, state_dict: Mapping[str, torch.Tensor], strict: bool = True, assign: bool = False) -> Any:
        """Pack copies of the tensors in ``state_dict``, as :meth:`update_weights` does; torch's (missing, unexpected)
        keys. What the original's forward never reads is unexpected, and no error. Raises :class:`StateError` where
        something is missing (``strict``) or for ``assign``, :class:`InputError` for another shape or dtype."""
        from spcomp.repack import completed, repack

        if assign:
            raise StateError("assign tensors to a compiled model", "its weights are packed", "assign=False")
        own = self.state_dict()
        missing = [name for name in own if name not in state_dict]
        self._parts = repack(self.parts, completed(self.parts, own, state_dict, strict))
        self._original = None
        return IncompatibleKeys(missing, [name for name in state_dict if name not in own])

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Self:
        probe = torch.zeros(1, dtype=torch.float32, device="cpu")
        moved = fn(probe)
        if moved.dtype != probe.dtype or moved.device != probe.device:
            raise StateError(
                f"move a compiled model to {moved.dtype} on {moved.device}",
                "kernels are generated for one dtype and device",
                "converting the original, then spcomp.compile again",
            )  # fmt: skip
        return self

    def train(self, mode: bool = True) -> Self:
        if mode:
            raise StateError(
                "train a compiled model", "it is compiled for inference",
                "training the original, then compiled.update_weights(original)",
            )  # fmt: skip
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> CompiledModule:
        parts = self._parts
        if parts is None:
            raise StateError("copy a compiled model", "it has not been captured yet", "calling it once first")
        other = CompiledModule(None)
        tensors = {name: tensor.clone() for name, tensor in parts.tensors.items()}
        other._parts = copy.copy(parts)
        other._parts.tensors = tensors
        vars(other._parts).pop("quick", None)
        other._original = self._original
        memo[id(self)] = other
        return other

    def __reduce__(self) -> NoReturn:
        raise StateError(
            "pickle a compiled model", "it holds machine code", "compiled.save(path) and spcomp.load(path)"
        )

    def __repr__(self) -> str:
        if self._parts is None:
            return "CompiledModule(captured at its first call)"
        sparse = sum(d.sparse for d in self._parts.decisions)
        return f"CompiledModule({sparse} of {len(self._parts.decisions)} layers sparse, {self.nbytes / 1e6:.1f} MB)"

    def _repr_html_(self) -> str:
        return self.explain()._repr_html_() if self._parts is not None else repr(self)


def _call(parts: Parts, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    first = parts.programs[0].signature
    if args and not kwargs and len(args) == first.tensors_taken and all(isinstance(a, torch.Tensor) for a in args):
        flat: list[Any] = list(args)
    else:
        args, kwargs = bind(first.parameters, args, kwargs)
        flat, tree = pytree.tree_flatten((args, kwargs))
        if tree != first.in_tree:
            raise InputError(
                "call a compiled model",
                f"inputs of structure {_line(tree)}",
                f"the captured one: {_line(first.in_tree)}",
            )
    if torch.is_grad_enabled() and any(isinstance(t, torch.Tensor) and t.requires_grad for t in flat):
        raise InputError(
            "run a compiled model",
            "an input that requires grad",
            "torch.no_grad(), or x.detach(): it computes no gradients",
        )
    reason = None
    for program in parts.programs:
        found = program.signature.mismatch(flat)
        if found is None:
            return program.signature.result(_run(parts, program, flat))
        reason = reason or found
    return _unusual(parts, flat, reason or "")


def _unusual(parts: Parts, flat: list[Any], reason: str) -> Any:
    """Empty batches run eagerly through the dynamic program; anything else is an error."""
    program = parts.programs[0]
    empty = [t for t in flat if isinstance(t, torch.Tensor) and t.numel() == 0]
    if empty and program.signature.symbols:
        relaxed = Signature(
            program.signature.parameters, program.signature.in_tree, program.signature.leaves,
            program.signature.out_tree,
            {name: type(s)(0, s.hi) for name, s in program.signature.symbols.items()}, program.signature.devices,
        )  # fmt: skip
        if relaxed.mismatch(flat) is None:
            with torch.no_grad(), ops.active(parts.table):
                out = program.gm(*(parts.tensors[name] for name in program.lifted), *flat)
            return pytree.tree_unflatten(out, program.signature.out_tree)
    sizes = "; ".join(dict.fromkeys(p.signature.describe() for p in parts.programs))
    raise InputError(
        "call a compiled model", reason,
        f"inputs like the captured ones ({sizes}), or compile with a second example whose sizes differ to make them "
        "dynamic",
    )  # fmt: skip


def _run(parts: Parts, program: Program, flat: list[Any]) -> Any:
    tensors = parts.tensors
    if program.lone is not None and not torch.is_autocast_enabled("cpu"):
        with ops.without_gradients():
            return (parts.table[program.lone](*flat),)
    if program.alone is not None:
        found = program.alone(parts.table, [*[tensors[name] for name in program.lifted], *flat])
        if found is not None:
            return found
    with ops.without_gradients(), ops.active(parts.table):
        return program.run(*[tensors[name] for name in program.lifted], *flat)


def _line(tree: pytree.TreeSpec) -> str:
    return " ".join(str(tree).split())
