"""PUBLIC_URL, TRUSTED_PROXIES and CORS_ALLOWED_ORIGINS: what they mean, and what they refuse."""

import pytest

from magnet.environment import Environment, SettingError
from magnet.settings.network import listed_origins, public_origin, same_site, trusted_proxies


@pytest.mark.parametrize(
    ("url", "host", "origin"),
    [
        ("https://Magnet.test:443/", "magnet.test", "https://magnet.test"),
        ("http://[FD00::0:5]:8000", "[fd00::5]", "http://[fd00::5]:8000"),
        ("https://bücher.test", "xn--bcher-kva.test", "https://xn--bcher-kva.test"),
    ],
)
def test_public_url_is_spelled_as_browsers_spell_it(url: str, host: str, origin: str) -> None:
    found = public_origin(Environment({"PUBLIC_URL": url}), 8000)

    assert (found.host, str(found)) == (host, origin)


def test_host_that_no_browser_can_spell_is_refused() -> None:
    with pytest.raises(SettingError, match=r"^PUBLIC_URL: 'a{70}.test' is not a host name"):
        public_origin(Environment({"PUBLIC_URL": f"https://{'a' * 70}.test"}), 8000)


@pytest.mark.parametrize(
    ("url", "origins", "expected"),
    [
        ("https://magnet.test", "https://magnet.test:9000", "Lax"),
        ("https://magnet.test", "https://spa.test", "None"),
        ("http://magnet.test", "https://spa.test", "Lax"),
    ],
)
def test_cookies_go_to_another_site_only_when_one_is_listed_and_over_https(
    url: str, origins: str, expected: str
) -> None:
    env = Environment({"PUBLIC_URL": url, "CORS_ALLOWED_ORIGINS": origins})

    assert same_site(public_origin(env, 8000), listed_origins(env)) == expected


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("https://.magnet.test", "'.magnet.test' is not a host name."),
        ("https://127.1", "'127.1' must be one host name or address, without wildcards."),
        ("https://magnet.test/app", "must end after host and port: Magnet has the whole host to itself."),
        ("https://magnet.test?a", "must end after host and port: Magnet has the whole host to itself."),
        ("https://me@magnet.test", "must not hold a user name or password."),
    ],
)
def test_public_url_names_one_host_and_nothing_else(url: str, line: str) -> None:
    with pytest.raises(SettingError) as refusal:
        public_origin(Environment({"PUBLIC_URL": url}), 8000)

    assert str(refusal.value) == f"PUBLIC_URL: {line}"


@pytest.mark.parametrize(
    ("origin", "line"),
    [
        ("https://*.spa.test", "must list exact origins: credentials go with them, so `*` is refused."),
        ("null", "must be a URL that starts with http:// or https://."),
        ("file:///app", "must be a URL that starts with http:// or https://."),
        ("https://spa.test/app", "'https://spa.test/app' must end after host and port."),
        ("https://a@spa.test", "must not hold a user name or password."),
    ],
)
def test_origins_are_exact(origin: str, line: str) -> None:
    with pytest.raises(SettingError) as refusal:
        listed_origins(Environment({"CORS_ALLOWED_ORIGINS": f"https://good.test {origin}"}))

    assert str(refusal.value) == f"CORS_ALLOWED_ORIGINS: {line}"


def test_proxies_are_addresses_or_networks() -> None:
    assert trusted_proxies(Environment({"TRUSTED_PROXIES": "10.0.0.1, fd00::/8"})) == ["10.0.0.1", "fd00::/8"]
    for wrong in ("*", "proxy.test", "10.0.0.1:80"):
        with pytest.raises(SettingError, match=r"^TRUSTED_PROXIES: '.+' must be the address of a proxy"):
            trusted_proxies(Environment({"TRUSTED_PROXIES": wrong}))
