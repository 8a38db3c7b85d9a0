"""A server of the demo model on a real socket, for all tests of a module."""

import pytest
from serving import serving

import nextword


@pytest.fixture(scope="session")
def lm():
    return nextword.load()


@pytest.fixture(scope="module")
def server(lm):
    with serving({"demo": lm}) as one:
        yield one


@pytest.fixture(scope="module")
def client(server):
    with server.client() as one:
        yield one
