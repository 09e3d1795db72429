"""Work that nobody waits for is given up between two batches, whatever the model; other threads go on."""

import threading

import pytest

from gatework.core.interrupt import check, while_wanted
from gatework.runtime import load
from services import write_bundles

TEXT = "the cat sat . a red dog ran " * 30
WORK = {
    "classify": lambda model: model.predict_batch([TEXT] * 600),
    "tag": lambda model: model.predict_batch([TEXT] * 600),
    "translate": lambda model: model.predict_batch([TEXT[:30]] * 6000, beams=1, max_tokens=1),
    "lm": lambda model: model.score([TEXT] * 600),
}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return write_bundles(tmp_path_factory.mktemp("interrupted"))


def test_nothing_is_given_up_unasked():
    check()
    with while_wanted(lambda: True):
        check()


def test_it_is_the_innermost_that_counts_and_the_thread_that_asks():
    heard = []

    def other():
        check()
        heard.append("went on")

    with while_wanted(lambda: False):
        with while_wanted(lambda: True):
            check()
        with pytest.raises(TimeoutError):
            check()
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    check()
    assert heard == ["went on"]


@pytest.mark.parametrize("kind", WORK)
def test_models_stop_between_batches(small, kind):
    """Asked several times, so there is more than one batch, and after the third no more."""
    asked, model = [], load(small[kind])

    def wanted():
        asked.append(1)
        return len(asked) < 3

    with while_wanted(wanted), pytest.raises(TimeoutError):
        WORK[kind](model)
    assert len(asked) == 3
