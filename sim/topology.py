"""Topologies: the layers of a network as matrix products, read from SCALE-Sim's two CSV formats.

*conv*: ``Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,``; *gemm*:
``Layer, M, N, K,``. A last column such as ``2:4`` is a promise about the weight. The header tells which it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from spcomp.errors import InputError
from spcomp.sparsity.pattern import NM

CONV_HINT = "name, IFMAP height, IFMAP width, filter height, filter width, channels, filters, stride"
GEMM_HINT = "name, M, N, K"
CONV_NUMBERS, GEMM_NUMBERS = 7, 3


@dataclass(frozen=True)
class ConvShape:
    """A convolution without padding; the image lies in memory as [height, width, channels]."""

    height: int
    width: int
    filter_height: int
    filter_width: int
    channels: int
    filters: int
    stride: int

    @property
    def out_height(self) -> int:
        return -(-(self.height - self.filter_height + self.stride) // self.stride)

    @property
    def out_width(self) -> int:
        return -(-(self.width - self.filter_width + self.stride) // self.stride)


@dataclass(frozen=True)
class Layer:
    """One product of [m, k] by [k, n]: m output pixels (rows), k elements of a window (input features), n filters."""

    name: str
    m: int
    k: int
    n: int
    conv: ConvShape | None = None
    pattern: NM | None = None
    """What the topology says about the weight; None: nothing."""

    @classmethod
    def of_conv(cls, name: str, conv: ConvShape, pattern: NM | None = None) -> Layer:
        """Output sides are ``(H - F + S) / S`` rounded up, as in SCALE-Sim: a last window may reach over the edge."""
        k = conv.filter_height * conv.filter_width * conv.channels
        return cls(name, conv.out_height * conv.out_width, k, conv.filters, conv, pattern)

    @property
    def macs(self) -> int:
        return self.m * self.k * self.n


def read_topology(path: Path) -> tuple[Layer, ...]:
    """Read a topology of either format.

    Raises:
        InputError: no such file, or a malformed line (its number and text are in the message).
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"read the topology {path}", error.strerror or str(error), "a file that exists") from error
    return parse_topology(text, str(path))


def parse_topology(text: str, name: str = "topology") -> tuple[Layer, ...]:
    """See :func:`read_topology`."""
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip(" \t,")]
    if not lines:
        raise InputError(f"read the topology {name}", "no line in it", f"a header, then lines of {CONV_HINT}")
    (number, header), *rows = lines
    words = [word.strip().lower() for word in header.split(",")]
    gemm = words[1:4] == ["m", "n", "k"]
    if not gemm and not (len(words) > CONV_NUMBERS and "ifmap" in words[1]):
        found = f"line {number} is no header: {header[:80]!r}"
        raise InputError(f"read the topology {name}", found, "'Layer, M, N, K,' or 'Layer name, IFMAP Height, ...'")
    if not rows:
        raise InputError(f"read the topology {name}", "a header and no layers", GEMM_HINT if gemm else CONV_HINT)
    return tuple(_layer(line, gemm, name, number) for number, line in rows)


def _layer(line: str, gemm: bool, name: str, number: int) -> Layer:
    words = [word.strip() for word in line.strip().removesuffix(",").split(",")]
    count = GEMM_NUMBERS if gemm else CONV_NUMBERS
    hint = GEMM_HINT if gemm else CONV_HINT

    def refuse(why: str) -> InputError:
        return InputError(f"read the topology {name}", f"line {number} {why}: {line[:80]!r}", hint + ", with commas")

    if not count + 1 <= len(words) <= count + 2:
        raise refuse(f"has {len(words)} fields, not {count + 1} (or one more for a pattern such as 2:4)")
    if not all(re.fullmatch(r"[1-9]\d{0,8}", word) for word in words[1 : count + 1]):
        raise refuse("has a field that is no number from 1 up")
    numbers = [int(word) for word in words[1 : count + 1]]
    pattern = None
    if len(words) == count + 2:
        found = re.fullmatch(r"(\d{1,4})\s*:\s*(\d{1,4})", words[-1])
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise refuse(f"has {words[-1]!r} where a pattern such as 2:4 would stand")
        pattern = NM(int(found[1]), int(found[2])) if found[1] != found[2] else None
    if gemm:
        m, n, k = numbers
        return Layer(words[0], m, k, n, None, pattern)
    conv = ConvShape(*numbers)
    if conv.filter_height > conv.height or conv.filter_width > conv.width:
        raise refuse("has a filter that is larger than its image")
    return Layer.of_conv(words[0], conv, pattern)
