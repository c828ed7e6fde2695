"""N:M with a rest: what it refuses, what it stores, its kernel against the reference, and when it is proposed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import spcomp
from spcomp.encodings.nm import Nm
from spcomp.encodings.nm_rest import NmRest
from spcomp.encodings.pack import bit_views, pack
from spcomp.errors import EncodingError
from spcomp.passes.worth import encodings_for
from spcomp.sparsity.measure import measure
from spcomp.tolerance import TOLERANCES
from tests.kernels import BACKEND, agree, build_all, fitting, inputs

AVAILABLE = pytest.mark.skipif(BACKEND.unavailable() is not None, reason=str(BACKEND.unavailable()))


def nearly(
    n: int, m: int, rows: int, columns: int, outliers: float, dtype: str = "float32", seed: int = 0
) -> torch.Tensor:
    """n:m, and a share of all elements that are nonzeros wherever they lie; at least the first group has too many."""
    weight = fitting(Nm(n, m), rows, columns, density=1.0, dtype=dtype, seed=seed)
    other = inputs(rows, columns, dtype=dtype, seed=seed + 1)
    kept = torch.rand(rows, columns, generator=torch.Generator().manual_seed(seed + 2)) < outliers
    kept[0, :m] = True
    return torch.where(kept, other, weight)


@AVAILABLE
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("encoding", [NmRest(2, 4, 100), NmRest(1, 4, 100)], ids=str)
def test_agrees_with_the_reference(encoding: NmRest, dtype: str) -> None:
    weight = nearly(encoding.n, encoding.m, 37, 150, 0.02, dtype)
    weight[5:9] = 0
    weight[36, 146:] = 1
    bias = inputs(37, dtype=dtype)
    for kernel in build_all(encoding, weight, bias, "relu"):
        for m in (1, 15, 16, 17, 129):
            agree(kernel, weight, bias, inputs(m, 150, dtype=dtype))


@AVAILABLE
@settings(max_examples=15, deadline=None)
@given(
    rows=st.integers(1, 50), columns=st.integers(4, 140), m=st.integers(1, 40), share=st.sampled_from([0.0, 0.1, 1.0])
)
def test_any_shape(rows: int, columns: int, m: int, share: float) -> None:
    weight = nearly(2, 4, rows, columns, share)
    for kernel in build_all(NmRest(2, 4, 100), weight, None, "none", rows=m):
        agree(kernel, weight, None, inputs(m, columns))


@AVAILABLE
def test_more_rows_of_w_than_one_chunk() -> None:
    weight = nearly(2, 4, 1100, 70, 0.02)
    for kernel in build_all(NmRest(2, 4), weight, None, "none"):
        agree(kernel, weight, None, inputs(140, 70))


def test_special_values_are_kept_bit_by_bit() -> None:
    weight = torch.zeros(3, 8)
    weight[1, :4] = torch.tensor([float("nan"), -0.0, float("inf"), float("-inf")])
    packed = pack(weight, NmRest(2, 4, 100))
    assert packed.buffers["rest_columns"].tolist() == [2, 3]
    assert torch.equal(packed.unpack().view(torch.int32), weight.view(torch.int32))


def test_refuses_what_is_pointless() -> None:
    plain = measure(fitting(Nm(2, 4), 16, 64, density=1.0))
    assert str(NmRest(2, 4).refuses(plain)) == "every group of 4 columns fits: nm(n=2, m=4) is the same without a rest"
    full = measure(torch.ones(8, 16))
    assert str(NmRest(2, 4).refuses(full)).startswith("50.0 % of the nonzeros fit into no group, and nm_rest(n=2, m=4")
    assert NmRest(2, 4, 50).refuses(full) is None
    with pytest.raises(EncodingError, match=r"only counted for 1:4, 2:4. Try: nm_rest\(n=2, m=4\)"):
        NmRest(4, 8)
    with pytest.raises(EncodingError, match="most is a percentage from 1 to 100"):
        NmRest(2, 4, 0)


def test_buffers_of_unknown_origin_are_checked() -> None:
    encoding, shape = NmRest(2, 4, 100), (20, 40)
    packed = pack(nearly(2, 4, *shape, 0.05), encoding)
    good = {name: array.copy() for name, array in bit_views(packed.buffers, packed.dtype).items()}
    assert encoding.check(good, shape, "float32") is None

    def wrong(name: str, at: int, value: int) -> str | None:
        bad = {key: array.copy() for key, array in good.items()}
        bad[name][at] = value
        return encoding.check(bad, shape, "float32")

    assert wrong("rest_columns", -1, 40) == "rest_columns point past the 40 columns"
    assert wrong("rest_start", 5, 0) == "rest_start falls somewhere"
    assert wrong("rest_start", shape[0], 0) is not None
    first = int(good["rest_columns"][0])
    assert wrong("rest_columns", 0, first - first % 4) == "rest_columns point to where a slot is, or could be"
    assert wrong("values", 16, 0) == "rest_columns point to where a slot is, or could be"
    swapped = {**good, "rest_columns": good["rest_columns"][::-1].copy()}
    assert encoding.check(swapped, shape, "float32") == "rest_columns do not ascend within each row"
    assert "has shape" in str(encoding.check({**good, "values": good["values"][1:]}, shape, "float32"))


def test_proposed_for_what_is_nearly_n_of_m() -> None:
    names = [str(e) for e in encodings_for(measure(nearly(2, 4, 256, 256, 0.01)))]
    assert "nm_rest(n=2, m=4, most=10)" in names
    assert "nm_rest(n=1, m=4, most=10)" not in names
    anywhere = torch.where(torch.rand(256, 256, generator=torch.Generator().manual_seed(1)) < 0.3, 1.0, 0.0)
    assert not [e for e in encodings_for(measure(anywhere)) if isinstance(e, NmRest)]
    assert not [e for e in encodings_for(measure(fitting(Nm(2, 4), 64, 64))) if isinstance(e, NmRest)]


@AVAILABLE
def test_a_layer_that_is_told_to_be_so_compiles_and_loads(tmp_path: Path) -> None:
    model, x = nn.Sequential(nn.Linear(64, 48)).eval(), inputs(32, 64)
    with torch.no_grad():
        model[0].weight.copy_(nearly(2, 4, 48, 64, 0.02))
    compiled = spcomp.compile(
        model, x, layers={"0": "nm_rest(n=2, m=4)"}, policy="force", engine="eager", guard=False, cache_dir=tmp_path
    )
    assert {call.encoding for call in compiled.plan.calls} == {NmRest(2, 4)}
    compiled.save(tmp_path / "m.spc")
    for made in (compiled, spcomp.load(tmp_path / "m.spc", engine="eager")):
        with torch.no_grad():
            error = float((made(x) - model(x)).abs().max() / model(x).abs().max())
        assert error < TOLERANCES["float32"]
    assert np.array_equal(compiled.state_dict()["0.weight"].numpy(), model[0].weight.detach().numpy())
