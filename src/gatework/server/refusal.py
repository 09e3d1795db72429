"""A request that is not answered as asked: a status, a sentence, and when to come back.

400 malformed          401 no token       403 another origin   404 no such model or path   405 wrong method
408 body too slow      409 sequence       413 body too large   415 compression unknown     422 cannot be answered
426 a WebSocket        429 queue is full  500 a bug of ours    503 too busy, too slow, or draining
"""

from __future__ import annotations

from http import HTTPStatus

from gatework.core.errors import UserError

BUSY = (429, 503)
"""Statuses that go with Retry-After."""


class Refusal(Exception):
    """Raised anywhere below a request; what speaks to the client turns it into its protocol's error."""

    def __init__(
        self, status: int, message: str, *, retry_after: int = 1, allow: str = "", unread: bool = False
    ) -> None:
        """
        Args:
            allow: the methods that there are, of a path that lacks the one asked for.
            unread: the request goes on for longer than anybody reads.
        """
        super().__init__(message)
        self.status, self.message, self.allow, self.unread = status, message, allow, unread
        self.retry_after = retry_after if status in BUSY else None


def refusal_of(error: Exception) -> Refusal:
    """What a client is told of an exception; of a bug nothing but that it is one."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, UserError):
        return Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
    if isinstance(error, TimeoutError):
        return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "The answer took too long. Ask for less, or try again later.")
    if isinstance(error, MemoryError):
        return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "The service is out of memory for this request. Ask for less.")
    return Refusal(
        HTTPStatus.INTERNAL_SERVER_ERROR, "The service failed on this request. Its log says more; others go on."
    )
