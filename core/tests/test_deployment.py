"""How people reach the platform: what `doctor` and `check --deploy` say of it."""

from typing import Any

import pytest
from django.core.checks import run_checks

from core.deployment import network_findings, profile_findings
from core.doctor import Level


@pytest.fixture(autouse=True)
def _safe(settings: Any) -> None:
    settings.HOST = "127.0.0.1"
    settings.PUBLIC_URL = "https://magnet.test"
    settings.TRUSTED_PROXIES = ["10.0.0.1"]
    settings.CORS_ALLOWED_ORIGINS = ["https://spa.test", "http://localhost:9000"]


def warnings() -> list[tuple[str, str]]:
    return [(one.subject, one.remedy) for one in network_findings() if one.level is not Level.OK]


def test_https_behind_a_known_proxy_is_fine() -> None:
    assert warnings() == []


def test_laptop_is_fine(settings: Any) -> None:
    settings.PUBLIC_URL, settings.TRUSTED_PROXIES, settings.CORS_ALLOWED_ORIGINS = "http://localhost:8000", [], []

    assert warnings() == []


@pytest.mark.parametrize(("host", "url"), [("0.0.0.0", "http://localhost:8000"), ("127.0.0.1", "http://192.168.1.9")])
def test_plain_http_on_the_network_names_three_settings(settings: Any, host: str, url: str) -> None:
    settings.HOST, settings.PUBLIC_URL, settings.CORS_ALLOWED_ORIGINS = host, url, []

    ((subject, remedy),) = warnings()

    assert subject == "PUBLIC_URL"
    assert "TLS" in remedy
    assert "TRUSTED_PROXIES" in remedy


def test_unknown_proxy_is_asked_for(settings: Any) -> None:
    settings.TRUSTED_PROXIES = []

    assert warnings() == [("TRUSTED_PROXIES", "Set TRUSTED_PROXIES to the address of the proxy that ends TLS.")]


def test_origin_whose_cookies_no_browser_sends_is_named(settings: Any) -> None:
    settings.PUBLIC_URL, settings.CORS_ALLOWED_ORIGINS = "http://localhost:8000", ["http://127.0.0.1:9000"]

    ((subject, remedy),) = warnings()

    assert subject == "CORS_ALLOWED_ORIGINS"
    assert remedy == ("Serve that application at another port of localhost, or set PUBLIC_URL to an https address.")


def test_plain_origin_beside_https_is_named(settings: Any) -> None:
    settings.CORS_ALLOWED_ORIGINS = ["http://spa.test"]

    assert warnings() == [("CORS_ALLOWED_ORIGINS", "List its https address instead.")]


def test_deploy_check_says_the_same_and_asks_for_the_profile(settings: Any) -> None:
    settings.TRUSTED_PROXIES = []
    settings.MAGNET_ENV = "development"
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = True

    told = [one for one in run_checks(include_deployment_checks=True) if not one.is_silenced()]

    assert {one.id for one in told} == {"core.W001"}
    assert {one.msg.partition(":")[0] for one in told} == {"MAGNET_ENV", "TRUSTED_PROXIES"}
    settings.MAGNET_ENV = "production"
    assert list(profile_findings()) == []
