"""Time kernels on tiles: what a layer takes where its neighbours hand tiles over and take them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch

from spcomp.cost.model import Measuring
from spcomp.kernel import Kernel, TilesKernel
from spcomp.passes.base import Site

LANES = 16
"""Rows of a tile."""
NEVER = 1e5
"""Seconds under which a kernel that knows no tiles is filed, so that it need not be built to be asked again."""


def may_have_tiles(site: Site, points: Sequence[int]) -> bool:
    """Whether a layer can be given tiles: float32 with one row count, for others are never given any."""
    one = len(points) == 1 and points[0] >= LANES
    return one and site.conv is None and not site.epilogue.residual and site.dtype == "float32"


def seconds_on_tiles(
    tuner: Measuring,
    site: Site,
    m: int,
    key: Mapping[str, object],
    kernels: Mapping[str, Callable[[], Kernel]],
    cold_bytes: int,
    rewarm: Callable[[], object],
) -> dict[str, float]:
    """{name it is filed under: seconds} of the kernels that know tiles, where neither x is packed nor y unpacked.

    ``kernels``: {name it is filed under: what builds it}, called only where a time is missing; ``key``: what can change
    a measurement.
    """
    key, names = {**key, "layout": "tiles"}, frozenset(kernels)
    if (seconds := tuner.remembered(key, names)) is None:
        built = {file: build() for file, build in kernels.items()}
        able = {file: k for file, k in built.items() if isinstance(k, TilesKernel) and k.tiles_served}
        seconds = _timed(tuner, site, m, key, able, cold_bytes, rewarm) if able else {}
        if unable := names - able.keys():
            tuner.remember(key, dict.fromkeys(unable, NEVER))
    return {file: s for file, s in seconds.items() if s < NEVER}


def _timed(
    tuner: Measuring,
    site: Site,
    m: int,
    key: Mapping[str, object],
    able: Mapping[str, TilesKernel],
    cold_bytes: int,
    rewarm: Callable[[], object],
) -> dict[str, float]:
    xs = torch.randn(-(-m // LANES), site.k, LANES)

    def warm() -> None:
        xs.sum()
        rewarm()

    def at(kernel: TilesKernel) -> Callable[[], object]:
        return lambda: kernel.on_tiles(xs)

    return tuner.measure(
        key, lambda: {file: at(k) for file, k in able.items()}, frozenset(able),
        cold_bytes=cold_bytes, warm=warm, own=site.weight,
    )  # fmt: skip
