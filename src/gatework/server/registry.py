"""Models by name: loaded, replaced and unloaded while requests are answered.

A request holds the model it began with, so replacing or unloading one drops nothing: the old one goes when the last
request that has it is answered.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from gatework.core.bundle import parse_bundle
from gatework.core.errors import ConfigError, UserError
from gatework.core.tensors import map_file
from gatework.runtime import Model
from gatework.server.batching import Batcher
from gatework.server.limits import Limits
from gatework.server.meters import Meters
from gatework.server.ports import Ports
from gatework.server.refusal import Refusal

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")
MOST_NAMES = 20
"""That a sentence lists."""
NO_NAME = "its name is none for a model, which has letters, digits, _, - and dots. Rename its file"
KINDS = {"per_sequence": "classify", "per_step": "tag", "next_token": "lm", "sequence": "seq2seq"}
"""Kinds of models by their head: what differs between them at this door."""


class Tally:
    """How often a model answered, for the protocol's statistics."""

    __slots__ = ("calls", "failed", "last", "nanoseconds", "texts")

    def __init__(self) -> None:
        self.calls = self.failed = self.texts = self.nanoseconds = self.last = 0

    def add(self, texts: int, seconds: float, *, failed: bool) -> None:
        """Count a request."""
        self.last = time.time_ns() // 1_000_000
        if failed:
            self.failed += 1
            return
        self.calls += 1
        self.texts += texts
        self.nanoseconds += int(seconds * 1e9)


class Served:
    """A model under a name. Nothing but counters in it changes."""

    def __init__(self, name: str, version: int, path: Path, model: Model, batcher: Batcher | None) -> None:
        self.name, self.version, self.path, self.model = name, str(version), path, model
        self.kind = KINDS[model.bundle.architecture.head]
        self.ports = Ports.of(self.kind, model)
        self._batcher = batcher
        self.tally = Tally()

    @property
    def batcher(self) -> Batcher:
        """What answers texts. Raises Refusal: it is a language model."""
        if self._batcher is None:
            raise Refusal(
                422, f"{self.name} is a language model: ask /v1/models/{self.name}/generate or score, not predict."
            )
        return self._batcher

    def to_dict(self) -> dict[str, Any]:
        """What `/v1/models` tells of it."""
        model = self.model
        values: dict[str, Any] = {"name": self.name, "version": self.version, "task": model.task, "kind": self.kind}
        values |= {"labels": list(model.labels), "bytes": model.bundle.nbytes, "state": "READY"}
        if model.task == "reply":  # the turns of a dialogue that it reads, 0 for one message alone
            values["turns"] = model.bundle.config["decode"]["context"]
        if self.kind == "lm":  # whether what it writes is words, which stand apart from the prompt
            values["spaced"] = bool(model.between("a", "b"))
        return values


