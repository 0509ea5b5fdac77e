"""The profiles, read by a process of its own each."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from magnet.environment import BASE_DIR
from magnet.tests.platform import clean_environment

SAFE = {
    "MAGNET_ENV": "production",
    "SECRET_KEY": "Zq3v8Xw1Lr5Tn7Yk2Hs9Pd4Bm6Fc0JgUeAi",
    "ENCRYPTION_KEYS": "k1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    "PUBLIC_URL": "https://magnet.test",
}
NAMES = (
    "ALLOWED_HOSTS CSRF_TRUSTED_ORIGINS SESSION_COOKIE_SECURE CSRF_COOKIE_SECURE SECURE_HSTS_SECONDS DEBUG "
    "MIGRATE_AT_START FAULTS_ENABLED SESSION_COOKIE_SAMESITE CSRF_COOKIE_SAMESITE PUBLIC_URL"
)
SHOW = f"import json, magnet.settings as s\nprint(json.dumps({{name: getattr(s, name) for name in {NAMES.split()!r}}}))"

# What is only good for a trial, and how its refusal begins.
WEAK: list[tuple[dict[str, str], str]] = [
    ({"SECRET_KEY": ""}, "SECRET_KEY: must be set to at least 32 random characters"),
    ({"SECRET_KEY": "short"}, "SECRET_KEY: must be set to at least 32 random characters"),
    ({"SECRET_KEY": "a" * 50}, "SECRET_KEY: must be set to at least 32 random characters"),
    ({"SECRET_KEY": "django-insecure-" + SAFE["SECRET_KEY"]}, "SECRET_KEY: must be set to at least 32 random"),
    ({"ENCRYPTION_KEYS": ""}, "ENCRYPTION_KEYS: must be set"),
    ({"ENCRYPTION_KEYS": "k1:short"}, "ENCRYPTION_KEYS: item 1 is not id:base64 of 32 bytes."),
    ({"SECRET_KEY": "the secret key of the tests, which protects nothing"}, "SECRET_KEY: must be set to at least"),
    ({"SECRET_KEY": "", "SECRET_KEY_FILE": "/nowhere/key"}, "SECRET_KEY_FILE: /nowhere/key cannot be read."),
    ({"DEBUG": "1"}, "DEBUG: must be off in production"),
    ({"ALLOWED_HOSTS": "*"}, "ALLOWED_HOSTS: must not hold `*`"),
    ({"PUBLIC_URL": ""}, "PUBLIC_URL: must be the address that people open"),
    ({"PUBLIC_URL": "https://*"}, "PUBLIC_URL: '*' must be one host name or address, without wildcards."),
    ({"CORS_ALLOWED_ORIGINS": "*"}, "CORS_ALLOWED_ORIGINS: must list exact origins: credentials"),
    ({"CORS_ALLOWED_ORIGINS": "https://*.magnet.test"}, "CORS_ALLOWED_ORIGINS: must list exact origins: credentials"),
    ({"CORS_ALLOWED_ORIGINS": "null"}, "CORS_ALLOWED_ORIGINS: must be a URL that starts with http:// or https://."),
    ({"TRUSTED_PROXIES": "*"}, "TRUSTED_PROXIES: '*' must be the address of a proxy, or a network"),
    ({"OUTBOUND_ALLOW": "everything"}, "OUTBOUND_ALLOW: 'everything' must be use=host:port"),
    ({"LOG_LEVEL": "LOUD"}, "LOG_LEVEL: 'LOUD' must be one of"),
    ({"MAGNET_ENV": "prod"}, "MAGNET_ENV: 'prod' must be one of"),
    ({"MAGNET_ENV": "staging", "SECRET_KEY": ""}, "SECRET_KEY: must be set to at least 32 random characters"),
]


def read(tmp_path: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SHOW],
        cwd=BASE_DIR,
        env=clean_environment(DATA_DIR=str(tmp_path), **variables),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(("changed", "line"), WEAK)
def test_production_refuses_in_one_line_that_names_the_setting(
    tmp_path: Path, changed: dict[str, str], line: str
) -> None:
    answer = read(tmp_path, **{**SAFE, **changed})

    assert answer.returncode != 0
    assert answer.stdout == ""
    assert len(answer.stderr.splitlines()) == 1
    assert answer.stderr.startswith(line)


def test_production_derives_hosts_and_cookies_from_the_public_url(tmp_path: Path) -> None:
    settings = json.loads(read(tmp_path, **SAFE).stdout)

    assert settings == {
        "ALLOWED_HOSTS": ["magnet.test", "localhost", "127.0.0.1", "[::1]"],
        "CSRF_TRUSTED_ORIGINS": ["https://magnet.test"],
        "SESSION_COOKIE_SECURE": True,
        "CSRF_COOKIE_SECURE": True,
        "SECURE_HSTS_SECONDS": 31_536_000,
        "DEBUG": False,
        "MIGRATE_AT_START": False,
        "FAULTS_ENABLED": False,
        "SESSION_COOKIE_SAMESITE": "Lax",
        "CSRF_COOKIE_SAMESITE": "Lax",
        "PUBLIC_URL": "https://magnet.test",
    }


def test_development_on_the_network_takes_plain_http_by_any_address(tmp_path: Path) -> None:
    settings = json.loads(read(tmp_path, HOST="0.0.0.0", PORT="8123").stdout)

    assert settings["ALLOWED_HOSTS"] == ["*"]
    assert settings["CSRF_TRUSTED_ORIGINS"] == ["http://localhost:8123"]
    assert settings["SESSION_COOKIE_SECURE"] is False
    assert settings["SECURE_HSTS_SECONDS"] == 0


def test_public_url_narrows_the_hosts_of_development(tmp_path: Path) -> None:
    settings = json.loads(read(tmp_path, HOST="0.0.0.0", PUBLIC_URL="http://192.168.1.9:8123/").stdout)

    assert settings["ALLOWED_HOSTS"] == ["192.168.1.9", "localhost", "127.0.0.1", "[::1]"]


def test_listed_origins_are_trusted(tmp_path: Path) -> None:
    settings = json.loads(read(tmp_path, CORS_ALLOWED_ORIGINS="https://spa.test/, https://two.test").stdout)

    assert settings["CSRF_TRUSTED_ORIGINS"] == ["http://localhost:8000", "https://spa.test", "https://two.test"]


def test_production_refuses_unapplied_migrations(tmp_path: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "manage.py", "prepare"],
        cwd=BASE_DIR,
        env=clean_environment(DATA_DIR=str(tmp_path), **SAFE),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert answer.returncode == 1
    (line,) = answer.stderr.splitlines()
    assert re.fullmatch(r"DATABASE_URL: \d+ migrations are not applied; back up, run manage.py migrate.", line)


def test_routes_import_no_heavy_library() -> None:
    heavy = {"langchain", "langchain_core", "onnxruntime", "openai", "torch", "pypdfium2"}
    script = f"import django, sys; django.setup(); import magnet.urls; print(sorted({heavy!r} & set(sys.modules)))"

    answer = subprocess.run(
        [sys.executable, "-c", script],
        cwd=BASE_DIR,
        env=clean_environment(DJANGO_SETTINGS_MODULE="magnet.settings"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert answer.stdout.strip() == "[]", answer.stderr
