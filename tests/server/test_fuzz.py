"""Requests that are nearly right, a few hundred from a fixed seed; scripts/fuzz-service sends as many as one likes."""

from collections import Counter
from random import Random

import pytest

from services import need_extra

need_extra()

import grpc  # noqa: E402

from fuzzing import frames, http, rpc  # noqa: E402


def test_http(everything):
    seen = Counter()
    for number in range(300):
        request = http.make(Random(f"http-1-{number}"))
        seen[http.check(everything.port, request)] += 1
    assert {200, 400, 404, 409, 415, 422} <= set(seen), seen
    everything.idle()


def test_grpc(everything):
    seen = Counter()
    with grpc.insecure_channel(f"127.0.0.1:{everything.grpc_port}") as channel:
        for number in range(200):
            name, data = rpc.make(Random(f"grpc-1-{number}"))
            seen[rpc.check(channel, name, data)] += 1
    assert {"OK", "INVALID_ARGUMENT", "NOT_FOUND"} <= set(seen), seen
    everything.idle()


def test_sockets(everything):
    seen = Counter()
    for number in range(120):
        model, data, whole = frames.make(Random(f"socket-1-{number}"))
        seen[frames.check(everything.port, model, data, whole)] += 1
    assert {"answered", "closed 1002", "closed 1007"} <= set(seen), seen
    http.check_alive(everything.port)
    everything.idle()


@pytest.mark.parametrize("make", [http.make, rpc.make, frames.make])
def test_a_seed_gives_the_same_again(make):
    assert [make(Random(n)) for n in range(20)] == [make(Random(n)) for n in range(20)]
