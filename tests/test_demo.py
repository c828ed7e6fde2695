"""The demo from end to end on tiny settings: its table has its columns, its accuracy is the compiled model's."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest
from rich.console import Console

from spcomp.demo import settings
from spcomp.demo.html import page
from spcomp.demo.models import DigitsMLP, DigitsViT
from spcomp.demo.result import COLUMNS, DemoResult, cells
from spcomp.demo.run import run_demo
from spcomp.demo.settings import DemoSettings, Subject
from spcomp.demo.table import print_result
from spcomp.demo.training import Settings

pytest.importorskip("sklearn")
SHORT = Settings(epochs=4, learning_rate=3e-3)
seen: list[tuple[str, int, int]] = []


def tiny_mlp() -> DigitsMLP:
    return DigitsMLP(width=128)


def tiny_vit() -> DigitsViT:
    return DigitsViT(width=32, layers=1, heads=2, mlp_width=64)


@pytest.fixture(scope="module")
def result() -> DemoResult:
    subjects = (
        Subject(tiny_mlp, settings.recipes(DigitsMLP.TINY), SHORT, SHORT),
        Subject(tiny_vit, settings.recipes(DigitsViT.TINY)[:1], SHORT, SHORT),
    )
    chosen = DemoSettings(subjects, batches=(1, 4, 32), race_seconds=0.05, quick=True, engine="eager")
    return run_demo(chosen, lambda what, done, total, detail="": seen.append((what, done, total)))


def test_rows_say_what_was_measured(result: DemoResult) -> None:
    assert [(r.model, r.pruning) for r in result.rows] == [
        ("DigitsMLP", "unstructured 90%"),
        ("DigitsMLP", "nm 2:4"),
        ("DigitsMLP", "block 8x1 90%"),
        ("DigitsViT", "unstructured 90%"),
    ]
    for row in result.rows:
        assert row.accuracy == pytest.approx(row.eager_accuracy, abs=0.005)
        assert row.error < 1e-4
        assert row.zeros == pytest.approx(0.5 if row.pruning == "nm 2:4" else 0.9, abs=0.01)
        assert min(row.nbytes, row.dense_nbytes, row.saved_nbytes) > 0
        assert [latency.batch for latency in row.latencies] == [1, 4, 32]
        for latency in row.latencies:
            assert latency.compiled_ms > 0
            assert latency.lower <= latency.speedup
            assert latency.dense_program in latency.others_ms
            layers = sum(int(part.split()[0]) for part in latency.encodings.split(", "))
            assert layers == len(row.explanation.decisions)
    assert result.rows[0].dense_accuracy > 0.9
    assert result.rows[0].accuracy > 0.8


def test_goals_are_judged(result: DemoResult) -> None:
    goals = {goal.name: goal for goal in result.goals()}
    assert len([name for name in goals if "accuracy lost" in name]) == 3
    assert len([name for name in goals if "never slower" in name]) == 4
    lost = goals["DigitsMLP, unstructured 90%: accuracy lost"]
    assert lost.value == pytest.approx(result.rows[0].dense_accuracy - result.rows[0].accuracy)
    assert lost.met == (lost.value <= 0.01)


def test_progress_is_told_and_ends(result: DemoResult) -> None:
    stages = {what: (done, total) for what, done, total in seen}
    assert {"DigitsMLP: train", "DigitsMLP: prune nm 2:4", "DigitsViT: compile and race"} <= set(stages)
    assert all(done == total for done, total in stages.values())


def test_the_table_has_its_columns(result: DemoResult) -> None:
    console = Console(record=True, width=220, file=open("/dev/null", "w"))  # noqa: SIM115
    print_result(result, console)
    text = console.export_text()
    assert all(column in text for column in COLUMNS)
    assert text.count("goal") == len(result.goals())
    assert "QUICK run" in text
    assert len(cells(result.rows)) == sum(len(row.latencies) for row in result.rows)


def test_the_page_stands_alone(result: DemoResult) -> None:
    class Reader(HTMLParser):
        opened: list[str]

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.opened.append(tag)
            assert not {name for name, _ in attrs} & {"src", "href"}, "no outside resources"

    text = page(result)
    reader = Reader()
    reader.opened = []
    reader.feed(text)
    assert "http" not in text
    assert reader.opened.count("details") == len(result.rows)
    assert "script" not in reader.opened


def test_the_result_is_json(result: DemoResult) -> None:
    data = json.loads(json.dumps(result.to_dict()))
    assert len(data["rows"]) == 4
    assert {"name", "value", "target", "met"} <= set(data["goals"][0])
    assert data["rows"][0]["explanation"]["layers"]


def test_full_and_quick_settings() -> None:
    assert settings.quick().quick
    assert len(settings.quick().subjects) == 1
    assert [s.make for s in settings.full().subjects] == [DigitsMLP, DigitsViT]
    assert [len(s.recipes) for s in settings.full(long=True).subjects] == [3, 3]
    assert settings.full(threads=2).threads == 2
