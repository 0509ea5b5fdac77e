"""How people reach the platform, and what of that is unsafe or will not work: for `doctor` and `check --deploy`."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from django.conf import settings

from core.doctor import DOCTOR_CHECKS, Finding, Level

LOOPBACK = ("127.0.0.1", "::1", "localhost")


def network_findings() -> Iterator[Finding]:
    """What PUBLIC_URL, HOST, TRUSTED_PROXIES and CORS_ALLOWED_ORIGINS say together."""
    public = urlsplit(settings.PUBLIC_URL)
    if public.scheme == "http" and not (settings.HOST in LOOPBACK and public.hostname in LOOPBACK):
        yield Finding(
            "PUBLIC_URL",
            Level.WARNING,
            f"{settings.PUBLIC_URL}: passwords and sessions travel unencrypted",
            "Put a proxy with TLS in front, set PUBLIC_URL to its https address and TRUSTED_PROXIES to its own.",
        )
    else:
        yield Finding("PUBLIC_URL", Level.OK, settings.PUBLIC_URL)
    if public.scheme == "https":
        yield _behind_tls()
    for origin in settings.CORS_ALLOWED_ORIGINS:
        yield _listed(origin, public.scheme, str(public.hostname))


def _behind_tls() -> Finding:
    if settings.TRUSTED_PROXIES:
        return Finding("TRUSTED_PROXIES", Level.OK, ", ".join(settings.TRUSTED_PROXIES))
    return Finding(
        "TRUSTED_PROXIES",
        Level.WARNING,
        "nobody's forwarded headers count: HSTS is not sent, and all visitors have the proxy's address",
        "Set TRUSTED_PROXIES to the address of the proxy that ends TLS.",
    )


def _listed(text: str, scheme: str, host: str) -> Finding:
    origin = urlsplit(text)
    if origin.hostname != host and scheme != "https":
        return Finding(
            "CORS_ALLOWED_ORIGINS",
            Level.WARNING,
            f"browsers send no cookies from {text} to {host}, which is another site",
            f"Serve that application at another port of {host}, or set PUBLIC_URL to an https address.",
        )
    if origin.scheme == "http" and origin.hostname not in LOOPBACK and scheme == "https":
        return Finding(
            "CORS_ALLOWED_ORIGINS",
            Level.WARNING,
            f"whoever is on the network between can change what {text} does with the API",
            "List its https address instead.",
        )
    return Finding("CORS_ALLOWED_ORIGINS", Level.OK, text)


def profile_findings() -> Iterator[Finding]:
    """Whether this is a profile that refuses unsafe settings. Only a deployment asks."""
    if settings.MAGNET_ENV not in ("staging", "production"):
        yield Finding(
            "MAGNET_ENV",
            Level.WARNING,
            f"{settings.MAGNET_ENV} starts with settings that are only good for a trial",
            "Set MAGNET_ENV=production; it refuses what is unsafe and says what mends it.",
        )


DOCTOR_CHECKS.register("50-network", network_findings)
