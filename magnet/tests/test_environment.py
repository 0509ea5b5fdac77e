"""Reading settings from variables and files."""

from pathlib import Path

import pytest

from magnet import environment
from magnet.environment import Environment, SettingError


def test_secret_comes_from_the_file_that_is_named(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("from the file\n")

    assert Environment({"SECRET_KEY_FILE": str(path)}).secret("SECRET_KEY") == "from the file"


def test_secret_given_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"^SECRET_KEY: is set, and so is SECRET_KEY_FILE"):
        Environment({"SECRET_KEY": "a", "SECRET_KEY_FILE": str(tmp_path)}).secret("SECRET_KEY")


def test_missing_secret_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"^SECRET_KEY_FILE: .*/none cannot be read.$"):
        Environment({"SECRET_KEY_FILE": str(tmp_path / "none")}).secret("SECRET_KEY")


@pytest.mark.parametrize("text", ["0", "65536", "80a", "-1", "٣"])
def test_number_out_of_range_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match=rf"^PORT: '{text}' must be a whole number from 1 to 65535.$"):
        Environment({"PORT": text}).number("PORT", 8000, least=1, most=65535)


def test_empty_variable_counts_as_not_set() -> None:
    assert Environment({"PORT": " "}).number("PORT", 8000) == 8000
    assert Environment({}).items("CORS_ALLOWED_ORIGINS") == []


def test_unknown_profile_is_refused() -> None:
    with pytest.raises(
        SettingError, match=r"^MAGNET_ENV: 'prod' must be one of development, test, staging, production.$"
    ):
        Environment({"MAGNET_ENV": "prod"}).choice("MAGNET_ENV", "development", environment.PROFILES)


def test_items_are_divided_by_commas_and_spaces() -> None:
    assert Environment({"X": "a, b  c"}).items("X") == ["a", "b", "c"]


@pytest.mark.parametrize("text", ["localhost:8000", "ftp://host", "http://", "http://host:99999", "http://[::1"])
def test_wrong_url_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match=r"^PUBLIC_URL: "):
        Environment({"PUBLIC_URL": text}).url("PUBLIC_URL", "", ("http", "https"))


def test_dotenv_is_read_and_the_environment_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("# a comment\n\nexport PORT='9000'\nHOST=0.0.0.0\nnonsense\n")
    monkeypatch.setattr(environment, "BASE_DIR", tmp_path)

    loaded = environment.load({"HOST": "127.0.0.2"})

    assert (loaded.text("PORT"), loaded.text("HOST")) == ("9000", "127.0.0.2")
    assert environment.load({"MAGNET_ENV": "test"}).text("PORT") == ""


def test_missing_dotenv_is_no_mistake(tmp_path: Path) -> None:
    assert environment.read_dotenv(tmp_path / ".env") == {}


def test_database_url_becomes_djangos_settings() -> None:
    url = Environment({"U": "postgresql://me:p%40ss@db:6000/name?sslmode=require"}).url("U", "", ("postgresql",))

    database = environment.database(url)

    assert {name: database[name] for name in ("NAME", "USER", "PASSWORD", "HOST", "PORT", "CONN_MAX_AGE")} == {
        "NAME": "name",
        "USER": "me",
        "PASSWORD": "p@ss",
        "HOST": "db",
        "PORT": 6000,
        "CONN_MAX_AGE": 0,
    }
    assert database["OPTIONS"]["sslmode"] == "require"


def test_tests_keep_a_folder_of_their_own() -> None:
    assert environment.data_dir(Environment({"MAGNET_ENV": "test"})) == environment.BASE_DIR / ".data/test"
    assert environment.data_dir(Environment({})) == environment.BASE_DIR / ".data"
    assert environment.data_dir(Environment({"DATA_DIR": "/srv/magnet"})) == Path("/srv/magnet")
