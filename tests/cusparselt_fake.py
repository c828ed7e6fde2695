"""cuSPARSELt's and CUTLASS's operators as torch would compute them, on a CPU; what they were asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.sparse._semi_structured_conversions import (
    sparse_semi_structured_to_dense_cutlass,
)

from spcomp.codegen.cusparselt.linear import Operators
from spcomp.codegen.cusparselt.rules import RULES
from spcomp.codegen.reference.backend import activate

CPU = torch.device("cpu")


@dataclass
class Fake:
    """Stands for the operators: refuses what they refuse, multiplies densely, and notes what it was asked."""

    seen: list[dict[str, Any]] = field(default_factory=list)
    searches: list[tuple[int, ...]] = field(default_factory=list)
    faster: bool = True
    """Which orientation of the result is the faster one."""
    refuses: bool = False
    """Whether the library writes y alone, not y.T."""
    capability: tuple[int, int] = (9, 0)

    def operators(self) -> Operators:
        return Operators(
            self.compress, self.multiply, self.search, self.linear, lambda _where: self.capability, self.timed
        )  # fmt: skip

    def compress(self, weight: torch.Tensor) -> torch.Tensor:
        rules = RULES[weight.dtype]
        assert weight.is_contiguous()
        assert weight.shape[0] % rules.n == 0
        assert weight.shape[1] % rules.k == 0
        groups = (weight.float() != 0).reshape(-1, 4).sum(1)
        assert int(groups.max()) <= 2
        return weight.clone()

    def multiply(self, compressed: torch.Tensor, right: torch.Tensor, **options: Any) -> torch.Tensor:
        rules = RULES[compressed.dtype]
        assert right.dtype == compressed.dtype
        assert right.shape[0] == compressed.shape[1]
        assert right.shape[1] % rules.m == 0
        assert right.t().is_contiguous()  # int8 and float8 take no other
        asked = options["out_dtype"]
        narrow = compressed.element_size() == 1
        assert asked in rules.results if narrow else asked is None  # torch: "available for int8/fp8 inputs"
        out_dtype = asked or compressed.dtype
        if asked is not torch.float32:  # torch 2.11's operator has it, its shape function has not
            torch.ops.aten._cslt_sparse_mm(
                compressed.to("meta"), right.to("meta"), out_dtype=asked, transpose_result=options["transpose_result"]
            )
        bias, alpha = options["bias"], options["alpha"]
        assert bias is None or (bias.shape == compressed.shape[:1] and bias.dtype == compressed.dtype)
        assert alpha is None or (alpha.shape == compressed.shape[:1] and alpha.dtype is torch.float32)
        self.seen.append(options)
        y = compressed.double() @ right.double()
        y = y if alpha is None else y * alpha.double()[:, None]
        y = y if bias is None else y + bias.double()[:, None]
        y = (y.t() if options["transpose_result"] else y).contiguous()
        return (y.clamp(-65504, 65504) if out_dtype is torch.float16 else y).to(out_dtype)

    def search(self, compressed: torch.Tensor, right: torch.Tensor, *rest: Any) -> tuple[int, ...]:
        if self.refuses and not rest[-1]:
            raise RuntimeError("no such layout")
        if rest[-1]:
            self.searches.append(tuple(right.shape))
        return (7, 2, 1, 40) if rest[-1] else (3, 1, -1, 40)

    def timed(self, run: Callable[[], object]) -> float:
        run()
        asked = self.seen.pop()
        return 1e-5 if asked["transpose_result"] is self.faster else 2e-5

    def linear(self, x: torch.Tensor, values: torch.Tensor, meta: torch.Tensor, **options: Any) -> torch.Tensor:
        assert x.shape[0] % 8 == 0
        assert x.shape[1] == 2 * values.shape[1]
        self.seen.append(options)
        dense = sparse_semi_structured_to_dense_cutlass(values, meta)
        y = x.double() @ dense.double().t()
        y = y if options["bias"] is None else y + options["bias"].double()
        assert options["activation"] in (None, "relu", "silu")
        return activate(y, options["activation"] or "none").to(x.dtype)
