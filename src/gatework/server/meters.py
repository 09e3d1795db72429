"""What `/metrics` tells: requests, latencies, batch sizes, queue, streams, states."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate
from threading import Lock
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.utils import floatToGoString

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


class _Counts:
    """A counter by labels: what the library's does in a tenth of its time, as every request is counted."""

    def __init__(self, name: str, about: str, labels: tuple[str, ...]) -> None:
        self._about = name, about, labels
        self._values: dict[tuple[str, ...], int] = {}

    def add(self, labels: tuple[str, ...]) -> None:
        """One more. On one thread, the event loop's."""
        self._values[labels] = self._values.get(labels, 0) + 1

    def collect(self) -> Iterator[Any]:
        """What Prometheus reads."""
        name, about, labels = self._about
        found = CounterMetricFamily(name, about, labels=labels)
        for own, value in list(self._values.items()):
            found.add_metric(own, value)
        yield found


class _Spread:
    """A histogram by labels, the same way; on any thread."""

    def __init__(self, name: str, about: str, labels: tuple[str, ...], bounds: Sequence[float]) -> None:
        self._about, self._bounds = (name, about, labels), bounds
        self._ends = [*(floatToGoString(bound) for bound in bounds), "+Inf"]
        self._lock = Lock()
        self._values: dict[tuple[str, ...], list[float]] = {}
        """How many lie in each bucket, and their sum."""

    def add(self, labels: tuple[str, ...], value: float) -> None:
        """One more."""
        with self._lock:
            row = self._values.get(labels)
            if row is None:
                row = self._values[labels] = [0] * (len(self._ends) + 1)
            row[bisect_left(self._bounds, value)] += 1
            row[-1] += value

    def collect(self) -> Iterator[Any]:
        """What Prometheus reads: buckets that count what lies below, too."""
        name, about, labels = self._about
        found = HistogramMetricFamily(name, about, labels=labels)
        with self._lock:
            rows = {own: list(row) for own, row in self._values.items()}
        for own, row in rows.items():
            found.add_metric(own, list(zip(self._ends, accumulate(row[:-1]), strict=True)), row[-1])
        yield found


class Meters:
    """Counters of one service, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        own = {"registry": registry}
        self._requests = _Counts("gatework_requests", "Requests answered.", ("model", "door", "status"))
        self._seconds = _Spread(
            "gatework_request_seconds", "From a request's last byte to its answer.", ("model",), SECONDS
        )
        self._texts = _Spread("gatework_batch_texts", "Texts run together.", ("model",), SIZES)
        for one in (self._requests, self._seconds, self._texts):
            registry.register(one)
        self.queue = Gauge("gatework_queue_requests", "Requests that wait for an answer.", **own)
        self.streams = Gauge("gatework_streams", "Streams under way.", **own)
        self.models = Gauge("gatework_models", "Models loaded.", **own)
        self.state_bytes = Gauge("gatework_state_bytes", "States of sequences that are kept.", **own)
        self.sequences = Gauge("gatework_sequences", "Sequences that are kept.", **own)

    def answered(self, model: str, door: str, status: int, seconds: float) -> None:
        """Count a request. `door` is v1, v2, grpc or socket; `model` is that of a model that is there, or empty."""
        self._requests.add((model, door, str(status)))
        self._seconds.add((model,), seconds)

    def ran(self, model: str, texts: int) -> None:
        """Count a call of the kernels, on any thread."""
        self._texts.add((model,), texts)

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        found: bytes = generate_latest(self._registry)
        return found
