"""The custom ops that stand for compiled layers in a graph, and the table they look their kernels up in.

``spcomp::linear_v1(Tensor x, int slot, int n) -> Tensor``,
``spcomp::conv_v1(Tensor x, Tensor? residual, int slot, int[] size) -> Tensor``, size being (n, height, width) or
(n, width) of one image of the result,
``spcomp::embedding_v1(Tensor ids, int slot, int k, ScalarType dtype) -> Tensor``, rows of the slot's weight, and more
of their kind. The slot is a position in the kernel table of the
:class:`CompiledModule` that is running; the table is found through a context variable, so nothing is process-global
and compiled graphs can be cached and shared between models of one architecture. The version is part of the name
because Inductor's cache does not see changed lowerings.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch

from spcomp.conv_layout import Padded, laid, makes, natural, reads, shape_of
from spcomp.errors import KernelError
from spcomp.kernel import IntoKernel, Kernel, LaidKernel, LastKernel, RowGather, TilesKernel

LANES = 16
"""Rows of a tile."""


@dataclass(frozen=True)
class SlotKernels:
    """The kernels of one layer: kernel i serves row counts from ``starts[i]`` up to the next start."""

    starts: tuple[int, ...]
    kernels: tuple[Kernel, ...]
    k: int
    """Elements of x that make ``rows`` rows: the features of one, or the input planes of one image."""
    rows: int = 1
    gather: RowGather | None = None
    """Reads rows of the weight, where an embedding has it too."""
    _able: dict[str, tuple[bool, ...]] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Which kernels know tiles, channels last, and layouts: to ask a protocol at every call takes 15 us."""
    chains: dict[object, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    """By those who run this layer with others (:mod:`spcomp.codegen.mlir_cpu.chain`)."""

    def __post_init__(self) -> None:
        if not self.starts or list(self.starts) != sorted(set(self.starts)) or len(self.starts) != len(self.kernels):
            raise KernelError("make a slot", f"row starts {self.starts}", "ascending starts, one per kernel")
        self._able["tiles"] = tuple(isinstance(k, TilesKernel) and k.tiles_served for k in self.kernels)
        self._able["last"] = tuple(isinstance(k, LastKernel) and k.last_served for k in self.kernels)
        self._able["laid"] = tuple(isinstance(k, LaidKernel) and k.laid_served for k in self.kernels)
        self._able["into"] = tuple(isinstance(k, IntoKernel) and k.into_served for k in self.kernels)

    def pick(self, m: int) -> Kernel:
        """The kernel for ``m`` rows; below the first start the first one serves."""
        return self.kernels[self._index(m)]

    def _index(self, m: int) -> int:
        return max(0, bisect_right(self.starts, m) - 1)

    def _that_can(self, what: str, m: int) -> Any:
        """The kernel for ``m`` rows if it can do that, else None."""
        i = self._index(m)
        return self.kernels[i] if self._able[what][i] else None

    def __call__(self, x: torch.Tensor, *residual: torch.Tensor) -> torch.Tensor:
        if len(self.kernels) == 1:
            return self.kernels[0](*(x, *residual))
        return self.pick(x.numel() // self.k * self.rows)(*(x, *residual))

    @property
    def writes_into(self) -> bool:
        """Whether every kernel can write to memory that it is given."""
        return all(self._able["into"])

    def into(self, y: torch.Tensor, x: torch.Tensor, *residual: torch.Tensor) -> None:
        """As a call, with the result in ``y``; of kernels that make their own it is copied there."""
        able = self._that_can("into", x.numel() // self.k * self.rows)
        able.into(y, x, *residual) if able is not None else y.copy_(self(x, *residual))

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        """Rows of the weight: ids [...] -> [..., k]. Raises IndexError for a number that is no row's."""
        if self.gather is None:
            raise KernelError("read rows of a weight", "a slot that no embedding had", "compiling the model again")
        return self.gather(ids)

    def on_tiles(self, xs: torch.Tensor, m: int) -> torch.Tensor:
        """The same for ``m`` rows in tiles [ceil(m/16), k, 16]; kernels that know no tiles get rows."""
        able: TilesKernel | None = self._that_can("tiles", m)
        if able is not None:
            return able.on_tiles(xs.contiguous())
        y = self.pick(m)(xs.transpose(1, 2).reshape(-1, self.k)[:m])
        padded = torch.nn.functional.pad(y, (0, 0, 0, -m % LANES))
        return padded.reshape(-1, LANES, y.shape[-1]).transpose(1, 2).contiguous()

    def on_last(self, x: torch.Tensor, *residual: torch.Tensor) -> torch.Tensor:
        """A convolution of planes with the channels last; kernels that know none get planes as they are."""
        able: LastKernel | None = self._that_can("last", x.numel() // self.k * self.rows)
        if able is not None:
            return able.on_last(x, *residual)
        y = self(x.contiguous(), *(r.contiguous() for r in residual))
        return y.contiguous(memory_format=torch.channels_last)

    def on_layout(
        self, x: torch.Tensor, residual: torch.Tensor | None, given: str, made: str, planes: tuple[int, ...]
    ) -> torch.Tensor:
        """A convolution of x in the layout ``given`` to ``made``; kernels that know none get planes as they are."""
        able: LaidKernel | None = self._that_can("laid", x.shape[0] * self.rows)
        call = self.pick(x.shape[0] * self.rows).call
        if call.conv is None:
            raise KernelError(f"run {call.layer} as a convolution", "a linear layer", "compiling the model again")
        if able is not None and given in reads(call.conv, call.quantize) and made in makes(call.quantize):
            return able.on_layout(x, residual, given, made, planes)
        size = (call.conv.channels, *(call.conv.height, call.conv.width)[2 - call.conv.dims :])
        plain = natural(x, given, size, Padded.read_by(call.conv).numbers()).contiguous()
        other = () if residual is None else (natural(residual, made, call.conv.size(call.n), planes).contiguous(),)
        return laid(self(plain, *other), made, planes)


KernelTable = Sequence[SlotKernels]
_active: ContextVar[KernelTable | None] = ContextVar("spcomp_kernel_table", default=None)


class active:
    """Ops called in this block (in this thread) find their kernels in ``table``; autocast is off in it."""

    __slots__ = ("_autocast", "_table", "_token")

    def __init__(self, table: KernelTable) -> None:
        self._table = table
        self._autocast: list[torch.autocast] = []

    def __enter__(self) -> None:
        self._token = _active.set(self._table)
        if torch._C._is_any_autocast_enabled():
            self._autocast = [torch.autocast(kind, enabled=False) for kind in ("cpu", "cuda")]
            for off in self._autocast:
                off.__enter__()  # type: ignore[no-untyped-call]

    def __exit__(self, *raised: Any) -> None:
        _active.reset(self._token)
        for off in reversed(self._autocast):
            off.__exit__(*raised)


def linear(x: torch.Tensor, *, slot: int, n: int) -> torch.Tensor:
    """Run the kernel of ``slot``: x [..., k] -> [..., n]."""
    return running()[slot](x)


def conv(x: torch.Tensor, residual: torch.Tensor | None, *, slot: int, size: Sequence[int]) -> torch.Tensor:
    """Run the kernel of ``slot``: x [B, C, ...] (and a residual like the result) -> [B, *size]."""
    return running()[slot](*((x,) if residual is None else (x, residual)))


def running() -> KernelTable:
    """The table of the compiled model that runs in this thread."""
    table = _active.get()
    if table is None:
        raise KernelError(
            "run a compiled layer",
            "no compiled model is running in this thread",
            "call the CompiledModule; its graph does not run on its own",
        )
    return table


_library = torch.library.Library("spcomp", "DEF")  # type: ignore[no-untyped-call]
_library.define("linear_v1(Tensor x, int slot, int n) -> Tensor")  # type: ignore[no-untyped-call]

KEYS = ("CPU", "CUDA")
"""Dispatch keys of ops that any kernel may stand behind. Kernels launch on the current stream and wait for nothing;
ops of the CPU's own layouts have the first key alone."""
for _key in KEYS:
    _library.impl("linear_v1", lambda x, slot, n: linear(x, slot=slot, n=n), _key)  # type: ignore[no-untyped-call]


@torch.library.register_fake("spcomp::linear_v1")  # type: ignore[untyped-decorator]
def _fake(x: torch.Tensor, slot: int, n: int) -> torch.Tensor:
    return x.new_empty((*x.shape[:-1], n))


_library.define("conv_v1(Tensor x, Tensor? residual, int slot, int[] size) -> Tensor")  # type: ignore[no-untyped-call]
for _key in KEYS:
    _library.impl("conv_v1", lambda x, r, slot, size: conv(x, r, slot=slot, size=size), _key)  # type: ignore[no-untyped-call]


@torch.library.register_fake("spcomp::conv_v1")  # type: ignore[untyped-decorator]
def _fake_conv(x: torch.Tensor, residual: torch.Tensor | None, slot: int, size: Sequence[int]) -> torch.Tensor:
    return x.new_empty((x.shape[0], *size))


CONV = torch.ops.spcomp.conv_v1.default


def conv_last(x: torch.Tensor, residual: torch.Tensor | None, *, slot: int, size: Sequence[int]) -> torch.Tensor:
    """:func:`conv` of two dimensions on ``torch.channels_last`` planes, which the result is too."""
    return running()[slot].on_last(x, *(() if residual is None else (residual,)))


_library.define("conv_last_v1(Tensor x, Tensor? residual, int slot, int[] size) -> Tensor")  # type: ignore[no-untyped-call]
_library.impl("conv_last_v1", lambda x, r, slot, size: conv_last(x, r, slot=slot, size=size), "CPU")  # type: ignore[no-untyped-call]


@torch.library.register_fake("spcomp::conv_last_v1")  # type: ignore[untyped-decorator]
def _fake_conv_last(x: torch.Tensor, residual: torch.Tensor | None, slot: int, size: Sequence[int]) -> torch.Tensor:
    return x.new_empty((x.shape[0], *size)).to(memory_format=torch.channels_last)


CONV_LAST = torch.ops.spcomp.conv_last_v1.default


def conv_laid(
    x: torch.Tensor,
    residual: torch.Tensor | None,
    *,
    slot: int,
    size: Sequence[int],
    given: str,
    made: str,
    planes: Sequence[int],
) -> torch.Tensor:
    """:func:`conv` from one layout of :mod:`spcomp.conv_layout` to another; ``size`` is the natural one."""
    return running()[slot].on_layout(x, residual, given, made, tuple(planes))


_library.define(  # type: ignore[no-untyped-call]
    "conv_laid_v1(Tensor x, Tensor? residual, int slot, int[] size, str given, str made, int[] planes) -> Tensor"
)
_library.impl(  # type: ignore[no-untyped-call]
    "conv_laid_v1",
    lambda x, r, slot, size, given, made, planes: conv_laid(
        x, r, slot=slot, size=size, given=given, made=made, planes=planes
    ),
    "CPU",
)


@torch.library.register_fake("spcomp::conv_laid_v1")  # type: ignore[untyped-decorator]
def _fake_conv_laid(
    x: torch.Tensor,
    residual: torch.Tensor | None,
    slot: int,
    size: Sequence[int],
    given: str,
    made: str,
    planes: Sequence[int],
) -> torch.Tensor:
    return x.new_empty((x.shape[0], *shape_of(made, size, planes)))


CONV_LAID = torch.ops.spcomp.conv_laid_v1.default


def tiles_linear(xs: torch.Tensor, *, slot: int, n: int, m: int) -> torch.Tensor:
    """Run the kernel of ``slot`` for ``m`` rows on tiles: xs [ceil(m/16), k, 16] -> [ceil(m/16), n, 16]."""
    return running()[slot].on_tiles(xs, m)


def tiles_norm(
    xs: torch.Tensor,
    residual: torch.Tensor | None,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    eps: float,
) -> torch.Tensor:
    """LayerNorm over dimension 1 of ``xs + residual`` [tiles, features, 16]; what it means, in plain torch."""
    x = xs if residual is None else xs + residual
    return (
        torch.nn.functional.layer_norm(x.transpose(1, 2), [x.shape[1]], weight, bias, eps).transpose(1, 2).contiguous()
    )


_library.define("tiles_linear_v1(Tensor xs, int slot, int n, int m) -> Tensor")  # type: ignore[no-untyped-call]
_library.define(  # type: ignore[no-untyped-call]
    "tiles_norm_v1(Tensor xs, Tensor? residual, Tensor? weight, Tensor? bias, float eps) -> Tensor"
)
_library.impl("tiles_linear_v1", lambda xs, slot, n, m: tiles_linear(xs, slot=slot, n=n, m=m), "CPU")  # type: ignore[no-untyped-call]
_library.impl("tiles_norm_v1", tiles_norm, "CPU")  # type: ignore[no-untyped-call]


@torch.library.register_fake("spcomp::tiles_linear_v1")  # type: ignore[untyped-decorator]
def _fake_tiles(xs: torch.Tensor, slot: int, n: int, m: int) -> torch.Tensor:
    return xs.new_empty((xs.shape[0], n, LANES))


@torch.library.register_fake("spcomp::tiles_norm_v1")  # type: ignore[untyped-decorator]
def _fake_norm(
    xs: torch.Tensor,
    residual: torch.Tensor | None,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    eps: float,
) -> torch.Tensor:
    return torch.empty_like(xs)


TILES_LINEAR = torch.ops.spcomp.tiles_linear_v1.default
TILES_NORM = torch.ops.spcomp.tiles_norm_v1.default
LINEAR = torch.ops.spcomp.linear_v1.default
_AS_IT_IS: nullcontext[None] = nullcontext()


def without_gradients() -> AbstractContextManager[None]:
    """``torch.no_grad()``, where there are any."""
    return torch.no_grad() if torch.is_grad_enabled() else _AS_IT_IS


def embedding(ids: torch.Tensor, *, slot: int) -> torch.Tensor:
    """Rows ``ids`` of the weight of ``slot``: ids [...] -> [..., k]."""
    return running()[slot].embed(ids)


_library.define("embedding_v1(Tensor ids, int slot, int k, ScalarType dtype) -> Tensor")  # type: ignore[no-untyped-call]
for _key in KEYS:
    _library.impl("embedding_v1", lambda ids, slot, k, dtype: embedding(ids, slot=slot), _key)  # type: ignore[no-untyped-call]


@torch.library.register_fake("spcomp::embedding_v1")  # type: ignore[untyped-decorator]
def _fake_embedding(ids: torch.Tensor, slot: int, k: int, dtype: torch.dtype) -> torch.Tensor:
    return ids.new_empty((*ids.shape, k), dtype=dtype)


EMBEDDING = torch.ops.spcomp.embedding_v1.default


def max_pool(x: torch.Tensor, *, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int]) -> torch.Tensor:
    """Max pooling of planes [B, C, H, W] as they are; what it means, in plain torch."""
    y: torch.Tensor = torch.nn.functional.max_pool2d(x, list(kernel), list(stride), list(padding))
    return y.contiguous()


_library.define("max_pool_v1(Tensor x, int[] kernel, int[] stride, int[] padding) -> Tensor")  # type: ignore[no-untyped-call]
_library.impl(  # type: ignore[no-untyped-call]
    "max_pool_v1", lambda x, kernel, stride, padding: max_pool(x, kernel=kernel, stride=stride, padding=padding), "CPU"
)


@torch.library.register_fake("spcomp::max_pool_v1")  # type: ignore[untyped-decorator]
def _fake_max_pool(
    x: torch.Tensor, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int]
) -> torch.Tensor:
    return torch.nn.functional.max_pool2d(x, list(kernel), list(stride), list(padding))


MAX_POOL = torch.ops.spcomp.max_pool_v1.default
