"""The generated text itself: one golden case a family, small enough to be read in a review."""

from __future__ import annotations

import gc
import weakref

import pytest

from spcomp.codegen.mlir_cpu import jit
from spcomp.codegen.mlir_cpu.block import block_text
from spcomp.codegen.mlir_cpu.csr import csr_text
from spcomp.codegen.mlir_cpu.gemv import gemv_text
from spcomp.codegen.mlir_cpu.layout import pack_text, unpack_text
from spcomp.codegen.mlir_cpu.nm import NmShape, nm_rows_text, nm_tokens_text
from spcomp.codegen.mlir_cpu.sell import sell_text
from spcomp.codegen.mlir_cpu.text import Function
from spcomp.encodings.sell import Sell
from spcomp.errors import KernelError
from tests.conftest import Golden

TEXTS = {
    "pack": pack_text(18, 20),
    "unpack_gelu": unpack_text(18, 32, True, "gelu"),
    "csr": csr_text(24, 32, 80, 72, 64, 2, "i8", "i8"),
    "sorted_csr": csr_text(24, 32, 80, 72, 64, 2, "i8", "i8", window=16),
    "sorted_csr_together": csr_text(24, 32, 80, 72, 64, 1, "i8", "i8", window=16, together=3),
    "sell": sell_text(28, 32, 80, 72, Sell(64, 16), 1, "i8"),
    "block": block_text(10, 16, 8, 4, 2, 2, "bf16"),
    "nm_tokens": nm_tokens_text(NmShape(20, 40, 2, 4), 64, 32, 2, 1),
    "nm_rest": nm_tokens_text(NmShape(20, 40, 2, 4), 64, 32, 2, 1, rest=True),
    "nm_rows": nm_rows_text(NmShape(20, 40, 2, 4), 1, True, "relu", "f16"),
    "gemv": gemv_text(6, 40, 2),
}


@pytest.mark.parametrize("name", TEXTS)
def test_golden(golden: Golden, name: str) -> None:
    golden(f"{name}.mlir", TEXTS[name])


@pytest.mark.parametrize("name", TEXTS)
def test_every_name_is_defined_once_and_before_its_use(name: str) -> None:
    """The writer checks nothing; MLIR would, but its messages do not name our families."""
    import re

    seen: set[str] = set()
    for line in TEXTS[name].splitlines():
        head, _, rest = line.partition(" = ") if line.lstrip().startswith("%") else ("", "", line)
        defined = re.findall(r"%\w+", head.partition(":")[0])
        if "func.func" in line or "iter_args" in rest or "scf.for" in rest:
            bound = re.findall(r"(%\w+)(?=:| = )", rest)
            used = set(re.findall(r"%\w+", rest)) - set(bound)
        else:
            bound, used = [], set(re.findall(r"%\w+", rest))
        assert used <= seen | set(bound), f"{line.strip()} uses {used - seen}"
        fresh = [*defined, *bound]
        assert not seen & set(fresh), f"{line.strip()} defines again"
        seen |= set(fresh)


def test_equal_texts_are_compiled_once() -> None:
    text = unpack_text(3, 16, False, "none")
    assert jit.compile_text("unpack", text, 3, 5) is jit.compile_text("unpack", text, 3, 5)
    first, second = jit.compile_all([("unpack", text, 3, 5), ("unpack", text, 3, 5)])
    assert first is second


def test_code_is_freed_with_its_last_user() -> None:
    first = jit.compile_text("unpack", unpack_text(7, 16, False, "none"), 3, 5)
    freed = weakref.ref(first)
    del first
    gc.collect()
    assert freed() is None


def test_text_that_mlir_rejects_is_a_kernel_error() -> None:
    f = Function("broken", (("x", "f32"),), ())
    f.do("%a = arith.addf %nothing, %nothing : f32")
    with pytest.raises(
        KernelError, match=r"compile the kernel broken: .* Try: report the dumped kernel source as a bug"
    ):
        jit.compile_text("broken", f.text(), 1, 0)


def test_without_torch_mlir_the_reason_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jit, "available", lambda: "torch-mlir cannot be imported (for a test)")
    with pytest.raises(KernelError, match="torch-mlir cannot be imported"):
        jit.compile_text("unpack", unpack_text(5, 16, False, "none"), 3, 5)
