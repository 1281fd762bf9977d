import asyncio
import threading
import unittest

import grpc

from clerkgate import ClerkgateError, NotFoundError, NotReleasedError
from clerkgate.aio import Client
from clerkgate.v1 import quota_service_pb2, user_service_pb2
from tests.fake import Fake, refuse, user_message
from tests.live import Secured, Server


class LiveTest(unittest.IsolatedAsyncioTestCase):
    """Every method, against a server with simulated users."""

    @classmethod
    def setUpClass(cls) -> None:
        cls.server = Server("--sim-users", "1000")
        cls.addClassCleanup(cls.server.stop)

    async def asyncSetUp(self) -> None:
        self.client = Client(self.server.address, caller="tests", timeout=30)
        self.addAsyncCleanup(self.client.close)

    async def test_users(self) -> None:
        users = [user async for user in self.client.list_users(page_size=500)]
        ids = [user.id for user in users]
        self.assertEqual(len(set(ids)), 1000)
        self.assertEqual([user.id async for user in self.client.stream_users()], ids[::-1])
        self.assertEqual(await self.client.count_users(), 1000)
        email = users[5].primary_email_address
        self.assertEqual([user.id async for user in self.client.list_users({"email_addresses": [email]})], [ids[5]])

        result = await self.client.batch_get_users([*ids[:250], "user_nobody"])
        self.assertEqual(set(result.users), set(ids[:250]))
        self.assertEqual(result.errors["user_nobody"].reason, "USER_NOT_FOUND")

        self.assertEqual((await self.client.get_user(ids[0])).public_metadata, users[0].public_metadata)
        await self.client.invalidate_users([ids[0]])
        served_from = (await self.client.get_user(ids[0])).freshness.served_from
        self.assertEqual(served_from, user_service_pb2.SERVED_FROM_UPSTREAM)

    async def test_errors(self) -> None:
        with self.assertRaises(NotFoundError) as caught:
            await self.client.get_user("user_nobody")
        self.assertEqual(caught.exception.reason, "USER_NOT_FOUND")
        with self.assertRaises(ClerkgateError) as failed:
            await self.client.get_user("-user_x")
        self.assertEqual(failed.exception.code, grpc.StatusCode.INVALID_ARGUMENT)

    async def test_quota(self) -> None:
        self.assertEqual((await self.client.get_quota()).limit, 100)
        async for quota in self.client.watch_quota(min_interval=0.1):
            self.assertEqual(quota.limit, 100)
            break
        self.assertIn("tests", [caller.name for caller in (await self.client.get_usage()).callers])
        self.assertEqual((await self.client.who_am_i()).name, "")
        async with self.client.permits(2) as lease:
            self.assertEqual((await self.client.get_quota()).leased, 2)
            lease.used = 0
        self.assertEqual((await self.client.get_quota()).leased, 0)

    async def test_restart(self) -> None:
        server = Server("--sim-users", "3000")
        async with Client(server.address) as client:
            stream = client.stream_users()
            ids = [(await stream.__anext__()).id for _ in range(50)]
            server.stop()
            server = Server("--sim-users", "3000", listen=server.address)
            self.addCleanup(server.stop)
            ids += [user.id async for user in stream]
        self.assertEqual((len(ids), len(set(ids))), (3000, 3000))

    async def test_tls_and_token(self) -> None:
        files = Secured()
        self.addCleanup(files.remove)
        server = Server(*files.flags)
        self.addCleanup(server.stop)
        async with Client("https://" + server.address, ca_file=files.ca_file, token=files.token) as client:
            self.assertEqual((await client.who_am_i()).name, "billing")


class FakeTest(unittest.IsolatedAsyncioTestCase):
    def setUp(self) -> None:
        self.fake = Fake()
        self.addCleanup(self.fake.stop)
        self.released = []
        self.begun, self.ended = threading.Event(), threading.Event()
        self.fake.AcquirePermits = lambda request, context: quota_service_pb2.AcquirePermitsResponse(lease_id="1")
        self.fake.ReleasePermits = self.release
        self.fake.GetUser = self.hang
        self.fake.StreamUsers = self.stream

    def release(self, request, context):
        self.released.append(request)
        return quota_service_pb2.ReleasePermitsResponse()

    def hang(self, request, context):
        context.add_callback(self.ended.set)
        self.begun.set()
        self.ended.wait(30)
        return user_service_pb2.GetUserResponse()

    def stream(self, request, context):
        context.add_callback(self.ended.set)
        yield user_message("user_1", "1")
        self.ended.wait(30)

    async def event(self, event: threading.Event) -> None:
        self.assertTrue(await asyncio.get_running_loop().run_in_executor(None, event.wait, 20))

    async def test_cancel_call(self) -> None:
        """Cancelling a task cancels its call at the server and returns its lease."""
        self.fake.start()
        async with Client(self.fake.address, timeout=60) as client:

            async def work() -> None:
                async with client.permits(3):
                    await client.get_user("user_x")

            task = asyncio.ensure_future(work())
            await self.event(self.begun)
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task
            await self.event(self.ended)
        self.assertEqual(len(self.released), 1)
        self.assertEqual(self.released[0].unanswered_count, 3)

    async def test_end_of_lease(self) -> None:
        reasons = []
        self.fake.ReleasePermits = lambda request, context: refuse(context, grpc.StatusCode.NOT_FOUND, reasons[-1])
        invalidated = []
        self.fake.InvalidateUsers = lambda request, context: (
            invalidated.extend(request.user_ids) or user_service_pb2.InvalidateUsersResponse()
        )
        self.fake.start()
        async with Client(self.fake.address) as client:
            reasons.append("LEASE_NOT_FOUND")
            async with client.permits() as lease:
                lease.changed_user_ids.append("user_x")
            self.assertEqual(invalidated, ["user_x"])
            reasons.append("CALLER_NOT_ALLOWED")
            with self.assertRaises(NotReleasedError):
                async with client.permits():
                    pass

    async def test_cancel_stream(self) -> None:
        self.fake.start()
        async with Client(self.fake.address) as client:
            users = client.stream_users()
            await users.__anext__()
            await users.aclose()
            await self.event(self.ended)

    async def test_resume(self) -> None:
        tokens = []

        def stream(request, context):
            tokens.append(request.resume_token)
            yield user_message(f"user_{len(tokens)}", "" if len(tokens) == 3 else str(len(tokens)))
            refuse(context, grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN")

        self.fake.StreamUsers = stream
        self.fake.start()
        async with Client(self.fake.address) as client:
            ids = [user.id async for user in client.stream_users()]
        self.assertEqual(ids, ["user_1", "user_2", "user_3"])
        self.assertEqual(tokens, ["", "1", "2"])


if __name__ == "__main__":
    unittest.main()
