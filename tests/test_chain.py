"""Layers laid down as one call: where their values lie, chains against one op after the other, and the graphs."""

from __future__ import annotations

import ctypes
import random
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import fx

import spcomp
from spcomp import ops
from spcomp.codegen.chains import MOST_LINKS, chained
from spcomp.codegen.fake import refake
from spcomp.codegen.inductor import unavailable
from spcomp.codegen.mlir_cpu import laid_down, parallel
from spcomp.codegen.mlir_cpu.chain import MOST_KEPT, Part, conv_chain, parts_of
from spcomp.codegen.mlir_cpu.laid_down import ALIGNMENT, Work, offsets
from spcomp.codegen.mlir_cpu.scratch import scratch
from spcomp.conv_layout import NATURAL, PIXELS, PLANES, TILES, laid, shape_of
from spcomp.conv_shape import ConvShape
from spcomp.encodings.csr import Csr
from spcomp.ops_chain import CONV_CHAIN, Link, links_of, one_by_one, program_of
from spcomp.plan import Epilogue
from tests.guarded import guarded
from tests.kernels import fitting, inputs, relative
from tests.test_conv import kernel_of, needs_code, vectors
from tests.test_conv_layouts import QUICK, _plain, laid_out, network

Size = tuple[int, ...]
LINKS = ops.CONV, ops.CONV_LAID, ops.MAX_POOL
OURS = *LINKS, CONV_CHAIN
LAYOUTS = NATURAL, TILES, PLANES
needs_inductor = pytest.mark.skipif(unavailable() is not None, reason=str(unavailable()))


def pages(nbytes: int) -> int:
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


spans = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 9)), min_size=1, max_size=25).map(sorted)
"""First steps at which values are needed, and for how many more."""


@given(found=spans, sizes=st.lists(st.integers(1, 5 * ALIGNMENT), min_size=25, max_size=25))
def test_values_lie_apart_and_where_others_were(found: list[tuple[int, int]], sizes: list[int]) -> None:
    needs = [(size, first, first + more) for size, (first, more) in zip(sizes, found, strict=False)]
    places, nbytes = offsets(needs)
    assert nbytes == max(at + size for at, (size, *_) in zip(places, needs, strict=True))
    assert all(at >= 0 and at % ALIGNMENT == 0 for at in places)
    for i, (size, first, last) in enumerate(needs):
        for at, (other, begin, end) in zip(places[:i], needs, strict=False):
            if begin <= last and first <= end:
                assert places[i] >= at + other or at >= places[i] + size
    most = max(sum(first <= step <= last for _, first, last in needs) for step in range(30))
    alike = [(ALIGNMENT + 1, first, last) for _, first, last in needs]
    assert offsets(alike)[1] == (2 * most - 1) * ALIGNMENT + 1, "of values that are needed no more is used again"


def test_links_become_a_program_and_back() -> None:
    laid_ = Link((-1, -2), (8, 4, 5), 3, NATURAL, PLANES, (6, 7, 1, 1))
    pooled = Link((1,), (8, 2, 3), plane=(4, 5), window=((3, 3), (2, 2), (1, 1)))
    for made in ((), (laid_, Link((0,), (8, 4, 5), 0, PLANES), pooled)):
        assert links_of(program_of(made)) == made
        assert hash(links_of(program_of(made))) == hash(made), "tuples, all of them"


def check(parts: Sequence[Part], links: Sequence[Link]) -> None:
    """All links, in order; chains as long as may be; a value is there when it is taken and goes after its last use."""
    lengths = [1 if part.chain is None else len(part.chain.steps) for part in parts]
    assert sum(lengths) == len(links)
    assert all(part.chain is None or length > 1 for part, length in zip(parts, lengths, strict=True))
    assert not any(a.chain is not None and b.chain is not None for a, b in pairwise(parts))
    there, at = {v for link in links for v in link.reads if v < 0}, 0
    for i, (part, length) in enumerate(zip(parts, lengths, strict=True)):
        mine, at = range(at, at + length), at + length
        assert set(part.takes) == {v for j in mine for v in links[j].reads if v not in mine}
        assert there >= set(part.takes)
        there |= set(part.makes)
        later = {v for rest in parts[i + 1 :] for v in rest.takes} | {len(links) - 1}
        assert sorted(part.drops) == sorted(there - later), "neither before nor after its last use, and once"
        there -= set(part.drops)
    assert there == {len(links) - 1}


