"""The demo's result as one HTML file that needs nothing else: no scripts, no network."""

from __future__ import annotations

from html import escape

from spcomp.demo.result import COLUMNS, DemoResult, Row, cells
from spcomp.demo.table import describe

STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 90rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; }
th, td { padding: .25rem .6rem; text-align: right; white-space: nowrap; border-bottom: 1px solid #8884; }
th { border-bottom: 2px solid #888; }
th:nth-child(-n+2), td:nth-child(-n+2), th:last-child, td:last-child { text-align: left; }
tr.first td { border-top: 1px solid #888; }
.met { color: #19803a; } .missed { color: #c62828; font-weight: 600; }
details { margin: .5rem 0; } summary { cursor: pointer; }
.note { color: #777; }
"""
NOTES = (
    "Accuracy is of the compiled model on the 450 test images; it is compared with the same weights run eagerly.",
    "The training settings were found while looking at those test images, and there is one seed: read the accuracy as "
    "dense against pruned under equal conditions, not as how well such networks generalise.",
    "The best dense program is the fastest, at that batch size, of: spcomp's own dense compile (spcomp), "
    "best dense linear layers (oneDNN-prepacked, MKL or our GEMV) inside Inductor, torch.compile, and eager PyTorch.",
    "Speed-up is the median ratio of neighbouring runs; the lower bound is the 2.5th percentile of its bootstrapped "
    "median; A/A is the compiled program raced against itself.",
    "Bytes are all that is resident: packed weights, dense ones that some batch sizes keep, tables and generated code.",
)


def page(result: DemoResult) -> str:
    """The whole file."""
    goals = "".join(
        f'<li><span class="{"met" if goal.met else "missed"}">{"met" if goal.met else "MISSED"}</span> '
        f"{escape(describe(goal))}</li>"
        for goal in result.goals()
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>spcomp demo</title><style>{STYLE}</style></head><body>\n"
        f'<h1>spcomp demo: sparse networks on handwritten digits</h1>\n<p class="note">{escape(result.heading())}</p>\n'
        f'<div class="scroll">{_table(result)}</div>\n<h2>Goals</h2>\n<ul>{goals}</ul>\n'
        f"<h2>How to read it</h2>\n<ul>{''.join(f'<li>{escape(note)}</li>' for note in NOTES)}</ul>\n"
        f"<h2>Layer by layer</h2>\n{''.join(map(_details, result.rows))}</body></html>\n"
    )


def _table(result: DemoResult) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in COLUMNS)
    body = "".join(
        f"<tr{' class=first' if line[0] else ''}>{''.join(f'<td>{escape(cell)}</td>' for cell in line)}</tr>\n"
        for line in cells(result.rows)
    )
    return f"<table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>"


def _details(row: Row) -> str:
    programs = "".join(
        f"<tr><td>{latency.batch}</td><td></td>"
        + "".join(f"<td>{escape(name)} {ms:.2f} ms</td>" for name, ms in latency.others_ms.items())
        + "</tr>"
        for latency in row.latencies
    )
    return (
        f"<details><summary>{escape(row.model)}, {escape(row.pruning)}: {row.zeros:.1%} zeros in the pruned layers, "
        f"compiled in {row.compile_seconds:.1f} s</summary>\n"
        f"<p>Logits differ from eager by {row.error:.1e} of the largest; eager accuracy {row.eager_accuracy:.1%}.</p>\n"
        f'<div class="scroll">{row.explanation._repr_html_()}</div>\n'
        f'<p>Dense programs in the screening, by batch size:</p><div class="scroll"><table>{programs}</table></div>'
        "</details>\n"
    )
