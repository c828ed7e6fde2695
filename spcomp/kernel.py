"""The two protocols that code generators implement. No torch here: tensors are opaque to the protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from spcomp.plan import KernelCall, KernelKey, Schedule

if TYPE_CHECKING:
    import torch

    from spcomp.encodings.pack import PackedTensor


@runtime_checkable
class Kernel(Protocol):
    """One compiled kernel bound to its packed weight. Safe to call from several Python threads at once."""

    @property
    def call(self) -> KernelCall:
        """What it computes."""
        ...

    @property
    def source(self) -> str:
        """Readable generated text, or the name of the library routine."""
        ...

    @property
    def extra_nbytes(self) -> int:
        """Resident bytes beyond the packed weight: tables, reordered copies, generated code."""
        ...

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """x [..., k] -> y [..., n], contiguous, in the call's dtype; of a convolution x [B, C, ...] -> y [B, n, ...].

        A residual (of y's shape) is a second argument, where the epilogue says so.
        """
        ...


@runtime_checkable
class TilesKernel(Protocol):
    """A kernel that can also work on activations in tiles [ceil(M/16), features, 16] of float32."""

    @property
    def tiles_served(self) -> bool:
        """Whether this one, with its sizes, can."""
        ...

    def on_tiles(self, xs: torch.Tensor) -> torch.Tensor:
        """xs [tiles, k, 16] -> [tiles, n, 16], contiguous; what is in rows beyond M does not matter."""
        ...


@runtime_checkable
class LaidKernel(Protocol):
    """A convolution that can also read and make the layouts of :mod:`spcomp.conv_layout`, float32."""

    @property
    def laid_served(self) -> bool:
        """Whether this one can."""
        ...

    def ready(self, given: str, made: str, planes: tuple[int, ...]) -> None:
        """Compile what :meth:`on_layout` will need for x and a result in these layouts."""
        ...

    def on_layout(
        self, x: torch.Tensor, residual: torch.Tensor | None, given: str, made: str, planes: tuple[int, ...]
    ) -> torch.Tensor:
        """x in the layout ``given``, a residual in ``made`` -> y in ``made``; ``planes``: of padded planes made."""
        ...


@runtime_checkable
class LastKernel(Protocol):
    """A convolution that can also work on planes with the channels last."""

    @property
    def last_served(self) -> bool:
        """Whether this one can."""
        ...

    def on_last(self, x: torch.Tensor, *residual: torch.Tensor) -> torch.Tensor:
        """x [B, C, H, W] (and a residual) -> [B, n, ...], all in ``torch.channels_last``."""
        ...


@runtime_checkable
class IntoKernel(Protocol):
    """A kernel that can also write its result to memory that it is given."""

    @property
    def into_served(self) -> bool:
        """Whether this one does that without making a tensor of its own first."""
        ...

    def into(self, y: torch.Tensor, x: torch.Tensor, *residual: torch.Tensor) -> None:
        """As a call, with the result in ``y``, which is contiguous and of the shape and dtype of one."""
        ...


@runtime_checkable
class PreparedKernel(Protocol):
    """A kernel of which calls compile or search something, unless that was done before."""

    def prepare(self, m: int) -> None:
        """Do what calls of ``m`` rows need, on the device that the weight is on."""
        ...


class RowGather(Protocol):
    """Reads single rows of a weight [N, K] out of the bytes a layer keeps, every bit. Safe from several threads."""

    @property
    def source(self) -> str:
        """Readable generated text, or the name of the library routine."""
        ...

    @property
    def extra_nbytes(self) -> int:
        """Resident bytes beyond the weight: what finds a row."""
        ...

    def __call__(self, ids: torch.Tensor) -> torch.Tensor:
        """ids [...] int32 or int64 -> [..., K], contiguous. Raises IndexError for a number that is no row's."""
        ...


@runtime_checkable
class Backend(Protocol):
    """A code generator."""

    @property
    def name(self) -> str:
        """As in the table of backends."""
        ...

    def unavailable(self) -> str | None:
        """Why this backend cannot work on this host, or None."""
        ...

    def capabilities(self) -> frozenset[KernelKey]:
        """What it can build here; empty where it is unavailable."""
        ...

    def schedules(self, call: KernelCall, m: int) -> Sequence[Schedule]:
        """The schedules worth trying for this call at M = ``m`` rows, the likeliest first."""
        ...

    def extra_nbytes(self, call: KernelCall) -> int:
        """Predicted bytes that a kernel of this call keeps beyond the packed weight, such as generated code.

        0 where they do not grow with the weight.
        """
        ...

    def build(
        self, call: KernelCall, packed: PackedTensor, bias: torch.Tensor | None, scale: torch.Tensor | None = None
    ) -> Kernel:
        """Generate and compile; bias and scale [n] as the epilogue says; of a quantised call, ``scale`` is the scale of
        each row of the weight, float32. Raises :class:`spcomp.errors.KernelError`."""
        ...
