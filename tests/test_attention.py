"""Attention on tiles: the kernel is torch's, and graphs that hand it tiles mean what they did."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, fx, nn

import spcomp
from spcomp import ops
from spcomp.artifact.fitting import fits
from spcomp.codegen.inductor import unavailable
from spcomp.codegen.mlir_cpu import jit
from spcomp.codegen.mlir_cpu.attention import Attention, attend_tiles
from spcomp.codegen.mlir_cpu.attention import tiles_attention as ours
from spcomp.codegen.mlir_cpu.scratch import scratch
from spcomp.ops_attention import TILES_ATTENTION, Heads, mask_shape, mask_tiles, tiles_attention
from spcomp.passes.attended import attended
from spcomp.passes.base import PassContext, verify
from spcomp.passes.joint import Costs, LayoutCost
from spcomp.passes.keep_tiles import KeepTiles
from spcomp.tiling import attention_cost
from spcomp.workload import workload_of
from tests.conftest import Golden
from tests.kernels import inputs, relative
from tests.models import prune
from tests.test_tiles import QUICK, to_rows, to_tiles

pytestmark = pytest.mark.skipif(jit.available() is not None, reason=str(jit.available()))


def exact(rows: Tensor, heads: Heads, added: Tensor | None = None) -> Tensor:
    """[sequences length, 3 features] in float64, attended by plain sums."""
    x = rows.double().reshape(-1, heads.length, rows.shape[1])
    q, k, v = (
        x[..., first : first + heads.features].reshape(-1, heads.length, heads.count, heads.width).transpose(1, 2)
        for first in heads.firsts
    )
    scores = q @ k.transpose(2, 3) * heads.scale
    if heads.causal:
        scores += torch.full((heads.length, heads.length), -math.inf).triu(1)
    if added is not None:
        scores = scores + added
    y = torch.softmax(scores, -1).nan_to_num(0.0) @ v  # a query without keys
    return y.transpose(1, 2).reshape(-1, heads.features)


def called(run: Callable[..., Tensor], xs: Tensor, heads: Heads, mask: Tensor | None = None) -> Tensor:
    return run(xs, xs, xs, mask, heads)


@settings(max_examples=15, deadline=None)
@given(
    sequences=st.sampled_from([(1, 17), (1, 31), (1, 32), (1, 50), (1, 128), (2, 16), (3, 32), (2, 48)]),
    count=st.integers(1, 3),
    width=st.sampled_from([8, 16, 24, 64]),
    big=st.sampled_from([1.0, 30.0]),
    shift=st.sampled_from([0, 8]),
)
def test_the_kernel_is_torchs(sequences: tuple[int, int], count: int, width: int, big: float, shift: int) -> None:
    batch, length = sequences
    features = count * width
    heads = Heads((shift, shift + features, shift + 2 * features), count, width, length, width**-0.5)
    rows = big * inputs(batch * length, shift + 3 * features)
    xs, wanted = to_tiles(rows), exact(rows, heads)
    xs[-1, :, (length - 1) % 16 + 1 :] = torch.nan  # nobody's rows
    for run in (ours, tiles_attention):
        assert relative(to_rows(called(run, xs, heads), batch * length), wanted) < 1e-5


@settings(max_examples=25, deadline=None)
@given(
    sequences=st.sampled_from([(1, 17), (1, 32), (1, 50), (2, 16), (3, 32)]),
    shape=st.tuples(st.booleans(), st.booleans(), st.booleans(), st.booleans()),
    dims=st.sampled_from([2, 4]),
    kind=st.sampled_from(["seen", "added", "lowest", "nothing seen"]),
    seed=st.integers(0, 99),
)
def test_masks_are_torchs(sequences: tuple[int, int], shape: tuple[bool, ...], dims: int, kind: str, seed: int) -> None:
    batch, length = sequences
    heads = Heads((0, 48, 96), 3, 16, length, 0.3)
    most = (batch, 3, length, length)
    sizes = [full if own else 1 for own, full in zip(shape, most, strict=True)][-dims:]
    generator = torch.Generator().manual_seed(seed)
    seen = torch.rand(sizes, generator=generator) < 0.6
    added = torch.where(seen, torch.randn(sizes, generator=generator), -math.inf)
    if kind == "nothing seen":
        seen[..., 0, :] = False
    given_ = {"added": added, "lowest": torch.where(seen, 0.0, torch.finfo(torch.float32).min)}.get(kind, seen)
    numbers = torch.where(seen, 0.0, -math.inf) if given_.dtype is torch.bool else given_
    rows = inputs(batch * length, 144)
    wanted = exact(rows, heads, numbers.double())
    mask = mask_tiles(given_, heads)
    assert tuple(mask.shape) == mask_shape(heads, batch, sizes)
    xs = to_tiles(rows)
    xs[-1, :, (length - 1) % 16 + 1 :] = torch.nan
    for run in (ours, tiles_attention):
        assert relative(to_rows(called(run, xs, heads, mask), batch * length), wanted) < 1e-5


@pytest.mark.parametrize("sequences", [(1, 16), (1, 48), (1, 128), (3, 32), (2, 48)])
def test_a_query_sees_no_later_key(sequences: tuple[int, int], each_team: int) -> None:
    batch, length = sequences
    heads = Heads((0, 96, 192), 3, 32, length, 0.2, True)
    rows = inputs(batch * length, 288)
    xs, wanted = to_tiles(rows), exact(rows, heads)
    room = Attention(heads, (288, 288, 288), batch * length // 16).room_bytes * each_team
    ctypes.memset(scratch(room), 255, room)
    for run in (ours, tiles_attention):
        assert relative(to_rows(called(run, xs, heads), batch * length), wanted) < 1e-5


def test_masks_that_do_not_broadcast_have_no_shape() -> None:
    heads = Heads((0, 48, 96), 3, 16, 32, 0.3)
    assert mask_shape(heads, 2, (2, 1, 1, 32)) == (2, 1, 2, 32, 16)
    assert mask_shape(heads, 2, (32,)) == (1, 1, 2, 32, 16)
    for wrong in ((3, 1, 32, 32), (2, 2, 32, 32), (32, 31), (1, 2, 1, 32, 32), (1, 1, 16, 32)):
        assert mask_shape(heads, 2, wrong) is None


def test_threads_share_it_and_scratch_memory_may_hold_anything(each_team: int) -> None:
    heads = Heads((0, 96, 192), 3, 32, 48, 0.2)
    rows = inputs(2 * 48, 288)
    attention = Attention(heads, (288, 288, 288), 6)
    work = attend_tiles(attention)
    (stage,) = work.stages([0, 0, 0], 0, 0)
    assert len(stage) == each_team
    ctypes.memset(scratch(work.nbytes), 255, work.nbytes)
    assert relative(to_rows(called(ours, to_tiles(rows), heads), 96), exact(rows, heads)) < 1e-5


def test_what_is_no_number_stays_with_its_query() -> None:
    heads = Heads((0, 32, 64), 2, 16, 40, 0.25)
    rows = inputs(40, 96)
    clean = to_rows(called(ours, to_tiles(rows), heads), 40)
    for bad in (torch.nan, torch.inf):
        rows[7, :16] = bad
        y = to_rows(called(ours, to_tiles(rows), heads), 40)
        assert y[7, :16].isnan().all()
        mine = torch.zeros(40, 32, dtype=torch.bool)
        mine[7, :16] = True
        assert torch.equal(y[~mine], clean[~mine])


def test_golden(golden: Golden) -> None:
    golden("mlir_attention.txt", Attention(Heads((0, 16, 32), 1, 16, 40, 0.25), (48, 48, 48), 3).text())
    causal = Attention(Heads((0, 16, 32), 1, 16, 32, 0.25, True), (48, 48, 48), 2)
    golden("mlir_attention_causal.txt", causal.text())
    masked = Attention(Heads((0, 16, 32), 1, 16, 40, 0.25), (48, 48, 48), 3, (1, 1))
    golden("mlir_attention_masked.txt", masked.text())


class Attends(nn.Module):
    """One layer of a transformer; ``style``: how heads are split off, and what keeps attention natural."""

    def __init__(self, style: str) -> None:
        super().__init__()
        self.style = style
        self.qkv = nn.Linear(64, 192)
        self.q, self.k, self.v = (nn.Linear(64, 64) for _ in range(3))
        self.out, self.norm = nn.Linear(64, 64), nn.LayerNorm(64)

    def forward(self, x: Tensor) -> Any:
        batch, length, _ = x.shape
        if self.style == "packed":
            q, k, v = self.qkv(x).reshape(batch, length, 3, 4, 16).permute(2, 0, 3, 1, 4).unbind(0)
        else:
            q, k, v = (f(x).view(batch, length, 4, 16).transpose(1, 2) for f in (self.q, self.k, self.v))
        more: dict[str, Any] = {
            "masked": {"attn_mask": torch.ones(length, length, dtype=torch.bool).tril(3)},
            "padded": {"attn_mask": (x[:, :, 0] < 1)[:, None, None, :]},
            "biased": {"attn_mask": 0.1 * x[:, :, :4].transpose(1, 2)[:, :, None]},
            "causal": {"is_causal": True},
            "scaled": {"scale": 0.3},
            "grouped": {"enable_gqa": True},
        }.get(self.style, {})
        if self.style == "short":
            k, v = k[:, :, 1:], v[:, :, 1:]
        if self.style == "crossed":
            k = k.transpose(2, 3).reshape(batch, 4, length, 16)
        y = F.scaled_dot_product_attention(q, k, v, **more)
        if self.style == "dropped":  # as transformers' models are in evaluation
            y = y.reshape(batch, -1, length, 16)
        rows = y.transpose(1, 2).reshape(batch, length, 64)
        made = self.norm(F.dropout(self.out(rows), 0.1, training=False) + x)
        return (made, k.sum()) if self.style == "read elsewhere" else made


def lowered(style: str, *shape: int) -> tuple[spcomp.CompiledModule, Tensor]:
    torch.manual_seed(0)
    x = torch.randn(*shape, 64)
    return spcomp.compile(prune(Attends(style)).eval(), x, **QUICK), x


def on_tiles(gm: fx.GraphModule) -> list[fx.Node]:
    return list(gm.graph.find_nodes(op="call_function", target=TILES_ATTENTION))


@pytest.mark.parametrize("shape", [(1, 37), (2, 32)])
@pytest.mark.parametrize("style", ["packed", "apart", "scaled", "dropped", "masked", "padded", "biased"])
def test_graphs_mean_the_same(style: str, shape: tuple[int, int]) -> None:
    compiled, x = lowered(style, *shape)
    (program,) = compiled.parts.programs
    slots = frozenset(range(len(compiled.parts.table)))
    gm = KeepTiles(slots).run(program.gm, PassContext())
    verify(gm)
    assert len(on_tiles(gm)) == 1
    assert "scaled_dot_product" not in str(gm.graph)
    with torch.no_grad(), ops.active(compiled.parts.table):
        (y,) = gm(*(compiled.parts.tensors[name] for name in program.lifted), x)
    assert relative(y, compiled(x).double()) < 1e-5


@pytest.mark.parametrize(
    ("style", "shape"),
    [(style, (1, 32)) for style in ("grouped", "short", "crossed", "read elsewhere")]
    + [("apart", (2, 37)), ("apart", (1, 8)), ("causal", (1, 37))],
)
def test_what_it_does_not_know_stays(style: str, shape: tuple[int, int]) -> None:
    compiled, x = lowered(style, *shape)
    (program,) = compiled.parts.programs
    assert "scaled_dot_product" in str(program.gm.graph)
    assert attended(program.gm) == {}
    gm = KeepTiles(frozenset(range(len(compiled.parts.table)))).run(program.gm, PassContext())
    with torch.no_grad(), ops.active(compiled.parts.table):
        y, *_ = gm(*(compiled.parts.tensors[name] for name in program.lifted), x)
    wanted = compiled(x)
    assert relative(y, (wanted[0] if isinstance(wanted, tuple) else wanted).double()) < 1e-5


def test_sizes_that_are_not_known_stay() -> None:
    model, x = prune(Attends("apart")).eval(), torch.randn(2, 32, 64)
    shapes = {"x": {0: torch.export.Dim("batch", min=1, max=8)}}
    compiled = spcomp.compile(model, x, dynamic_shapes=shapes, **QUICK)
    dynamic = [p.gm for p in compiled.parts.programs if p.signature.symbols]
    assert dynamic
    for gm in dynamic:
        assert "scaled_dot_product" in str(gm.graph)
        assert attended(gm) == {}
        KeepTiles(frozenset(range(len(compiled.parts.table)))).run(gm, PassContext())
    assert relative(compiled(x[:1]), model(x[:1]).double()) < 1e-5


def test_what_it_costs_on_rows_decides() -> None:
    """Layers that want rows, and attention that is worth two conversions, or is not."""
    compiled, _ = lowered("packed", 1, 32)
    (program,) = compiled.parts.programs
    layers = {i: LayoutCost(1.0, 1.5) for i in range(len(compiled.parts.table))}
    for seconds, found in ((9.0, 1), (0.5, 0)):
        costs = Costs(layers, lambda *_: 1.0, lambda *_, s=seconds: LayoutCost(s, 0.0))
        gm = KeepTiles(frozenset(layers), costs).run(program.gm, PassContext())
        assert len(on_tiles(gm)) == found


def test_costs_are_measured() -> None:
    for causal, masked in ((False, False), (True, False), (False, True)):
        cost = attention_cost(Heads((0, 64, 128), 4, 16, 64, 0.25, causal), 64, masked)
        assert 0 < cost.tiles < math.inf
        assert 0 < cost.natural < math.inf


@pytest.mark.parametrize("style", ["packed", "causal", "padded", "biased"])
@pytest.mark.parametrize(("worth", "engine"), [(0.0, "laid down"), (math.inf, "inductor")])
def test_a_compiled_model_attends_on_tiles_and_is_saved_so(
    worth: float, engine: str, style: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if (reason := unavailable()) is not None:
        pytest.skip(reason)
    monkeypatch.setattr("spcomp.tiling.WORTH", 0.0)
    monkeypatch.setattr("spcomp.tiling._costs", lambda *_: None)
    monkeypatch.setattr("spcomp.whole.WORTH", worth)
    torch.manual_seed(0)
    length = 48 if style == "causal" else 40
    model, x = prune(Attends(style)).eval(), torch.randn(1, length, 64)
    compiled = spcomp.compile(model, x, **{**QUICK, "engine": "auto"})
    (program,) = compiled.parts.programs
    assert len(on_tiles(program.gm)) == 1
    assert program.engine == engine
    assert relative(compiled(x), model(x).double()) < 1e-5
    (step,) = [s for s in workload_of(compiled.parts, [x]).steps if s.kind == "attention"]
    assert (step.batch, step.m, step.n, step.k) == (4, length, length, 16)
    loaded = spcomp.load(compiled.save(tmp_path / "m"))
    assert torch.equal(loaded(x), compiled(x))
    calls = [loaded.plan.slots()[i][0] for i in range(len(loaded.parts.table))]
    (node,) = on_tiles(loaded.parts.programs[0].gm)
    assert fits(node, calls)
    q, k, v, mask, firsts, count, width, length, scale, causal = node.args
    assert (mask is not None, causal) == (style in ("padded", "biased"), style == "causal")
    for wrong in (
        (firsts, count + 1, width, length, scale, causal), ([0, 64, 129], count, width, length, scale, causal),
        (firsts, count, 12, length, scale, causal), (firsts, count, width, 500, scale, causal),
        (firsts, count, width, 8, scale, causal), (firsts, count, width, length, math.nan, causal),
        (firsts, count, width, length, -1.0, causal), ([0, 64], count, width, length, scale, causal),
        (firsts, count, width, 37, scale, True), (firsts, count, width, length, scale),
    ):  # fmt: skip
        node.args = (q, k, v, mask, *wrong)
        assert not fits(node, calls), wrong
    for bad in (q, 3):
        node.args = (q, k, v, bad, firsts, count, width, length, scale, False)
        assert not fits(node, calls), bad
