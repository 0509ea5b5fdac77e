"""Every list of the API keeps the same rules: filters, order, search, pages."""

import base64
import json

import pytest
from django.utils import timezone

from knowledge.models import Chunk, Document
from magnet.tests.api_walk import client_of, operations
from observability.models import Job

LISTS = [operation for operation in operations() if operation.action == "list"]


def cursor_of(*values: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode()


BAD_CURSORS = ["x", "AAAA", cursor_of(), cursor_of(False), cursor_of(False, "x"), cursor_of(False, "\x00", "x")]
BAD_LIMITS = ["0", "-1", "201", "1e3", "x", "", "٣", "9" * 30, "1&limit=2"]
TYPED = {
    "StrictBooleanField",
    "UUIDField",
    "IsoDateTimeField",
    "DateTimeField",
    "DecimalField",
    "IntegerField",
    "ChoiceField",
}


def pages(client, path: str, link: str = "next") -> list[list[str]]:
    found, url = [], path
    while url is not None:
        answer = client.get(url)
        assert answer.status_code == 200, answer.json()
        found.append([row["id"] for row in answer.json()["results"]])
        url = answer.json()[link]
        assert len(found) < 100
    return found


def test_there_are_lists():
    assert len(LISTS) >= 14


@pytest.mark.parametrize("operation", LISTS, ids=str)
def test_the_unknown_is_refused_and_the_known_named(operation, north):
    client, path = client_of(north), operation.path(north)
    view = operation.view

    for query, pointer in [("colour=red", "/colour"), ("format=xml", "/format"), ("workspace=x", "/workspace")]:
        answer = client.get(f"{path}?{query}")
        assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")
        assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
        assert "Known: " in answer.json()["detail"]
    ordered = client.get(f"{path}?ordering=colour")
    assert ordered.status_code == 400
    assert all(name in ordered.json()["detail"] for name in view.ordering_fields)
    searched = client.get(f"{path}?search=a")
    assert searched.status_code == (200 if view.search_fields else 400)
    assert client.get(f"{path}?search=%00").status_code == 400


@pytest.mark.parametrize("operation", LISTS, ids=str)
def test_a_page_has_1_to_200_rows(operation, north):
    client, path = client_of(north), operation.path(north)

    for limit in BAD_LIMITS:
        answer = client.get(f"{path}?limit={limit}")
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/limit"), limit
    assert client.get(f"{path}?limit=200").status_code == 200


@pytest.mark.parametrize("operation", LISTS, ids=str)
def test_every_filter_refuses_a_bad_value(operation, north):
    client, path, view = client_of(north), operation.path(north), operation.view
    model = getattr(view, "model", None) or view.queryset.model
    filterset = view.filter_backends[0]().get_filterset_class(view(), model._base_manager.all())

    for name, one in filterset.get_filters().items() if filterset else ():
        kinds = {kind.__name__ for kind in type(one.field).__mro__}
        for value in ["%00", "", *(["%F0%9F%8D%95"] if kinds & TYPED else [])]:
            answer = client.get(f"{path}?{name}={value}")
            assert answer.status_code == 400, (name, value, kinds)
            assert answer.json()["errors"][0]["pointer"] == f"/{name}"


@pytest.mark.parametrize("operation", LISTS, ids=str)
def test_every_order_gives_all_rows_once_a_page_at_a_time_and_back(operation, north, south):
    client, path = client_of(north), operation.path(north)

    for name in operation.view.ordering_fields:
        for order in (name, f"-{name}"):
            whole = pages(client, f"{path}?ordering={order}")[0]
            apart = pages(client, f"{path}?ordering={order}&limit=1")
            assert [row for page in apart for row in page] == whole
            assert len(set(whole)) == len(whole)


@pytest.mark.parametrize("operation", LISTS, ids=str)
def test_columns_of_an_order_are_never_empty(operation, north):
    model = getattr(operation.view, "model", None) or operation.view.queryset.model

    for name in operation.view.ordering_fields:
        assert not model._meta.get_field(name).null, name


@pytest.mark.parametrize("operation", LISTS, ids=str)
def test_a_bad_cursor_is_refused(operation, north):
    client, path = client_of(north), operation.path(north)

    for cursor in BAD_CURSORS:
        answer = client.get(path, {"cursor": cursor})
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/cursor"), cursor


def test_a_place_beyond_what_a_number_holds_is_an_empty_page(north):
    cursor = cursor_of(False, "9" * 25, str(north[Document].pk))

    answer = client_of(north).get("/api/v1/documents/", {"ordering": "size", "cursor": cursor})

    assert (answer.status_code, answer.json()["results"]) == (200, [])


def test_one_reads_on_from_a_row_that_was_deleted_and_back_again(north):
    client = client_of(north)
    jobs = [Job(workspace=north.workspace, kind="tests", title="same", task="t", queue="default") for _ in range(5)]
    for job in jobs:
        job.save()
    first = client.get("/api/v1/jobs/?kind=tests&limit=2").json()
    Job._unscoped.filter(pk=first["results"][1]["id"]).delete()

    second = client.get(first["next"]).json()
    back = client.get(second["prev"]).json()

    newest = [str(job.pk) for job in reversed(jobs)]
    assert [row["id"] for row in second["results"]] == newest[2:4]
    assert [row["id"] for row in back["results"]] == newest[:1]
    assert (first["prev"], back["prev"]) == (None, None)
    assert client.get(client.get(second["next"]).json()["prev"]).json()["results"] == second["results"]


def test_thousands_of_equal_rows_are_all_reached(north):
    moment = timezone.now()
    Job._unscoped.bulk_create(
        Job(workspace=north.workspace, kind="equal", title="same", task="t", queue="default") for _ in range(1250)
    )
    Job._unscoped.filter(kind="equal").update(created_at=moment)

    found = pages(client_of(north), "/api/v1/jobs/?kind=equal&ordering=created_at&limit=200")

    assert [len(page) for page in found] == [200] * 6 + [50]
    assert len({row for page in found for row in page}) == 1250


def test_a_filter_that_narrows_is_kept_in_the_links(north):
    answer = client_of(north).get("/api/v1/models/?kind=chat&limit=1&ordering=-name").json()

    assert answer["next"] is None
    assert {row["kind"] for row in answer["results"]} == {"chat"}


def test_passages_come_in_their_order(north):
    found = pages(client_of(north), f"/api/v1/documents/{north[Document].pk}/chunks/?limit=1")

    rows = Chunk._unscoped.filter(document=north[Document]).order_by("ordinal")
    assert [row for page in found for row in page] == [str(chunk.pk) for chunk in rows]
