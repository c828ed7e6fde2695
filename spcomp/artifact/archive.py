"""The file of a saved model: a safetensors file whose metadata holds a manifest, written whole or not at all.

Layout: 8 bytes of header length, the header (JSON, padded so that the data starts at a multiple of 64), the tensors,
each at a multiple of 64 bytes (small ``_pad`` tensors between them). Any safetensors reader can open it. The header
must be, byte for byte, the one that its manifest asks for, and every tensor carries a digest: no bit can change unseen.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch

from spcomp.errors import ArtifactError
from spcomp.sparsity.digest import in_threads, leaf_digest, root_digest

KEY, DIGEST_KEY = "spcomp", "spcomp.digest"
ALIGNMENT = 64
MAX_HEADER = 100_000_000
_LEAF_BYTES = 1 << 22
_CODES = {
    "bool": "BOOL", "uint8": "U8", "int8": "I8", "int16": "I16", "int32": "I32", "int64": "I64", "uint16": "U16",
    "uint32": "U32", "uint64": "U64", "float16": "F16", "bfloat16": "BF16", "float32": "F32", "float64": "F64",
    "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2",
}  # fmt: skip
_HINT = "saving the model again; this file is damaged, incomplete or of another kind"


def bad(where: str, found: str) -> ArtifactError:
    """The error for a manifest that says something impossible."""
    hint = "a file written by save(); this one is damaged or forged"
    return ArtifactError(f"read {where} of a saved model", found, hint)


@dataclass(frozen=True)
class Stored:
    """One tensor of the file: what the manifest says of it."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    digest: str

    @property
    def nbytes(self) -> int:
        count = getattr(torch, self.dtype).itemsize
        for size in self.shape:
            count *= size
        return int(count)

    def to_list(self) -> list[Any]:
        return [self.name, self.dtype, list(self.shape), self.digest]

    @classmethod
    def from_list(cls, data: Any) -> Self:
        match data:
            case [str() as name, str() as dtype, list() as shape, str() as digest] if dtype in _CODES:
                if all(type(s) is int and 0 <= s < 1 << 48 for s in shape) and not name.startswith("_"):
                    return cls(name, dtype, tuple(shape), digest)
        raise ArtifactError("read a saved model", f"its list of tensors holds {str(data)[:80]}", _HINT)


def describe(name: str, tensor: torch.Tensor) -> Stored:
    """What the file will say of a contiguous tensor. Raises :class:`ArtifactError` for dtypes that it cannot hold."""
    dtype = str(tensor.dtype).removeprefix("torch.")
    if dtype not in _CODES or tensor.layout is not torch.strided:
        found = f"the tensor {name} is {dtype}"
        raise ArtifactError("save a compiled model", found, "a dtype that safetensors can hold")
    return Stored(name, dtype, tuple(tensor.shape), digest_of(name, tensor))


def octets(tensor: torch.Tensor) -> memoryview:
    """The bytes of a contiguous CPU tensor, not copied."""
    return tensor.detach().reshape(-1).view(torch.uint8).numpy().data if tensor.numel() else memoryview(b"")


def digest_of(name: str, tensor: torch.Tensor) -> str:
    """Digest of name, dtype, shape and bytes."""
    data = octets(tensor)
    leaves = in_threads(leaf_digest, [data[i : i + _LEAF_BYTES] for i in range(0, len(data), _LEAF_BYTES)])
    return root_digest(f"{name} {tensor.dtype} {tuple(tensor.shape)}", leaves)


def _layout(stored: list[Stored], manifest: str) -> tuple[bytes, list[int], int]:
    """Header with its length, where each tensor starts in the data, and the data's size."""
    digest = hashlib.sha256(manifest.encode()).hexdigest()
    header: dict[str, Any] = {"__metadata__": {KEY: manifest, DIGEST_KEY: digest}}
    starts, at = [], 0
    for i, tensor in enumerate(stored):
        starts.append(at)
        header[tensor.name] = {
            "dtype": _CODES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [at, at + tensor.nbytes],
        }  # fmt: skip
        at += tensor.nbytes
        if gap := -at % ALIGNMENT:
            header[f"_pad{i}"] = {"dtype": "U8", "shape": [gap], "data_offsets": [at, at + gap]}
            at += gap
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(len(text) + 8) % ALIGNMENT)
    if len(text) > MAX_HEADER:
        raise ArtifactError("save a compiled model", f"a manifest of {len(text)} bytes", "a model with a smaller graph")
    return len(text).to_bytes(8, "little") + text, starts, at


