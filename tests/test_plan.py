"""The plan as data: round trips, digests, work derived from shapes, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spcomp.conv_shape import ConvShape
from spcomp.encodings.csr import Csr
from spcomp.encodings.dense import Dense
from spcomp.encodings.nm import Nm
from spcomp.encodings.quad import Quad
from spcomp.encodings.table import ENCODINGS
from spcomp.errors import PlanError
from spcomp.plan import ACTIVATIONS, PLAN_VERSION, QUANTIZATIONS, Epilogue, KernelCall, KernelKey, KernelPlan, RowRange
from spcomp.report.plan_table import COLUMNS, plan_rows, plan_table
from tests.strategies import encodings

CALL = KernelCall(
    "encoder.fc1", 3, RowRange(1, 15), 48, 64, "float32", Nm(2, 4), 1000, 1536, 7000, "ab" * 16,
    Epilogue(True, "gelu"), "mlir_cpu", "cpu-avx512", (("tiles", 4),),
)  # fmt: skip
SIZES = st.integers(0, 1 << 40)
NAMES = st.text(max_size=12)


@st.composite
def row_ranges(draw: st.DrawFn) -> RowRange:
    lo = draw(st.integers(0, 1000))
    return RowRange(lo, draw(st.none() | st.integers(lo, 5000)))


@st.composite
def convolutions(draw: st.DrawFn) -> ConvShape:
    dims = draw(st.sampled_from([1, 2]))
    kernel, stride, dilation = (draw(st.tuples(st.integers(1, 3), st.integers(1, 3))) for _ in range(3))
    padding = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
    return ConvShape(
        dims, draw(st.integers(1, 64)), draw(st.integers(8, 64)), draw(st.integers(8, 64)), kernel, stride, padding,
        dilation,
    )  # fmt: skip


@st.composite
def calls(draw: st.DrawFn) -> KernelCall:
    schedule = draw(st.dictionaries(NAMES, st.integers(-5, 64), max_size=3))
    conv = draw(st.none() | convolutions())
    return KernelCall(
        layer=draw(NAMES),
        slot=draw(st.integers(0, 9)),
        rows=draw(row_ranges()),
        n=draw(SIZES),
        k=draw(SIZES) if conv is None else conv.k,
        dtype=draw(st.sampled_from(["float32", "bfloat16", "float16"])),
        encoding=draw(st.sampled_from(sorted(ENCODINGS)).flatmap(encodings)),
        nonzeros=draw(SIZES),
        stored=draw(SIZES),
        weight_nbytes=draw(SIZES),
        packed=draw(NAMES),
        epilogue=Epilogue(
            draw(st.booleans()), draw(st.sampled_from(ACTIVATIONS)), draw(st.booleans()), draw(st.booleans())
        ),
        backend=draw(NAMES),
        target=draw(NAMES),
        schedule=tuple(sorted(schedule.items())),
        op="linear" if conv is None else "conv",
        conv=conv,
        zero_inputs=draw(st.floats(0, 1)),
        quantize=draw(st.sampled_from(QUANTIZATIONS)),
    )


@pytest.mark.parametrize(
    "call",
    [
        CALL,
        replace(CALL, encoding=Dense(), backend="dense.onednn", schedule=(), stored=48 * 64),
        replace(CALL, encoding=Quad(4), quantize="int8", zero_inputs=0.5),
        replace(
            CALL, op="conv", k=3 * 3 * 16, encoding=Csr(), epilogue=Epilogue(True, "relu", scale=True, residual=True),
            conv=ConvShape(2, 16, 14, 14, (3, 3), (2, 2), (1, 1)),
        ),
        replace(CALL, op="conv", k=5 * 16, encoding=Dense(), conv=ConvShape(1, 16, 1, 40, (1, 5)), schedule=()),
    ],
    ids=["linear", "dense linear", "int8 linear", "conv", "dense conv"],
)  # fmt: skip
def test_every_kind_of_call_survives_json(call: KernelCall) -> None:
    plan = KernelPlan((call,), 2)
    (again,) = KernelPlan.from_json(plan.to_json()).calls
    assert again == call
    assert KernelPlan((again,), 2).digest == plan.digest
    assert [again.dense_flops(7), again.executed_flops(7), again.activation_nbytes(196)] == [
        call.dense_flops(7), call.executed_flops(7), call.activation_nbytes(196),
    ]  # fmt: skip


def test_a_plan_prints_as_a_table() -> None:
    conv = replace(
        CALL, layer="stem", slot=4, op="conv", k=3 * 3 * 16, encoding=Dense(), backend="dense.onednn", schedule=(),
        conv=ConvShape(2, 16, 14, 14, (3, 3), padding=(1, 1)), epilogue=Epilogue(True, "relu", True, True),
    )  # fmt: skip
    plan = KernelPlan((CALL, replace(CALL, rows=RowRange(16, None), quantize="int8"), conv), 2)
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in plan_rows(plan)]
    assert [row["layer"] for row in rows] == ["encoder.fc1", "", "stem"]
    assert [row["rows"] for row in rows] == ["1-15", "16+", "1-15"]
    assert [row["encoding"] for row in rows] == ["nm(n=2, m=4)", "int8 nm(n=2, m=4)", "dense()"]
    assert (rows[0]["schedule"], rows[0]["epilogue"], rows[0]["bytes"]) == ("tiles=4", "bias + gelu", "7.0 kB")
    assert (rows[2]["op"], rows[2]["epilogue"]) == ("conv", "scale + bias + residual + relu")
    assert rows[2]["shape"] == "48 x 144 (16 x 14 x 14, 3 x 3, padding 1 x 1)"
    assert plan_table(plan).row_count == 3
    assert plan.digest in str(plan_table(plan).title)


@given(st.lists(calls(), max_size=4), st.integers(1, 64))
@settings(max_examples=60)
def test_json_round_trip(listed: list[KernelCall], threads: int) -> None:
    plan = KernelPlan(tuple(listed), threads)
    again = KernelPlan.from_json(plan.to_json())
    assert again == plan
    assert again.digest == plan.digest


def test_digest_depends_on_the_content_alone() -> None:
    plan = KernelPlan((CALL,), 2)
    shuffled = {"threads": 2, "calls": [dict(reversed(CALL.to_dict().items()))], "version": PLAN_VERSION}
    assert KernelPlan.from_json(json.dumps(shuffled)).digest == plan.digest
    changed = [
        KernelPlan((CALL,), 1),
        KernelPlan((CALL, CALL), 2),
        KernelPlan((replace(CALL, schedule=(("tiles", 8),)),), 2),
        KernelPlan((replace(CALL, epilogue=Epilogue(False, "gelu")),), 2),
        KernelPlan((replace(CALL, encoding=Nm(1, 4)),), 2),
    ]
    assert len({plan.digest, *(p.digest for p in changed)}) == 6


def test_digest_is_the_same_in_every_version_that_reads_this_plan() -> None:
    """Reports print it and saved models carry it: a change needs a new PLAN_VERSION."""
    assert KernelPlan((CALL,), 2).digest == "0ab3b3f553e01ae2"


def test_work_is_derived_from_sizes_and_counts() -> None:
    assert CALL.dense_flops(10) == 2 * 10 * 48 * 64
    assert CALL.effective_w_flops(10) == 2 * 10 * 1000
    assert CALL.executed_flops(10) == 2 * 10 * 1536
    assert CALL.activation_nbytes(10) == 10 * (48 + 64) * 4
    assert CALL.dense_weight_nbytes() == 48 * 64 * 4
    assert replace(CALL, dtype="bfloat16").activation_nbytes(10) == 10 * (48 + 64) * 2
    assert CALL.key == KernelKey("linear", "nm", "float32", "cpu-avx512")
    assert CALL.effective_w_flops(0) == CALL.activation_nbytes(0) == 0


def test_slots_group_calls_by_ascending_rows() -> None:
    few, many = CALL, replace(CALL, rows=RowRange(16, None), encoding=Csr())
    other = replace(CALL, slot=0, encoding=Dense())
    assert KernelPlan((many, few, other)).slots() == {3: (few, many), 0: (other,)}


@given(row_ranges(), st.integers(0, 6000))
def test_row_range_contains_and_prints(rows: RowRange, m: int) -> None:
    assert (m in rows) == (m >= rows.lo and (rows.hi is None or m <= rows.hi))
    assert rows.lo in rows


def test_row_ranges_print_short() -> None:
    assert [str(r) for r in (RowRange(1, 1), RowRange(2, 15), RowRange(16, None))] == ["1", "2-15", "16+"]


@pytest.mark.parametrize(("lo", "hi"), [(-1, 4), (3, 2), (-2, None)])
def test_impossible_row_ranges_are_refused(lo: int, hi: int | None) -> None:
    with pytest.raises(PlanError, match=rf"row range: lo={lo}, hi={hi}. Try: 0 <= lo <= hi"):
        RowRange(lo, hi)


def test_unknown_activation_is_refused() -> None:
    with pytest.raises(PlanError, match=r"activation 'tanh'. Try: one of none, relu, gelu, gelu_tanh, silu"):
        Epilogue(activation="tanh")


def _edited(**changes: Any) -> str:
    data = json.loads(KernelPlan((CALL,)).to_json())
    data["calls"][0].update(changes)
    return json.dumps(data)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "read a plan: JSONDecodeError.*written by to_json"),
        ("[]", "read a plan: TypeError"),
        ("{}", "read a plan: KeyError: 'version'"),
        ('{"version": 99, "calls": [], "threads": 1}', "version 99. Try: a plan of version 1"),
        ('{"version": 1, "calls": 7, "threads": 1}', "read a plan: .*written by to_json"),
        ('{"version": 1, "calls": [], "threads": "two"}', "read a plan: ValueError"),
        ('{"version": 1, "calls": [{}], "threads": 1}', "read a kernel call: KeyError"),
        (_edited(surprise=1), "read a kernel call: TypeError.*surprise"),
        (_edited(schedule=[1]), "read a kernel call: AttributeError"),
        (_edited(rows={"lo": 5, "hi": 1}), "lo=5, hi=1"),
        (_edited(rows={"lo": "a", "hi": 1}), "read a kernel call: TypeError"),
        (_edited(epilogue={"bias": True, "activation": "cube"}), "activation 'cube'"),
        (_edited(encoding={"name": "zip"}), "read a kernel call: .*its name is none of"),
        (_edited(n="48"), "read a kernel call: n is '48'"),
        (_edited(layer=3), "read a kernel call: layer is 3"),
        (_edited(slot=-1), "read a kernel call: slot is -1"),
        (_edited(dtype="float8"), "read a kernel call: dtype is 'float8'"),
        (_edited(schedule={"tiles": "8"}), "read a kernel call: schedule"),
    ],
)
def test_a_damaged_plan_says_what_is_wrong(text: str, words: str) -> None:
    with pytest.raises(PlanError, match=f"(?s){words}"):
        KernelPlan.from_json(text)
