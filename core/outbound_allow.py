"""Which private addresses each use may reach. Plain Python: the settings read it before Django is up."""

import ipaddress
import re
from collections.abc import Mapping
from enum import StrEnum
from urllib.parse import urlsplit

ANY_USE = "*"

OutboundAllow = Mapping[str, frozenset[str]]

_HOST_NAME = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")
_LOOKS_LIKE_A_NUMBER = re.compile(r"(0x[0-9a-f]*|[0-9]+)")


class OutboundUse(StrEnum):
    """What a request is for. Every use has its own allow-list and its own caps."""

    PROVIDER = "provider"
    TOOL = "tool"
    MCP = "mcp"
    CONNECTOR = "connector"
    WEBHOOK = "webhook"
    OIDC = "oidc"
    TELEMETRY = "telemetry"


def is_host_name(host: str) -> bool:
    """True for a lower-case ASCII name that no resolver can read as a number.

    `127.1`, `0x7f.1` and `2130706433` are addresses to the C library, so a name whose last label is a number is
    none (the rule of https://url.spec.whatwg.org/#ends-in-a-number-checker).
    """
    if len(host) > 253 or not _HOST_NAME.fullmatch(host):
        return False
    return not _LOOKS_LIKE_A_NUMBER.fullmatch(host.rpartition(".")[2])


def endpoint(host: str, port: int) -> str:
    """`host:port` in the one spelling that the allow-list compares; IPv6 in brackets, compressed."""
    return f"[{ipaddress.IPv6Address(host).compressed}]:{port}" if ":" in host else f"{host}:{port}"


def parse_allow(text: str) -> OutboundAllow:
    """Read `OUTBOUND_ALLOW`: items `use=host:port`, divided by spaces or commas.

    `use` is one of OutboundUse or `*` for all of them: `provider=127.0.0.1:11434 *=[fd00::5]:8443`.
    Raises ValueError with a sentence that names the setting and the item.
    """
    allowed: dict[str, set[str]] = {}
    for item in text.replace(",", " ").split():
        use, separator, address = item.partition("=")
        if not separator or (use != ANY_USE and use not in tuple(OutboundUse)):
            uses = ", ".join(OutboundUse)
            raise ValueError(f"OUTBOUND_ALLOW: '{item}' must be use=host:port with a use of {uses} or *.")
        allowed.setdefault(use, set()).add(_parse_endpoint(address, item))
    return {use: frozenset(endpoints) for use, endpoints in allowed.items()}


def allow_url(allowed: OutboundAllow, use: OutboundUse, url: str) -> OutboundAllow:
    """The list with the host and port of this URL added for this use; an empty URL adds nothing.

    Raises ValueError for a URL without a host, or with a port that is none.
    """
    if not url:
        return allowed
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    if not parts.hostname or port is None or parts.scheme not in ("http", "https"):
        raise ValueError(f"'{url}' must be a URL that starts with http:// or https://.")
    return {**allowed, use.value: allowed.get(use.value, frozenset()) | {endpoint(parts.hostname, port)}}


def _parse_endpoint(address: str, item: str) -> str:
    host, _, port = address.lower().rpartition(":")
    if not (port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
        raise ValueError(f"OUTBOUND_ALLOW: '{item}' needs a port from 1 to 65535 after the host.")
    try:
        if host.startswith("[") and host.endswith("]"):
            return endpoint(ipaddress.IPv6Address(host[1:-1]).compressed, int(port))
        return endpoint(str(ipaddress.IPv4Address(host)), int(port))
    except ipaddress.AddressValueError:
        if not is_host_name(host):
            raise ValueError(f"OUTBOUND_ALLOW: '{item}' has no host name or address before the port.") from None
        return endpoint(host, int(port))
