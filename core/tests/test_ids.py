import time
import uuid

import pytest
from django.db import connection

from core.ids import unix_seconds_of, uuid7


def test_ids_are_version_7_and_sort_by_time():
    ids = [uuid7() for _ in range(50)]

    assert {one.version for one in ids} == {7}
    assert {one.variant for one in ids} == {uuid.RFC_4122}
    assert [one.int >> 64 for one in ids] == sorted(one.int >> 64 for one in ids)
    assert len(set(ids)) == 50


@pytest.mark.django_db
def test_the_database_makes_the_same_kind_of_id():
    before = uuid7()
    with connection.cursor() as cursor:
        cursor.execute("SELECT magnet_uuid7(), magnet_uuid7()")
        first, second = cursor.fetchone()

    assert {first.version, second.version} == {7}
    assert first != second
    assert abs((first.int >> 80) - (before.int >> 80)) < 60_000


def test_an_id_tells_when_it_was_made():
    before = int(time.time())
    made = uuid7()

    assert before <= unix_seconds_of(made) == unix_seconds_of(str(made)) <= time.time()
