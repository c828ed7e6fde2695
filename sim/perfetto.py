"""Timelines as Chrome's trace JSON, which ui.perfetto.dev opens.

Source: Chromium's "Trace Event Format": complete events (``X``), counters (``C``), names of tracks (``M``).
Its times are microseconds; the exact femtoseconds stand in ``args``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from spcomp.errors import InputError
from spcomp.sim.timeline import Timeline

FS_PER_US = 10**9


def trace_events(timeline: Timeline, process: str = "spcomp") -> dict[str, Any]:
    """The JSON object of a timeline. Tracks are numbered in the order in which they first did something."""
    tracks: dict[str, int] = {}
    events: list[dict[str, Any]] = [{"ph": "M", "name": "process_name", "pid": 1, "args": {"name": process}}]
    for s in timeline.slices:
        if s.track not in tracks:
            tracks[s.track] = len(tracks) + 1
            name = {"name": s.track}
            events.append({"ph": "M", "name": "thread_name", "pid": 1, "tid": tracks[s.track], "args": name})
        events.append(
            {
                "ph": "X", "name": s.name, "pid": 1, "tid": tracks[s.track], "ts": s.begin_fs / FS_PER_US,
                "dur": (s.end_fs - s.begin_fs) / FS_PER_US, "args": {"begin_fs": s.begin_fs, "end_fs": s.end_fs},
            }
        )  # fmt: skip
    for c in timeline.samples:
        events.append({"ph": "C", "name": c.counter, "pid": 1, "ts": c.time_fs / FS_PER_US, "args": {"value": c.value}})
    return {"traceEvents": events, "displayTimeUnit": "ns"}


def write_perfetto(timeline: Timeline, path: Path, process: str = "spcomp") -> None:
    """Raises :class:`InputError` where ``path`` cannot be written."""
    try:
        path.write_text(json.dumps(trace_events(timeline, process)) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"write {path}", error.strerror or str(error), "a file in a folder that exists") from error
