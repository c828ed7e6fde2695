from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spcomp.encodings.bitmap import Bitmap
from spcomp.encodings.block import Block
from spcomp.encodings.csr import Csr
from spcomp.encodings.interop import (
    from_semi_structured,
    from_torch_bsr,
    from_torch_csr,
    to_semi_structured,
    to_torch_bsr,
    to_torch_csr,
)
from spcomp.encodings.nm import Nm
from spcomp.encodings.pack import pack
from spcomp.errors import EncodingError
from tests.strategies import same_bits, weights

pytestmark = pytest.mark.filterwarnings("ignore:Sparse CSR:UserWarning", "ignore:The PyTorch API of Sparse:UserWarning")


@given(weights(), st.sampled_from([Csr(), Csr(16), Bitmap(), Block(4, 4)]))
@settings(max_examples=30, deadline=None)
def test_csr_both_ways(weight: torch.Tensor, encoding: Csr | Bitmap | Block) -> None:
    packed = pack(weight, encoding)
    theirs = to_torch_csr(packed)
    assert theirs.values().numel() == packed.nonzeros
    assert from_torch_csr(theirs, encoding).digest == packed.digest
    assert same_bits(from_torch_csr(theirs).unpack(), weight)


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_bsr_both_ways(data: st.DataObject) -> None:
    rows, cols = data.draw(st.sampled_from([(1, 4), (2, 3), (8, 8), (16, 1)]))
    weight = data.draw(weights())
    weight = weight[: weight.shape[0] // rows * rows, : weight.shape[1] // cols * cols]
    packed = pack(weight, Block(rows, cols))
    theirs = to_torch_bsr(packed)
    assert from_torch_bsr(theirs).digest == packed.digest
    assert same_bits(from_torch_bsr(theirs, Csr()).unpack(), weight)


def test_torchs_own_tensors_mean_the_same() -> None:
    weight = torch.randn(24, 32) * (torch.rand(24, 32) > 0.8)
    weight[weight == 0] = 0.0  # products with False may be -0.0, which torch does not count as a nonzero
    assert torch.equal(to_torch_csr(pack(weight, Csr())).to_dense(), weight)
    assert torch.equal(to_torch_bsr(pack(weight, Block(8, 4))).to_dense(), weight)
    assert same_bits(from_torch_csr(weight.to_sparse_csr()).unpack(), weight)
    assert same_bits(from_torch_bsr(weight.to_sparse_bsr((8, 4))).unpack(), weight)


def two_of_four(dtype: torch.dtype) -> torch.Tensor:
    weight = torch.randint(1, 100, (64, 128)).to(dtype)
    weight.view(64, 32, 4)[:, ::2, 1:3] = 0
    weight.view(64, 32, 4)[:, 1::2, ::2] = 0
    return weight


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int8])
def test_semi_structured_both_ways(dtype: torch.dtype) -> None:
    weight = two_of_four(dtype)
    packed = pack(weight, Nm(2, 4))
    assert from_semi_structured(to_semi_structured(packed)).digest == packed.digest


def test_what_semi_structured_cannot_hold_is_told() -> None:
    with pytest.raises(EncodingError, match="float32 as 1:2"):
        to_semi_structured(pack(two_of_four(torch.float32), Nm(2, 4)))
    with pytest.raises(EncodingError, match="torch declines"):
        to_semi_structured(pack(two_of_four(torch.float16)[:7], Nm(2, 4)))
    with pytest.raises(EncodingError, match="not 2:4 along K"):
        to_semi_structured(pack(torch.ones(64, 64).half(), Bitmap()))
    with pytest.raises(EncodingError, match="it is a Tensor"):
        from_semi_structured(torch.ones(2, 2))  # type: ignore[arg-type]


def test_what_cannot_cross_is_told() -> None:
    weight = torch.eye(10)
    with pytest.raises(EncodingError, match=r"packed as csr\(block_columns=128\)"):
        to_torch_bsr(pack(weight, Csr()))
    with pytest.raises(EncodingError, match="does not divide"):
        to_torch_bsr(pack(weight, Block(4, 4)))
    with pytest.raises(EncodingError, match=r"2-D torch.strided tensor of float32"):
        from_torch_csr(weight)
    with pytest.raises(EncodingError, match="float64"):
        from_torch_csr(weight.double().to_sparse_csr())
    twice = torch.sparse_csr_tensor(
        torch.tensor([0, 2]), torch.tensor([1, 1]), torch.ones(2), size=(1, 4), check_invariants=False
    )
    with pytest.raises(EncodingError, match="indices are malformed"):
        from_torch_csr(twice)
