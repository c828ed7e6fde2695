"""`save`: parts -> manifest and tensors -> one file."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from spcomp.artifact import archive
from spcomp.artifact.graph import graph_to_json
from spcomp.artifact.pool import Pool
from spcomp.artifact.restored import write_state
from spcomp.artifact.trees import dump_tree
from spcomp.parts import Parts, Program
from spcomp.record import SlotRecord
from spcomp.targets.device import Device
from spcomp.targets.host import host_cpu
from spcomp.versions import device_versions, versions

FORMAT = "spcomp-compiled-model"
VERSION = 3


def save(parts: Parts, path: str | Path) -> Path:
    """Write a compiled model to one file, whole or not at all.

    Raises :class:`~spcomp.errors.ArtifactError` for a graph that holds what the form has no word for (naming the
    node), and for a path that cannot be written.
    """
    pool = Pool()
    held = {r.weight_name: r.weight for r in parts.slots if r.weight is not None and r.conv is None}
    tensors = {name: pool.add(f"tensors/{name}", _home(t, held.get(name))) for name, t in parts.tensors.items()}
    slots = [_slot(pool, record) for record in parts.slots]
    host = host_cpu()
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "versions": versions(),
        "host": {"digest": host.digest, "target": host.target, "model": host.model},
        "plan": json.loads(parts.plan.to_json()),
        "options": plain(parts.options),
        "decisions": [plain(d.to_dict()) for d in parts.decisions],
        "notes": list(parts.notes),
        "state": write_state(pool, parts.state),
        "whole_nbytes": parts.whole_nbytes,
        "programs": [_program(p) for p in parts.programs],
        "tensors": tensors,
        "slots": slots,
    }
    if parts.devices or parts.where:
        manifest |= {
            "devices": [device_record(d) for d in parts.devices],
            "device_versions": device_versions(),
            "where": dict(parts.where),
        }
    stored, references = pool.finish()
    return archive.write(Path(path), stored, {**manifest, "references": references})


def device_record(device: Device) -> dict[str, str]:
    """What is said of a device in a file."""
    return {"target": device.target, "where": device.where, "name": device.name, "digest": device.digest}


def _home(tensor: torch.Tensor, held: torch.Tensor | None) -> torch.Tensor:
    """A constant on the CPU: what a slot holds there already, where that is the same."""
    if tensor.device.type == "cpu":
        return tensor
    alike = held is not None and (held.shape, held.dtype) == (tensor.shape, tensor.dtype)
    return held if alike and held is not None else tensor.cpu()


def _program(program: Program) -> dict[str, Any]:
    signature = program.signature
    trees = {"in_tree": dump_tree(signature.in_tree), "out_tree": dump_tree(signature.out_tree)}
    return {
        "signature": plain({**signature.to_dict(), **trees}),
        "graph": graph_to_json(program.gm),
        "lifted": list(program.lifted),
        "hints": dict(program.hints),
        "engine": program.engine,
        "note": program.note,
    }


def _slot(pool: Pool, record: SlotRecord) -> dict[str, Any]:
    at = f"slots/{record.slot}"
    return {
        "slot": record.slot,
        "layer": record.layer,
        "weight_name": record.weight_name,
        "bias_name": record.bias_name,
        "epilogue": asdict(record.epilogue),
        "conv": None if record.conv is None else record.conv.to_dict(),
        "zero_inputs": record.zero_inputs,
        "norm": None if record.norm is None else plain(asdict(record.norm)),
        **({"experts": record.experts} if record.experts else {}),
        **({"where": record.where} if record.where != "cpu" else {}),
        "domains": [[d.lo, d.hi] for d in record.domains],
        "weight": None if record.weight is None else pool.add(f"{at}/weight", record.weight),
        "bias": None if record.bias is None else pool.add(f"{at}/bias", record.bias),
        "scale": None if record.scale is None else pool.add(f"{at}/scale", record.scale),
        "int8_scale": None if record.int8_scale is None else pool.add(f"{at}/int8_scale", record.int8_scale),
        "packed": [
            {
                "manifest": packed.manifest(),
                "buffers": {name: pool.add(f"{at}/{i}/{name}", buffer) for name, buffer in packed.buffers.items()},
            }
            for i, packed in enumerate(record.packed)
        ],
    }


def plain(data: Any) -> Any:
    """JSON-able data with every float finite: others become ``{"float": "nan"}``."""
    match data:
        case dict():
            return {key: plain(value) for key, value in data.items()}
        case list() | tuple():
            return [plain(value) for value in data]
        case float() if not math.isfinite(data):
            return {"float": str(data)}
        case _:
            return data


def unplain(data: Any) -> Any:
    """The inverse of :func:`plain`."""
    match data:
        case {"float": "nan" | "inf" | "-inf" as text, **rest} if not rest:
            return float(text)
        case dict():
            return {key: unplain(value) for key, value in data.items()}
        case list():
            return [unplain(value) for value in data]
        case _:
            return data
