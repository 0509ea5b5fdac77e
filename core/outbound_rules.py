"""The rules that every outbound URL and every resolved address has to pass. No I/O here."""

import ipaddress
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address

import httpx2
from django.conf import settings

from core.exceptions import MagnetError
from core.outbound_allow import ANY_USE, OutboundAllow, OutboundUse, endpoint, is_host_name

logger = logging.getLogger(__name__)

DEFAULT_PORTS = {"http": 80, "https": 443}
MAX_URL_CHARACTERS = 4096

# Names that never lead to the public internet (RFC 6761, RFC 6762, RFC 8375; `internal` is reserved by ICANN).
_LOCAL_SUFFIXES = ("localhost", "local", "internal", "home.arpa", "lan", "onion")

# What Python 3.11 calls global and is not: IANA special-purpose registries of 2024, and relays that embed addresses.
_NOT_PUBLIC = tuple(
    ipaddress.ip_network(network)
    for network in ("192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15", "100.64.0.0/10", "2001::/23", "3fff::/20")
)
_GLOBAL_UNICAST_V6 = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_ISATAP_IDENTIFIERS = (0x00005EFE, 0x02005EFE)


class Refusal(StrEnum):
    """Why a URL is refused. The last two share one sentence towards the caller: which of them it was would tell
    what exists in the operator's network; the log keeps the difference."""

    MALFORMED = "This is not a complete http or https address."
    SCHEME = "Only http and https addresses can be used."
    USERINFO = "An address must not hold a user name or password."
    CHARACTERS = "An address must not hold backslashes, spaces or control characters."
    PORT = "Only the ports 80 and 443 can be used."
    HOST = "The host is not written as a plain host name or address."
    NOT_PUBLIC = "not public"
    UNRESOLVED = "unresolved"


_NO_ORACLE = "This host is not known or not a public address."


class OutboundRefused(MagnetError):
    """The platform does not connect to this address. It says the same for hosts that exist and that do not."""

    code = "outbound_refused"
    status = 400
    title = "Address refused"


@dataclass(frozen=True)
class Target:
    """Where a request goes, after the client's own parser. host: lower-case name, or address without brackets."""

    scheme: str
    host: str
    port: int

    @property
    def endpoint(self) -> str:
        return endpoint(self.host, self.port)


def refused(reason: Refusal, use: OutboundUse, where: str = "") -> OutboundRefused:
    """The error for `reason`. where: `host:port`, if the URL could be read that far."""
    logger.info("outbound request refused", extra={"use": use.value, "endpoint": where, "reason": reason.name})
    detail = _NO_ORACLE if reason in (Refusal.NOT_PUBLIC, Refusal.UNRESOLVED) else reason.value
    hint = f"An operator can allow it with OUTBOUND_ALLOW: {use.value}={where}" if where else ""
    return OutboundRefused(detail, hint=hint)


def is_listed(target: Target, use: OutboundUse, allow: OutboundAllow) -> bool:
    """True when the operator allowed exactly this host and port for this use."""
    return any(target.endpoint in allow.get(key, ()) for key in (use.value, ANY_USE))


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """True for a unicast address of the public internet.

    An IPv4 address inside an IPv6 one (mapped, NAT64 RFC 6052, 6to4 RFC 3056, ISATAP RFC 5214) is taken out and
    judged itself; Teredo and IPv4-compatible forms are never public.
    """
    if isinstance(address, IPv6Address):
        inner = _embedded_v4(address)
        if inner is not None:
            return is_public(inner)
        if address not in _GLOBAL_UNICAST_V6:
            return False
    if any(address.version == network.version and address in network for network in _NOT_PUBLIC):
        return False
    return address.is_global and not address.is_multicast


def _embedded_v4(address: IPv6Address) -> IPv4Address | None:
    if address.ipv4_mapped is not None or address.sixtofour is not None:
        return address.ipv4_mapped or address.sixtofour
    number = int(address)
    if address in _NAT64 or (number >> 32) & 0xFFFFFFFF in _ISATAP_IDENTIFIERS:
        return IPv4Address(number & 0xFFFFFFFF)
    return None


def parse_url(text: str, use: OutboundUse) -> httpx2.URL:
    """Parse with the parser of the client that will send the request, so that both read the same host."""
    if "\\" in text or any(character <= " " or character == "\x7f" for character in text):
        raise refused(Refusal.CHARACTERS, use)
    try:
        url = httpx2.URL(text)
    except httpx2.InvalidURL as error:
        raise refused(Refusal.MALFORMED, use) from error
    if len(text) > MAX_URL_CHARACTERS:
        raise refused(Refusal.MALFORMED, use)
    return url


def target_of(url: httpx2.URL, use: OutboundUse, allow: OutboundAllow) -> Target:
    """Check everything that can be said of a URL without asking the network; raise OutboundRefused."""
    host = url.raw_host.decode("ascii")
    if url.scheme not in DEFAULT_PORTS:
        raise refused(Refusal.SCHEME if url.scheme else Refusal.MALFORMED, use)
    if url.userinfo or "@" in host:
        raise refused(Refusal.USERINFO, use)
    literal = _literal(host)
    if literal is None and not is_host_name(host):
        raise refused(Refusal.HOST if host else Refusal.MALFORMED, use)
    target = Target(url.scheme, host, DEFAULT_PORTS[url.scheme] if url.port is None else url.port)
    if is_listed(target, use, allow):
        return target
    if target.port not in DEFAULT_PORTS.values():
        raise refused(Refusal.PORT, use, target.endpoint)
    if _is_local_name(host) if literal is None else not is_public(literal):
        raise refused(Refusal.NOT_PUBLIC, use, target.endpoint)
    return target


def _literal(host: str) -> IPv4Address | IPv6Address | None:
    # A zone (`fe80::1%eth0`) is never public and never needed.
    if "%" in host:
        return None
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_local_name(host: str) -> bool:
    return "." not in host or any(host.endswith("." + suffix) for suffix in _LOCAL_SUFFIXES)


def check_addresses(target: Target, answers: Sequence[str], use: OutboundUse, allow: OutboundAllow) -> tuple[str, ...]:
    """The addresses that may be connected to. One answer that is not public refuses them all (DNS rebinding)."""
    if not answers:
        raise refused(Refusal.UNRESOLVED, use, target.endpoint)
    if not is_listed(target, use, allow):
        parsed = [_literal(answer) for answer in answers]
        if not all(address is not None and is_public(address) for address in parsed):
            raise refused(Refusal.NOT_PUBLIC, use, target.endpoint)
    return tuple(answers)


def check_url(text: str, use: OutboundUse, *, allow: OutboundAllow | None = None) -> Target:
    """Check a URL that somebody wants to save, without a look-up: names are resolved and checked at each request.

    allow: defaults to settings.OUTBOUND_ALLOW. Raises OutboundRefused.
    """
    return target_of(parse_url(text, use), use, settings.OUTBOUND_ALLOW if allow is None else allow)
