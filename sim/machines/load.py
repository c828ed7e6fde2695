"""Machines from YAML: presets by name, files of one's own, and overrides of either.

A file may say ``preset: gpu_a100`` and then only what differs. Keys such as ``core[0..127]`` stand for one key each.
"""

from __future__ import annotations

import copy
import functools
import re
import types
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from spcomp.errors import InputError
from spcomp.sim.machines.schema import Machine, numbers_in
from spcomp.sim.nearest import nearest

_RANGE = re.compile(r"(.*?)\[(\d+)\.\.(\d+)\](.*)")
_PART = re.compile(r"([^.\[\]]+)((?:\[\d+\])*)")
MOST_EXPANDED = 1 << 16


def machine_names() -> tuple[str, ...]:
    """All presets."""
    files = resources.files("spcomp.sim.machines").joinpath("presets").iterdir()
    return tuple(sorted(f.name.removesuffix(".yaml") for f in files if f.name.endswith(".yaml")))


@functools.cache
def load_machine(name: str) -> Machine:
    """A preset by name; case and dashes do not matter.

    Raises:
        InputError: no such preset; the nearest name is suggested.
    """
    return _build(_preset_data(name), f"load the machine {name}")


def parse_machine(text: str, name: str = "machine") -> Machine:
    """A machine of YAML text, which may begin from a preset.

    Raises:
        InputError: no YAML, an unknown preset or key (with its path and the nearest name), an impossible size.
    """
    asked = f"read the machine {name}"
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        found = f"it is no YAML: {error}".replace("\n", " ")
        raise InputError(asked, found, "a file such as the preset systolic_ws") from error
    if not isinstance(data, dict):
        raise InputError(asked, "it is no mapping of keys", "a file such as the preset systolic_ws")
    data = expand(data, asked)
    if base := data.pop("preset", None):
        known = _preset_data(str(base))
        data = _told(merge(known, data), known, data, "the file")
    return _build(data, asked)


def override(machine: Machine, settings: Mapping[str, Any]) -> Machine:
    """The machine with some keys changed: ``{"dram.channels": 8, "cache.levels[0].ways": "4"}``.

    Values may be text as on a command line. What was changed has the source "set by the caller".

    Raises:
        InputError: an unknown key or an impossible value.
    """
    data = machine.model_dump(exclude_none=True)
    for key, value in settings.items():
        read = yaml.safe_load(value) if isinstance(value, str) else value
        _put(data, key, read, machine)
    keys = [*settings, *(k.replace("dram.", "dram.settings.", 1) for k in settings if k.startswith("dram."))]
    source = {"keys": keys, "source": "set by the caller", "kind": "override"}
    data["sources"] = [*data["sources"], source] if settings else data["sources"]
    return _build(data, f"set {', '.join(settings)} of {machine.name}")


