"""The bodies of all requests together: how many bytes of them are held, and that large ones are read one by one."""

from __future__ import annotations

import asyncio
from typing import Any

from nextword.serve.bounds import BODIES
from nextword.serve.errors import Refused


class Bodies:
    """What the requests of a server share.

    A large body is decoded and checked while no other is: as Python objects it takes up to twenty times its bytes.
    """

    def __init__(self) -> None:
        self._held = 0
        self._turn = asyncio.Lock()

    def one(self) -> Body:
        """That of a request."""
        return Body(self)


class Body:
    """The body of one request: its bytes until they are decoded, and its turn until it is checked."""

    def __init__(self, bodies: Bodies) -> None:
        self._bodies, self._bytes, self._mine = bodies, 0, False

    def grow(self, size: int) -> None:
        """So many bytes more have come. Raises Refused where all bodies together are too large."""
        self._bytes += size
        self._bodies._held += size
        if self._bodies._held > BODIES:
            raise Refused(503, f"the bodies of requests on their way hold {BODIES} bytes, as many as may", None,
                          "too_many_bodies", (("retry-after", "1"),))

    async def turn(self, gone: asyncio.Future[Any]) -> None:
        """Wait until no other large body is in work. Raises Refused once the client is gone."""
        coming = asyncio.ensure_future(self._bodies._turn.acquire())
        try:
            await asyncio.wait({coming, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if coming.done():
                self._mine = True
            else:
                coming.cancel()
        if gone.done():
            raise Refused(499, "the client went away", None, "cancelled")

    def decoded(self) -> None:
        """Its bytes are gone."""
        self._bodies._held -= self._bytes
        self._bytes = 0

    def checked(self) -> None:
        """It has had its turn, if it took one."""
        self.decoded()
        if self._mine:
            self._mine = False
            self._bodies._turn.release()
