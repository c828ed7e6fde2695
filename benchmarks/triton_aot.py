"""GPU kernels compiled for GPUs that are not here: registers, spills, shared memory, instructions.

python -m benchmarks.triton_aot [--quick] [--parts sm_90,gfx942] [--json FILE]

One line a kernel and part. ``spills``: bytes a thread keeps outside registers. ``shared``: bytes of a program. Counts
are of instructions in the text (PTX, or AMD assembly), loops not multiplied out: ``tensor`` products on tensor cores
(wgmma, mma, tcgen05, mfma), ``16 B`` loads of 16 bytes, cp.async included, of all ``loads`` from global memory.
Needs Triton, no GPU.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
import triton

from benchmarks.harness import Benchmark, Target, arguments
from spcomp.codegen.cusparselt.quantized import MOST, PRODUCTS
from spcomp.codegen.triton.aot import PARTS, Compiled, compiled
from spcomp.codegen.triton.backend import kernel_of
from spcomp.codegen.triton.conv_layer import BlocksConv
from spcomp.codegen.triton.ending_layer import ending, quantising
from spcomp.codegen.triton.expert_layer import GroupedBlocks
from spcomp.codegen.triton.launch import Launch
from spcomp.codegen.triton.schedules import for_amd, nvidia_alone, schedules_of
from spcomp.conv_shape import ConvShape
from spcomp.encodings.bitmap import Bitmap
from spcomp.encodings.block import Block
from spcomp.encodings.pack import TORCH_DTYPES, PackedTensor, pack
from spcomp.encodings.spec import ITEM_BYTES, Encoding
from spcomp.encodings.table import parse_encoding
from spcomp.plan import Epilogue, KernelCall, RowRange
from spcomp.sparsity.measure import measure

N, K = 1024, 2048
MULTIPROCESSORS = 132
TENSOR = ("wgmma", "mma", "mma_sp", "tcgen05")


@dataclass(frozen=True)
class Layer:
    """A layer to compile kernels for, at M rows."""

    encoding: str
    m: int
    dtype: str = "bfloat16"
    op: str = "linear"
    """``experts``: eight of them; ``conv``: of 3 x 3 taps over 56 x 56 pixels; ``library``: what cuSPARSELt's product
    needs before and after it."""

    def __str__(self) -> str:
        short = re.sub(r"(rows|cols|n|m|v)=", "", self.encoding)
        return f"{'' if self.op == 'linear' else self.op + ' '}{short} M={self.m} {self.dtype}"


LAYERS = tuple(
    Layer(encoding, m, dtype)
    for dtype in ("bfloat16", "float16", "float32")
    for encoding, rows in (
        ("block(rows=64, cols=64)", (1, 16, 4096)), ("block(rows=32, cols=32)", (1, 16, 4096)),
        ("block(rows=16, cols=16)", (1, 16, 4096)), ("block(rows=128, cols=128)", (16, 4096)),
        ("bitmap", (1, 16, 256)), ("csr(block_columns=65536)", (1, 16, 256)), ("nm(n=2, m=4)", (1, 16, 256)),
        ("nm(n=4, m=8)", (1, 16)), ("vnm(v=64, m=8)", (1, 16, 64, 4096)), ("vnm(v=64, m=4)", (1,)),
    )
    for m in rows
) + tuple(
    Layer("block(rows=64, cols=64)", 256, dtype, op)
    for dtype in ("bfloat16", "float16", "float32") for op in ("experts", "conv")
) + tuple(Layer("nm(n=2, m=4)", 256, dtype, "library") for dtype in ("bfloat16", "float16", "float32"))  # fmt: skip
QUICK = tuple(layer for layer in LAYERS if layer.dtype == "bfloat16")
WIDE = (
    "blocks_many", "blocks_grouped", "blocks_conv", "blocks_few", "bitmap_rows", "nm_rows", "csr_one", "csr_many",
    "vnm_sparse", "vnm_one", "vnm_many", "tokens_last", "add_parts", "quantize_rows", "end_rows",
)  # fmt: skip
"""Kernels that must load 16 bytes at a time: all of them."""


def launches(layer: Layer, part: str) -> Iterator[tuple[str, Launch]]:
    """Every launch of every schedule for this part: the schedule and it."""
    encoding = parse_encoding(layer.encoding)
    call, packed = example(encoding, layer)
    if layer.op != "linear":
        yield from _others(layer, call, packed, part)
        return
    seen = set()
    amd = PARTS[part].target.backend == "hip"
    for schedule in schedules_of(call, layer.m, MULTIPROCESSORS):
        if amd and nvidia_alone(schedule):
            continue
        schedule = for_amd(schedule) if amd else schedule
        kernel = kernel_of(replace(call, schedule=schedule), packed, torch.zeros(N, dtype=TORCH_DTYPES[layer.dtype]),
                           torch.device("cpu"))  # fmt: skip
        for launch in kernel.example(layer.m):
            key = (launch.name, tuple(sorted(launch.constants.items())), launch.warps, launch.stages)
            if key not in seen:
                seen.add(key)
                yield " ".join(f"{name}={value}" for name, value in schedule), launch


def _others(layer: Layer, call: KernelCall, packed: PackedTensor, part: str) -> Iterator[tuple[str, Launch]]:
    """Launches of what is no plain linear layer."""
    dtype, cpu = TORCH_DTYPES[layer.dtype], torch.device("cpu")
    if layer.op == "library":
        yield from _library(layer, part)
        return
    if layer.op == "experts":
        grouped = GroupedBlocks(call, packed, torch.zeros(8, N // 8, dtype=dtype), 8, cpu)
        x, y = torch.empty(layer.m, K, dtype=dtype), torch.empty(layer.m, N // 8, dtype=dtype)
        launch = grouped.launch(x, torch.zeros(9, dtype=torch.int32), None, y)
        if PARTS[part].target.backend == "hip":
            launch = replace(launch, stages=2, constants={**launch.constants, "STAGES": 2})
        yield "", launch
        return
    conv = ConvShape(2, 64, 56, 56, (3, 3), padding=(1, 1))
    call = replace(call, op="conv", conv=conv, k=conv.k, n=128)
    for schedule in schedules_of(call, layer.m, MULTIPROCESSORS):
        schedule = for_amd(schedule) if PARTS[part].target.backend == "hip" else schedule
        kernel = BlocksConv(replace(call, schedule=schedule), packed, torch.zeros(128, dtype=dtype), cpu)
        y = torch.empty(1, 128, 56, 56, dtype=dtype)
        launch = kernel.launch(torch.empty(1, 64, 56, 56, dtype=dtype), None, y)
        yield " ".join(f"{name}={value}" for name, value in schedule), launch


def _library(layer: Layer, part: str) -> Iterator[tuple[str, Launch]]:
    """Rows rounded to one byte (float8 where there is one), and the end of the layer in place; for NVIDIA's alone."""
    dtype, scale = TORCH_DTYPES[layer.dtype], torch.zeros(N)
    x, y = torch.zeros(layer.m, K, dtype=dtype), torch.zeros(layer.m, N, dtype=dtype)
    for small, most in MOST.items():
        if PARTS[part].target.backend == "hip" or (small is torch.float8_e4m3fn and part == "sm_80"):
            continue
        yield f"to {small}", quantising(x, torch.zeros(layer.m, K, dtype=small), scale[: layer.m], most, 1.0)
        product = PRODUCTS[small].get(layer.dtype)
        if product is not None:
            made = torch.zeros(layer.m, N, dtype=product)
            yield f"of {small}", ending(made, scale, scale[: layer.m], y[0], y, y, "gelu")


