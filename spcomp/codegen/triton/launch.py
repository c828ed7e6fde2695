"""`Launch`: one kernel with everything it is launched with; `TritonKernel`: a layer as a few launches."""

from __future__ import annotations

import inspect
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch

from spcomp.encodings.pack import TORCH_DTYPES, PackedTensor
from spcomp.errors import KernelError
from spcomp.plan import KernelCall

Constants = Mapping[str, int | str]
Buffers = Mapping[str, torch.Tensor]


@dataclass(frozen=True, eq=False)
class Launch:
    """A Triton function, its grid, its arguments at run time (tensors, ints, None) and its constants."""

    function: Any
    grid: tuple[int, ...]
    arguments: tuple[Any, ...]
    constants: Constants
    warps: int
    stages: int = 1

    @property
    def name(self) -> str:
        return str(self.function.__name__)

    def run(self) -> None:
        """On the current stream of the device that the arguments are on."""
        self.function[self.grid](*self.arguments, **self.constants, num_warps=self.warps, num_stages=self.stages)


def text_of(function: Any) -> str:
    """The Python text of a Triton function."""
    return inspect.getsource(function.fn)


@dataclass(eq=False)
class Scratch:
    """Memory for partial sums, one piece for each thread and stream that asked, kept for the next call.

    While a CUDA graph is captured the piece is the graph's own, so that replays share nothing with other calls.
    """

    _kept: dict[tuple[int, int], torch.Tensor] = field(default_factory=dict)

    def floats(self, count: int, device: torch.device) -> torch.Tensor:
        """``count`` float32, contents undefined."""
        if device.type == "cuda" and torch.cuda.is_current_stream_capturing():
            return torch.empty(count, dtype=torch.float32, device=device)
        stream = torch.cuda.current_stream(device).cuda_stream if device.type == "cuda" else 0
        key = (threading.get_ident(), stream)
        kept = self._kept.get(key)
        if kept is None or kept.numel() < count:
            kept = self._kept[key] = torch.empty(count, dtype=torch.float32, device=device)
        return kept[:count]

    @property
    def nbytes(self) -> int:
        return sum(piece.nbytes for piece in self._kept.values())


class TritonKernel(ABC):
    """A linear layer on one device. ``made``: what was made beside the packed buffers, counted as extra bytes."""

    templates: tuple[Any, ...] = ()
    """Triton functions whose text is the kernel's source."""

    def __init__(
        self,
        call: KernelCall,
        packed: PackedTensor,
        bias: torch.Tensor | None,
        device: torch.device,
        result_dtype: torch.dtype | None = None,
    ) -> None:
        if call.epilogue.bias != (bias is not None):
            found = f"bias={call.epilogue.bias} in its epilogue, and {'a' if bias is not None else 'no'} bias"
            raise KernelError(f"build the kernel of {call.layer}", found, "both or neither")
        self.call = call
        self.schedule = dict(call.schedule)
        self.device = device
        buffers, made = self.laid_out(packed)
        self.packed = {name: b.to(device) for name, b in buffers.items()}
        self.made = {name: b.to(device) for name, b in made.items()}
        self.bias = None if bias is None else bias.detach().to(device).contiguous()
        self.result_dtype = result_dtype or TORCH_DTYPES[call.dtype]
        self.scratch = Scratch()
        self.prepared = False

    def laid_out(self, packed: PackedTensor) -> tuple[Buffers, Buffers]:
        """(packed buffers as the launches read them, what is made beside those). Raises :class:`KernelError`."""
        return packed.buffers, {}

    @abstractmethod
    def launches(self, x: torch.Tensor, residual: torch.Tensor | None, y: torch.Tensor) -> list[Launch]:
        """What computes y [M, N] from x [M, K] (and a residual [M, N]), all contiguous, M at least 1."""

    @property
    def extra_nbytes(self) -> int:
        bias = 0 if self.bias is None else self.bias.nbytes
        return sum(made.nbytes for made in self.made.values()) + bias + self.scratch.nbytes

    @property
    def source(self) -> str:
        """The Triton text of every function used, and the constants it is compiled with for the fewest rows served."""
        lines = []
        for launch in self.example(max(1, self.call.rows.lo)):
            settings = [f"{name}={value!r}" for name, value in launch.constants.items()]
            settings += [f"num_warps={launch.warps}", f"num_stages={launch.stages}", f"grid={launch.grid}"]
            lines.append(f"# {launch.name}: {', '.join(settings)}")
        return "\n".join(lines) + "\n\n" + "\n\n".join(text_of(t) for t in self.templates)

    def example(self, rows: int) -> list[Launch]:
        """The launches of so many rows, on memory that holds nothing: for the source, and to compile ahead of time."""
        x = torch.empty(rows, self.call.k, dtype=TORCH_DTYPES[self.call.dtype], device=self.device)
        y = torch.empty(rows, self.call.n, dtype=self.result_dtype, device=self.device)
        return self.launches(x, torch.empty_like(y) if self.call.epilogue.residual else None, y)

    def prepare(self, m: int) -> None:
        """Compile what ``m`` rows take, by computing zeros, once: no call compiles after that.

        Sizes at run time specialise nothing, and inputs that are not aligned to 16 bytes, which would, are copied.
        """
        if self.prepared:
            return
        self.prepared = True
        x = torch.zeros(m, self.call.k, dtype=TORCH_DTYPES[self.call.dtype], device=self.device)
        other = torch.zeros(m, self.call.n, dtype=x.dtype, device=self.device)
        self(x, *((other,) if self.call.epilogue.residual else ()))

    def __call__(self, x: torch.Tensor, *residual: torch.Tensor) -> torch.Tensor:
        if x.device != self.device:
            found = f"its weight is on {self.device}, the input on {x.device}"
            raise KernelError(f"run {self.call.layer}", found, "moving the input, or compiling for that device")
        y = x.new_empty((*x.shape[:-1], self.call.n), dtype=self.result_dtype)
        if y.numel() == 0:
            return y
        rows = aligned(x.reshape(y.numel() // self.call.n, self.call.k))
        other = aligned(residual[0].reshape(-1, self.call.n)) if residual else None
        with torch.cuda.device(x.device) if x.device.type == "cuda" else nullcontext():
            for launch in self.launches(rows, other, y.reshape(-1, self.call.n)):
                launch.run()
        return y


def aligned(x: torch.Tensor) -> torch.Tensor:
    """Contiguous and from an address of 16 bytes on, which compiled kernels take for granted: a copy where it must."""
    x = x.contiguous()
    return x.clone() if x.data_ptr() % 16 else x


def ceil_div(value: int, unit: int) -> int:
    return -(-value // unit)
