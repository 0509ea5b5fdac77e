"""The embedded servers, with real processes in a folder of their own."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from magnet.embedded import valkey as valkey_module
from magnet.embedded.data_dir import DataDir
from magnet.embedded.errors import PlatformError
from magnet.embedded.postgres import EmbeddedPostgres
from magnet.embedded.server import running
from magnet.embedded.valkey import EmbeddedValkey
from magnet.environment import BASE_DIR
from magnet.tests.platform import clean_environment, wait_for


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> DataDir:
    # Only its owner may enter, and the name has a space: as hard as a clone's place gets.
    folder = tmp_path_factory.mktemp("data of a person")
    folder.chmod(0o700)
    return DataDir(folder).prepare()


@pytest.fixture(scope="module")
def postgres(data_dir: DataDir) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(data_dir)
    server.acquire()
    yield server
    server.release()


@pytest.fixture(scope="module")
def valkey(data_dir: DataDir) -> Iterator[EmbeddedValkey]:
    server = EmbeddedValkey(data_dir)
    server.acquire()
    yield server
    server.release()


def one(url: str, query: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(query.encode()).fetchone()
        assert row is not None
        return row[0]


def test_application_is_no_superuser_and_owns_its_database(postgres: EmbeddedPostgres) -> None:
    assert (
        one(postgres.url, "SELECT rolsuper OR rolcreatedb OR rolcreaterole FROM pg_roles WHERE rolname = user") is False
    )
    assert one(postgres.url, "SELECT datdba::regrole::text FROM pg_database WHERE datname = 'magnet'") == "magnet"


def test_vectors_and_safe_writes_are_there(postgres: EmbeddedPostgres) -> None:
    assert one(postgres.url, "SELECT '[1,2]'::vector <-> '[1,4]'::vector") == 2.0
    assert one(postgres.url, "SELECT current_setting('fsync') || current_setting('full_page_writes')") == "onon"
    assert one(postgres.url, "SELECT lower('ÄRGER') || to_tsvector('simple', 'ÜBER')::text") == "ärger'über':1"


def test_wrong_password_does_not_open(postgres: EmbeddedPostgres) -> None:
    password = postgres.data_dir.secret("database_password")

    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(postgres.url.replace(password, "guess"))


def test_it_listens_on_loopback_only(postgres: EmbeddedPostgres) -> None:
    assert one(postgres.url, "SELECT current_setting('listen_addresses')") == "127.0.0.1"


def test_killed_database_recovers_what_was_committed(postgres: EmbeddedPostgres) -> None:
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT generate_series(1, 50000) AS n")
    pid = postgres.pid()
    assert pid is not None

    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not running(pid, "postgres"))
    assert postgres.pid() is None
    postgres.acquire()

    assert one(postgres.url, "SELECT count(*) FROM kept") == 50_000


def test_pid_file_of_another_process_is_not_believed(postgres: EmbeddedPostgres) -> None:
    postgres.stop()
    path = postgres.cluster / "postmaster.pid"
    path.write_text(f"{os.getpid()}\n")

    assert postgres.pid() is None
    postgres.acquire()

    assert one(postgres.url, "SELECT 1") == 1


def test_taken_port_is_left_and_the_new_one_remembered(postgres: EmbeddedPostgres) -> None:
    before = postgres.port
    assert before is not None
    postgres.stop()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", before))
        other.listen()
        postgres.acquire()

    assert postgres.port != before
    assert EmbeddedPostgres(postgres.data_dir).url == postgres.url
    assert one(postgres.url, "SELECT 1") == 1


def test_second_user_keeps_the_server_and_the_last_one_stops_it(tmp_path: Path) -> None:
    data_dir = DataDir(tmp_path).prepare()
    first, second = EmbeddedValkey(data_dir), EmbeddedValkey(data_dir)
    first.acquire()
    second.acquire()

    first.release()
    first.release()
    assert second.pid() is not None
    second.release()

    assert second.pid() is None


def test_killed_user_is_not_counted(tmp_path: Path) -> None:
    data_dir = DataDir(tmp_path).prepare()
    script = (
        "from pathlib import Path; from magnet.embedded.data_dir import DataDir; import time\n"
        "from magnet.embedded.valkey import EmbeddedValkey\n"
        f"EmbeddedValkey(DataDir(Path({str(tmp_path)!r}))).acquire(); print('up', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", script], cwd=BASE_DIR, env=clean_environment(), stdout=subprocess.PIPE
    )
    assert other.stdout is not None
    assert other.stdout.readline() == b"up\n"
    other.kill()
    other.wait()
    other.stdout.close()
    server = EmbeddedValkey(data_dir)
    assert server.pid() is not None

    server.acquire()
    server.release()

    assert server.pid() is None


def test_valkey_asks_for_the_password(valkey: EmbeddedValkey) -> None:
    with redis.Redis.from_url(valkey.url) as client, redis.Redis(port=valkey.port or 0) as stranger:
        assert client.ping() is True
        with pytest.raises(redis.AuthenticationError):
            stranger.ping()


def test_killed_valkey_starts_again(valkey: EmbeddedValkey) -> None:
    pid = valkey.pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: valkey.pid() is None)

    valkey.acquire()

    assert valkey.pid() not in (None, pid)


def test_valkey_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(valkey_module, "CONFIGURATION", "port {port}\nnonsense yes\n")

    with pytest.raises(PlatformError, match=r"^DATA_DIR: Valkey does not start in .*: "):
        EmbeddedValkey(DataDir(tmp_path).prepare()).acquire()


def test_broken_cluster_names_the_folder_and_the_log(tmp_path: Path) -> None:
    server = EmbeddedPostgres(DataDir(tmp_path).prepare())
    server.cluster.mkdir(parents=True)

    with pytest.raises(PlatformError, match=rf"^DATA_DIR: pg_ctl failed in {server.home}; see {server.log}.$"):
        server.acquire()


def test_never_started_servers_have_no_url(tmp_path: Path) -> None:
    data_dir = DataDir(tmp_path)

    assert EmbeddedPostgres(data_dir).url == ""
    assert EmbeddedValkey(data_dir).url == ""
    assert EmbeddedPostgres(data_dir).pid() is None


def test_lost_password_is_said(postgres: EmbeddedPostgres) -> None:
    path = postgres.data_dir.secrets / "postgres_password"
    kept = path.read_text()
    path.write_text("another\n")
    try:
        with pytest.raises(PlatformError, match=r"does not open with the password in"):
            postgres._prepare_database()
    finally:
        path.write_text(kept)
