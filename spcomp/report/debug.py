"""``debug_dir``: the graph after every pass and the source of every kernel, as files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from spcomp.errors import InputError


class HasKernels(Protocol):
    """A slot of the kernel table."""

    @property
    def kernels(self) -> Any: ...

    @property
    def gather(self) -> Any: ...


class Dump:
    """Writes numbered files into a folder, which is made if needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError("write debug_dir", str(error), "a folder that can be made and written") from error

    def graph(self, name: str, gm: Any) -> None:
        """The graph as readable Python."""
        (self.folder / f"{self.count:02d}-{name}.py").write_text(gm.print_readable(print_output=False))
        self.count += 1

    def kernels(self, table: Iterable[HasKernels]) -> None:
        """Every distinct kernel source, named by layer; equal sources are written once."""
        seen: set[str] = set()
        folder = self.folder / "kernels"
        folder.mkdir(exist_ok=True)
        for slot in table:
            layer = slot.kernels[0].call.layer
            named = [(f"{layer}-{k.call.encoding.name}", k.source) for k in slot.kernels]
            if slot.gather is not None:
                named.append((f"{layer}-embedding", slot.gather.source))
            for name, source in named:
                digest = hashlib.blake2b(source.encode(), digest_size=6).hexdigest()
                if digest in seen:
                    continue
                seen.add(digest)
                suffix = "mlir" if "func.func" in source else "txt"
                (folder / f"{name}-{digest}.{suffix}").write_text(source)
