from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Callable

import grpc

from clerkgate import _requests
from clerkgate._batch import CONCURRENCY, Batch, BatchResult, chunks
from clerkgate._errors import ClerkgateError, Resume, from_rpc, not_released
from clerkgate._lease import Lease, acquire_request
from clerkgate._requests import Filter, OnUnreadable, Seconds
from clerkgate._settings import CHANNEL_OPTIONS, Priority, Settings, Token
from clerkgate._user import User
from clerkgate.v1 import (
    caller_service_pb2,
    caller_service_pb2_grpc,
    quota_service_pb2,
    quota_service_pb2_grpc,
    user_service_pb2,
    user_service_pb2_grpc,
)


class Client:
    """Calls a clerkgate server. It is safe for use by several threads.

    Every method raises ClerkgateError if its call fails, and ValueError or TypeError if
    an argument can't be sent. Of each method, `timeout` is how long a call may take in
    seconds, and `priority` how urgent it is; both default to the client's.

    Args:
        address: ``host:port``, a host alone for port 9090, ``https://host:port`` for
            TLS (``https://host`` for port 443), or ``unix:/path``. Calls take turns at
            the addresses that a name has.
        tls: use TLS. ``https://``, `ca_file` and `cert_file` imply it.
        ca_file: a PEM file of the authorities to trust instead of gRPC's own.
        cert_file, key_file: PEM files of the certificate to show. All three are read once.
        token: the token to show, or a function that returns the current one.
        caller: the name of the calling service, for fairness and usage figures: at most
            64 letters, digits, '.', '_', '-', '/' and ':'.
        priority: ``"interactive"``, or ``"batch"`` for what can wait.
        timeout: how long a call may take, in seconds.
    """

    def __init__(
        self,
        address: str = "127.0.0.1:9090",
        *,
        tls: bool = False,
        ca_file: str | Path | None = None,
        cert_file: str | Path | None = None,
        key_file: str | Path | None = None,
        token: Token | None = None,
        caller: str | None = None,
        priority: Priority = "interactive",
        timeout: float = 10.0,
    ) -> None:
        self._settings = Settings(address, tls, ca_file, cert_file, key_file, token, caller, priority, timeout)
        target, credentials = self._settings.target, self._settings.credentials
        if credentials is None:
            self._channel = grpc.insecure_channel(target, CHANNEL_OPTIONS)
        else:
            self._channel = grpc.secure_channel(target, credentials, CHANNEL_OPTIONS)
        self._users = user_service_pb2_grpc.UserServiceStub(self._channel)
        self._quota = quota_service_pb2_grpc.QuotaServiceStub(self._channel)
        self._callers = caller_service_pb2_grpc.CallerServiceStub(self._channel)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections. Calls under way fail with the code CANCELLED, later ones
        with ValueError."""
        self._channel.close()

    def get_user(
        self,
        user_id: str,
        *,
        full: bool = False,
        max_age: Seconds | None = None,
        min_updated_at: datetime | None = None,
        timeout: float | None = None,
        priority: Priority | None = None,
    ) -> User:
        """Returns a user. Raises NotFoundError if Clerk has no such user.

        Args:
            full: have all fields, private metadata among them, if that is allowed.
            max_age: the age of the oldest acceptable copy. 0 asks Clerk; None accepts
                what the server keeps, for a minute unless configured otherwise.
            min_updated_at: the `updated_at` that the user is known to have. An older
                copy is not returned.
        """
        request = user_service_pb2.GetUserRequest(user_id=user_id, **_requests.reading(full, max_age, min_updated_at))
        response = self._call(self._users.GetUser, request, timeout, priority)
        return User(response.user, response.freshness)

    def batch_get_users(
        self,
        user_ids: Iterable[str],
        *,
        full: bool = False,
        max_age: Seconds | None = None,
        min_updated_at: datetime | None = None,
        timeout: float | None = None,
        priority: Priority | None = None,
    ) -> BatchResult:
        """Returns any number of users, and an error for each id that has none.

        The ids are asked for in calls of 100, four at a time, each with `timeout`. It
        raises only if every call failed as a whole.
        """
        batch = Batch(user_ids)
        which = _requests.reading(full, max_age, min_updated_at)
        calls: deque[tuple[list[str], Any]] = deque()
        try:
            while True:
                while len(calls) < CONCURRENCY and (ids := batch.next()):
                    request = user_service_pb2.BatchGetUsersRequest(user_ids=ids, **which)
                    options = self._settings.options(timeout, priority)
                    calls.append((ids, self._users.BatchGetUsers.future(request, **options)))
                if not calls:
                    return batch.result()
                ids, call = calls.popleft()
                try:
                    batch.answered(ids, call.result())
                except grpc.RpcError as error:
                    batch.failed(ids, from_rpc(error))
        finally:
            for _, call in calls:
                call.cancel()

    def list_users(
        self,
        filter: Filter | None = None,
        *,
        order_by: str = "-created_at",
        page_size: int = 100,
        full: bool = False,
        on_unreadable: OnUnreadable = _requests.log_unreadable,
        timeout: float | None = None,
        priority: Priority | None = None,
    ) -> Generator[User, None, None]:
        """Iterates over the users that match a filter, page by page.

        Each page is a call, made when the iteration reaches it, and costs a request to
        Clerk. Users that can't be read are left out and handed to `on_unreadable`,
        which logs them unless another is given.
        """
        request = user_service_pb2.ListUsersRequest(
            filter=_requests.user_filter(filter),
            order_by=order_by,
            page_size=page_size,
            view=_requests.view(full),
        )
        while True:
            page = self._call(self._users.ListUsers, request, timeout, priority)
            for unreadable in page.unreadable:
                on_unreadable(unreadable)
            for user in page.users:
                yield User(user, page.freshness)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def stream_users(
        self,
        filter: Filter | None = None,
        *,
        order_by: str = "created_at",
        full: bool = False,
        on_unreadable: OnUnreadable = _requests.log_unreadable,
    ) -> Generator[User, None, None]:
        """Iterates over all users that match a filter, with priority ``batch``.

        A stream that breaks is resumed behind the last user. Close the iterator to end
        the stream early.
        """
        request = user_service_pb2.StreamUsersRequest(
            filter=_requests.user_filter(filter), order_by=order_by, view=_requests.view(full)
        )
        with contextlib.closing(self._resume(self._users.StreamUsers, request)) as messages:
            for message in messages:
                for unreadable in message.unreadable:
                    on_unreadable(unreadable)
                for user in message.users:
                    yield User(user, message.freshness)
                if not message.resume_token:
                    return
                request.resume_token = message.resume_token
        raise ClerkgateError(grpc.StatusCode.INTERNAL, "", "the stream ended before its last message")

    def count_users(
        self, filter: Filter | None = None, *, timeout: float | None = None, priority: Priority | None = None
    ) -> int:
        """Returns how many users match a filter."""
        request = user_service_pb2.CountUsersRequest(filter=_requests.user_filter(filter))
        count: int = self._call(self._users.CountUsers, request, timeout, priority).total_count
        return count

    def invalidate_users(self, user_ids: Iterable[str], *, timeout: float | None = None) -> None:
        """Drops users from every cache, for a caller that has just changed them."""
        for ids in chunks(user_ids):
            request = user_service_pb2.InvalidateUsersRequest(user_ids=ids)
            self._call(self._users.InvalidateUsers, request, timeout, None)

    def get_quota(self, *, timeout: float | None = None) -> quota_service_pb2.Quota:
        """Returns the state of the quota, the queue, the breaker and the key."""
        quota: quota_service_pb2.Quota = self._call(
            self._quota.GetQuota, quota_service_pb2.GetQuotaRequest(), timeout, None
        ).quota
        return quota

    def watch_quota(self, *, min_interval: Seconds | None = None) -> Generator[quota_service_pb2.Quota, None, None]:
        """Iterates over the states of the quota: the current one, then each change.

        A watch that breaks is begun again. Close the iterator to end it.
        """
        request = quota_service_pb2.WatchQuotaRequest(min_interval=_requests.duration(min_interval))
        with contextlib.closing(self._resume(self._quota.WatchQuota, request)) as messages:
            for message in messages:
                yield message.quota

    def get_usage(self, *, timeout: float | None = None) -> quota_service_pb2.GetUsageResponse:
        """Returns what the quota was spent on, in all and by each caller."""
        usage: quota_service_pb2.GetUsageResponse = self._call(
            self._quota.GetUsage, quota_service_pb2.GetUsageRequest(), timeout, None
        )
        return usage

    def who_am_i(self, *, timeout: float | None = None) -> caller_service_pb2.WhoAmIResponse:
        """Returns who the server takes the caller for, and what the caller may do."""
        who: caller_service_pb2.WhoAmIResponse = self._call(
            self._callers.WhoAmI, caller_service_pb2.WhoAmIRequest(), timeout, None
        )
        return who

    @contextlib.contextmanager
    def permits(
        self,
        count: int = 1,
        *,
        ttl: Seconds | None = None,
        timeout: float | None = None,
        priority: Priority | None = None,
    ) -> Iterator[Lease]:
        """Lends permits for requests that the block sends to Clerk itself.

        The lease is returned when the block ends; NotReleasedError if it can't be. If it
        is lost, it ends by itself after `ttl`, 30 s unless given.
        """
        response = self._call(self._quota.AcquirePermits, acquire_request(count, ttl), timeout, priority)
        lease = Lease(count, response)
        try:
            yield lease
        except BaseException:
            with contextlib.suppress(ClerkgateError):  # the block's own exception counts
                self._release(lease, raised=True)
            raise
        try:
            self._release(lease, raised=False)
        except ClerkgateError as error:
            raise not_released(error) from error

    def _release(self, lease: Lease, raised: bool) -> None:
        failure = None
        try:
            self._call(self._quota.ReleasePermits, lease.release_request(raised), None, None)
        except ClerkgateError as error:
            failure = error
        self.invalidate_users(lease.left_over(failure))

    def _call(self, method: Callable[..., Any], request: object, timeout: float | None, priority: Priority | None) -> Any:
        try:
            return method(request, **self._settings.options(timeout, priority))
        except grpc.RpcError as error:
            raise from_rpc(error) from None

    def _resume(self, method: Callable[..., Any], request: object) -> Generator[Any, None, None]:
        """Iterates over a stream's messages. One that breaks is begun again with the
        request as it then is."""
        resume = Resume()
        while True:
            call = method(request, metadata=self._settings.metadata(None))
            try:
                for message in call:
                    resume.received()
                    yield message
                return
            except grpc.RpcError as error:
                delay = resume.delay(from_rpc(error))
            finally:
                call.cancel()
            time.sleep(delay)
