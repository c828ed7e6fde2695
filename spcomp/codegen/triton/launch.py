"""`Launch`: one kernel with everything it is launched with; `TritonKernel`: a layer as a few launches."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from spcomp.codegen.scratch import Scratch
from spcomp.encodings.pack import TORCH_DTYPES, PackedTensor
from spcomp.errors import KernelError
from spcomp.plan import KernelCall

Constants = Mapping[str, int | float | str]
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

    @property
    def into_served(self) -> bool:
        return True

    def into(self, y: torch.Tensor, x: torch.Tensor, *residual: torch.Tensor) -> None:
        """Write the result to ``y``, contiguous; nothing is allocated once the kernel has its scratch memory."""
        if x.device != self.device:
            found = f"its weight is on {self.device}, the input on {x.device}"
            raise KernelError(f"run {self.call.layer}", found, "moving the input, or compiling for that device")
        if y.numel() == 0:
            return
        rows = self.scratch.aligned("x", x).view(-1, self.call.k) if self.call.k else x.reshape(-1, 0)
        other = self.scratch.aligned("residual", residual[0]).view(-1, self.call.n) if residual else None
        with torch.cuda.device(x.device) if x.device.type == "cuda" else nullcontext():
            for launch in self.launches(rows, other, y.view(-1, self.call.n)):
                launch.run()

    def __call__(self, x: torch.Tensor, *residual: torch.Tensor) -> torch.Tensor:
        y = x.new_empty((*x.shape[:-1], self.call.n), dtype=self.result_dtype)
        self.into(y, x, *residual)
        return y


def ceil_div(value: int, unit: int) -> int:
    return -(-value // unit)
