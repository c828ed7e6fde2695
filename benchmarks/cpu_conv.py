"""The convolutions of ResNet-50, batch 1: baked code against the fastest dense member, layer by layer and together.

python -m benchmarks.cpu_conv [--quick] [--threads N] [--json FILE]

``conv_14x14_256_3x3_256_u90_hot``: one layer (input plane, channels, window, outputs) again and again, with bias and
ReLU; ``_cold``: one and a half last-level caches of other memory are read before each run, then the input.
``convs_u90_cold``: all layers of the network in order, distinct weights, after reading as much; layers of one geometry
share an input. ``convs_u90_hot``: all of them, from single hot layers.

Each side gets its input and leaves its result as it does inside a network: ours in tiles or padded planes, oneDNN with
the channels last. ``_laid``: ours as one call, as a compiled network makes it. ``_natural``: ours from planes as torch
has them and back, against the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from benchmarks.harness import Benchmark, Target, arguments, cold_flusher
from benchmarks.models import ResNet50
from benchmarks.operators import Layer, cool, dense_members, race
from benchmarks.weights import mask
from spcomp.conv_shape import ConvShape
from spcomp.encodings.matrix import matrix_of
from spcomp.kernel import Kernel
from spcomp.passes.base import Site
from spcomp.plan import Epilogue, RowRange
from spcomp.sparsity.measure import measure

ZEROS = {50: 1.5, 80: 3.2, 90: 5.5, 95: 8.5}
TARGETS = {f"convs_u{zeros}_cold{way}": Target(goal) for zeros, goal in ZEROS.items() for way in ("", "_laid")}
QUICK_DEPTH = (1, 1, 1, 1)

Geometry = tuple[ConvShape, int]
"""A convolution and its output channels."""


def geometries(model: nn.Module, size: int = 224) -> list[Geometry]:
    """Every convolution of a model in the order of its calls, found by running it once."""
    found: list[Geometry] = []

    def note(layer: nn.Module, inputs: tuple[torch.Tensor, ...], _: object) -> None:
        assert isinstance(layer, nn.Conv2d)
        x = inputs[0]
        pairs = [(int(p[0]), int(p[1])) for p in (layer.kernel_size, layer.stride, layer.padding, layer.dilation)]
        found.append((ConvShape(2, x.shape[1], x.shape[2], x.shape[3], *pairs), layer.out_channels))

    hooks = [layer.register_forward_hook(note) for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    with torch.no_grad():
        model(torch.zeros(1, 3, size, size))
    for hook in hooks:
        hook.remove()
    return found


def name_of(geometry: Geometry) -> str:
    shape, n = geometry
    stride = "" if shape.stride == (1, 1) else f"_s{shape.stride[0]}"
    return f"conv_{shape.height}x{shape.width}_{shape.channels}_{shape.kernel[0]}x{shape.kernel[1]}{stride}_{n}"


def layers_of(
    found: Sequence[Geometry], zeros: int, dense: dict[int, dict[str, Kernel]], generator: torch.Generator
) -> list[Layer]:
    """One layer for each convolution, distinct weights; ``dense`` keeps the rivals, which zeros do not change."""
    layers = []
    inputs: dict[ConvShape, tuple[torch.Tensor, ...]] = {}
    forms: dict[tuple[int, str], torch.Tensor] = {}
    for i, (shape, n) in enumerate(found):
        weight = torch.randn(n, *shape.weight_shape, generator=generator) / shape.k**0.5
        matrix = matrix_of(weight)
        matrix = torch.where(mask((n, shape.k), f"u{zeros}", generator), matrix, 0.0).contiguous()
        bias = torch.randn(n, generator=generator)
        site = Site(
            0, "conv", matrix, bias, Epilogue(True, "relu"), measure(matrix), "weight", "bias",
            [RowRange(shape.pixels, shape.pixels)], conv=shape,
        )  # fmt: skip
        if i not in dense:
            dense[i] = dense_members(site)
        if (
            shape not in inputs
        ):  # as small a share of the memory as in a network, where the layer before has just made it
            inputs[shape] = site.example(shape.pixels, generator)
        x = inputs[shape]
        layers.append(Layer(site, x, dense[i], forms=forms))
    return layers


def network(bench: Benchmark, found: Sequence[Geometry], zeros: int, layers: list[Layer], *, quick: bool) -> None:
    """Each distinct layer, then all together."""
    flush = cold_flusher()
    hot_ours = hot_dense = 0.0
    for geometry in dict.fromkeys(found):
        layer, count = layers[found.index(geometry)], found.count(geometry)
        key = f"{name_of(geometry)}_u{zeros}"
        hot = race([layer], None, seconds=0.05 if quick else 0.15)
        hot.report(bench, f"{key}_hot", f"; {count} of them")
        hot_ours += count * hot.ours.median
        hot_dense += count * hot.dense.median
        if not quick:
            race([layer], cool(flush, layer.x), rounds=5).report(bench, f"{key}_cold")
    note = f"{1e3 * hot_ours:.1f} ms, dense {1e3 * hot_dense:.1f} ms: {len(found)} layers, medians added up"
    bench.report(f"convs_u{zeros}_hot", hot_dense / hot_ours, note)
    whole = race(layers, flush, rounds=5 if quick else 9)
    nbytes = f"; {whole.dense_bytes / 1e6:.0f} MB dense, {whole.ours_bytes / 1e6:.0f} MB ours, from memory"
    whole.report(bench, f"convs_u{zeros}_cold", nbytes)


def main() -> None:
    options = arguments(__doc__ or "")
    bench = Benchmark("cpu_conv", TARGETS, options.threads)
    if not options.quick:
        bench.resume(options.json)
    found = geometries(ResNet50(QUICK_DEPTH if options.quick else (3, 4, 6, 3)).eval())
    generator = torch.Generator().manual_seed(0)
    dense: dict[int, dict[str, Kernel]] = {}
    with torch.no_grad():
        for zeros in (90,) if options.quick else ZEROS:
            if f"convs_u{zeros}_cold" in bench.figures:
                continue
            network(bench, found, zeros, layers_of(found, zeros, dense, generator), quick=options.quick)
            bench.save(options.json)
    if options.quick:
        bench.notes["quick"] = f"one block a stage, {len(found)} convolutions: a part of the network only"
    bench.finish(options.json)


if __name__ == "__main__":
    main()
