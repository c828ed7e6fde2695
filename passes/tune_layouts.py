"""Time a convolution's kernel in the layouts that it reads and makes: what a neighbour's layout is worth to it.

3x3, stride 1: x in planes, natural or in tiles; the result natural, in tiles or in planes: nine times of one image
in int8: x in pixels or natural, and so the result: four

Hot: layouts cost the same whatever the caches hold of the weight. Layers of one geometry and one density share times.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Iterator, Mapping

import torch

from spcomp.conv_layout import PLANES, Padded, laid, makes, reads
from spcomp.conv_shape import ConvShape
from spcomp.cost.model import Measuring
from spcomp.kernel import Kernel, LaidKernel
from spcomp.passes.base import Site
from spcomp.passes.conv_layouts import LaidSeconds
from spcomp.passes.tune_tiles import NEVER

LONGEST_SECONDS = 10e-3
"""Of an image: kernels that take longer are not timed in layouts, which bounds what a layer adds to three seconds."""


def seconds_in_layouts(
    tuner: Measuring, site: Site, key: Mapping[str, object], name: str, kernel: Callable[[], Kernel], quantize: str = ""
) -> LaidSeconds | None:
    """What a kernel takes for one image in every layout; None of one that knows no layouts.

    ``key``: what can change a measurement; ``name``: under which the kernel is filed; ``kernel`` is called only where
    a time is missing.
    """
    assert site.conv is not None
    pairs = {
        f"{name} {given} to {made}": (given, made) for given, made in tried(site.conv, site.epilogue.residual, quantize)
    }
    key, names = {**key, "layout": "one image"}, frozenset(pairs)
    if (seconds := tuner.remembered(key, names)) is None:
        built = kernel()
        if isinstance(built, LaidKernel) and built.laid_served:
            seconds = tuner.measure(key, lambda: dict(_work(site, built, pairs)), names, cold_bytes=0)
        else:
            tuner.remember(key, seconds := dict.fromkeys(names, NEVER))
    if max(seconds.values()) >= NEVER:
        return None
    return added({pair: seconds[file] for file, pair in pairs.items()})


def tried(conv: ConvShape, residual: bool, quantize: str = "") -> list[tuple[str, str]]:
    """(layout of x, layout of the result) of what is timed: a residual is never in planes, nor what is made with it."""
    made = [layout for layout in makes(quantize) if not (residual and layout == PLANES)]
    return list(itertools.product(reads(conv, quantize), made))


def added(seconds: Mapping[tuple[str, str], float]) -> LaidSeconds:
    """The nearest sums to the times of all pairs (least squares): means over what is made, and over what is read."""
    given, made = ({pair[side]: None for pair in seconds} for side in (0, 1))
    mean = statistics.fmean(seconds.values())
    return LaidSeconds(
        {g: statistics.fmean(seconds[g, m] for m in made) for g in given},
        {m: statistics.fmean(seconds[g, m] for g in given) - mean for m in made},
    )


def _work(
    site: Site, kernel: LaidKernel, pairs: Mapping[str, tuple[str, str]]
) -> Iterator[tuple[str, Callable[[], object]]]:
    assert site.conv is not None
    x, *others = site.example(site.pixels)
    high, wide = site.conv.output
    around = tuple(Padded(high + 2 * (high > 1), wide + 2, int(high > 1), 1).numbers())
    for file, (given, made) in pairs.items():
        xs = laid(x, given, Padded.read_by(site.conv).numbers() if given == PLANES else ())
        planes = around if made == PLANES else ()
        other = laid(others[0], made, planes) if others else None
        kernel.ready(given, made, planes)
        yield file, _call(kernel, xs, other, given, made, planes)


def _call(
    kernel: LaidKernel, x: torch.Tensor, other: torch.Tensor | None, given: str, made: str, planes: tuple[int, ...]
) -> Callable[[], object]:
    return lambda: kernel.on_layout(x, other, given, made, planes)
