"""Whether what serving needs is installed; imports nothing of it."""

from __future__ import annotations

from importlib.util import find_spec

from gatework.core.errors import MissingExtraError

NEEDED = ("grpc", "starlette", "uvicorn", "httptools", "orjson", "prometheus_client", "websockets")


def check_installed() -> None:
    """Raise MissingExtraError unless what serving needs is there."""
    if any(find_spec(name) is None for name in NEEDED):
        raise MissingExtraError("serve", "serve")
