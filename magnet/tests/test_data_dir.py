"""DATA_DIR, its secrets, and the user that the servers run as."""

import os
from pathlib import Path

import pytest

from core.crypto import KeyRing
from magnet.embedded import privileges
from magnet.embedded.data_dir import DataDir
from magnet.embedded.errors import PlatformError
from magnet.embedded.privileges import ServiceUser, command_prefix, service_user

STRANGER = ServiceUser(54321, 54321)


def test_secrets_are_made_once_and_private(tmp_path: Path) -> None:
    data_dir = DataDir(tmp_path / "new" / "folder").prepare()

    data_dir.generate_keys()
    first = (data_dir.secret("secret_key"), data_dir.secret("encryption_keys"))
    data_dir.generate_keys()

    assert (data_dir.secret("secret_key"), data_dir.secret("encryption_keys")) == first
    assert len(first[0]) >= 40
    assert KeyRing.parse([first[1]]).current_id.startswith("k")
    assert {path.stat().st_mode & 0o777 for path in data_dir.secrets.iterdir()} == {0o600}
    assert data_dir.secrets.stat().st_mode & 0o777 == 0o700


def test_of_two_first_starts_one_secret_stays(tmp_path: Path) -> None:
    data_dir = DataDir(tmp_path).prepare()

    assert data_dir.keep_secret("x", "first") == "first"
    assert data_dir.keep_secret("x", "second") == "first"


def test_unreadable_secret_names_the_folder(tmp_path: Path) -> None:
    data_dir = DataDir(tmp_path).prepare()
    (data_dir.secrets / "x").mkdir()

    with pytest.raises(PlatformError, match=r"^DATA_DIR: .*/secrets/x cannot be read"):
        data_dir.secret("x")


def test_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(PlatformError, match=rf"^DATA_DIR: {tmp_path}/file/x cannot be written by this user"):
        DataDir(tmp_path / "file" / "x").prepare()


def test_closed_folder_stops_a_stranger(tmp_path: Path) -> None:
    inner = tmp_path / "closed" / "inner"
    inner.mkdir(parents=True)
    inner.chmod(0o755)
    (tmp_path / "closed").chmod(0o700)

    assert not STRANGER.can_pass(inner)
    assert ServiceUser(inner.stat().st_uid, 1).can_pass(Path("/"))


def test_owner_and_group_bits_decide_for_them(tmp_path: Path) -> None:
    tmp_path.chmod(0o010)
    status = tmp_path.stat()

    assert ServiceUser(54321, status.st_gid)._may_enter(tmp_path)
    assert not ServiceUser(status.st_uid, 54321)._may_enter(tmp_path)
    tmp_path.chmod(0o700)


def test_plain_user_needs_no_prefix() -> None:
    assert command_prefix(None, []) == []


def test_open_folders_need_no_capability() -> None:
    prefix = command_prefix(STRANGER, [Path("/")])

    assert prefix[1:] == ["--reuid=54321", "--regid=54321", "--clear-groups", "--inh-caps=-all"]


@pytest.mark.parametrize(
    ("effective", "kept"),
    [(1 << 1, "dac_override"), (1 << 2, "dac_read_search"), ((1 << 1) | (1 << 2), "dac_read_search")],
)
def test_closed_folders_keep_the_smallest_capability(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, effective: int, kept: str
) -> None:
    tmp_path.chmod(0o700)
    monkeypatch.setattr(privileges, "_effective_capabilities", lambda: effective)

    prefix = command_prefix(STRANGER, [tmp_path])

    assert prefix[-2:] == [f"--inh-caps=-all,+{kept}", f"--ambient-caps=-all,+{kept}"]


def test_closed_folders_without_a_capability_are_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o700)
    monkeypatch.setattr(privileges, "_effective_capabilities", lambda: 0)

    with pytest.raises(PlatformError, match=rf"^DATA_DIR: {tmp_path} lies in a folder that PostgreSQL's user"):
        command_prefix(STRANGER, [tmp_path])


def test_missing_setpriv_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(privileges.shutil, "which", lambda *_args, **_kwargs: None)

    with pytest.raises(PlatformError, match=r"setpriv \(util-linux\) is missing"):
        command_prefix(STRANGER, [])


def test_root_runs_servers_as_the_owner_of_their_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    assert service_user(tmp_path / "new") == service_user(Path("/"))
    assert (service_user(tmp_path / "new") or STRANGER).uid not in (0, 54321)


def test_other_users_run_servers_as_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    assert service_user(tmp_path) is None
