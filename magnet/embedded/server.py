"""What the embedded servers have in common: one lock, a remembered loopback port, and a count of who uses them."""

import fcntl
import os
import socket
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from magnet.embedded.data_dir import DataDir
from magnet.embedded.errors import PlatformError
from magnet.embedded.privileges import ServiceUser, service_user

LOOPBACK = "127.0.0.1"


class EmbeddedServer(ABC):
    """A server process in DATA_DIR that any process of the platform may find, start and share.

    `acquire()` starts it when it is stopped and counts this process among its users; `release()` stops it when
    nobody else is left. The count is a shared file lock, so a killed user is not counted any longer.
    """

    name: str

    def __init__(self, data_dir: DataDir) -> None:
        self.data_dir = data_dir
        self.home = data_dir.root / self.name
        self._users: int | None = None

    @property
    def log(self) -> Path:
        return self.data_dir.logs / f"{self.name}.log"

    @property
    @abstractmethod
    def url(self) -> str:
        """Where and how to connect; "" while the server was never started."""

    @abstractmethod
    def pid(self) -> int | None:
        """The running server's process; None when there is none, whatever its pid file says."""

    @abstractmethod
    def _ready(self) -> bool: ...

    @abstractmethod
    def _start(self) -> None: ...

    @abstractmethod
    def _stop(self) -> None: ...

    def acquire(self) -> str:
        """Start the server unless it answers, and use it. Returns its URL; raises PlatformError."""
        with self._exclusively():
            if self._users is None:
                self._users = os.open(self.home / "users", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                fcntl.flock(self._users, fcntl.LOCK_SH)
            if not self._ready():
                self._start()
        return self.url

    def release(self) -> None:
        """Stop using the server; the last one out stops it."""
        if self._users is None:
            return
        with self._exclusively():
            try:
                fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._stop()
            except BlockingIOError:
                pass
            finally:
                os.close(self._users)
                self._users = None

    def stop(self) -> None:
        """Stop the server, whoever uses it."""
        with self._exclusively():
            self._stop()

    @property
    def port(self) -> int | None:
        try:
            return int((self.home / "port").read_text())
        except (OSError, ValueError):
            return None

    def _keep_port(self) -> int:
        """The port of last time when it is free, else another one, remembered."""
        port = self.port
        if port is None or not is_free(LOOPBACK, port):
            port = free_port()
            (self.home / "port").write_text(f"{port}\n")
        return port

    def _hand_over(self, name: str, text: str) -> Path:
        """A private file for the server's own user."""
        path = self.home / name
        path.touch(mode=0o600)
        path.write_text(text + "\n")
        user = self._user()
        if user is not None:
            os.chown(path, user.uid, user.gid)
        return path

    def _user(self) -> ServiceUser | None:
        return service_user(self.home)

    @contextmanager
    def _exclusively(self) -> Iterator[None]:
        """One process at a time starts or stops the server."""
        user = self._user()
        try:
            self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
            if user is not None:
                os.chown(self.home, user.uid, user.gid)
            lock = os.open(self.home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise PlatformError(
                f"DATA_DIR: {self.home} cannot be written by this user ({error.strerror}). "
                "Start as its owner, or set DATA_DIR to another folder."
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def free_port(host: str = LOOPBACK) -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def is_free(host: str, port: int) -> bool:
    """Whether this process could listen there."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def running(pid: int, program: str) -> bool:
    """Whether this process lives and is this program; pid files outlive their process, and numbers come again."""
    try:
        process = psutil.Process(pid)
        return bool(process.status() != psutil.STATUS_ZOMBIE and process.name().startswith(program))
    except psutil.NoSuchProcess:
        return False
