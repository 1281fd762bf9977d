from __future__ import annotations

import random
from typing import Any

import grpc

from clerkgate.v1 import user_service_pb2

_CODES = {code.value[0]: code for code in grpc.StatusCode}


class ClerkgateError(Exception):
    """A call, or the lookup of one id of a batch, failed.

    Attributes:
        code: the gRPC status code, such as ``grpc.StatusCode.UNAVAILABLE``.
        reason: the reason behind the code, such as ``"BREAKER_OPEN"``: the name of
            an ErrorReason without its prefix. Empty if the error does not come from
            the server, for example because it can't be reached.
        message: a description for people. Its text may change at any time.
        retry_after: the seconds to wait before another try, or None if that is
            unknown.
        request_id: the name of the call in the server's log. Empty if the error does not
            come from the server, and for one id of a batch.
    """

    def __init__(
        self, code: grpc.StatusCode, reason: str, message: str, retry_after: float | None = None, request_id: str = ""
    ) -> None:
        super().__init__(f"{code.name} ({reason}): {message}" if reason else f"{code.name}: {message}")
        self.code = code
        self.reason = reason
        self.message = message
        self.retry_after = retry_after
        self.request_id = request_id

    def __reduce__(self) -> tuple[Any, ...]:  # so that it can be pickled, as between processes
        return type(self), (self.code, self.reason, self.message, self.retry_after, self.request_id)


class NotFoundError(ClerkgateError):
    """Clerk has no such user, or there is no such lease."""


class NotReleasedError(ClerkgateError):
    """The block of a lease is done, but the lease could not be returned: do not repeat
    the block. The lease ends by itself. `__cause__` is what failed."""


def not_released(error: ClerkgateError) -> NotReleasedError:
    message = f"the block is done, but its lease was not returned: {error.message}"
    return NotReleasedError(error.code, error.reason, message, error.retry_after, error.request_id)


def _make(
    code: grpc.StatusCode, reason: str, message: str, retry_after: float | None, request_id: str = ""
) -> ClerkgateError:
    kind = NotFoundError if code is grpc.StatusCode.NOT_FOUND else ClerkgateError
    return kind(code, reason, message, retry_after, request_id)


def from_rpc(error: grpc.RpcError) -> ClerkgateError:
    """Returns the error of a call that failed."""
    trailers = {key: value for key, value in error.trailing_metadata() or ()}
    delay = trailers.get("clerkgate-retry-ms", "")
    return _make(
        error.code(),
        str(trailers.get("clerkgate-reason", "")),
        error.details() or "",
        int(delay) / 1000 if delay.isdigit() else None,
        str(trailers.get("x-request-id", "")),
    )


def from_lookup(error: user_service_pb2.LookupError) -> ClerkgateError:
    """Returns the error of one id of a batch."""
    try:
        reason = user_service_pb2.ErrorReason.Name(error.reason)
    except ValueError:  # the server is newer than this code
        reason = str(error.reason)
    return _make(
        _CODES.get(error.code, grpc.StatusCode.UNKNOWN),
        reason[len("ERROR_REASON_") :] if reason.startswith("ERROR_REASON_") else reason,
        error.message,
        error.retry_delay.ToTimedelta().total_seconds() if error.HasField("retry_delay") else None,
    )


class Resume:
    """Decides whether a stream that broke is resumed, and when."""

    _MOST_REFUSALS = 5  # before the first message, in a row: some 6 s
    _MOST_BREAKS = 12  # later, without a message between: some 40 s, for a restart of the server

    def __init__(self) -> None:
        self._begun = False
        self._failures = 0

    def received(self) -> None:
        """Notes that a message has come."""
        self._begun = True
        self._failures = 0

    def delay(self, error: ClerkgateError) -> float:
        """Returns the seconds to wait, or raises the error if there is no use in that."""
        code, reason = error.code, error.reason
        passing = (
            code is grpc.StatusCode.UNAVAILABLE
            or (code is grpc.StatusCode.ABORTED and reason == "STREAM_NOT_READ")
            # The connection was reset.
            or (code in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN) and self._begun and not reason)
            or (code is grpc.StatusCode.RESOURCE_EXHAUSTED and self._begun and error.retry_after is not None)
        )
        most = self._MOST_BREAKS if self._begun else self._MOST_REFUSALS
        if not passing or self._failures == most:
            raise error
        self._failures += 1
        backoff: float = min(0.1 * 2**self._failures, 5.0) * random.uniform(0.8, 1.2)
        return max(backoff, error.retry_after or 0)
