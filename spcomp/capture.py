"""nn.Module -> undecomposed ATen graph. The only caller of ``torch.export``."""

from __future__ import annotations

import itertools
import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.utils import _pytree as pytree

from spcomp.caches import know_caches
from spcomp.errors import CaptureError, InputError, StateError, WeightError
from spcomp.plan import TensorSpec
from spcomp.signature import Constant, Signature, Symbol, bind, parameters_of

log = logging.getLogger("spcomp.capture")
CONSTANTS = (int, float, bool, str, type(None))


@dataclass(frozen=True)
class Example:
    """One call of the model: what it is given to be captured, tuned and checked with."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @classmethod
    def of(cls, value: Any) -> Example:
        """A tensor (the only argument), a tuple or list of arguments, or a mapping of keyword arguments."""
        match value:
            case Example():
                return value
            case torch.Tensor():
                return cls((value,), {})
            case Mapping() if all(isinstance(k, str) for k in value):
                return cls((), dict(value))
            case tuple() | list():
                return cls(tuple(value), {})
            case _:
                raise InputError(
                    "use an example input",
                    f"a {type(value).__name__}",
                    "a tensor, a tuple of arguments, or a dict of keyword arguments",
                )


@dataclass(frozen=True)
class Captured:
    """A captured program: its graph takes the flat tensor inputs, in order, constants included."""

    gm: fx.GraphModule
    signature: Signature
    flat: tuple[Any, ...]
    """The example inputs, flattened."""
    state: dict[str, torch.Tensor]
    """The model's state_dict, tied names included."""
    constants: frozenset[str]
    """Attributes of the graph that are no state: tensors made in ``forward``."""


def check_model(model: object, target: str = "auto") -> nn.Module:
    """Refuse what cannot be compiled before anything is done to it; ``target``: where its weights must be."""
    if not isinstance(model, nn.Module):
        raise InputError("compile a model", f"a {type(model).__name__}", "a torch.nn.Module")
    training = next((name or "the model" for name, m in model.named_modules() if m.training), None)
    if training is not None:
        raise StateError("compile a model", f"training mode ({training})", "model.eval() first")
    weights = 0
    for name, parameter in model.named_parameters():
        weights += 1
        check_device(name, parameter, target)
        if parameter.is_floating_point() and bool(torch.isnan(parameter).any()):
            raise WeightError("compile a model", f"NaN in the weight {name}", "repair or retrain the weight")
    if not weights:
        raise WeightError(
            "compile a model", "no weights in it", "a model with parameters; torch.compile serves the rest"
        )
    return model


def check_device(name: str, tensor: torch.Tensor, target: str) -> None:
    """Raise :class:`WeightError` for a weight that is not where ``target`` says, or where nothing is compiled for."""
    kind, found = tensor.device.type, f"{name} is on {tensor.device}"
    if target == "cuda" and kind == "cpu":
        raise WeightError("compile for target='cuda'", found, "model.cuda() first, or target='auto'")
    if kind == "cuda" and target != "cpu":
        return
    if kind != "cpu":
        hint = "model.cpu() first, or target='auto'" if kind == "cuda" else "model.cpu() first"
        raise WeightError("compile for the CPU", found, hint)


def capture(
    model: nn.Module, examples: Sequence[Example], dynamic_shapes: Any = None, *, ones: frozenset[str] = frozenset()
) -> Captured:
    """Export ``model`` at the first example. Sizes that differ between examples are dynamic.

    ``dynamic_shapes`` is torch.export's own and goes before the examples' differences. Raises
    :class:`CaptureError` naming the construct that does not export.
    """
    know_caches()
    parameters = parameters_of(model.forward)
    calls = [bind(parameters, e.args, e.kwargs) for e in examples]
    args, kwargs = calls[0]
    flat, in_tree = pytree.tree_flatten((args, kwargs))
    _check_flat(flat, frozenset(str(t.device) for t in itertools.chain(model.parameters(), model.buffers())))
    if dynamic_shapes is None and len(calls) > 1:
        dynamic_shapes = _differences(model, calls)
    # torch.export marks tensors as dynamic, and leaves the marks where it fails: it gets its own views.
    own = [value.detach() if isinstance(value, torch.Tensor) else value for value in flat]
    args, kwargs = pytree.tree_unflatten(own, in_tree)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            exported = torch.export.export(model, args, kwargs, dynamic_shapes=dynamic_shapes, strict=False)
            gm = exported.module(check_guards=False)
    except Exception as error:  # torch.export raises dozens of types; each becomes one that says what to try
        raise _capture_error(model, error) from error
    assert isinstance(gm, fx.GraphModule)
    return _captured(gm, exported, parameters, in_tree, tuple(flat))


def from_exported(exported: torch.export.ExportedProgram) -> Captured:
    """Take a program that was exported elsewhere; its example inputs come with it."""
    if exported.example_inputs is None:
        raise CaptureError("compile an exported program", "no example inputs in it", "exporting it again with them")
    args, kwargs = exported.example_inputs
    gm = exported.module(check_guards=False)
    assert isinstance(gm, fx.GraphModule)
    flat, in_tree = pytree.tree_flatten((tuple(args), dict(kwargs)))
    return _captured(gm, exported, parameters_of(gm.forward), in_tree, tuple(flat))


