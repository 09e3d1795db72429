"""What a service allows a request, a connection, and all of them together."""

from __future__ import annotations

from dataclasses import dataclass

from gatework.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Bounds; one that is passed is answered with a status and a sentence. Raises ConfigError: one is 0."""

    body_bytes: int = 8 << 20
    """Of a request, as sent and as unpacked; 413."""
    bodies_bytes: int = 256 << 20
    """Of all requests that are being read or answered; 503."""
    text_chars: int = 100_000
    """Of a text; 422."""
    batch: int = 256
    """Texts of a request; 422."""
    queue: int = 1024
    """Requests that wait for an answer; 429."""
    seconds: float = 30.0
    """From a request's last byte to its answer; 503."""
    streams: int = 64
    """Streams at once: server-sent events, WebSockets, gRPC streams; 503."""
    sequence_seconds: float = 600.0
    """That the state of a sequence is kept without being asked for."""
    state_bytes: int = 256 << 20
    """Of the states of all sequences; 503."""
    tokens: int = 4096
    """Tokens that a language model may be asked to write; 422."""
    beams: int = 32
    """Beams, answers or ranked paths that a request may ask for; 422."""
    connections: int = 2048
    """Open HTTP connections; further ones are told 503 and closed."""
    header_bytes: int = 64 << 10
    """Of a request's head; 431."""
    header_seconds: float = 10.0
    """For a request's head to arrive; the connection is closed."""
    body_seconds: float = 30.0
    """For a request's body to arrive; 408."""

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if not getattr(self, name) > 0:
                raise ConfigError(f"serve: the limit {name} must be above 0, got {getattr(self, name)!r:.40}.")