def write(path: Path, tensors: Mapping[str, torch.Tensor], manifest: Mapping[str, Any]) -> Path:
    """Write the file; until it is complete it has another name. ``manifest`` gets a list of the tensors."""
    stored = [describe(name, tensor) for name, tensor in tensors.items()]
    text = json.dumps({**manifest, "stored": [s.to_list() for s in stored]}, separators=(",", ":"), allow_nan=False)
    header, _, _ = _layout(stored, text)
    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        with os.fdopen(handle, "wb") as file:
            file.write(header)
            for tensor in tensors.values():
                file.write(octets(tensor))
                file.write(bytes(-tensor.nbytes % ALIGNMENT))
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        found = error.strerror or str(error)
        raise ArtifactError(f"save to {path}", found, "a folder that exists and can be written") from error
    finally:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)
    return path


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def read(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """The manifest and the tensors, mapped into memory (private: writes do not reach the file), all checked.

    Raises :class:`ArtifactError` for a missing, truncated or altered file, or one of another kind.
    """
    asked = f"load {path}"
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size < 8 + ALIGNMENT:
                raise ArtifactError(asked, f"{size} bytes, which is no saved model", _HINT)
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    except OSError as error:
        raise ArtifactError(asked, error.strerror or str(error), "the path that save() returned") from error
    length = int.from_bytes(mapped[:8], "little")
    if not 2 <= length <= MAX_HEADER or mapped[8:9] != b"{":
        hint = "a file written by save(); pickles and archives are never read"
        raise ArtifactError(asked, "no safetensors file", hint)
    if 8 + length > size:
        raise ArtifactError(asked, f"a file of {size} bytes, cut off inside its header", _HINT)
    found = mapped[8 : 8 + length]
    manifest, text = _manifest(found, asked)
    listed = manifest.get("stored")
    if not isinstance(listed, list):
        raise ArtifactError(asked, "a manifest without a list of tensors", _HINT)
    stored = [Stored.from_list(entry) for entry in listed]
    header, starts, data = _layout(stored, text)
    if header != mapped[: len(header)]:
        raise ArtifactError(asked, "a header that is not its manifest's", _HINT)
    if size != len(header) + data:
        raise ArtifactError(asked, f"{size} bytes, the manifest asks for {len(header) + data}", _HINT)
    return manifest, _map(mapped, stored, [len(header) + s for s in starts], asked)


def _manifest(header: bytes, asked: str) -> tuple[dict[str, Any], str]:
    try:
        metadata = json.loads(header).get("__metadata__")
    except (ValueError, RecursionError, AttributeError) as error:
        raise ArtifactError(asked, "a header that is no JSON object", _HINT) from error
    text = metadata.get(KEY) if isinstance(metadata, dict) else None
    if not isinstance(text, str) or not text.isascii():
        raise ArtifactError(asked, "a safetensors file that holds no compiled model", "a file written by save()")
    if metadata.get(DIGEST_KEY) != hashlib.sha256(text.encode()).hexdigest():
        raise ArtifactError(asked, "a manifest that does not match its checksum", _HINT)
    try:
        manifest = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(asked, "a manifest that is no JSON", _HINT) from error
    if not isinstance(manifest, dict):
        raise ArtifactError(asked, "a manifest that is no JSON object", _HINT)
    return manifest, text


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _map(mapped: mmap.mmap, stored: list[Stored], starts: list[int], asked: str) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = {}
    for entry, start in zip(stored, starts, strict=True):
        dtype = getattr(torch, entry.dtype)
        if entry.nbytes:
            flat = torch.frombuffer(mapped, dtype=dtype, count=entry.nbytes // dtype.itemsize, offset=start)
        else:
            flat = torch.empty(0, dtype=dtype)
        tensor = tensors[entry.name] = flat.view(entry.shape)
        if digest_of(entry.name, tensor) != entry.digest:
            raise ArtifactError(asked, f"the tensor {entry.name} does not match its checksum", _HINT)
        if any(mapped[start + entry.nbytes : start + entry.nbytes + -entry.nbytes % ALIGNMENT]):
            raise ArtifactError(asked, f"bytes after the tensor {entry.name} that are not zero", _HINT)
    if len(tensors) != len(stored):
        raise ArtifactError(asked, "two tensors of one name", _HINT)
    return tensors
