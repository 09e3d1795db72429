"""The bundle: a trained model as one file, read in place, safe to open whoever made it.

    config.json            format version, task, architecture, decoding, recipe, facts about the data
    weights.safetensors    the weights: F32, BF16, or I8 with scales
    tokenizer/...          what the task's codec needs, and what else the task has
    labels.json, metrics.json, README.md

Opening maps the file and checks all of it: the archive byte by byte, the configuration, every weight for its element
type, its scale, NaN and infinity. Nothing in a bundle is ever run. `docs/bundle-format.md` states every entry.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gatework.core import strict_json
from gatework.core.architecture import Architecture
from gatework.core.archive import archive_size, read_archive, write_archive
from gatework.core.errors import BundleError
from gatework.core.files import atomic_write
from gatework.core.quantize import SCALE
from gatework.core.tensors import TensorFile, map_file, parse_tensors, tensor_chunks

FORMAT = 1
CONFIG, WEIGHTS, METRICS, CARD = "config.json", "weights.safetensors", "metrics.json", "README.md"
MAX_CONFIG = 16 << 20
MAX_WEIGHTS_HEADER = 4 << 20
ELEMENT_TYPES = ("F32", "BF16", "I8")

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """An open bundle. Everything in it has been checked but what only the task and the cells know."""

    source: str
    """Path, for errors."""
    nbytes: int
    config: Mapping[str, Any]
    architecture: Architecture
    weights: TensorFile
    """As stored: int8 tensors beside their `.scale`; bfloat16 widened."""
    entries: Mapping[str, memoryview]
    """Every entry by name, as views of the file."""

    @property
    def task(self) -> str:
        return str(self.config["task"])

    @property
    def storage(self) -> str:
        """How the weights are stored: fp32, bf16 or int8."""
        kinds = {slot.dtype for slot in self.weights.slots.values()}
        return "int8" if "I8" in kinds else "bf16" if "BF16" in kinds else "fp32"

    @property
    def metrics(self) -> dict[str, Any]:
        """What was measured on this bundle, by data set; empty where nothing was."""
        if METRICS not in self.entries:
            return {}
        values = strict_json.parse(self.entries[METRICS], source=f"{self.source}: {METRICS}")
        if not isinstance(values, dict):
            raise BundleError(f"{self.source}: {METRICS} must be an object. Export the model again.")
        return values

    def entry(self, name: str) -> memoryview:
        """The bytes of an entry. Raises BundleError where there is none."""
        try:
            return self.entries[name]
        except KeyError:
            raise BundleError(f"{self.source}: {name} is missing. Export the model again.") from None


def write_bundle(
    path: str | os.PathLike[str],
    *,
    config: Mapping[str, Any],
    weights: Mapping[str, Array],
    entries: Mapping[str, bytes | memoryview],
    bfloat16: Collection[str] = (),
) -> int:
    """Write a bundle, whole or not at all.

    Args:
        path: where.
        config: `config.json` without `format`, which is put first.
        weights: tensors as stored, int8 ones with their `.scale`.
        entries: all other entries, in this order.
        bfloat16: names of float tensors stored as bfloat16.
    Returns: its size in bytes.
    Raises: OutputError.
    """
    with atomic_write(path) as file:
        return write_archive(file, _pieces(config, weights, entries, bfloat16))


def bundle_size(
    *, config: Mapping[str, Any], weights_bytes: int, entries: Mapping[str, bytes | memoryview | int]
) -> int:
    """Bytes `write_bundle` would write. `entries` may give sizes instead; `weights_bytes` is header and all."""
    sizes = {CONFIG: len(_config(config)), WEIGHTS: weights_bytes}
    sizes |= {name: data if isinstance(data, int) else len(data) for name, data in entries.items()}
    return archive_size(sizes)


def read_bundle(path: str | os.PathLike[str]) -> Bundle:
    """Map a bundle into memory and check it. Raises BundleError: one line, naming the file and what is wrong."""
    return parse_bundle(map_file(path), source=os.fspath(path))


def parse_bundle(data: memoryview, *, source: str) -> Bundle:
    """The bundle whose bytes are `data`. Raises BundleError."""
    entries = read_archive(data, source=source)
    for name in (CONFIG, WEIGHTS):
        if name not in entries:
            raise BundleError(f"{source}: {name} is missing. Export the model again.")
    config = _read_config(entries[CONFIG], source)
    architecture = Architecture.from_dict(config["architecture"], source=f"{source}: {CONFIG}: architecture")
    where = f"{source}: {WEIGHTS}"
    weights = parse_tensors(entries[WEIGHTS], source=where, max_header=MAX_WEIGHTS_HEADER)
    _check_weights(weights, where)
    return Bundle(
        source=source, nbytes=len(data), config=config, architecture=architecture, weights=weights, entries=entries
    )


class _Chunks:
    """The tensors' bytes, made afresh each time they are gone through."""

    def __init__(self, weights: Mapping[str, Array], bfloat16: Collection[str]) -> None:
        self._weights, self._bfloat16 = weights, bfloat16

    def __iter__(self) -> Any:
        return tensor_chunks(self._weights, bfloat16=self._bfloat16)


