"""A pass of one's own: a frozen dataclass that rewrites the captured graph, checked after it like every other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import fx, nn

from spcomp.capture import Example, capture
from spcomp.passes.base import PassContext, describe, run_passes
from spcomp.passes.pipelines import SHRINK

aten = torch.ops.aten


@dataclass(frozen=True)
class DropScaleByOne:
    """Take multiplications by one out.

    before:  %y : aten.mul(%x, 1.0); %z : aten.relu(%y)
    after:   %z : aten.relu(%x)
    """

    tolerance: float = 0.0
    name: ClassVar[str] = "drop-scale-by-one"

    def run(self, gm: fx.GraphModule, ctx: PassContext) -> fx.GraphModule:
        found = [n for n in gm.graph.nodes if n.target is aten.mul.Tensor and self.is_one(n.args[1])]
        for node in found:
            node.replace_all_uses_with(node.args[0])
            gm.graph.erase_node(node)
        if found:  # nothing to do returns the same object, untouched
            gm.recompile()
        return gm

    def is_one(self, factor: object) -> bool:
        return isinstance(factor, float) and abs(factor - 1.0) <= self.tolerance


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(32, 64), nn.Linear(64, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second((self.first(x) * 1.0).relu())  # type: ignore[no-any-return]


def main() -> None:
    torch.manual_seed(0)
    model, x = Scaled().eval(), torch.randn(4, 32)
    pipeline = (*SHRINK, DropScaleByOne(tolerance=1e-9))
    print("pipeline:", ", ".join(describe(p) for p in pipeline))

    gm = capture(model, [Example.of(x)]).gm
    before = len(gm.graph.nodes)
    gm = run_passes(pipeline, gm, PassContext())  # after each pass, the graph is verified
    print(f"{before} nodes before, {len(gm.graph.nodes)} after:")
    for node in gm.graph.nodes:
        print(f"  {node.format_node()}")

    with torch.no_grad():
        (y,) = gm(x)  # results are one flat tuple from the first pass on
        assert torch.equal(y, model(x))
    assert not any(n.target is aten.mul.Tensor for n in gm.graph.nodes)


if __name__ == "__main__":
    main()
