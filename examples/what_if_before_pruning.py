"""Before pruning: which layers would gain from zeros, in which pattern, and from how many on."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from torch import nn

import spcomp

ROWS = 64


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)  # as the cost model has it
    model = nn.Sequential(nn.Linear(256, 512), nn.GELU(), nn.Linear(512, 256), nn.GELU(), nn.Linear(256, 10)).eval()
    x = torch.randn(ROWS, 256)

    found = spcomp.what_if(model, x, patterns=["unstructured", "nm 2:4", "block 8x8"], zeros=(0.5, 0.9))
    print(found)  # by the cost model, in a moment; rich prints it in colours, a notebook as heat maps

    for layer in found.layers:
        for pattern, zeros in layer.crossovers.items():
            when = "never pays" if zeros is None else f"pays from {zeros:.0%} zeros on"
            print(f"layer {layer.name}, {pattern}: {when}")

    timed = spcomp.what_if(model, x, patterns="block 8x8", zeros=0.9, include="0", measure=True)
    for prospect in timed.layers[0].prospects:
        speedup = "no kernel" if prospect.speedup is None else f"{prospect.speedup:.2f}x of best dense"
        print(
            f"{timed.origin}: layer 0, {prospect.pattern} at {prospect.zeros:.0%}: {speedup}, {prospect.nbytes} bytes"
        )

    with tempfile.TemporaryDirectory() as folder:
        page = found.save_html(Path(folder) / "what-if.html")
        print(f"heat maps as one page of {page.stat().st_size} bytes")


if __name__ == "__main__":
    main()
