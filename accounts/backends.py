"""Checking a password, for every door that signs a person in."""

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.http import HttpRequest

from accounts.lockout import count_try, forget_tries, network_of
from accounts.models import FailedTries, User
from accounts.sign_ins import note_failed_login


class LockingBackend(ModelBackend):
    """E-mail and password, with a lock against guessing. Raises TooManyTries, which no other backend may overrule.

    An address without an account takes as long as a wrong password: Django runs the hasher for both.
    """

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **kwargs: Any
    ) -> User | None:
        if username is None or password is None:
            return None
        network = network_of(request)
        locks = count_try(FailedTries.Kind.LOGIN, username, network)
        user = super().authenticate(request, username=username, password=password, **kwargs)
        if not isinstance(user, User):
            note_failed_login(username, locks=locks)
            return None
        forget_tries(FailedTries.Kind.LOGIN, username, network)
        return user
