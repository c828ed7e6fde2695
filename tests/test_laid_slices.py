"""Neighbours on tiles that take turns: the same results, whatever lies where."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import spcomp
from spcomp.codegen.inductor import unavailable
from spcomp.codegen.laid_program import Laid, LaidProgram
from spcomp.codegen.laid_slices import sizes_of
from spcomp.codegen.mlir_cpu import jit, small
from spcomp.codegen.mlir_cpu.laid_down import Chain, Slices, Step
from tests.kernels import relative
from tests.models import prune

pytestmark = pytest.mark.skipif(jit.available() is not None, reason=str(jit.available()))
SIZES = (2, 2, 3)
TILES = sum(SIZES)
KINDS = ("add", "sub", "mul")
TAKEN = (torch.add, torch.sub, torch.mul)


@pytest.mark.parametrize(
    ("tiles", "size", "sizes"),
    [(0, 8, (0,)), (15, 8, (15,)), (16, 8, (8, 8)), (17, 8, (8, 9)), (31, 8, (8, 8, 15)), (32, 16, (16, 16))],
)
def test_the_last_turn_has_what_is_left(tiles: int, size: int, sizes: tuple[int, ...]) -> None:
    assert sizes_of(tiles, size) == sizes


programs = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 30), st.integers(0, 30), st.booleans(), st.sampled_from((0, 1, 1, 1))),
    min_size=1, max_size=12,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(programs, st.integers(1, 3))
def test_any_program_of_pairs_says_the_same_in_turns(
    program: list[tuple[int, int, int, bool, int]], inner: int
) -> None:
    """Each (kind, operands before it, whether it is handed out, whether it takes turns)."""
    count = 16 * inner
    given = [torch.randn(TILES, inner, 16) for _ in range(2)]
    steps: list[Step] = []
    values: list[torch.Tensor] = []
    leaving = []
    for i, (kind, a, b, out, turns) in enumerate(program):
        reads = tuple(n % (i + 2) - 2 for n in (a, b))  # -2 and -1 are given
        known = {-1: given[0], -2: given[1], **dict(enumerate(values))}
        values.append(TAKEN[kind](*(known[n] for n in reads)))
        slices = None
        if turns:
            works = tuple(small.pair(KINDS[kind], size * count) for size in SIZES)
            slices = Slices(works, SIZES, (4 * count, 4 * count))
        steps.append(Step(small.pair(KINDS[kind], TILES * count), reads, (TILES, inner, 16), (), slices))
        if out or i == len(program) - 1:
            leaving.append(i)
    chain = Chain(steps, 2, leaving)
    for found, i in zip(chain(given), leaving, strict=True):
        torch.testing.assert_close(found, values[i], equal_nan=True)


def test_what_only_neighbours_read_takes_a_slices_memory() -> None:
    count = 4096
    whole, part = small.single("relu", TILES * count), tuple(small.single("relu", size * count) for size in SIZES)
    slices = Slices(part, SIZES, (4 * count,))
    shape = (TILES, 256, 16)
    apart = Chain([Step(whole, (i - 1,), shape) for i in range(4)], 1, [3])
    turns = Chain([Step(whole, (i - 1,), shape, (), slices) for i in range(4)], 1, [3])
    assert apart.nbytes == 2 * 4 * math.prod(shape)
    assert turns.nbytes == 2 * 4 * max(SIZES) * count
    x = torch.randn(shape)
    assert torch.equal(turns([x])[0], torch.relu(x))


class Block(nn.Module):
    """What a transformer's layer is without its attention."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.down(torch.nn.functional.gelu(self.up(self.norm(x))))  # type: ignore[no-any-return]


@pytest.mark.skipif(unavailable() is not None, reason=str(unavailable()))
@pytest.mark.parametrize(
    ("threads", "rows", "turns"), [(1, 400, (8, 8, 9)), (1, 250, (8, 8)), (1, 128, ()), (2, 512, (16, 16))]
)
def test_a_model_of_many_rows_takes_turns(
    threads: int, rows: int, turns: tuple[int, ...], two_threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spcomp.whole.paired_speedup", lambda *_: 1.5)
    monkeypatch.setattr("spcomp.tiling.speedup", lambda *_: 1.5)
    monkeypatch.setattr("spcomp.guard.MARGIN", 0.0)
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = prune(nn.Sequential(Block(), Block(), nn.Linear(64, 32)).eval(), 0.8)
    x = torch.randn(rows, 64)
    compiled = spcomp.compile(model, x, policy="force", encodings=["csr"], memory_budget=1e6)
    run = compiled.parts.programs[0].run
    assert isinstance(run, LaidProgram)
    chains = [part.chain for part in run.parts(compiled.parts.table) if isinstance(part, Laid)]
    assert max((step.sizes for chain in chains for step in chain.steps), key=len) == turns
    assert any(chain.inside for chain in chains) == bool(turns)
    for _ in range(2):
        assert relative(compiled(x), model(x)) < 1e-5
