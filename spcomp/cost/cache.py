"""The tuner's memory on disk: one small JSON file a measurement, written whole or not at all.

A file that is damaged, of another version or half there reads as "not known". Two processes that write the same entry
leave one of the two. A folder that cannot be written is said once, as a warning, and then nothing is remembered.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

log = logging.getLogger("spcomp.cost")

CACHE_VERSION = 1
ENVIRONMENT = "SPCOMP_CACHE_DIR"


def default_folder() -> Path:
    """``$SPCOMP_CACHE_DIR``, else ``$XDG_CACHE_HOME/spcomp``, else ``~/.cache/spcomp``."""
    if chosen := os.environ.get(ENVIRONMENT):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "spcomp"


@dataclass
class TuneCache:
    """Seconds by kernel name, filed under a key of everything that can change them."""

    folder: Path = field(default_factory=default_folder)
    writable: bool = True

    def _path(self, key: Mapping[str, object]) -> Path:
        text = json.dumps(key, sort_keys=True)
        name = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        return self.folder / "tune" / name[:2] / f"{name}.json"

    def get(self, key: Mapping[str, object]) -> dict[str, float] | None:
        """What was measured under ``key``, or None."""
        path = self._path(key)
        try:
            data = json.loads(path.read_text())
            if data["version"] != CACHE_VERSION or data["key"] != json.loads(json.dumps(key)):
                return None
            seconds = {str(k): float(v) for k, v in data["seconds"].items()}
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.info("ignoring the cache entry %s: %s", path, error)
            return None
        return seconds if all(0 < s < 1e6 for s in seconds.values()) else None

    def put(self, key: Mapping[str, object], seconds: Mapping[str, float]) -> None:
        """Remember; an unwritable folder is a warning, once."""
        if not self.writable:
            return
        path = self._path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
            with os.fdopen(handle, "w") as file:
                json.dump({"version": CACHE_VERSION, "key": dict(key), "seconds": dict(seconds)}, file)
            os.replace(temporary, path)
        except OSError as error:
            self.writable = False
            log.warning(
                "cannot write the tuning cache in %s (%s); tuning again every time. Set %s to a writable folder.",
                self.folder, error, ENVIRONMENT,
            )  # fmt: skip
