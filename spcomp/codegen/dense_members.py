"""What the best dense programs of all devices share: named members, of which the fastest serves each row count."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F

from spcomp.codegen.reference.backend import activate
from spcomp.kernel import Kernel
from spcomp.plan import KernelCall


class PlainLinear:
    """``F.linear`` on the weight as it is, on whatever device that is on, the activation after it: no extra bytes."""

    source = "torch.nn.functional.linear"

    def __init__(self, call: KernelCall, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        self.call, self.weight, self.bias = call, weight, bias
        self._plain = call.epilogue.activation == "none"

    @property
    def extra_nbytes(self) -> int:
        return 0 if self.bias is None else self.bias.nbytes

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        y = F.linear(x, self.weight, self.bias)
        if self._plain:
            return y
        kind = self.call.epilogue.activation
        return y.relu_() if kind == "relu" else activate(y, kind)


class DenseMembers(ABC):
    """The fastest dense program of one layer, row count by row count. A kernel like any other, once it is settled.

    Members are built when they are first asked for. Until :meth:`settle` has been told what they take, one that can
    take any number of rows serves.
    """

    comment = "//"
    """What begins a line of remark in ``source``."""

    def __init__(
        self,
        call: KernelCall,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        rows: Sequence[int],
        scale: torch.Tensor | None = None,
    ) -> None:
        self.call, self.weight, self.bias, self.scale, self.rows = call, weight, bias, scale, tuple(rows)
        self._built: dict[str, Kernel] = {}
        self._winners: dict[int, str] = {}

    @abstractmethod
    def names(self, m: int) -> tuple[str, ...]:
        """The members that can take ``m`` rows."""

    @abstractmethod
    def _build(self, name: str) -> Kernel: ...

    @abstractmethod
    def _fallback(self, able: Sequence[str]) -> str:
        """Of the members that can take some row count, the one that serves while nothing was measured."""

    def member(self, name: str) -> Kernel:
        """One member. Raises :class:`KernelError` for one that does not work here."""
        if name not in self._built:
            self._built[name] = self._build(name)
        return self._built[name]

    def settle(self, measured: Mapping[int, Mapping[str, float]]) -> None:
        """Serve each row count by the fastest member there; drop members that win nowhere."""
        self._winners = {m: min(seconds, key=seconds.__getitem__) for m, seconds in measured.items()}
        self._built = {name: k for name, k in self._built.items() if name in self._winners.values()}

    def winner(self, m: int) -> str:
        """The member that serves ``m`` rows: the fastest at the nearest measured row count that can take them."""
        able = self.names(m)
        near = sorted(self._winners, key=lambda p: abs(p - m))
        return next((self._winners[p] for p in near if self._winners[p] in able), self._fallback(able))

    @property
    def source(self) -> str:
        return "\n".join(f"{self.comment} rows {m}: {name}" for m, name in self._winners.items())

    @property
    def extra_nbytes(self) -> int:
        return sum(k.extra_nbytes for k in self._built.values())

    def __call__(self, x: torch.Tensor, *residual: torch.Tensor) -> torch.Tensor:
        k, conv = self.call.k, self.call.conv
        m = len(x) * conv.pixels if conv is not None else x.numel() // k if k else 0
        return self.member(self.winner(m))(x, *residual)
