"""Records from what ``python -m benchmarks.gpu --json FILE`` writes: every kernel that was raced, with its seconds.

A rehearsal (Triton's interpreter on a CPU) writes the same file with a mark; its times are of no device and refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spcomp.cost.database import Imported, read_file
from spcomp.cost.records import RECORD_VERSION, Record, TuningCase, TuningRecord, record_of
from spcomp.errors import InputError
from spcomp.plan import KernelCall

REHEARSED = "rehearsed"
"""The note that marks a rehearsal."""
HINT = "the JSON of a run on a GPU: python -m benchmarks.gpu --json FILE"


def read_measurements(path: Path) -> tuple[list[Record], Imported]:
    """Records of a file of lines or of a benchmark's JSON, and how many lines were none.

    Raises:
        InputError: the file cannot be read, has no record, or is a result that is no measurement.
    """
    asked = f"import {path}"
    try:
        data = json.loads(path.read_text())
    except OSError as error:
        raise InputError(asked, str(error.strerror or error), "a file that can be read") from error
    except ValueError:  # more than one line, or no JSON
        data = None
    if isinstance(data, dict) and "benchmark" in data and "details" in data:
        measured = records_of(data, asked)
        return list(measured), Imported({measured[0].case.device: len(measured)}, 0)
    found, came = read_file(path)
    if not found:
        raise InputError(
            asked, f"no record in it, {came.damaged} lines that are none", f"what --export wrote, or {HINT}"
        )
    return found, came


def raced(call: KernelCall, m: int, density: float, spread: float, cold_bytes: int, seconds: float) -> dict[str, Any]:
    """One kernel of a race as the benchmark keeps it; device and versions are the file's."""
    case = TuningCase.of(("", "", 0), m, call, density, spread, cold_bytes)
    kept = {name: value for name, value in call.to_dict().items() if name not in ("layer", "slot", "packed", "rows")}
    return {"m": m, "density": density, "spread": case.spread, "cold_bytes": cold_bytes, "call": kept,
            "seconds": seconds}  # fmt: skip


def records_of(data: Mapping[str, Any], asked: str) -> list[TuningRecord]:
    """The records of a result of ``benchmarks.gpu``.

    Raises:
        InputError: it was a rehearsal, it is of another benchmark, it names no GPU, or a kernel in it is none.
    """
    if data["benchmark"] != "gpu":
        raise InputError(asked, f"a result of the benchmark {str(data['benchmark'])[:40]!r}", HINT)
    notes, details = data.get("notes"), data["details"]
    if not isinstance(notes, dict) or not isinstance(details, dict):
        raise InputError(asked, "a result without notes and details", HINT)
    if REHEARSED in notes:
        raise InputError(asked, f"times of a rehearsal ({notes[REHEARSED]})", HINT)
    gpu = notes.get("gpu")
    if not isinstance(gpu, str) or ", torch " not in gpu:
        raise InputError(asked, "a result that names no GPU", HINT)
    device = gpu.rpartition(", torch ")[0]
    versions = notes.get("gpu_versions")
    versions = versions if isinstance(versions, str) else _versions(data.get("versions"), gpu)
    found: list[TuningRecord] = []
    for key, detail in details.items():
        for kernel in detail.get("raced", ()) if isinstance(detail, dict) else ():
            found.append(_record(kernel, device, versions, f"{asked}, {key}"))
    if not found:
        raise InputError(asked, "a result in which no kernels were raced", HINT)
    return found


def _record(kernel: Any, device: str, versions: str, asked: str) -> TuningRecord:
    whole = {"version": RECORD_VERSION, "kind": "kernel", "device": device, "versions": versions, "threads": 0}
    try:
        record = record_of({**kernel, **whole})
    except (ValueError, TypeError) as error:
        raise InputError(asked, str(error), HINT) from error
    assert isinstance(record, TuningRecord)
    return record


def _versions(found: Any, gpu: str) -> str:
    """As a compilation names them."""
    known = found if isinstance(found, dict) else {}
    if "torch" not in known:
        return gpu
    return " ".join(f"{name}={known.get(name, 'none')}" for name in ("torch", "torch-mlir", "spcomp")).replace(
        "=absent", "=none"
    )