class Registry:
    """The models of one service. Called on its event loop, but for `open_all`."""

    def __init__(self, limits: Limits, meters: Meters, *, workers: int, folder: Path | None = None) -> None:
        """`folder`: bundles in it may be loaded by name."""
        self._limits, self._meters, self._workers, self._folder = limits, meters, workers, folder
        self.pool = ThreadPoolExecutor(workers, thread_name_prefix="gatework")
        self._paths: dict[str, Path] = {}
        self._served: dict[str, Served] = {}
        self._versions: dict[str, int] = {}
        self._faults: dict[str, str] = {}
        self._changing = asyncio.Lock()
        self.quick: dict[str, tuple[Served, bool]] = {}
        """By path, for what is asked most: the model, and whether it is asked by the protocol."""

    def open_all(self, given: Sequence[str]) -> None:
        """Load bundles, each `path` or `name=path`, before anything is served. Raises ConfigError, BundleError."""
        for one in given:
            name, path = named(one)
            if name in self._paths:
                raise ConfigError(f"serve: two models are called {name}. Give names: serve a={path} b=...")
            self._paths[name] = path
        for name in self._paths:
            self._put(name, self._open(name))

    def get(self, name: str, version: str | None = None) -> Served:
        """The model of a name. Raises Refusal 404: it is not loaded, or not in this version."""
        served = self._served.get(name)
        if served is None:
            known = ", ".join(sorted(self._served)[:MOST_NAMES]) or "none"
            more = f" and {len(self._served) - MOST_NAMES} more" if len(self._served) > MOST_NAMES else ""
            raise Refusal(404, f"model {name[:100]!r} is not loaded. Loaded: {known}{more}.")
        if version is not None and version != served.version:
            raise Refusal(404, f"model {name!r} has version {served.version} loaded, not {version[:20]!r}.")
        return served

    def all(self) -> list[Served]:
        """Models that are loaded, by name."""
        return [self._served[name] for name in sorted(self._served)]

    def index(self) -> list[dict[str, str]]:
        """Every model that is or may be loaded, with its state."""
        names = {*self._paths, *(path.stem for path in self._files())}
        return [self._state(name) for name in sorted(names)]

    async def load(self, name: str) -> Served:
        """Load a model from its file, replacing what has its name. Raises Refusal: 404, or 400 for a bad bundle."""
        async with self._changing:
            if name not in self._paths:
                found = [path for path in self._files() if path.stem == name]
                if found and not NAME.fullmatch(name):
                    raise Refusal(404, f"model {name[:100]!r} cannot be loaded: {NO_NAME}.")
                if not found:
                    raise Refusal(404, f"model {name[:100]!r} is unknown. Known: {', '.join(self._names()) or 'none'}.")
                self._paths[name] = found[0]
            try:
                served = await asyncio.get_running_loop().run_in_executor(self.pool, self._open, name)
            except (UserError, OSError) as error:
                self._faults[name] = str(error)
                raise Refusal(400, f"model {name!r} was not loaded: {error}") from None
            self._put(name, served)
            return served

    async def unload(self, name: str) -> None:
        """Let go of a model. Raises Refusal 404: it is not loaded."""
        async with self._changing:
            self.get(name)
            served = self._served.pop(name)
            for path in quick_paths(name):
                del self.quick[path]
            self._meters.models.set(len(self._served))
            del served

    def close(self) -> None:
        """Wait for nobody: requests are answered by now. The models go here: gRPC keeps what it was given to the end of
        the process."""
        self._served.clear()
        self.quick.clear()
        self.pool.shutdown(wait=False, cancel_futures=True)

    def _open(self, name: str) -> Served:
        model = _private(self._paths[name])
        batcher = None
        if model.bundle.architecture.head != "next_token":
            batcher = Batcher(
                model,
                self.pool,
                workers=self._workers,
                most=self._limits.batch,
                ran=lambda texts: self._meters.ran(name, texts),
            )
        version = self._versions[name] = self._versions.get(name, 0) + 1
        return Served(name, version, self._paths[name], model, batcher)

    def _put(self, name: str, served: Served) -> None:
        self._served[name] = served
        self._faults.pop(name, None)
        for path, protocol in quick_paths(name).items():
            self.quick[path] = served, protocol
        self._meters.models.set(len(self._served))

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("*.gw")) if self._folder is not None else []

    def _names(self) -> list[str]:
        return [one["name"] for one in self.index() if NAME.fullmatch(one["name"])][:MOST_NAMES]

    def _state(self, name: str) -> dict[str, str]:
        served = self._served.get(name)
        if served is not None:
            return {"name": name, "version": served.version, "state": "READY", "reason": self._faults.get(name, "")}
        reason = self._faults.get(name, "unloaded") if NAME.fullmatch(name) else NO_NAME
        return {"name": name, "version": "", "state": "UNAVAILABLE", "reason": reason}


def _private(path: Path) -> Model:
    """A model in memory of its own: a file that is mapped and then written over would end the process."""
    return Model(parse_bundle(memoryview(bytes(map_file(path))), source=str(path)))


def quick_paths(name: str) -> dict[str, bool]:
    """Where a model's answers are asked, and whether by the protocol."""
    return {f"/v1/models/{name}/predict": False, f"/v2/models/{name}/infer": True}


def named(given: str) -> tuple[str, Path]:
    """Name and path of a model, from `path` or `name=path`. Raises ConfigError: the name is none."""
    name, sign, path = given.partition("=")
    if not sign or "/" in name or not path or Path(given).exists():
        name, path = Path(given).name.removesuffix(".gw"), given
    if not NAME.fullmatch(name):
        raise ConfigError(
            f"serve: {name!r:.80} is no name for a model: letters, digits, _, - and dots. Give one: serve name={path}"
        )
    return name, Path(path)


def check_known(given: Mapping[str, Any], known: Sequence[str], what: str) -> None:
    """Raise Refusal 422 where a request has a key that means nothing."""
    for name in given:
        if name not in known:
            raise Refusal(422, f"{what}: {name[:40]!r} is unknown. Known: {', '.join(known)}.")
