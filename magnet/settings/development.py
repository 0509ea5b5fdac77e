"""A person's machine: generated secrets, and every name that reaches this machine is a good one."""

from magnet.settings.base import *

# HOST=0.0.0.0 says that others on the network may come, by whatever name or address they know.
if HOST not in ("127.0.0.1", "localhost", "::1"):
    ALLOWED_HOSTS = ["*"]
