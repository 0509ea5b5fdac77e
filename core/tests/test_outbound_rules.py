"""Spellings of addresses. Nothing here connects: names are answered from a table, sockets are only recorded."""

import ipaddress

import httpcore2
import httpx2
import pytest

from core.outbound import async_client, async_transport
from core.outbound_allow import OutboundUse, parse_allow
from core.outbound_rules import OutboundRefused, check_url, is_public

PUBLIC = "93.184.215.14"
ANSWERS = {
    "public.test": (PUBLIC, "2606:2800:21f:cb07:6820:80da:af6b:8b2c"),
    "private.test": ("10.0.0.5",),
    "mixed.test": (PUBLIC, "127.0.0.1"),
    "mapped.test": ("::ffff:127.0.0.2",),
    "zone.test": ("fe80::1%2",),
    "xn--bcher-kva.test": (PUBLIC,),
}

REFUSED_SPELLINGS = [
    # loopback, written in every way that a resolver or browser reads
    "http://127.0.0.2/",
    "http://127.1/",
    "http://127.0.2/",
    "http://2130706434/",
    "http://0x7f000002/",
    "http://0x7f.0.0.2/",
    "http://0x7f.1/",
    "http://0177.0.0.2/",
    "http://017700000002/",
    "http://00000127.0.0.2/",
    "http://127.0.0.2./",
    "http://127。0。0。2/",
    "http://①②⑦.0.0.2/",
    "http://１２７.0.0.2/",
    "http://%31%32%37.0.0.2/",
    "http://0/",
    "http://0.0.0.0/",
    "http://[::1]/",
    "http://[::]/",
    "http://[0:0:0:0:0:0:0:1]/",
    "http://[::ffff:127.0.0.2]/",
    "http://[::ffff:7f00:2]/",
    "http://[::127.0.0.2]/",
    "http://[64:ff9b::7f00:2]/",
    "http://[64:ff9b:1::7f00:2]/",
    "http://[2002:7f00:2::1]/",
    "http://[2001:0:7f00:2::]/",
    "http://[2a00::5efe:7f00:2]/",
    "http://[fe80::1%25eth0]/",
    "http://localhost/",
    "http://LOCALHOST/",
    "http://localhost./",
    "http://a.localhost/",
    # private networks, carriers, metadata services, multicast, reserved
    "http://10.0.0.1/",
    "http://172.16.0.1/",
    "http://192.168.1.1/",
    "http://100.64.0.1/",
    "http://100.100.100.200/",
    "http://169.254.169.254/latest/meta-data/",
    "http://metadata.google.internal/",
    "http://metadata/",
    "http://printer.local/",
    "http://[fd00:ec2::254]/",
    "http://[fc00::1]/",
    "http://224.0.0.1/",
    "http://[ff02::1]/",
    "http://255.255.255.255/",
    "http://192.0.2.1/",
    "http://198.18.0.1/",
    "http://192.88.99.1/",
    "http://[2001:db8::1]/",
    # other parts of the URL
    "http://user@public.test/",
    "http://user:pass@public.test/",
    "http://:@public.test/",
    "http://public.test@127.0.0.2/",
    "http://public.test\\@127.0.0.2/",
    "http://127.0.0.2\\.public.test/",
    "http://public.test/\r\nX-Injected: 1",
    "http://public.test /",
    "http://public.test\t/",
    "\x00http://public.test/",
    "http://public.test:22/",
    "http://public.test:8080/",
    "http://public.test:-1/",
    "http://public.test:99999999/",
    "http://public.test:http/",
    "http://pub,lic.test/",
    "http://.public.test/",
    "http:///path",
    "http:public.test",
    "//public.test/",
    "public.test",
    "",
    "file:///etc/passwd",
    "gopher://public.test/",
    "ftp://public.test/",
    "data:text/plain,hello",
    "ws://public.test/",
    "javascript:alert(1)",
    "http://[::1/",
    "https://public.test/" + "a" * 70000,
]


class RecordingNetwork(httpcore2.AsyncNetworkBackend):
    """Writes down where a socket would have been opened, and opens none."""

    def __init__(self) -> None:
        self.connected: list[tuple[str, int]] = []

    async def connect_tcp(self, host, port, timeout=None, *_):  # noqa: ASYNC109 - the interface has it
        self.connected.append((host, port))
        raise httpcore2.ConnectError("recorded")


async def answer(host, port):
    return (host,) if host.replace(".", "").isdigit() or ":" in host else ANSWERS.get(host, ())


@pytest.fixture
def network():
    return RecordingNetwork()


@pytest.fixture
async def client(network):
    transport = async_transport(OutboundUse.TOOL, allow={}, resolver=answer, network=network)
    async with async_client(OutboundUse.TOOL, transport=transport) as client:
        yield client


@pytest.mark.parametrize("url", REFUSED_SPELLINGS)
def test_spelling_cannot_be_saved(url):
    with pytest.raises(OutboundRefused):
        check_url(url, OutboundUse.TOOL, allow={})


@pytest.mark.parametrize("url", REFUSED_SPELLINGS)
async def test_spelling_is_never_connected_to(url, client, network):
    # InvalidURL: the parser of the client refuses some before the transport sees them.
    with pytest.raises((OutboundRefused, httpx2.InvalidURL)):
        await client.get(url)

    assert network.connected == []


