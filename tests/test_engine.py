"""The engine: times, throughput against the closed form, stalls, deadlocks, interruption, timelines."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spcomp.errors import InputError, SimulationError
from spcomp.sim.engine import Channel, Clock, Component, Engine, Process, RunResult, Stall
from spcomp.sim.perfetto import trace_events, write_perfetto
from spcomp.sim.timeline import Timeline

CLOCK = Clock(1000)


class Worker(Component):
    """Takes an item, works on it, hands it on; the first of a chain makes its items."""

    def __init__(
        self,
        name: str,
        cycles: Sequence[int],
        source: Channel[int] | None,
        sink: Channel[int] | None,
        clock: Clock = CLOCK,
    ) -> None:
        super().__init__(name, clock)
        self.cycles, self.source, self.sink = cycles, source, sink
        self.got_fs: list[int] = []

    def run(self) -> Process[None]:
        for k, cycles in enumerate(self.cycles):
            item = k
            if self.source is not None:
                item = yield from self.get(self.source)
                self.got_fs.append(self.now_fs)
            assert item == k
            yield from self.work(f"item {k}", cycles)
            self.count("items")
            if self.sink is not None:
                yield from self.put(self.sink, item)


class Calls(Component):
    """Runs one function after some cycles, then works on."""

    def __init__(self, name: str, cycles: int, call: object) -> None:
        super().__init__(name, CLOCK)
        self.cycles, self.call = cycles, call

    def run(self) -> Process[None]:
        yield from self.work("before", self.cycles)
        assert callable(self.call)
        self.call()
        yield from self.work("after", self.cycles)


def chain(stages: Sequence[Sequence[int]], capacity: int = 1, latency_fs: int = 0) -> tuple[Engine, RunResult]:
    engine = Engine()
    pipes = [engine.channel(f"pipe {k}", capacity, latency_fs) for k in range(len(stages) - 1)]
    for k, cycles in enumerate(stages):
        engine.add(Worker(f"stage {k}", cycles, pipes[k - 1] if k else None, pipes[k] if k < len(pipes) else None))
    return engine, engine.run()


@pytest.mark.parametrize("latency", [0, 1, 700])
def test_blocked_one_femtosecond_before_and_ready_at_its_time(latency: int) -> None:
    engine = Engine()
    pipe = engine.channel("pipe", 2, latency)
    sink = Worker("sink", [1], pipe, None)
    engine.add(Worker("source", [3], None, pipe))
    engine.add(sink)
    at = 3000 + latency
    while engine.env.peek() < at:
        engine.env.step()
        assert not sink.got_fs
        assert pipe.ready == 0
    engine.run()
    assert sink.got_fs == [at]
    assert sink.stalls_fs == {Stall("pipe", "empty"): at}


def test_a_full_channel_holds_up_until_something_is_taken() -> None:
    _, result = chain([[1, 1, 1, 1], [10, 10, 10, 10]])
    # items are made at 1, 2, 3 and 4 thousand; the channel has room again when the second stage takes one
    assert result.stalls_fs["stage 0"] == {Stall("pipe 0", "full"): 8000 + 9000}
    assert result.stalls_fs["stage 1"] == {Stall("pipe 0", "empty"): 1000}
    assert result.time_fs == 41_000
    assert result.counts == {"stage 0": {"items": 4}, "stage 1": {"items": 4}}


@given(
    st.lists(st.integers(0, 20), min_size=1, max_size=5), st.integers(1, 25), st.integers(1, 4), st.integers(0, 30)
)  # fmt: skip
@settings(deadline=None)
def test_a_pipeline_takes_fill_and_drain_and_its_slowest_stage(
    times: list[int], items: int, capacity: int, latency: int
) -> None:
    """An item takes each stage once; between items the slowest stage counts. Latency is added, or it holds up."""
    _, result = chain([[cycles] * items for cycles in times], capacity, latency * 1000)
    slowest = max(times)
    closed = sum(times) + (items - 1) * slowest + (len(times) - 1) * latency
    if latency <= slowest * (capacity - 1):
        assert result.time_fs == closed * 1000
    else:
        assert result.time_fs >= closed * 1000


@given(
    st.lists(st.lists(st.integers(0, 9), min_size=12, max_size=12), min_size=2, max_size=4),
    st.integers(1, 3), st.integers(0, 2500),
)  # fmt: skip
@settings(deadline=None)
def test_work_and_stalls_sum_to_the_time_alive_and_runs_are_alike(
    stages: list[list[int]], capacity: int, latency_fs: int
) -> None:
    engine, result = chain(stages, capacity, latency_fs)
    for name, alive in result.alive_fs.items():
        assert result.busy_fs[name] + sum(result.stalls_fs[name].values()) == alive
        assert result.timeline.busy_fs(name) == result.busy_fs[name]
    for pipe in engine.channels.values():
        assert (pipe.puts, pipe.gets, len(pipe)) == (12, 12, 0)
        assert pipe.most <= capacity
    again = chain(stages, capacity, latency_fs)[1]
    assert again.timeline == result.timeline
    assert (again.stalls_fs, again.counts, again.time_fs) == (result.stalls_fs, result.counts, result.time_fs)


class Loader(Component):
    """Fills a free half of a buffer."""

    def __init__(self, transfers: Sequence[int], free: Channel[int], full: Channel[int]) -> None:
        super().__init__("loader", CLOCK)
        self.transfers, self.free, self.full = transfers, free, full

    def run(self) -> Process[None]:
        for cycles in self.transfers:
            yield from self.get(self.free)
            yield from self.work("load", cycles)
            yield from self.put(self.full, 0)


class Computer(Component):
    def __init__(self, times: Sequence[int], free: Channel[int], full: Channel[int]) -> None:
        super().__init__("array", CLOCK)
        self.times, self.free, self.full = times, free, full

    def run(self) -> Process[None]:
        for _ in range(2):
            yield from self.put(self.free, 0)
        for cycles in self.times:
            yield from self.get(self.full)
            yield from self.work("compute", cycles)
            yield from self.put(self.free, 0)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=20))
@settings(deadline=None)
def test_double_buffering_hides_the_smaller_of_memory_and_compute(steps: list[tuple[int, int]]) -> None:
    transfers, times = zip(*steps, strict=True)
    engine = Engine()
    free, full = engine.channel("free", len(steps) + 2), engine.channel("full", 2)
    engine.add(Loader(transfers, free, full))
    engine.add(Computer(times, free, full))
    result = engine.run()
    cycles = result.time_fs // CLOCK.period_fs
    assert max(sum(transfers), sum(times)) <= cycles <= sum(transfers) + sum(times)
    stalls = [max(0, load - before) for load, before in zip(transfers, (0, *times[:-1]), strict=True)]
    assert result.stalls_fs["array"].get(Stall("full", "empty"), 0) == 1000 * sum(stalls)
    assert cycles == sum(times) + sum(stalls)


def test_a_deadlock_names_who_waits_for_what() -> None:
    engine = Engine()
    left, right = engine.channel("left", 2), engine.channel("right", 3)
    engine.add(Worker("a", [1, 1, 1], right, left))
    engine.add(Worker("b", [1, 1, 1], left, right))
    engine.add(Worker("c", [5, 5, 5, 5], None, engine.channel("nobody", 2)))
    with pytest.raises(
        SimulationError,
        match=r"a deadlock at 15000 fs: 'a' waits since 0 fs to get from 'right' \(empty, 0 of 3 items\); 'b' waits "
        r"since 0 fs to get from 'left' \(empty, 0 of 2 items\); 'c' waits since 15000 fs to put into 'nobody' \(full",
    ):
        engine.run()


def test_a_server_may_wait_but_not_while_somebody_else_does() -> None:
    engine = Engine()
    pipe = engine.channel("pipe", 1)
    server = Worker("server", [1] * 9, pipe, None)
    server.background = True
    engine.add(server)
    engine.add(Worker("client", [2, 2], None, pipe))
    assert engine.run().time_fs == 5000
    engine.add(Worker("other", [1], engine.channel("dry", 1), None))
    with pytest.raises(SimulationError, match=r"'server' waits since .*'other' waits since"):
        engine.run()


def test_an_event_that_nobody_fires_is_a_deadlock() -> None:
    class Lost(Component):
        def run(self) -> Process[None]:
            yield self._here().env.event()

    engine = Engine()
    engine.add(Lost("lost", CLOCK))
    with pytest.raises(SimulationError, match="'lost' waits for an event that nobody fires"):
        engine.run()


def test_what_a_component_raises_comes_out_as_it_is() -> None:
    def fail() -> None:
        raise InputError("do it", "no way", "something else")

    engine = Engine()
    engine.add(Calls("a", 1, fail))
    with pytest.raises(InputError, match=r"do it: no way\. Try: something else"):
        engine.run()


@pytest.mark.parametrize("signalled", [True, False])
def test_ctrl_c_leaves_a_valid_partial_result(signalled: bool, tmp_path: Path) -> None:
    def interrupt() -> None:
        if not signalled:
            raise KeyboardInterrupt
        os.kill(os.getpid(), signal.SIGINT)

    engine = Engine()
    pipe = engine.channel("pipe", 1)
    engine.add(Worker("source", [3] * 100, None, pipe))
    engine.add(Worker("sink", [7] * 100, pipe, None))
    engine.add(Calls("user", 50, interrupt))
    result = engine.run()
    assert result.interrupted
    assert result.time_fs == 50_000
    for name in ("source", "sink"):
        assert result.busy_fs[name] + sum(result.stalls_fs[name].values()) == result.alive_fs[name] == 50_000
        assert result.timeline.busy_fs(name) == result.busy_fs[name]
    assert result.counts["sink"] == {"items": 6}
    write_perfetto(result.timeline, tmp_path / "t.json")
    assert json.loads((tmp_path / "t.json").read_text())["traceEvents"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    rest = engine.run()
    assert (rest.interrupted, rest.time_fs) == (False, 3000 + 700_000)
    assert rest.busy_fs["sink"] + sum(rest.stalls_fs["sink"].values()) == rest.time_fs


def test_parts_keep_their_own_clocks() -> None:
    engine = Engine()
    pipe = engine.channel("pipe", 1)
    engine.add(Worker("fast", [1] * 4, None, pipe, Clock.of_mhz(2000)))
    engine.add(Worker("slow", [1] * 4, pipe, None, Clock.of_mhz(800)))
    assert engine.run().time_fs == 500_000 + 4 * 1_250_000
    assert Clock(1000).cycles(2001) == 3
    assert Clock.of_mhz(3000).period_fs == 333_333


def test_a_timeline_is_perfetto_s_json(tmp_path: Path) -> None:
    _, result = chain([[1, 2], [3, 4]])
    made = trace_events(result.timeline)["traceEvents"]
    slices = [event for event in made if event["ph"] == "X"]
    assert [(e["tid"], e["name"], e["args"]["begin_fs"], e["args"]["end_fs"]) for e in slices] == [
        (1, "item 0", 0, 1000), (1, "item 1", 1000, 3000), (2, "item 0", 1000, 4000), (2, "item 1", 4000, 8000)
    ]  # fmt: skip
    assert slices[3]["ts"] == 4e-6
    assert slices[3]["dur"] == 4e-6
    assert {e["args"]["name"] for e in made if e["name"] == "thread_name"} == {"stage 0", "stage 1"}
    assert [e["args"]["value"] for e in made if e["ph"] == "C"] == [0, 0, 1, 0]  # the first is taken at once
    with pytest.raises(InputError, match=r"write .*nowhere"):
        write_perfetto(result.timeline, tmp_path / "nowhere" / "t.json")


def test_slices_of_a_track_never_overlap() -> None:
    timeline = Timeline()
    timeline.add("a", "x", 0, 10)
    timeline.add("b", "x", 5, 7)
    timeline.add("a", "y", 10, 12)
    with pytest.raises(InputError, match="add 'z' to the track 'a': 11 to 13 fs, after a slice that ends at 12 fs"):
        timeline.add("a", "z", 11, 13)


def test_impossible_parts_are_refused() -> None:
    engine = Engine()
    engine.channel("pipe", 1)
    with pytest.raises(InputError, match="make the channel 'pipe': there is one of that name"):
        engine.channel("pipe", 1)
    with pytest.raises(InputError, match=r"a capacity of 0 and a latency of 0 fs\. Try: a capacity of at least 1"):
        engine.channel("none", 0)
    engine.add(Calls("a", 1, int))
    with pytest.raises(InputError, match="add the component 'a': there is one of that name"):
        engine.add(Calls("a", 1, int))
    with pytest.raises(InputError, match="a period of 0 fs"):
        Clock(0)
    with pytest.raises(InputError, match="-1 MHz"):
        Clock.of_mhz(-1)
    with pytest.raises(InputError, match="run the component 'b': it is in no engine"):
        next(Calls("b", 1, int).run())
    engine = Engine()
    engine.add(Calls("a", -1, int))
    with pytest.raises(InputError, match=r"let 'a' work on 'before': -1000 fs\. Try: no neg"):
        engine.run()


def test_without_a_trace_totals_are_the_same() -> None:
    engine = Engine(trace=False)
    engine.add(Calls("a", 5, int))
    result = engine.run()
    assert (result.busy_fs, result.timeline.slices) == ({"a": 10_000}, [])
