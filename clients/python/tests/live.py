"""Starts real servers with simulated users."""

import hashlib
import os
import re
import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path

# `make build` makes it.
PROGRAM = Path(__file__).resolve().parents[3] / "bin" / "clerkgate"


class Server:
    """A `clerkgate serve --sim`."""

    def __init__(self, *flags: str, listen: str = "127.0.0.1:0") -> None:
        self._log = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            [PROGRAM, "serve", "--sim", "--grpc-listen", listen, "--http-listen", "127.0.0.1:0", *flags],
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        line = self._process.stdout.readline()
        found = re.search(r"127\.0\.0\.1:\d+", line)
        if found is None:
            self._process.wait()
            self._process.stdout.close()
            self._log.seek(0)
            raise RuntimeError(f"clerkgate did not start: {line}{self._log.read()}")
        self.address = found.group()

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()
        self._process.stdout.close()
        self._log.close()


class Secured:
    """Files of a server with TLS that knows one caller, who has a token."""

    def __init__(self) -> None:
        self._dir = tempfile.mkdtemp()
        self.token = "cgt_" + secrets.token_urlsafe(32)
        self.ca_file = self._path("tls.crt")
        key = self._path("tls.key")
        callers = self._path("callers.yaml")
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
            + ["-keyout", key, "-out", self.ca_file, "-days", "2", "-subj", "/CN=localhost"]
            + ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
            check=True,
            stderr=subprocess.DEVNULL,
        )
        Path(callers).write_text(
            "callers:\n"
            "  - name: billing\n"
            "    identity:\n"
            f"      tokens: [{{sha256: {hashlib.sha256(self.token.encode()).hexdigest()}}}]\n"
            "    allow: {methods: [GetUser]}\n"
        )
        self.flags = ["--tls-cert-file", self.ca_file, "--tls-key-file", key, "--callers-file", callers]

    def _path(self, name: str) -> str:
        return os.path.join(self._dir, name)

    def remove(self) -> None:
        shutil.rmtree(self._dir)
