"""What ``what_if`` returns: crossovers, the table, colours, heat maps as HTML, JSON."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import nn

import spcomp
from spcomp import WhatIf
from spcomp.errors import InputError
from spcomp.report import heat
from spcomp.report.prospect import LayerProspects, Prospect, crossover


@pytest.fixture(scope="module")
def found() -> WhatIf:
    torch.manual_seed(0)
    same = [nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU()]
    model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), *same, nn.Linear(256, 4)).eval()
    patterns = ["unstructured", "2:4", "1:4", "block 8x8"]
    return spcomp.what_if(model, torch.randn(16, 64), patterns=patterns, zeros=(0.5, 0.9))


def made(zeros: float, *speedups: float) -> Prospect:
    return Prospect("unstructured", zeros, zeros, "csr", 1, tuple(1.0 for _ in speedups), speedups, "")


@pytest.mark.parametrize(
    ("prospects", "expected"),
    [
        ([made(0.5, 0.5), made(0.9, 1.5)], 0.7),
        ([made(0.9, 1.5), made(0.5, 0.5)], 0.7),
        ([made(0.5, 1.0), made(0.9, 2.0)], 0.5),
        ([made(0.5, 0.2), made(0.9, 0.9)], None),
        ([made(0.5), made(0.9, 2.0)], 0.9),
        ([made(0.5, 3.0, 0.8), made(0.9, 5.0, 1.2)], 0.7),
        ([made(0.5, 0.5), made(0.7, 0.75), made(0.9, 1.25), made(0.95, 0.9)], 0.8),
        ([made(0.5)], None),
        ([], None),
    ],
)
def test_crossover_is_interpolated_at_the_worst_row_count(prospects: list[Prospect], expected: float | None) -> None:
    assert crossover(prospects) == (None if expected is None else pytest.approx(expected))


def test_a_prospect_pays_where_no_row_count_is_slower() -> None:
    assert made(0.9, 4.0, 1.0).pays
    assert not made(0.9, 4.0, 0.99).pays
    assert made(0.9, 4.0, 1.0).speedup == pytest.approx(2.0)
    assert (made(0.9).speedup, made(0.9).least, made(0.9).pays) == (None, None, False)


# --- how it looks -----------------------------------------------------------------------------------------------------


def test_it_prints_as_a_table_in_colours_and_as_html(found: WhatIf, tmp_path: Path) -> None:
    text = str(found)
    words = ("estimated", "unstructured", "nm 2:4", "all layers", "2 and 1 more", "256 x 256", "pays from", "75%")
    assert all(word in text for word in words)
    assert "\x1b[" not in text
    with (tmp_path / "terminal").open("w") as file:
        Console(file=file, force_terminal=True, color_system="truecolor", width=200).print(found)
    assert "48;2;" in (tmp_path / "terminal").read_text(), "cells have backgrounds"
    page = found.save_html(tmp_path / "map.html").read_text()
    assert page.startswith("<!doctype html>")
    assert found._repr_html_() in page
    assert "<script" not in page
    assert "http" not in page
    assert page.count("<table") == 3, "one map a pattern, the N:M ones together"
    assert "2:4 (50%)" in page
    assert "1:4 (75%)" in page
    assert "background:#" in page


def test_html_is_escaped(found: WhatIf) -> None:
    layer = replace(found.layers[0], layers=("<b>&",))
    page = replace(found, layers=(layer,))._repr_html_()
    assert "<b>&" not in page
    assert "&lt;b&gt;&amp;" in page


def test_it_becomes_json(found: WhatIf) -> None:
    data = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert data["origin"] == "estimated"
    assert data["layers"][1]["layers"] == ["2", "4"]
    assert set(data["layers"][0]["crossovers"]) == {"unstructured", "nm 2:4", "nm 1:4", "block 8x8"}
    assert {"speedup", "nbytes", "encoding", "us", "reason"} <= set(data["layers"][0]["prospects"][0])
    assert data["model"][0]["dense_nbytes"] > 0


def test_a_page_that_cannot_be_written_is_an_error(found: WhatIf, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"write .*map.html: .* Try: a file in a folder"):
        found.save_html(tmp_path / "missing" / "map.html")


def test_colours_run_from_red_by_pale_to_green() -> None:
    assert heat.colour(0.5) == heat.colour(0.01)
    assert heat.colour(8.0) == heat.colour(100.0)
    assert heat.colour(1.0) == "#faf7ee"
    greens = [heat.colour(s) for s in (1.0, 1.5, 2.0, 4.0, 8.0)]
    assert greens == sorted(greens, reverse=True), "less and less red"
    assert heat.colour(0.7)[1:3] > heat.colour(1.5)[1:3]
    assert heat.style(None) == ""
    assert [heat.percent(z) for z in (0.5, 0.875, 0.99)] == ["50%", "87.5%", "99%"]


def test_cells_say_what_is_behind_them() -> None:
    assert heat.cell(None, 4) == heat.Cell("")
    nothing = Prospect("nm 2:4", 0.5, 0.5, "", 4, (), (), "too small")
    assert heat.cell(nothing, 4) == heat.Cell("-", None, "too small")
    shown = heat.cell(replace(made(0.9, 2.0), nbytes=1), 4)
    assert (shown.text, shown.speedup) == ("2.00x  25%", 2.0)
    assert "csr: 1.0 us, 1 B, 90.0% zeros" in shown.title
    layer = LayerProspects(("a",), 1, 1, "float32", "", 0.0, (1,), (1.0,), 4, (nothing,))
    assert layer.at("nm 2:4", 0.5) is nothing
    assert layer.at("nm 2:4", 0.9) is None
    assert math.isclose(heat.COLDEST * heat.HOTTEST, 4.0)