def expand(data: Any, asked: str) -> Any:
    """Keys with ranges, written out; a key that stands there by itself wins over a range."""
    if isinstance(data, list):
        return [expand(v, asked) for v in data]
    if not isinstance(data, dict):
        return data
    made: dict[Any, Any] = {}
    for key, value in data.items():
        for one in _keys(str(key), asked) if isinstance(key, str) else [key]:
            if one not in made or one == key:
                fresh = expand(copy.deepcopy(value), asked)
                both = isinstance(made.get(one), dict) and isinstance(fresh, dict)
                made[one] = merge(made[one], fresh) if both else fresh
    return made


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``changes``, mappings merged key by key, anything else replaced.

    A mapping that names another preset, or which encodings run, replaces what was there.
    """
    made = dict(base)
    for key, value in changes.items():
        inner = made.get(key)
        if isinstance(inner, Mapping) and isinstance(value, Mapping) and not _replaces(inner, value):
            made[key] = merge(inner, value)
        else:
            made[key] = value
    return made


def _replaces(inner: Mapping[str, Any], value: Mapping[str, Any]) -> bool:
    return "runs" in value or ("preset" in value and value["preset"] != inner.get("preset"))


def _keys(key: str, asked: str) -> Iterator[str]:
    found = _RANGE.fullmatch(key)
    if found is None:
        yield key
        return
    first, last = int(found[2]), int(found[3])
    if last < first or last - first >= MOST_EXPANDED:
        raise InputError(asked, f"the range in {key!r} is empty or too long", f"such as {found[1]}[0..127]")
    for k in range(first, last + 1):
        yield from _keys(f"{found[1]}[{k}]{found[4]}", asked)


def _preset_data(name: str) -> dict[str, Any]:
    plain = name.lower().replace("-", "_")
    if plain not in machine_names():
        raise InputError(f"find the machine {name!r}", "no machine of that name", nearest(plain, machine_names()))
    file = resources.files("spcomp.sim.machines").joinpath("presets", f"{plain}.yaml")
    data = expand(yaml.safe_load(file.read_text(encoding="utf-8")), f"load the machine {plain}")
    if base := data.pop("preset", None):
        known = _preset_data(base)
        return {**merge(known, data), "name": plain, "sources": [*known["sources"], *data.get("sources", [])]}
    return {"name": plain, **data}


def _told(merged: dict[str, Any], base: dict[str, Any], changes: dict[str, Any], who: str) -> dict[str, Any]:
    """Sources of the base, and one for what was changed unless it brings its own."""
    own = changes.get("sources", [])
    changed = [key for key, _ in numbers_in("", {k: v for k, v in changes.items() if k != "sources"})]
    told = [{"keys": changed, "source": f"set by {who}", "kind": "override"}] if changed and not own else []
    return {**merged, "sources": [*base.get("sources", []), *told, *own]}


def _put(data: dict[str, Any], key: str, value: Any, machine: Machine) -> None:
    asked = f"set {key} of {machine.name}"
    steps: list[str | int] = []
    for part in key.split("."):
        found = _PART.fullmatch(part)
        if found is None:
            raise InputError(asked, f"{part!r} is no part of a key", "dram.channels or cache.levels[0].ways")
        indices = re.findall(r"\d+", found[2])
        named = part if steps == ["cores"] else found[1]
        steps += [named] if steps == ["cores"] else [named, *map(int, indices)]
    at: Any = data
    for step in steps[:-1]:
        if isinstance(step, int):
            if not isinstance(at, list | tuple) or step >= len(at):
                raise InputError(asked, f"there is no [{step}] in it", "an index that the machine has")
        elif not isinstance(at, dict) or step not in at:
            raise InputError(
                asked, f"{machine.name} has no {step!r}", nearest(step, at if isinstance(at, dict) else ())
            )
        at = at[step]
    last = steps[-1]
    if isinstance(last, int) and (not isinstance(at, list) or last >= len(at)):
        raise InputError(asked, f"there is no [{last}] in it", "an index that the machine has")
    if not isinstance(at, dict | list):
        raise InputError(asked, f"{key.rpartition('.')[0]} is a value and has no parts", key.rpartition(".")[0])
    at[last] = value  # type: ignore[index]


def _build(data: dict[str, Any], asked: str) -> Machine:
    try:
        return Machine.model_validate(data)
    except ValidationError as error:
        raise _translated(error, asked) from error


def _translated(error: ValidationError, asked: str) -> InputError:
    first = error.errors(include_url=False)[0]
    path = _path(first["loc"])
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, InputError):
        return InputError(f"{asked}, {path}" if path else asked, f"{cause.asked}: {cause.found}", cause.hint)
    if first["type"] == "extra_forbidden":
        hint = nearest(str(first["loc"][-1]), _fields_at(first["loc"][:-1]))
        return InputError(asked, f"unknown key {path}", hint)
    if first["type"] == "missing":
        return InputError(asked, f"{path} is missing", f"{path}: a value")
    return InputError(asked, f"{path} is {first['input']!r}", first["msg"][:1].lower() + first["msg"][1:])


def _path(loc: tuple[int | str, ...]) -> str:
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in loc).removeprefix(".")


def _fields_at(loc: tuple[int | str, ...]) -> list[str]:
    """The keys that are known where ``loc`` leads."""
    model: type[BaseModel] | None = Machine
    inner: Any = Machine
    for step in loc:
        if model is not None:
            inner = model.model_fields[str(step)].annotation if str(step) in model.model_fields else None
        else:
            inner = get_args(inner)[-1] if get_args(inner) else None
        model = _model(inner)
        if model is None and get_origin(inner) is None:
            return []
    return list(model.model_fields) if model is not None else []


def _model(annotation: Any) -> type[BaseModel] | None:
    if get_origin(annotation) in (Union, types.UnionType):
        annotation = next((a for a in get_args(annotation) if a is not type(None)), None)
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


MACHINES: tuple[str, ...] = machine_names()
"""The names of all machines. A new one is one new file in ``presets/``."""
