"""Rows of packed weights: the compiled gathers against unpacking."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spcomp.codegen.gather import DenseRows, exact, row_gather
from spcomp.codegen.mlir_cpu import jit
from spcomp.codegen.mlir_cpu.gather import CompiledRows
from spcomp.encodings.bitmap import Bitmap
from spcomp.encodings.block import Block
from spcomp.encodings.csr import Csr
from spcomp.encodings.dense import Dense
from spcomp.encodings.nm import Nm
from spcomp.encodings.pack import bit_views, pack
from spcomp.encodings.quad import Quad
from spcomp.encodings.sorted_csr import SortedCsr
from spcomp.encodings.spec import Encoding
from spcomp.encodings.transposed import Transposed
from spcomp.encodings.window import Window
from spcomp.errors import KernelError
from spcomp.sparsity.measure import measure
from tests.conftest import Golden
from tests.guarded import Guarded
from tests.strategies import SPECIAL_BITS, same_bits

pytestmark = pytest.mark.skipif(jit.available() is not None, reason=str(jit.available()))
KEPT: list[Encoding] = [
    Dense(), Transposed(), Csr(), Csr(48), Csr(300), SortedCsr(), SortedCsr(48, 32),
    SortedCsr(300, 256), Window(32), Window(64), Window(256), Bitmap(), Nm(2, 4), Nm(8, 16),
    Nm(1, 4), Nm(3, 8), Block(8, 8), Block(3, 5), Block(16, 1), Quad(), Quad(4),
]  # fmt: skip
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def special(rows: int, columns: int, dtype: torch.dtype, zeros: float = 0.8, seed: int = 0) -> torch.Tensor:
    """Random values and zeros, with -0.0, NaNs, infinities and subnormals among them; 2:4, 1:4, 3:8 and 8:16 hold."""
    torch.manual_seed(seed)
    weight = torch.randn(rows, columns).to(dtype)
    signed = {4: torch.int32, 2: torch.int16}[weight.element_size()]
    bits = weight.view(signed)
    odd = SPECIAL_BITS[str(dtype)[6:]]
    width = 8 * weight.element_size()
    chosen = torch.tensor([b - (1 << width) if b >> (width - 1) else b for b in odd], dtype=signed)
    bits = torch.where(torch.rand(rows, columns) < 0.2, chosen[torch.randint(len(odd), (rows, columns))], bits)
    keep = (torch.rand(rows, columns) >= zeros) & (torch.arange(columns) % 4 == torch.randint(4, (rows, 1)))
    return torch.where(keep, bits, 0).to(signed).view(dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("encoding", KEPT, ids=str)
@settings(max_examples=15, deadline=None)
@given(ids=st.lists(st.integers(0, 199), max_size=40), narrow=st.booleans())
def test_compiled_gathers_give_every_bit(encoding: Encoding, dtype: torch.dtype, ids: list[int], narrow: bool) -> None:
    weight = special(200, 301, dtype)
    assert encoding.refuses(measure(weight)) is None
    gather = row_gather([pack(weight, encoding)], None, str(dtype)[6:])
    assert isinstance(gather, CompiledRows) == (not isinstance(encoding, Dense | Transposed))
    given_ids = torch.tensor(ids, dtype=torch.int32 if narrow else torch.int64)
    assert same_bits(gather(given_ids), weight[given_ids.long()])


@pytest.mark.parametrize("encoding", KEPT, ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (3, 2), (2, 0, 3), (500,)], ids=str)
def test_ids_of_any_shape(encoding: Encoding, shape: tuple[int, ...]) -> None:
    weight = special(67, 64, torch.float32)
    gather = row_gather([pack(weight, encoding)], None, "float32")
    ids = torch.randint(67, shape)
    assert same_bits(gather(ids), weight[ids])
    assert gather(ids).is_contiguous()
    if ids.dim() == 2:
        assert same_bits(gather(ids.t()), weight[ids.t()]), "ids that are not contiguous"
        assert same_bits(gather(ids[:1].expand(4, 2)), weight[ids[:1].expand(4, 2)])


@pytest.mark.parametrize("encoding", KEPT, ids=str)
@pytest.mark.parametrize("outside", [-1, 67, 2**31 + 5, -(2**63), 2**63 - 1])
def test_numbers_that_are_no_rows_raise_as_torch_does(encoding: Encoding, outside: int) -> None:
    gather = row_gather([pack(special(67, 64, torch.float32), encoding)], None, "float32")
    for ids in (torch.tensor(outside), torch.tensor([0, 66, outside, 1])):
        with pytest.raises(IndexError, match="index out of range in self"):
            gather(ids)


@pytest.mark.parametrize("zeros", [0.0, 1.0])
@pytest.mark.parametrize("encoding", [Csr(), Window(), Bitmap(), Block(8, 8), Nm(2, 4)], ids=str)
def test_empty_rows_and_full_ones(encoding: Encoding, zeros: float) -> None:
    weight = special(33, 65, torch.float32, zeros)
    weight[7] = 0
    gather = row_gather([pack(weight, encoding)], None, "float32")
    assert same_bits(gather(torch.arange(33)), weight)


def test_the_quickest_exact_encoding_is_read() -> None:
    weight = special(64, 64, torch.float32)
    packs = [pack(weight, e) for e in (Nm(2, 4), Window(), Csr())]
    assert exact(packs, "float32") is packs[2]
    assert exact(packs[:2], "float32") is packs[1]
    rounded = pack(torch.ones(64, 64, dtype=torch.int8), Quad())
    assert exact([rounded], "float32") is None
    assert isinstance(row_gather([rounded], weight, "float32"), DenseRows)
    with pytest.raises(KernelError, match="only its rounding to int8 was kept"):
        row_gather([rounded], None, "float32")


@pytest.mark.parametrize("encoding", KEPT, ids=str)
def test_nothing_is_read_or_written_outside(encoding: Encoding) -> None:
    weight = special(75, 150, torch.bfloat16)
    packed = pack(weight, encoding)
    ends = {name: Guarded(array) for name, array in bit_views(packed.buffers, packed.dtype).items()}
    buffers = {
        name: torch.from_numpy(ends[name].view).view(b.dtype).reshape(b.shape) for name, b in packed.buffers.items()
    }
    gather = row_gather([replace(packed, buffers=buffers)], None, "bfloat16")
    ids = torch.from_numpy(Guarded(torch.arange(75).numpy()).view).view(torch.int64)
    assert same_bits(gather(ids), weight)
    for outside in (75, 1 << 40, -1):
        with pytest.raises(IndexError):
            gather(torch.tensor([outside]))


@pytest.mark.parametrize("encoding", [Csr(), Window()], ids=str)
def test_threads_share_a_gather(encoding: Encoding) -> None:
    weight = special(300, 257, torch.float32)
    gather = row_gather([pack(weight, encoding)], None, "float32")
    lists = [torch.randint(300, (size,)) for size in (1, 1000, 3, 4000) * 4]
    with ThreadPoolExecutor(4) as pool:
        for ids, found in zip(lists, pool.map(gather, lists), strict=True):
            assert same_bits(found, weight[ids])


@pytest.mark.parametrize("encoding", [Csr(), Window()], ids=str)
def test_what_finds_a_row_is_counted(encoding: Encoding) -> None:
    packed = pack(special(1000, 512, torch.float32), encoding)
    gather = row_gather([packed], None, "float32")
    assert gather.extra_nbytes == (4 * 16 * 8 if isinstance(encoding, Csr) else 4000)
    assert "func.func" in gather.source


@pytest.mark.parametrize(("encoding", "name"), [(Csr(), "csr"), (Window(), "window"), (Bitmap(), "bitmap")])
def test_golden_gathers(encoding: Encoding, name: str, golden: Golden) -> None:
    packed = pack(special(200, 301, torch.bfloat16), encoding)
    golden(f"mlir_gather_{name}.txt", row_gather([packed], None, "bfloat16").source)
