"""Kernels that nobody compiled yet, and processes of their own to compile them in."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import torch

from spcomp.codegen.mlir_cpu import jit, pool
from spcomp.codegen.mlir_cpu.gemv import gemv_text

ROOT = Path(__file__).parent.parent
_numbers = iter(range(10**6))


def fresh() -> tuple[str, int, int]:
    """A text that nobody compiled yet, with its sizes."""
    k = 16 + next(_numbers)
    return gemv_text(4, k, 1), 4, k


def check(made: jit.Compiled, n: int, k: int) -> None:
    """That it multiplies."""
    weight, x, y = torch.randn(n, k), torch.randn(k), torch.empty(n)
    made.call(x.data_ptr(), weight.data_ptr(), y.data_ptr(), 0, n)
    assert torch.allclose(y, weight @ x, atol=1e-4)


def compiled() -> jit.Compiled:
    """A fresh kernel, which multiplies."""
    text, n, k = fresh()
    made = jit.compile_text("gemv", text, 3, 2)
    check(made, n, k)
    return made


def script(body: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run Python that may ``compile(k)`` in a process of its own, with two compilers and a cache folder."""
    head = """
        from spcomp.codegen.mlir_cpu import jit, pool
        from spcomp.codegen.mlir_cpu.gemv import gemv_text
        import os, sys
        def compile(k): return jit.compile_text("gemv", gemv_text(4, k, 1), 3, 2)
    """
    environment = {**os.environ, "SPCOMP_CACHE_DIR": str(folder), pool.WORKERS: "2"}
    source = textwrap.dedent(head) + textwrap.dedent(body)
    command = [sys.executable, "-c", source]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
