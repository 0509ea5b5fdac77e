"""Who we are on the network: what PUBLIC_URL, TRUSTED_PROXIES and CORS_ALLOWED_ORIGINS allow and refuse; where traces
go to."""

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

from core.outbound_allow import is_host_name
from magnet.environment import Environment, SettingError

DEFAULT_PORTS = {"http": 80, "https": 443}
WEB = ("http", "https")
HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


@dataclass(frozen=True)
class Origin:
    """Scheme, host and port, spelled as a browser spells them in `Origin` and `Host`."""

    scheme: str
    host: str
    port: int

    @property
    def is_https(self) -> bool:
        return self.scheme == "https"

    def __str__(self) -> str:
        port = "" if self.port == DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}"


def public_origin(env: Environment, port: int) -> Origin:
    """PUBLIC_URL, which must name one host: wildcards would let any Host header in."""
    url = env.url("PUBLIC_URL", f"http://localhost:{port}", WEB)
    if url.path not in ("", "/") or url.query or url.fragment:
        raise SettingError("PUBLIC_URL", "must end after host and port: Magnet has the whole host to itself.")
    return _origin("PUBLIC_URL", url)


def listed_origins(env: Environment) -> list[Origin]:
    """CORS_ALLOWED_ORIGINS: exact origins alone, since cookies go with the requests from there."""
    return [_listed(item) for item in env.items("CORS_ALLOWED_ORIGINS")]


def _listed(item: str) -> Origin:
    if "*" in item:
        raise SettingError(
            "CORS_ALLOWED_ORIGINS", "must list exact origins: credentials go with them, so `*` is refused."
        )
    url = Environment({"CORS_ALLOWED_ORIGINS": item}).url("CORS_ALLOWED_ORIGINS", "", WEB)
    if url.path not in ("", "/") or url.query or url.fragment:
        raise SettingError("CORS_ALLOWED_ORIGINS", f"'{item}' must end after host and port.")
    return _origin("CORS_ALLOWED_ORIGINS", url)


def _origin(setting: str, url: SplitResult) -> Origin:
    host = str(url.hostname)
    if "@" in url.netloc:
        raise SettingError(setting, "must not hold a user name or password.")
    try:
        host = host if ":" in host else host.encode("idna").decode()
        literal = f"[{ipaddress.IPv6Address(host).compressed}]" if ":" in host else str(ipaddress.IPv4Address(host))
    except UnicodeError as error:
        raise SettingError(setting, f"'{host}' is not a host name.") from error
    except ipaddress.AddressValueError as error:
        if not is_host_name(host):
            raise SettingError(setting, f"'{host}' must be one host name or address, without wildcards.") from error
        literal = host
    return Origin(url.scheme, literal, url.port or DEFAULT_PORTS[url.scheme])


def trusted_proxies(env: Environment) -> list[str]:
    """TRUSTED_PROXIES: addresses or networks. Whoever is on it decides who a request comes from, so `*` is refused."""
    items = env.items("TRUSTED_PROXIES")
    for item in items:
        try:
            ipaddress.ip_network(item, strict=False)
        except ValueError as error:
            raise SettingError(
                "TRUSTED_PROXIES", f"'{item}' must be the address of a proxy, or a network such as 10.0.0.0/8."
            ) from error
    return items


def same_site(public: Origin, origins: list[Origin]) -> str:
    """The SameSite of our cookies. Another port of our host is the same site; another host counts as another one, and
    a browser sends cookies from there only with `None`, which it takes over https alone."""
    elsewhere = any(origin.host != public.host for origin in origins)
    return "None" if elsewhere and public.is_https else "Lax"


OLLAMA_PORT = 11434
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where a server listens; its clients call itself


def ollama_url(env: Environment, default: str) -> str:
    """OLLAMA_HOST, read as Ollama's own client does: scheme and port may be left out. `off`: empty, none is looked for.

    The address of a server that listens everywhere is called on this machine.
    """
    text = env.text("OLLAMA_HOST", default)
    if text in ("", "off"):
        return ""
    wrong = SettingError("OLLAMA_HOST", f"'{text}' must be a host, host:port or URL such as http://127.0.0.1:11434.")
    try:
        url = urlsplit(text if "://" in text else f"http://{text}")
        port = url.port or (DEFAULT_PORTS[url.scheme] if "://" in text else OLLAMA_PORT)
    except (ValueError, KeyError):
        raise wrong from None
    extra = "@" in url.netloc or url.path not in ("", "/") or url.query or url.fragment
    if not url.hostname or url.scheme not in WEB or extra:
        raise wrong
    host = EVERYWHERE.get(url.hostname, url.hostname)
    return f"{url.scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def otlp_endpoint(env: Environment) -> str:
    """OTEL_EXPORTER_OTLP_ENDPOINT, the base address of a collector; empty when traces go nowhere."""
    if not env.text("OTEL_EXPORTER_OTLP_ENDPOINT"):
        return ""
    url = env.url("OTEL_EXPORTER_OTLP_ENDPOINT", "", WEB)
    if "@" in url.netloc or url.query or url.fragment:
        raise SettingError(
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "must be the base address of a collector, such as http://localhost:4318; credentials go into "
            "OTEL_EXPORTER_OTLP_HEADERS.",
        )
    return url.geturl()


def otlp_headers(env: Environment) -> dict[str, str]:
    """OTEL_EXPORTER_OTLP_HEADERS, `name=value` divided by commas; values may be percent-encoded."""
    found = {}
    for item in filter(None, (one.strip() for one in env.secret("OTEL_EXPORTER_OTLP_HEADERS").split(","))):
        name, separator, value = item.partition("=")
        text = unquote(value).strip()
        if not separator or not HEADER_NAME.fullmatch(name.strip()) or not text.isprintable() or not text.isascii():
            raise SettingError("OTEL_EXPORTER_OTLP_HEADERS", "must be name=value, divided by commas.")
        found[name.strip()] = text
    return found
