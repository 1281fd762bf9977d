from __future__ import annotations

import ipaddress
import json
import re
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
# Streams are not retried here: the clients resume them.
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
        },
        {
            "name": [
                {"service": "clerkgate.v1.UserService", "method": "StreamUsers"},
                {"service": "clerkgate.v1.QuotaService", "method": "WatchQuota"},
            ]
        },
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
        if caller is not None and not re.fullmatch(r"[A-Za-z0-9._/:-]{0,64}", caller):
            raise ValueError(f"caller is {caller!r}: want at most 64 letters, digits, '.', '_', '-', '/' and ':'")
        if priority not in ("interactive", "batch"):
            raise ValueError(f"priority is {priority!r}: want 'interactive' or 'batch'")
        if not timeout > 0:
            raise ValueError(f"timeout is {timeout!r}: want seconds, more than 0")
        if isinstance(token, str):
            token = _clean_token(token)
        if (cert_file is None) != (key_file is None):  # gRPC would abort the process
            raise ValueError("a certificate needs both cert_file and key_file")
        tls = tls or ca_file is not None or cert_file is not None
        self.target, tls, local = _parse_address(address, tls)
        if token is not None and not tls and not local:
            raise ValueError("a token is sent over TLS, to a loopback address or to a Unix socket only: use https://")
        self.credentials: grpc.ChannelCredentials | None = None
        if tls:
            authorities = _read(ca_file)
            if authorities is not None and b"BEGIN CERTIFICATE" not in authorities:
                raise ValueError(f"ca_file {str(ca_file)!r} holds no PEM certificate")
            self.credentials = grpc.ssl_channel_credentials(authorities, _read(key_file), _read(cert_file))
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
            metadata.append(("authorization", f"Bearer {_clean_token(token)}"))
        return metadata


def _parse_address(address: str, tls: bool) -> tuple[str, bool, bool]:
    """Returns an address in gRPC's form, whether to use TLS, and whether it is of this
    machine. `tls` is whether TLS is configured."""
    if address.startswith("unix:"):
        if tls:
            raise ValueError(f"address {address!r}: a Unix socket has no TLS")
        return address, False, True
    scheme, found, rest = address.rpartition("://")
    if scheme == "http" and tls:
        raise ValueError(f"address {address!r}: http:// means no TLS; want https://")
    rest = rest.rstrip("/") if found else rest
    if _is_ipv6(rest):  # without brackets, and so without a port
        rest = f"[{rest}]"
    parts = re.fullmatch(r"(\[[^\[\]/?#@]+\]|[^\[\]:/?#@\s]+)(?::(\d+))?", rest)
    ports = {"": "9090", "http": "80", "https": "443"}
    if parts is None or scheme not in ports or bool(scheme) != bool(found):
        raise ValueError(f"address {address!r}: want host:port, unix:/path or https://host:port")
    host, port = parts.group(1), parts.group(2) or ports[scheme]
    return f"dns:///{host}:{port}", tls or scheme == "https", _is_loopback(host)


def _clean_token(token: str) -> str:
    """Returns a token without spaces around it. Its errors do not show the token, as
    those of gRPC would."""
    token = token.strip()
    if not token:
        raise ValueError("the token is empty")
    if not re.fullmatch("[!-~]+", token):
        raise ValueError("the token has other characters than printable ASCII, or a space")
    return token


def _is_ipv6(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).version == 6
    except ValueError:
        return False


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _read(name: str | Path | None) -> bytes | None:
    return None if name is None else Path(name).read_bytes()
