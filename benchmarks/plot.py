"""Tables and plots of the results under benchmarks/results: Markdown on standard output, PNG files in docs/images.

python -m benchmarks.plot [--results FOLDER] [--images FOLDER] [--write docs/performance.md]

``--write`` puts the tables between the ``<!-- tables -->`` marks of a page. Plots need matplotlib (extra ``bench``);
without it only the tables are made.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.cpu_conv import ZEROS as CONV_ZEROS
from benchmarks.mlp import ROWS as MLP_ROWS
from benchmarks.mlp import ZEROS as MLP_ZEROS
from benchmarks.weights import PATTERNS

ROOT = Path(__file__).parent
NAMES = ("cpu_linear", "limits", "cpu_conv", "cpu_models", "cpu_models_2_threads")
REMARKS = ("parts", "method", "quick", "deepsparse", "onnxruntime")
"""Notes of a result that stand above its tables."""
MISSED = "\\*"
MARKS = ("<!-- tables -->", "<!-- /tables -->")
LINEAR = ("m1_768", "m1_4096", "m8_768", "m8_4096", "m16", "m64", "m128")
TILED = ("m16", "m64", "m128")
UNSTRUCTURED = (50, 75, 80, 90, 95)
Results = dict[str, dict[str, Any]]


def load(folder: Path) -> Results:
    """The results there are, by benchmark."""
    return {n: json.loads(p.read_text()) for n in NAMES if (p := folder / f"{n}.json").exists()}


def cell(result: dict[str, Any], key: str) -> str:
    """A figure, with its target in brackets where there is one and an asterisk where it is missed."""
    value = result["figures"].get(key)
    if value is None:
        return ""
    text = f"{value:.3g}"
    target = result["targets"].get(key)
    if target is None:
        return text
    missed = "" if target["met"] else MISSED
    return f"{text}{missed} ({target['target'].split()[-1]})"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; rows and columns without any content are left out."""
    rows = [r for r in rows if any(r[1:])]
    live = [i for i in range(len(head)) if i == 0 or any(r[i] for r in rows)]
    lines = [[head[i] for i in live], ["---"] * len(live), *([r[i] for i in live] for r in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n" if rows else "*not measured*\n"


def caption(title: str) -> str:
    return f"#### {title}\n"


def heading(result: dict[str, Any]) -> str:
    """What was measured where: every benchmark's tables stand under it."""
    found = result["versions"]
    tools = ", ".join(f"{name} {found[name]}" for name in ("torch", "torch-mlir", "onnxruntime") if name in found)
    load = result.get("load", ["?"])[0]
    threads = f"{result['threads']} thread{'s' if result['threads'] > 1 else ''}"
    where = f"{result['device']}; float32, {threads}; {tools}; {result['date']}, load average at the end {load}"
    about = [f" Note: {text}." for key, text in result.get("notes", {}).items() if key in REMARKS]
    return f"### {result['benchmark']}: {result['device'].split(',')[0]}\n\n{where}.{''.join(about)}\n"


def linear_tables(result: dict[str, Any]) -> list[str]:
    found = []
    for heat in ("hot", "cold"):
        rows = [[p, *(cell(result, f"{m}_{p}_{heat}") for m in LINEAR)] for p in PATTERNS]
        packed = [[cell(result, f"{m}_{p}_{heat}_packed") for m in TILED] for p in PATTERNS]
        rows = [[*row, *extra] for row, extra in zip(rows, packed, strict=True)]
        head = ["zeros", *LINEAR, *(f"{m} packed" for m in TILED)]
        if heat == "cold":
            laid = [[cell(result, f"{m}_{p}_cold_laid") for m in LINEAR] for p in PATTERNS]
            rows = [[*row, *extra] for row, extra in zip(rows, laid, strict=True)]
            head += [f"{m} laid down" for m in LINEAR]
        found += [caption(f"Linear layers, {heat}"), table(head, rows)]
    rates = []
    for p in PATTERNS:
        row = [p]
        for m in LINEAR:
            d = result["details"].get(f"{m}_{p}_cold")
            row.append("" if d is None else f"{d['gflops_effective_w']:.3g} / {d['gb_s']:.3g}")
        rates.append(row)
    dense = ["best dense"]
    for m in LINEAR:
        d = result["details"].get(f"{m}_u90_cold")
        dense.append("" if d is None else f"{d['dense_gflops']:.3g} / {d['dense_gb_s']:.3g}")
    found += [
        caption("What cold layers reach: GFLOP/s of nonzero weights / GB/s of weights"),
        table(["zeros", *LINEAR], [dense, *rates]),
    ]
    peers = sorted({k.partition("_over_")[2] for k in result["figures"] if "_over_" in k})
    keys = sorted({k.partition("_over_")[0] for k in result["figures"] if "_over_" in k})
    rows = [[k, *(cell(result, f"{k}_over_{p}") for p in peers)] for k in keys]
    found += [caption("Single hot layers: time of a peer over ours"), table(["layer", *peers], rows)]
    return [*found, *grid_tables(result)]


def grid_tables(result: dict[str, Any]) -> list[str]:
    pattern = re.compile(r"grid_(\d+x\d+)_m(\d+)_u(\d+)$")
    cells = [(m[1], int(m[2]), int(m[3])) for k in result["figures"] if (m := pattern.match(k))]
    found = []
    for shape in dict.fromkeys(s for s, _, _ in cells):
        zeros = sorted({z for s, _, z in cells if s == shape})
        rows = [
            [str(m), *(cell(result, f"grid_{shape}_m{m}_u{z}") for z in zeros)]
            for m in sorted({m for s, m, _ in cells if s == shape})
        ]
        title = f"The planner's choice over best dense, hot, {shape}"
        found += [caption(title), table(["M \\ zeros", *(f"{z} %" for z in zeros)], rows)]
    if cells:
        worst, below = (result["figures"][f"grid_{k}"] for k in ("worst", "below"))
        found.append(
            f"{len(cells)} cells, {below:.0f} with a lower bound below 0.97; the lowest bound is {worst:.2f}.\n"
        )
    return found


def limit_tables(result: dict[str, Any]) -> list[str]:
    """Where a target is missed: what bytes and ports allow, which share of it was reached, and the instructions."""
    figures, rows = result["figures"], []
    for key in (k.removesuffix("_ports_allow") for k in figures if k.endswith("_ports_allow")):
        d = result["details"][f"{key}_ports_allow"]
        counts = (f"{d[name]:.2f}" for name in ("instructions", "loads", "arithmetic", "lane_moves", "stores"))
        limits = (
            figures.get(f"{key.removesuffix('_packed').removesuffix('_laid')}_bytes_allow"),
            figures[f"{key}_ports_allow"],
        )
        allowed = ("" if v is None else f"{v:.3g}" for v in (*limits, figures[f"{key}_in_turn"]))
        measured = f"{d['figure']:.3g} ({d['target'].split()[-1]})" if d["target"] else f"{d['figure']:.3g}"
        kernel = d["kernel"].partition(" {")[0].replace("_cpu", "").replace(", window=128", "")
        rows.append([key, measured, *allowed, f"{figures[f'{key}_reached']:.0%}", kernel, d["busiest"], *counts])
    head = ["cell", "measured (target)", "bytes allow", "ports allow", "in turn", "reached", "kernel", "busiest"]
    counts = ["instructions", "loads", "ports 0, 5", "port 5", "stores"]
    note = "Instructions are for sixteen products: a nonzero and sixteen rows of x, or sixteen nonzeros and one.\n"
    return [caption("What this machine allows where a target is missed"), note, table([*head, *counts], rows)]


def conv_tables(result: dict[str, Any]) -> list[str]:
    names = dict.fromkeys(k.rpartition("_u")[0] for k in result["figures"] if k.startswith("conv_"))
    heats = ("hot", "cold")
    head = ["layer", *(f"{z} % {heat}" for z in CONV_ZEROS for heat in heats)]
    rows = [[n, *(cell(result, f"{n}_u{z}_{heat}") for z in CONV_ZEROS for heat in heats)] for n in ("convs", *names)]
    laid = [t for z in CONV_ZEROS for t in ("", cell(result, f"convs_u{z}_cold_laid"))]
    rows.insert(1, ["convs, laid down as one call", *laid])
    return [caption("Convolutions of ResNet-50, batch 1"), table(head, rows)]


def model_tables(result: dict[str, Any]) -> list[str]:
    figures = result["figures"]
    keys = [k for k in figures if f"{k}_error" in figures]
    rows = []
    for k in keys:
        d = result["details"].get(k, {})
        mine, dense = d.get("ours_ms"), d.get(f"{d.get('dense')}_ms")
        rows.append([k, f"{mine} ms", f"{dense} ms ({d.get('dense')})", cell(result, k), f"{d.get('lower')}"])
    head = ["model", "ours", "best dense", "times faster (target)", "lower bound"]
    found = [caption("Whole models, cold"), table(head, rows)]
    for peer in ("dense", "onnxruntime", "deepsparse"):
        rows = [[f"{m}", *(cell(result, f"mlp_m{m}_u{z}_over_{peer}") for z in MLP_ZEROS)] for m in MLP_ROWS]
        title = f"MLP 768-3072-768-3072-768, hot: {peer} over ours"
        found += [caption(title), table(["M", *(f"{z} % zeros" for z in MLP_ZEROS)], rows)]
    return found


def thread_tables(result: dict[str, Any]) -> list[str]:
    rows = [[k, cell(result, k)] for k in result["figures"]]
    return [caption("Two threads against one"), table(["model", "times faster (target)"], rows)]


MAKERS = dict(zip(NAMES, (linear_tables, limit_tables, conv_tables, model_tables, thread_tables), strict=True))


def tables(results: Results) -> str:
    """All tables as Markdown."""
    note = "Times best dense; in brackets the target, with an asterisk where it is missed.\n"
    return "\n".join([note, *(t for n, r in results.items() for t in (heading(r), *MAKERS[n](r)))])


def plots(results: Results, folder: Path) -> list[Path]:
    """Ratio against zeros, a line for each row count: one picture hot, one cold, one of convolutions."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    curves: dict[str, dict[str, list[tuple[int, float]]]] = {}
    if (linear := results.get("cpu_linear")) is not None:
        for heat in ("hot", "cold"):
            lines = {m: [(z, linear["figures"].get(f"{m}_u{z}_{heat}")) for z in UNSTRUCTURED] for m in LINEAR}
            curves[f"cpu_linear_{heat}"] = {m: [p for p in line if p[1] is not None] for m, line in lines.items()}
    if (conv := results.get("cpu_conv")) is not None:
        lines = {h: [(z, conv["figures"].get(f"convs_u{z}_{h}")) for z in CONV_ZEROS] for h in ("hot", "cold")}
        curves["cpu_conv"] = {h: [p for p in line if p[1] is not None] for h, line in lines.items()}
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for name, group in curves.items():
        figure, axes = pyplot.subplots(figsize=(7, 4.5))
        for label, line in group.items():
            if line:
                axes.plot(*zip(*line, strict=True), marker="o", label=label)
        axes.axhline(1, color="grey", linewidth=0.8)
        axes.set(xlabel="zeros, %, anywhere", ylabel="times best dense", yscale="log")
        axes.set_yticks([1, 2, 4, 8, 16], ["1", "2", "4", "8", "16"])
        device = results["cpu_linear" if "linear" in name else "cpu_conv"]["device"].split(",")[0]
        axes.set_title(f"{name}: {device}, one thread, float32", fontsize=10)
        if any(group.values()):
            axes.legend()
        path = folder / f"{name}.png"
        figure.savefig(path, dpi=100, bbox_inches="tight", metadata={"Software": None})
        pyplot.close(figure)
        made.append(path)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=ROOT / "results")
    parser.add_argument("--images", type=Path, default=ROOT.parent / "docs" / "images")
    parser.add_argument("--write", type=Path, default=None, help="a page whose tables are replaced")
    options = parser.parse_args()
    results = load(options.results)
    text = tables(results)
    print(text)
    if options.write is not None:
        page = options.write.read_text()
        before, after = page.split(MARKS[0])[0], page.split(MARKS[1])[1]
        options.write.write_text(f"{before}{MARKS[0]}\n{text}{MARKS[1]}{after}")
    if importlib.util.find_spec("matplotlib") is None:
        print("no plots: matplotlib absent (pip install -e '.[bench]')")
        return
    for path in plots(results, options.images):
        print(path)


if __name__ == "__main__":
    main()
