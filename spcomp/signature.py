"""What a compiled model accepts: names, tree structure, shapes, dtypes; and how a call is checked against it."""

from __future__ import annotations

import ast
import inspect
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import torch
from torch.utils import _pytree as pytree

from spcomp.errors import InputError
from spcomp.plan import TensorSpec

Dim = int | str
_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}


def evaluate(expression: Dim, symbols: Mapping[str, Any]) -> Any:
    """Value of an integer expression of names, integers and ``+ - * // %``. Anything else is an :class:`InputError`.

    The values may be ints or SymInts. Nothing is executed: the text is parsed and walked.
    """
    if isinstance(expression, int):
        return expression

    def walk(node: ast.AST) -> Any:
        match node:
            case ast.Expression(body=body):
                return walk(body)
            case ast.Constant(value=int() as value) if not isinstance(value, bool):
                return value
            case ast.Name(id=name) if name in symbols:
                return symbols[name]
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                return _OPERATORS[type(op)](walk(left), walk(right))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -walk(operand)
            case _:
                raise InputError("read a dimension", f"{expression!r}", "an integer expression over known symbols")

    if len(expression) > 200:
        raise InputError("read a dimension", f"{len(expression)} characters", "a shorter expression")
    try:
        return walk(ast.parse(expression, mode="eval"))
    except SyntaxError as error:
        raise InputError("read a dimension", f"{expression!r}", "an integer expression over known symbols") from error


@dataclass(frozen=True)
class Parameter:
    """A parameter of the model's ``forward``: name and :mod:`inspect` kind, by name."""

    name: str
    kind: str
    optional: bool


@dataclass(frozen=True)
class Constant:
    """A non-tensor input that the graph was specialised on."""

    value: int | float | bool | str | None


@dataclass(frozen=True)
class Symbol:
    """A dynamic size: its smallest and largest value (None: unbounded)."""

    lo: int
    hi: int | None


