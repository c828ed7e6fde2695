"""What a file says of the devices that its model was compiled for, held against those that are here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from spcomp.artifact.archive import bad
from spcomp.artifact.records import torch_device
from spcomp.errors import ArtifactError, InputError
from spcomp.record import SlotRecord
from spcomp.targets.cuda import cuda_missing
from spcomp.targets.device import Device, Devices
from spcomp.versions import device_versions

FIELDS = ("target", "where", "name", "digest")


def saved_devices(manifest: Mapping[str, Any], path: Path, *, here: bool) -> list[Mapping[str, str]]:
    """The devices in a manifest; none for a model on the CPU.

    ``here``: the caller says what layers are planned for, and no GPU is needed. Raises :class:`ArtifactError` where one
    is and there is none: a graph with GPUs in it means nothing on the CPU.
    """
    found = manifest.get("devices", [])
    if not isinstance(found, list) or any(
        not isinstance(d, dict) or sorted(d) != sorted(FIELDS) or not all(isinstance(v, str) for v in d.values())
        for d in found
    ):
        raise bad("the manifest", f"devices that are none ({str(found)[:80]})")
    places = {torch_device(d["where"]): d["name"][:60] for d in found}
    places |= {device: places.get(device, "a GPU") for device in declared(manifest)}
    missing = cuda_missing()
    for where, name in places.items():
        if not where.startswith("cuda") or here:
            continue
        reason = missing
        if missing is None and int(where[5:]) >= torch.cuda.device_count():
            reason = f"there are {torch.cuda.device_count()} GPUs here"
        if reason is not None:
            hint = "a machine with such a GPU, or compiling the original with target='cpu'"
            raise ArtifactError(f"load {path}", f"it was compiled for {name} ({where}), and {reason}", hint)
    return found


def declared(manifest: Mapping[str, Any]) -> frozenset[str]:
    """The GPUs that a file says its layers, constants and inputs are on: its graphs may name no others."""
    found = set(saved_places(manifest).values())
    devices, programs = manifest.get("devices", []), manifest.get("programs", [])
    found |= {torch_device(d["where"]) for d in devices if isinstance(d, dict) and "where" in d}
    for program in programs if isinstance(programs, list) else ():
        signature = program.get("signature") if isinstance(program, dict) else None
        on = signature.get("devices", []) if isinstance(signature, dict) else []
        found |= {torch_device(device) for device in on} if isinstance(on, list) else set()
    return frozenset(found - {"cpu"})


def saved_places(manifest: Mapping[str, Any]) -> dict[str, str]:
    """The torch devices of constants that are not on the CPU."""
    found = manifest.get("where", {})
    if not isinstance(found, dict):
        raise bad("the manifest", "no places of constants")
    return {str(name): torch_device(where) for name, where in found.items()}


def other_device(
    saved: Sequence[Mapping[str, str]], saved_versions: object, records: Sequence[SlotRecord], devices: Devices
) -> str | None:
    """Why the saved plan is not that of the GPUs here, or None if it is."""
    if not saved:
        return None
    if saved_versions != device_versions():
        return f"saved with {str(saved_versions)[:120]}, these are {device_versions()}"
    known = {d["digest"] for d in saved}
    for record in records:
        device = devices(record.weight_name, record.where)
        if not device.host and device.digest not in known:
            return f"saved for {saved[0]['name'][:60]}, {record.layer} is on {device.name}"
    return None


def devices_here(records: Sequence[SlotRecord], devices: Devices) -> tuple[Device, ...]:
    """Those of the layers that are no CPU."""
    try:
        found = [devices(r.weight_name, r.where) for r in records]
    except InputError as error:
        raise bad("the manifest", error.found) from error
    return tuple(dict.fromkeys(d for d in found if not d.host))
