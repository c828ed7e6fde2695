"""How each op is rewritten when slices of its inputs and its result are gone. No rule: nothing has to change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx

from spcomp.passes.axis_rules import aligned
from spcomp.passes.axis_rules_parts import slice_bounds
from spcomp.passes.dataflow import arguments, is_part, set_argument, shape_of
from spcomp.passes.known_rules import conv_groups
from spcomp.passes.origins import Origins, Step, pick
from spcomp.passes.pointwise import is_pointwise
from spcomp.passes.propagate_sparsity import Propagated
from spcomp.passes.rewrite import add_constant

aten = torch.ops.aten
Index = NDArray[np.int64]
Keep = Mapping[int, Index | None]
WORD = "kept"
"""Constants that were cut lie below a module of this name."""


@dataclass(eq=False)
class Shrinking:
    """One graph while it is rewritten. Shapes are the old ones until the end."""

    gm: fx.GraphModule
    found: Propagated
    origins: Origins
    changed: set[fx.Node] = field(default_factory=set)
    made: dict[tuple[object, ...], fx.Node] = field(default_factory=dict)

    def kept(self, node: object, dim: int) -> Index | None:
        return self.found.kept(node, dim)

    def rewrite(self, node: fx.Node) -> None:
        if node.op != "call_function" or not hasattr(node.target, "_schema") or node in self.changed:
            return
        touched = [node, *node.all_input_nodes, *(u for u in node.users if is_part(u))]
        if not any(self.found.is_cut(n) for n in touched):
            return
        self.changed.add(node)
        given = arguments(node)
        if is_pointwise(node.target, given):
            for operand in node.all_input_nodes:
                self.narrow_operand(
                    node, operand, {theirs: self.kept(node, mine) for mine, theirs in aligned(node, operand)}
                )
        elif (rule := RULES.get(node.target)) is not None:
            rule(node, given, self)

    def narrow_operand(self, node: fx.Node, operand: fx.Node, keep: Keep) -> None:
        """Use a constant operand with some of its slices only."""
        constant = self.found.facts.constants(operand)
        if constant is None or all(index is None for index in keep.values()):
            return
        node.replace_input_with(operand, self.narrowed(operand, constant, keep))

    def narrow_argument(self, node: fx.Node, given: dict[str, Any], name: str, keep: Keep) -> None:
        operand = given.get(name)
        constant = self.found.facts.constants(operand)
        if isinstance(operand, fx.Node) and constant is not None and any(i is not None for i in keep.values()):
            set_argument(node, name, self.narrowed(operand, constant, keep))

    def narrowed(self, operand: fx.Node, constant: Tensor, keep: Keep) -> fx.Node:
        """A ``get_attr`` node of some slices of a constant; the same slices are made once."""
        key = (operand.target, *((d, i.tobytes()) for d, i in sorted(keep.items()) if i is not None))
        if key not in self.made:
            cut = self.origins.get(constant, key[1:])
            if cut is None:
                chosen = [(d, torch.from_numpy(index)) for d, index in keep.items() if index is not None]
                select = tuple(Step("keep", ((d,),), index) for d, index in chosen)
                cut = self.origins.put(constant, key[1:], pick(select, constant), select)
            self.made[key] = self.constant(str(operand.target), cut)
        return self.made[key]

    def constant(self, target: str, tensor: Tensor) -> fx.Node:
        return add_constant(self.gm, target, tensor, WORD, next(iter(self.gm.graph.nodes)), self.origins)

    def computed(self, source: Tensor, target: str, made: Tensor) -> fx.Node:
        """A ``get_attr`` node of what was computed of a constant; the same content is one tensor."""
        return self.constant(target, self.origins.computed(source, made))


def _affine(node: fx.Node, given: dict[str, Any], s: Shrinking, dim: int) -> None:
    """Rows and columns of a weight; what known inputs contributed goes into the bias (summed in float64)."""
    x, weight, bias = given["input"], s.found.facts.constants(given["weight"]), s.found.facts.constants(given["bias"])
    assert weight is not None
    rows, columns = s.kept(node, dim), s.kept(x, dim)
    extra = None
    if columns is not None and (own := s.found.facts.get(x)) is not None:
        mask, value = own.channels(dim, weight.shape[1])
        gone = torch.ones(weight.shape[1], dtype=torch.bool)
        gone[torch.from_numpy(columns)] = False
        gone &= mask & (value != 0)
        if bool(gone.any()):
            taps = weight[:, gone].double().flatten(2).sum(2) if weight.dim() > 2 else weight[:, gone].double()
            extra = taps @ value[gone].double()
    if extra is not None and bool((extra != 0).any()):
        total = extra if bias is None else extra + bias.double()
        total = total if rows is None else total[torch.from_numpy(rows)]
        target = str(given["weight"].target).removesuffix("weight") + "bias"
        target = str(given["bias"].target) if bias is not None else target
        source = weight if bias is None else bias
        set_argument(node, "bias", s.computed(source, target, total.to(weight.dtype)))
    else:
        s.narrow_argument(node, given, "bias", {0: rows})
    s.narrow_argument(node, given, "weight", {0: rows, 1: columns})


def _linear(node: fx.Node, given: dict[str, Any], s: Shrinking) -> None:
    if s.found.facts.constants(given["weight"]) is not None:
        _affine(node, given, s, len(shape_of(given["input"]) or ()) - 1)


def _conv(node: fx.Node, given: dict[str, Any], s: Shrinking) -> None:
    groups = conv_groups(node, given)
    if groups is None or s.found.facts.constants(given["weight"]) is None:
        return
    if groups == 1:
        _affine(node, given, s, 1)
        return
    rows = s.kept(node, 1)
    s.narrow_argument(node, given, "weight", {0: rows})
    s.narrow_argument(node, given, "bias", {0: rows})
    if rows is not None:
        set_argument(node, "groups", s.found.cuts.left((node, "groups")))


def _norm(node: fx.Node, given: dict[str, Any], s: Shrinking) -> None:
    rows = s.kept(node, 1)
    for name in ("weight", "bias", "running_mean", "running_var"):
        s.narrow_argument(node, given, name, {0: rows})
    if rows is not None and "num_groups" in given:
        set_argument(node, "num_groups", s.found.cuts.left((node, "groups")))


def _sizes(node: fx.Node, given: dict[str, Any], s: Shrinking) -> None:
    """Sizes in the arguments of view, expand and unflatten."""
    name = next(n for n in ("size", "sizes", "shape") if n in given)
    shape = shape_of(node) or ()
    first = given["dim"] % len(shape_of(given["self"]) or ()) if "dim" in given else 0
    sizes = list(given[name])
    for i, size in enumerate(sizes):
        kept = s.kept(node, first + i)
        if kept is not None and size != -1:
            sizes[i] = len(kept)
    assert first + len(sizes) <= len(shape)
    set_argument(node, name, sizes)


def _squeeze(node: fx.Node, given: dict[str, Any], s: Shrinking) -> None:
    """A dimension that is one element long only now is not squeezed."""
    shape = shape_of(given["self"]) or ()
    dims = given.get("dim", list(range(len(shape))))
    dims = [d % len(shape) for d in (dims if isinstance(dims, list | tuple) else [dims])]
    node.target = aten.squeeze.dims
    node.args, node.kwargs = (given["self"], [d for d in dims if str(shape[d]) == "1"]), {}


def _embedding(node: fx.Node, given: dict[str, Any], s: Shrinking) -> None:
    s.narrow_argument(node, given, "weight", {1: s.kept(node, len(shape_of(node) or ()) - 1)})


def _slice(node: fx.Node, given: dict[str, Any], s: Shrinking) -> None:
    x = given["self"]
    shape = shape_of(x) or ()
    dim = given["dim"] % len(shape)
    kept, bounds = s.kept(x, dim), slice_bounds(given, shape[dim])
    if kept is not None and bounds is not None:
        node.target = aten.slice.Tensor
        node.args, node.kwargs = (x, dim, *(int(b) for b in np.searchsorted(kept, bounds))), {}


def _split(node: fx.Node, given: dict[str, Any], s: Shrinking) -> None:
    """Pieces become slices: they need not be equal any more."""
    x, shape = given["self"], shape_of(given["self"]) or ()
    dim = given["dim"] % len(shape)
    kept = s.kept(x, dim)
    if kept is None:
        return
    starts = np.cumsum([0] + [int(v.shape[dim]) for v in node.meta["val"]])
    for user in list(node.users):
        i = int(user.args[1]) % (len(starts) - 1)  # type: ignore[arg-type]
        low, high = (int(b) for b in np.searchsorted(kept, starts[i : i + 2]))
        user.target, user.args = aten.slice.Tensor, (x, dim, low, high)
        s.changed.add(user)
    s.gm.graph.erase_node(node)


def _select(node: fx.Node, given: dict[str, Any], s: Shrinking) -> None:
    shape = shape_of(given["self"]) or ()
    dim = given["dim"] % len(shape)
    if (kept := s.kept(given["self"], dim)) is not None:
        set_argument(node, "index", int(np.searchsorted(kept, given["index"] % int(shape[dim]))))


def _index_select(node: fx.Node, given: dict[str, Any], s: Shrinking) -> None:
    shape = shape_of(given["self"]) or ()
    dim = given["dim"] % len(shape)
    kept, mine = s.kept(given["self"], dim), s.kept(node, dim)
    index = s.found.facts.constants(given["index"])
    if kept is None or index is None:
        return
    taken = index.reshape(-1).numpy()
    taken = taken if mine is None else taken[mine]
    moved = torch.from_numpy(np.searchsorted(kept, taken)).to(index.dtype)
    set_argument(node, "index", s.computed(index, str(given["index"].target), moved))


def _cat(node: fx.Node, given: dict[str, Any], s: Shrinking) -> None:
    shape = shape_of(node) or ()
    dim, start = given["dim"] % len(shape), 0
    kept = s.kept(node, dim)
    for tensor in dict.fromkeys(given["tensors"]):
        keep = {d: s.kept(node, d) for d in range(len(shape)) if d != dim}
        if given["tensors"].count(tensor) == 1 and kept is not None:
            start = sum(int((shape_of(t) or ())[dim]) for t in given["tensors"][: given["tensors"].index(tensor)])
            size = int((shape_of(tensor) or ())[dim])
            keep[dim] = kept[(kept >= start) & (kept < start + size)] - start
        s.narrow_operand(node, tensor, keep)


def _attention(node: fx.Node, given: dict[str, Any], s: Shrinking) -> None:
    shape = shape_of(given["query"]) or ()
    if s.kept(given["query"], -1) is not None and given["scale"] is None:
        set_argument(node, "scale", 1.0 / float(shape[-1]) ** 0.5)
    mask = given["attn_mask"]
    if s.found.facts.constants(mask) is not None:
        pairs = [(mine, theirs) for mine, theirs in aligned(node, mask) if mine < len(shape) - 2]
        s.narrow_argument(node, given, "attn_mask", {theirs: s.kept(node, mine) for mine, theirs in pairs})


RULES: dict[Any, Callable[[fx.Node, dict[str, Any], Shrinking], None]] = {
    aten.linear.default: _linear,
    **dict.fromkeys((aten.conv1d.default, aten.conv2d.default, aten.conv3d.default), _conv),
    **dict.fromkeys((aten.conv1d.padding, aten.conv2d.padding, aten.conv3d.padding), _conv),
    **dict.fromkeys((aten.batch_norm.default, aten.group_norm.default), _norm),
    **dict.fromkeys(
        (aten.view.default, aten.reshape.default, aten._unsafe_view.default, aten.unflatten.int, aten.expand.default),
        _sizes,
    ),
    **dict.fromkeys((aten.squeeze.default, aten.squeeze.dim, aten.squeeze.dims), _squeeze),
    aten.embedding.default: _embedding,
    **dict.fromkeys((aten.slice.Tensor, aten.narrow.default), _slice),
    **dict.fromkeys((aten.split.Tensor, aten.split_with_sizes.default, aten.split.sizes, aten.chunk.default), _split),
    aten.select.int: _select,
    aten.index_select.default: _index_select,
    aten.cat.default: _cat,
    aten.scaled_dot_product_attention.default: _attention,
}
