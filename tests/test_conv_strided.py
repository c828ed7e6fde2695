"""Strided convolutions on tiles: the pieces that are moved, the kernels, and what the pass makes of them."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from torch import nn

import spcomp
from spcomp import ops
from spcomp.codegen.mlir_cpu.planes import Planes
from spcomp.codegen.mlir_cpu.regroup import into_planes, regroup_text
from spcomp.conv_layout import NATURAL, TILES, laid
from spcomp.conv_shape import ConvShape
from spcomp.encodings.csr import Csr
from spcomp.passes.lay_out import make_ready
from spcomp.plan import Epilogue
from tests.conftest import Golden
from tests.guarded import Guarded
from tests.kernels import fitting, relative
from tests.test_conv import conv_shapes, kernel_of, needs_code, planes_of
from tests.test_conv_layouts import QUICK, laid_out, run


@needs_code
def test_strided_convolutions_read_tiles() -> None:
    """The first block of a stage: two readers of stride 2, one of them of a value that another wants in tiles."""

    class First(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.a, self.down = nn.Conv2d(8, 24, 1), nn.Conv2d(24, 16, 1), nn.Conv2d(24, 40, 1, stride=2)
            self.b, self.c = nn.Conv2d(16, 16, 3, stride=2, padding=1), nn.Conv2d(16, 40, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = F.relu(self.stem(x))
            return F.relu(self.c(F.relu(self.b(F.relu(self.a(x))))) + self.down(x))

    torch.manual_seed(2)
    model, x = First().eval(), torch.randn(2, 8, 13, 9)
    for conv in model.children():
        conv.weight.data.mul_(torch.rand(conv.weight.shape) < 0.3)
    compiled = spcomp.compile(model, x, **QUICK)
    gm = laid_out(compiled)
    found = [(n.args[4], n.args[5]) for n in gm.graph.nodes if n.target is ops.CONV_LAID]
    assert sorted(found) == [(NATURAL, TILES), (NATURAL, TILES), (TILES, NATURAL), (TILES, NATURAL), (TILES, NATURAL)]
    assert not [n for n in gm.graph.nodes if n.target is ops.CONV]
    make_ready(gm, compiled.parts.table)
    with torch.no_grad():
        assert relative(run(gm, compiled, x), model(x)) < 1e-5


@settings(max_examples=60, deadline=None)
@given(shape=conv_shapes())
def test_pieces_put_every_pixel_where_the_planes_have_it(shape: ConvShape) -> None:
    """Moved lane by lane in numpy, against planes cut by slices."""
    planes = Planes(shape)
    x = torch.arange(1, shape.inputs + 1).float().reshape(1, shape.channels, shape.height, shape.width)
    tiles = laid(x, TILES).flatten().numpy()
    pieces = into_planes(planes)
    out = np.full(planes.total, np.nan)
    for channel in range(shape.channels):
        for at, mask in zip(pieces.around, pieces.zeros, strict=True):
            lanes = [i for i in range(16) if mask >> i & 1]
            out[channel * pieces.step + at + lanes] = 0.0
        for source, mask, to in zip(pieces.source, pieces.taken, pieces.to, strict=True):
            lanes = np.array([i for i in range(16) if mask >> i & 1])
            out[channel * pieces.step + to + np.arange(len(lanes))] = tiles[source + channel * 16 + lanes]
    (sy, sx), (top, left), high = shape.stride, shape.padding, planes.plane // planes.width
    wide = F.pad(x, (left, left + planes.width * sx, top, top + high * sy))[0].numpy()
    cuts = [(a, b) for a in range(planes.phases[0]) for b in range(planes.phases[1])]
    phases = [wide[:, a::sy, b::sx][:, :high, : planes.width] for a, b in cuts]
    assert np.array_equal(out, np.stack(phases).reshape(-1))


@needs_code
def test_tiles_give_the_bits_that_planes_give() -> None:
    """Sums are the same, in the same order; the rest of a last tile is zero going in."""
    for kernel_size, pixels in ((1, 9), (3, 8), (1, 4)):
        shape = ConvShape(2, 20, pixels, 11, (kernel_size, kernel_size), (2, 2), (kernel_size // 2,) * 2)
        weight = fitting(Csr(64), 34, shape.k, density=0.3)
        kernel = kernel_of(Csr(64), shape, weight, Epilogue(False, "relu"), None, None, 2)
        x = planes_of(shape, 2, "float32")
        for given_ in (NATURAL, TILES):
            kernel.ready(given_, TILES, ())
        from_planes = kernel.on_layout(x, None, NATURAL, TILES, ())
        assert torch.equal(kernel.on_layout(laid(x, TILES), None, TILES, TILES, ()), from_planes)


@needs_code
def test_regrouping_touches_nothing_past_its_buffers() -> None:
    for kernel_size in (1, 3):
        shape = ConvShape(2, 5, 7, 9, (kernel_size, kernel_size), (2, 2), (kernel_size // 2,) * 2)
        kernel = kernel_of(Csr(64), shape, fitting(Csr(64), 8, shape.k), Epilogue(), None, None)
        move = kernel._regrouping()
        assert move is not None
        x = laid(planes_of(shape, 1, "float32"), TILES)
        room = Planes(shape).total if kernel_size > 1 else -(-shape.pixels // 16) * shape.channels * 16
        given_, out = Guarded(x.numpy()), Guarded(np.full(room, np.nan, np.float32))
        move(given_.address, out.address, 1)
        assert not np.isnan(out.view.view(np.float32)).any(), "all of it is written"


def test_the_text(golden: Golden) -> None:
    golden("regroup.mlir", regroup_text())
