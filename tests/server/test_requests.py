"""JSON as it comes in: what is an object is read, long bodies without stopping the collector for good."""

import gc

import pytest

from services import need_extra

need_extra()

from gatework.server.refusal import Refusal  # noqa: E402
from gatework.server.requests import LONG, parsed  # noqa: E402

LISTS = b'{"text":[' + b"[]," * LONG + b"[]]}"


def test_garbage_is_not_collected_within_a_long_body():
    passes = []
    gc.callbacks.append(lambda phase, told: passes.append(phase))
    try:
        found = parsed(LISTS)
    finally:
        gc.callbacks.pop()
    assert len(found["text"]) == LONG + 1
    assert passes.count("start") <= 1, "that after it"
    assert gc.isenabled()


@pytest.mark.parametrize("body", [LISTS[:-1], b"[" + b"1," * LONG + b"1]", b"\xff" * (LONG + 1)])
def test_it_is_collected_again_after_a_body_that_is_refused(body):
    with pytest.raises(Refusal, match="The body"):
        parsed(body)
    assert gc.isenabled()


def test_who_stopped_the_collector_keeps_it_so():
    gc.disable()
    try:
        parsed(LISTS)
        assert not gc.isenabled()
    finally:
        gc.enable()
