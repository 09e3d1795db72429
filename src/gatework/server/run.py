"""A service as a process: sockets, TLS, signals, and an end that drops nothing.

SIGTERM or Ctrl-C: `/health/ready` says no, and no connection is taken any longer; what was asked is answered, within
`drain` seconds. A second signal ends at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from gatework.core.errors import ConfigError
from gatework.server.connection import Socket, protocol
from gatework.server.gate import read_tokens
from gatework.server.limits import Limits
from gatework.server.memory import give_back_now_and_then
from gatework.server.service import Service, make_service

Say = Callable[[str], None]
KEEP_ALIVE = 75
"""Seconds that an idle connection is kept: longer than balancers keep theirs, so that they close first."""
OTHER_FILES = 48
"""Open at once beside connections."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Where and how a service listens."""

    host: str = "127.0.0.1"
    port: int = 8000
    grpc_port: int | None = None
    """None for no gRPC; 0 for any."""
    token_file: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    workers: int = 0
    """Threads that run models; 0 for one a core, at most four."""
    drain: float = 30.0
    """Seconds that requests have to end when the service is told to stop."""
    folder: Path | None = None
    """Bundles in it may be loaded by name."""

    @property
    def local(self) -> bool:
        """Whether the host is this machine alone."""
        if self.host == "localhost":
            return True
        with contextlib.suppress(ValueError):
            return ipaddress.ip_address(self.host).is_loopback
        return False


def serve(models: Sequence[str], settings: Settings, limits: Limits | None = None, *, say: Say) -> None:
    """Load models and answer until a signal.

    Args:
        models: bundles, each `path` or `name=path`.
        say: told where it listens, and what a user should know.
    Raises: ConfigError: a setting, or an address that is taken; BundleError.
    """
    limits = limits or Limits()
    _open_files(limits, say)
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # a line for every malformed request would fill disks
    tokens = read_tokens(settings.token_file) if settings.token_file is not None else ()
    secure = _secure(settings)
    listening = _listen(settings)
    with contextlib.closing(listening):
        service = make_service(
            models,
            limits,
            tokens=tokens,
            workers=settings.workers or min(4, os.cpu_count() or 1),
            folder=settings.folder,
            local=settings.local,
        )
        if not settings.local and not tokens:
            say(f"serve: {settings.host} is open to others and there is no --token-file: anybody may ask.")
        names = ", ".join(f"{served.name} ({served.model.task})" for served in service.registry.all()) or "no model"
        scheme = "https" if secure else "http"
        host, port = listening.getsockname()[:2]
        named = f"[{host}]" if ":" in host else host
        server = make_server(service, limits, settings, secure=secure)

        def ready(grpc_port: int | None) -> None:
            also = f", gRPC on {named}:{grpc_port}" if grpc_port is not None else ""
            say(f"serving {names} on {scheme}://{named}:{port}{also}")

        with asyncio.Runner(loop_factory=_loop()) as runner:
            runner.run(_run(service, server, listening, settings, ready))


def make_server(service: Service, limits: Limits, settings: Settings, *, secure: ssl.SSLContext | None = None) -> Any:
    """A uvicorn server of a service, which leaves signals alone."""
    config = uvicorn.Config(
        service,
        http=protocol(service),
        ws=Socket,
        ws_max_size=limits.body_bytes,
        loop="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=max(1, round(settings.drain)),
        backlog=2048,
    )
    config.load()
    config.ssl = secure
    base: Any = uvicorn.Server

    class Server(base):  # type: ignore[misc]
        """Ends when it is told, by whoever handles signals."""

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

        def stop(self) -> None:
            """Begin to end; a second time, end at once."""
            if service.draining:
                self.force_exit = True
            service.draining = True
            self.should_exit = True

    return Server(config)


