"""`gatework serve`: models as a service."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from gatework.cli.output import say
from gatework.core.errors import ConfigError


def run(
    models: Annotated[
        list[str] | None, typer.Argument(metavar="MODEL...", help="Bundles; NAME=PATH gives one another name.")
    ] = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen on; others need this option.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="HTTP port; 0 for any.")] = 8000,
    grpc_port: Annotated[int, typer.Option("--grpc-port", min=0, max=65535, help="gRPC port; 0 for any.")] = 8001,
    no_grpc: Annotated[bool, typer.Option("--no-grpc", help="HTTP alone.")] = False,
    token_file: Annotated[
        Path | None, typer.Option("--token-file", metavar="FILE", help="Bearer tokens, one a line; requests need one.")
    ] = None,
    tls_cert: Annotated[Path | None, typer.Option("--tls-cert", metavar="FILE", help="Certificate, PEM.")] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", metavar="FILE", help="Its key, PEM.")] = None,
    folder: Annotated[
        Path | None, typer.Option("--folder", metavar="DIR", help="Bundles in it may be loaded by name.")
    ] = None,
    workers: Annotated[int, typer.Option("--workers", min=0, help="Threads; 0: one a core, at most four.")] = 0,
    drain: Annotated[float, typer.Option("--drain", min=1, help="Seconds for requests to end after SIGTERM.")] = 30.0,
    max_body: Annotated[int, typer.Option("--max-body", min=1, metavar="MB", help="Of a request.")] = 8,
    max_text: Annotated[int, typer.Option("--max-text", min=1, metavar="N", help="Characters of a text.")] = 100_000,
    max_batch: Annotated[int, typer.Option("--max-batch", min=1, metavar="N", help="Texts of a request.")] = 256,
    max_queue: Annotated[int, typer.Option("--max-queue", min=1, metavar="N", help="Requests that wait.")] = 1024,
    max_streams: Annotated[int, typer.Option("--max-streams", min=1, metavar="N", help="Streams at once.")] = 64,
    max_states: Annotated[int, typer.Option("--max-states", min=1, metavar="MB", help="Of all sequences.")] = 256,
    sequence_seconds: Annotated[
        float, typer.Option("--sequence-seconds", min=0.1, help="That an idle sequence is kept.")
    ] = 600.0,
    timeout: Annotated[float, typer.Option("--timeout", min=0.001, help="Seconds for an answer.")] = 30.0,
) -> None:
    """Serve models over HTTP until Ctrl-C or SIGTERM: JSON, the Open Inference Protocol, streams, metrics.

    `/docs` describes it, for programs `/openapi.json`. Only this machine may ask unless --host says otherwise.
    """
    from gatework.server.installed import check_installed

    if not models and folder is None:
        raise ConfigError("serve: no model. Give bundles, or a folder to load them from: --folder DIR.")
    if folder is not None and not folder.is_dir():
        raise ConfigError(f"serve: --folder {folder}: is no folder.")
    check_installed()
    if "numpy" not in sys.modules and "OMP_NUM_THREADS" not in os.environ:
        # NumPy's own threads wait busily for each other: a tagger under load takes 2.6 times the processor time. How
        # many there are is read when NumPy is imported, which is below.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from gatework.server import Limits, Settings, serve

    limits = Limits(
        body_bytes=max_body << 20,
        text_chars=max_text,
        batch=max_batch,
        queue=max_queue,
        streams=max_streams,
        seconds=timeout,
        state_bytes=max_states << 20,
        sequence_seconds=sequence_seconds,
    )
    settings = Settings(
        host=host.removeprefix("[").removesuffix("]"),  # as addresses of IPv6 stand in URLs
        port=port,
        grpc_port=None if no_grpc else grpc_port,
        token_file=token_file,
        tls_cert=tls_cert,
        tls_key=tls_key,
        workers=workers,
        drain=drain,
        folder=folder,
    )
    serve(models or [], settings, limits, say=lambda sentence: say(f"gatework: {sentence}"))
