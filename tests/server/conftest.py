"""Small bundles of every kind, and a service of all of them."""

import pytest

from services import running, write_bundles


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """Paths of bundles by kind. Shared: leave them as they are."""
    return write_bundles(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="session")
def everything(small):
    """A service of a model of every kind. Shared: load and unload nothing."""
    with running(small.values(), rpc=True) as service:
        yield service
