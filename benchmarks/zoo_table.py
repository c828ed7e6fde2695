"""The coverage table that ``benchmarks.zoo`` writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.harness import Benchmark, device, versions
from benchmarks.zoo_models import Entry

TOLERANCE = 1e-4
HEAD = """\
# Which architectures compile

Written by `python -m benchmarks.zoo --write docs/coverage.md`; the figures are in `benchmarks/results/zoo.json`, from
one run, or several (`--only`), on one shared, busy machine: the seconds are of little use. Small configurations
(128 wide, two layers) with random weights. *90 % zeros*: all weights but embeddings and norms, at random. *40 %
channels*: the first two fifths of the inner channels of feed-forward parts, of heads, and of the channels of
convolutions with their BatchNorm. The rest of each graph runs eagerly here (`engine="eager"`: forty compilations by
Inductor would take most of an hour), CSR is the only encoding that is tried, and nothing is timed against dense
programs (`guard=False`), so that *layers sparse* says what won layer by layer, at these small sizes. *Static* is a
batch of two; *dynamic* was compiled with batches of two and three and run at one, two, three and five (first variant
only). The error is the largest over all of these runs, and over the same runs of the saved and loaded model: max|y -
y eager| / max|y eager|, float32 both.

A decoder of `transformers` with `use_cache=True` takes and returns its `DynamicCache` (*+cache* below); it may be given
the cache as plain tensors as well (*step* below; `Step` in `benchmarks/zoo_models.py`).
"""


def failed(found: Mapping[str, Any], variants: Sequence[str]) -> bool:
    """Whether anything of an architecture raised, crashed or is wrong; a capture that failed is torch.export's."""
    kinds = [what for variant in variants for what in found.get(variant, {"": {"crashed": True}}).values()]
    wrong = any(
        w in what for what in kinds for w in ("raised", "crashed")
    ) or any(max(what.get("error", 0.0), what.get("loaded", 0.0)) > TOLERANCE for what in kinds)  # fmt: skip
    return wrong or "note" in found or any(what.get("state") is False for what in kinds)


def _word(what: Mapping[str, Any]) -> str:
    if "ok" in what:
        return "yes" if max(what["error"], what.get("loaded", 0.0)) <= TOLERANCE else "**wrong**"
    if not what:
        return ""
    return "no" if "capture" in what else "**crash**" if "crashed" in what else "**raises**"


def _note(kinds: Mapping[str, Mapping[str, Any]], note: str) -> str:
    said = [note] if note else []
    for kind in ("static", "dynamic", "dynamo"):
        what = kinds.get(kind, {})
        text = what.get("capture") or what.get("raised") or ""
        if text:
            said.append(f"{kind}: {_construct(text)}")
        if kind == "static" and "saved" in what:
            said.append(f"cannot be saved: {what['saved'].partition(':')[0]}")
        if kind == "static" and isinstance(what.get("state"), str):
            said.append(f"no `state_dict()`: {what['state'].partition(' were cut')[0]} were cut")
        if kind == "dynamo" and "ok" in what:
            pieces = ", ".join(f"{n} {p}" for p, n in what["pieces"].items())
            said.append(f"`torch.compile`: yes ({pieces}; error {what['error']:.0e})")
    return "; ".join(said).replace("|", "\\|")


def _construct(text: str) -> str:
    """What a capture stumbled over, without what was asked and what to try."""
    text = text.partition("with torch.export: ")[2] or text
    text = text.partition(" Try: ")[0].partition("The following call raised")[0]
    return " ".join(text.split())[:160]


def _reasons(kinds: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for reason in kinds.get("static", {}).get("dense because", {}).values():
        short = _general(reason)
        found[short] = found.get(short, 0) + 1
    return found


def _general(reason: str) -> str:
    """A reason without its figures."""
    return "".join("" if c.isdigit() else c for c in reason).replace(" . ", " ").strip()[:90]


def table(
    bench: Benchmark, names: Sequence[str], entries: Mapping[str, Entry], variants: Sequence[str]
) -> str:  # fmt: skip
    """The page: what was run, a row for every architecture and variant, and why layers stay dense."""
    found = {v: versions()[v] for v in ("python", "torch", "torch-mlir", "transformers")}
    columns = ("architecture", "task", "zeros", "exported", "static", "dynamic", "layers sparse", "bytes / dense",
               "max error", "seconds", "note")  # fmt: skip
    lines = [
        HEAD,
        f"{', '.join(f'{k} {v}' for k, v in found.items())}; {device()}.",
        "",
        f"| {' | '.join(columns)} |",
        f"|{'---|' * len(columns)}",
    ]
    for name in names:
        for variant in variants:
            kinds = bench.details[name].get(variant, {})
            lines.append(_row(name, entries[name].task, variant, kinds, bench.details[name].get("note", "")))
    reasons: dict[str, int] = {}
    for name in names:
        for variant in variants:
            for reason, count in _reasons(bench.details[name].get(variant, {})).items():
                reasons[reason] = reasons.get(reason, 0) + count
    lines += ["", "Why layers stay dense (static; figures left out):", "", "| layers | reason |", "|---|---|"]
    lines += [f"| {count} | {reason} |" for reason, count in sorted(reasons.items(), key=lambda p: -p[1])]
    return "\n".join(lines) + "\n"


def _row(name: str, task: str, variant: str, kinds: Mapping[str, Any], note: str) -> str:
    static, dynamic = kinds.get("static", {"crashed": True}), kinds.get("dynamic", {})
    done = static if "ok" in static else dynamic
    errors = [max(w["error"], w.get("loaded", 0.0)) for w in kinds.values() if "ok" in w]
    cells = (
        name, task, variant, "no" if "capture" in static else "yes", _word(static), _word(dynamic),
        f"{done['sparse']}/{done['layers']}" if "ok" in done else "", f"{done['bytes']:.2f}" if "ok" in done else "",
        f"{max(errors):.0e}" if errors else "", f"{done['seconds']:.1f}" if "ok" in done else "", _note(kinds, note),
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"
