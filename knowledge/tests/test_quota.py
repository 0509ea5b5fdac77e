from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections

from accounts.tests.factories import MembershipFactory, principal_of
from core.access import Role
from core.doctor import Level
from knowledge.models import Document
from knowledge.quota import QuotaExceeded, quota_findings, use_of
from knowledge.services import Upload, document_delete, document_upload, source_create, source_delete
from llm.seeds import seed_workspace as seed_models


@pytest.fixture
def shelf(db, settings, tmp_path):
    """A principal and a source with room for three documents and a hundred bytes."""
    settings.STORAGE_DIR = tmp_path
    settings.QUOTA_DOCUMENTS, settings.QUOTA_STORAGE_BYTES = 3, 100
    principal = principal_of(MembershipFactory(role=Role.OPERATOR))
    seed_models(principal.workspace_id)
    return principal, source_create(principal=principal, values={"name": "Shelf", "slug": "shelf"})


def add(shelf, name: str, size: int) -> Document:
    principal, source = shelf
    document, _job = document_upload(
        principal=principal, source=source, upload=Upload("x" * size, title=name, external_id=name)
    )
    return document


def used(shelf) -> tuple[int, int]:
    use = use_of(shelf[0].workspace_id)
    return use.documents, use.bytes


def files(tmp_path) -> int:
    return sum(path.is_file() for path in tmp_path.rglob("*"))


def test_use_follows_what_comes_changes_and_goes(shelf):
    add(shelf, "a", 10)
    b = add(shelf, "b", 20)
    assert used(shelf) == (2, 30)

    add(shelf, "b", 25)
    assert used(shelf) == (2, 35)

    document_delete(b, principal=shelf[0])
    assert used(shelf) == (1, 10)

    source_delete(shelf[1], principal=shelf[0])
    assert used(shelf) == (0, 0)


def test_one_document_too_many_is_refused_and_leaves_nothing(shelf, tmp_path):
    for name in "abc":
        add(shelf, name, 1)

    with pytest.raises(QuotaExceeded, match=r"may hold 3 documents \(QUOTA_DOCUMENTS\)"):
        add(shelf, "d", 1)

    assert (used(shelf), files(tmp_path)) == ((3, 3), 3)
    add(shelf, "c", 2)
    assert used(shelf) == (3, 4)


def test_bytes_over_the_quota_are_refused_and_what_was_there_stays(shelf, tmp_path):
    add(shelf, "a", 60)

    for name, size in (("b", 41), ("a", 101)):
        with pytest.raises(QuotaExceeded, match="QUOTA_STORAGE_MB"):
            add(shelf, name, size)

    assert (used(shelf), files(tmp_path)) == ((1, 60), 1)
    add(shelf, "b", 40)
    assert used(shelf) == (2, 100)


def test_another_workspace_has_a_quota_of_its_own(shelf):
    add(shelf, "a", 100)
    other = principal_of(MembershipFactory(role=Role.OPERATOR))
    seed_models(other.workspace_id)

    add((other, source_create(principal=other, values={"name": "Other", "slug": "other"})), "a", 100)

    assert used(shelf) == (1, 100)


@pytest.mark.django_db(transaction=True)
def test_uploads_side_by_side_do_not_overrun_it(shelf, tmp_path):
    def upload(number: int) -> bool:
        try:
            add(shelf, f"n{number}", 30)
        except QuotaExceeded:
            return False
        finally:
            connections.close_all()
        return True

    with ThreadPoolExecutor(8) as pool:
        taken = sum(pool.map(upload, range(8)))

    assert taken == 3
    assert (used(shelf), files(tmp_path)) == ((3, 90), 3)
    assert Document._unscoped.count() == 3


def test_doctor_names_workspaces_that_are_nearly_full(shelf):
    assert [one.level for one in quota_findings()] == [Level.OK]

    add(shelf, "a", 95)

    found = list(quota_findings())
    assert [(one.level, one.subject) for one in found] == [(Level.WARNING, f"quota of {shelf[1].workspace.slug}")]
    assert "1 documents of 3" in found[0].detail
