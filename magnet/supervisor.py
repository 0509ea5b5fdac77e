"""`make run`: the whole platform as one command, `python -m magnet.supervisor`.

Starts the embedded servers, prepares the database, starts web, worker and scheduler, and says `READY <url>`. A part
that dies is started again. SIGINT and SIGTERM end everything; so does the death of `make`, with --with-parent.
"""

import fcntl
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from types import FrameType

from magnet import environment
from magnet.embedded.data_dir import DataDir
from magnet.embedded.errors import PlatformError
from magnet.embedded.platform import servers_of
from magnet.embedded.server import EmbeddedServer, is_free
from magnet.parts import Part, die_with_parent

READY_SECONDS = 180
STOP_SECONDS = 24
TICK_SECONDS = 0.2
ALREADY_RUNNING_SECONDS = 2
STOPPING_SECONDS = 35
FIRST_PASSWORD = "first_password"  # noqa: S105 - the name of the file that holds it

PYTHON = [sys.executable, "-X", "utf8", "-m"]
WEB_GRACE_SECONDS = 20


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - the terminal is where a supervisor speaks


class Stop(Exception):
    """The person or the system wants the platform to end."""


class Supervisor:
    """One run of the platform on one DATA_DIR."""

    def __init__(self, env: environment.Environment) -> None:
        self.env = env
        self.host = env.text("HOST", "127.0.0.1")
        self.port = env.number("PORT", 8000, least=1, most=65535)
        self.url = env.text("PUBLIC_URL", f"http://localhost:{self.port}").rstrip("/")
        self.data_dir = DataDir(environment.data_dir(env)).prepare()
        self.servers: list[EmbeddedServer] = []
        self.parts = self._parts()
        self.stopping = False
        self._lock: int | None = None

    def run(self) -> None:
        """Until a signal comes. Raises PlatformError when the platform cannot start."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        self._claim()
        try:
            self._start()
            while True:
                self._watch()
                time.sleep(TICK_SECONDS)
        except Stop:
            say("Stopping …")
        finally:
            self.stopping = True
            self._stop()

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if self.stopping:  # asked again: no more patience
            for part in self.parts:
                part.kill()
            return
        self.stopping = True
        raise Stop

    def _claim(self) -> None:
        """One supervisor for one DATA_DIR; waits for one that is on its way out."""
        path = self.data_dir.run / "supervisor"
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        began = time.monotonic()
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                patience = STOPPING_SECONDS if path.read_text() == "stopping" else ALREADY_RUNNING_SECONDS
                if time.monotonic() - began > patience:
                    os.close(lock)
                    raise PlatformError(
                        f"DATA_DIR: a platform runs on {self.data_dir.root} already; stop it, or set another DATA_DIR."
                    ) from None
                time.sleep(TICK_SECONDS)
        path.write_text("running")
        (self.data_dir.run / "supervisor.pid").write_text(f"{os.getpid()}\n")
        self._lock = lock

    def _start(self) -> None:
        for part in self.parts:
            part.end_leftovers()
        if not _can_listen(self.host, self.port):
            raise PlatformError(f"PORT: {self.port} on {self.host} is taken or not allowed; set PORT to another one.")
        self._check_settings()
        for counted in self.data_dir.metrics.glob("*.db"):
            counted.unlink()
        self.servers = servers_of(self.env)
        for server in self.servers:
            server.acquire()
        self._prepare()
        for part in self.parts:
            part.start()
        self._wait_until_ready()
        self._introduce()

    def _check_settings(self) -> None:
        """Let a process of its own read them, before anything is started. Raises PlatformError for a wrong one."""
        answer = subprocess.run(
            [sys.executable, "-X", "utf8", "-c", "import magnet.settings"],
            cwd=environment.BASE_DIR,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if answer.returncode != 0:
            raise PlatformError(answer.stderr.strip().rpartition("\n")[2] or "The settings cannot be read.")

    def _prepare(self) -> None:
        """Migrate, seed and create the first user, in a process of its own: this one stays small."""
        if not self.env.secret("ADMIN_PASSWORD"):
            self.data_dir.secret(FIRST_PASSWORD, generate=True)
        log = self.data_dir.logs / "prepare.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-X", "utf8", "manage.py", "prepare"],
                cwd=environment.BASE_DIR,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            try:
                code = process.wait()
            finally:
                process.kill()
                process.wait()  # it uses the servers until it is gone, and the last user stops them
        if code != 0:
            lines = log.read_text(errors="replace").strip().splitlines()
            raise PlatformError(f"{lines[-1] if lines else 'manage.py prepare failed'} (log: {log})")

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not (self._web_is_ready() and all(part.serves() for part in self.parts)):
            self._watch()
            hopeless = next((part for part in self.parts if part.quick_ends >= 3), None)
            if hopeless is not None:
                raise PlatformError(f"{hopeless.name} does not stay up; see {hopeless.log}")
            if time.monotonic() > deadline:
                raise PlatformError(f"The platform is not ready after {READY_SECONDS} s; see {self.data_dir.logs}")
            time.sleep(TICK_SECONDS)

    def _web_is_ready(self) -> bool:
        address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - compared, not bound
        connection = http.client.HTTPConnection(address, self.port, timeout=5)
        try:
            connection.request("GET", "/health/ready", headers={"Host": "localhost"})
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _introduce(self) -> None:
        say(f"Magnet   {self.url}")
        say(f"User     {self.env.text('ADMIN_EMAIL', 'admin@localhost')}")
        password = self.data_dir.secret(FIRST_PASSWORD)
        if password and (self.data_dir.run / "first_user").exists():
            say(f"Password {password}   (shown this once)")
        (self.data_dir.secrets / FIRST_PASSWORD).unlink(missing_ok=True)
        (self.data_dir.run / "first_user").unlink(missing_ok=True)
        say(f"READY {self.url}")

    def _watch(self) -> None:
        for server in self.servers:
            if server.pid() is None:
                self._revive(server)
        for part in self.parts:
            part.watch(say)
            for error in part.new_errors():
                say(f"{part.name} | {error}")

    def _revive(self, server: EmbeddedServer) -> None:
        say(f"{server.name} ended and is started again; log: {server.log}")
        before = server.url
        try:
            server.acquire()
        except PlatformError as error:
            say(str(error))
            return
        if server.url != before:  # its port was taken meanwhile: who knows the old one must ask again
            for part in self.parts:
                part.terminate()

    def _stop(self) -> None:
        (self.data_dir.run / "supervisor").write_text("stopping")
        for part in self.parts:
            part.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        while time.monotonic() < deadline and not all(part.ended() for part in self.parts):
            time.sleep(0.05)
        for part in self.parts:
            part.kill()
            part.pid_file.unlink(missing_ok=True)
        for server in reversed(self.servers):
            server.release()
        (self.data_dir.run / "supervisor.pid").unlink(missing_ok=True)

    def _parts(self) -> list[Part]:
        workers = self.env.number("WEB_WORKERS", 1, least=1, most=64)
        concurrency = self.env.number("WORKER_CONCURRENCY", os.cpu_count() or 1, least=1, most=256)
        level = self.env.text("LOG_LEVEL", "INFO")
        web = ["uvicorn", "magnet.asgi:application", "--host", self.host, "--port", str(self.port)]
        web += ["--timeout-graceful-shutdown", str(WEB_GRACE_SECONDS), "--log-config", "magnet/uvicorn.json"]
        web += ["--no-access-log", "--ws", "none", "--lifespan", "on", "--no-server-header"]
        web += ["--workers", str(workers)] if workers > 1 else []
        proxies = ",".join(self.env.items("TRUSTED_PROXIES"))
        web += ["--forwarded-allow-ips", proxies] if proxies else ["--no-proxy-headers"]
        worker = ["celery", "--quiet", "-A", "magnet", "worker", "--queues", "ingest,sync,evaluate,default"]
        worker += ["--concurrency", str(concurrency), "--prefetch-multiplier", "1", "--loglevel", level]
        worker += ["--without-gossip", "--without-mingle", "--hostname", "worker@%h"]
        scheduler = ["celery", "--quiet", "-A", "magnet.scheduler", "beat", "--loglevel", "WARNING", "--pidfile", ""]
        return [
            self._part("web", web),
            # SIGTERM then lets tasks end for a while and gives the rest back, instead of waiting for all of them.
            self._part("worker", worker, {"REMAP_SIGTERM": "SIGQUIT"}, tells=True),
            self._part("scheduler", scheduler),
        ]

    def _part(
        self, name: str, command: list[str], variables: dict[str, str] | None = None, *, tells: bool = False
    ) -> Part:
        # Fewer arenas: threads of one Python process hardly ever allocate at the same time.
        shared = {"MALLOC_ARENA_MAX": "2", "PYTHONUNBUFFERED": "1"}
        shared["PROMETHEUS_MULTIPROC_DIR"] = str(self.data_dir.metrics)
        return Part(
            name=name,
            command=[*PYTHON, *command],
            folder=environment.BASE_DIR,
            data_dir=self.data_dir.root,
            environment={**shared, **(variables or {})},
            tells=tells,
        )


def _can_listen(host: str, port: int) -> bool:
    try:
        addresses = {entry[4][0] for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    except OSError as error:
        raise PlatformError(f"HOST: '{host}' is not an address of this machine.") from error
    return all(is_free(str(address), port) for address in addresses)


def main(arguments: Sequence[str]) -> int:
    if "--with-parent" in arguments:
        die_with_parent(signal.SIGTERM)
    os.chdir(environment.BASE_DIR)
    try:
        Supervisor(environment.load()).run()
    except (PlatformError, environment.SettingError) as error:
        print(error, file=sys.stderr, flush=True)  # noqa: T201 - the one line that says what to do
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
