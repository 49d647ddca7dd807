"""Progress is told with rate and time left, at a pace that logs can bear."""

import io

import pytest
from rich.console import Console

from assets.progress import Lines, Pace, duration, listening, number, report
from pipeline.run import Bars


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def lines(reports):
    clock, said = Clock(), []
    tell = Lines(said.append, clock=clock)
    for seconds, *rest in reports:
        clock.now = 1000.0 + seconds
        tell(*rest)
    return said


def test_a_line_every_30_seconds_with_rate_and_time_left():
    assert lines([(s, "rollouts", 100 + 2 * s, 1100, 50 * s) for s in range(100)]) == [
        "rollouts: 160 of 1,100 (15%), 2 a second, 50 tokens a second, 8 min left",
        "rollouts: 220 of 1,100 (20%), 2 a second, 50 tokens a second, 7 min left",
        "rollouts: 280 of 1,100 (25%), 2 a second, 50 tokens a second, 7 min left",
    ]


def test_quick_work_is_not_mentioned_and_kinds_are_told_apart():
    assert lines([(s, "verdicts", s, 29) for s in range(30)]) == []
    told = lines([(s, f"kind {s % 2}", s, None) for s in range(0, 70, 7)])
    assert [line.split(":")[0] for line in told] == ["kind 0", "kind 1"]
    assert "of" not in told[0].split(",")[0]


def test_what_was_there_before_does_not_count_as_done_now():
    pace = Pace()
    pace.update(0, 5000)
    assert pace.rate is None
    pace.update(10, 5010)
    assert pace.rate == 1.0
    assert pace.left(5010, 5110) == 100.0


def test_the_rate_is_that_of_the_last_minutes():
    pace = Pace()
    for second in range(0, 2000, 5):
        pace.update(second, min(second, 1000) * 10)
    assert pace.rate is None or pace.rate < 0.5


def test_standing_still_promises_nothing():
    assert lines([(0, "rollouts", 3, 9), (31, "rollouts", 3, 9)]) == ["rollouts: 3 of 9 (33%)"]
    assert lines([(0, "rollouts", 0, 0), (31, "rollouts", 0, 0)]) == ["rollouts: 0 of 0"]


@pytest.mark.parametrize(
    ("seconds", "told"), [(0.44, "0.4 s"), (119, "119 s"), (125, "2 min"), (7300, "2.0 h"), (200_000, "2.3 days")]
)
def test_durations(seconds, told):
    assert duration(seconds) == told


def test_rates():
    assert [number(x) for x in (0.0123, 3.21, 12.3, 12345.6)] == ["0.012", "3.2", "12", "12,346"]


def test_several_may_listen():
    seen = []

    def listener(name):
        return lambda what, done, total, tokens=0: seen.append((name, what, done, total, tokens))

    with listening(listener("outer")):
        with listening(listener("inner")):
            report("rollouts", 1, 2, 3)
        report("rollouts", 2, 2)
    report("rollouts", 9, 9)
    assert seen == [
        ("outer", "rollouts", 1, 2, 3),
        ("inner", "rollouts", 1, 2, 3),
        ("outer", "rollouts", 2, 2, 0),
    ]


def test_a_terminal_gets_bars_with_rate_and_time_left():
    stream = io.StringIO()
    with Bars(Console(file=stream, force_terminal=True, width=140)) as bars:
        bars("rollouts", 0, 100)
        bars._paces["rollouts"]._seen[0] = (bars._paces["rollouts"]._seen[0][0] - 10, 0, 0)
        bars("rollouts", 50, 100, 700)
    assert "left" in stream.getvalue()
    assert "tokens a second" in stream.getvalue()


def test_a_file_gets_no_bars():
    stream = io.StringIO()
    with Bars(Console(file=stream)) as bars:
        bars("rollouts", 0, 100)
        bars("rollouts", 50, 100)
    assert stream.getvalue() == ""
