"""Ways to run a chain of layers: a call each, or all calls laid down as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from spcomp.codegen.mlir_cpu.chain import ChainKernel
from spcomp.codegen.mlir_cpu.laid_down import Chain, LinearKernel, Step, Work
from spcomp.conv_layout import TILES, shape_of
from spcomp.kernel import Kernel, LaidKernel

if TYPE_CHECKING:
    from benchmarks.operators import Layer


def walk(layers: Sequence[Layer], kernels: Sequence[Kernel]) -> Callable[[], None]:
    return each([layer.run(kernel) for layer, kernel in zip(layers, kernels, strict=True)])


def chained(layers: Sequence[Layer], kernels: Sequence[Kernel]) -> Callable[[], object] | None:
    """All calls laid down as one; each layer reads its own x, as in a walk. None where a kernel does not offer that."""
    steps, given = [], []
    for layer, kernel in zip(layers, kernels, strict=True):
        work: Work | None = None
        if isinstance(kernel, ChainKernel) and isinstance(kernel, LaidKernel) and kernel.laid_served:
            assert kernel.call.conv is not None
            xs, layout = layer.handed()
            work, shape = kernel.work(layout, TILES, ()), shape_of(TILES, kernel.call.conv.size(kernel.call.n), ())
        elif isinstance(kernel, LinearKernel):
            (xs,), work, shape = layer.x, kernel.work_on_rows(layer.m), (layer.m, kernel.call.n)
        if work is None:
            return None
        given.append(xs)
        steps.append(Step(work, (-len(given),), shape))
    chain = Chain(steps, len(given), ())
    return lambda: chain(given)


def each(calls: Sequence[Callable[[], object]]) -> Callable[[], None]:
    def run() -> None:
        for call in calls:
            call()

    return run
