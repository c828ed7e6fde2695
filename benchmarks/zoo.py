"""Does it compile, and is it right: some forty architectures, small, with random weights and zeros in them.

python -m benchmarks.zoo [--quick] [--only NAMES] [--write docs/coverage.md]

Two variants each: 90 % of all weights zeroed at random, and 40 % of channels and heads zeroed where a network has
them. Each is compiled at a batch of two, and again with the batch dynamic (a batch of one included), compared with
eager in float32, saved and loaded (the second variant with a batch of two alone). The rest of each graph runs eagerly
(compiling it with Inductor would take most of an hour), CSR is the one encoding that is tried, and nothing is timed
against dense programs. Where torch.export fails, ``torch.compile`` with spcomp as its backend is tried. Each
architecture has a process of its own and a time limit: what crashes or hangs is a row of the table. ``--quick`` takes
two, one variant. ``--only`` leaves the other rows of ``--json FILE`` as they were.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.harness import Benchmark, Target, arguments, pin
from benchmarks.zoo_models import ZOO, Entry, scatter_zeros_, zero_channels_
from benchmarks.zoo_table import failed, table

LIMIT_S = 240
QUICK = ("llama", "cnn mobilenet")
VARIANTS = {"90 % zeros": scatter_zeros_, "40 % channels": zero_channels_}
KINDS = {"static": (2,), "dynamic": (2, 3, 1, 5)}
OPTIONS: dict[str, Any] = {"engine": "eager", "guard": False, "encodings": ("csr",)}
TARGETS = {"failed": Target(0, "<="), "max_error": Target(1e-4, "<=")}


def difference(found: Any, wanted: Any) -> float:
    """Largest max|a - b| / max|b| of two results of tensors; infinite where their structures differ."""
    pairs = [torch.utils._pytree.tree_leaves(_plain(value)) for value in (found, wanted)]
    if len(pairs[0]) != len(pairs[1]):
        return float("inf")
    worst = 0.0
    for a, b in zip(*pairs, strict=True):
        if not isinstance(b, Tensor):
            continue
        if a.shape != b.shape or a.dtype != b.dtype:
            return float("inf")
        if b.numel() and not torch.equal(a, b):
            off = float((a.double() - b.double()).abs().max() / b.double().abs().max().clamp(min=1e-30))
            worst = max(worst, off if off == off else float("inf"))
    return worst


def _plain(value: Any) -> Any:
    """Caches of ``transformers`` as tuples."""
    if hasattr(value, "layers") and hasattr(value, "get_seq_length"):
        return [(layer.keys, layer.values) for layer in value.layers]
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value


def worst_error(compiled: Any, model: nn.Module, entry: Entry, batches: tuple[int, ...]) -> float:
    worst = 0.0
    with torch.no_grad():
        for seed, batch in enumerate(batches):
            torch.manual_seed(100 + seed)
            given = entry.inputs(batch)
            worst = max(worst, difference(compiled(**given), model(**given)))
    return worst


def state_kept(compiled: Any, model: nn.Module) -> bool | str:
    """Whether the compiled model gives the original's state, bit by bit; or why it gives none."""
    from spcomp.errors import StateError

    try:
        own = compiled.state_dict()
    except StateError as error:
        return error.found
    return all(k in own and torch.equal(v, own[k]) for k, v in model.state_dict().items())