def example(encoding: Encoding, layer: Layer) -> tuple[KernelCall, PackedTensor]:
    """A call with a few nonzeros where the encoding wants them (bitmaps: half), and its packed weight."""
    weight = torch.zeros(N, K, dtype=TORCH_DTYPES[layer.dtype])
    if isinstance(encoding, Bitmap):  # how many there are decides its space
        weight.copy_(torch.rand(N, K, generator=torch.Generator().manual_seed(0)) < 0.5)
    else:
        step = max(encoding.rows, encoding.cols) if isinstance(encoding, Block) else 16
        weight[::step, ::step] = 1.0
    facts = measure(weight)
    packed = pack(weight, encoding, facts)
    call = KernelCall(
        "layer", 0, RowRange(layer.m, layer.m), N, K, layer.dtype, encoding, facts.nonzeros,
        encoding.stored_values(facts) or packed.buffers["values"].numel(), packed.nbytes, packed.digest,
        Epilogue(True, "gelu"), "triton", "cuda",
    )  # fmt: skip
    assert packed.buffers["values"].element_size() == ITEM_BYTES[layer.dtype]
    return call, packed


def wrong_with(found: Compiled, layer: Layer) -> list[str]:
    """What a compiled kernel misses of what all must have."""
    wrong = []
    counts = found.instructions
    if found.spilled:
        wrong.append(f"{found.spilled} bytes spilled")
    if found.shared_bytes > PARTS[found.part].shared_limit_bytes:
        wrong.append(f"{found.shared_bytes} bytes of shared memory")
    if found.part == "sm_90" and found.name == "blocks_many" and layer.dtype != "float32" and not counts["wgmma"]:
        wrong.append("no wgmma")
    if found.name == "vnm_sparse" and not counts["mma_sp"]:
        wrong.append("no products of sparse tensor cores")
    if found.name == "vnm_sparse" and counts["shared"]:
        wrong.append("fragments that go through shared memory")
    if found.name in WIDE and not counts["load16"] + counts.get("async16", 0):
        wrong.append("no loads of 16 bytes")
    return wrong


