"""Which int8 kernels are offered, proposed, timed and predicted; texts of those that pick bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from spcomp.codegen.mlir_cpu.fours8 import fours8_text
from spcomp.codegen.mlir_cpu.int8 import build_int8
from spcomp.codegen.mlir_cpu.nm import NmShape
from spcomp.codegen.mlir_cpu.nm8 import nm8_text
from spcomp.cost.cycles import work_of
from spcomp.encodings.bitmap import Bitmap
from spcomp.encodings.fours import Fours
from spcomp.encodings.nm import Nm
from spcomp.encodings.spec import Encoding
from spcomp.errors import KernelError
from spcomp.passes.propose import Candidate
from spcomp.passes.tune import serves
from spcomp.passes.worth import int8_encodings_for
from spcomp.sparsity.measure import measure
from spcomp.targets.host import host_cpu
from tests.kernels import BACKEND, fitting
from tests.test_int8 import HERE, call8, quantised


def test_the_texts(golden: Callable[[str, str], None]) -> None:
    golden("int8_fours.mlir", fours8_text(22, 192, 128, (2, 1), True, "none"))
    golden("int8_fours_wide.mlir", fours8_text(16, 320, 256, (1,), False, "relu", "bf16"))
    golden("int8_nm.mlir", nm8_text(NmShape(22, 70, 2, 4), 192, (2,), True, "none"))
    golden("int8_nm_wide.mlir", nm8_text(NmShape(16, 70, 1, 16), 192, (1,), False, "none"))


@HERE
def test_groups_that_no_four_slots_make_whole_are_refused() -> None:
    call, packed, scale = call8(Nm(3, 8), fitting(Nm(3, 8), 8, 16), schedule=(("tokens", 8),))
    assert BACKEND.schedules(call, 1) == []
    with pytest.raises(KernelError, match=r"int8 kernel for layer: nm\(n=3, m=8\)\. Try: nm\(n=2, m=4\)"):
        build_int8(call, packed, None, scale)


@pytest.mark.parametrize(
    ("hidden", "gone"),
    [("avx512vbmi", {"fours", "nm"}), ("avx512_vbmi2", {"bitmap"}), ("avx512_vnni", {"quad", "bitmap", "fours", "nm"})],
)
def test_cpus_without_an_instruction_are_offered_what_does_without(
    hidden: str, gone: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    have = ("avx2", "fma", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512vbmi", "avx512_vbmi2")
    host = replace(host_cpu(), features=tuple(f for f in have if f != hidden))
    monkeypatch.setattr("spcomp.codegen.mlir_cpu.backend.host_cpu", lambda: host)
    monkeypatch.setattr("spcomp.codegen.mlir_cpu.jit.available", lambda: None)
    offered = {key.encoding for key in BACKEND.capabilities() if key.dtype == "int8"}
    assert offered == {"quad", "bitmap", "fours", "nm"} - gone


def test_many_rows_are_timed_on_int8_kernels_that_read_x_by_rows() -> None:
    by_rows = Candidate(Fours(), "mlir_cpu", (("tokens", 16),), 1, 1, quantize="int8")
    assert all(serves(by_rows, [by_rows], m) for m in (1, 15, 16, 512))
    assert not serves(replace(by_rows, quantize=""), [by_rows], 16)


@HERE
@pytest.mark.parametrize(("encoding", "slots"), [(Fours(64), 1.0), (Fours(128), 2.0), (Nm(1, 4), 1.0)], ids=str)
def test_the_cost_model_counts_permutes(encoding: Encoding, slots: float) -> None:
    """Of many rows: at least a permute of 64 bytes (or two) for each 64 stored values and token, and not twice that."""
    call, *_ = call8(encoding, fitting(encoding, 64, 512, density=0.2))
    (schedule,) = BACKEND.schedules(call, 128)
    work = work_of(replace(call, schedule=schedule, backend="mlir_cpu"), 128, 48 << 10)
    permutes = call.stored / 64 * slots * 128
    assert permutes < work.cycles < 2 * permutes
    assert work.again == 3.0, "the weight is read for every 32 rows"


def test_what_is_worth_a_thought_in_int8() -> None:
    names = {str(e) for e in int8_encodings_for(measure(quantised(fitting(Nm(2, 4), 64, 64, density=1.0)).values))}
    assert {"nm(n=2, m=4)", "fours(width=64)", "bitmap()", "quad(rows=1)"} <= names
    names = {str(e) for e in int8_encodings_for(measure(quantised(fitting(Bitmap(), 64, 512, density=0.05)).values))}
    assert {f"fours(width={width})" for width in (64, 128, 256)} <= names
    assert not any(name.startswith("fours") for name in map(str, int8_encodings_for(measure(torch.ones(8, 64)))))
