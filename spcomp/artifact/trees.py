"""Input and output structures of a saved model, checked before torch reads them.

``torch.utils._pytree.treespec_loads`` imports whatever module a ``defaultdict`` or an enum in the text names. Only
containers of Python, and classes that this process registered itself, come through here, and their contexts may hold
plain keys only.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
from typing import Any

from torch.utils import _pytree as pytree

from spcomp.caches import know_caches
from spcomp.errors import ArtifactError

MAX_DEPTH = 64
_PLAIN = ("builtins.tuple", "builtins.list", "torch.Size", "torch.fx.immutable_collections.immutable_list")
_KEYED = ("builtins.dict", "collections.OrderedDict", "torch.fx.immutable_collections.immutable_dict")


def dump_tree(tree: pytree.TreeSpec) -> str:
    """torch's JSON text of a structure. Raises :class:`ArtifactError` where :func:`load_tree` would not read it."""
    try:
        text = pytree.treespec_dumps(tree)
    except (NotImplementedError, TypeError, ValueError) as error:
        raise ArtifactError(
            "save a compiled model", f"its inputs or outputs hold a container that cannot be written ({error})",
            "tuples, lists and dicts, or registering the class with torch.utils._pytree and a serialized_type_name",
        ) from error  # fmt: skip
    if load_tree(text) != tree:
        raise ArtifactError(
            "save a compiled model",
            f"its inputs or outputs ({tree}) read back as something else",
            "tuples, lists and dicts",
        )
    return text


def load_tree(text: Any) -> pytree.TreeSpec:
    """The structure again. Raises :class:`ArtifactError` for anything but known containers with plain keys."""
    if not isinstance(text, str):
        raise _bad("no text")
    try:
        protocol, schema = json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise _bad("a text that is no JSON of torch") from error
    if protocol != 1 or isinstance(protocol, bool):
        raise _bad(f"the protocol {str(protocol)[:40]}")
    _check(schema, 0)
    return pytree.treespec_loads(text)


def _check(schema: Any, depth: int) -> None:
    if not isinstance(schema, dict) or schema.keys() != {"type", "context", "children_spec"} or depth > MAX_DEPTH:
        raise _bad("a node of another form")
    kind, context, children = schema["type"], schema["context"], schema["children_spec"]
    if not isinstance(children, list):
        raise _bad("a node of another form")
    for child in children:
        _check(child, depth + 1)
    if kind is None:
        if context is not None or children:
            raise _bad("a leaf with something in it")
        return
    if not isinstance(kind, str):
        raise _bad("a type that is no name")
    if kind == "collections.namedtuple":
        _registered(context)
        return
    if kind == "collections.deque":
        if _context(context) is not None and type(_context(context)) is not int:
            raise _bad("a deque of another length")
        return
    if kind in _PLAIN:
        if _context(context) is not None:
            raise _bad(f"a {kind} with a context")
        return
    if kind not in _KEYED:
        _registered(kind)
    keys = _context(context)
    if kind in _KEYED and (not isinstance(keys, list) or len(keys) != len(children)):
        raise _bad(f"a {kind} whose keys are not its children's")


def _context(context: Any) -> Any:
    """A context of keys: None, plain values, or lists of them. No objects: torch would import what they name."""
    if not isinstance(context, str):
        raise _bad("a context that is no text")
    try:
        value = json.loads(context)
    except (ValueError, RecursionError) as error:
        raise _bad("a context that is no JSON") from error
    if not _is_plain(value, 0):
        raise _bad("a context with more than plain keys in it")
    return value


def _is_plain(value: Any, depth: int) -> bool:
    if isinstance(value, list):
        return depth < 4 and all(_is_plain(v, depth + 1) for v in value)
    return value is None or isinstance(value, str | int | float | bool)


def _registered(kind: Any) -> None:
    if not isinstance(kind, str) or kind == "collections.defaultdict":
        raise _bad(f"the container {str(kind)[:80]}")
    foreign = kind not in pytree.SERIALIZED_TYPE_TO_PYTHON_TYPE and kind.startswith("transformers.")
    if foreign and importlib.util.find_spec("transformers") is not None:
        importlib.import_module("transformers.modeling_outputs")
        know_caches()
    if kind not in pytree.SERIALIZED_TYPE_TO_PYTHON_TYPE or kind == pytree.NO_SERIALIZED_TYPE_NAME_FOUND:
        module = kind.rpartition(".")[0]
        raise ArtifactError(
            "load a saved model", f"its inputs or outputs use the class {kind[:120]!r}, which is not registered here",
            f"importing {module[:100] or 'its module'} before loading, if you trust it",
        )  # fmt: skip
    definition = pytree.SUPPORTED_SERIALIZED_TYPES[pytree.SERIALIZED_TYPE_TO_PYTHON_TYPE[kind]]
    custom = definition.from_dumpable_context
    if custom is not None and custom is not pytree._namedtuple_deserialize:
        raise _bad(f"the class {kind[:120]!r}, which reads its own context")


def _bad(found: str) -> ArtifactError:
    return ArtifactError(
        "read the inputs and outputs of a saved model", found, "a file written by save(); this one is damaged or forged"
    )
