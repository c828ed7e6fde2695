"""Time kernels on tiles: what a layer takes where its neighbours hand tiles over and take them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch

from spcomp.cost.model import Measuring
from spcomp.kernel import Kernel, TilesKernel
from spcomp.passes.base import Site

LANES = 16
"""Rows of a tile."""


def may_have_tiles(site: Site, points: Sequence[int]) -> bool:
    """Whether a layer can be given tiles: float32 with one row count, for others are never given any."""
    one = len(points) == 1 and points[0] >= LANES
    return one and site.conv is None and not site.epilogue.residual and site.dtype == "float32"


def seconds_on_tiles(
    tuner: Measuring,
    site: Site,
    m: int,
    key: Mapping[str, object],
    kernels: Mapping[str, tuple[str, Kernel]],
    cold_bytes: int,
    rewarm: Callable[[], object],
) -> dict[str, float]:
    """{name: seconds} of the kernels that know tiles, where neither x is packed nor y unpacked.

    ``kernels``: {name it is filed under: (name, kernel)}; ``key``: what can change a measurement.
    """
    able = {file: (name, k) for file, (name, k) in kernels.items() if isinstance(k, TilesKernel) and k.tiles_served}
    if not able:
        return {}
    xs = torch.randn(-(-m // LANES), site.k, LANES)

    def warm() -> None:
        xs.sum()
        rewarm()

    def at(kernel: TilesKernel) -> Callable[[], object]:
        return lambda: kernel.on_tiles(xs)

    seconds = tuner.measure(
        {**key, "layout": "tiles"}, lambda: {file: at(k) for file, (_, k) in able.items()}, frozenset(able),
        cold_bytes=cold_bytes, warm=warm, own=site.weight,
    )  # fmt: skip
    return {name: seconds[file] for file, (name, _) in able.items() if file in seconds}
