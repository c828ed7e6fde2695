"""Strided convolutions on tiles: the pieces that are moved, the kernels, and what the pass makes of them."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import spcomp
from spcomp import ops
from spcomp.codegen.baked_cpu import conv, feed
from spcomp.codegen.mlir_cpu import jit, parallel
from spcomp.codegen.mlir_cpu.planes import Planes, planes_text
from spcomp.codegen.mlir_cpu.regroup import Pieces, into_planes, into_tiles, regroup_text
from spcomp.conv_layout import NATURAL, PLANES, TILES, Padded, laid, natural
from spcomp.conv_shape import ConvShape
from spcomp.encodings.csr import Csr
from spcomp.passes.lay_out import make_ready
from spcomp.plan import Epilogue
from spcomp.tolerance import TOLERANCES
from tests.conftest import Golden
from tests.guarded import Guarded
from tests.kernels import fitting, relative
from tests.test_conv import conv_shapes, kernel_of, needs_code, planes_of, reference
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
    for layer in model.children():
        layer.weight.data.mul_(torch.rand(layer.weight.shape) < 0.3)
    compiled = spcomp.compile(model, x, **QUICK)
    gm = laid_out(compiled)
    found = [(n.args[4], n.args[5]) for n in gm.graph.nodes if n.target is ops.CONV_LAID]
    assert sorted(found) == [(NATURAL, TILES), (NATURAL, TILES), (TILES, NATURAL), (TILES, NATURAL), (TILES, NATURAL)]
    assert not [n for n in gm.graph.nodes if n.target is ops.CONV]
    make_ready(gm, compiled.parts.table)
    with torch.no_grad():
        assert relative(run(gm, compiled, x), model(x)) < 1e-5


def moved(pieces: Pieces, x: np.ndarray, room: int, channels: int) -> np.ndarray:
    """What ``regroup`` makes, lane by lane; lanes that it may not load are NaN."""
    out = np.full(room, np.nan)
    for channel in range(channels):
        for starts, masks, lanes in zip(pieces.starts, pieces.masks, pieces.lanes, strict=True):
            here = [start + channel * pieces.steps[0] for start in starts[:2]]
            pair = [
                [x[at + i] if mask >> i & 1 else np.nan for i in range(16)]
                for at, mask in zip(here, masks, strict=False)
            ]
            wide = np.concatenate(pair)[lanes]
            stored = [i for i in range(16) if masks[3] >> i & 1]
            taken = np.array([bool(masks[2] >> i & 1) for i in range(16)])
            at = starts[2] + channel * pieces.steps[1] + np.array(stored)
            assert np.isnan(out[at]).all(), "nothing is stored twice"
            out[at] = np.where(taken, wide, 0.0)[stored]
    return out


@settings(max_examples=60, deadline=None)
@given(shape=conv_shapes(), layout=st.sampled_from([TILES, NATURAL]), rows=st.integers(0, 5), data=st.data())
def test_pieces_put_every_pixel_where_the_planes_have_it(
    shape: ConvShape, layout: str, rows: int, data: st.DataObject
) -> None:
    """Moved lane by lane in numpy, against planes cut by slices: those of all rows, or of a band."""
    planes = Planes(shape, rows)
    lo, hi = planes.rows(*planes.band_tiles(data.draw(st.integers(0, planes.bands - 1))))
    assert hi - lo <= planes.held <= planes.height
    x = torch.arange(1, shape.inputs + 1).float().reshape(1, shape.channels, shape.height, shape.width)
    out = moved(into_planes(planes, lo, hi, layout), laid(x, layout).flatten().numpy(), planes.total, shape.channels)
    (sy, sx), (top, left), high = shape.stride, shape.padding, planes.height
    wide = F.pad(x, (left, left + planes.width * sx, top, top + high * sy))[0].numpy()
    cuts = [(a, b) for a in range(planes.phases[0]) for b in range(planes.phases[1])]
    phases = np.stack([wide[:, a::sy, b::sx][:, lo:hi, : planes.width] for a, b in cuts])
    found = out.reshape(len(cuts), shape.channels, planes.held, planes.width)
    assert np.array_equal(found[:, :, : hi - lo], phases)
    assert np.isnan(found[:, :, hi - lo :]).all(), "nothing else is written"


@settings(max_examples=40, deadline=None)
@given(shape=conv_shapes(), layout=st.sampled_from([TILES, NATURAL]), data=st.data())
def test_pieces_put_every_other_pixel_into_tiles(shape: ConvShape, layout: str, data: st.DataObject) -> None:
    shape = replace(shape, kernel=(1, 1), padding=(0, 0))
    planes = Planes(shape)
    tiles = -(-shape.pixels // 16)
    first = data.draw(st.integers(0, tiles - 1))
    stop = data.draw(st.integers(first + 1, tiles))
    x = torch.arange(1, shape.inputs + 1).float().reshape(1, shape.channels, shape.height, shape.width)
    room = (stop - first) * shape.channels * 16
    out = moved(into_tiles(planes, first, stop, layout), laid(x, layout).flatten().numpy(), room, shape.channels)
    expected = laid(x[:, :, :: shape.stride[0], :: shape.stride[1]], TILES)[0, first:stop]
    assert np.array_equal(out, expected.numpy().reshape(-1))


@needs_code
@settings(max_examples=40, deadline=None)
@given(
    shape=conv_shapes(), layout=st.sampled_from([TILES, NATURAL]), made=st.sampled_from([TILES, NATURAL]),
    threads=st.integers(1, 5), small=st.booleans(), dtype=st.sampled_from(["float32", "bfloat16"]),
)  # fmt: skip
def test_bands_give_what_the_dense_op_gives(
    shape: ConvShape, layout: str, made: str, threads: int, small: bool, dtype: str
) -> None:
    """Panels of two tiles and of as few bytes as may be, by any number of threads, against float64."""
    shape = replace(shape, stride=(shape.stride[0], max(2, shape.stride[1])))
    layout, made = (layout, made) if dtype == "float32" else (NATURAL, NATURAL)
    weight = fitting(Csr(64), 34, shape.k, density=0.3, dtype=dtype)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feed, "BAND_BYTES", 0 if small else feed.BAND_BYTES)
        patch.setattr(feed, "FEWEST_TILES", 1)
        patch.setattr(conv, "FEWEST_TILES", 2)
        patch.setattr(conv, "PANEL_BYTES", 0)
        patch.setattr(parallel, "threads_for", lambda _: threads)
        kernel = kernel_of(Csr(64), shape, weight, Epilogue(False, "relu"), None, None, 2)
        able = kernel.tiles > 2 if kernel.pointwise else small and shape.output[0] > 1
        assert able or not kernel.feed.by_bands
        assert kernel.feed.by_bands or not able or not kernel.pointwise
        x = planes_of(shape, 2, dtype)
        kernel.ready(layout, made, ())
        found = [kernel.on_layout(laid(x, layout), None, layout, made, ()) for _ in range(2)]
    assert torch.equal(*found), "the second call finds everything laid down"
    exact = reference(x, weight, shape, None, "relu")
    assert relative(natural(found[0], made, shape.size(34)), exact) <= TOLERANCES[dtype]


@needs_code
def test_tiles_give_the_bits_that_planes_give() -> None:
    """Sums are the same, in the same order; the rest of a last tile is zero going in."""
    for kernel_size, pixels in ((1, 9), (3, 8), (1, 4)):
        shape = ConvShape(2, 20, pixels, 11, (kernel_size, kernel_size), (2, 2), (kernel_size // 2,) * 2)
        weight = fitting(Csr(64), 34, shape.k, density=0.3)
        kernel = kernel_of(Csr(64), shape, weight, Epilogue(False, "relu"), None, None, 2)
        x = planes_of(shape, 2, "float32")
        for layout in (NATURAL, TILES):
            kernel.ready(layout, TILES, ())
        from_planes = kernel.on_layout(x, None, NATURAL, TILES, ())
        assert torch.equal(kernel.on_layout(laid(x, TILES), None, TILES, TILES, ()), from_planes)


@needs_code
def test_copies_touch_nothing_past_their_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole images, and bands of two tiles: x between pages that cannot be read, what is made between others."""
    monkeypatch.setattr(feed, "FEWEST_TILES", 1)
    monkeypatch.setattr(conv, "FEWEST_TILES", 2)
    for kernel_size, layout, least, at_end in itertools.product((1, 3), (NATURAL, TILES), (0, 1 << 30), (True, False)):
        monkeypatch.setattr(feed, "BAND_BYTES", least)
        monkeypatch.setattr(conv, "PANEL_BYTES", least)
        shape = ConvShape(2, 5, 13, 9, (kernel_size, kernel_size), (2, 2), (kernel_size // 2,) * 2)
        kernel = kernel_of(Csr(64), shape, fitting(Csr(64), 8, shape.k), Epilogue(), None, None)
        kernel.ready(layout, NATURAL, ())
        fed = kernel.feed
        assert fed.by_bands == (least == 0)
        tiles = fed.panel if fed.by_bands else fed.tiles
        size = kernel.planes.total if kernel_size > 1 else tiles * shape.channels * 16
        x = Guarded(laid(planes_of(shape, 1, "float32"), layout).numpy(), at_end=at_end)
        out = Guarded(np.full(size, np.nan, np.float32), at_end=at_end)
        for panel in fed.panels() if fed.by_bands else [(0, fed.tiles)]:
            parallel.run([[fed.band(layout, x.address, out.address, panel)]])
        assert fed.by_bands or not np.isnan(out.view.view(np.float32)).any(), "all of it is written"


def test_the_text(golden: Golden) -> None:
    golden("regroup.mlir", regroup_text() + regroup_text("bf16"))


@needs_code
@settings(max_examples=12, deadline=None)
@given(
    width=st.integers(60, 160),
    stride=st.sampled_from([1, 2, 3]),
    left=st.integers(0, 3),
    rows=st.sampled_from([0, 1, 2]),
)
def test_wide_rows_are_cut_into_phases(width: int, stride: int, left: int, rows: int) -> None:
    """Registers whose lanes are all inside, between some that are not: compiled copies against slices."""
    shape = ConvShape(2, 3, 9, width, (3, 5), (stride, stride), (1, left))
    planes = Planes(shape, rows)
    x = planes_of(shape, 1, "float32")
    (copy,) = jit.compile_all([("planes", planes_text(planes), 2, 4)])
    wide = F.pad(x, (left, left + planes.width * stride, 1, 1 + planes.height * stride))[0]
    for lo, hi in (planes.rows(*planes.band_tiles(band)) for band in range(planes.bands)):
        out = torch.full((planes.phases[0], planes.phases[1], 3, planes.held, planes.width), torch.nan)
        copy.call(x.data_ptr(), out.data_ptr(), 0, 3, lo, hi)
        for a, b in itertools.product(range(planes.phases[0]), range(planes.phases[1])):
            cut = wide[:, a::stride, b::stride][:, lo:hi, : planes.width]
            assert torch.equal(out[a, b, :, : hi - lo], cut)
        assert bool(out[:, :, :, hi - lo :].isnan().all()), "nothing else is written"


@settings(max_examples=60, deadline=None)
@given(shape=conv_shapes(), rows=st.integers(0, 5))
def test_bands_make_every_pixel_once_and_find_what_all_planes_hold(shape: ConvShape, rows: int) -> None:
    """Lane by lane and column by column of the weight: the element of a band's plane is that of the whole one."""
    planes, whole = Planes(shape, rows), Planes(shape)
    pixel = planes.pixel()
    assert sorted(pixel[pixel >= 0]) == list(range(shape.pixels))
    phases = planes.phases[0] * planes.phases[1]
    every = np.arange(whole.total).reshape(phases, shape.channels, whole.height, whole.width)
    lanes = whole.pixel()
    at = {p: lane for lane, p in enumerate(lanes) if p >= 0}
    for band in range(planes.bands):
        first, stop = planes.band_tiles(band)
        lo, hi = planes.rows(first, stop)
        held = np.zeros((phases, shape.channels, planes.held, planes.width), np.int64)
        held[:, :, : hi - lo] = every[:, :, lo:hi]
        for lane in range(first * 16, stop * 16):
            if pixel[lane] >= 0:
                found = held.reshape(-1)[planes.offsets().reshape(-1) + lane - first * 16]
                assert np.array_equal(found, whole.offsets().reshape(-1) + at[pixel[lane]])


def test_a_large_layer_is_cut_into_an_even_number_of_bands_that_fit() -> None:
    """ResNet-50's first strided 3x3: seven rows of the result at a time; its last one is small and stays whole."""
    large = ConvShape(2, 128, 56, 56, (3, 3), (2, 2), (1, 1))
    cut = feed.banded(Planes(large), 51)
    assert (cut.bands, cut.band_rows, cut.held) == (4, 7, 8)
    assert cut.total * 4 <= feed.BAND_BYTES < Planes(large).total * 4
    small = Planes(ConvShape(2, 512, 14, 14, (3, 3), (2, 2), (1, 1)))
    assert feed.banded(small, 51) is small


@needs_code
@pytest.mark.parametrize(("kernel", "side", "channels"), [((1, 1), 40, 16), ((3, 3), 40, 16), ((3, 3), 5, 64)])
def test_threads_share_tiles_where_the_code_is_less_than_x(
    kernel: tuple[int, int], side: int, channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "MIN_PRODUCTS", 0)
    shape = ConvShape(2, channels, side, side, kernel, padding=(kernel[0] // 2, kernel[1] // 2))
    weight = fitting(Csr(64), channels, shape.k, density=0.1)
    x, planes = planes_of(shape, 1, "float32"), Padded(side + 2, side + 2, 1, 1).numbers()
    before, found = torch.get_num_threads(), []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        try:
            made = kernel_of(Csr(64), shape, weight, Epilogue(True, "relu"), torch.ones(channels), None)
            shares = made._shares(threads)
            found.append([made(x), *(made.on_layout(x, None, NATURAL, to, tuple(planes)) for to in (TILES, PLANES))])
        finally:
            torch.set_num_threads(before)
        tiles = sorted(panel for panels in {tuple(p) for p, _ in shares} for panel in panels)
        assert [lo for lo, _ in tiles] == [0, *(hi for _, hi in tiles[:-1])], "each tile once"
        assert tiles[-1][1] == made.tiles
        assert len({tuple(p) for p, _ in shares}) == (threads if side == 40 else 1)
    assert all(torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))