async def _run(
    service: Service, server: Any, listening: socket.socket, settings: Settings, ready: Callable[[int | None], None]
) -> None:
    loop = asyncio.get_running_loop()
    rpc, grpc_port = await start_rpc(service, settings)
    for one in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(one, server.stop)
        except NotImplementedError:  # Windows
            signal.signal(one, lambda *_: loop.call_soon_threadsafe(server.stop))

    async def tell() -> None:
        while not server.started:
            await asyncio.sleep(0.005)
        ready(grpc_port)

    async def end() -> None:
        """gRPC takes no further calls from when HTTP takes none."""
        while not server.should_exit:
            await asyncio.sleep(0.05)
        if rpc is not None:
            await rpc.stop(settings.drain)

    telling, ending = asyncio.create_task(tell()), asyncio.create_task(end())
    try:
        async with tidied(service):
            await server.serve(sockets=[listening])
            await ending
    finally:
        for task in (telling, ending):
            task.cancel()
        service.close()


@contextlib.asynccontextmanager
async def tidied(service: Service) -> AsyncIterator[None]:
    """Meanwhile what has expired, and memory that is free, is given back."""
    tasks = [asyncio.create_task(work()) for work in (give_back_now_and_then, service.sequences.sweep_now_and_then)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()


async def start_rpc(service: Service, settings: Settings) -> tuple[Any, int | None]:
    """The gRPC server of a service, started, and its port; None where there is to be none. Raises ConfigError."""
    if settings.grpc_port is None:
        return None, None
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # what goes wrong is told here, once and in our words
    import grpc

    from gatework.server.rpc import make_rpc

    credentials = None
    if settings.tls_cert is not None and settings.tls_key is not None:
        pair = settings.tls_key.read_bytes(), settings.tls_cert.read_bytes()
        credentials = grpc.ssl_server_credentials([pair])
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    try:
        rpc, port = make_rpc(service, f"{host}:{settings.grpc_port}", credentials)
    except RuntimeError:
        raise ConfigError(
            f"serve: {host}:{settings.grpc_port} is not to be had for gRPC. Give another --grpc-port, or --no-grpc."
        ) from None
    await rpc.start()
    return rpc, port


def _open_files(limits: Limits, say: Say) -> None:
    """Let the process open as many files as connections may need, or tell that it may not."""
    try:
        import resource
    except ModuleNotFoundError:  # Windows has no such limit
        return
    wanted = limits.connections + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    able = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (able, hard))
    if able < wanted:
        room = max(0, able - OTHER_FILES)
        say(f"serve: `ulimit -n` is {able}, which leaves room for about {room} connections. Raise it for more.")


def _loop() -> Any:
    """uvloop's event loop where it is installed: half the time of a request."""
    try:
        import uvloop
    except ModuleNotFoundError:
        return None
    return uvloop.new_event_loop


def _listen(settings: Settings) -> socket.socket:
    """A listening socket. Raises ConfigError: the address is not to be had."""
    if not 0 <= settings.port < 1 << 16:
        raise ConfigError(f"serve: --port must be from 0 to 65535, got {settings.port}.")
    try:
        family, kind, number, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, number)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(2048)
    except OSError as error:
        raise ConfigError(
            f"serve: {settings.host}:{settings.port} is not to be had ({error.strerror or error}). Give another "
            "--host or --port."
        ) from None
    listening.setblocking(False)
    return listening


def _secure(settings: Settings) -> ssl.SSLContext | None:
    """TLS from the files that were given. Raises ConfigError: one is missing or no good."""
    if settings.tls_cert is None and settings.tls_key is None:
        return None
    if settings.tls_cert is None or settings.tls_key is None:
        raise ConfigError("serve: TLS takes both --tls-cert and --tls-key.")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2

    def passphrase() -> str:  # OpenSSL would ask the terminal, and gRPC cannot read such a key at all
        raise ConfigError(
            f"serve: {settings.tls_key} is locked with a passphrase. Give a key without one: "
            f"openssl pkey -in {settings.tls_key} -out key.pem"
        )

    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key, passphrase)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"serve: {settings.tls_cert}, {settings.tls_key}: no such pair ({error}).") from None
    return context
