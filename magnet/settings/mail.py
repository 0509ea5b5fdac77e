"""EMAIL_URL: the mail server that links to set a password are sent by."""

from dataclasses import dataclass
from email.utils import parseaddr
from ipaddress import ip_address
from urllib.parse import parse_qsl, unquote

from magnet.environment import Environment, SettingError

PORTS = {"smtp": 25, "smtp+tls": 587, "smtps": 465}


@dataclass(frozen=True)
class Mail:
    """host: empty when nothing is sent. starttls, ssl: how the connection is encrypted, at most one of them."""

    host: str = ""
    port: int = 25
    user: str = ""
    password: str = ""
    starttls: bool = False
    ssl: bool = False
    sender: str = ""

    def __repr__(self) -> str:
        return f"Mail({self.host}:{self.port})"


def mail(env: Environment, site: str) -> Mail:
    """`smtp+tls://user:password@host:587?from=magnet@example.org`; schemes smtp, smtp+tls (STARTTLS) and smtps.

    site: the host of PUBLIC_URL, in the address that mail comes from unless `from` says another.
    """
    if not env.secret("EMAIL_URL"):
        return Mail()
    url = env.url("EMAIL_URL", "", tuple(PORTS))
    options = dict(parse_qsl(url.query))
    sender = options.pop("from", f"magnet@{site}")
    if options or url.path.strip("/") or url.fragment:
        raise SettingError("EMAIL_URL", "takes nothing behind the host but ?from=ADDRESS.")
    if "@" not in parseaddr(sender)[1] or "\n" in sender or "\r" in sender:
        raise SettingError("EMAIL_URL", "from must be an e-mail address.")
    if url.scheme == "smtp" and url.password and not _is_here(url.hostname or ""):
        raise SettingError("EMAIL_URL", "smtp:// would send the password in the clear; use smtp+tls:// or smtps://.")
    return Mail(
        host=url.hostname or "",
        port=url.port or PORTS[url.scheme],
        user=unquote(url.username or ""),
        password=unquote(url.password or ""),
        starttls=url.scheme == "smtp+tls",
        ssl=url.scheme == "smtps",
        sender=sender,
    )


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
