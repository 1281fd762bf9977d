import pickle
import threading
import time
import unittest
from datetime import datetime, timezone

import grpc

from clerkgate import ClerkgateError, Client, NotFoundError, NotReleasedError, User
from clerkgate._settings import Settings
from clerkgate.v1 import quota_service_pb2, user_pb2, user_service_pb2
from tests.fake import Fake, refuse, user_message
from tests.live import Secured, Server


class LiveTest(unittest.TestCase):
    """Every method, against a server with simulated users."""

    @classmethod
    def setUpClass(cls) -> None:
        cls.server = Server("--sim-users", "1000")
        cls.addClassCleanup(cls.server.stop)
        cls.client = Client(cls.server.address, caller="tests", timeout=30)
        cls.addClassCleanup(cls.client.close)
        cls.all = list(cls.client.list_users(page_size=500))

    def test_list(self) -> None:
        self.assertEqual(len({user.id for user in self.all}), 1000)
        three = [user.id for user, _ in zip(self.client.list_users(page_size=2), range(3))]
        self.assertEqual(three, [user.id for user in self.all[:3]])

    def test_filter(self) -> None:
        wanted = self.all[5]
        found = list(self.client.list_users({"email_addresses": [wanted.primary_email_address]}))
        self.assertEqual([user.id for user in found], [wanted.id])
        before = self.client.count_users({"created_at_before": wanted.created_at, "banned": False})
        self.assertLess(before, 1000)
        with self.assertRaisesRegex(ValueError, "'bannned'"):
            next(self.client.list_users({"bannned": True}))
        with self.assertRaisesRegex(ValueError, "takes a list"):
            next(self.client.list_users({"user_ids": wanted.id}))
        with self.assertRaisesRegex(ValueError, "banned is None"):
            self.client.count_users({"name_query": "a", "banned": None})

    def test_get_user(self) -> None:
        user = self.client.get_user(self.all[0].id, max_age=0)
        self.assertEqual(user.id, self.all[0].id)
        self.assertEqual(user.freshness.served_from, user_service_pb2.SERVED_FROM_UPSTREAM)
        self.assertIsNotNone(user.created_at.tzinfo)
        self.assertEqual(user.created_at.timestamp(), user.message.created_at.ToMilliseconds() / 1000)
        self.assertIn("@", user.primary_email_address)
        self.assertIsInstance(user.public_metadata, dict)
        self.assertIsNone(user.private_metadata)
        self.assertIsNone(user.external_id if not user.message.HasField("external_id") else None)
        self.assertNotIn(user.primary_email_address, repr(user))
        with self.assertRaises(AttributeError):
            user.nonsense
        full = self.client.get_user(user.id, full=True)
        self.assertIsInstance(full.private_metadata, dict)

    def test_not_found(self) -> None:
        with self.assertRaises(NotFoundError) as caught:
            self.client.get_user("user_nobody")
        self.assertEqual((caught.exception.code, caught.exception.reason), (grpc.StatusCode.NOT_FOUND, "USER_NOT_FOUND"))

    def test_invalid(self) -> None:
        with self.assertRaisesRegex(ClerkgateError, "user_id: must be") as caught:
            self.client.get_user("-user_x")
        self.assertEqual(caught.exception.code, grpc.StatusCode.INVALID_ARGUMENT)
        self.assertRegex(caught.exception.request_id, "^[0-9a-f]{16}$")
        with self.assertRaises(ClerkgateError) as caught:
            next(self.client.stream_users(order_by="last_name"))
        self.assertRegex(caught.exception.request_id, "^[0-9a-f]{16}$")

    def test_batch(self) -> None:
        ids = [user.id for user in self.all[:250]]
        result = self.client.batch_get_users([*ids, ids[0], "user_nobody", "-user_x"])
        self.assertEqual(list(result.users), ids)
        self.assertEqual(
            {user_id: (error.code.name, error.reason) for user_id, error in result.errors.items()},
            {"user_nobody": ("NOT_FOUND", "USER_NOT_FOUND"), "-user_x": ("INVALID_ARGUMENT", "INVALID_ARGUMENT")},
        )
        self.assertEqual(self.client.batch_get_users([]).users, {})
        with self.assertRaises(TypeError):
            self.client.batch_get_users("user_x")

    def test_stream(self) -> None:
        ids = [user.id for user in self.client.stream_users()]
        self.assertEqual(ids, [user.id for user in reversed(self.all)])

    def test_count(self) -> None:
        self.assertEqual(self.client.count_users(), 1000)

    def test_invalidate(self) -> None:
        user_id = self.all[1].id
        self.client.get_user(user_id)
        self.client.invalidate_users([user_id])
        origin = self.client.get_user(user_id).freshness.served_from
        self.assertEqual(origin, user_service_pb2.SERVED_FROM_UPSTREAM)

    def test_quota(self) -> None:
        quota = self.client.get_quota()
        self.assertEqual((quota.limit, quota.window.ToSeconds()), (100, 10))
        self.assertEqual(next(self.client.watch_quota(min_interval=0.1)).limit, 100)
        self.assertGreater(self.client.get_usage().totals.upstream_requests, 0)
        self.assertIn("tests", [caller.name for caller in self.client.get_usage().callers])
        self.assertEqual(self.client.who_am_i().name, "")

    def test_permits(self) -> None:
        user_id = self.all[2].id
        self.client.get_user(user_id)
        with self.client.permits(2, ttl=20) as lease:
            self.assertEqual(lease.count, 2)
            self.assertTrue(15 < lease.remaining <= 20)
            self.assertEqual(self.client.get_quota().leased, 2)
            lease.used = 1
            lease.changed_user_ids.append(user_id)
        self.assertEqual(self.client.get_quota().leased, 0)
        origin = self.client.get_user(user_id).freshness.served_from
        self.assertEqual(origin, user_service_pb2.SERVED_FROM_UPSTREAM)
        with self.assertRaises(ZeroDivisionError), self.client.permits():
            1 / 0
        self.assertEqual(self.client.get_quota().leased, 0)

    def test_deadline(self) -> None:
        with self.assertRaises(ClerkgateError) as caught:
            self.client.get_user(self.all[3].id, max_age=0, timeout=0.001)
        self.assertIn(caught.exception.code.name, ("DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"))

    def test_closed(self) -> None:
        client = Client(self.server.address)
        client.close()
        with self.assertRaises(ValueError):
            client.get_user("user_x")


