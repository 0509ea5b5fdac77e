"""Guessing is limited at every door, by what is tried and from where."""

import io
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from statistics import median
from time import perf_counter

import pytest
from django.contrib.auth.hashers import MD5PasswordHasher
from django.core.management import call_command
from django.db import connections
from django.test import Client, RequestFactory
from django.utils import timezone
from rest_framework.test import APIClient

from accounts import lockout
from accounts.backends import LockingBackend
from accounts.keys import new_key
from accounts.lockout import MAX_TRIES, TooManyTries, count_try, lift_locks, network_of
from accounts.models import FailedTries
from accounts.tests.factories import MembershipFactory

pytestmark = pytest.mark.django_db
PASSWORD = "correct horse battery"
LOGIN = FailedTries.Kind.LOGIN


def log_in(email: str, password: str, **extra):
    return APIClient().post("/api/v1/session/", {"email": email, "password": password}, **extra)


def call(text: str, **extra):
    return APIClient().get("/api/v1/api-keys/", HTTP_AUTHORIZATION=f"Bearer {text}", **extra)


def test_passwords_are_limited_however_the_caller_says_where_it_comes_from(member):
    answers = [
        log_in(
            member.user.email, f"wrong {n}", HTTP_X_FORWARDED_FOR=f"198.51.100.{n}", HTTP_FORWARDED=f"for=10.0.0.{n}"
        )
        for n in range(30)
    ]
    right = log_in(member.user.email, PASSWORD)

    assert [answer.status_code for answer in answers] == [401] * MAX_TRIES + [429] * (30 - MAX_TRIES)
    assert MAX_TRIES < 10
    assert right.status_code == 429
    assert right["Content-Type"] == "application/problem+json"
    assert right.json()["code"] == "locked_out"
    assert "Try again in 15 min" in right.json()["detail"]
    assert 0 < int(right["Retry-After"]) <= 900
    assert "sessionid" not in right.cookies


def test_page_and_api_count_together_and_the_page_says_how_long(member):
    page = Client()
    for _ in range(5):
        page.post("/panel/login/", {"username": member.user.email.upper(), "password": "wrong"})
    for _ in range(MAX_TRIES - 5):
        log_in(member.user.email, "wrong")

    refused = page.post("/panel/login/", {"username": member.user.email, "password": PASSWORD})

    assert "Too many wrong tries" in refused.content.decode()
    assert "Try again in 15 min" in refused.content.decode()
    assert log_in(member.user.email, PASSWORD).status_code == 429


def test_an_account_that_does_not_exist_is_locked_like_one_that_does(member):
    answers = [log_in("nobody@example.org", "wrong") for _ in range(MAX_TRIES + 1)]

    assert [answer.status_code for answer in answers] == [401] * MAX_TRIES + [429]
    assert log_in(member.user.email, PASSWORD).status_code == 200


def test_a_lock_holds_for_one_address_only(member):
    for _ in range(MAX_TRIES + 1):
        log_in(member.user.email, "wrong", REMOTE_ADDR="192.0.2.1")

    assert log_in(member.user.email, PASSWORD, REMOTE_ADDR="192.0.2.1").status_code == 429
    assert log_in(member.user.email, PASSWORD, REMOTE_ADDR="192.0.2.2").status_code == 200


def test_all_addresses_of_an_ipv6_line_count_as_one():
    def network(address: str) -> str:
        return network_of(RequestFactory().get("/", REMOTE_ADDR=address))

    assert network("2001:db8::1") == network("2001:db8::ffff:1") == "2001:db8::/64"
    assert network("2001:db8:0:1::1") != network("2001:db8::1")
    assert network("::ffff:192.0.2.1") == "192.0.2.1"
    assert network("") == network("unix:") == network_of(None) == ""


def test_a_right_password_forgets_the_wrong_ones(member):
    for _ in range(3):
        for _ in range(MAX_TRIES - 1):
            assert log_in(member.user.email, "wrong").status_code == 401
        assert log_in(member.user.email, PASSWORD).status_code == 200


def test_a_lock_ends_and_tries_meanwhile_do_not_prolong_it(member):
    for _ in range(MAX_TRIES):
        log_in(member.user.email, "wrong")
    before = FailedTries.objects.get().ends_at
    log_in(member.user.email, "wrong")
    tries = FailedTries.objects.get()
    assert (tries.ends_at, tries.count) == (before, MAX_TRIES)

    FailedTries.objects.update(ends_at=timezone.now() - timedelta(seconds=1))

    assert log_in(member.user.email, "wrong").status_code == 401
    assert FailedTries.objects.get().count == 1
    assert log_in(member.user.email, PASSWORD).status_code == 200


def test_what_was_typed_is_not_kept():
    log_in("my secret password", "wrong")

    assert "secret" not in str(FailedTries.objects.values_list("subject", "network"))


