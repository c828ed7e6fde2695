"""Activations kept in tiles: which nodes the pass takes, what the graph means, and the kernels on tiles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import spcomp
from spcomp import ops
from spcomp.artifact.fitting import fits
from spcomp.codegen.inductor import unavailable
from spcomp.codegen.mlir_cpu.tiled import norm_text, tiles_norm, tiles_together
from spcomp.codegen.mlir_cpu.tokens import TokensKernel, padded_columns
from spcomp.encodings.block import Block
from spcomp.encodings.csr import Csr
from spcomp.encodings.nm import Nm
from spcomp.encodings.pack import PackedTensor
from spcomp.encodings.spec import Encoding
from spcomp.kernel import Kernel
from spcomp.passes import tune
from spcomp.passes.base import PassContext, verify
from spcomp.passes.keep_tiles import KeepTiles
from spcomp.passes.propose import Candidate
from tests.conftest import Golden
from tests.kernels import build_all, fitting, inputs, relative
from tests.models import prune

QUICK: dict[str, Any] = {"policy": "force", "engine": "eager", "memory_budget": 1e6, "encodings": ["csr"]}


def to_tiles(x: torch.Tensor) -> torch.Tensor:
    padded = F.pad(x, (0, 0, 0, -len(x) % 16))
    return padded.reshape(-1, 16, x.shape[1]).transpose(1, 2).contiguous()


def to_rows(xs: torch.Tensor, m: int) -> torch.Tensor:
    return xs.transpose(1, 2).reshape(-1, xs.shape[1])[:m]


@pytest.mark.parametrize("encoding", [Csr(64), Block(8, 1), Block(4, 4), Nm(2, 4)], ids=str)
@pytest.mark.parametrize("activation", ["none", "gelu"])
@pytest.mark.parametrize("m", [1, 16, 100, 129])
def test_a_kernel_on_tiles_says_the_same(encoding: Encoding, activation: str, m: int) -> None:
    weight, bias, x = fitting(encoding, 64, 96), inputs(64, seed=2), inputs(m, 96, seed=3)
    kernels = [k for k in build_all(encoding, weight, bias, activation) if isinstance(k, TokensKernel)]
    assert kernels
    for kernel in kernels:
        assert kernel.tiles_served
        assert relative(to_rows(kernel.on_tiles(to_tiles(x)), m), kernel(x).double()) < 1e-5


def test_odd_sizes_are_not_served_where_kernels_would_write_past_them() -> None:
    served = {}
    for encoding, n, k in ((Csr(64), 37, 50), (Block(8, 1), 37, 50), (Block(8, 4), 40, 50), (Nm(2, 4), 37, 52)):
        kernel = next(
            kernel for kernel in build_all(encoding, fitting(encoding, n, k), None, "none")
            if isinstance(kernel, TokensKernel)
        )  # fmt: skip
        served[str(encoding), n, k] = kernel.tiles_served
        slot = ops.SlotKernels((0,), (kernel,), k)
        x = inputs(20, k)
        assert relative(to_rows(slot.on_tiles(to_tiles(x), 20), 20), kernel(x).double()) < 1e-5
    assert list(served.values()) == [True, False, False, False]


def test_tiles_whose_pages_would_meet_are_read_four_at_a_time() -> None:
    assert [tiles_together(k, 8) for k in (768, 1024, 1536, 2048, 3072)] == [8, 4, 8, 4, 4]
    weight, x = fitting(Nm(2, 4), 32, 1024), inputs(129, 1024)
    for kernel in build_all(Nm(2, 4), weight, None, "none"):
        if isinstance(kernel, TokensKernel):
            assert relative(to_rows(kernel.on_tiles(to_tiles(x)), 129), x.double() @ weight.double().T) < 1e-5


@pytest.mark.parametrize("k", [64, 512, 1024, 1536, 2048, 3072, 4096])
def test_packed_tiles_lie_in_sets_of_their_own(k: int) -> None:
    starts = [t * padded_columns(k) * 64 for t in range(8)]
    assert len({start % 4096 // 64 for start in starts}) == 8, "lines of the first cache"
    assert k < 512 or len({start // 4096 % 16 for start in starts}) >= 4, "pages, of which a set of translations has 6"


def test_a_second_compilation_builds_none_to_ask_for_tiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some know no tiles: that is filed beside the times of those that do."""
    tried: list[str] = []
    real = tune._SitePlan._build

    def build(plan: tune._SitePlan, candidate: Candidate, packed: PackedTensor) -> Kernel:
        tried.append(candidate.name)
        return real(plan, candidate, packed)

    monkeypatch.setattr(tune._SitePlan, "_build", build)
    monkeypatch.setattr(tune, "doubtful", lambda *_: [])
    model = prune(nn.Sequential(nn.Linear(50, 37)))
    options = QUICK | {"cache_dir": tmp_path, "encodings": ["csr", "bitmap"]}
    spcomp.compile(model, torch.randn(32, 50), **options)
    assert tried
    tried.clear()
    spcomp.compile(model, torch.randn(32, 50), **options)
    assert tried == []