def said(error: BaseException) -> str:
    """An exception in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:400]}"


def attempt(model: nn.Module, entry: Entry, batches: tuple[int, ...], folder: Path) -> dict[str, Any]:
    """Compile at the first batches, compare at all of them, save and load."""
    import spcomp
    from spcomp.errors import ArtifactError, CaptureError

    torch.manual_seed(1)
    examples = [entry.inputs(b) for b in (batches[:2] if len(batches) > 1 else batches)]
    start = time.perf_counter()
    try:
        compiled = spcomp.compile(model, *examples, cache_dir=folder / "cache", **OPTIONS)
    except CaptureError as error:
        return {"capture": said(error)}
    except Exception as error:  # whatever it is, it is a row
        return {"raised": said(error)}
    seconds = time.perf_counter() - start
    try:
        found: dict[str, Any] = {"ok": True, "seconds": seconds, "error": worst_error(compiled, model, entry, batches)}
        decisions = compiled.explain().decisions
        found["sparse"], found["layers"] = sum(d.sparse for d in decisions), len(decisions)
        found["dense because"] = {d.layer: d.reason for d in decisions if not d.sparse}
        found["bytes"] = compiled.nbytes / compiled.dense_nbytes
        found["state"] = state_kept(compiled, model)
        try:
            saved = compiled.save(folder / "model.spc")
        except ArtifactError as error:
            found["saved"] = error.found
        else:
            found["loaded"] = worst_error(spcomp.load(saved), model, entry, batches)
    except Exception as error:
        found = {"raised": said(error), "seconds": seconds}
    return found


def through_dynamo(model: nn.Module, entry: Entry) -> dict[str, Any]:
    """``torch.compile`` with spcomp as its backend: how many of its graphs were compiled."""
    import spcomp.dynamo

    pieces = []

    def backend(gm: Any, inputs: Any) -> Any:
        try:
            made = spcomp.dynamo.spcomp_backend(gm, inputs, **OPTIONS)
        except Exception as error:
            pieces.append(said(error))
            raise
        pieces.append("compiled" if made.__qualname__.startswith("_compile") else "dense")
        return made

    try:
        error = worst_error(torch.compile(model, backend=backend), model, entry, (2,))
    except Exception as raised:
        return {"raised": said(raised), "pieces": Counter(pieces)}
    return {"ok": True, "error": error, "pieces": Counter(pieces)}


def child(name: str, variants: list[str], threads: int) -> None:
    """One architecture; a line of JSON after every step, so that a crash leaves what came before."""
    pin(threads)
    entry = ZOO[name]
    for variant in variants:
        model = entry.build()
        VARIANTS[variant](model)
        for kind, batches in KINDS.items() if variant == next(iter(VARIANTS)) else (("static", KINDS["static"]),):
            print(json.dumps([variant, kind, {"crashed": True}]), flush=True)
            with tempfile.TemporaryDirectory() as folder:
                found = attempt(model, entry, batches, Path(folder))
            print(json.dumps([variant, kind, found]), flush=True)
            if kind == "static" and "capture" in found:
                print(json.dumps([variant, "dynamo", {"crashed": True}]), flush=True)
                print(json.dumps([variant, "dynamo", through_dynamo(model, entry)]), flush=True)


def run(name: str, variants: list[str], threads: int) -> dict[str, Any]:
    """``child`` in a process of its own: {variant: {static, dynamic, dynamo}}."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.zoo", "--child", name, "--threads", str(threads)]
    note = ""
    try:
        done = subprocess.run(
            [*command, "--variants", ",".join(variants)], capture_output=True, text=True, timeout=LIMIT_S,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )  # fmt: skip
        text = done.stdout
        if done.returncode:
            note = f"the process ended with {done.returncode}: {done.stderr.strip()[-300:]}"
    except subprocess.TimeoutExpired as error:
        text = error.stdout.decode() if isinstance(error.stdout, bytes) else error.stdout or ""
        note = f"stopped after {LIMIT_S} s"
    found: dict[str, Any] = {}
    for line in text.splitlines():
        if line.startswith("[") and line.endswith("]"):
            variant, kind, what = json.loads(line)
            found.setdefault(variant, {})[kind] = what
    if note:
        found["note"] = note
    return found


def main() -> None:
    options = arguments(
        __doc__ or "",
        only={"default": None, "help": "names, comma-separated"},
        write={"type": Path, "default": None, "help": "write the table here, as Markdown"},
        child={"default": None},
        variants={"default": ",".join(VARIANTS)},
    )
    variants = options.variants.split(",")
    if options.child:
        child(options.child, variants, options.threads)
        return
    bench = Benchmark("zoo", TARGETS, options.threads)
    variants = variants[:1] if options.quick else variants
    names = options.only.split(",") if options.only else QUICK if options.quick else tuple(ZOO)
    if options.only and options.json is not None and options.json.exists():
        before = json.loads(options.json.read_text())
        bench.figures, bench.notes, bench.details = before["figures"], before["notes"], before["details"]
    for name in names:
        start = time.perf_counter()
        found = run(name, variants, options.threads)
        bench.details[name] = found
        errors = [what.get("error", 0.0) for v in variants for what in found.get(v, {}).values()]
        bench.report(f"{name}: error", max(errors, default=float("nan")), "; ".join(_lines(found)))
        bench.report(f"{name}: seconds", time.perf_counter() - start)
        bench.save(options.json)
    names = tuple(name for name in ZOO if name in bench.details)
    bench.report("architectures", len(names))
    bench.report(
        "exported", sum("capture" not in bench.details[n].get(variants[0], {}).get("static", {}) for n in names)
    )
    bench.report("failed", sum(failed(bench.details[n], variants) for n in names))
    bench.report("max_error", max((bench.figures[f"{n}: error"] for n in names), default=0.0))
    if options.write is not None:
        options.write.write_text(table(bench, names, ZOO, variants))
    bench.finish(options.json)


def _lines(found: dict[str, Any]) -> list[str]:
    """What went wrong, in words."""
    said = [found["note"]] if "note" in found else []
    for variant, kinds in found.items():
        for kind, what in kinds.items() if variant != "note" else ():
            if "ok" in what:
                said.append(f"{what.get('sparse', '')}/{what.get('layers', '')}")
            for word in ("raised", "capture", "crashed"):
                if word in what:
                    said.append(f"{variant}, {kind}: {word} {what[word]}")
            if what.get("state") is False or what.get("loaded", 0.0) > 1e-3:
                said.append(f"{variant}, {kind}: state {what.get('state')}, loaded {what.get('loaded')}")
    return said


if __name__ == "__main__":
    main()
