"""Single kernels for the cost model's benchmark: families, shapes, zeros and row counts from a fixed seed."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from benchmarks.operators import dense_members
from benchmarks.weights import mask, site_of
from spcomp.codegen.table import BACKENDS
from spcomp.conv_shape import ConvShape
from spcomp.encodings.bitmap import Bitmap
from spcomp.encodings.block import Block
from spcomp.encodings.csr import Csr
from spcomp.encodings.nm import Nm
from spcomp.encodings.pack import pack
from spcomp.encodings.quad import Quad
from spcomp.encodings.sell import Sell
from spcomp.encodings.sorted_csr import SortedCsr
from spcomp.encodings.spec import Encoding
from spcomp.encodings.window import Window
from spcomp.kernel import Kernel
from spcomp.passes.base import Site
from spcomp.passes.propose import Candidate, call_for
from spcomp.passes.tune import dense_call
from spcomp.plan import Epilogue, KernelCall, RowRange
from spcomp.sparsity.bits import as_matrix, weight_bits
from spcomp.sparsity.measure import measure
from spcomp.targets.host import host_cpu

SHAPES = ((768, 768), (3072, 768), (768, 3072), (1024, 1024), (2048, 1024), (2048, 2048), (4096, 1024), (4096, 4096))
SHAPE_WEIGHTS = (4, 4, 4, 3, 2, 2, 2, 1)
FEW, MANY, ALL = (1, 2, 4, 8, 15), (16, 32, 64, 128, 256, 512), (1, 4, 8, 16, 32, 64, 128, 256, 512)
ANYWHERE, BLOCKS = ("u50", "u75", "u80", "u90", "u95"), ("50", "75", "90", "95")
CONVS = ((64, 56, 1), (128, 28, 3), (64, 28, 3), (256, 14, 3), (256, 28, 1), (512, 14, 1), (512, 7, 3))
"""Channels in and out, side of the planes, side of the kernel: ResNet-50's."""


@dataclass(frozen=True)
class Family:
    """Kernels of one kind: how they are made, and where they serve."""

    name: str
    rows: tuple[int, ...]
    patterns: tuple[str, ...]
    encodings: tuple[Encoding, ...]
    backend: str = "mlir_cpu"
    dtype: torch.dtype = torch.float32


FAMILIES = (
    Family("csr", MANY, ANYWHERE, (Csr(64), Csr(128), Csr(256))),
    Family("sorted csr", MANY, ANYWHERE, (SortedCsr(128), SortedCsr(256))),
    Family("sell", (16, 32), ANYWHERE, (Sell(),)),
    Family("block 8x1", MANY, tuple(f"b8x1_{z}" for z in BLOCKS), (Block(8, 1),)),
    Family("block 4x4", MANY, tuple(f"b4x4_{z}" for z in BLOCKS), (Block(4, 4),)),
    Family("block 8x8", MANY, tuple(f"b8x8_{z}" for z in BLOCKS), (Block(8, 8),)),
    Family("block 16x16", MANY, tuple(f"b16x16_{z}" for z in BLOCKS), (Block(16, 16),)),
    Family("nm tiles", MANY, ("nm24", "nm14", "nm48"), (Nm(2, 4), Nm(1, 4), Nm(4, 8))),
    Family("nm tokens", FEW, ("nm24", "nm14", "nm48"), (Nm(2, 4), Nm(1, 4), Nm(4, 8))),
    Family("window", FEW, ANYWHERE, (Window(32), Window(64), Window(256))),
    Family("bitmap", FEW, ("u50", "u60", "u75", "u80"), (Bitmap(),)),
    Family("quad bf16", MANY, ("b4x4_75", "b4x4_90", "b1x4_75", "b1x4_90"), (Quad(1), Quad(4)), dtype=torch.bfloat16),
    Family("baked csr", MANY, ANYWHERE, (Csr(256),), "baked_cpu"),
    Family("baked conv", (), ANYWHERE, (Csr(256),), "baked_cpu"),
    Family("dense mkl", ALL, ("u50",), ()),
    Family("dense onednn", ALL, ("u50",), ()),
    Family("dense gemv", (1, 2, 4), ("u50",), ()),
    Family("dense conv", (), ("u50",), ()),
)
HELD_OUT = ("block 16x16", "block 8x8")
HELD_OUT_SHAPES = ((2048, 2048), (4096, 1024), (768, 3072))
HELD_OUT_SIDE = 28
"""Families, shapes of linear layers and planes of convolutions that no constant of the model was taken from."""


