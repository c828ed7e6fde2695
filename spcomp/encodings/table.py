"""The encodings there are, by name, and how one is written down: as text and as JSON-able data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from spcomp.encodings.bitmap import Bitmap
from spcomp.encodings.block import Block
from spcomp.encodings.csr import Csr
from spcomp.encodings.dense import Dense
from spcomp.encodings.fours import Fours
from spcomp.encodings.nm import Nm
from spcomp.encodings.nm_rest import NmRest
from spcomp.encodings.quad import Quad
from spcomp.encodings.sell import Sell
from spcomp.encodings.sorted_csr import SortedCsr
from spcomp.encodings.spec import Encoding
from spcomp.encodings.split import Split
from spcomp.encodings.transposed import Transposed
from spcomp.encodings.vnm import Vnm
from spcomp.encodings.window import Window
from spcomp.errors import EncodingError

ENCODINGS: dict[str, type[Encoding]] = {
    "dense": Dense,
    "csr": Csr,
    "block": Block,
    "nm": Nm,
    "bitmap": Bitmap,
    "window": Window,
    "transposed": Transposed,
    "quad": Quad,
    "split": Split,
    "sorted_csr": SortedCsr,
    "nm_rest": NmRest,
    "vnm": Vnm,
    "fours": Fours,
    "sell": Sell,
}

_FORM = re.compile(r"(\w+)(?:\((.*)\))?", re.ASCII)
_FIELD = re.compile(r"(\w+)\s*=\s*(-?\d{1,9})", re.ASCII)
_HINT = (
    "csr(block_columns=128), sorted_csr(block_columns=128), sell(rows=8), block(rows=8, cols=8), "
    "split(rows=8, cols=8), nm(n=2, m=4), nm_rest(n=2, m=4), vnm(v=64, m=8), window(width=64), fours(width=64), "
    "quad(rows=1), bitmap, transposed or dense"
)


def encoding_to_dict(encoding: Encoding) -> dict[str, Any]:
    """``{"name": ..., parameters}``, JSON-able."""
    return {"name": encoding.name, **encoding.parameters()}


def encoding_from_dict(data: Mapping[str, Any]) -> Encoding:
    """The inverse of :func:`encoding_to_dict`; raises :class:`~spcomp.errors.EncodingError` for anything else."""
    asked = f"the encoding {dict(data)}"
    name = data.get("name")
    if not isinstance(name, str) or name not in ENCODINGS:
        raise EncodingError(asked, f"its name is none of {', '.join(ENCODINGS)}", _HINT)
    kind = ENCODINGS[name]
    known = {field.name for field in fields(kind)}
    given = {key: value for key, value in data.items() if key != "name"}
    if unknown := sorted(str(key) for key in given.keys() - known):
        raise EncodingError(asked, f"{name} has no parameter {', '.join(unknown)}", _HINT)
    if any(type(value) is not int for value in given.values()):
        raise EncodingError(asked, "a parameter is no whole number", _HINT)
    try:
        return kind(**given)
    except TypeError as error:
        raise EncodingError(asked, f"parameters are missing: {name} has {', '.join(sorted(known))}", _HINT) from error


def parse_encoding(text: str) -> Encoding:
    """The encoding that prints as ``text``, e.g. ``csr(block_columns=128)``; defaults may be left out: ``csr``.

    Raises :class:`~spcomp.errors.EncodingError`.
    """
    asked = f"the encoding {text!r}"
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise EncodingError(asked, "it is not of the form name(parameter=value, ...)", _HINT)
    data: dict[str, Any] = {"name": match[1]}
    for part in (match[2] or "").split(",") if (match[2] or "").strip() else ():
        field = _FIELD.fullmatch(part.strip())
        if field is None or field[1] in data:
            raise EncodingError(asked, f"{part.strip()!r} is no parameter=value", _HINT)
        data[field[1]] = int(field[2])
    return encoding_from_dict(data)