@dataclass(frozen=True)
class Signature:
    """The inputs of one captured program, flattened in pytree order."""

    parameters: tuple[Parameter, ...]
    in_tree: pytree.TreeSpec
    leaves: tuple[TensorSpec | Constant, ...]
    out_tree: pytree.TreeSpec
    symbols: dict[str, Symbol] = field(default_factory=dict)
    devices: tuple[str, ...] = ()
    """The torch device of every leaf, where any is not on the CPU; else empty."""

    @property
    def on(self) -> tuple[str, ...]:
        """The torch device of every leaf; of a constant, the CPU."""
        return self.devices or ("cpu",) * len(self.leaves)

    @cached_property
    def tensors_taken(self) -> int:
        """So many positional tensors and nothing else are a call in normal form already; 0: none are."""
        count = len(self.leaves)
        return count if self.in_tree == pytree.tree_structure(((torch.empty(0),) * count, {})) else 0

    @cached_property
    def gives_one_tensor(self) -> bool:
        """Whether the result is a tensor by itself, and not a tuple of one."""
        return self.out_tree == pytree.tree_structure(torch.empty(0))

    def result(self, flat: Sequence[Any]) -> Any:
        """The program's flat results as the model returns them."""
        return flat[0] if self.gives_one_tensor else pytree.tree_unflatten(flat, self.out_tree)

    @cached_property
    def looks(self) -> list[tuple[object, ...]] | None:
        """What :func:`_look` says of the inputs, where all are tensors of static size: usual ones are compared at once,
        in 1 us each."""
        found: list[tuple[object, ...]] = []
        for leaf in self.leaves:
            if not isinstance(leaf, TensorSpec) or self.devices or not all(isinstance(d, int) for d in leaf.shape):
                return None
            found.append((torch.Size(leaf.shape), getattr(torch, leaf.dtype), True, torch.strided))  # type: ignore[arg-type]
        return found

    def describe(self) -> str:
        return ", ".join(
            f"{leaf.dtype}{list(leaf.shape)}" if isinstance(leaf, TensorSpec) else repr(leaf.value)
            for leaf in self.leaves
        )

    def mismatch(self, flat: Sequence[Any]) -> str | None:
        """Why these flat inputs are not the captured ones, or None. Binds dynamic sizes as it goes."""
        if self.looks is not None and self.looks == [_look(value) for value in flat]:
            return None
        bound: dict[str, int] = {}
        pending: list[tuple[int, int, Dim, int]] = []
        for i, (leaf, value) in enumerate(zip(self.leaves, flat, strict=True)):
            if isinstance(leaf, Constant):
                if type(value) is not type(leaf.value) or value != leaf.value:
                    return f"input {i} is {value!r}, captured as the constant {leaf.value!r}"
                continue
            if not isinstance(value, torch.Tensor):
                return f"input {i} is a {type(value).__name__}, captured as a tensor"
            if str(value.dtype) != f"torch.{leaf.dtype}":
                return f"input {i} is {str(value.dtype)[6:]}, captured as {leaf.dtype}"
            if value.device.type != "cpu" or self.devices:
                wanted = self.devices[i] if self.devices else "cpu"
                if str(value.device) != wanted:
                    return f"input {i} lives on {value.device}, captured on {wanted}"
            if value.layout is not torch.strided:
                return f"input {i} is {str(value.layout)[6:]}, captured as strided"
            shape = value.shape
            if len(shape) != len(leaf.shape):
                return f"input {i} has shape {list(shape)}, captured as {list(leaf.shape)}"
            for d, (want, have) in enumerate(zip(leaf.shape, shape, strict=True)):
                if isinstance(want, int):
                    if want != have:
                        return f"input {i} has shape {list(shape)}, captured as {list(leaf.shape)} (dimension {d})"
                elif want in self.symbols:
                    if bound.setdefault(want, have) != have:
                        return f"input {i} has {have} in dimension {d}, but {want} is {bound[want]} elsewhere"
                else:
                    pending.append((i, d, want, have))
        for i, d, want, have in pending:
            if evaluate(want, bound) != have:
                return f"input {i} has {have} in dimension {d}, captured as {want}"
        for name, size in bound.items():
            symbol = self.symbols[name]
            if size < symbol.lo or (symbol.hi is not None and size > symbol.hi):
                return f"the size {name} is {size}, captured for {symbol.lo} to {symbol.hi or 'any'}"
        return None

    def sizes(self, flat: Sequence[Any]) -> dict[str, int]:
        """The value of every symbol in these inputs; call after :meth:`mismatch` said None."""
        return {
            want: have
            for leaf, value in zip(self.leaves, flat, strict=True)
            if isinstance(leaf, TensorSpec)
            for want, have in zip(leaf.shape, value.shape, strict=True)
            if isinstance(want, str) and want in self.symbols
        }

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; tree structures as torch's own JSON text."""
        placed = {"devices": list(self.devices)} if self.devices else {}
        return {
            **placed,
            "parameters": [[p.name, p.kind, p.optional] for p in self.parameters],
            "in_tree": pytree.treespec_dumps(self.in_tree),
            "out_tree": pytree.treespec_dumps(self.out_tree),
            "leaves": [
                {"shape": list(leaf.shape), "dtype": leaf.dtype}
                if isinstance(leaf, TensorSpec)
                else {"value": leaf.value}
                for leaf in self.leaves
            ],
            "symbols": {name: [s.lo, s.hi] for name, s in self.symbols.items()},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        leaves = tuple(
            TensorSpec(tuple(leaf["shape"]), leaf["dtype"]) if "shape" in leaf else Constant(leaf["value"])
            for leaf in data["leaves"]
        )
        return cls(
            tuple(Parameter(*p) for p in data["parameters"]),
            pytree.treespec_loads(data["in_tree"]),
            leaves,
            pytree.treespec_loads(data["out_tree"]),
            {name: Symbol(*bounds) for name, bounds in data["symbols"].items()},
            tuple(str(device) for device in data.get("devices", ())),
        )


def zeros(leaf: TensorSpec | Constant, hints: Mapping[str, int], device: str = "cpu") -> Any:
    """An input of a leaf's shape, dynamic sizes as in ``hints``; of a constant, the constant."""
    if isinstance(leaf, Constant):
        return leaf.value
    return torch.zeros([evaluate(d, hints) for d in leaf.shape], dtype=getattr(torch, leaf.dtype), device=device)


def _look(value: object) -> tuple[object, ...] | None:
    if not isinstance(value, torch.Tensor):
        return None
    return (value.shape, value.dtype, value.is_cpu, value.layout)


def parameters_of(forward: Callable[..., Any]) -> tuple[Parameter, ...]:
    """The parameters of a bound ``forward``."""
    return tuple(
        Parameter(p.name, p.kind.name, p.default is not inspect.Parameter.empty)
        for p in inspect.signature(forward).parameters.values()
    )


def bind(parameters: Sequence[Parameter], args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, Any]:
    """The one normal form of a call: (args tuple, kwargs dict) however it was spelled.

    Raises :class:`InputError` where Python itself would raise a TypeError.
    """
    signature = inspect.Signature(
        [
            inspect.Parameter(
                p.name, inspect._ParameterKind[p.kind], default=None if p.optional else inspect.Parameter.empty
            )
            for p in parameters
        ]
    )
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        wanted = ", ".join(p.name for p in parameters)
        raise InputError("call a compiled model", str(error), f"the arguments of the original: {wanted}") from error
    for name in [n for n, v in bound.arguments.items() if v is None and _optional(parameters, n)]:
        del bound.arguments[name]
    return bound.args, dict(bound.kwargs)


def _optional(parameters: Sequence[Parameter], name: str) -> bool:
    return any(p.name == name and p.optional for p in parameters)
