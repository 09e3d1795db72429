"""The pool: every part runs once, whoever calls it, before and after a fork; and its size is what was asked for."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading

import pytest

import gatework as gw
from gatework import kernels
from gatework.core.errors import ConfigError
from gatework.kernels import dispatch

pytestmark = pytest.mark.skipif(not kernels.available(), reason="no compiled extension")


@pytest.fixture
def pool():
    before = kernels.threads()
    yield dispatch.extension().threads
    kernels.set_threads(before)


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize("parts", [0, 1, 2, 3, 17, 500])
def test_each_part_runs_once(pool, threads, parts):
    gw.set_threads(threads)
    for turns in (0, 0, 3000):
        assert pool.visits(parts, 1, turns) == [1] * parts


def test_regions_within_parts_run_once_too(pool):
    gw.set_threads(4)
    for _ in range(20):
        assert pool.visits(9, 7, 1000) == [1] * 63


def test_many_short_regions_with_idle_times_between(pool):
    gw.set_threads(3)
    for round in range(300):
        assert pool.visits(1 + round % 5, 1, 100 * (round % 7)) == [1] * (1 + round % 5)
        pool.seconds(round % 3, 1, 20_000)  # the threads fall asleep meanwhile, or nearly


def test_resizing_between_regions(pool):
    for threads in (1, 5, 2, 2, 7, 1, 3):
        gw.set_threads(threads)
        assert gw.threads() == threads
        assert pool.visits(20, 1, 2000) == [1] * 20


def test_python_threads_at_once(pool):
    gw.set_threads(3)
    wrong = []

    def work():
        for _ in range(200):
            if pool.visits(6, 2, 500) != [1] * 12:
                wrong.append(threading.get_ident())

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for size in (2, 4, 1, 3) * 10:
        gw.set_threads(size)
    for worker in workers:
        worker.join(60)
        assert not worker.is_alive()
    assert not wrong


def _in_child(parts: int) -> list[int]:
    return dispatch.extension().threads.visits(parts, 1, 1000)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
def test_after_a_fork(pool):
    gw.set_threads(3)
    assert pool.visits(8, 1, 1000) == [1] * 8
    for _ in range(5):
        child = os.fork()
        if child == 0:
            fine = gw.threads() == 3 and all(pool.visits(8, 1, 1000) == [1] * 8 for _ in range(20))
            os._exit(0 if fine else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert pool.visits(8, 1, 1000) == [1] * 8


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
def test_a_fork_while_another_thread_is_inside_a_region(pool):
    gw.set_threads(2)
    going = threading.Event()

    def work():
        going.set()
        pool.seconds(1, 4, 20_000_000)

    other = threading.Thread(target=work)
    other.start()
    going.wait()
    child = os.fork()
    if child == 0:
        os._exit(0 if pool.visits(8, 1, 1000) == [1] * 8 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    other.join()


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
def test_forked_workers(pool):
    gw.set_threads(2)
    pool.visits(8, 1, 1000)
    with multiprocessing.get_context("fork").Pool(2) as workers:
        assert workers.map_async(_in_child, range(20)).get(60) == [[1] * parts for parts in range(20)]


def test_floating_point_modes_are_the_callers(pool):
    # Denormals are flushed, or not, whichever thread takes a part.
    torch = pytest.importorskip("torch")
    gw.set_threads(2)
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor does not flush denormals")
    try:
        assert pool.denormals(64, 2000) == [0.0] * 64
    finally:
        torch.set_flush_denormal(False)
    assert all(value > 0 for value in pool.denormals(64, 2000))


@pytest.mark.parametrize("n", [0, -1, 1025, 2.0, "2", True, None])
def test_bounds(n):
    before = gw.threads()
    with pytest.raises(ConfigError, match=r"set_threads: n must be a whole number from 1 to 1024, got .*\. Use 1"):
        gw.set_threads(n)
    assert gw.threads() == before


def test_the_most_is_what_the_extension_says(pool):
    from gatework.kernels.parallel import MOST

    assert pool.most == MOST
    pool.set_count(5000)  # not reachable through gatework; still no overflow
    assert pool.count() == MOST


def _in_a_process(code: str, **environment: str) -> str:
    names = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=names | environment, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("text", "want"), [("1", "1"), ("3", "3"), ("5,2", "5"), (" 7 ", "7"), ("9999", "1024"), ("", ""), ("0", ""),
                       ("many", ""), ("-2", ""), ("2x", "")],
)  # fmt: skip
def test_environment(text, want):
    code = "import gatework as gw; print(gw.threads())"
    assert _in_a_process(code, OMP_NUM_THREADS=text) == (want or _in_a_process(code))


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no processor affinity on this system")
def test_affinity_is_the_default():
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); import gatework as gw; print(gw.threads())"
    )
    assert _in_a_process(code) == "1"
    assert 1 <= int(_in_a_process("import gatework as gw; print(gw.threads())")) <= len(os.sched_getaffinity(0))


def test_set_threads_wins_over_the_environment():
    code = "import gatework as gw; gw.set_threads(4); print(gw.threads())"
    assert _in_a_process(code, OMP_NUM_THREADS="2") == "4"


@pytest.mark.parametrize("threads", [2, 16])
def test_a_process_ends_cleanly_with_its_threads_asleep_or_awake(threads):
    code = f"import gatework as gw; from gatework import _native; gw.set_threads({threads}); " + (
        "_native.threads.visits(64, 1, 1000); print('done')"
    )
    for _ in range(5):
        assert _in_a_process(code) == "done"


def test_without_the_extension_there_is_one_thread(monkeypatch):
    monkeypatch.setattr(dispatch, "native", None)
    gw.set_threads(4)
    assert gw.threads() == 1
