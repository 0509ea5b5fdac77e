"""Monitoring in the admin: jobs, runs, traces, usage."""

from datetime import UTC, datetime, timedelta

import pytest

from core import admin_display
from core.access import Role
from magnet.tests.admin_world import signed_in, url
from observability.admin_traces import waterfall
from observability.models import Job, Run, Span, Trace, UsageRecord


def text(response) -> str:
    return response.content.decode()


def plain(value: str) -> str:
    return value.replace("\u00a0", " ")


def test_failed_job_says_why_and_is_retried(north):
    client = north.client()
    assert "The file is damaged." in text(client.get(url("change", north[Job])))

    client.post(url("retry", north[Job]))

    assert Job._unscoped.get(pk=north[Job].pk).status == "pending"


def test_pending_job_is_cancelled(north):
    Job._unscoped.filter(pk=north[Job].pk).update(status="pending")

    north.client().post(url("cancel", north[Job]))

    assert Job._unscoped.get(pk=north[Job].pk).status == "cancelled"


def test_ended_job_is_not_cancelled_and_says_so(north):
    page = text(north.client().post(url("cancel", north[Job]), follow=True))

    assert "This job is failed already." in page


def test_viewer_sees_jobs_without_buttons(north):
    client = north.client(Role.VIEWER)

    assert "Retry" not in text(client.get(url("change", north[Job])))
    assert client.post(url("retry", north[Job])).status_code == 403


def test_chosen_jobs_are_retried_together(north):
    data = {"action": "retry_chosen", "_selected_action": [north[Job].pk]}

    page = text(north.client().post(url("changelist", north[Job]), data, follow=True))

    assert "Queued again: 1" in page


def test_list_of_jobs_follows_running_work(north):
    client = north.client()
    assert 'data-live="off"' in text(client.get(url("changelist", north[Job])))

    Job._unscoped.filter(pk=north[Job].pk).update(status="running")

    page = text(client.get(url("changelist", north[Job])))
    assert 'data-live="on"' in page
    assert '<progress class="mg-bar" value="1" max="3"' in page


def test_operator_reads_the_contents_of_a_run(north):
    page = text(north.client().get(url("change", north[Run])))

    assert "north question?" in page
    assert "north content" in page
    assert "north passage" in page


def test_viewer_sees_that_a_run_happened_and_not_what_was_said(north):
    client = north.client(Role.VIEWER)

    listed, page = text(client.get(url("changelist", north[Run]))), text(client.get(url("change", north[Run])))

    assert "north-qa" in listed
    assert "north-qa" in page
    assert "north question?" not in listed + page
    assert "north content" not in page


def test_viewer_reads_own_runs(north):
    viewer = north.member(Role.VIEWER)
    Run._unscoped.filter(pk=north[Run].pk).update(user=viewer)

    assert "north content" in text(signed_in(viewer).get(url("change", north[Run])))


def test_problem_of_a_failed_run_is_shown(north):
    Run._unscoped.filter(pk=north[Run].pk).update(status="failed", problem={"detail": "The provider is down."})

    assert "The provider is down." in text(north.client().get(url("change", north[Run])))


def test_trace_draws_its_steps(north):
    page = text(north.client(Role.VIEWER).get(url("change", north[Trace])))

    assert page.count("<rect") == 2
    assert "cut off" in page
    assert 'x="500.0"' in page
    assert 'width="250.0"' in page


def test_waterfall_is_a_tree_in_order_of_time():
    start = datetime(2026, 1, 1, tzinfo=UTC)
    trace = Trace(started_at=start, duration_ms=100)

    def span(name, offset, took, parent=None):
        began = start + timedelta(milliseconds=offset)
        return Span(trace=trace, name=name, parent=parent, started_at=began, duration_ms=took)

    root = span("root", 0, 100)
    late, early = span("late", 60, 0.1, root), span("early", 10, 50, root)
    orphan = span("orphan", 90, 300)

    bars = waterfall(trace, [late, orphan, root, early])

    assert [(bar.span.name, bar.depth) for bar in bars] == [("root", 0), ("early", 1), ("late", 1), ("orphan", 0)]
    assert bars[-1].x + bars[-1].width == pytest.approx(1000)
    assert bars[2].width == 4