def _captured(gm: fx.GraphModule, exported: Any, parameters: Any, in_tree: Any, flat: tuple[Any, ...]) -> Captured:
    leaves: list[TensorSpec | Constant] = []
    names: dict[str, Symbol] = {}
    placeholders = [n for n in gm.graph.nodes if n.op == "placeholder"]
    for node, value in zip(placeholders, flat, strict=True):
        fake = node.meta.get("val")
        if not isinstance(value, torch.Tensor):
            leaves.append(Constant(value))
            continue
        shape = tuple(d if isinstance(d, int) else str(d.node.expr) for d in fake.shape)
        leaves.append(TensorSpec(shape, str(value.dtype).removeprefix("torch.")))
        for d in fake.shape:
            if not isinstance(d, int) and d.node.expr.is_symbol:
                names[str(d.node.expr)] = _range(exported, d)
    out_tree = exported.call_spec.out_spec
    on = tuple(str(v.device) if isinstance(v, torch.Tensor) else "cpu" for v in flat)
    signature = Signature(
        parameters, in_tree, tuple(leaves), out_tree, names, on if any(d != "cpu" for d in on) else ()
    )
    constants = frozenset(exported.graph_signature.lifted_tensor_constants)
    return Captured(gm, signature, flat, dict(exported.state_dict), constants)


def _range(exported: Any, size: torch.SymInt) -> Symbol:
    bounds = exported.range_constraints.get(size.node.expr)
    lo = max(2, int(bounds.lower)) if bounds is not None else 2
    try:
        hi = int(bounds.upper) if bounds is not None else None
    except (OverflowError, ValueError, TypeError, AttributeError):
        hi = None
    return Symbol(lo, None if hi is not None and hi >= 1 << 40 else hi)


def _check_flat(flat: Sequence[Any], devices: frozenset[str]) -> None:
    """Refuse example inputs that no program can be captured with; ``devices``: those of the model."""
    for i, value in enumerate(flat):
        if isinstance(value, torch.Tensor):
            if value.numel() == 0:
                raise InputError(
                    "capture a model", f"example input {i} of shape {list(value.shape)} has no elements",
                    "an example with at least one element; compiled models accept empty batches if the "
                    "batch is dynamic",
                )  # fmt: skip
            lone = value.device.type == "cpu" and value.dim() == 0  # which every device takes
            if str(value.device) not in (devices or {"cpu"}) and not lone:
                found = f"example input {i} on {value.device}, the weights on {', '.join(sorted(devices)) or 'cpu'}"
                hint = "the CPU" if devices <= {"cpu"} else "the device of the weights that read them"
                raise InputError("capture a model", found, f"example inputs on {hint}")
        elif not isinstance(value, CONSTANTS):
            raise InputError(
                "capture a model", f"example input {i} is a {type(value).__name__}", "tensors, numbers, strings or None"
            )


def _differences(model: nn.Module, calls: Sequence[tuple[Any, Any]]) -> Any:
    """torch.export's dynamic_shapes from sizes that differ between the examples' calls."""
    flats = [pytree.tree_flatten(call) for call in calls]
    first, tree = flats[0]
    for other, other_tree in flats[1:]:
        if other_tree != tree:
            raise InputError(
                "infer dynamic sizes", "examples of different structure", "examples that differ in sizes only"
            )
        for i, (a, b) in enumerate(zip(first, other, strict=True)):
            if what := _difference(a, b):
                raise InputError(
                    "infer dynamic sizes", f"input {i} differs in {what}", "examples that differ in sizes only"
                )
    specs: list[Any] = []
    for i, value in enumerate(first):
        if not isinstance(value, torch.Tensor):
            specs.append(None)
            continue
        sizes = [tuple(flat[i].shape) for flat, _ in flats]
        dynamic = {d: torch.export.Dim.DYNAMIC for d in range(value.dim()) if len({s[d] for s in sizes}) > 1}
        for d in dynamic:
            if value.shape[d] < 2:
                raise InputError(
                    "infer dynamic sizes", f"the first example has size {value.shape[d]} in input {i}, dimension {d}",
                    "a first example with sizes of at least 2 where they are dynamic",
                )  # fmt: skip
        specs.append(dynamic or None)
    args, kwargs = pytree.tree_unflatten(specs, tree)
    return _by_parameter(model, args, kwargs) or None


def _difference(a: Any, b: Any) -> str | None:
    """In what two examples of one input differ, but for sizes."""
    if type(a) is not type(b) or not isinstance(a, torch.Tensor):
        return None if type(a) is type(b) and a == b else "value"
    if a.dim() != b.dim():
        return "rank"
    return "dtype" if a.dtype != b.dtype else None


def _by_parameter(model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments by the names of ``forward``'s parameters, ``*args`` included."""
    parameters = parameters_of(model.forward)
    names = [p.name for p in parameters if p.kind in ("POSITIONAL_ONLY", "POSITIONAL_OR_KEYWORD")]
    found = {**dict(zip(names, args, strict=False)), **kwargs}
    rest = tuple(args[len(names) :])
    return found | {p.name: rest for p in parameters if p.kind == "VAR_POSITIONAL" and rest}


def _capture_error(model: nn.Module, error: Exception) -> CaptureError:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = ("unsupported", "data-dependent", "specialized")
    construct = next((line for line in lines if any(word in line.lower() for word in telling)), "")
    found = construct.removeprefix("- ") or (lines[0] if lines else type(error).__name__)
    where = next((line for line in reversed(lines) if line.startswith("File ") and "torch/" not in line), "")
    return CaptureError(
        f"capture {type(model).__name__} with torch.export",
        f"{type(error).__name__}: {found[:300].rstrip('.')}" + (f" ({where[:160]})" if where else ""),
        "torch.compile(model, backend='spcomp'), which compiles around what does not export, or rewrite that construct",
    )