def _pieces(
    config: Mapping[str, Any],
    weights: Mapping[str, Array],
    entries: Mapping[str, bytes | memoryview],
    bfloat16: Collection[str],
) -> dict[str, Iterable[bytes | memoryview]]:
    pieces: dict[str, Iterable[bytes | memoryview]] = {
        CONFIG: [_config(config)],
        WEIGHTS: _Chunks(weights, bfloat16),
    }
    return pieces | {name: [data] for name, data in entries.items()}


def _config(config: Mapping[str, Any]) -> bytes:
    return strict_json.dump({"format": FORMAT, **config})


def _read_config(raw: memoryview, source: str) -> dict[str, Any]:
    where = f"{source}: {CONFIG}"
    if len(raw) > MAX_CONFIG:
        raise BundleError(f"{where}: {len(raw):,} bytes, at most {MAX_CONFIG:,} are read. Use a file you trust.")
    config = strict_json.parse(raw, source=where)
    if not isinstance(config, dict):
        raise BundleError(f"{where}: must be an object. Export the model again.")
    version = config.get("format")
    if type(version) is not int or version != FORMAT:
        advice = "Install a newer gatework." if type(version) is int and version > FORMAT else "Export it again."
        raise BundleError(f"{where}: format {str(version)[:20]}, this gatework reads {FORMAT}. {advice}")
    for name, kind in (("task", str), ("architecture", dict)):
        if not isinstance(config.get(name), kind):
            raise BundleError(f"{where}: {name} is missing or of the wrong type. Export the model again.")
    for name in ("decode", "recipe", "facts"):
        if not isinstance(config.setdefault(name, {}), dict):
            raise BundleError(f"{where}: {name} must be an object. Export the model again.")
    return config


def _check_weights(weights: TensorFile, source: str) -> None:
    """Element types, scales, and that every number is one."""
    for name, slot in weights.slots.items():
        where = f"{source}: tensor {name[:80]!r}"
        if slot.dtype not in ELEMENT_TYPES:
            raise BundleError(f"{where} is of type {slot.dtype}, not {', '.join(ELEMENT_TYPES)}. Export it again.")
        if slot.dtype == "I8":
            scale = weights.slots.get(name + SCALE)
            if len(slot.shape) < 2 or scale is None or scale.dtype == "I8" or scale.shape != slot.shape[:1]:
                raise BundleError(f"{where} is int8 and needs a scale for each row. Export the model again.")
            continue
        array = weights[name]
        if not _finite(array):
            raise BundleError(f"{where} holds NaN or infinity. Train or export the model again.")
        if name.endswith(SCALE):
            scaled = weights.slots.get(name.removesuffix(SCALE))
            if scaled is None or scaled.dtype != "I8" or not bool((array > 0).all()):
                raise BundleError(f"{where} is no scale of an int8 tensor. Export the model again.")


def _finite(array: Array, chunk: int = 1 << 20) -> bool:
    """Whether no element is NaN or infinite, without a mask as large as the array."""
    flat = array.reshape(-1)
    return all(bool(np.isfinite(flat[at : at + chunk]).all()) for at in range(0, flat.size, chunk))
