"""Slices of a constant are those that torch picks, bit by bit, whatever its layout."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spcomp.passes.infer_sparsity import positive_zeros
from spcomp.passes.origins import Step, pick
from spcomp.passes.slices import taken

DTYPES = (torch.float32, torch.bfloat16, torch.float64, torch.int64, torch.bool)


@settings(max_examples=80, deadline=None)
@given(
    shape=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    dtype=st.sampled_from(DTYPES),
    dims=st.lists(st.integers(0, 3), max_size=3),
    turned=st.booleans(),
    seed=st.integers(0, 1 << 20),
)
def test_slices_are_those_of_index_select(
    shape: list[int], dtype: torch.dtype, dims: list[int], turned: bool, seed: int
) -> None:
    g = torch.Generator().manual_seed(seed)
    tensor = torch.randn(shape, generator=g)
    tensor[torch.rand(shape, generator=g) < 0.2] = float("nan")
    tensor[torch.rand(shape, generator=g) < 0.2] = -0.0
    tensor = (tensor.nan_to_num() if dtype in DTYPES[3:] else tensor).to(dtype)
    tensor = tensor.transpose(0, -1) if turned else tensor
    keep, expected = [], tensor
    for dim in (d for d in dims if d < tensor.dim()):
        size = expected.shape[dim]
        length = int(torch.randint(0, size + 3, (), generator=g)) if size else 0
        index = torch.randint(0, max(1, size), (length,), generator=g)
        keep.append((dim, index))
        expected = expected.index_select(dim, index)
    found = pick(tuple(Step("keep", ((d,),), i) for d, i in keep), tensor)
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    same = (found == expected) | (found.isnan() & expected.isnan())
    assert bool(same.all())
    if found.is_floating_point():
        assert torch.equal(found.signbit(), expected.signbit())


def test_many_rows_and_columns() -> None:
    weight = torch.randn(700, 900).bfloat16()
    rows, columns = torch.randperm(700)[:500], torch.arange(3, 900, 2)
    assert torch.equal(taken(weight, [(0, rows), (1, columns)]), weight[rows][:, columns])
    assert torch.equal(taken(weight, [(1, columns)]), weight[:, columns])
    assert taken(weight, [(0, rows)]).data_ptr() % 64 == 0


@pytest.mark.parametrize("index", [-1, 4])
def test_an_index_outside_is_an_error(index: int) -> None:
    with pytest.raises(IndexError, match="not within 0 to 3"):
        taken(torch.zeros(4, 5), [(0, torch.tensor([0, index]))])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_only_weights_with_a_negative_zero_are_copied(dtype: torch.dtype) -> None:
    weight = torch.tensor([[0.0, -1.0], [float("-inf"), float("nan")]], dtype=dtype)
    assert positive_zeros(weight).data_ptr() == weight.data_ptr()
    weight[0, 0] = -0.0
    fixed = positive_zeros(weight)
    assert not fixed[0, 0].signbit()
    assert torch.equal(fixed[0], torch.tensor([0.0, -1.0], dtype=dtype))
    assert positive_zeros(torch.zeros(0, 3, dtype=dtype)).shape == (0, 3)
