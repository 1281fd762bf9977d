from __future__ import annotations

import ipaddress
import json
from pathlib import Path
from typing import Any, Callable, Literal, Union

import grpc

VERSION = "0.1.0"

#: How urgent a call is: ``batch`` waits behind ``interactive``.
Priority = Literal["interactive", "batch"]
#: A token, or a function that returns the current one.
Token = Union[str, Callable[[], str]]

# Every method is safe to repeat, AcquirePermits because this package names each of
# its requests. RESOURCE_EXHAUSTED is left to the caller: its error has the time.
_SERVICE_CONFIG = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": 3,
                "initialBackoff": "0.1s",
                "maxBackoff": "2s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ],
    # After 50 failures no call is retried until enough have succeeded, ten for each.
    "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.1},
}

# The server closes connections that ping more often than every 4 s.
CHANNEL_OPTIONS = [
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    # By default 1 s to 2 min: all calls fail until then, also if the server is back.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 3_000),
    ("grpc.primary_user_agent", f"clerkgate-python/{VERSION}"),
]


class Settings:
    """What both clients are configured by, in the form that gRPC takes."""

    def __init__(
        self,
        address: str,
        tls: bool,
        ca_file: str | Path | None,
        cert_file: str | Path | None,
        key_file: str | Path | None,
        token: Token | None,
        caller: str | None,
        priority: Priority,
        timeout: float,
    ) -> None:
        https = address.startswith("https://")
        tls = tls or https or ca_file is not None or cert_file is not None
        address = address[len("https://") :].rstrip("/") if https else address
        local = address.startswith("unix:")
        self.target = address
        if not local:
            host, port = _split(address, "443" if https else "9090")
            self.target = f"dns:///{host}:{port}"
            local = _is_loopback(host)
        if token is not None and not tls and not local:
            raise ValueError("a token is sent over TLS, to a loopback address or to a Unix socket only: use https://")
        self.credentials: grpc.ChannelCredentials | None = None
        if tls:
            self.credentials = grpc.ssl_channel_credentials(_read(ca_file), _read(key_file), _read(cert_file))
        self._timeout = timeout
        self._token = token
        self._caller = caller
        self._priority = priority

    def options(self, timeout: float | None, priority: Priority | None) -> dict[str, Any]:
        """Returns the arguments of a unary call beside its request."""
        return {"timeout": self._timeout if timeout is None else timeout, "metadata": self.metadata(priority)}

    def metadata(self, priority: Priority | None) -> list[tuple[str, str]]:
        """Returns the metadata of a call."""
        metadata: list[tuple[str, str]] = [("clerkgate-priority", priority or self._priority)]
        if self._caller:
            metadata.append(("clerkgate-caller", self._caller))
        if self._token is not None:
            token = self._token if isinstance(self._token, str) else self._token()
            metadata.append(("authorization", f"Bearer {token.strip()}"))
        return metadata


def _split(address: str, default: str) -> tuple[str, str]:
    """Returns the host and port of an address, the default port if it has none."""
    if address.startswith("["):  # [::1]:9090
        host, _, rest = address.partition("]")
        return host + "]", rest.lstrip(":") or default
    host, _, port = address.partition(":")
    return host, port or default


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _read(name: str | Path | None) -> bytes | None:
    return None if name is None else Path(name).read_bytes()
