"""Bundles trained by recipes: the loop over sets, and what a bundle and the run folder beside it tell."""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

from benchmarks import measure
from benchmarks.classification import RECIPES, gatework_command, run_json


class Named(Protocol):
    """A set; its recipe is `recipes/<name>.toml`."""

    @property
    def name(self) -> str: ...


One = TypeVar("One", bound=Named)


def arguments(description: str | None, out: str) -> argparse.ArgumentParser:
    """What every runner over recipes takes."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", metavar="SET", help="sets by recipe name; default all")
    parser.add_argument("--out", type=Path, default=Path(out), help="results file, appended to")
    parser.add_argument("--bundles", type=Path, help="folder of SET.gw with SET.run beside; what is missing is trained")
    parser.add_argument("--gatework", help="the command to measure; default the one installed here")
    parser.add_argument(
        "--option", action="append", default=[], metavar="WORD", help="one more word for `gatework train`"
    )
    return parser


@contextmanager
def bundle_folder(given: Path | None) -> Iterator[Path]:
    """The folder of `--bundles`, or one that is gone afterwards."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = (given or Path(scratch)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        yield folder


def over(
    sets: Sequence[One],
    folder: Path,
    given: argparse.Namespace,
    figures: Callable[[list[str], One, Path], dict[str, Any]],
    shown: Callable[[One, dict[str, Any]], str],
    *,
    ending: str = "",
    options: Sequence[str] = (),
) -> list[str]:
    """Train what is missing in `folder`, write the figures of every bundle; return the names of those that failed.

    `ending` names a changed recipe: bundles are SET`ending`.gw, the system is gatework`ending`.
    """
    gatework, failed = gatework_command(given.gatework), []
    for one in sets:
        bundle = folder / f"{one.name}{ending}.gw"
        try:
            if not bundle.exists():
                recipe = RECIPES / f"{one.name}.toml"
                run_json([*gatework, "train", str(recipe), "-o", str(bundle), "--json", *given.option, *options])
            result = figures(gatework, one, bundle)
        except subprocess.CalledProcessError as error:  # go on with the other sets; the command said why
            measure.say(f"{one.name}: {' '.join(map(str, error.cmd))} ended with {error.returncode}")
            failed.append(one.name)
            continue
        measure.write(given.out, f"gatework{ending}", one.name, result | {"version": version()})
        measure.say(f"{one.name}{ending}: {shown(one, result)} in {result['bytes'] / 1e6:.2f} MB")
    return failed


def verdict(failed: Sequence[str]) -> int:
    """The exit status; names what failed."""
    if failed:
        measure.say(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


def version() -> str:
    """Of the package that is installed here."""
    import gatework

    return f"gatework {gatework.__version__}"


def in_float32(bundle: Path, target: Path) -> bool:
    """Write the model of `bundle` with the weights its run folder keeps, in float32; False where there is no run."""
    from gatework.core.bundle import CONFIG, WEIGHTS, read_bundle, write_bundle
    from gatework.export.storage import store
    from gatework.train.checkpoint import latest

    opened = read_bundle(bundle)
    kept = latest(bundle.with_suffix(".run") / "checkpoints", say=measure.say)
    if kept is None:
        return False
    weights = kept.under("best/weights")
    if {name: array.shape for name, array in weights.items()} != {
        name: slot.shape for name, slot in opened.weights.slots.items() if not name.endswith(".scale")
    }:
        measure.say(f"{bundle}: the run folder holds another model; no float32 figures.")
        return False
    config = {name: value for name, value in opened.config.items() if name != "format"}
    entries = {name: bytes(data) for name, data in opened.entries.items() if name not in (CONFIG, WEIGHTS)}
    write_bundle(target, config=config, weights=store(weights, "fp32").tensors, entries=entries)
    return True


def course(bundle: Path) -> dict[str, Any]:
    """Seconds and epochs of the training behind a bundle, from its run folder; {} without one."""
    from gatework.train.checkpoint import latest

    kept = latest(bundle.with_suffix(".run") / "checkpoints", say=measure.say)
    if kept is None:
        return {}
    state, threads = kept.state["course"], kept.state["identity"]["threads"]
    best = {"best_epoch": state["best_epoch"], "epochs": state["epoch"], "training_threads": threads}
    spent, tokens = state["train_seconds"], state["tokens"]
    return best | {"train_seconds": state["stage_seconds"], "train_rate": tokens / spent if spent else None}
