"""Settings come from environment variables, and `.env` beside `manage.py` fills in what is not set.

Every secret may come from a file: NAME_FILE holds the path. `.env.example` lists all variables.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

BASE_DIR = Path(__file__).resolve().parents[1]
PROFILES = ("development", "test", "staging", "production")


class SettingError(Exception):
    """A setting is wrong. The text is one line that begins with its name."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name


class Environment:
    """Typed reads of environment variables; an empty one counts as not set."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def text(self, name: str, default: str = "") -> str:
        return self._values.get(name, "").strip() or default

    def secret(self, name: str, default: str = "") -> str:
        """NAME, or the content of the file that NAME_FILE names. Both at once is a mistake."""
        path = self.text(f"{name}_FILE")
        if not path:
            return self.text(name, default)
        if self.text(name):
            raise SettingError(name, f"is set, and so is {name}_FILE; keep one of them.")
        try:
            return Path(path).read_text().strip() or default
        except (OSError, UnicodeDecodeError) as error:
            raise SettingError(f"{name}_FILE", f"{path} cannot be read.") from error

    def number(self, name: str, default: int, *, least: int = 0, most: int = 2**31) -> int:
        text = self.text(name, str(default))
        if not text.isascii() or not text.isdecimal() or not least <= int(text) <= most:
            raise SettingError(name, f"'{text}' must be a whole number from {least} to {most}.")
        return int(text)

    def choice(self, name: str, default: str, choices: tuple[str, ...]) -> str:
        text = self.text(name, default)
        if text not in choices:
            raise SettingError(name, f"'{text}' must be one of {', '.join(choices)}.")
        return text

    def items(self, name: str) -> list[str]:
        """Items divided by commas or spaces."""
        return self.text(name).replace(",", " ").split()

    def url(self, name: str, default: str, schemes: tuple[str, ...]) -> SplitResult:
        text = self.secret(name, default)
        try:
            url = urlsplit(text)
            port = url.port
        except ValueError as error:
            raise SettingError(name, "is not a URL.") from error
        if url.scheme not in schemes or not url.hostname or port == 0:
            raise SettingError(name, f"must be a URL that starts with {' or '.join(f'{s}://' for s in schemes)}.")
        return url


def read_dotenv(path: Path) -> dict[str, str]:
    """The variables of a `.env` file: `NAME=value` lines, `#` comments, quotes around a value taken off."""
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return {}
    values = {}
    for line in lines:
        name, separator, value = line.strip().removeprefix("export ").partition("=")
        if separator and not name.startswith("#"):
            values[name.strip()] = value.strip().strip("'\"")
    return values


def load(environ: Mapping[str, str] | None = None) -> Environment:
    """The process's variables over those of `.env`. Tests read no `.env`: they must not differ by machine."""
    values = dict(os.environ if environ is None else environ)
    if values.get("MAGNET_ENV") == "test":
        return Environment(values)
    return Environment({**read_dotenv(BASE_DIR / ".env"), **values})


def data_dir(env: Environment) -> Path:
    """DATA_DIR, relative to the clone; tests keep theirs apart, so that they never touch a person's data."""
    default = ".data/test" if env.text("MAGNET_ENV") == "test" else ".data"
    return BASE_DIR / Path(env.text("DATA_DIR", default)).expanduser()


def haste(env: Environment) -> int:
    """How many times sooner leases and waits end than in life: TEST_HASTE, which only the test profile honours."""
    return env.number("TEST_HASTE", 1, least=1, most=60) if env.text("MAGNET_ENV") == "test" else 1


def database(url: SplitResult) -> dict[str, Any]:
    """Django's settings of a `postgresql://user:password@host:port/name?sslmode=…` URL."""
    options: dict[str, Any] = {"connect_timeout": 5, "application_name": "magnet", **dict(parse_qsl(url.query))}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(url.path.removeprefix("/")) or "magnet",
        "USER": unquote(url.username or ""),
        "PASSWORD": unquote(url.password or ""),
        "HOST": url.hostname,
        "PORT": url.port or 5432,
        # A pool does the keeping where that pays, in the web process; Django allows it at zero only.
        "CONN_MAX_AGE": 0,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": options,
    }


VECTOR_DEFAULTS = {"engine": "pgvector", "exact_below": 10_000, "m": 16, "ef_construction": 100}


def vector_db(text: str) -> dict[str, Any]:
    """VECTOR_DB_CONFIG as JSON. exact_below: so many passages of an index are compared one by one; above, an
    approximate index (HNSW with m and ef_construction) is built. An unknown key or engine is refused."""
    try:
        given = json.loads(text or "{}")
    except ValueError as error:
        raise SettingError("VECTOR_DB_CONFIG", "is not JSON.") from error
    unknown = sorted(set(given) - set(VECTOR_DEFAULTS)) if isinstance(given, dict) else ["(not an object)"]
    if unknown:
        raise SettingError("VECTOR_DB_CONFIG", f"unknown key {unknown[0]}; known: {', '.join(VECTOR_DEFAULTS)}.")
    config = {**VECTOR_DEFAULTS, **given}
    if config["engine"] != "pgvector":
        raise SettingError("VECTOR_DB_CONFIG", f"the engine {config['engine']!r} is not supported; use pgvector.")
    for name, (least, most) in {"exact_below": (0, 10**7), "m": (2, 100), "ef_construction": (4, 1000)}.items():
        if not isinstance(config[name], int) or not least <= config[name] <= most:
            raise SettingError("VECTOR_DB_CONFIG", f"{name} must be a whole number from {least} to {most}.")
    return config
