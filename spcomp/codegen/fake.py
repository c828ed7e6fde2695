"""Give every node of a flat graph a fake value, with fresh symbols for dynamic sizes.

A graph just captured and the same graph read back from disk go through here alike, so that Inductor's own cache sees
one and the same program.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import fx
from torch._dispatch.python import enable_python_dispatcher
from torch._dynamo.source import ConstantSource
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv
from torch.fx.passes.fake_tensor_prop import FakeTensorProp

from spcomp.signature import Constant, Signature, evaluate


def refake(
    gm: fx.GraphModule,
    lifted: Sequence[torch.Tensor],
    signature: Signature,
    hints: dict[str, int],
) -> None:
    """Set ``meta["val"]`` of every node. ``hints``: a typical value of every symbol; unequal ones stay apart."""
    env = ShapeEnv()
    mode = FakeTensorMode(shape_env=env, allow_non_fake_inputs=True)
    values: dict[str, torch.SymInt] = {}
    taken: set[int] = set()
    for name, symbol in signature.symbols.items():
        hint = max(hints[name], symbol.lo, 2)
        while hint in taken:
            hint += 1
        taken.add(hint)
        expression = env.create_symbol(hint, source=ConstantSource(name), dynamic_dim=DimDynamic.DYNAMIC)
        env.constrain_symbol_range(expression, max(2, symbol.lo), symbol.hi if symbol.hi is not None else (1 << 62))
        value = env.create_symintnode(expression, hint=hint)
        assert isinstance(value, torch.SymInt)
        values[name] = value
    inputs: list[object] = [mode.from_tensor(t, static_shapes=True) for t in lifted]
    with mode:
        for leaf, device in zip(signature.leaves, signature.on, strict=True):
            if isinstance(leaf, Constant):
                inputs.append(leaf.value)
                continue
            shape = [evaluate(d, values) for d in leaf.shape]
            inputs.append(torch.empty(shape, dtype=getattr(torch, leaf.dtype), device=device))
    for node in gm.graph.nodes:
        node.meta.pop("val", None)
        node.meta.pop("tensor_meta", None)
    with enable_python_dispatcher():  # as torch.export has it: some ops take symbolic sizes there alone
        FakeTensorProp(gm, mode).propagate_dont_convert_inputs(*inputs)
    for node in gm.graph.nodes:
        if node.op == "placeholder" and "val" not in node.meta:
            node.meta["val"] = None
