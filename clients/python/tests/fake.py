"""A server that answers as a test wants it to."""

from concurrent import futures

import grpc

from clerkgate.v1 import quota_service_pb2_grpc, user_service_pb2, user_service_pb2_grpc


class Fake(user_service_pb2_grpc.UserServiceServicer, quota_service_pb2_grpc.QuotaServiceServicer):
    """A test sets the methods that it needs."""

    def __init__(self) -> None:
        self._server = grpc.server(futures.ThreadPoolExecutor(8))
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    def start(self) -> None:
        user_service_pb2_grpc.add_UserServiceServicer_to_server(self, self._server)
        quota_service_pb2_grpc.add_QuotaServiceServicer_to_server(self, self._server)
        self._server.start()

    def stop(self) -> None:
        self._server.stop(None).wait()


def refuse(context, code: grpc.StatusCode, reason: str, retry_ms: int = 0) -> None:
    """Ends a call as the server does."""
    trailers = [("clerkgate-reason", reason)]
    if retry_ms:
        too_late = retry_ms / 1000 >= context.time_remaining()
        trailers.append(("clerkgate-retry-ms", str(retry_ms)))
        trailers.append(("grpc-retry-pushback-ms", "-1" if too_late else str(retry_ms)))
    context.set_trailing_metadata(trailers)
    context.abort(code, "refused")


def user_message(user_id: str, resume_token: str) -> user_service_pb2.StreamUsersResponse:
    return user_service_pb2.StreamUsersResponse(users=[{"id": user_id}], resume_token=resume_token)
