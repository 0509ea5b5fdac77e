"""Setting a password by a link: by mail, from the command, from the admin; and inviting people."""

import re
import statistics
import time
from datetime import timedelta
from unittest import mock

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from accounts.links import Purpose, token_for
from accounts.lockout import MAX_TRIES
from accounts.mail import mail_findings, send_link
from accounts.models import AuditEvent, FailedTries, User
from accounts.services import (
    api_key_authenticate,
    api_key_issue,
)
from accounts.tasks import send_reset
from accounts.tests.factories import MembershipFactory, UserFactory
from core.access import Role
from magnet.environment import Environment, SettingError
from magnet.settings.mail import mail

pytestmark = pytest.mark.django_db
PAGE = "/panel/password/"
OLD, NEW = "correct horse battery", "a quite different staple"


@pytest.fixture
def ann() -> User:
    return MembershipFactory(user=UserFactory(email="ann@example.org"), role=Role.USER).user


def set_with(token: str, password: str = NEW, client: Client | None = None, **extra):
    body = {"token": token, "password": password, "again": password}
    return (client or Client()).post(f"{PAGE}?set", body, **extra)


def ago(passed: timedelta):
    """What is signed inside was signed so long ago."""
    return mock.patch("django.core.signing.time.time", return_value=time.time() - passed.total_seconds())


def signs_in(email: str, password: str) -> bool:
    client = Client()
    return client.post("/panel/login/", {"username": email, "password": password}).status_code == 302


def published(capture) -> list[tuple[str, tuple[str, ...]]]:
    """The tasks that the request hands to the broker."""
    sent: list[tuple[str, tuple[str, ...]]] = []
    with mock.patch("core.queue.current_app.send_task", lambda name, args, **_: sent.append((name, tuple(args)))):
        for callback in capture:
            callback()
    return sent


# --- the link


def test_a_link_sets_the_password_ends_sessions_and_leaves_keys(ann):
    session = Client()
    session.force_login(ann)
    key = api_key_issue(user=ann, workspace=ann.workspaces.get(), name="kept").text
    ann.refresh_from_db()

    answer = set_with(token_for(ann, Purpose.RESET))

    assert (answer.status_code, answer["Location"]) == (302, "/panel/login/")
    assert session.get("/panel/").status_code == 302
    assert session.get("/api/v1/session/").status_code == 401
    assert api_key_authenticate(key) is not None
    assert (signs_in("ann@example.org", NEW), signs_in("ann@example.org", OLD)) == (True, False)
    assert AuditEvent.objects.filter(action="password_reset", object_id=ann.pk).count() == 1


@pytest.mark.parametrize(
    "kind", ["null", "empty", "garbage", "reused", "expired", "other user", "signed in", "changed"]
)
def test_a_link_that_is_not_good_changes_nothing(ann, kind):
    bob, token = UserFactory(), token_for(ann, Purpose.RESET)
    if kind in ("null", "empty", "garbage"):
        token = {"null": "null", "empty": "", "garbage": "x" * 5000}[kind]
    elif kind == "reused":
        assert set_with(token, OLD).status_code == 302
    elif kind == "expired":
        with ago(timedelta(minutes=61)):
            token = token_for(ann, Purpose.RESET)
    elif kind == "other user":
        token = token.replace(ann.pk.hex, bob.pk.hex)
    elif kind == "signed in":
        User.objects.filter(pk=ann.pk).update(last_login=timezone.now())
    else:
        User.objects.filter(pk=ann.pk).update(email="anna@example.org")

    before = set(User.objects.values_list("pk", "password"))
    answer = set_with(token)

    assert answer.status_code == 400
    assert set(User.objects.values_list("pk", "password")) == before


def test_a_deactivated_person_sets_no_password(ann):
    User.objects.filter(pk=ann.pk).update(is_active=False)

    assert set_with(token_for(ann, Purpose.RESET)).status_code == 400


