"""Traces to a collector: what arrives, what happens when it is away, and that nobody waits for it."""

import subprocess
import sys
import time

import pytest
from django.test import RequestFactory

from accounts.tests.factories import MembershipFactory, principal_of
from core.context import current_request
from core.doctor import Level
from core.outbound_allow import OutboundUse, allow_url
from magnet.environment import BASE_DIR, Environment, SettingError
from magnet.settings.network import otlp_endpoint, otlp_headers
from observability.choices import Operation
from observability.models import Trace
from observability.otlp import exporter as exporting
from observability.otlp.exporter import Exporter, findings
from observability.otlp.traceparent import RemoteParent, parse
from observability.tests.otlp_receiver import Receiver
from observability.tracing import recording, span, start_trace

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
HEADER = f"00-{TRACE}-{PARENT}-01"


@pytest.fixture
def collector(settings, monkeypatch):
    monkeypatch.setattr(exporting, "BATCH_SECONDS", 0.05)
    monkeypatch.setattr(exporting, "FIRST_PAUSE_SECONDS", 0.01)
    with Receiver() as receiver:
        settings.OTEL_EXPORTER_OTLP_ENDPOINT = receiver.url
        settings.OTEL_EXPORTER_OTLP_HEADERS = {"x-team": "magnet"}
        settings.OUTBOUND_ALLOW = allow_url({}, OutboundUse.TELEMETRY, receiver.url)
        yield receiver


@pytest.fixture
def exporter(monkeypatch):
    made = Exporter()
    made.start()
    monkeypatch.setattr("observability.otlp.export.exporter", lambda: made)
    yield made
    made.flush()


def traced(principal, **attributes) -> Trace:
    recorder = start_trace("rag handbook-qa", "rag_tool", principal, target="handbook-qa")
    with (
        recording(recorder),
        span("retrieval x", Operation.RETRIEVAL),
        span("chat small", Operation.CHAT, **attributes),
    ):
        time.sleep(0.002)
    return recorder.save()


def attributes_of(of) -> dict:
    return {one.key: getattr(one.value, str(one.value.WhichOneof("value"))) for one in of.attributes}


