"""Never slower: what the planner chooses for one layer at a static row count, against best dense, over a grid."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.harness import Benchmark, Ratio, ratio
from benchmarks.operators import dense_members
from benchmarks.weights import mask, site_of
from spcomp.kernel import Kernel
from spcomp.options import Options
from spcomp.passes.base import Site
from spcomp.passes.choose import DENSE, is_dense
from spcomp.passes.propose import call_for
from spcomp.plan import RowRange
from spcomp.planning import make_planner
from spcomp.profiling.timing import interleave_for

ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
ZEROS = (0, 50, 60, 70, 80, 90, 95, 99)
SHAPES = ((768, 768), (3072, 768))
FLOOR = 0.97
SECONDS = (0.25, 1.5)
"""Time of a race, and of the second one where the first one's lower bound was below the floor."""


def planned_kernel(site: Site, folder: Path) -> tuple[str, Kernel | None]:
    """Name and kernel of the planner's choice at the site's one row count; no kernel where that is a dense member."""
    planner = make_planner(Options(cache_dir=folder), site.weight.nbytes)
    planned = planner.plan(site)
    name = planned.choice.ranges[0][1]
    if is_dense(name):
        return name.removeprefix(DENSE), None
    candidate = planned.candidates[name]
    packed = planner.pack(site, candidate)
    call = call_for(site, candidate, site.domains[0], planner.target, packed.digest)
    return name, planner.backends[candidate.backend].build(call, packed, site.bias, site.scale)


def race_choice(site: Site, name: str, kernel: Kernel | None, seconds: float) -> tuple[Ratio, Ratio, str]:
    """(best dense over the choice, the choice over itself, the member that was best)."""
    x = site.example(site.domains[0].lo)
    members = dense_members(site)
    chosen = kernel or members[name]
    work = {"chosen": chosen, "control": chosen, **members}
    times = interleave_for({n: (lambda k=k: k(*x)) for n, k in work.items()}, seconds, least=9)  # type: ignore[misc]
    best = min(members, key=lambda n: times[n].median)
    return ratio(times[best], times["chosen"]), ratio(times["control"], times["chosen"]), best


def grid(
    bench: Benchmark,
    rows: Sequence[int] = ROWS,
    zeros: Sequence[int] = ZEROS,
    shapes: Sequence[tuple[int, int]] = SHAPES,
    *,
    save: Path | None = None,
) -> None:
    """Report every cell, the worst lower bound, and how many are below the floor (twice, for noise passes).

    A choice that is the fastest dense member itself is best dense and counts as 1, whatever its race says.
    """
    lowers: dict[str, float] = {}
    controls: dict[str, float] = {}
    again = 0
    generator = torch.Generator().manual_seed(3)
    with tempfile.TemporaryDirectory() as folder:
        for n, k in shapes:
            for share in zeros:
                weight = torch.randn(n, k, generator=generator)
                site = site_of(torch.where(mask((n, k), f"u{share}", generator), weight, 0.0), 1)
                for m in rows:
                    key = f"grid_{n}x{k}_m{m}_u{share}"
                    if key in bench.figures:
                        found = bench.details[key]
                        lowers[key], controls[key] = (1.0 if found["same"] else found["lower"]), found["control"]
                        continue
                    cell = replace(site, domains=[RowRange(m, m)])
                    name, kernel = planned_kernel(cell, Path(folder))
                    for seconds in SECONDS:
                        gain, control, best = race_choice(cell, name, kernel, seconds)
                        same = kernel is None and name == best
                        if same or gain.lower >= FLOOR:
                            break
                        again += seconds == SECONDS[0]
                    lowers[key], controls[key] = (1.0 if same else gain.lower), control.lower
                    note = (
                        f"lower {gain.lower:.3f}, A/A {control.value:.3f} (lower {control.lower:.3f}); {name} : {best}"
                    )
                    bench.report(
                        key,
                        gain.value,
                        note,
                        {
                            "lower": gain.lower,
                            "control": control.lower,
                            "kernel": name,
                            "same": same,
                        },
                    )
                bench.save(save)
    worst = min(lowers, key=lowers.__getitem__)
    bench.report(
        "grid_worst", lowers[worst], f"lower bound at {worst}; the control's lowest {min(controls.values()):.3f}"
    )
    bench.report("grid_cells", len(lowers))
    bench.report("grid_below", sum(v < FLOOR for v in lowers.values()), f"{again} cells were raced twice")
