"""`QuantizedLinear`: 2:4 weights of one byte, int8 or float8, with x rounded to the same, each token by a scale."""

from __future__ import annotations

from contextlib import nullcontext

import torch

from spcomp.codegen.cusparselt.ending import Ending
from spcomp.codegen.cusparselt.linear import CuSparseLtLinear, Operators
from spcomp.codegen.cusparselt.rules import up
from spcomp.codegen.reference.int8 import quantize_tokens
from spcomp.codegen.triton import device as triton_device
from spcomp.encodings.pack import TORCH_DTYPES
from spcomp.errors import KernelError
from spcomp.plan import KernelCall

MOST = {torch.int8: 127.0, torch.float8_e4m3fn: 448.0}
"""Largest number of each dtype that is used."""
LIFT = 128.0
"""Scales of rows go into the product divided by this, those of tokens come after it multiplied: a product in float16
then is what it is divided by the token's largest input, and overflows no sooner than y of such a token would."""
PRODUCTS = {
    torch.int8: {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.int32},
    torch.float8_e4m3fn: {"bfloat16": torch.bfloat16, "float32": torch.float32},
}
"""Dtypes of the operator's result, for a call's dtype: as many bytes as y has, so that y takes its place. float8 goes
into no float16, which its unscaled products overflow."""


class QuantizedLinear(CuSparseLtLinear):
    """y = activation(values * scale @ x + bias + residual), x [..., K] in the call's dtype.

    ``values``: int8 or float8_e4m3fn [N, K], 2:4 along K; ``scale`` float32 [N]. int8 of 16-bit calls: the operator
    multiplies rows by their scales; the token's scale, which its alpha cannot hold, comes with the end of the layer.
    """

    source = "quantize_rows, torch._cslt_sparse_mm, end_rows"

    def __init__(
        self,
        call: KernelCall,
        values: torch.Tensor,
        scale: torch.Tensor,
        bias: torch.Tensor | None,
        operators: Operators,
    ) -> None:
        asked = f"build the 2:4 kernel of {call.layer}"
        if values.dtype not in MOST:
            raise KernelError(asked, f"weights of {values.dtype}", ", ".join(map(str, MOST)))
        made = PRODUCTS[values.dtype].get(call.dtype)
        if made is None:
            found = f"weights of {values.dtype} for inputs of {call.dtype}"
            raise KernelError(asked, found, ", ".join(PRODUCTS[values.dtype]))
        inside = values.dtype is torch.int8 and made is not torch.int32
        super().__init__(call, values, None, operators, made, scale / LIFT if inside else None)
        self.lift = LIFT if inside else 1.0
        where = values.device
        self.ending = Ending(
            call, None if bias is None else bias.detach().to(where).contiguous(), TORCH_DTYPES[call.dtype],
            self.scratch, None if inside else scale.to(where, torch.float32).contiguous(),
        )  # fmt: skip

    @property
    def input_dtype(self) -> torch.dtype:
        return TORCH_DTYPES[self.call.dtype]

    def right(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        m = up(len(rows), self.rules.m)
        numbers = self.scratch.piece("numbers", (m, self.k), self.weight_dtype, rows.device)
        scales = self.scratch.piece("scales", (m,), torch.float32, rows.device)
        most = MOST[self.weight_dtype]
        if triton_device.unavailable() is None:
            from spcomp.codegen.triton.ending_layer import quantising

            with torch.cuda.device(rows.device) if rows.device.type == "cuda" else nullcontext():
                quantising(rows, numbers, scales, most, self.lift).run()
            return numbers, scales
        found, found_scales = quantize_rows(rows, self.weight_dtype)
        numbers.zero_()
        numbers[: len(rows), : rows.shape[1]] = found
        scales[: len(rows)] = found_scales * self.lift
        return numbers, scales


def quantize_rows(rows: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """rows [R, K] of any floating dtype -> (numbers [R, K], float32 scales [R]): symmetric, to the largest of a row.

    int8 as the reference has it; float8_e4m3fn rounds what lies between -448 and 448 as torch does. The scale of a row
    with Inf or NaN is NaN. Weights in float8 are made of a dense one by this too.
    """
    if dtype is torch.int8:
        numbers, scales = quantize_tokens(rows)
        return numbers.to(torch.int8), scales
    most = MOST[dtype]
    wide = rows.to(torch.float32)
    largest = wide.abs().amax(dim=1) if rows.shape[1] else wide.new_zeros(len(rows))
    finite = torch.isfinite(largest)
    largest = largest.clamp(min=2.0**-100)
    numbers = (wide * (most / largest)[:, None]).nan_to_num(0.0)
    return numbers.to(dtype), torch.where(finite, largest / most, torch.nan)