@pytest.mark.parametrize("name", ["private.test", "mixed.test", "mapped.test", "zone.test"])
async def test_name_with_one_private_answer_is_refused(name, client, network):
    with pytest.raises(OutboundRefused):
        await client.get(f"https://{name}/")

    assert network.connected == []


async def test_unknown_and_private_names_get_the_same_answer(client):
    details = set()
    for name in ("private.test", "unknown.test"):
        with pytest.raises(OutboundRefused) as refusal:
            await client.get(f"https://{name}/")
        details.add((refusal.value.detail, refusal.value.hint.replace(name, "NAME"), refusal.value.status))

    assert details == {
        (
            "This host is not known or not a public address.",
            "An operator can allow it with OUTBOUND_ALLOW: tool=NAME:443",
            400,
        )
    }


async def test_every_checked_address_is_tried_in_order(client, network):
    with pytest.raises(httpx2.ConnectError):
        await client.get("https://public.test/")

    assert network.connected == [(address, 443) for address in ANSWERS["public.test"]]


async def test_second_look_up_is_checked_again(network):
    answers = iter([[PUBLIC], ["127.0.0.2"]])

    async def rebinding(host, port):
        return next(answers)

    transport = async_transport(OutboundUse.TOOL, allow={}, resolver=rebinding, network=network)
    async with async_client(OutboundUse.TOOL, transport=transport) as client:
        with pytest.raises(httpx2.ConnectError):
            await client.get("http://rebind.test/")
        with pytest.raises(OutboundRefused):
            await client.get("http://rebind.test/")

    assert network.connected == [(PUBLIC, 80)]


@pytest.mark.parametrize(
    "url, endpoint",
    [
        ("https://public.test", "public.test:443"),
        ("HTTP://Public.Test/a?b=c#d", "public.test:80"),
        ("https://public.test:80/", "public.test:80"),
        (f"http://{PUBLIC}/", f"{PUBLIC}:80"),
        ("https://[2606:2800:21f:cb07:6820:80da:af6b:8b2c]/", "[2606:2800:21f:cb07:6820:80da:af6b:8b2c]:443"),
        ("https://[64:ff9b::5db8:d70e]/", "[64:ff9b::5db8:d70e]:443"),
        ("https://bücher.test/", "xn--bcher-kva.test:443"),
        ("https://a_b.c-d.test/", "a_b.c-d.test:443"),
    ],
)
def test_public_address_can_be_saved(url, endpoint):
    assert check_url(url, OutboundUse.TOOL, allow={}).endpoint == endpoint


def test_allow_list_counts_for_its_use_and_exact_endpoint():
    allow = parse_allow("provider=127.0.0.3:8001, provider=[::1]:9000  *=models.lan:443")

    for url in ("http://127.0.0.3:8001/v1", "http://[0:0::1]:9000/", "https://models.lan/"):
        check_url(url, OutboundUse.PROVIDER, allow=allow)
    check_url("https://models.lan/", OutboundUse.TOOL, allow=allow)
    for url in ("http://127.0.0.3:8002/", "http://127.0.0.3/", "http://2130706435:8001/", "http://models.lan/"):
        with pytest.raises(OutboundRefused):
            check_url(url, OutboundUse.PROVIDER, allow=allow)
    with pytest.raises(OutboundRefused):
        check_url("http://127.0.0.3:8001/", OutboundUse.TOOL, allow=allow)


def test_allow_list_defaults_to_the_settings(settings):
    settings.OUTBOUND_ALLOW = parse_allow("webhook=127.0.0.1:8080")

    check_url("http://127.0.0.1:8080/", OutboundUse.WEBHOOK)
    with pytest.raises(OutboundRefused):
        check_url("http://127.0.0.1:8080/", OutboundUse.TOOL)


def test_very_long_address_cannot_be_saved():
    with pytest.raises(OutboundRefused, match="not a complete"):
        check_url("https://public.test/" + "a" * 5000, OutboundUse.TOOL, allow={})


def test_empty_allow_list_is_empty():
    assert parse_allow("  ") == {}


@pytest.mark.parametrize(
    "text, complaint",
    [
        ("127.0.0.1:80", "must be use=host:port"),
        ("printer=127.0.0.1:80", "with a use of provider, tool"),
        ("tool=127.0.0.1", "needs a port"),
        ("tool=127.0.0.1:0", "needs a port"),
        ("tool=127.0.0.1:65536", "needs a port"),
        ("tool=127.0.0.1:٣", "needs a port"),
        ("tool=127.1:80", "no host name or address"),
        ("tool=[::g]:80", "no host name or address"),
        ("tool=http://a.test:80", "no host name or address"),
    ],
)
def test_wrong_allow_list_names_the_setting_and_the_item(text, complaint):
    with pytest.raises(ValueError, match="OUTBOUND_ALLOW: ") as error:
        parse_allow(text)

    assert complaint in str(error.value)
    assert text in str(error.value)


def test_addresses_are_public_only_when_every_layer_is():
    assert is_public(ipaddress.ip_address("2002:5db8:d70e::1"))
    assert not is_public(ipaddress.ip_address("2002:0a00:0001::1"))
    assert is_public(ipaddress.ip_address("::ffff:93.184.215.14"))
    assert not is_public(ipaddress.ip_address("3fff::1"))
    assert not is_public(ipaddress.ip_address("192.0.0.9"))
