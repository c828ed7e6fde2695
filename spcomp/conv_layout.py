"""How activations lie between convolutions, and what that means in plain torch.

``natural``: planes [B, C, ...], as torch has them. ``tiles``: [B, ceil(pixels / 16), C, 16], what a 1x1 convolution is
computed on. ``planes``: [B, elements], one after the other the planes with the zeros around them that a convolution of
stride 1 reads, and some lanes that may be read behind the last. ``pixels``: [B, elements], pixel after pixel with its
channels next to each other, and behind them :data:`PARTS` numbers, of which the greatest is the largest magnitude of
the image: what int8 convolutions hand to each other. Everything but natural is float32.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from spcomp.conv_shape import ConvShape

LANES = 16
NATURAL, TILES, PLANES, PIXELS = "natural", "tiles", "planes", "pixels"
LAYOUTS = (NATURAL, TILES, PLANES, PIXELS)
PARTS = 32
"""Numbers behind pixels: as many threads may look for the largest magnitude, each for itself."""


@dataclass(frozen=True)
class Padded:
    """A plane with zeros around it. Sizes in elements."""

    rows: int
    width: int
    top: int
    left: int

    @classmethod
    def read_by(cls, conv: ConvShape) -> Padded:
        """The planes that a convolution of stride 1 reads."""
        (top, left), (height, width) = conv.padding, (conv.height, conv.width)
        return cls(height + 2 * top, width + 2 * left, top, left)

    @property
    def plane(self) -> int:
        return self.rows * self.width

    def total(self, channels: int) -> int:
        """Elements of all planes and of the lanes behind them."""
        return -(-(channels * self.plane + LANES) // LANES) * LANES

    def numbers(self) -> list[int]:
        return [self.rows, self.width, self.top, self.left]


def pointwise(conv: ConvShape) -> bool:
    """Whether a convolution is a product on tiles of pixels."""
    return conv.kernel == (1, 1) and conv.padding == (0, 0)


def takes(conv: ConvShape, quantize: str = "") -> str:
    """The layout that a convolution reads without any copy, or of one in int8 (``quantize``) with the fewest steps."""
    if quantize:
        return PIXELS
    if conv.stride != (1, 1):
        return NATURAL
    if conv.kernel == (1, 1):
        return TILES if pointwise(conv) else NATURAL
    return PLANES


def reads(conv: ConvShape, quantize: str = "") -> tuple[str, ...]:
    """The layouts that a convolution reads, the one without any copy first; all others it copies for itself."""
    if quantize:
        return (PIXELS, NATURAL)
    return tuple(dict.fromkeys((takes(conv), NATURAL, TILES)))


def makes(quantize: str = "") -> tuple[str, ...]:
    """The layouts in which a convolution makes its result, in int8 or in floating point; natural first."""
    return (NATURAL, PIXELS) if quantize else (NATURAL, TILES, PLANES)


def shape_of(layout: str, size: Sequence[int], planes: Sequence[int]) -> tuple[int, ...]:
    """Shape of one image of the given natural ``size`` [C, ...]; ``planes``: :meth:`Padded.numbers`, or nothing."""
    match layout:
        case "tiles":
            return (-(-math.prod(size[1:]) // LANES), size[0], LANES)
        case "planes":
            return (Padded(*planes).total(size[0]),)
        case "pixels":
            return (math.prod(size) + PARTS,)
        case _:
            return tuple(size)


def laid(x: torch.Tensor, layout: str, planes: Sequence[int] = ()) -> torch.Tensor:
    """Natural planes in another layout; what is added is zero, but for the largest magnitude behind pixels."""
    match layout:
        case "pixels":
            flat = x.flatten(2).transpose(1, 2).flatten(1)
            return torch.nn.functional.pad(torch.cat((flat, flat.abs().amax(1, keepdim=True)), 1), (0, PARTS - 1))
        case "tiles":
            flat = x.reshape(*x.shape[:2], math.prod(x.shape[2:]))
            flat = torch.nn.functional.pad(flat, (0, -flat.shape[2] % LANES))
            return flat.reshape(*x.shape[:2], flat.shape[2] // LANES, LANES).transpose(1, 2).contiguous()
        case "planes":
            to = Padded(*planes)
            wide = x.unsqueeze(2) if x.dim() == 3 else x
            below, right = to.rows - to.top - wide.shape[2], to.width - to.left - wide.shape[3]
            flat = torch.nn.functional.pad(wide, (to.left, right, to.top, below)).flatten(1)
            return torch.nn.functional.pad(flat, (0, to.total(x.shape[1]) - flat.shape[1]))
        case _:
            return x.contiguous()


def natural(x: torch.Tensor, layout: str, size: Sequence[int], planes: Sequence[int] = ()) -> torch.Tensor:
    """The inverse of :func:`laid` for images of ``size`` [C, ...]."""
    match layout:
        case "tiles":
            return x.transpose(1, 2).flatten(2)[:, :, : math.prod(size[1:])].reshape(x.shape[0], *size)
        case "planes":
            of = Padded(*planes)
            height, width = (1, *size[1:])[-2:]
            every = x[:, : size[0] * of.plane].reshape(x.shape[0], size[0], of.rows, of.width)
            inner = every[:, :, of.top : of.top + height, of.left : of.left + width]
            return inner.reshape(x.shape[0], *size)
        case "pixels":
            every = x[:, : math.prod(size)].reshape(x.shape[0], math.prod(size[1:]), size[0])
            return every.transpose(1, 2).reshape(x.shape[0], *size)
        case _:
            return x
