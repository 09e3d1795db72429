from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import retrain, timing
from benchmarks.records import Results, seconds
from benchmarks.shapes import POOL, SHAPES, Shape, cases, ragged, work
from benchmarks.speed_report import BEGIN, END, GOALS, Files, goals, noise, place, render, speeds
from benchmarks.timing import Timing

KIND = "training float32 ragged"


def taken(seconds: float, mean: float | None = None) -> Timing:
    return Timing(seconds, mean or seconds, 0.01, 10, seconds / 2)


def empty(tmp_path: Path) -> Results:
    return Results(tmp_path / "results.json")


def measured(tmp_path: Path) -> Results:
    """Two shapes: ours 1 and 4 ms, packed 4 and 4 ms, padded 2 and 8 ms."""
    results = empty(tmp_path)
    for shape, times in zip(SHAPES[:2], ((1e-3, 4e-3, 2e-3), (4e-3, 4e-3, 8e-3)), strict=True):
        for name, value in zip(("gatework", "torch packed", "torch padded"), times, strict=True):
            results.add(KIND, 1, shape, name, taken(value), work=1e8, error={"gradient": value}, quiet=0.9)
    return results


def test_work_counts_the_gates_products_and_training_three_times() -> None:
    shape = Shape(5, 2, 3, 4)
    assert work(shape, tokens=1, training=False) == 2 * 4 * 4 * (3 + 4)
    assert work(shape._replace(D=2), tokens=7, training=True) == 7 * 2 * 3 * 2 * 16 * 7


@pytest.mark.parametrize("shape", SHAPES)
def test_lengths_fall_from_T_to_a_fifth_of_it(shape: Shape) -> None:
    lengths_B = ragged(shape, np.random.default_rng(3))
    assert lengths_B[0] == shape.T
    assert (np.diff(lengths_B) <= 0).all()
    assert lengths_B[-1] >= 0.2 * shape.T


def test_cases_repeat_and_hold_zeros_past_the_lengths() -> None:
    (one,), (again,) = cases(SHAPES[3], "ragged"), cases(SHAPES[3], "ragged")
    np.testing.assert_array_equal(one.x_TBI, again.x_TBI)
    assert (one.x_TBI[~one.live_TB] == 0).all()
    assert (one.dy_TBH[~one.live_TB] == 0).all()
    assert (one.x_TBI[one.live_TB] != 0).any(axis=1).all()
    assert one.work(training=False) == work(one.shape, int(one.live_TB.sum()), training=False)


def test_a_bucketed_pool_has_the_same_tokens_and_less_padding() -> None:
    shape = Shape(40, 8, 4, 4)
    pool = cases(shape, "bucketed")
    assert len(pool) == POOL
    assert all(case.lengths_B[0] == case.shape.T for case in pool)
    assert sum(case.live_TB.size for case in pool) < POOL * shape.T * shape.B


def test_ratios_are_joined_by_their_geometric_mean(tmp_path: Path) -> None:
    results = measured(tmp_path)
    assert list(results.ratios(KIND, 1, "torch packed").values()) == pytest.approx([4.0, 1.0])
    assert results.mean_ratio(KIND, 1, "torch packed") == pytest.approx(2.0)
    assert results.mean_ratio(KIND, 1, ["torch packed", "torch padded"]) == pytest.approx(2**0.5)  # of 2 and 1
    assert results.mean_ratio(KIND, 2, "torch packed") is None
    assert results.worst_error(KIND, 1, "gatework", "gradient") == pytest.approx(4e-3)


def test_ratios_can_go_by_processor_time(tmp_path: Path) -> None:
    results = measured(tmp_path)
    results.add(KIND, 1, SHAPES[0], "torch packed", taken(8e-3)._replace(processor=1e-3))
    results.clock = "processor"
    assert results.ratios(KIND, 1, "torch packed")[str(SHAPES[0])] == pytest.approx(2.0)


def test_results_survive_the_file_and_later_ones_replace_earlier(tmp_path: Path) -> None:
    results = measured(tmp_path)
    results.peak(1, 280.0)
    results.save()
    again = Results(results.file)
    again.peak(1, 270.0)
    again.add(KIND, 1, SHAPES[0], "gatework", taken(5e-4), work=1e8)
    again.save()
    kept = Results(results.file)
    assert kept.about["peak"] == {"1": 280.0}
    assert len(kept.records) == 6
    assert kept.of(KIND, 1, SHAPES[0])["gatework"]["gflops"] == pytest.approx(200.0)


