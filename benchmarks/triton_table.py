"""The table of GPU kernels in docs/gpu.md, from what ``benchmarks.triton_aot`` wrote.

python -m benchmarks.triton_table

For each version of Triton of which there is benchmarks/results/triton_aot_VERSION.json: how many kernels were compiled
for each part, and the most registers, spills and shared memory; and of the newest one the instructions of the first
schedule of each bfloat16 kernel for sm_90.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "gpu.md"
BEGIN, END = "<!-- benchmarks.triton_table -->\n", "<!-- until here -->\n"
PRODUCTS = {"wgmma": "wgmma", "mma": "mma", "mma_sp": "mma.sp", "tcgen05": "tcgen05"}


def results() -> list[dict[str, Any]]:
    """Every result there is, the newest Triton first."""
    found = [json.loads(path.read_text()) for path in (HERE / "results").glob("triton_aot_*.json")]
    return sorted(found, key=lambda r: [int(n) for n in r["notes"]["triton"].split(".")], reverse=True)


def table(found: list[dict[str, Any]]) -> str:
    """Both tables as Markdown."""
    lines = ["| Triton | Part | Kernels | Wrong | Most registers | Most shared memory, bytes | Spilled, bytes |",
             "|---|---|---|---|---|---|---|"]  # fmt: skip
    for result in found:
        by_part: dict[str, list[dict[str, int]]] = {}
        for key, counts in result["details"].items():
            by_part.setdefault(part_of(key), []).append(counts)
        for part, all_counts in by_part.items():
            most = [max(c[name] for c in all_counts) for name in ("registers", "shared_bytes", "spilled_bytes")]
            wrong = sum(part_of(key) == part for key in result["notes"].get("wrong kernels", "").split("; "))
            lines.append(f"| {result['notes']['triton']} | {part} | {len(all_counts)} | {wrong} | {most[0]} | "
                         f"{most[1]} | {most[2]} |")  # fmt: skip
    lines += ["", f"bfloat16 on sm_90 with Triton {found[0]['notes']['triton']}, the first schedule of each, counts of "
              "instructions in the PTX:", "",
              "| Kernel | Layer | Registers | Shared memory, bytes | Tensor-core products | Loads, of 16 bytes |",
              "|---|---|---|---|---|---|"]  # fmt: skip
    seen = set()
    for key, counts in found[0]["details"].items():
        name, layer = key.split(" sm_90")[0].split(" ", 1)
        if part_of(key) != "sm_90" or "bfloat16" not in layer or (name, layer) in seen:
            continue
        seen.add((name, layer))
        products = " ".join(f"{counts[kind]} {shown}" for kind, shown in PRODUCTS.items() if counts.get(kind)) or "0"
        loads, wide = (counts.get(f"load{w}", 0) + counts.get(f"async{w}", 0) for w in ("", "16"))
        lines.append(f"| `{name}` | {layer.removesuffix(' bfloat16')} | {counts['registers']} | "
                     f"{counts['shared_bytes']} | {products} | {loads}, {wide} |")  # fmt: skip
    return "\n".join(lines) + "\n"


def part_of(key: str) -> str:
    """The part in the key of a kernel; empty where there is none."""
    return next((word for word in key.split() if word.startswith(("sm_", "gfx"))), "")


def main() -> None:
    text = PAGE.read_text()
    before, rest = text.split(BEGIN)
    PAGE.write_text(before + BEGIN + table(results()) + END + rest.split(END)[1])


if __name__ == "__main__":
    main()
