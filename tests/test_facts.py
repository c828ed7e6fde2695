from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from spcomp.encodings.pack import tensor_from_bits
from spcomp.errors import WeightError
from spcomp.sparsity import measure as measuring
from spcomp.sparsity.facts import BLOCK_SHAPES, NM_GROUPS, NM_RESTS, VNM_GROUPS, VNM_ROWS, SparsityFacts
from spcomp.sparsity.measure import measure
from tests.strategies import SPECIAL_BITS, bit_matrices, weights


def slow_group_max(mask: NDArray[np.bool_], m: int) -> int:
    return max((int(line[i : i + m].sum()) for line in mask for i in range(0, len(line), m)), default=0)


def slow_blocks(mask: NDArray[np.bool_], rows: int, cols: int) -> int:
    return sum(
        bool(mask[r : r + rows, c : c + cols].any())
        for r in range(0, mask.shape[0], rows)
        for c in range(0, mask.shape[1], cols)
    )


def slow_rest(mask: NDArray[np.bool_], n: int, m: int) -> int:
    return sum(max(0, int(line[i : i + m].sum()) - n) for line in mask for i in range(0, len(line), m))


def slow_live_columns(mask: NDArray[np.bool_], v: int, m: int) -> int:
    if slow_group_max(mask, m) > 2:
        return m
    rows, columns = range(0, mask.shape[0], v), range(0, mask.shape[1], m)
    return max((int(mask[r : r + v, c : c + m].any(axis=0).sum()) for r in rows for c in columns), default=0)


def expect_facts(facts: SparsityFacts, bits: NDArray[Any]) -> None:
    mask = bits != 0
    assert facts.shape == bits.shape
    assert facts.nonzeros == mask.sum()
    assert np.array_equal(facts.row_nonzeros, mask.sum(axis=1))
    assert np.array_equal(facts.column_nonzeros, mask.sum(axis=0))
    slow = {(axis, m): slow_group_max(mask if axis else mask.T, m) for axis in (1, 0) for m in NM_GROUPS}
    assert facts.group_max == slow
    assert facts.block_counts == {shape: slow_blocks(mask, *shape) for shape in BLOCK_SHAPES}
    assert facts.rests == {rest: slow_rest(mask, *rest) for rest in NM_RESTS}
    wide = [(v, m) for v in VNM_ROWS for m in VNM_GROUPS if m > 4]
    assert facts.live_columns == {(v, m): slow_live_columns(mask, v, m) for v, m in wide}


@given(bit_matrices())
@settings(max_examples=40, deadline=None)
def test_facts_equal_the_slow_count(case: tuple[NDArray[Any], str]) -> None:
    bits, dtype = case
    facts = measure(tensor_from_bits(bits, dtype))
    assert facts.dtype == dtype
    expect_facts(facts, bits)


