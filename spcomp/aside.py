"""Tensors that are seldom asked for, kept on disk: what compiling cut of a model's state takes no memory.

One file without a name in the folder of the cache; it is gone when nothing refers to it any more, or the process ends.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import torch

log = logging.getLogger("spcomp")
FREE = 2
"""So many times the bytes must be free on the disk."""


@dataclass(eq=False)
class _File:
    """A file that is written at its end and read anywhere."""

    binary: BinaryIO
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True, eq=False)
class OnDisk:
    """A flat tensor that is read whenever it is asked for."""

    file: _File
    offset: int
    count: int
    dtype: torch.dtype

    @property
    def nbytes(self) -> int:
        """Bytes on disk."""
        return self.count * torch.empty((), dtype=self.dtype).element_size()

    def read(self) -> torch.Tensor:
        """The elements, [count]. Raises OSError where the disk does."""
        data = bytearray(self.nbytes)
        with self.file.lock:
            self.file.binary.seek(self.offset)
            if self.file.binary.readinto(data) != len(data):  # type: ignore[attr-defined]
                raise OSError(f"{self.nbytes} bytes of a model's state are not on disk any more")
        return torch.frombuffer(data, dtype=self.dtype) if data else torch.empty(0, dtype=self.dtype)


@dataclass(eq=False)
class Aside:
    """Where tensors are put aside: a file that is made when the first one comes."""

    folder: Path
    _file: _File | None = None
    _end: int = 0

    def keep(self, tensor: torch.Tensor) -> OnDisk | None:
        """The elements of a tensor on disk; None where they cannot be written there."""
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        try:
            file = self._opened(flat.nbytes)
            with file.lock:
                file.binary.seek(self._end)
                file.binary.write(flat.view(torch.uint8).numpy().data)
                file.binary.flush()
        except OSError as error:
            log.warning("what was cut of the model's state cannot be kept on disk: %s", error)
            return None
        found = OnDisk(file, self._end, flat.numel(), flat.dtype)
        self._end += flat.nbytes
        return found

    def _opened(self, nbytes: int) -> _File:
        if self._file is None:
            self.folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(self.folder).free < FREE * nbytes:
            raise OSError(f"{self.folder} has no room for {nbytes / 1e6:.0f} MB")
        if self._file is None:
            self._file = _File(tempfile.TemporaryFile(dir=self.folder))  # noqa: SIM115
        return self._file
