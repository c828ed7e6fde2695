"""Analysis and graph passes alone: time and memory on two large shapes, and whether anything removable is left.

python -m benchmarks.passes [--quick]

BERT-base in float32 and a Llama of 1.1 billion weights in bfloat16, once with 90 % of their weights zeroed at random
and once with 40 % of the channels of their feed-forward parts and heads. Passes are timed one by one as they run in one
pipeline (and what lies between them: verification, and Python code of the last graph), in a process of its own for each
model, in seconds of CPU (wall beside, which says little on a shared machine); export, tuning and
kernels are not part of it. Before, as much memory as the weights take is written to once and given back: on a virtual
machine the first touch of a page that the host has yet to find costs 4 s/GB, a later one 0.5. ``extra`` is the peak of
resident memory over what there was before the first pass, as a multiple of the weights' bytes (the cut copies are part
of it).

Completeness: networks with 40 % of their channels, heads and experts zeroed, captured, passed through ``SHRINK``:
``left`` counts the slices that the rules could still remove. ``--quick`` takes BERT-base and small networks alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from benchmarks.compile_time import peak_bytes, reset_peak
from benchmarks.harness import Benchmark, Target, arguments, pin
from benchmarks.pass_models import COMPLETE, LARGE, against_groups
from spcomp.passes.base import Pass, PassContext

TARGETS = {
    **{f"bert {kind}: seconds": Target(1.0, "<=") for kind in ("random", "channels")},
    **{f"llama {kind}: seconds": Target(10.0, "<=") for kind in ("random", "channels")},
    **{f"llama {kind}: extra": Target(1.5, "<=") for kind in ("random", "channels")},
    **{f"{name}: left": Target(0, "<=") for name in COMPLETE},
    "weights over dependency groups'": Target(1.0, "<="),
}


@dataclass(frozen=True)
class Timed:
    """A pass, and where to put the CPU seconds that it takes."""

    inner: Pass
    name: str  # type: ignore[misc]
    seconds: dict[str, float]

    def run(self, gm: torch.fx.GraphModule, ctx: PassContext) -> torch.fx.GraphModule:
        start = time.process_time()
        gm = self.inner.run(gm, ctx)
        self.seconds[self.name] = time.process_time() - start
        return gm


def timed(name: str, kind: str) -> dict[str, Any]:
    """Seconds of every pass of the pipeline, and peak memory over the weights', in this process."""
    from spcomp.capture import Example, capture
    from spcomp.passes.base import run_passes
    from spcomp.passes.pipelines import ANALYSE, SHRINK

    model, example = LARGE[name](kind)
    weights = sum(p.nbytes for p in dict.fromkeys(model.parameters()))
    gm = capture(model, [Example.of(example)]).gm
    ctx = PassContext()
    touch(weights)
    before = reset_peak()
    seconds: dict[str, float] = {}
    wall, whole = time.perf_counter(), time.process_time()
    gm = run_passes(tuple(Timed(p, f"{i} {p.name}", seconds) for i, p in enumerate((*SHRINK, *ANALYSE[1:]))), gm, ctx)
    whole, wall = time.process_time() - whole, time.perf_counter() - wall
    seconds["- between passes"] = whole - sum(seconds.values())
    kept = sum(site.weight.nbytes for site in ctx.sites.values())
    return {
        "seconds": seconds, "extra": (peak_bytes() - before) / weights, "weights": weights, "sites": len(ctx.sites),
        "kept": kept / weights, "wall": wall, "nodes": len(gm.graph.nodes),
    }  # fmt: skip


def touch(nbytes: int) -> None:
    """Have the host find pages for this much memory, and give them back to the system, which hands them out again."""
    torch.empty(nbytes, dtype=torch.uint8).fill_(1)


def left(model: nn.Module, example: Any) -> tuple[int, list[tuple[int, ...]]]:
    """Slices that could still go after ``SHRINK``, and the shapes of the weights that are left."""
    from spcomp.capture import Example, capture
    from spcomp.passes.base import PassContext, attribute, run_passes
    from spcomp.passes.conv import is_conv
    from spcomp.passes.pipelines import SHRINK
    from spcomp.passes.propagate_sparsity import propagate

    gm = run_passes(SHRINK, capture(model, [Example.of(example)]).gm, PassContext())
    shapes = []
    for node in gm.graph.nodes:
        if node.target is torch.ops.aten.linear.default or is_conv(node):
            held = node.args[1]
            assert isinstance(held, torch.fx.Node)
            shapes.append(tuple(attribute(gm, held).shape if held.op == "get_attr" else held.meta["val"].shape))
    return sum(int(cut.sum()) for cut in propagate(gm).cuts.cut.values()), shapes


def run(name: str, kind: str, threads: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.passes", "--child", f"{name},{kind}", "--threads", str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{name} {kind} failed:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    options = arguments(__doc__ or "", child={"default": None})
    if options.child:
        pin(options.threads)
        name, kind = options.child.split(",")
        print(json.dumps(timed(name, kind)))
        return
    bench = Benchmark("passes", TARGETS, options.threads)
    for name in ("bert",) if options.quick else LARGE:
        for kind in ("random", "channels"):
            found = run(name, kind, options.threads)
            note = f"wall {found['wall']:.1f}; " + ", ".join(
                f"{k.partition(' ')[2]} {v:.2f}" for k, v in found["seconds"].items()
            )
            bench.report(f"{name} {kind}: seconds", sum(found["seconds"].values()), note, found)
            bench.report(f"{name} {kind}: extra", found["extra"], f"of {found['weights'] / 1e9:.2f} GB")
            bench.report(f"{name} {kind}: kept", found["kept"], "bytes of the layers that are left, of all weights")
    for name, make in COMPLETE.items():
        model, example = make()
        count, shapes = left(model, example)
        bench.report(
            f"{name}: left", count, f"{len(shapes)} layers, {sum(torch.Size(s).numel() for s in shapes)} weights"
        )
    groups = against_groups(left)
    if groups is None:
        print("torch-pruning is not installed: no dependency groups to compare with")
    else:
        bench.report("weights over dependency groups'", *groups)
    bench.finish(options.json)


if __name__ == "__main__":
    main()