class RefusalTest(unittest.TestCase):
    def test_retry_time(self) -> None:
        """What can't be had in time is refused at once, with the time to come back."""
        server = Server("--quota", "1/60s")
        self.addCleanup(server.stop)
        with Client(server.address) as client:
            client.count_users()
            start = time.monotonic()
            with self.assertRaises(ClerkgateError) as caught:
                client.count_users()
            self.assertLess(time.monotonic() - start, 5)
        error = caught.exception
        self.assertEqual((error.code.name, error.reason), ("RESOURCE_EXHAUSTED", "DEADLINE_TOO_SHORT"))
        self.assertTrue(10 < error.retry_after <= 61, error.retry_after)

    def test_no_server(self) -> None:
        with Client("127.0.0.1:1") as client, self.assertRaises(ClerkgateError) as caught:
            client.get_user("user_x")
        self.assertEqual((caught.exception.code, caught.exception.reason), (grpc.StatusCode.UNAVAILABLE, ""))


class ResumeTest(unittest.TestCase):
    def test_restart(self) -> None:
        """A stream goes on where it was when its server stopped."""
        server = Server("--sim-users", "3000")
        client = Client(server.address)
        self.addCleanup(client.close)
        stream = client.stream_users()
        ids = [next(stream).id for _ in range(50)]
        watch = client.watch_quota()
        next(watch)
        server.stop()
        server = Server("--sim-users", "3000", listen=server.address)
        self.addCleanup(server.stop)
        ids += [user.id for user in stream]
        self.assertEqual(len(ids), 3000)
        self.assertEqual(len(set(ids)), 3000)
        self.assertEqual(next(watch).limit, 100)


class SecuredTest(unittest.TestCase):
    def test_tls_and_token(self) -> None:
        files = Secured()
        self.addCleanup(files.remove)
        server = Server(*files.flags)
        self.addCleanup(server.stop)
        address = "https://" + server.address
        with Client(address, ca_file=files.ca_file, token=lambda: files.token + "\n") as client:
            self.assertEqual(client.who_am_i().name, "billing")
            with self.assertRaises(NotFoundError):
                client.get_user("user_nobody")
            with self.assertRaises(ClerkgateError) as caught:
                client.count_users()
            self.assertEqual(caught.exception.reason, "CALLER_NOT_ALLOWED")
        with Client(address, ca_file=files.ca_file, token="cgt_x") as client, self.assertRaises(ClerkgateError) as caught:
            client.get_user("user_nobody")
        self.assertEqual((caught.exception.code.name, caught.exception.reason), ("UNAUTHENTICATED", "CALLER_UNKNOWN"))

    def test_token_in_clear(self) -> None:
        for address in "clerkgate.example", "10.0.0.1:9090", "127.0.0.1.example:9090":
            with self.subTest(address), self.assertRaises(ValueError):
                Client(address, token="cgt_x")
        for address in "localhost", "127.0.0.1:9090", "[::1]:9090", "unix:/tmp/socket", "https://clerkgate.example":
            with self.subTest(address):
                Client(address, token="cgt_x").close()