def test_an_invitation_lasts_a_week_and_a_reset_an_hour(ann):
    with ago(timedelta(days=6)):
        invitation, reset = token_for(ann, Purpose.INVITE), token_for(ann, Purpose.RESET)

    assert set_with(reset).status_code == 400
    assert set_with(invitation).status_code == 302


def test_a_weak_password_is_refused_and_the_link_stays_good(ann):
    token = token_for(ann, Purpose.RESET)

    assert "too common" in set_with(token, "password").content.decode()
    assert set_with(token).status_code == 302


def test_wrong_links_are_limited_however_the_caller_says_where_it_comes_from(ann):
    answers = [set_with("x.y.z", HTTP_X_FORWARDED_FOR=f"192.0.2.{n}").status_code for n in range(30)]

    assert answers == [400] * MAX_TRIES + [429] * (30 - MAX_TRIES)
    assert set_with(token_for(ann, Purpose.RESET)).status_code == 429
    assert signs_in("ann@example.org", OLD)


def test_the_page_takes_no_form_of_another_site(ann):
    answer = set_with(token_for(ann, Purpose.RESET), client=Client(enforce_csrf_checks=True))

    assert answer.status_code == 403
    assert signs_in("ann@example.org", OLD)


# --- by mail


def test_a_forgotten_password_is_set_by_mail(ann, post_office, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks() as capture:
        page = Client().post(PAGE, {"email": "ANN@example.org"})
    assert "a link is on its way" in page.content.decode()
    assert published(capture) == [("accounts.tasks.send_reset", (str(ann.pk),))]

    send_reset(str(ann.pk))

    (letter,) = post_office.mails
    assert (letter["To"], letter["From"]) == ("ann@example.org", "magnet@example.org")
    token = re.search(r"/panel/password/\?set#(\S+)", letter.get_content())[1]
    assert set_with(token).status_code == 302
    assert signs_in("ann@example.org", NEW)


def test_known_and_unknown_people_get_the_same_answer_and_the_same_work(
    ann, post_office, django_capture_on_commit_callbacks, django_assert_num_queries
):
    pages, tasks = [], []
    for email in ("ann@example.org", "nobody@example.org"):
        with django_capture_on_commit_callbacks() as capture:
            pages.append(Client().post(PAGE, {"email": email}).content)
        tasks.append([name for name, _ in published(capture)])
        send_reset(published(capture)[0][1][0])

    assert pages[0] == pages[1]
    assert tasks[0] == tasks[1]
    assert [letter["To"] for letter in post_office.mails] == ["ann@example.org"]
    assert "nobody@example.org" not in str(list(AuditEvent.objects.values()))


@pytest.mark.exhaustive
def test_known_and_unknown_people_wait_equally_long(ann, post_office, monkeypatch):
    monkeypatch.setattr("accounts.lockout.MAX_TRIES", 10_000)
    taken: dict[str, list[float]] = {"ann@example.org": [], "nobody@example.org": []}
    client = Client()

    for _ in range(200):
        for email, times in taken.items():
            begun = time.perf_counter()
            assert client.post(PAGE, {"email": email}).status_code == 200
            times.append(time.perf_counter() - begun)

    known, unknown = (statistics.median(times) for times in taken.values())
    assert abs(known - unknown) / max(known, unknown) < 0.2


def test_requests_for_one_address_are_limited(ann, post_office):
    answers = [Client().post(PAGE, {"email": "ann@example.org"}).status_code for _ in range(MAX_TRIES + 2)]

    assert answers == [200] * MAX_TRIES + [429] * 2


def test_nobodys_mailbox_is_flooded_from_many_addresses(ann, post_office):
    for _ in range(MAX_TRIES + 3):
        send_reset(str(ann.pk))

    assert len(post_office.mails) == MAX_TRIES


def test_a_mail_server_that_is_down_is_tried_again(ann, post_office):
    post_office.refuses = True

    with pytest.raises(OSError):
        send_link(ann, Purpose.RESET)
    assert post_office.mails == []


def test_without_a_mail_server_the_page_says_who_helps(ann):
    page = Client().get(PAGE).content.decode()

    assert "manage.py reset_password" in page
    assert Client().post(PAGE, {"email": "ann@example.org"}).status_code == 400
    assert FailedTries.objects.count() == 0


def test_the_doctor_says_whether_mail_goes_out(post_office, settings):
    assert [(one.subject, one.level.value) for one in mail_findings()] == [("Mail", "ok")]

    settings.EMAIL_PORT = 1
    assert [one.level.value for one in mail_findings()] == ["warning"]


# --- from administrators


def test_the_command_prints_a_link_that_works_once(ann, capsys):
    call_command("reset_password", "ANN@example.org")

    link = capsys.readouterr().out.strip()
    token = link.partition("#")[2]
    assert link.startswith("http://localhost:")
    assert PAGE in link
    assert [set_with(token).status_code for _ in range(2)] == [302, 400]


def test_the_command_says_who_is_unknown():
    with pytest.raises(CommandError, match="There is no user"):
        call_command("reset_password", "x@example.org")


def test_a_superuser_makes_a_link_in_the_admin_and_nobody_else_does(ann):
    boss, admin = Client(), Client()
    boss.force_login(UserFactory(is_superuser=True))
    admin.force_login(MembershipFactory(role=Role.ADMIN, workspace=ann.workspaces.get()).user)
    page = f"/admin/accounts/user/{ann.pk}/reset-link/"

    assert "Make the link" in boss.get(page).content.decode()
    answer = boss.post(page)
    token = re.search(r"set#([^<\s]+)", answer.content.decode())[1]

    assert "no-store" in answer["Cache-Control"]
    assert admin.post(page).status_code in (403, 404)
    assert set_with(token).status_code == 302


# --- EMAIL_URL


def parsed(text: str):
    return mail(Environment({"EMAIL_URL": text}), "magnet.example.org")


def test_the_address_of_the_mail_server_is_read():
    found = parsed("smtp+tls://ann%40x:p%2Fw@mail.example.org?from=magnet@example.org")

    assert (found.host, found.port, found.user, found.password) == ("mail.example.org", 587, "ann@x", "p/w")
    assert (found.starttls, found.ssl, found.sender) == (True, False, "magnet@example.org")
    assert parsed("smtps://mail.example.org").port == 465
    assert parsed("smtp://localhost:2525").sender == "magnet@magnet.example.org"
    assert parsed("").host == ""
    assert "p/w" not in repr(found)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("mail.example.org", "must be a URL"),
        ("http://mail.example.org", "must be a URL"),
        ("smtp://mail.example.org:99999", "is not a URL"),
        ("smtp://ann:secret@mail.example.org", "in the clear"),
        ("smtps://mail.example.org?from=nobody", "must be an e-mail address"),
        ("smtps://mail.example.org/path", "takes nothing behind the host"),
    ],
)
def test_a_wrong_address_is_refused_in_one_line(text, reason):
    with pytest.raises(SettingError, match=reason) as refused:
        parsed(text)

    assert "secret" not in str(refused.value)


def test_a_deactivated_person_gets_no_link(ann):
    User.objects.filter(pk=ann.pk).update(is_active=False)

    with pytest.raises(CommandError, match=r"ann@example\.org is deactivated"):
        call_command("reset_password", "ann@example.org")


def test_the_admin_says_that_an_invitation_is_mailed(post_office):
    boss = MembershipFactory(role=Role.ADMIN)
    client = Client()
    client.force_login(boss.user)

    body = {"email": "new@example.org", "role": "viewer"}
    answer = client.post("/admin/accounts/membership/add/", body, follow=True)

    assert "An invitation to new@example.org is on its way." in answer.content.decode()