@pytest.mark.parametrize("shape", [(200, 9000), (70, 8192), (9000, 70), (1, 20000)])
def test_tiles_add_up(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Matrices of several tiles: the cut must not show in any count, in threads or without."""
    monkeypatch.setattr(measuring, "_TILE_ELEMENTS", 1 << 13)
    rng = np.random.default_rng(1)
    bits = (rng.random(shape) < 0.03).astype(np.uint8)
    bits[: shape[0] // 2, : shape[1] // 3] = 0
    mask = bits != 0
    facts = measure(bits.view(np.int8))
    assert facts.nonzeros == mask.sum()
    assert np.array_equal(facts.row_nonzeros, mask.sum(axis=1))
    assert np.array_equal(facts.column_nonzeros, mask.sum(axis=0))
    for rows, cols in BLOCK_SHAPES:
        padded = np.zeros((-(-shape[0] // rows) * rows, -(-shape[1] // cols) * cols), dtype=np.bool_)
        padded[: shape[0], : shape[1]] = mask
        grid = padded.reshape(padded.shape[0] // rows, rows, padded.shape[1] // cols, cols)
        assert facts.block_counts[rows, cols] == grid.any(axis=(1, 3)).sum()
    for m in NM_GROUPS:
        assert facts.group_max[1, m] == np.add.reduceat(mask, np.arange(0, shape[1], m), axis=1, dtype=int).max()
        assert facts.group_max[0, m] == np.add.reduceat(mask, np.arange(0, shape[0], m), axis=0, dtype=int).max()


@given(weights())
@settings(max_examples=30, deadline=None)
def test_strides_do_not_matter(weight: torch.Tensor) -> None:
    measuring._cache.clear()
    there = measure(weight)
    measuring._cache.clear()
    here = measure(weight.contiguous())
    assert (there.digest, there.group_max, there.block_counts) == (here.digest, here.group_max, here.block_counts)


@given(bit_matrices(), st.data())
@settings(max_examples=30, deadline=None)
def test_digest_sees_every_bit(case: tuple[NDArray[Any], str], data: st.DataObject) -> None:
    bits, dtype = case
    before = measure(tensor_from_bits(bits, dtype))
    assert measure(tensor_from_bits(bits.copy(), dtype)) is before
    if bits.size:
        bits.flat[data.draw(st.integers(0, bits.size - 1))] ^= 1
        assert measure(tensor_from_bits(bits, dtype)).digest != before.digest


def test_digest_sees_dtype_and_shape() -> None:
    zeros = torch.zeros(6, 4, dtype=torch.float16)
    digests = {measure(t).digest for t in (zeros, zeros.bfloat16(), zeros.reshape(4, 6), zeros[:0], zeros[:, :0])}
    assert len(digests) == 5


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_only_plus_zero_is_zero(dtype: str) -> None:
    kinds = {"float32": np.uint32, "bfloat16": np.uint16, "float16": np.uint16}
    bits = np.array([[*SPECIAL_BITS[dtype], 0, 0]], dtype=kinds[dtype])
    assert measure(tensor_from_bits(bits, dtype)).nonzeros == len(SPECIAL_BITS[dtype])


def test_more_dimensions_are_seen_as_a_matrix() -> None:
    conv = torch.randn(5, 3, 2, 4) * (torch.rand(5, 3, 2, 4) > 0.5)
    facts = measure(conv)
    assert facts.shape == (5, 24)
    assert facts is measure(conv.reshape(5, 24))
    assert facts is measure(conv.contiguous(memory_format=torch.channels_last))
    assert facts is measure(conv.numpy())
    assert facts is measure(torch.nn.Parameter(conv))
    assert facts is measure(conv.numpy().astype(">f4"))


def test_facts_are_read_only_and_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "CACHED_FACTS", 3)
    for i in range(6):
        facts = measure(np.full((2, 2), i, dtype=np.int8))
    assert len(measuring._cache) == 3
    with pytest.raises(ValueError, match="read-only"):
        facts.row_nonzeros[0] = 7


@pytest.mark.parametrize(
    ("weight", "words"),
    [
        (torch.zeros(3), "1 dimensions"),
        (torch.tensor(1.0), "0 dimensions"),
        (np.zeros(3, dtype=np.float32), "1 dimensions"),
        (torch.zeros(2, 2, dtype=torch.float64), "dtype is float64"),
        (np.zeros((2, 2), dtype=np.int64), "dtype is int64"),
        (torch.eye(2).to_sparse(), "layout is torch.sparse_coo"),
        (torch.empty(2, 2, device="meta"), "meta device"),
        ([[1.0]], "it is a list"),
    ],
)
def test_what_is_no_weight_is_told_why(weight: Any, words: str) -> None:
    with pytest.raises(WeightError, match=words):
        measure(weight)


@given(bit_matrices(), st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_negative_zeros_may_count_as_zeros(case: tuple[NDArray[Any], str], rows: int) -> None:
    """The facts are those of the same bits with +0 for -0, digest included, in strips of any size."""
    bits, dtype = case
    positive = bits.copy()
    if dtype != "int8":
        positive[bits == 1 << (8 * bits.itemsize - 1)] = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measuring, "_STRIP_BYTES", rows * 64)
        found = measure(tensor_from_bits(bits, dtype), negative_zeros=False)
    expect_facts(found, positive)
    assert found.digest == measure(tensor_from_bits(positive, dtype)).digest


def test_several_weights_are_measured_together() -> None:
    weights = [torch.randn(70, 130) * (torch.rand(70, 130) > 0.5), torch.zeros(0, 4), torch.ones(3, 3)]
    weights.append(weights[0].clone())
    found = measuring.measure_all(weights)
    assert [f.digest for f in found] == [measure(w).digest for w in weights]
    assert found[0] is found[3]
    for facts, weight in zip(found, weights, strict=True):
        expect_facts(facts, weight.numpy().view(np.uint32))
