"""The geometry of a convolution: what turns it into a product with a matrix. No torch here.

A convolution of an input [B, C, H, W] with a weight [n, C, R, S] is ``y[m, n] = x'[m, k] @ W'[n, k].T`` with one row m
for each output pixel and k = R * S * C. Columns of W' are ordered (r, s, c): neighbours are input channels, along which
N:M patterns lie. x' is never made; kernels address the planes of x.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from spcomp.errors import PlanError

_LARGEST = 1 << 31


@dataclass(frozen=True)
class ConvShape:
    """A convolution of planes of one size; in one dimension the height is 1."""

    dims: int
    """1 or 2."""
    channels: int
    """Input channels C."""
    height: int
    width: int
    """Of the input plane, without padding."""
    kernel: tuple[int, int]
    """(R, S)."""
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)

    def __post_init__(self) -> None:
        pairs = (self.kernel, self.stride, self.dilation)
        numbers = (self.channels, self.height, self.width, *self.kernel, *self.stride, *self.padding, *self.dilation)
        whole = all(type(v) is int and 0 <= v < _LARGEST for v in numbers)
        if (
            self.dims not in (1, 2)
            or not whole
            or min(v for pair in pairs for v in pair) < 1
            or min(self.channels, *self.output) < 1
        ):
            raise PlanError("describe a convolution", f"{asdict(self)}", "positive sizes that leave an output pixel")

    @functools.cached_property
    def output(self) -> tuple[int, int]:
        """Height and width of an output plane."""
        sizes = zip((self.height, self.width), self.kernel, self.stride, self.padding, self.dilation, strict=True)
        high, wide = ((size + 2 * p - d * (r - 1) - 1) // s + 1 for size, r, s, p, d in sizes)
        return high, wide

    @functools.cached_property
    def pixels(self) -> int:
        """Rows M of one image."""
        return self.output[0] * self.output[1]

    @property
    def k(self) -> int:
        """Columns of the weight matrix."""
        return self.channels * self.kernel[0] * self.kernel[1]

    @property
    def run(self) -> int:
        """Columns of the weight matrix whose inputs are neighbours where input channels are: of a row of taps, or of
        one tap."""
        return self.channels * (self.kernel[1] if self.dilation[1] == 1 else 1)

    @property
    def inputs(self) -> int:
        """Elements of one image of the input."""
        return self.channels * self.height * self.width

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Of one output channel's weight, as torch has it."""
        return (self.channels, *self.kernel[2 - self.dims :])

    def size(self, n: int) -> tuple[int, ...]:
        """Shape of one image of the output with ``n`` channels."""
        return (n, *self.output[2 - self.dims :])

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_dict`. Raises :class:`PlanError`."""
        try:
            pairs = {name: (data[name][0], data[name][1]) for name in ("kernel", "stride", "padding", "dilation")}
            return cls(data["dims"], data["channels"], data["height"], data["width"], **pairs)
        except (KeyError, TypeError, IndexError) as error:
            found = f"{type(error).__name__}: {error}"
            raise PlanError("read a convolution", found, "a plan written by to_json()") from error

    def __str__(self) -> str:
        text = f"{self.channels} x {self.height} x {self.width}, {self.kernel[0]} x {self.kernel[1]}"
        for name, value, usual in (
            ("stride", self.stride, (1, 1)), ("padding", self.padding, (0, 0)), ("dilation", self.dilation, (1, 1)),
        ):  # fmt: skip
            text += "" if value == usual else f", {name} {value[0]} x {value[1]}"
        return text
