"""The house rules that no other test sees to: laziness, file sizes, no machine's paths, Makefile, constraints."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Golden

ROOT = Path(__file__).parent.parent
MAX_LINES = 350
TORCH_FREE = (
    "spcomp", "spcomp.sim", "spcomp.sim.parts.dram", "spcomp.sim.parts.cache", "spcomp.sim.trace",
    "spcomp.sim.topology", "spcomp.sim.engine", "spcomp.sim.parts.systolic", "spcomp.sim.parts.systolic_machine",
    "spcomp.sim.parts.noc", "spcomp.sim.energy_dram", "spcomp.sim.machines", "spcomp.sim.parts.gpu",
    "spcomp.sim.parts.mac_array", "spcomp.sim.workload", "spcomp.sim.simulate", "spcomp.sim.replan",
    "spcomp.report.simulated", "spcomp.plan", "spcomp.kernel", "spcomp.encodings.spec",
    "spcomp.sparsity.facts", "spcomp.sparsity.pattern", "spcomp.errors", "spcomp.cli",
)  # fmt: skip


def tracked(suffix: str = "") -> list[Path]:
    """Files under version control, or without git (an sdist) all files but build outputs; links are left out."""
    listing = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listing.returncode == 0:
        paths = [ROOT / line for line in listing.stdout.splitlines()]
    else:
        paths = [p for p in ROOT.rglob("*") if not any(part.startswith(".") for part in p.relative_to(ROOT).parts)]
    return [p for p in paths if p.is_file() and not p.is_symlink() and p.name.endswith(suffix)]


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)


def exists(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


@pytest.mark.parametrize("module", TORCH_FREE)
def test_imports_without_torch(module: str) -> None:
    assert exists(module), f"{module} is gone"
    run = run_python(f"import sys, {module}; sys.exit('torch' in sys.modules)")
    assert run.returncode == 0, run.stderr or f"import {module} loads torch"


@pytest.mark.parametrize("room", ["passes", "sim"])
def test_bare_import_of_a_linked_room_raises(room: str) -> None:
    run = run_python(f"import {room}")
    assert run.returncode == 1
    assert f"ImportError: {room} is no package of its own: import spcomp.{room}" in run.stderr
    assert run_python(f"import spcomp.{room}").returncode == 0


@pytest.mark.parametrize(
    ("group", "name", "target"),
    [
        ("console_scripts", "spcomp", "spcomp.cli:main"),
        ("torch_dynamo_backends", "spcomp", "spcomp.dynamo:spcomp_backend"),
    ],
)
def test_entry_point_is_declared_and_resolves_lazily(group: str, name: str, target: str) -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = project["scripts"] if group == "console_scripts" else project["entry-points"][group]
    assert declared[name] == target
    module, _, attribute = target.partition(":")
    source = importlib.util.find_spec("spcomp")
    assert source is not None
    assert exists(module), f"{module} is gone"
    point = importlib.metadata.EntryPoint(name, target, group)
    assert callable(point.load())
    assert point.attr == attribute
    # Listing entry points, as torch does at `torch.compile`, must not import the package.
    run = run_python(
        f"import sys, importlib.metadata as m; m.entry_points(group={group!r}); sys.exit('spcomp' in sys.modules)"
    )
    assert run.returncode == 0, run.stderr


def test_python_files_are_small() -> None:
    long = {str(p.relative_to(ROOT)): n for p in tracked(".py") if (n := len(p.read_text().splitlines())) >= MAX_LINES}
    assert not long, f"split these, or move what does not belong: {long}"


def test_no_paths_of_one_machine() -> None:
    """Nothing in the repository may point into somebody's home or workplace."""
    places = "|".join(["home", "Users", "root", "work", "mnt"])
    machine_path = re.compile(rf"(?<![\w./:-])/(?:{places})/[\w.-]+")
    found = []
    for path in tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for match in machine_path.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            found.append(f"{path.relative_to(ROOT)}:{line}: {match.group()}")
    assert not found


def test_make_help_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.M)
    assert phony is not None
    shown = subprocess.run(["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True).stdout
    listed = re.findall(r"^  make (\w+) +\S", shown, re.M)
    assert sorted(listed) == sorted(phony[1].split())
    assert {"help", "demo", "test", "check", "lint", "types", "layers", "regen", "bench", "clean"} <= set(listed)


def test_constraints_pin_every_declared_dependency() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["demo"], *extras["hf"], *extras["bench"], *extras["dev"]]
    names = {canonical(re.split(r"[\s\[<>=;]", requirement, maxsplit=1)[0]) for requirement in wanted} - {"spcomp"}
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines), "exact public versions only"
    assert names <= {canonical(line.partition("==")[0]) for line in lines}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_links_lead_into_the_repository() -> None:
    for room in ("passes", "sim"):
        assert os.readlink(ROOT / "spcomp" / room) == f"../{room}"


def test_golden_fixture_compares(golden: Golden) -> None:
    golden("house.txt", "a golden text ends in a newline")


def test_golden_fixture_says_what_differs(golden: Golden, request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--regen"):
        pytest.skip("would write what it must not find")
    with pytest.raises(pytest.fail.Exception, match=r"(?s)-a golden text.*\+something else.*make regen"):
        golden("house.txt", "something else")
    with pytest.raises(pytest.fail.Exception, match=r"absent\.txt does not exist; make it with: make regen"):
        golden("absent.txt", "")


@pytest.mark.parametrize("first", ["spcomp.sparsify", "spcomp.Recipe", "spcomp.NM"])
def test_sparsify_is_the_verb_whoever_is_imported_first(first: str) -> None:
    """A package and a function share the name; importing the package must not hide the function."""
    run = run_python(
        f"import spcomp; from torch import nn; {first}; m = nn.Linear(8, 8); "
        "spcomp.sparsify(m, spcomp.Recipe(spcomp.NM(2, 4))).remove(); assert (m.weight == 0).sum() == 32"
    )
    assert run.returncode == 0, run.stderr