def test_ended_counts_go_with_new_ones():
    count_try(LOGIN, "old", "192.0.2.1")
    FailedTries.objects.update(ends_at=timezone.now() - timedelta(seconds=1))

    count_try(LOGIN, "new", "192.0.2.1")

    assert FailedTries.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_many_tries_at_once_are_not_more_than_many_in_a_row():
    def one(_: int) -> bool:
        try:
            count_try(LOGIN, "anna@example.org", "192.0.2.1")
        except TooManyTries:
            return False
        finally:
            connections.close_all()
        return True

    with ThreadPoolExecutor(8) as threads:
        let_through = sum(threads.map(one, range(30)))

    assert let_through == MAX_TRIES


def test_guessing_a_key_locks_that_key_from_that_address(member, issue):
    key, text = issue(member)
    other = issue(member)[1]
    wrong = text[:-43] + new_key().secret

    answers = [call(wrong) for _ in range(30)]

    assert [answer.status_code for answer in answers] == [401] * MAX_TRIES + [429] * (30 - MAX_TRIES)
    assert call(text).status_code == 429
    assert int(call(text)["Retry-After"]) > 0
    assert call(text, REMOTE_ADDR="192.0.2.9").status_code == 200
    assert call(other).status_code == 200
    assert lift_locks(FailedTries.Kind.API_KEY, key.public_id) == 1
    assert call(text).status_code == 200


def test_garbage_locks_no_key(member, issue):
    text = issue(member)[1]

    for _ in range(30):
        assert call(str(new_key())).status_code == 401
        assert call("mk_garbage").status_code == 401

    assert call(text).status_code == 200


def test_a_key_id_that_does_not_exist_is_locked_like_one_that_does():
    unknown = str(new_key())

    assert [call(unknown).status_code for _ in range(MAX_TRIES + 1)] == [401] * MAX_TRIES + [429]


def test_the_command_lifts_locks(member, issue):
    def unlock(subject: str) -> str:
        told = io.StringIO()
        call_command("unlock", subject, stdout=told)
        return told.getvalue().strip()

    _key, text = issue(member)
    for _ in range(MAX_TRIES):
        log_in(member.user.email, "wrong")
        call(text[:-43] + new_key().secret)

    assert unlock(member.user.email.upper()) == "Lifted: 1 locked address(es)."
    assert log_in(member.user.email, PASSWORD).status_code == 200
    assert unlock(text[:15]) == "Lifted: 1 locked address(es)."
    assert call(text).status_code == 200
    assert unlock("nobody@example.org") == "Nothing was locked."


@pytest.fixture
def no_lock(monkeypatch):
    monkeypatch.setattr(lockout, "MAX_TRIES", 10_000)


def _medians(first, second, tries: int) -> tuple[float, float]:
    """Both kinds in turn, so that what else the machine does falls on both."""
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(tries):
        for attempt, times in zip((first, second), taken, strict=True):
            began = perf_counter()
            attempt()
            times.append(perf_counter() - began)
    return median(taken[0]), median(taken[1])


@pytest.mark.parametrize("email", ["known", "nobody@example.org", "switched off"])
def test_every_wrong_password_costs_one_hash(email, member, monkeypatch):
    off = MembershipFactory(user__is_active=False).user.email
    hashed: list[str] = []
    encode = MD5PasswordHasher.encode
    monkeypatch.setattr(MD5PasswordHasher, "encode", lambda *args: hashed.append("") or encode(*args))

    log_in({"known": member.user.email, "switched off": off}.get(email, email), "wrong")

    assert len(hashed) == 1


@pytest.mark.exhaustive
def test_an_unknown_account_takes_as_long_as_a_known_one(settings, no_lock):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
    member = MembershipFactory()

    known, unknown = _medians(
        lambda: log_in(member.user.email, "wrong"), lambda: log_in("nobody@example.org", "wrong"), 60
    )

    assert unknown == pytest.approx(known, rel=0.2)


def test_an_unknown_key_takes_as_long_as_a_known_one(member, issue, no_lock):
    wrong = issue(member)[1][:-43] + new_key().secret
    unknown_text = str(new_key())

    known, unknown = _medians(lambda: call(wrong), lambda: call(unknown_text), 60)

    assert unknown == pytest.approx(known, rel=0.2)


def test_a_failure_during_the_lock_begins_none(db):
    """Of two processes at one time, one begins the lock, and one alone tells of it."""
    told = [lockout.count_failure(LOGIN, "ann@example.org", "192.0.2.1") for _ in range(MAX_TRIES + 2)]

    assert told == [False] * (MAX_TRIES - 1) + [True, False, False]
    assert str(FailedTries.objects.get()) == f"login from 192.0.2.1: {MAX_TRIES}"


def test_credentials_of_another_kind_are_left_to_other_backends():
    assert LockingBackend().authenticate(None, token="something") is None
    assert not FailedTries.objects.exists()
