"""A flat lowered graph as JSON, and back.

    {"op": "call_function", "name": "add", "target": "aten.add.Tensor", "args": [{"node": "x"}, 1], "kwargs": {}}

Values that JSON has no word for are tagged: ``{"node": name}``, ``{"tuple": [...]}``, ``{"slice": [a, b, c]}``,
``{"dtype": "float32"}``, ``{"float": "inf"}``. Reading checks every name, reference and operator before the graph is
made; nothing in it is evaluated or imported. Nodes refer backwards only.
"""

from __future__ import annotations

import keyword
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import fx

from spcomp.artifact.allow import LARGEST_POWER, name_of, refusal, resolve
from spcomp.errors import ArtifactError

MAX_NODES = 200_000
MAX_TEXT = 400
LARGEST = 1 << 63
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,250}", re.ASCII)
_DEVICE = re.compile(r"cpu|cuda(:[0-9]{1,2})?", re.ASCII)
_TEXT = re.compile(r"[A-Za-z0-9_ .,:<>=()+*/%|?!&\[\]-]*", re.ASCII)
"""What a text argument may hold: modes, einsum equations, messages of assertions; no quotes, no escapes."""
_DTYPES = {str(v)[6:]: v for v in vars(torch).values() if isinstance(v, torch.dtype)}
_LAYOUTS = {"strided": torch.strided}
_FORMATS = {str(v)[6:]: v for v in vars(torch).values() if isinstance(v, torch.memory_format)}
_MESSAGES = ("aten._assert_scalar.default", "aten._assert_async.msg", "aten._functional_assert_scalar.default",
             "aten._functional_assert_async.msg")  # fmt: skip


def graph_to_json(gm: fx.GraphModule) -> list[dict[str, Any]]:
    """The nodes of a flat graph. Raises :class:`ArtifactError` naming the node that cannot be written."""
    return [_write_node(node) for node in gm.graph.nodes]


def _write_node(node: fx.Node) -> dict[str, Any]:
    target: str | None = str(node.target)
    if node.op == "call_function":
        target = name_of(node.target)
    if node.op not in ("placeholder", "call_function", "output"):
        raise _cannot_write(node, f"a {node.op} of {node.target}")
    if target is None or (node.op == "call_function" and (reason := refusal(target))):
        raise _cannot_write(node, f"{node.target}: {'a function of Python' if target is None else reason}")
    clean = _clean if target in _MESSAGES else None
    try:
        args = [_write(a, clean) for a in node.args]
        kwargs = {k: _write(v, clean) for k, v in node.kwargs.items()}
    except TypeError as error:
        raise _cannot_write(node, f"{target} with {error}") from error
    return {"op": node.op, "name": node.name, "target": target, "args": args, "kwargs": kwargs}


def _cannot_write(node: fx.Node, found: str) -> ArtifactError:
    return ArtifactError(
        "save a compiled model", f"the node {node.name} is {found}, which the saved form has no word for",
        "rewriting that part of the model without control-flow or custom operators, or compiling at every start",
    )  # fmt: skip


def _clean(text: str) -> str:
    return "".join(c if _TEXT.fullmatch(c) else " " for c in text)[:MAX_TEXT]


def _write(value: Any, clean: Callable[[str], str] | None) -> Any:
    match value:
        case fx.Node():
            return {"node": value.name}
        case None | bool() | int():
            return value
        case float():
            return value if math.isfinite(value) else {"float": str(value)}
        case str():
            text = clean(value) if clean is not None else value
            if len(text) > MAX_TEXT or not _TEXT.fullmatch(text):
                raise TypeError(f"the text {value[:40]!r}")
            return text
        case tuple():
            return {"tuple": [_write(v, clean) for v in value]}
        case list():
            return [_write(v, clean) for v in value]
        case slice():
            return {"slice": [_write(v, clean) for v in (value.start, value.stop, value.step)]}
        case torch.dtype():
            return {"dtype": str(value)[6:]}
        case torch.device() if _DEVICE.fullmatch(str(value)):
            return {"device": str(value)}
        case torch.layout() if value is torch.strided:
            return {"layout": "strided"}
        case torch.memory_format():
            return {"memory_format": str(value)[6:]}
        case complex():
            return {"complex": [_write(value.real, None), _write(value.imag, None)]}
        case _:
            raise TypeError(f"a {type(value).__name__} argument")


