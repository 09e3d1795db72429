"""Bundles as a service: HTTP, gRPC and WebSocket, with the Open Inference Protocol. Needs the extra `serve`; no torch.

serve(["spam.gw"], Settings(port=8000))                    # until SIGTERM
app = make_service(["spam.gw"], Limits())                  # an ASGI application, for a server of one's own

Names are loaded when first used: `gatework --help` needs none of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gatework.server.limits import Limits
    from gatework.server.run import Settings, serve
    from gatework.server.service import Service, make_service

__all__ = ["Limits", "Service", "Settings", "make_service", "serve"]

_HOME = {"Limits": "limits", "Settings": "run", "serve": "run", "Service": "service", "make_service": "service"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"gatework.server.{_HOME[name]}"), name)
