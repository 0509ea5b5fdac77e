"""PostgreSQL refuses to run as root: the embedded servers then run as an unprivileged user."""

import os
import pwd
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from magnet.embedded.errors import PlatformError

NOBODY = 65534

# Linux capability numbers, capabilities(7).
CAP_DAC_OVERRIDE = 1
CAP_DAC_READ_SEARCH = 2


@dataclass(frozen=True)
class ServiceUser:
    """Who runs the embedded servers when we are root."""

    uid: int
    gid: int

    def can_pass(self, folder: Path) -> bool:
        """Whether the mode bits of this folder and all above let the user through."""
        return all(self._may_enter(step) for step in (folder, *folder.parents))

    def _may_enter(self, folder: Path) -> bool:
        status = folder.stat()
        if status.st_uid == self.uid:
            return bool(status.st_mode & 0o100)
        if status.st_gid == self.gid:
            return bool(status.st_mode & 0o010)
        return bool(status.st_mode & 0o001)


def service_user(home: Path) -> ServiceUser | None:
    """None unless we are root; else the owner of the server's folder, or nobody for a new one."""
    if os.geteuid() != 0:
        return None
    if home.exists():
        status = home.stat()
        if status.st_uid != 0:
            return ServiceUser(status.st_uid, status.st_gid)
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        return ServiceUser(NOBODY, NOBODY)
    return ServiceUser(entry.pw_uid, entry.pw_gid)


def command_prefix(user: ServiceUser | None, folders: Iterable[Path]) -> list[str]:
    """What to put before a command so that it runs as the user.

    A clone may lie in a folder that only root may pass (`/root/x`, a temporary one of mode 0700). Then, and only then,
    the process keeps the one capability of passing folders. Raises PlatformError where that is impossible.
    """
    if user is None:
        return []
    setpriv = shutil.which("setpriv", path=os.environ.get("PATH", "") + ":/usr/bin:/bin")
    if setpriv is None:
        raise PlatformError(
            "DATA_DIR: PostgreSQL does not run as root, and setpriv (util-linux) is missing to run it as another user. "
            "Start as another user, or set DATABASE_URL."
        )
    prefix = [setpriv, f"--reuid={user.uid}", f"--regid={user.gid}", "--clear-groups"]
    closed = [folder for folder in folders if not user.can_pass(folder)]
    if not closed:
        return [*prefix, "--inh-caps=-all"]
    capability = _passing_capability()
    if capability is None:
        raise PlatformError(
            f"DATA_DIR: {closed[0]} lies in a folder that PostgreSQL's user (uid {user.uid}) may not enter, and root "
            "may not lift that here. Put clone and DATA_DIR where others may pass (chmod o+x), or be another user."
        )
    # access(2), by which PostgreSQL's programs find each other, counts no capability without that security bit.
    kept = ["--securebits=+no_setuid_fixup", f"--inh-caps=-all,+{capability}", f"--ambient-caps=-all,+{capability}"]
    return [*prefix, *kept]


def _passing_capability() -> str | None:
    effective = _effective_capabilities()
    if effective & (1 << CAP_DAC_READ_SEARCH):
        return "dac_read_search"
    if effective & (1 << CAP_DAC_OVERRIDE):
        return "dac_override"
    return None


def _effective_capabilities() -> int:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    values = [line.split()[1] for line in lines if line.startswith("CapEff:")]
    return int(values[0], 16) if values else 0