def graph_from_json(data: Any) -> fx.GraphModule:
    """The graph again. Raises :class:`ArtifactError` for anything that :func:`graph_to_json` would not write."""
    if not isinstance(data, list) or not 0 < len(data) <= MAX_NODES:
        raise _bad("the graph", "no list of nodes")
    graph = fx.Graph()
    known: dict[str, fx.Node] = {}
    last = len(data) - 1
    body = False
    for i, entry in enumerate(data):
        if not isinstance(entry, dict) or entry.keys() != {"op", "name", "target", "args", "kwargs"}:
            raise _bad(f"node {i}", "other fields than op, name, target, args, kwargs")
        op, name = entry["op"], entry["name"]
        if not _identifier(name) or name in known:
            raise _bad(f"node {i}", f"the name {str(name)[:60]!r}, which is no new identifier")
        if (op == "output") != (i == last) or op not in ("placeholder", "call_function", "output"):
            raise _bad(str(name), f"the operation {str(op)[:60]!r} at position {i} of {last}")
        if op == "placeholder" and body:
            raise _bad(name, "an input after the first call")
        body = body or op != "placeholder"
        node = known[name] = _read_node(graph, entry, op, name, known)
        if node.name != name:
            raise _bad(name, "a name that is taken or reserved")
    inputs = [n.target for n in graph.nodes if n.op == "placeholder"]
    if len(set(inputs)) != len(inputs):
        raise _bad("the graph", "two inputs of one name")
    try:
        return fx.GraphModule({}, graph)
    except SyntaxError as error:
        raise _bad("the graph", f"names that Python does not take ({error})") from error


def _read_node(graph: fx.Graph, entry: Mapping[str, Any], op: str, name: str, known: Mapping[str, fx.Node]) -> fx.Node:
    target, args, kwargs = entry["target"], entry["args"], entry["kwargs"]
    if not isinstance(target, str) or not isinstance(args, list) or not isinstance(kwargs, dict):
        raise _bad(name, "a target, args or kwargs of another type")
    if not all(_identifier(k) for k in kwargs):
        raise _bad(name, "a keyword that is no identifier")
    function: Any = target
    if op == "call_function":
        function = resolve(target, name)
    elif op == "output":
        if target != "output" or kwargs or len(args) != 1 or not isinstance(args[0], dict) or "tuple" not in args[0]:
            raise _bad(name, "an output that is no flat tuple")
    elif not _identifier(target) or args or kwargs:
        raise _bad(name, "an input with arguments")
    read_args = tuple(_read(a, name, known) for a in args)
    read_kwargs = {k: _read(v, name, known) for k, v in kwargs.items()}
    if op == "call_function" and not isinstance(function, torch._ops.OpOverload):
        _check_arithmetic(function, read_args, read_kwargs, name)
    return graph.create_node(op, function, read_args, read_kwargs, name)


def _check_arithmetic(function: Any, args: Sequence[Any], kwargs: Mapping[str, Any], name: str) -> None:
    """Size arithmetic takes nodes and numbers, so that it cannot be made to build something huge."""
    if function is operator.getitem:
        good = len(args) == 2 and isinstance(args[0], fx.Node) and isinstance(args[1], int)
    elif function is operator.pow:
        good = len(args) == 2 and isinstance(args[1], int | float) and abs(args[1]) <= LARGEST_POWER
    elif function is getattr(torch, "sym_sum", None):
        summed = args[0] if len(args) == 1 and isinstance(args[0], list | tuple) else [None]
        good = all(isinstance(a, fx.Node | int) for a in summed)
    else:
        good = all(isinstance(a, fx.Node | int | float) for a in args)
    if not good or kwargs:
        raise _bad(name, "size arithmetic on something else than sizes")


def _identifier(name: Any) -> bool:
    return isinstance(name, str) and _IDENTIFIER.fullmatch(name) is not None and not (
        keyword.iskeyword(name) or (name.startswith("__") and name.endswith("__"))
    )  # fmt: skip


def _read(value: Any, node: str, known: Mapping[str, fx.Node]) -> Any:
    match value:
        case None | bool():
            return value
        case int() if -LARGEST <= value < LARGEST:
            return value
        case float() if math.isfinite(value):
            return value
        case str() if len(value) <= MAX_TEXT and _TEXT.fullmatch(value):
            return value
        case list():
            return [_read(v, node, known) for v in value]
        case dict() if len(value) == 1:
            ((tag, inner),) = value.items()
            return _read_tagged(tag, inner, node, known)
        case _:
            raise _bad(node, f"the argument {str(value)[:60]!r}")


def _read_tagged(tag: str, inner: Any, node: str, known: Mapping[str, fx.Node]) -> Any:
    match tag, inner:
        case "node", str():
            if inner not in known:
                raise _bad(node, f"a reference to {inner[:60]!r}, which is not before it")
            return known[inner]
        case "tuple", list():
            return tuple(_read(v, node, known) for v in inner)
        case "slice", [_, _, _]:
            return slice(*(_read(v, node, known) for v in inner))
        case "float", "inf" | "-inf" | "nan":
            return float(inner)
        case "complex", [_, _]:
            parts = [_read(v, node, known) for v in inner]
            if all(type(p) is float for p in parts):
                return complex(*parts)
        case "dtype", str() if inner in _DTYPES:
            return _DTYPES[inner]
        case "layout", str() if inner in _LAYOUTS:
            return _LAYOUTS[inner]
        case "memory_format", str() if inner in _FORMATS:
            return _FORMATS[inner]
        case "device", str() if _DEVICE.fullmatch(inner):
            return torch.device(inner)
    raise _bad(node, f"the argument {str({tag: inner})[:60]!r}")


def _bad(where: str, found: str) -> ArtifactError:
    hint = "a file written by save(); this one is damaged or forged"
    return ArtifactError("read the graph of a saved model", f"{where} has {found}", hint)
