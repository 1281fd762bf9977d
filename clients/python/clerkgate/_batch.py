from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from clerkgate._errors import ClerkgateError, from_lookup
from clerkgate._user import User
from clerkgate.v1 import user_service_pb2 as pb

#: The most ids of a call.
MOST_IDS = 100
#: How many calls of one batch are under way at once.
CONCURRENCY = 4


@dataclass
class BatchResult:
    """What a batch of ids came to: each id is in one of the two."""

    users: dict[str, User] = field(default_factory=dict)
    errors: dict[str, ClerkgateError] = field(default_factory=dict)


def chunks(ids: Iterable[str]) -> Iterator[list[str]]:
    """Cuts ids into lists of what one call takes, without repeats."""
    if isinstance(ids, str):
        raise TypeError("want several ids, not a str")
    unique = list(dict.fromkeys(ids))
    for start in range(0, len(unique), MOST_IDS):
        yield unique[start : start + MOST_IDS]


class Batch:
    """Collects the answers to one batch."""

    def __init__(self, ids: Iterable[str]) -> None:
        self._todo = deque(chunks(ids))
        self._result = BatchResult()
        self._failure: ClerkgateError | None = None  # of a whole call
        self._answered = False

    def next(self) -> list[str] | None:
        """Returns the ids of the next call, or None if there is none at the moment."""
        return self._todo.popleft() if self._todo else None

    def answered(self, ids: list[str], response: pb.BatchGetUsersResponse) -> None:
        """Takes the answer to a call."""
        self._answered = True
        too_large = []
        for result in response.results:
            if result.HasField("user"):
                self._result.users[result.user_id] = User(result.user, result.freshness)
            elif result.error.reason == pb.ERROR_REASON_ANSWER_TOO_LARGE and len(ids) > 1:
                too_large.append(result.user_id)
            else:
                self._result.errors[result.user_id] = from_lookup(result.error)
        # They did not fit into this answer: ask again for fewer at once.
        half = (len(ids) + 1) // 2
        self._todo.extend(too_large[start : start + half] for start in range(0, len(too_large), half))

    def failed(self, ids: list[str], error: ClerkgateError) -> None:
        """Takes the error of a call that failed as a whole."""
        self._failure = error
        self._result.errors.update(dict.fromkeys(ids, error))

    def result(self) -> BatchResult:
        """Returns what all calls came to, or raises if each of them failed as a whole."""
        if self._failure is not None and not self._answered:
            raise self._failure
        return self._result
