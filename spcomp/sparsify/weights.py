"""Which weights of a model can be pruned, and how each is seen as a matrix (N, K)."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from spcomp.errors import RecipeError
from spcomp.sparsify.recipes import Recipe
from spcomp.sparsity.pattern import NM, VNM, Block


@dataclass(frozen=True, eq=False)
class PrunableWeight:
    """The ``weight`` of one module. The parameter is looked up anew each time, so replacing it does no harm."""

    name: str
    """The module's qualified name; of tied modules, the first."""
    module: nn.Module
    transposed: bool
    """True where the parameter is stored (K, N), as in the Conv1D of Hugging Face."""
    tied: tuple[str, ...] = ()
    """Names of the other selected modules that hold the same parameter."""

    @property
    def parameter(self) -> nn.Parameter:
        """The weight itself, in its own shape."""
        weight = self.module.weight
        assert isinstance(weight, nn.Parameter)
        return weight

    @property
    def matrix_shape(self) -> tuple[int, int]:
        """(N, K): output features, and everything that one output sums over."""
        matrix = self.to_matrix(self.parameter)
        return matrix.shape[0], matrix.shape[1]

    def to_matrix(self, tensor: Tensor) -> Tensor:
        """A tensor of the weight's shape, seen as (N, K); convolutions as (out, in / groups * kernel)."""
        flat = tensor.detach().flatten(1)
        return flat.T if self.transposed else flat

    def from_matrix(self, matrix: Tensor) -> Tensor:
        """The inverse of :meth:`to_matrix`; contiguous."""
        own = matrix.T if self.transposed else matrix
        return own.reshape(self.parameter.shape).contiguous()


def find_weights(model: nn.Module, recipe: Recipe) -> tuple[PrunableWeight, ...]:
    """The weights that the recipe prunes, in module order, each parameter once.

    Linear, Conv1d to Conv3d and Hugging Face's Conv1D count. A weight that is computed by a parametrization, or that
    is no floating-point tensor, is left alone. A parameter that any excluded module holds is not pruned.

    Raises:
        RecipeError: nothing to prune, a glob of ``include`` that matches no prunable layer, a layer that is not
            initialised yet, or one that is smaller than the pattern.
    """
    candidates = [(name, m) for name, m in model.named_modules() if _is_prunable(m)]
    _check_include(recipe, [name for name, _ in candidates])
    excluded = {id(m.weight) for name, m in candidates if not recipe.selects(name)}
    groups: dict[int, list[tuple[str, nn.Module]]] = {}
    for name, module in candidates:
        if id(module.weight) not in excluded:
            groups.setdefault(id(module.weight), []).append((name, module))
    weights = tuple(
        PrunableWeight(group[0][0], group[0][1], _is_hf_conv1d(group[0][1]), tuple(name for name, _ in group[1:]))
        for group in groups.values()
    )
    if not weights:
        raise RecipeError(
            f"pruning {type(model).__name__}",
            f"no prunable layers ({len(candidates)} before include and exclude)",
            "a model with Linear or Conv layers, or wider include and exclude globs",
        )
    for weight in weights:
        _check_fits(weight, recipe)
    return weights


def _is_prunable(module: nn.Module) -> bool:
    if not (isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d) or _is_hf_conv1d(module)):
        return False
    weight = module.weight
    return isinstance(weight, nn.Parameter) and weight.is_floating_point()


def _is_hf_conv1d(module: nn.Module) -> bool:
    """By name, so that transformers need not be imported (or installed)."""
    return any(t.__name__ == "Conv1D" and t.__module__.startswith("transformers.") for t in type(module).__mro__)


def _check_include(recipe: Recipe, names: list[str]) -> None:
    for glob in recipe.include:
        if glob != "*" and not any(fnmatchcase(name, glob) for name in names):
            known = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
            raise RecipeError(f"include={glob!r}", "it matches no prunable layer", f"one of: {known}")


def _check_fits(weight: PrunableWeight, recipe: Recipe) -> None:
    asked = f"{recipe.pattern} on layer {weight.name!r}"
    if isinstance(weight.parameter, UninitializedParameter):
        raise RecipeError(asked, "the layer is lazy and not initialised yet", "run the model once before pruning")
    rows, cols = weight.matrix_shape
    match recipe.pattern:
        case NM(m=m, axis=axis):
            need_rows, need_cols = (m, 1) if axis == 0 else (1, m)
        case VNM(m=m):
            need_rows, need_cols = 1, m
        case Block(rows=need_rows, cols=need_cols):
            pass
        case _:
            need_rows = need_cols = 1
    if rows < need_rows or cols < need_cols:
        raise RecipeError(
            asked,
            f"the pattern does not fit: the weight is {rows}x{cols} and one group needs {need_rows}x{need_cols}",
            f"exclude=({weight.name!r},) or a smaller pattern",
        )
    if bool(weight.parameter.isnan().any()):
        raise RecipeError(asked, "the weight holds NaN, which has no magnitude to compare", "repair the weight first")