@dataclass(frozen=True)
class CostCase:
    """One kernel at one row count."""

    family: Family
    shape: tuple[int, int]
    m: int
    pattern: str
    encoding: Encoding | None
    conv: tuple[int, int, int] | None = None

    @property
    def key(self) -> str:
        n, k = self.shape
        where = f"{n}x{k}_m{self.m}" if self.conv is None else "conv{0}_{1}x{1}_k{2}".format(*self.conv)
        kind = "" if self.encoding is None else f"_{self.encoding}"
        return f"{self.family.name} {where}_{self.pattern}{kind}".replace(" ", "_")

    @property
    def held_out(self) -> bool:
        where = self.shape in HELD_OUT_SHAPES if self.conv is None else self.conv[1] == HELD_OUT_SIDE
        return where or self.family.name in HELD_OUT

    def made(self, generator: torch.Generator) -> tuple[KernelCall, Callable[[], object]]:
        """The call that the model is asked about, and a run of its kernel."""
        weight = torch.randn(self.shape, generator=generator)
        weight = torch.where(mask(self.shape, self.pattern, generator), weight, 0.0).to(self.family.dtype)
        site = site_of(weight, self.m) if self.conv is None else _conv_site(weight, self.conv)
        call, kernel = _dense(site, self.family.name) if self.encoding is None else _sparse(site, self)
        x = site.example(self.m)
        return call, lambda: kernel(*x)


def _conv_site(weight: torch.Tensor, conv: tuple[int, int, int]) -> Site:
    channels, side, kernel = conv
    shape = ConvShape(2, channels, side, side, (kernel, kernel), padding=(kernel // 2, kernel // 2))
    weight = weight.reshape(len(weight), channels, kernel, kernel)
    rows = RowRange(shape.pixels, shape.pixels)
    return Site(0, "layer", weight, None, Epilogue(), measure(weight), "weight", None, [rows], conv=shape)


def _dense(site: Site, family: str) -> tuple[KernelCall, Kernel]:
    call = dense_call(site, site.domains[0], host_cpu().target)
    name = {"dense conv": "onednn"}.get(family, family.removeprefix("dense "))
    return replace(call, backend=f"dense.{name}"), dense_members(site)[name]


def _sparse(site: Site, case: CostCase) -> tuple[KernelCall, Kernel]:
    encoding, backend = case.encoding, BACKENDS[case.family.backend]
    assert encoding is not None
    packed = pack(site.weight, encoding, site.facts)
    sizes = encoding.exact_sizes(site.facts, as_matrix(weight_bits(site.weight)[0]))
    assert sizes is not None
    bare = Candidate(encoding, case.family.backend, (), *sizes)
    rows, target = site.domains[0], host_cpu().target
    wanted = "tokens" if case.family.name in ("nm tokens", "window", "bitmap") else ""
    offered = [
        s for s in backend.schedules(call_for(site, bare, rows, target), case.m) if wanted in dict(s) or not wanted
    ]
    call = call_for(site, replace(bare, schedule=offered[0]), rows, target)
    return call, backend.build(call, packed, site.bias, site.scale)


def cost_cases(each: int, seed: int = 5) -> list[CostCase]:
    """``each`` cases of every family."""
    draw, found = random.Random(seed), []
    for family in FAMILIES:
        names: set[str] = set()
        for _ in range(20 * each):
            if len(names) == each:
                break
            pattern = draw.choice(family.patterns)
            encoding = draw.choice(family.encodings) if family.encodings else None
            if family.name.startswith("nm"):
                encoding = {"nm24": Nm(2, 4), "nm14": Nm(1, 4), "nm48": Nm(4, 8)}[pattern]
            if encoding == Quad(4) and pattern.startswith("b1"):
                continue
            if family.rows:
                case = CostCase(
                    family, draw.choices(SHAPES, SHAPE_WEIGHTS)[0], draw.choice(family.rows), pattern, encoding
                )
            else:
                conv = draw.choice(CONVS)
                channels, side, kernel = conv
                case = CostCase(family, (channels, channels * kernel**2), side**2, pattern, encoding, conv)
            if case.key not in names:
                names.add(case.key)
                found.append(case)
    return found
