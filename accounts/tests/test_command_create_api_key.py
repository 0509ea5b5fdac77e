import pytest
from django.core.management import CommandError, call_command

from accounts.models import ApiKey
from accounts.services import api_key_authenticate, first_admin_ensure
from accounts.tests.factories import MembershipFactory

pytestmark = pytest.mark.django_db


def run(capsys, *args):
    call_command("create_api_key", *args)
    return capsys.readouterr().out


def test_it_prints_the_key_alone_with_all_scopes(capsys):
    first_admin_ensure(email="admin@localhost", password="secret words")

    printed = run(capsys, "ci")

    key = api_key_authenticate(printed.strip())
    assert printed.count("\n") == 1
    assert sorted(key.scopes) == ["ingest", "manage", "models", "read", "run"]
    assert key.user.email == "admin@localhost"


def test_user_workspace_scopes_and_expiry_can_be_named(capsys):
    member = MembershipFactory()

    printed = run(
        capsys, "ci", "--user", member.user.email, "--workspace", member.workspace.slug,
        "--scopes", "read", "run", "--expires", "30d",
    )  # fmt: skip

    key = api_key_authenticate(printed.strip())
    assert key.scopes == ["read", "run"]
    assert 29 <= (key.expires_at - key.created_at).days <= 30


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--workspace", "nothing"], "no workspace 'nothing'"),
        (["--user", "nobody@example.org"], "no active user"),
        (["--expires", "soon"], "such as 30d"),
        ([], "no superuser yet"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(args, message):
    MembershipFactory(workspace__slug="default")

    with pytest.raises(CommandError, match=message) as failure:
        call_command("create_api_key", "ci", *args)

    assert "\n" not in str(failure.value)
    assert not ApiKey._unscoped.exists()


def test_an_empty_name_is_refused():
    first_admin_ensure(email="admin@localhost", password="secret words")

    with pytest.raises(CommandError, match="cannot be blank"):
        call_command("create_api_key", "")