def main() -> None:
    options = arguments(__doc__ or "", parts={"default": ",".join(PARTS), "help": "GPUs, separated by commas"})
    targets = {"wrong": Target(0, "<=")}
    bench = Benchmark("triton_aot", targets, options.threads)
    bench.notes["triton"] = triton.__version__
    total, bad = 0, list[str]()
    head = f"{'kernel':<12} {'layer':<40} {'part':<7} {'regs':>5} {'spills':>6} {'shared':>7} {'tensor':>6} {'fma':>5}"
    print(f"{head} {'loads':>5} {'16 B':>5} {'stores':>6}  schedule")
    for layer in QUICK if options.quick else LAYERS:
        for part in options.parts.split(","):
            for schedule, launch in launches(layer, part):
                found = compiled(launch, PARTS[part])
                counts = found.instructions
                tensor = sum(counts.get(kind, 0) for kind in TENSOR)
                loads, wide = counts["load"] + counts.get("async", 0), counts["load16"] + counts.get("async16", 0)
                wrong = wrong_with(found, layer)
                total += len(wrong)
                bad += [f"{launch.name} {layer} {part} {schedule}"] * bool(wrong)
                print(
                    f"{launch.name:<12} {layer!s:<40} {part:<7} {found.registers:>5} {found.spilled:>6} "
                    f"{found.shared_bytes:>7} {tensor:>6} {counts['fma']:>5} {loads:>5} {wide:>5} {counts['store']:>6}"
                    f"  {schedule}  {'; '.join(wrong)}",
                    flush=True,
                )
                key = f"{launch.name} {layer} {part} {schedule}"
                bench.details[key] = {
                    "registers": found.registers, "spilled_bytes": found.spilled, "shared_bytes": found.shared_bytes,
                    **{kind: count for kind, count in counts.items() if count},
                }  # fmt: skip
        bench.save(options.json)
    bench.notes["wrong kernels"] = "; ".join(bad)
    bench.report(
        "wrong", total, "kernels that spill, ask for too much shared memory, or lack what is named beside them"
    )
    bench.finish(options.json)


if __name__ == "__main__":
    main()