@pytest.mark.django_db
def test_a_stored_trace_arrives_with_its_spans(collector, exporter, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        trace = traced(
            principal_of(MembershipFactory()), n=5, share=0.5, on=True, reasons=["stop"], nested=[{"a": "ü"}]
        )
    exporter.flush()

    ((path, headers, body),) = collector.requests
    assert (path, headers["content-type"], headers["x-team"]) == ("/v1/traces", "application/x-protobuf", "magnet")
    resource = attributes_of(body.resource_spans[0].resource)
    assert (resource["service.name"], resource["deployment.environment"]) == ("magnet", "test")
    root, retrieval, chat = collector.spans()
    assert root.trace_id == retrieval.trace_id == chat.trace_id == trace.pk.bytes
    assert (root.parent_span_id, retrieval.parent_span_id, chat.parent_span_id) == (
        b"",
        root.span_id,
        retrieval.span_id,
    )
    assert (root.name, attributes_of(root)["magnet.target.slug"]) == ("rag handbook-qa", "handbook-qa")
    assert chat.kind == chat.SpanKind.SPAN_KIND_CLIENT
    assert chat.end_time_unix_nano - chat.start_time_unix_nano >= 2_000_000
    told = attributes_of(chat)
    assert (told["gen_ai.operation.name"], told["n"], told["share"], told["on"]) == ("chat", 5, 0.5, True)
    assert told["nested"] == '[{"a": "ü"}]'
    assert [one.string_value for one in told["reasons"].values] == ["stop"]


@pytest.mark.django_db
def test_the_callers_trace_is_taken_over(collector, exporter, django_capture_on_commit_callbacks):
    token = current_request.set(RequestFactory().get("/", headers={"traceparent": HEADER}))
    try:
        with django_capture_on_commit_callbacks(execute=True):
            trace = traced(principal_of(MembershipFactory()))
    finally:
        current_request.reset(token)
    exporter.flush()

    root = collector.spans()[0]
    assert (root.trace_id.hex(), root.parent_span_id.hex()) == (TRACE, PARENT)
    assert {one.trace_id.hex() for one in collector.spans()} == {TRACE}
    assert trace.pk.hex != TRACE
    assert trace.attributes["traceparent.trace_id"] == TRACE


@pytest.mark.django_db
@pytest.mark.parametrize("case", ["off", "rolled back", "not sampled"])
def test_what_is_not_to_go_does_not(case, collector, exporter, settings, django_capture_on_commit_callbacks):
    if case == "off":
        settings.OTEL_EXPORTER_OTLP_ENDPOINT = ""
    header = HEADER[:-1] + "0" if case == "not sampled" else ""
    token = current_request.set(RequestFactory().get("/", headers={"traceparent": header}))
    with django_capture_on_commit_callbacks(execute=case != "rolled back"):
        traced(principal_of(MembershipFactory()))
    current_request.reset(token)
    exporter.flush()

    assert collector.requests == []


@pytest.mark.django_db
def test_a_collector_that_is_busy_is_asked_again(collector, exporter, django_capture_on_commit_callbacks):
    collector.answers = [(503, {}), (429, {"Retry-After": "0"})]
    with django_capture_on_commit_callbacks(execute=True):
        traced(principal_of(MembershipFactory()))
    time.sleep(0.5)
    exporter.flush()

    assert (len(collector.requests), exporter.sent, exporter.dropped) == (1, 1, 0)


@pytest.mark.django_db
@pytest.mark.parametrize("case", ["refuses", "is away", "is not allowed"])
def test_a_run_is_stored_whatever_the_collector_does(
    case, collector, exporter, settings, django_capture_on_commit_callbacks
):
    collector.answers = [(400, {})]
    if case == "is away":
        collector.server_close()
    if case == "is not allowed":
        settings.OUTBOUND_ALLOW = {}
    with django_capture_on_commit_callbacks(execute=True):
        trace = traced(principal_of(MembershipFactory()))
    exporter.flush()

    assert Trace._unscoped.filter(pk=trace.pk).exists()
    assert (exporter.sent, exporter.dropped) == (0, 1)


def test_a_full_queue_drops_and_never_waits(monkeypatch):
    monkeypatch.setattr(exporting, "QUEUE_TRACES", 3)
    exporter = Exporter()

    began = time.perf_counter()
    for _ in range(10_000):
        exporter.put("trace")

    assert time.perf_counter() - began < 2
    assert (exporter.waiting.qsize(), exporter.dropped) == (3, 9997)


def test_doctor_tries_the_collector(collector, settings):
    assert [one.level for one in findings()] == [Level.OK]
    assert len(collector.requests) == 1

    collector.answers = [(404, {})]
    (found,) = findings()
    assert (found.level, "HTTP 404" in found.detail) == (Level.WARNING, True)
    settings.OTEL_EXPORTER_OTLP_ENDPOINT = ""
    (found,) = findings()
    assert (found.level, "off" in found.detail) == (Level.OK, True)


def test_nothing_of_it_is_imported_without_an_endpoint():
    code = "import sys, django; django.setup(); import magnet.urls; print('opentelemetry.proto' in sys.modules)"
    environment = {"DJANGO_SETTINGS_MODULE": "magnet.settings", "MAGNET_ENV": "test", "PATH": ""}

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=BASE_DIR, env=environment, check=True
    )

    assert done.stdout.strip() == "False"


# --- settings and headers


@pytest.mark.parametrize(
    "text", ["localhost:4318", "ftp://x", "http://", "http://u:p@x:4318", "http://x:0", "http://x?a=b"]
)
def test_a_bad_endpoint_is_refused(text):
    with pytest.raises(SettingError, match="OTEL_EXPORTER_OTLP_ENDPOINT"):
        otlp_endpoint(Environment({"OTEL_EXPORTER_OTLP_ENDPOINT": text}))


def test_endpoint_and_headers_are_read():
    given = {"OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20abc, x-scope = a=b"}

    assert otlp_endpoint(Environment({})) == ""
    assert otlp_endpoint(Environment({"OTEL_EXPORTER_OTLP_ENDPOINT": "https://x/otlp"})) == "https://x/otlp"
    assert otlp_headers(Environment(given)) == {"authorization": "Bearer abc", "x-scope": "a=b"}
    for bad in ("novalue", "a b=c", "a=b%0d%0ax: y"):
        with pytest.raises(SettingError):
            otlp_headers(Environment({"OTEL_EXPORTER_OTLP_HEADERS": bad}))


@pytest.mark.parametrize(
    "header, expected",
    [
        (HEADER, RemoteParent(TRACE, PARENT, True)),
        (HEADER[:-2] + "00", RemoteParent(TRACE, PARENT, False)),
        (f"01-{TRACE}-{PARENT}-01-more", RemoteParent(TRACE, PARENT, True)),
        (f"00-{TRACE}-{PARENT}-01-more", None),
        (f"ff-{TRACE}-{PARENT}-01", None),
        (f"00-{'0' * 32}-{PARENT}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (HEADER.upper(), None),
        ("", None),
        ("x" * 10_000, None),
    ],
)
def test_traceparent_is_read_as_the_recommendation_says(header, expected):
    assert parse(header) == expected