def test_usage_is_summed_over_the_filters(north):
    client = north.client(Role.VIEWER)

    page = text(client.get(url("changelist", north[UsageRecord])))
    none = text(client.get(url("changelist", north[UsageRecord]), {"operation__exact": "embeddings"}))

    assert "With these filters: 1,200 tokens in, 34 tokens out." in page
    assert "1,200 ≈" in page
    assert "With these filters: 0 tokens in, 0 tokens out." in none


def test_usage_page_says_who_counted(north):
    assert "an estimate" in text(north.client().get(url("change", north[UsageRecord])))


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (admin_display.duration(812.4), "812 ms"),
        (admin_display.duration(3210), "3.2 s"),
        (admin_display.duration(245_000), "4 min 5 s"),
        (admin_display.duration(None), "—"),
        (admin_display.size(812), "812 bytes"),
        (admin_display.size(3_400_000), "3.4 MB"),
        (admin_display.size(None), "—"),
        (admin_display.number(12345), "12,345"),
        (admin_display.number(None), "—"),
        (admin_display.moment(datetime(2026, 11, 23, 21, 49, tzinfo=UTC)), "23 Nov 2026, 21:49 UTC"),
        (admin_display.moment(None), "—"),
        (admin_display.clipped("a" * 12, 10), "a" * 10 + "…"),
        (admin_display.clipped(None), ""),
        (admin_display.progress(0, 0), "—"),
        (admin_display.progress(7, 0), "7"),
    ],
)
def test_values_read_well(shown, expected):
    assert plain(str(shown)) == expected


def test_contents_of_a_trace_are_for_operators_and_its_author(north):
    said = {"gen_ai.input.messages": [{"role": "user", "parts": [{"content": "Qx7 asked"}]}], "magnet.cost": "0.5"}
    found = {"gen_ai.retrieval.documents": [{"id": "1", "score": 0.5, "content": "Qx7 found"}]}
    Span._unscoped.filter(trace=north[Trace]).update(attributes={**said, **found, "magnet.cached": True})
    viewer = north.client(Role.VIEWER)

    hidden = text(viewer.get(url("change", north[Trace])))
    answer = text(viewer.get(f"/api/v1/traces/{north[Trace].pk}/"))
    shown = text(north.client().get(url("change", north[Trace])))

    assert "Qx7" not in hidden + answer
    assert "magnet.cost: 0.5" in hidden
    assert str(north[Run].pk) in answer
    assert shown.count("Qx7 asked") == shown.count("Qx7 found") == 2
    assert ">cached<" in shown


def test_a_deep_and_wide_trace_is_drawn_with_few_queries(north, django_assert_max_num_queries):
    trace, parent, spans = north[Trace], None, []
    for n in range(1500):
        one = Span(workspace=north.workspace, trace=trace, name=f"s{n}", operation="run", started_at=trace.started_at)
        one.parent = parent
        spans.append(one)
        parent = one if n < 1200 else parent
    Span._unscoped.bulk_create(spans)
    client = north.client()
    client.get(url("changelist", trace))

    with django_assert_max_num_queries(14):
        page = text(client.get(url("change", trace)))

    assert page.count("<rect") == 1502
    assert len(page) < 1_800_000


def test_what_a_prompt_was_given_is_read_by_operators_alone(north):
    asked = {"variables": {"parcel": "Nr 4711 <b>", "days": [1]}, "messages": [{"role": "user", "content": "Where?"}]}
    Run._unscoped.filter(pk=north[Run].pk).update(input=asked)

    listed = text(north.client().get(url("changelist", north[Run])))
    page = text(north.client().get(url("change", north[Run])))
    viewed = text(north.client(Role.VIEWER).get(url("change", north[Run])))

    assert "days: [1], parcel: Nr 4711 &lt;b&gt;, user: Where?" in listed
    assert "days: [1]\nparcel: Nr 4711 &lt;b&gt;\nuser: Where?" in page
    assert "4711" not in viewed


@pytest.mark.parametrize("model", [Run, Trace, UsageRecord])
def test_an_empty_list_of_what_happened_leads_to_a_question(north, model):
    address = url("changelist", north[model])
    model._unscoped.all().delete()

    assert 'href="/admin/rag/ragtool/try/">Ask a RAG tool</a>' in text(north.client().get(address))
