"""The host's measured peaks, remembered on disk beside the tuning cache."""

from __future__ import annotations

import functools
import json
import logging
from dataclasses import asdict
from pathlib import Path

from spcomp.targets.host import Peaks, host_cpu, measure_peaks

log = logging.getLogger("spcomp.targets")


@functools.cache
def host_peaks(folder: Path) -> Peaks:
    """Measured once per host; read from ``folder`` afterwards. An unreadable or unwritable file costs 0.5 s again."""
    path = folder / f"peaks-{host_cpu().digest}.json"
    try:
        found = Peaks(**json.loads(path.read_text()))
        if min(asdict(found).values()) > 0:
            return found
    except (OSError, ValueError, TypeError) as error:
        log.debug("no measured peaks in %s: %s", path, error)
    found = measure_peaks()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(asdict(found)))
        temporary.replace(path)
    except OSError as error:
        log.debug("cannot remember the peaks: %s", error)
    return found