@pytest.mark.parametrize("features", [7, 64])
@pytest.mark.parametrize(("residual", "affine"), [(True, True), (False, False), (True, False)])
def test_layer_norm_on_tiles(features: int, residual: bool, affine: bool) -> None:
    x, other = inputs(40, features), inputs(40, features, seed=2) if residual else None
    weight, bias = (inputs(features, seed=3), inputs(features, seed=4)) if affine else (None, None)
    whole = x.double() if other is None else x.double() + other.double()
    doubles = [None if v is None else v.double() for v in (weight, bias)]
    exact = F.layer_norm(whole, [features], *doubles, 1e-5)
    more = None if other is None else to_tiles(other)
    for run in (lambda: tiles_norm(to_tiles(x), more, weight, bias, eps=1e-5),
                lambda: ops.tiles_norm(to_tiles(x), more, weight, bias, 1e-5)):  # fmt: skip
        assert relative(to_rows(run(), 40), exact) < 1e-5


class Encoder(nn.Module):
    """Everything the pass knows: shared input, a natural operator between, residuals, norms, an elementwise chain."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.q, self.k, self.out = (nn.Linear(width, width) for _ in range(3))
        self.up, self.down = nn.Linear(width, 128), nn.Linear(128, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width, bias=False)
        self.scale = nn.Parameter(torch.rand(128))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mixed = torch.softmax(self.q(x) @ self.k(x).transpose(1, 2), -1) @ x
        x = self.norm1(x + self.out(mixed))
        y = self.down(torch.tanh(self.up(x)) * self.scale * 0.5)
        return self.norm2(y + x)


def lowered(m: int) -> tuple[spcomp.CompiledModule, torch.Tensor]:
    torch.manual_seed(0)
    x = torch.randn(1, m, 64)
    return spcomp.compile(prune(Encoder()), x, **QUICK), x


@pytest.mark.parametrize("m", [32, 37])
def test_the_graph_means_the_same(m: int) -> None:
    compiled, x = lowered(m)
    parts = compiled.parts
    (program,) = parts.programs
    gm = KeepTiles(frozenset(range(5))).run(program.gm, PassContext())
    verify(gm)
    text = str(gm.graph)
    assert text.count("tiles_linear_v1") >= 5
    assert text.count("tiles_norm_v1") >= 2
    assert "layer_norm" not in text
    assert text.count("aten.add") == 0, "both residuals went into the norms"
    with torch.no_grad(), ops.active(parts.table):
        (y,) = gm(*(parts.tensors[name] for name in program.lifted), x)
    assert relative(y, compiled(x).double()) < 1e-5


def test_nothing_to_do_returns_the_same_object() -> None:
    compiled, _ = lowered(32)
    gm = compiled.parts.programs[0].gm
    for slots in (frozenset[int](), frozenset({0})):
        assert KeepTiles(slots).run(gm, PassContext()) is gm
    few, _ = lowered(8)
    assert KeepTiles(frozenset(range(5))).run(few.parts.programs[0].gm, PassContext()) is few.parts.programs[0].gm


def test_golden_graph(golden: Golden) -> None:
    compiled, _ = lowered(37)
    gm = compiled.parts.programs[0].gm
    golden(
        "pass_keep_tiles.txt",
        f"before:\n{gm.graph}\n\nafter:\n{KeepTiles(frozenset(range(5))).run(gm, PassContext()).graph}",
    )


def test_golden_norm(golden: Golden) -> None:
    golden("mlir_tiles_norm.txt", norm_text(64, 1e-5, residual=True, weight=True, bias=True))


def test_a_compiled_model_keeps_tiles_and_is_saved_with_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if (reason := unavailable()) is not None:
        pytest.skip(reason)
    monkeypatch.setattr("spcomp.tiling.WORTH", 0.0)
    torch.manual_seed(0)
    model, x = prune(Encoder()), torch.randn(1, 37, 64)
    compiled = spcomp.compile(model, x, **{**QUICK, "engine": "auto"})
    (program,) = compiled.parts.programs
    assert program.engine == "inductor"
    assert "tiles_linear_v1" in str(program.gm.graph)
    assert relative(compiled(x), model(x).double()) < 1e-5
    loaded = spcomp.load(compiled.save(tmp_path / "m"))
    assert torch.equal(loaded(x), compiled(x))
    compiled.update_weights(prune(Encoder(), seed=9))
    nodes = [n for n in loaded.parts.programs[0].gm.graph.nodes if n.target is ops.TILES_LINEAR]
    calls = [loaded.plan.slots()[i][0] for i in range(5)]
    assert all(fits(n, calls) for n in nodes)
    nodes[0].args = (*nodes[0].args[:3], 999)
    assert not fits(nodes[0], calls)
