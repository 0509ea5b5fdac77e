import pytest

from core.outbound_allow import OutboundUse, allow_url, parse_allow


@pytest.mark.parametrize(
    "url, endpoint",
    [
        ("https://llm.example.org/v1", "llm.example.org:443"),
        ("http://127.0.0.1:11434/v1", "127.0.0.1:11434"),
        ("http://[::1]:80/v1", "[::1]:80"),
        ("http://Ollama/v1", "ollama:80"),
    ],
)
def test_the_host_and_port_of_a_url_are_added_for_its_use(url, endpoint):
    allowed = allow_url(parse_allow("tool=10.0.0.1:80"), OutboundUse.PROVIDER, url)

    assert allowed == {"tool": {"10.0.0.1:80"}, "provider": {endpoint}}


def test_what_was_allowed_before_stays():
    before = parse_allow("provider=10.0.0.1:80")

    assert allow_url(before, OutboundUse.PROVIDER, "http://h:81")["provider"] == {"10.0.0.1:80", "h:81"}
    assert before == {"provider": {"10.0.0.1:80"}}


def test_no_url_adds_nothing():
    assert allow_url({}, OutboundUse.PROVIDER, "") == {}


@pytest.mark.parametrize(
    "url", ["llm.example.org", "ftp://llm.example.org", "ftp://llm.example.org:21", "http:///v1", "http://h:99999"]
)
def test_what_is_no_web_address_is_refused(url):
    with pytest.raises(ValueError):
        allow_url({}, OutboundUse.PROVIDER, url)
