"""`Triton`: the backend of this folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar
from weakref import WeakKeyDictionary

import torch

from spcomp.codegen.triton import device
from spcomp.codegen.triton.schedules import bitmap_share, for_amd, nvidia_alone, schedules_of
from spcomp.encodings.bitmap import Bitmap
from spcomp.encodings.block import Block
from spcomp.encodings.csr import Csr
from spcomp.encodings.nm import Nm
from spcomp.encodings.pack import PackedTensor
from spcomp.encodings.vnm import Vnm
from spcomp.errors import KernelError
from spcomp.kernel import Kernel
from spcomp.plan import KernelCall, KernelKey, Schedule

if TYPE_CHECKING:
    from spcomp.codegen.triton.launch import TritonKernel

TARGET = "cuda"
DTYPES = ("float16", "bfloat16", "float32")
"""Sums are float32; float32 is multiplied as such, never as TF32."""
SERVED = ("block", "bitmap", "csr", "nm", "vnm")


@dataclass(frozen=True)
class Triton:
    """Sparse linear layers on CUDA and ROCm devices."""

    name: str = "triton"

    def unavailable(self) -> str | None:
        return device.unavailable()

    def capabilities(self) -> frozenset[KernelKey]:
        if self.unavailable() is not None:
            return frozenset()
        found = {KernelKey("linear", e, dtype, TARGET) for e in SERVED for dtype in DTYPES}
        return frozenset(
            found | {KernelKey(op, "block", dtype, TARGET) for op in ("conv", "experts") for dtype in DTYPES}
        )

    def schedules(self, call: KernelCall, m: int) -> Sequence[Schedule]:
        if call.quantize or call.epilogue.scale:
            return []
        found = schedules_of(call, m, device.multiprocessors(device.home()))
        if torch.version.hip is None and not device.interpreted():
            return found
        found = [s for s in found if not nvidia_alone(s)]  # nor does the interpreter know inline assembly
        return found if torch.version.hip is None else list(map(for_amd, found))

    def extra_nbytes(self, call: KernelCall) -> int:
        """Tables beside the packed weight."""
        s = dict(call.schedule)
        match call.encoding:
            case Block() as block:
                return 4 * block.grid((call.n, call.k))[0] if "group" in s else 0
            case Bitmap():
                return 4 * call.n * bitmap_share(call.k, call.schedule)[2]
            case Csr() as csr:
                return 4 * csr.blocks(call.k) * (call.n + 1) + 4 * call.n
            case _:
                return 0

    def build(
        self, call: KernelCall, packed: PackedTensor, bias: torch.Tensor | None, scale: torch.Tensor | None = None
    ) -> Kernel:
        asked = f"build the kernel of {call.layer} for {call.target}"
        if (reason := self.unavailable()) is not None:
            raise KernelError(asked, reason, "target='cpu', or a machine with a GPU")
        if call.quantize or call.epilogue.scale:
            raise KernelError(asked, f"quantize {call.quantize!r}, {call.epilogue}", "a layer that is not quantised")
        if call.op == "conv":
            from spcomp.codegen.triton.conv_layer import BlocksConv

            return BlocksConv(call, packed, bias, device.home())
        if call.op == "experts":
            from spcomp.codegen.triton.expert_layer import ExpertsLayer

            return shared(ExpertsLayer(call, packed, device.home()), packed)
        return shared(kernel_of(call, packed, bias, device.home()), packed)


class _Packed(Protocol):
    packed: dict[str, torch.Tensor]


_K = TypeVar("_K", bound=_Packed)
_on_devices: WeakKeyDictionary[PackedTensor, dict[tuple[object, ...], torch.Tensor]] = WeakKeyDictionary()
"""Buffers of packed weights that are on a GPU, while the packed weight lives."""


def shared(kernel: _K, packed: PackedTensor) -> _K:
    """The same kernel, reading the buffers that another kernel of this packed weight has on its device already."""
    known = _on_devices.setdefault(packed, {})
    for name, buffer in kernel.packed.items():
        key = (name, buffer.dtype, tuple(buffer.shape), str(buffer.device))
        there = known.setdefault(key, buffer)
        if there is not buffer and torch.equal(_bits(there), _bits(buffer)):
            kernel.packed[name] = there
    return kernel


def _bits(buffer: torch.Tensor) -> torch.Tensor:
    """To compare NaN and -0.0 as they are."""
    return buffer.contiguous().reshape(-1).view(torch.uint8)


def kernel_of(
    call: KernelCall,
    packed: PackedTensor,
    bias: torch.Tensor | None,
    where: torch.device,
    result_dtype: torch.dtype | None = None,
) -> TritonKernel:
    """The kernel of a call with a schedule, its weight on ``where``; results in ``result_dtype`` (None: the call's).

    On the CPU it runs in Triton's interpreter alone, but can be compiled ahead of time. Raises :class:`KernelError`.
    """
    from spcomp.codegen.triton.block_layer import BlocksFew, BlocksMany
    from spcomp.codegen.triton.row_layers import BitmapRows, CsrRows, NmRows
    from spcomp.codegen.triton.vnm_layer import VnmMany, VnmOne, VnmSparse

    if call.dtype not in DTYPES or not call.schedule:
        found = f"dtype {call.dtype}, schedule {dict(call.schedule)}"
        raise KernelError(f"build the kernel of {call.layer}", found, f"one of {', '.join(DTYPES)}, and a schedule")
    match call.encoding:
        case Block():
            kind: Callable[..., TritonKernel] = BlocksMany if "group" in dict(call.schedule) else BlocksFew
        case Bitmap():
            kind = BitmapRows
        case Csr():
            kind = CsrRows
        case Nm():
            kind = NmRows
        case Vnm():
            options = dict(call.schedule)
            kind = VnmSparse if "row_tiles" in options else VnmOne if options["block_m"] == 1 else VnmMany
        case _:
            found = f"the encoding {call.encoding}"
            raise KernelError(f"build the kernel of {call.layer}", found, f"one of {', '.join(SERVED)}")
    return kind(call, packed, bias, where, result_dtype)
