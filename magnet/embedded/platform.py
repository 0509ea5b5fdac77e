"""The embedded servers that this configuration asks for."""

from collections.abc import Iterator
from contextlib import contextmanager

from magnet import environment as env
from magnet.embedded.data_dir import DataDir
from magnet.embedded.postgres import EmbeddedPostgres
from magnet.embedded.server import EmbeddedServer
from magnet.embedded.valkey import EmbeddedValkey


def servers_of(environment: env.Environment) -> list[EmbeddedServer]:
    """One for each URL that is not set; DATA_DIR is prepared. Raises PlatformError, SettingError."""
    data_dir = DataDir(env.data_dir(environment)).prepare()
    # Only the suite's own servers give up safety for speed; a platform of a test keeps what it promises.
    hurried = environment.text("MAGNET_ENV") == "test" and not environment.text("DATA_DIR")
    if environment.text("MAGNET_ENV", "development") in ("development", "test"):
        data_dir.generate_keys()
    servers: list[EmbeddedServer] = []
    if not environment.secret("DATABASE_URL"):
        servers.append(EmbeddedPostgres(data_dir, durable=not hurried))
    if not environment.secret("REDIS_URL"):
        servers.append(EmbeddedValkey(data_dir))
    return servers


@contextmanager
def embedded_servers() -> Iterator[list[EmbeddedServer]]:
    """The servers run inside of this block; the last process to leave such a block stops them."""
    servers = servers_of(env.load())
    try:
        for server in servers:
            server.acquire()
        yield servers
    finally:
        for server in reversed(servers):
            server.release()
