"""Kernels compiled for GPUs that are not here: no spills, memory within limits, tensor cores, wide loads."""

from __future__ import annotations

import importlib.util

import pytest

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs triton")

PARTS = ("sm_80", "sm_90", "sm_100", "gfx942")


@pytest.mark.parametrize("encoding", ["block", "bitmap", "csr", "nm", "vnm", "experts", "conv"])
@pytest.mark.parametrize("part", PARTS)
def test_kernels_fit(part: str, encoding: str) -> None:
    """bfloat16; the other dtypes are in ``python -m benchmarks.triton_aot``."""
    from benchmarks.triton_aot import QUICK, launches, wrong_with
    from spcomp.codegen.triton.aot import PARTS as KNOWN
    from spcomp.codegen.triton.aot import compiled

    wrong, seen = [], 0
    for layer in QUICK:
        if not str(layer).startswith(encoding) or layer.encoding == "block(rows=32, cols=32)":
            continue
        for schedule, launch in list(launches(layer, part))[:2]:
            found = compiled(launch, KNOWN[part])
            seen += 1
            assert found.registers > 0
            assert found.instructions["load"] + found.instructions.get("async", 0) > 0
            wrong += [f"{launch.name} {layer} {schedule}: {what}" for what in wrong_with(found, layer)]
    assert seen >= 1
    assert not wrong, "\n".join(wrong)


def test_many_rows_use_warpgroup_products_and_asynchronous_copies_of_16_bytes() -> None:
    from benchmarks.triton_aot import Layer, launches
    from spcomp.codegen.triton.aot import PARTS as KNOWN
    from spcomp.codegen.triton.aot import compiled

    _, launch = next(iter(launches(Layer("block(rows=64, cols=64)", 4096), "sm_90")))
    found = compiled(launch, KNOWN["sm_90"])
    assert found.instructions["wgmma"] >= 4
    assert found.instructions["mma"] == 0
    assert found.instructions["async16"] >= 12
    assert found.instructions["load"] <= 20  # indices and the bias: x and W come by asynchronous copies alone
    tile_bytes = (128 + 64) * 64 * 2
    assert found.shared_bytes >= 3 * tile_bytes  # three tiles in flight


@pytest.mark.parametrize("part", ["sm_80", "sm_90", "sm_100"])
def test_fragments_lie_lane_by_lane(part: str) -> None:
    """Element i of what goes into mma.sp is in lane i % 32 of warp i // 32, and is loaded there: nothing is moved."""
    import re

    from benchmarks.triton_aot import Layer, launches
    from spcomp.codegen.triton.aot import PARTS as KNOWN
    from spcomp.codegen.triton.aot import compiled

    found = next(launch for _, launch in launches(Layer("vnm(v=64, m=8)", 64), part) if launch.name == "vnm_sparse")
    made = compiled(found, KNOWN[part])
    assert made.instructions["mma_sp"] >= 8
    assert made.instructions["load16"] >= 9  # values, and eight chosen columns of x
    assert made.instructions["shared"] == 0
    assert "shfl" not in made.text
    assert "mma.sp::ordered_metadata.sync.aligned.m16n8k32.row.col.f32.bf16.bf16.f32" in made.text
    lane_by_lane = "sizePerThread = [1], threadsPerWarp = [32], warpsPerCTA = [4], order = [0]"
    (name,) = re.findall(rf"^(#\w+) = #ttg\.blocked<{{{re.escape(lane_by_lane)}", made.layouts, re.MULTILINE)
    products = [line for line in made.layouts.splitlines() if "elementwise_inline_asm" in line]
    assert len(products) >= 8
    assert all(set(re.findall(r"tensor<128x\w+, (#\w+)>", line)) == {name} for line in products)


def test_bits_are_counted_by_one_instruction() -> None:
    """LLVM knows the sum for what it is."""
    from benchmarks.triton_aot import Layer, launches
    from spcomp.codegen.triton.aot import PARTS as KNOWN
    from spcomp.codegen.triton.aot import compiled

    _, launch = next(iter(launches(Layer("bitmap", 1), "sm_90")))
    found = compiled(launch, KNOWN["sm_90"]).instructions
    assert found["popc"] == 4  # of 16 rows and 256 columns, eight a lane, by 128 lanes: one for each
    assert found["load16"] >= 4


def test_what_does_not_compile_says_so() -> None:
    from dataclasses import replace

    from benchmarks.triton_aot import Layer, launches
    from spcomp.codegen.triton.aot import PARTS as KNOWN
    from spcomp.codegen.triton.aot import compiled
    from spcomp.errors import KernelError

    _, launch = next(iter(launches(Layer("bitmap", 1), "sm_90")))
    broken = replace(launch, constants={**launch.constants, "BLOCK_N": 3})
    with pytest.raises(KernelError, match="compile bitmap_rows for sm_90"):
        compiled(broken, KNOWN["sm_90"])
