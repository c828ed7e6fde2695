"""The plan is the lowered program as data: which kernel serves which rows, and the bytes and FLOPs of each."""

from __future__ import annotations

import torch
from torch import nn

import spcomp
from spcomp import NM, Recipe, Unstructured

ROWS = 64


def main() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)).eval()
    spcomp.sparsify(model, Recipe(Unstructured(0.9), include=("0",))).remove()
    spcomp.sparsify(model, Recipe(NM(2, 4), include=("2",))).remove()
    compiled = spcomp.compile(model, torch.randn(ROWS, 512), torch.randn(2 * ROWS, 512))

    print(f"plan {compiled.plan.digest}, tuned for {compiled.plan.threads} thread(s)")
    for call in compiled.plan.calls:
        share = call.effective_w_flops(ROWS) / call.dense_flops(ROWS)
        print(
            f"layer {call.layer}, rows {call.rows}: {call.encoding.name} by {call.backend}, {call.weight_nbytes} bytes "
            f"of weights ({call.dense_weight_nbytes()} dense), {share:.0%} of the dense FLOPs are useful"
        )
    for decision in compiled.explain().decisions:
        print(f"layer {decision.layer}: found {decision.pattern}; {decision.reason}")

    text = compiled.plan.to_json()
    assert spcomp.KernelPlan.from_json(text) == compiled.plan


if __name__ == "__main__":
    main()
