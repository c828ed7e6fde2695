"""A model by its name on the command line: a factory, a saved artifact, or a ``.pt2`` file."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spcomp.cli.examples import parse_example
from spcomp.errors import ArtifactError, InputError

if TYPE_CHECKING:
    import torch

    from spcomp.compiled import CompiledModule

NAMES = "package.module:factory, a saved artifact, or a .pt2 file with --trust"


@dataclass(frozen=True, eq=False)
class Named:
    """What a name led to; one of the three is set."""

    module: torch.nn.Module | None = None
    exported: torch.export.ExportedProgram | None = None
    compiled: CompiledModule | None = None
    examples: tuple[Any, ...] = ()
    """Inputs to capture with, of ``module``."""


def resolve(name: str, examples: Sequence[str] = (), *, trust: bool = False) -> Named:
    """Find the model that ``name`` means. Models are put into eval mode.

    Raises:
        InputError: nothing of that name, or it is no model.
        ArtifactError: a ``.pt2`` file without ``--trust``, or a broken file.
    """
    path = Path(name)
    if path.suffix == ".pt2":
        return Named(exported=_exported(path, trust))
    if path.is_file():
        from spcomp.artifact import load

        return Named(compiled=load(path))
    if ":" not in name:
        raise InputError(f"find the model {name!r}", "no such file, and no factory", NAMES)
    model, own = _factory(name)
    given = tuple(parse_example(text) for text in examples) or own
    if not given:
        raise InputError(
            f"compile {name}", "no example input", "--example 1x128x768, or a factory that returns (model, example)"
        )
    return Named(module=model.eval(), examples=given)


def _exported(path: Path, trust: bool) -> torch.export.ExportedProgram:
    if not path.is_file():
        raise InputError(f"read {path}", "no such file", NAMES)
    if not trust:
        raise ArtifactError(
            f"read {path}",
            "torch.export.load runs pickled code that a .pt2 file may carry",
            "--trust, if you know where the file comes from",
        )
    import torch

    try:
        return torch.export.load(path)
    except Exception as error:  # torch.export.load raises anything for a broken file
        first = (str(error).splitlines() or [""])[0]
        raise ArtifactError(
            f"read {path}", f"{type(error).__name__}: {first}", "a file of torch.export.save"
        ) from error


def _factory(name: str) -> tuple[torch.nn.Module, tuple[Any, ...]]:
    import torch

    module_name, _, attribute = name.partition(":")
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise InputError(
            f"import {module_name}", f"{type(error).__name__}: {error}", "a module in this folder or an installed one"
        ) from error
    factory = getattr(module, attribute, None)
    if factory is None:
        raise InputError(f"find {name}", f"{module_name} has no {attribute!r}", "the name of a function in it")
    made = factory() if callable(factory) and not isinstance(factory, torch.nn.Module) else factory
    match made:
        case torch.nn.Module():
            return made, ()
        case (torch.nn.Module() as model, example):
            return model, (example,)
        case _:
            raise InputError(
                f"call {name}",
                f"it returned a {type(made).__name__}",
                "a factory of a torch.nn.Module, or (model, example)",
            )
