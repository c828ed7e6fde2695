"""`Verification`: a compiled model held against the original, layer by layer."""

from __future__ import annotations

import io
from dataclasses import dataclass


@dataclass(frozen=True)
class LayerCheck:
    """One layer on the inputs it met: its kernel against the float64 reference."""

    layer: str
    kernel: str
    rows: int
    error: float
    """max|y - y64| / max|y64|"""
    limit: float

    @property
    def ok(self) -> bool:
        return self.error <= self.limit


@dataclass(frozen=True)
class Verification:
    """What :meth:`CompiledModule.verify` found."""

    layers: tuple[LayerCheck, ...]
    output_error: float | None
    """Of the whole output against the original model in its own dtype; None where the original is gone."""
    output_limit: float

    @property
    def first_bad(self) -> str | None:
        """The first layer outside its tolerance."""
        return next((check.layer for check in self.layers if not check.ok), None)

    @property
    def ok(self) -> bool:
        return self.first_bad is None and (self.output_error is None or self.output_error <= self.output_limit)

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        from rich.console import Console
        from rich.table import Table

        table = Table("layer", "kernel", "rows", "error", "limit", "")
        for c in self.layers:
            table.add_row(c.layer, c.kernel, str(c.rows), f"{c.error:.1e}", f"{c.limit:.0e}", "" if c.ok else "DIFFERS")
        out = io.StringIO()
        Console(file=out, width=140).print(table)
        whole = "the original is gone" if self.output_error is None else f"{self.output_error:.1e}"
        return out.getvalue() + f"whole output against the original: {whole} (limit {self.output_limit:.0e})\n"