def test_the_table_marks_the_best_and_says_the_ratio(tmp_path: Path) -> None:
    lines = speeds(measured(tmp_path), KIND, 1)
    assert lines[0] == "### Training float32 ragged, 1 thread, useful GFLOP/s"
    assert f"| {SHAPES[0]} | **100** | 25 | 50 |" in lines
    assert "| gatework over it |  | x 2.00 | x 2.00 |" in lines


def test_goals_say_what_is_reached_and_what_is_not(tmp_path: Path) -> None:
    files = Files(measured(tmp_path), empty(tmp_path), empty(tmp_path), empty(tmp_path))
    lines = goals(files)
    assert "| fp32 training over torch packed | 3.50 | 4.50 | 2.00 | **below the floor** |" in lines
    assert "| fp32 training over torch padded | 1.90 | 2.30 | 2.00 | floor |" in lines
    assert "| int8 inference over ONNX Runtime int8 with lengths | 2.00 | 2.50 | not measured |  |" in lines


def test_times_count_as_reached_when_they_are_short() -> None:
    goal = next(goal for goal in GOALS if goal.title == "one step from Python, int8, H = 512")
    assert [goal.verdict(value) for value in (12e-6, 20e-6, 30e-6)] == ["target", "floor", "**below the floor**"]


def test_second_thread_goals_take_the_median_and_beside_a_neighbour_the_mean(tmp_path: Path) -> None:
    results = empty(tmp_path)
    what = "second thread, training float32"
    for name, one in {
        "one thread": taken(8e-3),
        "2 threads": taken(4e-3),
        "2 threads, neighbour": taken(7e-3, 1e-2),
    }.items():
        results.add(what, 2, SHAPES[1], name, one)
    results.add(what, 2, SHAPES[0], "one thread", taken(1e-3))
    results.add(what, 2, SHAPES[0], "2 threads", taken(1e-3))  # a batch of one: not counted
    lines = goals(Files(results, empty(tmp_path), empty(tmp_path), empty(tmp_path)))
    assert "| second thread over one, quiet (batches above one) | 1.60 | 1.85 | 2.00 | target |" in lines
    assert any("beside a busy neighbour" in line and "| 0.80 |" in line for line in lines)


def test_the_report_says_machine_peak_noise_and_command(tmp_path: Path) -> None:
    results = measured(tmp_path)
    results.peak(1, 283.0)
    results.save()
    text = render(Files(results, *(Results(tmp_path / f"{n}.json") for n in range(3))))
    for part in ("283 GFLOP/s on 1 thread", "Noise:", "python -m", "numpy "):
        assert part in text
    assert "90%" in noise(results)


def test_the_readme_needs_its_markers() -> None:
    assert place(f"a\n{BEGIN}\nold\n{END}\nb\n", "new") == f"a\n{BEGIN}\n\nnew\n{END}\nb\n"
    with pytest.raises(ValueError, match="must hold the lines"):
        place(f"{END}{BEGIN}", "new")


def test_retraining_compares_with_what_was_measured_here_or_else_published() -> None:
    published = {"trec6": {"accuracy": 0.9, "train_seconds": 40.0, "latency_ms": {"p50": 0.2}}}
    after = '{"system": "after", "set": "trec6", "accuracy": 0.91, "train_seconds": 10, "latency_ms": {"p50": 0.05}}'
    row = ["TREC-6", "90.00%", "91.00%", "+1.00", "40", "10", "x 4.00", "200", "50"]
    assert retrain.rows(*retrain.load([after], published)) == [row]
    before = after.replace("after", "before").replace("10", "20")
    assert retrain.rows(*retrain.load([before, after], published))[0][4:7] == ["20", "10", "x 2.00"]


def test_bursts_take_turns_and_leave_the_first_call_out() -> None:
    order: list[str] = []

    def contestant(name: str) -> timing.Spent:
        order.append(name)
        return [(1.0, 0.5), (3.0, 0.7)] if name == "a" else [(2.0, 1.0)]

    found = timing.interleave({n: lambda n=n: contestant(n) for n in "ab"}, seconds=0.0, rounds=3)
    assert order == list("ababab")
    assert found["a"].median == 2.0
    assert found["b"] == Timing(2.0, 2.0, 0.0, 3, 1.0)
    calls: list[int] = []
    assert timing.burst(lambda: calls.append(1), seconds=0.001)
    assert len(calls) > 10


def test_units_of_time() -> None:
    assert [seconds(value) for value in (1.5, 0.0123, 8.5e-7)] == ["1.5 s", "12.3 ms", "0.85 µs"]
