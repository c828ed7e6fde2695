"""Run a compiled model once, eagerly, and hold every kernel against the reference on the inputs it meets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from spcomp import ops
from spcomp.check import finite, relative_error
from spcomp.codegen.dense import best_dense
from spcomp.codegen.dense_device import best_dense as best_device_dense
from spcomp.codegen.reference.int8 import relative_bound
from spcomp.conv_layout import Padded, natural
from spcomp.encodings.dense import Dense
from spcomp.errors import InputError
from spcomp.parts import Parts
from spcomp.passes.base import input_size
from spcomp.record import SlotRecord
from spcomp.report.verification import LayerCheck, Verification
from spcomp.signature import bind
from spcomp.tolerance import TOLERANCES


@dataclass(eq=False)
class _Watched:
    """A slot that checks each result it gives."""

    slot: ops.SlotKernels
    record: SlotRecord
    dtype: str
    checks: list[LayerCheck]
    k: int = field(default=0)

    def __call__(self, *x: torch.Tensor) -> torch.Tensor:
        return self._checked(x, self.slot(*x))

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        """Rows are moved, not computed: they are the weight's to the last bit (but for the sign of a zero)."""
        rows = self.slot.embed(ids)
        wanted = torch.nn.functional.embedding(ids, self.record.dense_weight())
        integers = {4: torch.int32, 2: torch.int16}[rows.element_size()]
        wrong = (rows != wanted) & (rows.view(integers) != wanted.view(integers))
        share = float(wrong.double().mean()) if wrong.numel() else 0.0
        self.checks.append(
            LayerCheck(self.record.layer, "embedding (share of wrong elements)", ids.numel(), share, 0.0)
        )
        return rows

    def on_tiles(self, xs: torch.Tensor, m: int) -> torch.Tensor:
        ys = self.slot.on_tiles(xs, m)
        x, y = (t.transpose(1, 2).reshape(-1, t.shape[1])[:m] for t in (xs, ys))
        self._checked((x,), y)
        return ys

    def on_last(self, x: torch.Tensor, *residual: torch.Tensor) -> torch.Tensor:
        return self._checked((x, *residual), self.slot.on_last(x, *residual))

    def on_layout(
        self, x: torch.Tensor, residual: torch.Tensor | None, given: str, made: str, planes: tuple[int, ...]
    ) -> torch.Tensor:
        y = self.slot.on_layout(x, residual, given, made, planes)
        conv, size = self.record.conv, self.slot.kernels[0].call.n
        assert conv is not None
        plain = natural(x, given, input_size(conv), Padded.read_by(conv).numbers())
        others = [natural(t, made, conv.size(size), planes) for t in (residual, y) if t is not None]
        self._checked((plain, *others[:-1]), others[-1])
        return y

    def _checked(self, x: tuple[torch.Tensor, ...], y: torch.Tensor) -> torch.Tensor:
        """Note how far ``y`` is from the reference on ``x``, both natural, and hand it on."""
        m = x[0].numel() // max(1, self.slot.k) * self.slot.rows
        record, given = self.record, y
        x, y = tuple(t.cpu() for t in x), y.cpu()
        weight = record.dense_weight()
        exact = finite(x, weight, record.bias, record.epilogue, record.conv, record.scale, record.experts)
        call = replace(self.slot.pick(m).call, encoding=Dense(), backend="dense", quantize="")
        rival = best_device_dense if record.experts else best_dense
        dense = rival(call, weight, record.bias, [m], record.scale)(*x)
        limit = max(TOLERANCES[self.dtype], 2 * relative_error(dense, exact))
        kernel = self.slot.pick(m)
        name = f"{kernel.call.backend} {kernel.call.encoding}"
        if kernel.call.quantize:  # a token (or image) with Inf or NaN is NaN throughout, and compares with nothing
            whole = torch.isfinite(x[0] if record.conv is None else x[0].flatten(1)).all(-1)
            exact, activation = exact[whole], record.epilogue.activation
            limit = relative_bound(x[0][whole], weight, activation, exact, self.dtype, record.conv, record.scale)
            name = f"{kernel.call.backend} int8 {kernel.call.encoding}"
            self.checks.append(LayerCheck(record.layer, name, m, relative_error(y[whole], exact), limit))
            return given
        self.checks.append(LayerCheck(record.layer, name, m, relative_error(y, exact), limit))
        return given


def verify_parts(
    parts: Parts, original: nn.Module | None, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Verification:
    """See :meth:`spcomp.compiled.CompiledModule.verify`. Buffers that the model writes keep their values."""
    bound_args, bound_kwargs = bind(parts.programs[0].signature.parameters, args, kwargs)
    flat, _ = pytree.tree_flatten((bound_args, bound_kwargs))
    reasons = [p.signature.mismatch(flat) for p in parts.programs]
    if None not in reasons:
        raise InputError("verify a compiled model", str(reasons[0]), "inputs like the captured ones")
    program = parts.programs[reasons.index(None)]
    checks: list[LayerCheck] = []
    watched = [
        _Watched(slot, record, decision.dtype, checks)
        for slot, record, decision in zip(parts.table, parts.slots, parts.decisions, strict=True)
    ]
    tensors = [parts.tensors[name].clone() for name in program.lifted]
    with torch.no_grad(), ops.active(watched):  # type: ignore[arg-type]
        out = program.gm(*tensors, *flat)
    error = limit = None
    dtypes = {t.dtype for t in out if isinstance(t, torch.Tensor) and t.is_floating_point()}
    limit = max((TOLERANCES.get(str(d)[6:], 1e-5) for d in dtypes), default=0.0)
    if original is not None:
        saved = {name: b.clone() for name, b in original.named_buffers()}
        with torch.no_grad():
            truth = pytree.tree_leaves(original(*args, **kwargs))
            for name, buffer in original.named_buffers():
                buffer.copy_(saved[name])
        pairs = [(a, b) for a, b in zip(out, truth, strict=True) if isinstance(a, torch.Tensor)]
        error = max((relative_error(a, b.double()) for a, b in pairs), default=0.0)
    rounded = sum(c.limit for c in checks if " int8 " in c.kernel)  # as if bounds simply added up
    return Verification(tuple(checks), error, 4 * limit + rounded)