class FakeTest(unittest.TestCase):
    """What a real server does only in trouble."""

    def setUp(self) -> None:
        self.fake = Fake()
        self.addCleanup(self.fake.stop)
        self.client = Client(self.fake.address, caller="tests", priority="batch")
        self.addCleanup(self.client.close)

    def test_retries_unavailable_only(self) -> None:
        calls = []

        def get_user(request, context):
            calls.append(dict(context.invocation_metadata()))
            if request.user_id == "user_full":
                refuse(context, grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL", 1500)
            if len(calls) < 3:
                refuse(context, grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN")
            return user_service_pb2.GetUserResponse(user={"id": request.user_id})

        self.fake.GetUser = get_user
        self.fake.start()
        self.assertEqual(self.client.get_user("user_x").id, "user_x")
        self.assertEqual(len(calls), 3)
        self.assertEqual(calls[0]["clerkgate-caller"], "tests")
        self.assertEqual(calls[0]["clerkgate-priority"], "batch")
        calls.clear()
        with self.assertRaises(ClerkgateError) as caught:
            self.client.get_user("user_full", priority="interactive")
        self.assertEqual(len(calls), 1)
        self.assertEqual(calls[0]["clerkgate-priority"], "interactive")
        self.assertEqual(caught.exception.retry_after, 1.5)

    def test_retry_that_would_come_too_late(self) -> None:
        def get_user(request, context):
            refuse(context, grpc.StatusCode.UNAVAILABLE, "BREAKER_OPEN", 3_600_000)

        self.fake.GetUser = get_user
        self.fake.start()
        with self.assertRaises(ClerkgateError) as caught:
            self.client.get_user("user_x", timeout=60)
        self.assertEqual((caught.exception.reason, caught.exception.retry_after), ("BREAKER_OPEN", 3600))

    def test_partial_batch(self) -> None:
        """A call that fails takes only its own ids with it; users that did not fit are asked for again."""

        def batch(request, context):
            ids = list(request.user_ids)
            if "user_100" in ids and len(ids) == 100:
                refuse(context, grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL")
            response = user_service_pb2.BatchGetUsersResponse()
            for i, user_id in enumerate(ids):
                if i < 10:
                    response.results.add(user_id=user_id, user={"id": user_id})
                else:
                    response.results.add(user_id=user_id, error={"code": 8, "reason": "ERROR_REASON_ANSWER_TOO_LARGE"})
            return response

        self.fake.BatchGetUsers = batch
        self.fake.start()
        result = self.client.batch_get_users(f"user_{i}" for i in range(230))
        self.assertEqual(set(result.errors), {f"user_{i}" for i in range(100, 200)})
        self.assertEqual(len(result.users), 130)
        with self.assertRaises(ClerkgateError):
            self.client.batch_get_users(f"user_{i}" for i in range(100, 200))

    def test_resume(self) -> None:
        tokens = []

        def stream(request, context):
            tokens.append(request.resume_token)
            if len(tokens) == 1:
                yield user_message("user_1", "1")
                refuse(context, grpc.StatusCode.ABORTED, "STREAM_NOT_READ")
            elif len(tokens) == 2:
                yield user_message("user_2", "2")
                refuse(context, grpc.StatusCode.RESOURCE_EXHAUSTED, "DEADLINE_TOO_SHORT", 10)
            else:
                yield user_message("user_3", "")
                refuse(context, grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN")

        self.fake.StreamUsers = stream
        self.fake.start()
        self.assertEqual([user.id for user in self.client.stream_users()], ["user_1", "user_2", "user_3"])
        self.assertEqual(tokens, ["", "1", "2"])

    def test_outdated_token(self) -> None:
        def stream(request, context):
            yield user_message("user_1", "1")
            refuse(context, grpc.StatusCode.ABORTED, "TOKEN_OUTDATED")

        self.fake.StreamUsers = stream
        self.fake.start()
        with self.assertRaisesRegex(ClerkgateError, "TOKEN_OUTDATED"):
            list(self.client.stream_users())

    def test_stream_without_last_message(self) -> None:
        def stream(request, context):
            yield user_message("user_1", "1")

        self.fake.StreamUsers = stream
        self.fake.start()
        users = self.client.stream_users()
        self.assertEqual(next(users).id, "user_1")
        with self.assertRaisesRegex(ClerkgateError, "last message"):
            next(users)

    def test_cancel_stream(self) -> None:
        ended = threading.Event()

        def stream(request, context):
            context.add_callback(ended.set)
            yield user_message("user_1", "1")
            ended.wait(30)

        self.fake.StreamUsers = stream
        self.fake.start()
        users = self.client.stream_users()
        next(users)
        users.close()
        self.assertTrue(ended.wait(20))

    def test_unreadable(self) -> None:
        self.fake.ListUsers = lambda request, context: user_service_pb2.ListUsersResponse(
            unreadable=[{"user_id": "user_1", "message": "odd"}]
        )
        self.fake.start()
        with self.assertLogs("clerkgate", "WARNING"):
            self.assertEqual(list(self.client.list_users()), [])
        left_out = []
        list(self.client.list_users(on_unreadable=left_out.append))
        self.assertEqual([user.user_id for user in left_out], ["user_1"])

    def test_lease_of_a_block_that_raises(self) -> None:
        released = []
        self.fake.AcquirePermits = lambda request, context: quota_service_pb2.AcquirePermitsResponse(lease_id="1")
        self.fake.ReleasePermits = lambda request, context: (
            released.append(request) or quota_service_pb2.ReleasePermitsResponse()
        )
        self.fake.start()
        with self.assertRaises(ZeroDivisionError), self.client.permits(3) as lease:
            lease.used = 2
            1 / 0
        self.assertEqual((released[0].used_count, released[0].unanswered_count), (2, 2))

    def start_without_leases(self) -> None:
        """Starts the fake; it fails to take leases back with the error self.lease_error."""
        self.invalidated = []
        self.fake.AcquirePermits = lambda request, context: quota_service_pb2.AcquirePermitsResponse(lease_id="1")
        self.fake.ReleasePermits = lambda request, context: refuse(context, *self.lease_error)
        self.fake.InvalidateUsers = lambda request, context: (
            self.invalidated.extend(request.user_ids) or user_service_pb2.InvalidateUsersResponse()
        )
        self.fake.start()

    def test_lease_that_has_ended(self) -> None:
        """It is no failure of the block, and its users are dropped from the caches."""
        self.start_without_leases()
        ids = [f"user_{i}" for i in range(130)]
        for reason in "LEASE_NOT_FOUND", "LEASE_UNREACHABLE":
            self.lease_error = (grpc.StatusCode.NOT_FOUND, reason)
            self.invalidated.clear()
            with self.client.permits() as lease:
                lease.changed_user_ids.extend(ids)
            self.assertEqual(self.invalidated, ids)

    def test_lease_that_cannot_be_returned(self) -> None:
        self.lease_error = (grpc.StatusCode.PERMISSION_DENIED, "CALLER_NOT_ALLOWED")
        self.start_without_leases()
        with self.assertRaisesRegex(NotReleasedError, "CALLER_NOT_ALLOWED.*block is done") as caught, self.client.permits():
            pass
        self.assertIs(type(caught.exception.__cause__), ClerkgateError)
        with self.assertRaises(ZeroDivisionError), self.client.permits():
            1 / 0

    def test_close_ends_calls(self) -> None:
        begun, ended = threading.Event(), threading.Event()
        self.addCleanup(ended.set)

        def hang(request, context):
            begun.set()
            ended.wait(30)

        self.fake.GetUser = self.fake.BatchGetUsers = hang
        self.fake.start()
        for call in (lambda client: client.get_user("user_x")), (lambda client: client.batch_get_users(["user_x"])):
            begun.clear()
            client = Client(self.fake.address)
            closer = threading.Thread(target=lambda: begun.wait(20) and client.close())
            closer.start()
            with self.assertRaises(ClerkgateError) as caught:
                call(client)
            closer.join()
            self.assertEqual(caught.exception.code, grpc.StatusCode.CANCELLED)

    def test_streams_are_not_retried_by_grpc(self) -> None:
        """The client resumes them; with both, tries would multiply."""
        calls = []

        def stream(request, context):
            calls.append(dict(context.invocation_metadata()))
            if len(calls) == 1:
                refuse(context, grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN")
            yield user_message("user_1", "")

        self.fake.StreamUsers = stream
        self.fake.start()
        self.assertEqual([user.id for user in self.client.stream_users()], ["user_1"])
        self.assertEqual([call.get("grpc-previous-rpc-attempts") for call in calls], [None, None])


class SettingsTest(unittest.TestCase):
    """What a client takes, before it connects."""

    def test_token_is_never_shown(self) -> None:
        for token in "cgt_secret\nx", "cgt_secreté", "cgt_secret x", " ", "":
            with self.subTest(token):
                with self.assertRaises(ValueError) as caught:
                    Client(token=token)
                self.assertNotIn("secret", str(caught.exception))
                with Client(token=lambda: token) as client, self.assertRaises(ValueError) as caught:
                    client.get_user("user_x")
                self.assertNotIn("secret", str(caught.exception))

    def test_refuses(self) -> None:
        for options in (
            {"caller": "a b"},
            {"caller": "é"},
            {"caller": "x" * 65},
            {"priority": "high"},
            {"timeout": 0},
            {"timeout": float("nan")},
        ):
            with self.subTest(options), self.assertRaisesRegex(ValueError, "want"):
                Client(**options)

    def test_certificates(self) -> None:
        for options, message in (
            ({"cert_file": __file__}, "needs both"),
            ({"key_file": __file__}, "needs both"),
            ({"ca_file": __file__}, "holds no PEM certificate"),
            ({"ca_file": "/nowhere"}, "No such file"),
        ):
            with self.subTest(options), self.assertRaisesRegex((ValueError, OSError), message):
                Client(**options)

    def parsed(self, address: str, tls: bool = False) -> tuple:
        settings = Settings(address, tls, None, None, None, None, None, "interactive", 1)
        return settings.target, settings.credentials is not None

    def test_addresses(self) -> None:
        for address, target, tls in (
            ("clerkgate", "dns:///clerkgate:9090", False),
            ("127.0.0.1:19090", "dns:///127.0.0.1:19090", False),
            ("::1", "dns:///[::1]:9090", False),
            ("[::1]:80", "dns:///[::1]:80", False),
            ("http://clerkgate", "dns:///clerkgate:80", False),
            ("http://clerkgate:9090/", "dns:///clerkgate:9090", False),
            ("https://clerkgate.example", "dns:///clerkgate.example:443", True),
            ("https://[::1]:9090/", "dns:///[::1]:9090", True),
            ("unix:/run/clerkgate.sock", "unix:/run/clerkgate.sock", False),
        ):
            with self.subTest(address):
                self.assertEqual(self.parsed(address), (target, tls))
        self.assertEqual(self.parsed("clerkgate", tls=True), ("dns:///clerkgate:9090", True))
        for address in (
            *("", "ftp://clerkgate", "dns:///clerkgate:9090", "://clerkgate", "https://", "https://user@clerkgate"),
            *("clerkgate:port", "clerkgate:", "clerkgate/path", "https://clerkgate/path", "https://clerkgate?x"),
        ):
            with self.subTest(address), self.assertRaisesRegex(ValueError, "want host:port"):
                self.parsed(address)
        with self.assertRaisesRegex(ValueError, "want https"):
            self.parsed("http://clerkgate", tls=True)
        with self.assertRaisesRegex(ValueError, "no TLS"):
            self.parsed("unix:/run/clerkgate.sock", tls=True)


class ErrorTest(unittest.TestCase):
    def test_pickles(self) -> None:
        """Errors cross processes, as of multiprocessing and of job queues."""
        for kind in ClerkgateError, NotFoundError, NotReleasedError:
            values = grpc.StatusCode.NOT_FOUND, "USER_NOT_FOUND", "no such user", 1.5, "id"
            copy = pickle.loads(pickle.dumps(kind(*values)))
            self.assertIs(type(copy), kind)
            self.assertEqual((copy.code, copy.reason, copy.message, copy.retry_after, copy.request_id), values)


class UserTest(unittest.TestCase):
    def test_has_all_fields(self) -> None:
        fields = set(user_pb2.User.DESCRIPTOR.fields_by_name)
        self.assertEqual(set(User.__annotations__), fields)
        user = User(user_pb2.User(id="user_x"), user_service_pb2.Freshness())
        for field in user_pb2.User.DESCRIPTOR.fields:
            getattr(user, field.name)
            optional = "None" in User.__annotations__[field.name]
            self.assertEqual(optional, field.has_presence, field.name)

    def test_values(self) -> None:
        message = user_pb2.User(id="user_x", public_metadata_json='{"plan": "pro"}')
        message.created_at.FromJsonString("2026-01-02T03:04:05.678Z")
        user = User(message, user_service_pb2.Freshness())
        self.assertEqual(user.public_metadata["plan"], "pro")
        self.assertEqual(user.created_at, datetime(2026, 1, 2, 3, 4, 5, 678000, timezone.utc))
        self.assertIsNone(user.banned)


if __name__ == "__main__":
    unittest.main()
