"""A server of the demo model in a process of its own, for the clients of a module."""

import pytest
from spawned import needs, spawned

import nextword


@pytest.fixture(scope="session")
def lm():
    return nextword.load()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    needs()
    with spawned(tmp_path_factory.mktemp("serve")) as found:
        yield found
