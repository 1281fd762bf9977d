from __future__ import annotations

import time
import uuid

from clerkgate._batch import MOST_IDS
from clerkgate._errors import ClerkgateError
from clerkgate._requests import Seconds, duration
from clerkgate.v1 import quota_service_pb2 as pb


class Lease:
    """Permits for requests that the caller sends to Clerk itself.

    What is set here before the block ends is reported when the lease is returned.

    Attributes:
        id: the server's name of the lease.
        count: how many requests may be sent.
        used: how many were sent. None: all of them.
        unanswered: how many of those got no answer. None: none of them or, if the
            block raised an exception, all of them.
        changed_user_ids: the users that the requests changed. They are dropped from
            every cache.
        rate_limited: whether Clerk answered one of the requests with 429.
    """

    def __init__(self, count: int, response: pb.AcquirePermitsResponse) -> None:
        self.id: str = response.lease_id
        self.count = count
        self.used: int | None = None
        self.unanswered: int | None = None
        self.changed_user_ids: list[str] = []
        self.rate_limited = False
        self._ends: float = time.monotonic() + response.ttl.ToTimedelta().total_seconds()

    @property
    def remaining(self) -> float:
        """The seconds until the lease ends. Requests must have been answered by then."""
        return max(0.0, self._ends - time.monotonic())

    def release_request(self, raised: bool) -> pb.ReleasePermitsRequest:
        used = self.count if self.used is None else self.used
        unanswered = self.unanswered
        if unanswered is None:
            unanswered = used if raised else 0
        return pb.ReleasePermitsRequest(
            lease_id=self.id,
            used_count=used,
            unanswered_count=unanswered,
            changed_user_ids=self.changed_user_ids[:MOST_IDS],
            rate_limited=self.rate_limited,
        )

    def left_over(self, error: ClerkgateError | None) -> list[str]:
        """Returns the changed users whom the release did not drop from the caches.
        Raises the error of the release unless the lease has ended, or ends by itself."""
        if error is None:
            return self.changed_user_ids[MOST_IDS:]
        if error.reason not in ("LEASE_NOT_FOUND", "LEASE_UNREACHABLE"):
            raise error
        return self.changed_user_ids


def acquire_request(count: int, ttl: Seconds | None) -> pb.AcquirePermitsRequest:
    # The id has a retry return the lease that was already granted.
    return pb.AcquirePermitsRequest(count=count, ttl=duration(ttl), request_id=str(uuid.uuid4()))
