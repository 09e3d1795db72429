"""What `/metrics` tells: requests, latencies, batch sizes, queue, streams, states."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


class Meters:
    """Counters of one service, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        own = {"registry": registry}
        self._requests = Counter("gatework_requests", "Requests answered.", ("model", "door", "status"), **own)
        self._seconds = Histogram(
            "gatework_request_seconds", "From a request's last byte to its answer.", ("model",), buckets=SECONDS, **own
        )
        self._texts = Histogram("gatework_batch_texts", "Texts run together.", ("model",), buckets=SIZES, **own)
        self.queue = Gauge("gatework_queue_requests", "Requests that wait for an answer.", **own)
        self.streams = Gauge("gatework_streams", "Streams under way.", **own)
        self.models = Gauge("gatework_models", "Models loaded.", **own)
        self.state_bytes = Gauge("gatework_state_bytes", "States of sequences that are kept.", **own)
        self.sequences = Gauge("gatework_sequences", "Sequences that are kept.", **own)
        self._kept: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._kept_texts: dict[str, Histogram] = {}

    def answered(self, model: str, door: str, status: int, seconds: float) -> None:
        """Count a request. `door` is v1, v2, grpc or socket; `model` is that of a model that is there, or empty."""
        found = self._kept.get((model, door, status))
        if found is None:
            found = self._requests.labels(model, door, str(status)), self._seconds.labels(model)
            self._kept[model, door, status] = found
        found[0].inc()
        found[1].observe(seconds)

    def ran(self, model: str, texts: int) -> None:
        """Count a call of the kernels."""
        found = self._kept_texts.get(model)
        if found is None:
            found = self._kept_texts[model] = self._texts.labels(model)
        found.observe(texts)

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        found: bytes = generate_latest(self._registry)
        return found
