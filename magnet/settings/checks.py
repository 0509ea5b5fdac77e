"""What production and staging refuse. The first thing that is wrong ends the start with one line."""

from core.crypto import KeyRing
from magnet.environment import Environment, SettingError

SECRET_KEY_AT_LEAST = 32
# How secrets begin that everybody knows: examples, placeholders, and the one of our tests.
DEFAULT_SECRETS = (
    *("django-insecure", "insecure", "changeme", "change-me", "change_me", "replace", "secret", "default", "example"),
    *("password", "your-", "your_", "<", "the secret key of the tests"),
)


def refuse_unsafe(env: Environment, *, allowed_hosts: list[str], debug: bool) -> None:
    """Raises SettingError, which names the setting, for the first that is unsafe."""
    secret = env.secret("SECRET_KEY")
    if len(secret) < SECRET_KEY_AT_LEAST or len(set(secret)) < 8 or secret.lower().startswith(DEFAULT_SECRETS):
        raise SettingError(
            "SECRET_KEY",
            f"must be set to at least {SECRET_KEY_AT_LEAST} random characters "
            "(python -c 'import secrets; print(secrets.token_urlsafe(48))').",
        )
    if not env.secret("ENCRYPTION_KEYS"):
        raise SettingError(
            "ENCRYPTION_KEYS", "must be set (id:base64 of 32 random bytes); stored secrets depend on it."
        )
    try:
        KeyRing.parse(env.secret("ENCRYPTION_KEYS").replace(",", " ").split())
    except ValueError as error:
        raise SettingError("ENCRYPTION_KEYS", str(error).removeprefix("ENCRYPTION_KEYS: ")) from error
    if debug or env.text("DEBUG").lower() in ("1", "true", "yes", "on"):
        raise SettingError("DEBUG", "must be off in production: its pages show settings and source to everybody.")
    if any("*" in host for host in (*allowed_hosts, *env.items("ALLOWED_HOSTS"))):
        raise SettingError("ALLOWED_HOSTS", "must not hold `*`; set PUBLIC_URL, and the hosts derive from it.")
    if not env.text("PUBLIC_URL"):
        raise SettingError(
            "PUBLIC_URL", "must be the address that people open; hosts, cookies and links derive from it."
        )
