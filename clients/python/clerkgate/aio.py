"""The client for asyncio.

    from clerkgate.aio import Client

    async with Client("127.0.0.1:9090") as clerk:
        print((await clerk.get_user("user_CsQnnwTgmRLDZMXQVWxBwcECTyw")).first_name)

Its methods are those of clerkgate.Client. Cancelling a task cancels its call.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, Callable

import grpc
import grpc.aio

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

__all__ = ["Client"]


class Client:
    """Calls a clerkgate server from one event loop. Arguments and methods are as of
    clerkgate.Client. Make it inside a coroutine."""

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
            self._channel = grpc.aio.insecure_channel(target, CHANNEL_OPTIONS)
        else:
            self._channel = grpc.aio.secure_channel(target, credentials, CHANNEL_OPTIONS)
        self._users = user_service_pb2_grpc.UserServiceStub(self._channel)
        self._quota = quota_service_pb2_grpc.QuotaServiceStub(self._channel)
        self._callers = caller_service_pb2_grpc.CallerServiceStub(self._channel)

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connections. Calls under way are cancelled: those who await them get
        asyncio.CancelledError."""
        await self._channel.close()

    async def get_user(
        self,
        user_id: str,
        *,
        full: bool = False,
        max_age: Seconds | None = None,
        min_updated_at: datetime | None = None,
        timeout: float | None = None,
        priority: Priority | None = None,
    ) -> User:
        """Returns a user. Raises NotFoundError if Clerk has no such user."""
        request = user_service_pb2.GetUserRequest(user_id=user_id, **_requests.reading(full, max_age, min_updated_at))
        response = await self._call(self._users.GetUser, request, timeout, priority)
        return User(response.user, response.freshness)

    async def batch_get_users(
        self,
        user_ids: Iterable[str],
        *,
        full: bool = False,
        max_age: Seconds | None = None,
        min_updated_at: datetime | None = None,
        timeout: float | None = None,
        priority: Priority | None = None,
    ) -> BatchResult:
        """Returns any number of users, and an error for each id that has none."""
        batch = Batch(user_ids)
        which = _requests.reading(full, max_age, min_updated_at)

        async def work() -> None:
            while ids := batch.next():
                request = user_service_pb2.BatchGetUsersRequest(user_ids=ids, **which)
                try:
                    response = await self._call(self._users.BatchGetUsers, request, timeout, priority)
                except ClerkgateError as error:
                    batch.failed(ids, error)
                else:
                    batch.answered(ids, response)

        await asyncio.gather(*(work() for _ in range(CONCURRENCY)))
        return batch.result()

    async def list_users(
        self,
        filter: Filter | None = None,
        *,
        order_by: str = "-created_at",
        page_size: int = 100,
        full: bool = False,
        on_unreadable: OnUnreadable = _requests.log_unreadable,
        timeout: float | None = None,
        priority: Priority | None = None,
    ) -> AsyncGenerator[User, None]:
        """Iterates over the users that match a filter, page by page."""
        request = user_service_pb2.ListUsersRequest(
            filter=_requests.user_filter(filter),
            order_by=order_by,
            page_size=page_size,
            view=_requests.view(full),
        )
        while True:
            page = await self._call(self._users.ListUsers, request, timeout, priority)
            for unreadable in page.unreadable:
                on_unreadable(unreadable)
            for user in page.users:
                yield User(user, page.freshness)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def stream_users(
        self,
        filter: Filter | None = None,
        *,
        order_by: str = "created_at",
        full: bool = False,
        on_unreadable: OnUnreadable = _requests.log_unreadable,
    ) -> AsyncGenerator[User, None]:
        """Iterates over all users that match a filter, with priority ``batch``.

        A stream that breaks is resumed behind the last user. To end it early, cancel
        the task or close the iterator by its `aclose`.
        """
        request = user_service_pb2.StreamUsersRequest(
            filter=_requests.user_filter(filter), order_by=order_by, view=_requests.view(full)
        )
        async with _closing(self._resume(self._users.StreamUsers, request)) as messages:
            async for message in messages:
                for unreadable in message.unreadable:
                    on_unreadable(unreadable)
                for user in message.users:
                    yield User(user, message.freshness)
                if not message.resume_token:
                    return
                request.resume_token = message.resume_token
        raise ClerkgateError(grpc.StatusCode.INTERNAL, "", "the stream ended before its last message")

    async def count_users(
        self, filter: Filter | None = None, *, timeout: float | None = None, priority: Priority | None = None
    ) -> int:
        """Returns how many users match a filter."""
        request = user_service_pb2.CountUsersRequest(filter=_requests.user_filter(filter))
        response = await self._call(self._users.CountUsers, request, timeout, priority)
        count: int = response.total_count
        return count

    async def invalidate_users(self, user_ids: Iterable[str], *, timeout: float | None = None) -> None:
        """Drops users from every cache, for a caller that has just changed them."""
        for ids in chunks(user_ids):
            request = user_service_pb2.InvalidateUsersRequest(user_ids=ids)
            await self._call(self._users.InvalidateUsers, request, timeout, None)

    async def get_quota(self, *, timeout: float | None = None) -> quota_service_pb2.Quota:
        """Returns the state of the quota, the queue, the breaker and the key."""
        response = await self._call(self._quota.GetQuota, quota_service_pb2.GetQuotaRequest(), timeout, None)
        quota: quota_service_pb2.Quota = response.quota
        return quota

    async def watch_quota(self, *, min_interval: Seconds | None = None) -> AsyncGenerator[quota_service_pb2.Quota, None]:
        """Iterates over the states of the quota: the current one, then each change."""
        request = quota_service_pb2.WatchQuotaRequest(min_interval=_requests.duration(min_interval))
        async with _closing(self._resume(self._quota.WatchQuota, request)) as messages:
            async for message in messages:
                yield message.quota

    async def get_usage(self, *, timeout: float | None = None) -> quota_service_pb2.GetUsageResponse:
        """Returns what the quota was spent on, in all and by each caller."""
        usage: quota_service_pb2.GetUsageResponse = await self._call(
            self._quota.GetUsage, quota_service_pb2.GetUsageRequest(), timeout, None
        )
        return usage

    async def who_am_i(self, *, timeout: float | None = None) -> caller_service_pb2.WhoAmIResponse:
        """Returns who the server takes the caller for, and what the caller may do."""
        who: caller_service_pb2.WhoAmIResponse = await self._call(
            self._callers.WhoAmI, caller_service_pb2.WhoAmIRequest(), timeout, None
        )
        return who

    @contextlib.asynccontextmanager
    async def permits(
        self,
        count: int = 1,
        *,
        ttl: Seconds | None = None,
        timeout: float | None = None,
        priority: Priority | None = None,
    ) -> AsyncIterator[Lease]:
        """Lends permits for requests that the block sends to Clerk itself."""
        response = await self._call(self._quota.AcquirePermits, acquire_request(count, ttl), timeout, priority)
        lease = Lease(count, response)
        try:
            yield lease
        except BaseException:
            with contextlib.suppress(ClerkgateError):  # the block's own exception counts
                await self._release(lease, raised=True)
            raise
        try:
            await self._release(lease, raised=False)
        except ClerkgateError as error:
            raise not_released(error) from error

    async def _release(self, lease: Lease, raised: bool) -> None:
        failure = None
        try:
            await self._call(self._quota.ReleasePermits, lease.release_request(raised), None, None)
        except ClerkgateError as error:
            failure = error
        await self.invalidate_users(lease.left_over(failure))

    async def _call(
        self, method: Callable[..., Any], request: object, timeout: float | None, priority: Priority | None
    ) -> Any:
        try:
            return await method(request, **self._settings.options(timeout, priority))
        except grpc.RpcError as error:
            raise from_rpc(error) from None

    async def _resume(self, method: Callable[..., Any], request: object) -> AsyncGenerator[Any, None]:
        """Iterates over a stream's messages. One that breaks is begun again with the
        request as it then is."""
        resume = Resume()
        while True:
            call = method(request, metadata=self._settings.metadata(None))
            try:
                async for message in call:
                    resume.received()
                    yield message
                return
            except grpc.RpcError as error:
                delay = resume.delay(from_rpc(error))
            finally:
                call.cancel()
            await asyncio.sleep(delay)


@contextlib.asynccontextmanager
async def _closing(messages: AsyncGenerator[Any, None]) -> AsyncIterator[AsyncIterator[Any]]:
    """Closes a generator at the block's end, as contextlib.aclosing of Python 3.10."""
    try:
        yield messages
    finally:
        await messages.aclose()
