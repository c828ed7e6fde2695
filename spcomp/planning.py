"""Planners: one for the CPU, one for every GPU that a model has layers on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from spcomp.codegen import dense, dense_device
from spcomp.codegen.mlir_cpu.scratch import touch
from spcomp.codegen.probe import probe
from spcomp.codegen.table import BACKENDS
from spcomp.cost.analytic import CostModel
from spcomp.cost.cache import TuneCache
from spcomp.cost.database import TuningDatabase
from spcomp.cost.device_model import DeviceModel
from spcomp.cost.device_tuner import CudaTimer, DeviceTuner
from spcomp.cost.tuner import Tuner
from spcomp.errors import InputError
from spcomp.options import Options
from spcomp.passes.base import Site
from spcomp.passes.tune import Planner
from spcomp.passes.tune_device import DevicePlanner
from spcomp.targets.device import ON_CPU, Device, Devices, devices_found
from spcomp.targets.host import host_cpu
from spcomp.targets.peaks import host_peaks
from spcomp.versions import device_versions, versions

Placed = Callable[[torch.Tensor, str], torch.Tensor]
"""(constant on the CPU, torch device) -> the same there."""


def make_planner(options: Options, total_weight_bytes: int, weights: Sequence[torch.Tensor] = ()) -> Planner:
    """A planner for this host; ``weights``: of the whole model, to cool the caches with."""
    host = host_cpu()
    cache = TuneCache(options.cache_dir) if options.cache_dir is not None else TuneCache()
    return Planner(
        backends={name: b for name, b in BACKENDS.items() if name in ON_CPU},
        target=host.target,
        model=CostModel(host, host_peaks(cache.folder, probe)),
        tuner=Tuner(host, cache, versions(), weights),
        database=TuningDatabase(cache.folder),
        best_dense=dense.best_dense,
        rewarm=touch,
        total_weight_bytes=total_weight_bytes,
        budget=options.memory_budget,
        force=options.policy == "force",
        only=options.encodings,
        quantize=options.quantize or "",
        tune=options.tune,
    )


def device_planner(options: Options, device: Device, total_weight_bytes: int, placed: Placed) -> DevicePlanner:
    """A planner for one GPU. Raises :class:`InputError` for options that GPUs have nothing for."""
    check_options(options, device)
    assert device.peaks is not None
    cache = TuneCache(options.cache_dir) if options.cache_dir is not None else TuneCache()
    timer = CudaTimer(device.where) if device.timer is None else device.timer
    return DevicePlanner(
        backends={name: BACKENDS[name] for name in device.backends},
        target=device.target,
        model=DeviceModel(device.peaks),
        tuner=DeviceTuner(device.name, device.digest, cache, device_versions(), timer, device.peaks.l2_bytes),
        database=TuningDatabase(cache.folder),
        best_dense=dense_device.best_dense,
        rewarm=lambda: None,
        total_weight_bytes=total_weight_bytes,
        budget=options.memory_budget,
        force=options.policy == "force",
        only=options.encodings,
        tune=options.tune,
        title=device.title,
        where=device.where,
        there=lambda tensor: placed(tensor, device.where),
    )


def check_options(options: Options, device: Device) -> None:
    """Raise :class:`InputError` for what was asked for and no kernel of this device does."""
    if options.quantize:
        found = f"{device.title}, whose kernels compute in floating point"
        raise InputError(f"compile with quantize={options.quantize!r}", found, "quantize=None, or target='cpu'")
    served = {key.encoding for name in device.backends for key in BACKENDS[name].capabilities()}
    if served and options.encodings is not None and not options.encodings & (served | {"dense"}):
        asked = f"restrict the encodings to {', '.join(sorted(options.encodings))} on {device.target}"
        raise InputError(asked, "kernels for the CPU alone", ", ".join(sorted(served)))


@dataclass(eq=False)
class Planners:
    """The planners of one model, made when they are first asked for."""

    options: Options
    devices: Devices
    total_weight_bytes: int
    weights: Sequence[torch.Tensor]
    placed: Placed
    _made: dict[Device, Planner] = field(default_factory=dict)

    def device(self, site: Site) -> Device:
        """What a site is planned for."""
        return self.devices(site.weight_name, site.where)

    def of(self, site: Site) -> Planner:
        """The planner of a site's device."""
        device = self.device(site)
        if device not in self._made:
            if device.host:
                made = make_planner(self.options, self.total_weight_bytes, self.weights)
            else:
                made = device_planner(self.options, device, self.total_weight_bytes, self.placed)
            self._made[device] = made
        return self._made[device]

    def keep(self, packed: set[int]) -> None:
        """Drop packed weights but those with these ids."""
        for planner in self._made.values():
            planner.packed = {key: p for key, p in planner.packed.items() if id(p) in packed}


def planners_for(
    options: Options, sites: Sequence[Site], devices: Devices = devices_found, placed: Placed | None = None
) -> Planners:
    """The planners of a model with these layers; its weights are what cools the caches between two of them."""
    distinct = {s.facts.digest: s.weight for s in sites}
    weights = list(distinct.values())
    there = placed or (lambda tensor, where: tensor.to(where))
    return Planners(options, options.devices or devices, sum(w.nbytes for w in weights), weights, there)
