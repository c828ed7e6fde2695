"""MLIR kernels compiled, run and dropped again and again: memory stays flat.

``SPCOMP_SOAK_MLIR=2000`` makes it the long one.
"""

from __future__ import annotations

import gc
import os

import pytest
import torch

from spcomp.codegen.mlir_cpu import jit
from spcomp.codegen.mlir_cpu.gemv import gemv_text
from tests.guarded import resident

SOAK = int(os.environ.get("SPCOMP_SOAK_MLIR", "60"))
A_KERNEL = 4_000
"""Bytes that a kernel may leave behind: allocators keep a little, code would be 50,000."""


@pytest.mark.skipif(jit.available() is not None, reason="needs torch-mlir")
def test_compiled_code_is_freed() -> None:
    before = 0
    for i in range(SOAK + 20):
        if i == 20:
            gc.collect()
            before = resident()
        n, k = 16 + i // 40, 16 + i % 40  # every text is another
        weight, x, y = torch.ones(n, k), torch.ones(k), torch.empty(n)
        kernel = jit.compile_text("gemv", gemv_text(n, k, 1), 3, 2)
        kernel.call(x.data_ptr(), weight.data_ptr(), y.data_ptr(), 0, n)
        assert bool((y == k).all())
        del kernel
    gc.collect()
    assert resident() - before < max(8_000_000, A_KERNEL * SOAK)
