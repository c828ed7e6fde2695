"""What compiled code on disk depends on beside its own file.

numba keeps compiled functions and looks at the file a function stands in, not at those it takes constants and inlined
functions from. A closure over :func:`source_stamp` makes them part of the key.
"""

from __future__ import annotations

import zlib
from importlib import resources


def source_stamp(*names: str) -> int:
    """A checksum of files in this folder."""
    folder = resources.files("spcomp.sim.parts")
    return zlib.crc32(b"".join(folder.joinpath(name).read_bytes() for name in names))
