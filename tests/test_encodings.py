"""The laws of encodings, over the whole table; layouts are in test_encoding_layouts.py."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save

from spcomp.encodings.bitmap import Bitmap
from spcomp.encodings.block import Block
from spcomp.encodings.csr import Csr
from spcomp.encodings.dense import Dense
from spcomp.encodings.fours import Fours
from spcomp.encodings.gather import PackedRows
from spcomp.encodings.nm import Nm
from spcomp.encodings.nm_rest import NmRest
from spcomp.encodings.pack import PackedTensor, pack
from spcomp.encodings.quad import Quad
from spcomp.encodings.sell import Sell
from spcomp.encodings.sorted_csr import SortedCsr
from spcomp.encodings.spec import Encoding
from spcomp.encodings.split import Split
from spcomp.encodings.table import ENCODINGS, encoding_from_dict, encoding_to_dict, parse_encoding
from spcomp.encodings.transposed import Transposed
from spcomp.encodings.vnm import Vnm
from spcomp.encodings.window import Window
from spcomp.errors import EncodingError
from spcomp.sparsity.bits import weight_bits
from spcomp.sparsity.measure import measure
from tests.strategies import encodings, same_bits, weights

by_name = pytest.mark.parametrize("name", ENCODINGS)
EXAMPLES = [
    Dense(),
    Csr(),
    Csr(48),
    SortedCsr(),
    SortedCsr(48, 3),
    Sell(),
    Sell(48, 24, 4),
    Block(8, 8),
    Block(16, 1),
    Block(3, 5),
    Split(8, 8),
    Split(8, 1, 30),
    Split(3, 5, 100),
    Nm(2, 4),
    Nm(8, 16),
    NmRest(1, 4, 100),
    Vnm(16, 8),
    Vnm(64, 4),
    Bitmap(),
    Quad(),
    Quad(4),
    Window(32),
    Window(256),
    Fours(64),
    Fours(256),
    Fours(64, 24),
    Transposed(),
]


@by_name
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_the_laws_of_packing(name: str, data: st.DataObject) -> None:
    weight, encoding = data.draw(weights()), data.draw(encodings(name))
    facts = measure(weight)
    refusal = encoding.refuses(facts)
    if refusal is not None:
        with pytest.raises(EncodingError, match=r"to pack a matrix") as caught:
            pack(weight, encoding, facts)
        assert caught.value.found == refusal.reason
        return
    packed = pack(weight, encoding)
    assert same_bits(packed.unpack(), weight)
    assert packed.nonzeros == facts.nonzeros
    assert packed.nbytes == sum(b.numel() * b.element_size() for b in packed.buffers.values())
    assert packed.buffers["values"].dtype is weight.dtype
    stored = packed.buffers["values"].numel()
    if (encoding.name in ("window", "fours") and facts.nonzeros) or encoding.name == "split":
        assert encoding.predict_nbytes(facts) is None, "padding depends on where the nonzeros are"
        assert encoding.stored_values(facts) is None
        assert encoding.exact_sizes(facts, weight_bits(weight)[0]) == (packed.nbytes, stored)
    elif encoding.name == "sell":
        assert encoding.predict_nbytes(facts) is None, "what is left over depends on where the nonzeros are"
        assert encoding.stored_values(facts) == facts.nonzeros
        assert encoding.exact_sizes(facts, weight_bits(weight)[0]) == (packed.nbytes, stored)
    elif not isinstance(encoding, Block | Quad) or _shape(encoding) in facts.block_counts:
        assert encoding.exact_sizes(facts, weight_bits(weight)[0]) == (packed.nbytes, stored)
        assert encoding.predict_nbytes(facts) == packed.nbytes
        assert encoding.stored_values(facts) == stored
    else:
        assert encoding.predict_nbytes(facts) is None
        assert encoding.stored_values(facts) is None
        if isinstance(encoding, Quad):
            assert encoding.exact_sizes(facts, weight_bits(weight)[0]) == (packed.nbytes, stored)


def fitted(weight: torch.Tensor, encoding: Encoding) -> tuple[torch.Tensor, Encoding]:
    """A weight that the encoding takes: with fewer nonzeros, or with some more than fit."""
    if encoding.refuses(measure(weight)) is None:
        return weight, encoding
    if isinstance(encoding, Nm):
        return weight.masked_fill(torch.arange(weight.shape[1]) % encoding.m >= encoding.n, 0), encoding
    if isinstance(encoding, Vnm):
        return weight.masked_fill(torch.arange(weight.shape[1]) % encoding.m >= 2, 0), encoding
    assert isinstance(encoding, NmRest)
    assume(len(weight) > 0 and weight.shape[1] > encoding.n)
    weight = weight.clone()
    weight[0, :4] = 1
    return weight, replace(encoding, most=100)


def _shape(encoding: Block | Quad) -> tuple[int, int]:
    return encoding.rows, encoding.cols if isinstance(encoding, Block) else 4


@by_name
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_manifest_and_safetensors_round_trip(name: str, data: st.DataObject) -> None:
    weight, encoding = data.draw(weights()), data.draw(encodings(name))
    weight, encoding = fitted(weight, encoding)
    packed = pack(weight.contiguous(), encoding)
    again = PackedTensor.from_buffers(json.loads(json.dumps(packed.manifest())), load(save(packed.buffers)))
    assert again.digest == packed.digest
    assert again.encoding == encoding
    assert same_bits(again.unpack(), weight)


@by_name
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_encodings_as_text_and_data(name: str, data: st.DataObject) -> None:
    encoding = data.draw(encodings(name))
    assert parse_encoding(str(encoding)) == encoding
    assert encoding_from_dict(json.loads(json.dumps(encoding_to_dict(encoding)))) == encoding


@by_name
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_rows_gathered_are_rows_unpacked(name: str, data: st.DataObject) -> None:
    weight, encoding = data.draw(weights()), data.draw(encodings(name))
    weight, encoding = fitted(weight, encoding)
    packed = pack(weight, encoding)
    rows = len(weight)
    ids = torch.tensor(data.draw(st.lists(st.integers(0, rows - 1), max_size=9) if rows else st.just([])))
    gather = PackedRows(packed)
    for given_ids in (ids.to(torch.int64), ids.to(torch.int32), ids.to(torch.int64).reshape(1, -1, 1)):
        assert same_bits(gather(given_ids), packed.unpack()[given_ids.long()])
    if rows:
        assert gather(torch.tensor(rows - 1)).shape == (weight.shape[1],)
    for outside in (-1, rows, 2**40):
        with pytest.raises(IndexError, match="index out of range in self"):
            gather(torch.tensor([0, outside]))


def test_defaults_may_be_left_out() -> None:
    assert parse_encoding("csr") == parse_encoding(" csr() ") == Csr(block_columns=128)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("coo", "none of dense, csr, block, nm, bitmap, window, transposed"),
        ("csr(", "not of the form"),
        ("csr(128)", "no parameter=value"),
        ("csr(block_columns=1, block_columns=2)", "no parameter=value"),
        ("csr(width=3)", "no parameter width"),
        ("dense(name=3)", "no parameter=value"),
        ("nm(n=2)", "nm has m, n"),
        ("nm(n=4, m=4)", "within 1 to 3"),
        ("nm(n=9, m=16)", "within 1 to 8"),
        ("nm(n=2, m=5)", "m is not one of"),
        ("block(rows=0, cols=4)", "below 1"),
        ("csr(block_columns=0)", "within 1 to 65536"),
        ("csr(block_columns=65537)", "within 1 to 65536"),
        ("window(width=48)", "width is not one of"),
    ],
)
def test_bad_encodings_are_told_why(text: str, words: str) -> None:
    with pytest.raises(EncodingError, match=words):
        parse_encoding(text)


def test_parameters_of_another_type_are_told_why() -> None:
    with pytest.raises(EncodingError, match="no whole number"):
        encoding_from_dict({"name": "csr", "block_columns": True})
    with pytest.raises(EncodingError, match="its name is none"):
        encoding_from_dict({"name": ["csr"]})


def test_a_refusal_names_group_and_bound() -> None:
    weight = torch.ones(4, 8)
    with pytest.raises(EncodingError, match=r"a group of 4 columns has 4 nonzeros, and nm\(n=2, m=4\) holds 2"):
        pack(weight, Nm(2, 4))


def test_windows_number_so_many_columns_and_no_more() -> None:
    facts = replace(measure(torch.ones(1, 1)), shape=(1, 1 << 20))
    assert Window().refuses(facts) is None
    assert "more than the 1048576" in str(Window().refuses(replace(facts, shape=(1, (1 << 20) + 1))))


def test_facts_of_another_matrix_are_refused() -> None:
    with pytest.raises(EncodingError, match=r"facts given are of a float32 matrix of shape \(2, 2\)"):
        pack(torch.ones(4, 8), Dense(), measure(torch.ones(2, 2)))


def sparse_weight(dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(70, 200, generator=generator)
    weight[:, ::2] = 0  # 8:16, not 2:4 yet
    weight[:, 1::8] = 0
    weight[:, 3::8] = 0
    return weight.to(dtype)


@pytest.mark.parametrize("encoding", EXAMPLES, ids=str)
def test_arrays_are_views(encoding: Encoding) -> None:
    packed = pack(sparse_weight(), encoding)
    arrays = packed.arrays()
    assert arrays.keys() == packed.buffers.keys()
    assert arrays["values"].dtype == np.uint16
    for name, array in arrays.items():
        assert not array.size or array.__array_interface__["data"][0] == packed.buffers[name].data_ptr()
    assert pack(sparse_weight(torch.float32), encoding).arrays()["values"].dtype == np.float32


def test_dense_does_not_alias_the_weight() -> None:
    weight = torch.ones(3, 3)
    packed = pack(weight, Dense())
    weight.zero_()
    assert torch.equal(packed.unpack(), torch.ones(3, 3))
    packed.unpack().zero_()
    assert torch.equal(packed.unpack(), torch.ones(3, 3))


def test_convolutions_are_packed_as_matrices() -> None:
    conv = torch.randn(4, 3, 2, 2)
    assert torch.equal(pack(conv, Csr()).unpack(), conv.reshape(4, 12))


def test_digests_tell_encodings_and_contents_apart() -> None:
    weight = sparse_weight()
    other = weight.clone()
    other[0, 7] = 3.0
    digests = {pack(w, e).digest for w in (weight, other) for e in EXAMPLES}
    assert len(digests) == 2 * len(EXAMPLES)


def damaged(encoding: Encoding, buffer: str, place: Any, value: int) -> None:
    packed = pack(sparse_weight(), encoding)
    buffers = {name: b.clone() for name, b in packed.buffers.items()}
    buffers[buffer].numpy()[place] = value
    PackedTensor.from_buffers(packed.manifest(), buffers)


@pytest.mark.parametrize(
    ("encoding", "buffer", "place", "value", "words"),
    [
        (Csr(), "columns", 0, 200, "point past its 128 columns"),
        (Csr(), "columns", 1, 0, "do not ascend"),
        (Csr(), "counts", (0, 0), 0, "counts and block_start disagree"),
        (Csr(), "block_start", 1, -5, "falls somewhere"),
        (Csr(), "block_start", 2, 10**9, "not from 0 to"),
        (SortedCsr(), "columns", 0, 200, "point past its 128 columns"),
        (SortedCsr(), "order", (0, 0), 90, "every row of a window once"),
        (SortedCsr(), "order", (1, 3), 129, "every row of a window once"),
        (Sell(48, 24, 4), "columns", 0, 200, "point past the 48 of a block"),
        (Sell(48, 24, 4), "columns", -1, 9, "past column 200"),
        (Sell(48, 24, 4), "columns", 0, 7, "two values stand at one place"),
        (Sell(48, 24, 4), "order", (0, 0), 23, "every row of a window once"),
        (Sell(48, 24, 4), "lengths", (0, 0), 40, "do not add up to start"),
        (Sell(48, 24, 4), "lengths", (0, -1), 1, "the last slice has fewer than 4 rows"),
        (Sell(48, 24, 4), "rest_rows", -1, 22, "rest_rows point past their window"),
        (Sell(48, 24, 4), "start", 1, 10**9, "start falls somewhere"),
        (Sell(48, 24, 4), "rest_start", -1, 0, "rest_start goes from 0 to 0"),
        (Block(8, 8), "columns", 0, -1, "past the 25 block columns"),
        (Block(8, 8), "columns", 0, 25, "past the 25 block columns"),
        (Block(8, 8), "columns", 1, 0, "do not ascend"),
        (Block(8, 8), "row_start", 1, 10**6, "falls somewhere"),
        (Nm(3, 8), "control", (0, 0, 0), 0xFFF, "points past a group"),
        (Window(64), "columns", (0, 0), 64, "past a window of 64"),
        (Window(64), "columns", (1, 0), 0, "do not ascend within each row"),
        (Window(64), "first", 3, 10, "first points past column 200"),
        (Window(64), "group_start", 1, 3, "no multiple of 2"),
        (Window(64), "group_start", -1, 0, "not from 0 to"),
        (Window(64), "order", 0, 70, "no permutation of the rows"),
        (Fours(64), "columns", (0, 0, 3), 64, "past a window of 64"),
        (Fours(64), "columns", (0, 0, 1), 0, "do not ascend within each row"),
        (Fours(64), "first", 3, 10, "first points past column 200"),
        (Bitmap(), "masks", (0, 31), 255, "bits past column 200"),
        (Bitmap(), "masks", (0, 0), 0, "row_start is not what masks add up to"),
    ],
)
def test_damaged_indices_are_refused(encoding: Encoding, buffer: str, place: Any, value: int, words: str) -> None:
    with pytest.raises(EncodingError, match=words):
        damaged(encoding, buffer, place, value)


def test_damaged_manifests_are_refused() -> None:
    packed = pack(sparse_weight(), Csr())
    good = packed.manifest()
    bad: list[tuple[dict[str, Any], str]] = [
        ({}, "no encoding"),
        (good | {"shape": [70]}, "its shape is"),
        (good | {"shape": [70, -1]}, "its shape is"),
        (good | {"shape": [70, 100]}, "has shape"),
        (good | {"dtype": "float64"}, "its dtype is float64"),
        (good | {"dtype": "float16"}, "values is bfloat16, the weight float16"),
        (good | {"nonzeros": 1}, "with 1 nonzeros"),
        (good | {"nonzeros": True}, "no nonzeros"),
        (good | {"encoding": {"name": "csr", "block_columns": 64}}, "has shape"),
        (good | {"encoding": {"name": "bitmap"}}, "the buffers are"),
        (good | {"buffers": {}}, "it describes"),
    ]
    for manifest, words in bad:
        with pytest.raises(EncodingError, match=words):
            PackedTensor.from_buffers(manifest, packed.buffers)


@pytest.mark.parametrize("encoding", [Csr(200), Csr(500), Block(7, 8), Nm(2, 4)], ids=str)
def test_mlir_parses_our_sparse_tensor_encodings(encoding: Encoding) -> None:
    ir = pytest.importorskip("torch_mlir.ir")
    pytest.importorskip("torch_mlir.dialects.sparse_tensor")
    text = encoding.to_mlir((70, 200))
    assert text is not None
    with ir.Context():
        assert "sparse_tensor.encoding" in str(ir.Attribute.parse(text))


def test_what_mlir_cannot_say_is_none() -> None:
    for encoding in (Dense(), Bitmap(), Window(), Transposed(), Csr(128), Block(8, 8), Nm(1, 4), Nm(8, 16)):
        assert encoding.to_mlir((70, 200)) is None
