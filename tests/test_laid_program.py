"""Whole programs laid down as one call: the same results as the graph, whatever stands between the layers."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import spcomp
from spcomp import ops
from spcomp.codegen.inductor import unavailable
from spcomp.codegen.laid_program import MOST_KEPT, Call, Laid, LaidProgram
from spcomp.codegen.mlir_cpu import jit
from spcomp.errors import InputError
from spcomp.guard import agree
from spcomp.parts import LAID_DOWN
from spcomp.repack import without_sparsity
from tests.kernels import relative
from tests.models import mlp, prune

pytestmark = [
    pytest.mark.skipif(jit.available() is not None, reason=str(jit.available())),
    pytest.mark.skipif(unavailable() is not None, reason=str(unavailable())),
]
WIDTH, HEADS, CONTEXT = 64, 2, 21


class Block(nn.Module):
    """A decoder's layer for some tokens, with keys and values in buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)
        for name in ("keys", "values"):
            self.register_buffer(name, torch.randn(1, HEADS, CONTEXT, WIDTH // HEADS))

    def forward(self, x: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(self.norm1(x)).view(1, 3, HEADS, 1, -1).unbind(1)
        self.keys.index_copy_(2, position, k)  # type: ignore[operator]
        self.values.index_copy_(2, position, v)  # type: ignore[operator]
        x = x + self.out(F.scaled_dot_product_attention(q, self.keys, self.values).reshape(1, 1, -1))  # type: ignore[arg-type]
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(50, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(2))
        self.head = nn.Linear(WIDTH, 50)

    def forward(self, token: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
        x = self.tokens(token).unsqueeze(0)
        for block in self.blocks:
            x = block(x, position)
        return self.head(x)  # type: ignore[no-any-return]


def decoder() -> nn.Module:
    torch.manual_seed(0)
    return prune(Decoder(), 0.8)  # type: ignore[no-any-return]


TOKEN, POSITION = torch.tensor([7]), torch.tensor([20])


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever may be laid down is."""
    monkeypatch.setattr("spcomp.whole.paired_speedup", lambda *_: 1.5)
    monkeypatch.setattr("spcomp.guard.MARGIN", 0.0)


def laid(compiled: spcomp.CompiledModule) -> LaidProgram:
    run = compiled.parts.programs[0].run
    assert isinstance(run, LaidProgram)
    return run


def compiled_decoder() -> tuple[nn.Module, spcomp.CompiledModule]:
    model = decoder()
    return model, spcomp.compile(model, (TOKEN, POSITION), policy="force")


def parts_of(compiled: spcomp.CompiledModule) -> list[Call | Laid]:
    return laid(compiled).parts(compiled.parts.table)


def test_a_decoder_is_one_call() -> None:
    model, compiled = compiled_decoder()
    parts = parts_of(compiled)
    (chain,) = [p for p in parts if isinstance(p, Laid)]
    assert chain.layers == 9
    assert not [p for p in parts if isinstance(p, Call)], "the embedding too"
    assert compiled.explain().engines == (f"{LAID_DOWN}: 1.50x of Inductor's program",)
    for token, position in ((3, 0), (49, 20), (7, 11)):
        given = torch.tensor([token]), torch.tensor([position])
        exact = model(*given)
        y = compiled(*given)
        assert y.shape == exact.shape
        assert relative(y, exact) < 1e-5
    buffers = dict(model.named_buffers())
    for name, written in compiled.state_dict().items():
        if name in buffers:
            assert relative(written, buffers[name]) < 1e-5, "caches are written as the original's are"


def test_a_position_beyond_the_cache_is_refused_and_nothing_written() -> None:
    model, compiled = compiled_decoder()
    before = {name: t.clone() for name, t in compiled.parts.tensors.items()}
    for position in (CONTEXT, -CONTEXT - 1):
        with pytest.raises((IndexError, RuntimeError), match=r"out of (bounds|range)"):
            model(TOKEN, torch.tensor([position]))
        with pytest.raises((IndexError, RuntimeError), match=r"out of (bounds|range)"):
            compiled(TOKEN, torch.tensor([position]))
    with pytest.raises((IndexError, RuntimeError), match=r"out of (bounds|range)"):
        compiled(torch.tensor([50]), POSITION)
    assert all(torch.equal(t, compiled.parts.tensors[name]) for name, t in before.items())


def test_a_head_that_is_the_table_too_is_part_of_the_call() -> None:
    model = decoder()
    model.tokens.weight = model.head.weight  # type: ignore[union-attr, assignment]
    compiled = spcomp.compile(model, (TOKEN, POSITION), policy="force", encodings=["csr"])
    assert not [p for p in parts_of(compiled) if isinstance(p, Call)]
    for token in (0, 49):
        given = torch.tensor([token]), POSITION
        assert relative(compiled(*given), model(*given)) < 1e-5
    with pytest.raises(IndexError):
        compiled(torch.tensor([50]), POSITION)


def test_buffers_that_moved_are_found_where_they_are() -> None:
    """Their addresses are kept from call to call, and are looked at anyway."""
    model, compiled = compiled_decoder()
    compiled(TOKEN, POSITION)
    tensors = compiled.parts.tensors
    caches = [name for name in tensors if name.endswith(("keys", "values"))]
    assert caches
    for name in caches:
        held = torch.randn_like(tensors[name])
        tensors[name].data = held.clone()  # the same object, elsewhere
        model.get_buffer(name).copy_(held)
    assert relative(compiled(TOKEN, POSITION), model(TOKEN, POSITION)) < 1e-5
    for name in caches:
        tensors[name] = model.get_buffer(name).clone()  # another object
        tensors[name].neg_()
        model.get_buffer(name).neg_()
    assert relative(compiled(TOKEN, POSITION), model(TOKEN, POSITION)) < 1e-5


def test_calls_however_they_are_spelled() -> None:
    model, compiled = compiled_decoder()
    wanted = model(TOKEN, POSITION)
    for y in (compiled(TOKEN, POSITION), compiled(TOKEN, position=POSITION), compiled(position=POSITION, token=TOKEN)):
        assert relative(y, wanted) < 1e-5
    for wrong in ((), (TOKEN,), (TOKEN, POSITION, TOKEN), (TOKEN, 3), (TOKEN, POSITION.float())):
        with pytest.raises(InputError):
            compiled(*wrong)


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_of_either_kind(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spcomp.codegen.mlir_cpu.parallel.MIN_PRODUCTS", 0)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        model = mlp(64, 128, 128, 32, sparsity=0.8)
        compiled = spcomp.compile(model, torch.randn(3, 64), policy="force")
        laid(compiled)
        xs = [torch.randn(3, 64) for _ in range(8)]
        found: dict[int, list[torch.Tensor]] = {}

        def work(i: int) -> None:
            torch.set_num_threads(threads)
            found[i] = [compiled(x) for x in (xs[i], *xs)]

        workers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        exact = [model(x) for x in xs]
        for i, ys in found.items():
            assert all(relative(y, e) < 1e-5 for y, e in zip(ys, (exact[i], *exact), strict=True))
    finally:
        torch.set_num_threads(before)


class Between(nn.Module):
    """Layers with all kinds of things between: what is known, what is called, views that stay and that do not."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d = (nn.Linear(64, 64) for _ in range(4))
        self.unused = nn.Parameter(torch.ones(4, 64))

    def forward(self, x: torch.Tensor) -> Any:
        y = F.relu(self.a(x)) * self.unused
        top, bottom = self.b(y).split([1, 3])
        z = torch.cat([torch.sin(top), bottom.flip(1)])
        left, right = F.silu(self.c(z - y)).chunk(2, 1)
        w = self.d(torch.cat([right, left], 1)) + z
        return w, w[1:3], {"left": left, "y": y.view(2, 2, 64)[1], "given": x}


def test_what_stands_between_may_be_anything() -> None:
    torch.manual_seed(1)
    model, x = prune(Between(), 0.8), torch.randn(4, 64)
    compiled = spcomp.compile(model, x, policy="force")
    parts = parts_of(compiled)
    assert sum(isinstance(p, Laid) for p in parts) > 1
    assert {str(p.node.target) for p in parts if isinstance(p, Call)} >= {"aten.sin.default", "aten.cat.default"}
    for _ in range(2):
        (w, part, more), exact = compiled(x), model(x)
        assert relative(w, exact[0]) < 1e-5
        assert relative(part, exact[1]) < 1e-5
        for name in ("left", "y"):
            assert more[name].shape == exact[2][name].shape
            assert relative(more[name], exact[2][name]) < 1e-5
        assert torch.equal(more["given"], x)
        x = torch.randn(4, 64)


def test_results_are_not_written_over_by_later_calls() -> None:
    compiled = spcomp.compile(mlp(64, 128, 32, sparsity=0.8), torch.randn(2, 64), policy="force")
    laid(compiled)
    first = compiled(torch.ones(2, 64))
    kept = first.clone()
    compiled(torch.randn(2, 64))
    assert torch.equal(first, kept)


def test_tiles_between_layers_of_many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spcomp.tiling.speedup", lambda *_: 1.5)
    model = mlp(64, 256, 128, 64, activation=nn.GELU, sparsity=0.8)
    for rows in (48, 37):
        x = torch.randn(rows, 64)
        compiled = spcomp.compile(model, x, policy="force", memory_budget=1e6)
        assert "tiles_linear" in str(compiled.parts.programs[0].gm.graph)
        parts = parts_of(compiled)
        assert max(p.layers for p in parts if isinstance(p, Laid)) == 3
        if rows == 48:
            assert len(parts) == 1, "tiles are made and unmade in the chain"
        assert relative(compiled(x), model(x)) < 1e-5


def test_saved_and_loaded_updated_and_copied(tmp_path: Path) -> None:
    model, compiled = compiled_decoder()
    loaded = spcomp.load(compiled.save(tmp_path / "decoder"))
    assert loaded.explain().engines[0].startswith(LAID_DOWN)
    laid(loaded)
    other = copy.deepcopy(compiled)
    exact = model(TOKEN, POSITION)
    assert relative(compiled(TOKEN, POSITION), exact) < 1e-5
    for same in (loaded, other):
        assert torch.equal(same(TOKEN, POSITION), compiled(TOKEN, POSITION))
    torch.manual_seed(5)
    changed = prune(Decoder(), 0.85)
    compiled.update_weights(changed)
    assert relative(compiled(TOKEN, POSITION), changed(TOKEN, POSITION)) < 1e-5
    assert relative(other(TOKEN, POSITION), exact) < 1e-5, "the copy keeps its weights"
    parts = [laid(c).parts(c.parts.table) for c in (compiled, other)]
    assert parts[0] is not parts[1]
    assert all(laid(c).parts(c.parts.table) is p for c, p in zip((compiled, other), parts, strict=True)), (
        "both are kept"
    )
    program = laid(other)
    for _ in range(6):
        compiled.update_weights(changed)
        compiled(TOKEN, POSITION)
    assert len(program._made) <= MOST_KEPT


def test_with_dense_layers_the_compiled_graph_serves() -> None:
    model, compiled = compiled_decoder()
    program = laid(compiled)
    dense = without_sparsity(compiled)
    assert dense.explain().engines == ("inductor",)
    assert relative(dense(TOKEN, POSITION), model(TOKEN, POSITION)) < 1e-5
    calls: list[int] = []
    program.otherwise = _counted(program.otherwise, calls)
    given = [compiled.parts.tensors[name] for name in compiled.parts.programs[0].lifted]
    with torch.no_grad(), ops.active(dense.parts.table):
        assert program.parts(dense.parts.table) == []
        (y,) = program(*given, TOKEN, POSITION)
    assert calls == [1]
    assert relative(y, model(TOKEN, POSITION)) < 1e-5


def test_tensors_unlike_the_graphs_go_to_the_graph() -> None:
    _, compiled = compiled_decoder()
    program = laid(compiled)
    calls: list[int] = []
    program.otherwise = _counted(lambda *_: ("refused",), calls)
    given = [compiled.parts.tensors[name] for name in compiled.parts.programs[0].lifted]
    with torch.no_grad(), ops.active(compiled.parts.table):
        for i, tensor in enumerate(given):
            shorter = [*given[:i], tensor[..., :-1], *given[i + 1 :]]
            assert program(*shorter, TOKEN, POSITION) == ("refused",)
        caches = [i for i, t in enumerate(given) if t.dim() == 4]
        across = [t.transpose(2, 3).contiguous().transpose(2, 3) if i in caches else t for i, t in enumerate(given)]
        assert program(*across, TOKEN, POSITION) == ("refused",), "what is written must lie as it did"
        assert program(*given, TOKEN, POSITION)[0].shape == (1, 1, 50)
    assert len(calls) == len(given) + 1


def _counted(run: Callable[..., Any], calls: list[int]) -> Callable[..., Any]:
    def counted(*args: Any) -> Any:
        calls.append(1)
        return run(*args)

    return counted


def test_what_disagrees_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    real = LaidProgram.__call__

    def wrong(self: LaidProgram, *tensors: Any) -> Any:
        return tuple(y * 1.01 for y in real(self, *tensors))

    def shaped(self: LaidProgram, *tensors: Any) -> Any:
        return tuple(y.unsqueeze(0) for y in real(self, *tensors))

    x = torch.randn(2, 64)
    for bad in (wrong, shaped):
        monkeypatch.setattr(LaidProgram, "__call__", bad)
        compiled = spcomp.compile(mlp(64, 128, 32, sparsity=0.8), x, policy="force")
        assert not isinstance(compiled.parts.programs[0].run, LaidProgram)
    side = (compiled.parts.programs[0], compiled.parts.table)
    assert agree(compiled.parts.tensors, side, side, [x])


def test_sizes_that_change_are_inductors() -> None:
    model = mlp(64, 128, 32, sparsity=0.8)
    compiled = spcomp.compile(model, torch.randn(2, 64), torch.randn(5, 64), policy="force")
    assert not isinstance(compiled.parts.programs[0].run, LaidProgram)
    assert relative(compiled(torch.ones(9, 64)), model(torch.ones(9, 64))) < 1e-5
