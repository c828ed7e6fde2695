"""Saved and read again: how the tensors of the original's state are put together from what a compiled model keeps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from spcomp.artifact.archive import bad
from spcomp.artifact.pool import Pool, Views
from spcomp.encodings.pack import TORCH_DTYPES
from spcomp.passes.origins import Step
from spcomp.state import Held, Restored, State

_NUMBERS = {"keep": 1, "permute": 2, "view": 3}
"""Tuples of numbers that a step of each kind has."""


def write_state(pool: Pool, state: State) -> dict[str, Any]:
    """JSON-able; tensors go to the pool. What is kept on disk is left out: a file holds what the model runs with."""
    aside = [name for name, made in state.restored.items() if made.rest is not None]
    found = {name: made for name, made in state.restored.items() if made.rest is None}
    restored = {name: _write(pool, f"restored/{name}", made) for name, made in found.items()}
    return {"names": dict(state.names), "lost": [*state.lost, *aside], "restored": restored}


def _write(pool: Pool, at: str, made: Restored) -> dict[str, Any]:
    def step(where: str, found: Step) -> list[Any]:
        index = None if found.index is None else pool.add(where, found.index)
        return [found.kind, [list(n) for n in found.numbers], index]

    pieces = [
        [p.name, [step(f"{at}/{i}/{j}", s) for j, s in enumerate(p.select)], None if p.rows is None else list(p.rows)]
        for i, p in enumerate(made.pieces)
    ]
    patch = None if made.patch is None else [pool.add(f"{at}/patch{i}", t) for i, t in enumerate(made.patch)]
    whole = None if made.whole is None else pool.add(f"{at}/whole", made.whole)
    dtype = str(made.dtype).removeprefix("torch.")
    return {"size": list(made.size), "dtype": dtype, "pieces": pieces, "patch": patch, "whole": whole}


def read_state(data: Mapping[str, Any], references: Mapping[str, Any], views: Views) -> State:
    """Raises :class:`~spcomp.errors.ArtifactError` for anything that does not fit together."""
    names = {str(name): str(known) for name, known in data["names"].items()}
    restored = {str(n): _read(str(n), made, references, views) for n, made in data["restored"].items()}
    return State(names, restored, tuple(str(name) for name in data["lost"]))


def _read(name: str, data: Mapping[str, Any], references: Mapping[str, Any], views: Views) -> Restored:
    size = tuple(data["size"])
    if not all(type(s) is int and 0 <= s < 1 << 40 for s in size) or math.prod(size) >= 1 << 40:
        raise bad(f"the state of {name}", f"size {size}")
    pieces = []
    for held, steps, rows in data["pieces"]:
        shape = torch.empty(size, device="meta")
        select = tuple(_step(name, step, references, views) for step in steps)
        for step in select:
            _check(name, step, shape)
            shape = _applied(step, shape)
        if rows is not None and (len(rows) != 2 or not all(type(r) is int and r >= 0 for r in rows)):
            raise bad(f"the state of {name}", f"rows {rows}")
        pieces.append(Held(str(held), select, None if rows is None else (rows[0], rows[1])))
    patch = None
    if data["patch"] is not None:
        where, values = (views.get(references[key]) for key in data["patch"])
        if where.dtype != torch.int64 or where.shape != values.shape or not _within(where, math.prod(size)):
            raise bad(f"the state of {name}", "a patch outside of it")
        patch = (where, values)
    dtype = TORCH_DTYPES.get(data["dtype"]) or _plain(name, data["dtype"])
    whole = None if data["whole"] is None else views.get(references[data["whole"]])
    if whole is not None and (whole.dtype != dtype or tuple(whole.shape) != size):
        raise bad(f"the state of {name}", "a tensor of another shape or dtype")
    return Restored(size, dtype, tuple(pieces), patch, whole)


def _plain(name: str, dtype: str) -> torch.dtype:
    found = getattr(torch, str(dtype), None)
    if not isinstance(found, torch.dtype):
        raise bad(f"the state of {name}", f"dtype {dtype!r}")
    return found


def _step(name: str, data: Any, references: Mapping[str, Any], views: Views) -> Step:
    kind, numbers, index = data
    if kind not in _NUMBERS or len(numbers) != _NUMBERS[kind] or not all(type(v) is int for n in numbers for v in n):
        raise bad(f"the state of {name}", f"a step {kind!r}")
    return Step(kind, tuple(tuple(n) for n in numbers), None if index is None else views.get(references[index]))


def _check(name: str, step: Step, given: torch.Tensor) -> None:
    wrong = bad(f"the state of {name}", f"a step {step.kind!r} that reaches outside of it")
    match step.kind:
        case "keep":
            ((dim,),) = step.numbers
            index = step.index
            if index is None or index.dtype != torch.int64 or not 0 <= dim < given.dim():
                raise wrong
            if index.dim() != 1 or not _within(index, given.shape[dim]):
                raise wrong
        case "view":
            size, stride, offset = step.numbers
            if len(size) != len(stride) or len(offset) != 1 or min((*size, *stride, *offset), default=0) < 0:
                raise wrong
            reach = offset[0] + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
            if reach >= given.numel():
                raise wrong
        case "permute":
            order, shape = step.numbers
            if sorted(order) != list(range(given.dim())) or math.prod(shape) != given.numel():
                raise wrong


def _applied(step: Step, given: torch.Tensor) -> torch.Tensor:
    if step.kind != "keep":
        return step(given)
    ((dim,),) = step.numbers
    assert step.index is not None
    shape = [*given.shape]
    shape[dim] = len(step.index)
    return torch.empty(shape, device="meta")


def _within(index: torch.Tensor, size: int) -> bool:
    return not index.numel() or (int(index.min()) >= 0 and int(index.max()) < size)
