"""The small functions between layers that are laid down: each is torch's, whatever the sizes."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from spcomp.codegen.mlir_cpu import jit, small
from spcomp.codegen.mlir_cpu.laid_down import Chain, Step, Work
from spcomp.codegen.mlir_cpu.scratch import scratch
from tests.conftest import Golden
from tests.kernels import inputs, relative

pytestmark = pytest.mark.skipif(jit.available() is not None, reason=str(jit.available()))


@pytest.fixture(autouse=True)
def threads(each_team: int) -> int:
    return each_team


def run(work: Work | None, shape: Sequence[int], *tensors: torch.Tensor) -> torch.Tensor:
    """The work alone, its scratch memory full of what is no number."""
    assert work is not None
    chain = Chain([Step(work, tuple(-1 - i for i in range(len(tensors))), tuple(shape))], len(tensors), [0])
    ctypes.memset(scratch(chain.nbytes), 255, chain.nbytes)
    return chain(tensors)[0]


@settings(max_examples=20)
@given(count=st.sampled_from([3, 16, 47, 64, 1000]), kind=st.sampled_from(sorted(small.BINARY)))
def test_pairs(count: int, kind: str) -> None:
    a, b = inputs(count), inputs(count, seed=2)
    a[0], b[1], a[2] = torch.nan, torch.inf, -0.0
    exact = {"add": a + b, "sub": a - b, "mul": a * b}[kind]
    assert torch.equal(run(small.pair(kind, count), (count,), a, b).nan_to_num(7.0), exact.nan_to_num(7.0))


@pytest.mark.parametrize(
    ("kind", "exact"),
    [("relu", F.relu), ("silu", F.silu), ("gelu", F.gelu), ("gelu_tanh", lambda x: F.gelu(x, approximate="tanh"))],
)
def test_activations(kind: str, exact: Any) -> None:
    x = 4 * inputs(333)
    assert relative(run(small.single(kind, 333), (333,), x), exact(x.double())) < 1e-6


@settings(max_examples=20)
@given(
    rows=st.sampled_from([1, 3]), features=st.sampled_from([1, 16, 40, 100]), weight=st.booleans(), bias=st.booleans(),
    far=st.sampled_from([0.0, 100.0]),
)  # fmt: skip
def test_norms(rows: int, features: int, weight: bool, bias: bool, far: float) -> None:
    x, w, b = inputs(rows, features) + far, inputs(features, seed=2), inputs(features, seed=3)
    exact = F.layer_norm(x.double(), [features], w.double() if weight else None, b.double() if bias else None)
    given_ = [x, *([w] if weight else []), *([b] if bias else [])]
    y = run(small.norm(rows, features, 1e-5, weight=weight, bias=bias), x.shape, *given_)
    assert relative(y, exact) < (1e-5 if far else 1e-6)


@settings(max_examples=25)
@given(
    heads=st.sampled_from([1, 5]), queries=st.sampled_from([1, 3]), keys=st.sampled_from([1, 15, 16, 33]),
    width=st.sampled_from([16, 64, 128]), big=st.sampled_from([1.0, 30.0]),
)  # fmt: skip
def test_attention(heads: int, queries: int, keys: int, width: int, big: float) -> None:
    q, k, v = (inputs(heads, n, width, seed=i) for i, n in enumerate((queries, keys, keys)))
    q *= big
    exact = F.scaled_dot_product_attention(q.double(), k.double(), v.double())
    assert relative(run(small.attend(heads, queries, keys, width, width**-0.5), q.shape, q, k, v), exact) < 2e-5


def test_attention_to_what_is_no_number_is_none() -> None:
    q, k, v = inputs(1, 1, 64), inputs(1, 20, 64, seed=2), inputs(1, 20, 64, seed=3)
    k[0, 3, 5] = torch.nan
    assert run(small.attend(1, 1, 20, 64, 0.125), q.shape, q, k, v).isnan().all()
    assert small.attend(1, 1, 20, 60, 0.125) is None
    assert small.attend(1, 1, 20, 144, 0.125) is None
    assert small.attend(1, 1, 0, 64, 0.125) is None


@settings(max_examples=20)
@given(outer=st.sampled_from([1, 4]), count=st.sampled_from([1, 3]), inner=st.sampled_from([1, 16, 70]))
def test_rows_are_copied_where_they_belong(outer: int, count: int, inner: int) -> None:
    cache, source = inputs(outer, 40, inner), inputs(outer, count, inner, seed=2)
    index = torch.randperm(40)[:count]
    exact = cache.clone().index_copy_(1, index, source)
    chain = Chain([Step(small.copy(outer, count, 40, inner), (-1, -2, -3), (0,))], 3, [])
    chain([cache, index, source])
    assert torch.equal(cache, exact)


@settings(max_examples=20)
@given(tiles=st.sampled_from([1, 3]), columns=st.sampled_from([3, 16, 40, 100]))
def test_tiles_and_back(tiles: int, columns: int) -> None:
    x = inputs(tiles, 16, columns)
    xs = run(small.turn(tiles, 16, columns), (tiles, columns, 16), x)
    assert torch.equal(xs, x.transpose(1, 2))
    assert torch.equal(run(small.turn(tiles, columns, 16), (tiles, 16, columns), xs), x)


@settings(max_examples=15)
@given(residual=st.booleans(), weight=st.booleans(), bias=st.booleans())
def test_norms_of_tiles(residual: bool, weight: bool, bias: bool) -> None:
    xs, more = inputs(3, 40, 16), inputs(3, 40, 16, seed=2)
    w, b = inputs(40, seed=3), inputs(40, seed=4)
    tensors = [t for t, there in ((more, residual), (w, weight), (b, bias)) if there]
    y = run(small.tiles_norm(3, 40, 1e-5, residual, weight, bias), xs.shape, xs, *tensors)
    x = (xs + more if residual else xs).double().transpose(1, 2)
    exact = F.layer_norm(x, [40], w.double() if weight else None, b.double() if bias else None).transpose(1, 2)
    assert relative(y, exact) < 1e-6


def test_golden_texts(golden: Golden, threads: int) -> None:
    golden("mlir_attend.txt", small.attend_text(1, 20, 32, 0.125))
    golden("mlir_norm_rows.txt", small.norm_text(40, 1e-5, weight=True, bias=True))
