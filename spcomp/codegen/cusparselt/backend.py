"""`CuSparseLt`: 2:4 linear layers by torch's own operators, called as they are, without its tensor subclass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from spcomp.codegen.cusparselt.linear import CuSparseLtLinear, CutlassLinear, Operators
from spcomp.codegen.cusparselt.quantized import QuantizedLinear
from spcomp.codegen.cusparselt.rules import CUTLASS, RULES
from spcomp.encodings.nm import Nm
from spcomp.encodings.pack import TORCH_DTYPES, PackedTensor
from spcomp.errors import KernelError
from spcomp.kernel import Kernel
from spcomp.plan import KernelCall, KernelKey, Schedule
from spcomp.targets.cuda import cuda_missing

TARGET = "cuda"
LIBRARIES = ("cusparselt", "cutlass")
"""Values 0 and 1 of the option ``library`` of a schedule."""


@dataclass(frozen=True)
class CuSparseLt:
    """2:4 along K in float16 and bfloat16, and in int8 where the call is quantised so.

    :class:`QuantizedLinear` also takes float8 weights, which no call names.
    """

    name: str = "cusparselt"
    operators: Operators = field(default_factory=Operators)

    def unavailable(self) -> str | None:
        if (missing := cuda_missing()) is not None:
            return missing
        if torch.version.hip is not None:
            return "cuSPARSELt is NVIDIA's, and this torch is built for ROCm"
        if not torch.backends.cusparselt.is_available():
            return f"torch {torch.__version__} was built without cuSPARSELt"
        major, minor = torch.cuda.get_device_capability()
        if (major, minor) < (8, 0):
            return f"the GPU has compute capability {major}.{minor}; sparse tensor cores came with 8.0"
        return None

    def capabilities(self) -> frozenset[KernelKey]:
        if self.unavailable() is not None:
            return frozenset()
        return frozenset(KernelKey("linear", "nm", dtype, TARGET) for dtype in ("float16", "bfloat16", "int8"))

    def schedules(self, call: KernelCall, m: int) -> Sequence[Schedule]:
        if call.encoding != Nm(2, 4) or call.op != "linear":
            return []
        if call.quantize:
            return [(("library", 0),)] if call.quantize == "int8" else []
        if call.dtype not in ("float16", "bfloat16"):
            return []
        return [(("library", 0),), (("library", 1),)]

    def extra_nbytes(self, call: KernelCall) -> int:
        """The kept values and their bits, in the library's own order: 9/16 of the dense weight's bytes (of int8: two
        bits are more, 10/16)."""
        if call.quantize:
            n, k = RULES[torch.int8].padded(call.n, call.k)
            return n * k * 5 // 8 + 4 * n + call.n * 2 * call.epilogue.bias
        rules = (RULES, CUTLASS)[dict(call.schedule).get("library", 0)][TORCH_DTYPES[call.dtype]]
        n, k = rules.padded(call.n, call.k)
        return n * k * 9 // 8 + n * 2 * call.epilogue.bias

    def build(
        self, call: KernelCall, packed: PackedTensor, bias: torch.Tensor | None, scale: torch.Tensor | None = None
    ) -> Kernel:
        asked = f"build the 2:4 kernel of {call.layer}"
        if (reason := self.unavailable()) is not None:
            raise KernelError(asked, reason, "target='cpu', or a machine with an NVIDIA GPU")
        return self.kernel_of(call, packed, bias, torch.device("cuda", torch.cuda.current_device()), scale)

    def kernel_of(
        self,
        call: KernelCall,
        packed: PackedTensor,
        bias: torch.Tensor | None,
        where: torch.device,
        scale: torch.Tensor | None = None,
    ) -> Kernel:
        """As :meth:`build`, with the weight on ``where``."""
        if call.encoding != Nm(2, 4):
            found = f"the encoding {call.encoding}: sparse tensor cores multiply 2:4 along K alone"
            raise KernelError(f"build the 2:4 kernel of {call.layer}", found, "nm(n=2, m=4), or the triton backend")
        if call.quantize:
            if scale is None or packed.dtype != call.quantize:
                found = f"{'no scale' if scale is None else 'a scale'}, and weights of {packed.dtype}"
                asked = f"build the 2:4 kernel of {call.layer} in {call.quantize}"
                raise KernelError(asked, found, f"weights of {call.quantize}, with a scale for each row")
            return QuantizedLinear(call, packed.unpack().to(where), scale, bias, self.operators)
        if LIBRARIES[dict(call.schedule)["library"]] == "cutlass":
            return CutlassLinear(call, packed, bias, self.operators, where)
        return CuSparseLtLinear(call, packed.unpack().to(where), bias, self.operators)
