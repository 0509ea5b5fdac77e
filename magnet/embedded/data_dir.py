"""DATA_DIR: what stands where, and the secrets that are generated into it once."""

import base64
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from magnet.embedded.errors import PlatformError


@dataclass(frozen=True)
class DataDir:
    """The folder of everything that outlives a process. `prepare()` makes it; the rest only names places."""

    root: Path

    @property
    def secrets(self) -> Path:
        return self.root / "secrets"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def run(self) -> Path:
        """What only means something while the platform runs: pid files, the tick's memory."""
        return self.root / "run"

    @property
    def files(self) -> Path:
        return self.root / "files"

    @property
    def metrics(self) -> Path:
        """What the processes have counted since the platform started."""
        return self.run / "metrics"

    def prepare(self) -> "DataDir":
        """Create the folder and its private parts. Raises PlatformError when this user cannot."""
        try:
            # Others may pass through, not list: the database's own user must reach its part.
            self.root.mkdir(mode=0o711, parents=True, exist_ok=True)
            for private in (self.secrets, self.logs, self.files, self.run, self.metrics):
                private.mkdir(mode=0o700, exist_ok=True)
            probe = self.root / f".probe-{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise PlatformError(
                f"DATA_DIR: {self.root} cannot be written by this user ({error.strerror}). "
                "Set DATA_DIR to a folder that it may write."
            ) from error
        return self

    def secret(self, name: str, generate: bool = False) -> str:
        """The secret of this name, "" when there is none yet; `generate` makes it once, 256 random bits."""
        path = self.secrets / name
        try:
            return path.read_text().strip()
        except FileNotFoundError:
            return self.keep_secret(name, secrets.token_urlsafe(32)) if generate else ""
        except OSError as error:
            raise PlatformError(f"DATA_DIR: {path} cannot be read by this user ({error.strerror}).") from error

    def keep_secret(self, name: str, value: str) -> str:
        """Store the secret unless another process was faster; answers what stands there now."""
        path = self.secrets / name
        draft = path.with_name(f".{name}-{os.getpid()}")
        draft.touch(mode=0o600)
        draft.write_text(value + "\n")
        try:
            # A link, not a rename: of two first starts one wins, and both read the same secret.
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
        return path.read_text().strip()

    def generate_keys(self) -> None:
        """SECRET_KEY and the first encryption key, once."""
        self.secret("secret_key", generate=True)
        if not self.secret("encryption_keys"):
            key = base64.b64encode(secrets.token_bytes(32)).decode()
            self.keep_secret("encryption_keys", f"k{secrets.token_hex(4)}:{key}")
