"""Small bundles of every kind, and a service of all of them."""

import pytest

import language_models
import seq2seqs
from bundles import write_small
from gatework.text.running import RunningCodec
from services import running
from taggers import tag_codec, write_tagger


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """Paths of bundles by kind. Shared: leave them as they are."""
    folder = tmp_path_factory.mktemp("served")
    paths = {name: folder / f"{name}.gw" for name in ("classify", "tag", "lm", "translate")}
    write_small(paths["classify"])
    write_tagger(paths["tag"], codec=tag_codec(window=32))
    language_models.write_model(paths["lm"])
    words = RunningCodec(unit="word", tokens=["red", "green", "blue", "cat", "dog", "runs"])
    seq2seqs.write_model(paths["translate"], words)
    return paths


@pytest.fixture(scope="session")
def everything(small):
    """A service of a model of every kind. Shared: load and unload nothing."""
    with running(small.values(), rpc=True) as service:
        yield service