@given(data=st.data(), count=st.integers(1, 12))
def test_every_value_is_dropped_once_and_never_too_early(data: st.DataObject, count: int) -> None:
    numbers = [data.draw(st.lists(st.integers(-2, i - 1), min_size=1, max_size=2)) for i in range(count)]
    works = [Work(64, lambda reads, y, room: []) if data.draw(st.booleans()) else None for _ in range(count)]
    made = [Link(tuple(reads), (1, 1, 1), i) for i, reads in enumerate(numbers)]
    check(parts_of(made, works), made)


class Net:
    """Links with the layers that they run. Values (size, layout, planes) have the numbers that they have in links."""

    def __init__(self, size: Size = (8, 9, 11), layout: str = NATURAL) -> None:
        self.links: list[Link] = []
        self.slots: list[ops.SlotKernels] = []
        self.values: dict[int, tuple[Size, str, Size]] = {}
        self.outside(size, layout)

    def outside(self, size: Size, layout: str = NATURAL) -> int:
        """Another tensor that is given."""
        return self._number(min(self.values, default=0) - 1, size, layout)

    def _number(self, number: int, size: Size, layout: str) -> int:
        planes = (size[1] + 2, size[2] + 2, 1, 1) if layout == PLANES else ()
        self.values[number] = size, layout, planes
        return number

    def conv(
        self, n: int, kernel: int, stride: int = 1, made: str = NATURAL, *, x: int | None = None,
        residual: int | None = None, plain: bool = False,
    ) -> int:  # fmt: skip
        """Of the value before, if nothing else is said. ``plain``: by a kernel that knows no layouts."""
        x = len(self.links) - 1 if x is None else x
        (channels, high, wide), layout, _ = self.values[x]
        shape = ConvShape(2, channels, high, wide, (kernel,) * 2, (stride,) * 2, (kernel // 2,) * 2)
        epilogue = Epilogue(True, "relu", False, residual is not None)
        weight = fitting(Csr(64), n, shape.k, density=0.3, seed=len(self.links))
        found = kernel_of(Csr(64), shape, weight, epilogue, *vectors(n, epilogue, "float32"))
        slot = ops.SlotKernels((0,), (found,), shape.inputs, shape.pixels)
        self.slots.append(_plain(slot) if plain else slot)
        number, reads = self._number(len(self.links), shape.size(n), made), (x,) if residual is None else (x, residual)
        self.links.append(Link(reads, shape.size(n), len(self.slots) - 1, layout, made, self.values[number][2]))
        return number

    def pool(self, x: int, stride: int) -> int:
        (channels, *plane), *_ = self.values[x]
        size = channels, *((length - 1) // stride + 1 for length in plane)
        self.links.append(Link((x,), size, plane=(plane[0], plane[1]), window=((3, 3), (stride, stride), (1, 1))))
        return self._number(len(self.links) - 1, size, NATURAL)

    def agrees(self, images: int, seed: int = 1) -> list[Part]:
        """The chain says what one op after the other says; its parts."""
        outside = [self.values[v] for v in sorted(self.values, reverse=True) if v < 0]
        tensors = [laid(inputs(images, *s, seed=seed + i), layout, p) for i, (s, layout, p) in enumerate(outside)]
        program = program_of(self.links)
        with ops.active(self.slots):
            y, exact = conv_chain(*tensors, program=program), one_by_one(tensors, program)
        assert y.shape == (images, *self.links[-1].shape)
        assert torch.equal(y, exact)
        return list(self.slots[0].chains.values())[-1]  # type: ignore[no-any-return]


def hostile(nbytes: int) -> int:
    """In the place of scratch memory: NaN before every call, and it ends where nobody may touch anything."""
    address = guarded(pages(nbytes))
    ctypes.memset(address, 0xFF, pages(nbytes))
    return address


def random_net(pick: Callable[[Sequence[Any]], Any]) -> Net:
    net = Net(pick([(8, 9, 11), (3, 12, 16), (20, 17, 5)]), pick(LAYOUTS))
    for i in range(pick(range(2, 9))):
        x = pick([*net.values, *[i - 1] * 9])
        (_, *plane), layout, _ = net.values[x]
        if layout == NATURAL and i and pick([True, False]):
            net.pool(x, pick([1, 2, 2, 3]))
            continue
        kernel, stride = (3, 1) if layout == PLANES else (pick([1, 3]), pick([1, 1, 2]))
        n, made, output = pick([8, 24, 33, 130]), pick(LAYOUTS), [(length - 1) // stride + 1 for length in plane]
        residual = pick([None, "given", *[v for v, (size, *_) in net.values.items() if [*size[1:]] == output]])
        if residual == "given":
            residual = net.outside((n, *output), made)
        if residual is not None:
            (n, *_), made, _ = net.values[residual]
        net.conv(n, kernel, stride, made, x=x, residual=residual, plain=pick(range(8)) == 0)
    return net


@needs_code
@pytest.mark.parametrize("seed", range(40))
def test_a_chain_says_what_one_op_after_the_other_says(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "MIN_PRODUCTS", 0)
    monkeypatch.setattr(laid_down, "scratch", hostile)
    before, images = torch.get_num_threads(), (1, 3)[seed // 2 % 2]
    torch.set_num_threads(1 + seed % 2)
    try:
        net = random_net(random.Random(seed).choice)
        check(net.agrees(images), net.links)
        net.agrees(images, seed=20)
    finally:
        torch.set_num_threads(before)


def bottlenecks(size: Size) -> Net:
    """A stem, a pooling, two bottlenecks with residuals, and a convolution whose residual is given."""
    net = Net(size)
    x = net.pool(net.conv(24, 3, 2), 2)
    side = net.conv(40, 1, 1, TILES)
    for residual in (side, side + 3):
        net.conv(16, 1, 1, PLANES, x=x)
        net.conv(16, 3, 1, TILES)
        x = net.conv(40, 1, 1, TILES, residual=residual)
    _, high, wide = net.values[x][0]
    net.conv(33, 3, 2, residual=net.outside((33, -(-high // 2), -(-wide // 2))))
    return net


@needs_code
def test_a_chain_holds_two_values_at_a_time() -> None:
    net = Net((24, 20, 20))
    for _ in range(9):
        net.conv(24, 3)
    (part,) = net.agrees(1)
    assert part.chain is not None
    assert part.chain.used == 2 * pages(24 * 400 * 4)


@needs_code
@pytest.mark.parametrize("images", [2, 0])
def test_a_kernel_that_is_called_by_itself_parts_a_chain(images: int) -> None:
    net = Net()
    net.conv(16, 1, 1, TILES)
    net.conv(16, 3, 1, PLANES)
    net.conv(24, 3, 1, TILES, plain=True)
    net.conv(16, 1, 1, TILES, residual=0)
    net.conv(24, 1, residual=net.outside((24, 9, 11)))
    parts = net.agrees(images)
    assert [part.chain is not None for part in parts] == [True, False, True]
    assert [part.takes for part in parts] == [(-1,), (1,), (2, 0, -2)]
    assert [part.makes for part in parts] == [(0, 1), (2,), (4,)]
    assert [sorted(part.drops) for part in parts] == [[-1], [1], [-2, 0, 2]]


@needs_code
@pytest.mark.parametrize("images", [1, 3])
def test_what_others_left_in_scratch_memory_does_not_matter(images: int) -> None:
    big, small = bottlenecks((8, 35, 39)), bottlenecks((8, 19, 23))
    for seed, net in enumerate([big, small, big, small, big]):
        (part,) = net.agrees(images, seed)
        assert part.chain is not None
        assert (part.takes, part.makes, len(part.chain.steps)) == ((-1, -2), (9,), 10)
        ctypes.memset(scratch(part.chain.nbytes), 0xFF, part.chain.nbytes)


@needs_code
def test_chains_are_of_one_program_and_of_the_kernels_for_so_many_rows() -> None:
    net, others, most = Net(), Net(), MOST_KEPT + 2
    for _ in range(most):
        others.conv(8, 1, x=-1)
    net.conv(8, 1)
    net.conv(24, 3)
    kernels, starts = tuple(slot.kernels[0] for slot in others.slots), tuple(range(0, most * 99, 99))
    net.slots[0] = replace(net.slots[0], starts=starts, kernels=kernels)
    for images in (*range(1, most), 1, 3):
        net.agrees(images)
    net.links[1] = replace(net.links[1], reads=(-1,))
    net.agrees(3)
    assert len(net.slots[0].chains) == MOST_KEPT


def of(gm: fx.GraphModule, *targets: Any) -> list[Any]:
    return [n for n in gm.graph.nodes if n.target in targets]


@needs_code
@pytest.mark.parametrize(("read", "lengths"), [(0, [8]), (2, [3, 6]), (3, [3, 5]), (5, [6, 3]), (8, [9])], ids=str)
def test_chains_end_where_others_read_a_value(read: int, lengths: list[int]) -> None:
    """Links: stem, pooling, a 1x1, and three of each bottleneck, of which the third reads what the first one does."""
    x = torch.randn(2, 3, 21, 25)
    compiled = spcomp.compile(network(), x, **QUICK)
    program = compiled.parts.programs[0]
    plain, gm, lifted = program.gm, laid_out(compiled), [compiled.parts.tensors[name] for name in program.lifted]
    for graph in (plain, gm):
        refake(graph, lifted, program.signature, program.hints)
    assert of(plain, ops.CONV)
    assert chained(plain) is plain, "no layouts of their own"
    node, end = of(gm, *LINKS)[read], gm.graph.output_node()
    end.args = ((*end.args[0], node),)  # type: ignore[misc]
    gm.recompile()
    new = chained(gm)
    chains, values = of(new, CONV_CHAIN), {id(n.meta["val"]) for n in of(gm, *LINKS)}
    assert [len(links_of(n.args[1])) for n in chains] == lengths
    assert sum(lengths) + len(of(new, *LINKS)) == len(values) == 9
    assert all(id(n.meta["val"]) in values and [*n.meta["val"].shape[1:]] == n.args[2] for n in chains)
    rest = [[(n.target, id(n.meta.get("val"))) for n in g.graph.nodes if n.target not in OURS] for g in (gm, new)]
    assert rest[0] == rest[1]
    with torch.no_grad(), ops.active(compiled.parts.table):
        for y, exact in zip(new(*lifted, x), gm(*lifted, x), strict=True):
            assert torch.equal(y, exact)


def graph_of(*layouts: tuple[str, str], dtype: torch.dtype = torch.float32) -> fx.GraphModule:
    """Convolutions of 16 planes one after the other, each from a layout to another."""
    graph, size = fx.Graph(), (16, 4, 4)
    x = graph.placeholder("x")
    for i, (given_, made) in enumerate(layouts):
        x = graph.call_function(ops.CONV_LAID, (x, None, i, list(size), given_, made, []))
        x.meta["val"] = torch.zeros(2, *shape_of(made, size, ()), dtype=dtype)
    graph.output((x,))
    return fx.GraphModule(torch.nn.Module(), graph)


def test_int8_other_dtypes_and_single_convolutions_are_left_alone() -> None:
    int8 = [(NATURAL, PIXELS), (PIXELS, PIXELS), (PIXELS, NATURAL)]
    tiles = [(NATURAL, TILES), (TILES, TILES), (TILES, NATURAL)]
    for gm in (graph_of(*int8), graph_of(*tiles, dtype=torch.bfloat16), graph_of(tiles[0])):
        assert chained(gm) is gm
    found = of(chained(graph_of(*tiles, *int8, *tiles)), *OURS)
    assert [n.target for n in found] == [CONV_CHAIN, *[ops.CONV_LAID] * 3, CONV_CHAIN]
    many = of(chained(graph_of(*[(TILES, TILES)] * (2 * MOST_LINKS + 1))), *OURS)
    assert [n.target for n in many] == [CONV_CHAIN, CONV_CHAIN, ops.CONV_LAID]
    assert [len(links_of(n.args[1])) for n in many[:2]] == [MOST_LINKS] * 2


@needs_code
@needs_inductor
@pytest.mark.parametrize("dynamic", [False, True])
def test_a_compiled_network_says_the_same_with_and_without_chains(
    dynamic: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("spcomp.tiling.speedup", lambda *_: 1.5)
    monkeypatch.setattr("spcomp.guard.MARGIN", 0.0)
    model, examples = network(), [torch.randn(2, 3, 21, 25), torch.randn(3, 3, 21, 25)][: 1 + dynamic]
    path = spcomp.compile(model, *examples, policy="force", memory_budget=1e6).save(tmp_path / "m")
    whole = spcomp.load(path, engine="inductor")
    monkeypatch.setattr("spcomp.build.chained", lambda gm: gm)
    apart = spcomp.load(path, engine="inductor")
    tensors, start = [torch.randn(2, 3, 21, 25) for _ in range(4)], threading.Barrier(4)

    def run(x: torch.Tensor) -> list[torch.Tensor]:
        start.wait()
        return [whole(x) for _ in range(20)]

    with ThreadPoolExecutor(4) as pool:
        for x, found in zip(tensors, pool.map(run, tensors), strict=True):
            assert all(torch.equal(y, apart(x)) for y in found)
    assert any(part.chain for slot in whole.parts.table for parts in slot.chains.values() for part in parts)
    assert not any(slot.chains for slot in apart.parts.table)
    for batch in (2, *((1, 7, 0) if dynamic else ())):
        x = torch.randn(batch, 3, 21, 25)
        assert torch.equal(whole(x), apart(x))
        assert relative(whole(x), model(x).detach()) < 1e-5
