"""Generated requests to every operation, in each role: none breaks the server, every answer is one that is described.

Schemathesis makes them out of docs/openapi.yaml, the same in each session: the edges of every part of a request, valid
and broken requests at random, and chains of requests, each with what the one before answered.
"""

import os
import re
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from jsonschema.exceptions import ValidationError
from rest_framework.fields import BooleanField
from schemathesis import Case, GenerationMode, Response
from schemathesis.checks import not_a_server_error
from schemathesis.generation.meta import CoverageScenario
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    ensure_resource_availability,
    ignored_auth,
    missing_required_header,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
    use_after_free,
)

from core.access import Role
from magnet.environment import BASE_DIR
from magnet.tests.contract import Described, described, validator
from magnet.tests.fuzz_target import CALLERS, GARBAGE, NOBODY, Place, places
from magnet.tests.scripted_provider import ScriptedProvider

pytestmark = [pytest.mark.exhaustive, pytest.mark.django_db, pytest.mark.timeout(240)]

# How many requests of each operation; the more a caller may, the more there is to try. MAGNET_FUZZ_TIMES=10 tries ten
# times as many, for a quiet night; chains stay as many, as what they leave behind changes what the next ones find.
TIMES = int(os.environ.get("MAGNET_FUZZ_TIMES", "1"))
EXAMPLES = {NOBODY: 1, GARBAGE: 1, Role.USER: 2, Role.VIEWER: 2, Role.OPERATOR: 3, Role.ADMIN: 3}
EDGES = 30
CHAINS, LONGEST_CHAIN = 30, 6
WAIT_SECONDS, STREAM_SECONDS = 30, 3
SPELLINGS_OF_BOOLEANS = BooleanField.TRUE_VALUES | BooleanField.FALSE_VALUES


def refuses_what_is_broken(ctx: Any, response: Response, case: Case) -> bool | None:
    """Schemathesis' check, but for scalars: a number is read as text where text is expected and so on, as DRF does."""
    if response.status_code < 300 and _differs_in_spelling(case):
        return None
    return negative_data_rejection(ctx, response, case)


def _differs_in_spelling(case: Case) -> bool:
    """Whether all that is wrong with the body is `"5"` for 5, 5 for `"5"`, 1 for true, or blanks around a text."""
    schema = BY_LABEL[case.operation.label].request_content.get("application/json", {}).get("schema")
    if schema is None or not isinstance(case.body, dict):
        return False
    errors = list(validator(schema).iter_errors(case.body))
    return bool(errors) and all(_is_spelling(one) for one in errors)


def _is_spelling(error: ValidationError) -> bool:
    value, kinds = error.instance, error.validator_value
    if error.validator in {"anyOf", "oneOf"}:
        return any(_is_spelling(one) for one in error.context or ())
    if error.validator == "maxLength":
        return len(value.strip()) <= kinds
    if error.validator != "type" or isinstance(value, bool | dict | list | None):
        return False
    spelt = {"string": isinstance(value, int | float), "boolean": value in SPELLINGS_OF_BOOLEANS}
    number = re.fullmatch(r"\s*-?\d+(\.\d+)?\s*", str(value)) is not None
    return any(spelt.get(kind, number) for kind in ([kinds] if isinstance(kinds, str) else kinds) if kind != "null")


# The other two that there are do not apply. positive_data_acceptance: a schema does not say which references exist.
# object_level_authorization wants a second caller: test_authorisation.py asks for each row as somebody of elsewhere.
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    refuses_what_is_broken,
]
CHECKS_OF_EDGES = [*CHECKS, ignored_auth, missing_required_header, unsupported_method, allow_header_conformance]
CHECKS_OF_CHAINS = [*CHECKS, use_after_free, ensure_resource_availability]
CONFIG = {
    "generation": {"with-security-parameters": False},
    "checks": {"missing_required_header": {"expected-statuses": ["428"]}},
}


def _runs(operation: Described) -> bool:
    return str(operation.operation["x-magnet-access"]["scope"]).startswith("run")


def _order(operation: Described) -> int:
    """Runs come before what changes their configuration; what is made comes before what is done with it."""
    if _runs(operation):
        return 0
    makes = operation.method == "POST" and operation.path.endswith("/")
    return 1 if makes else ["GET", "PATCH", "PUT", "POST", "DELETE"].index(operation.method) + 2


OPERATIONS = sorted(described(), key=_order)
BY_LABEL = {f"{one.method} {one.path}": one for one in OPERATIONS}
each = pytest.mark.parametrize("operation", OPERATIONS, ids=str)


@pytest.fixture(scope="module")
def schema() -> Any:
    """The description as Schemathesis reads it."""
    return schemathesis.openapi.from_path(
        BASE_DIR / "docs" / "openapi.yaml", config=schemathesis.Config.from_dict(CONFIG)
    )


@pytest.fixture(scope="module")
def all_places(
    django_db_setup: None,
    django_db_blocker: Any,
    tmp_path_factory: pytest.TempPathFactory,
    scripted_server: ScriptedProvider,
) -> Iterator[list[Place]]:
    with (
        django_db_blocker.unblock(),
        places(tmp_path_factory.mktemp("fuzz"), scripted_server, "east", "west", "north") as made,
    ):
        yield made


@pytest.fixture(scope="module")
def east(all_places: list[Place]) -> Place:
    return all_places[0]


@pytest.fixture(scope="module")
def west(all_places: list[Place]) -> Place:
    return all_places[1]


@pytest.fixture(scope="module")
def north(all_places: list[Place]) -> Place:
    return all_places[2]


def _send(case: Case, place: Place, caller: str, checks: list[Any], operation: Described) -> None:
    """Send it as this caller, and hold the answer against the description."""
    options = _options(place, caller, str(operation))
    response = case.call(**options)
    place.count(operation, response.status_code)
    case.validate_response(response, checks=checks, headers=options["headers"], transport_kwargs=options)


def _options(place: Place, caller: str, operation: str) -> dict[str, Any]:
    # A live stream goes on for as long as its job.
    wait = STREAM_SECONDS if operation.endswith("_events") else WAIT_SECONDS
    return {
        "base_url": place.address,
        "session": place.session,
        "headers": place.headers(caller),
        "timeout": wait,
    }


def _about(case: Case) -> str:
    """The part of the request that this case is about, `body`, `header`; "" of one that is about the whole."""
    assert case.meta is not None
    location = getattr(case.meta.phase.data, "parameter_location", None)
    return location.value if location else ""


def _let_through(case: Case, operation: Described) -> None:
    """Headers that say which version is meant, and whose workspace, are right where the case is about another part."""
    if _about(case) == "header":
        return
    case.headers.pop("X-Workspace", None)
    if any(one["name"] == "If-Match" for one in operation.parameters):
        case.headers["If-Match"] = "*"


STILL = settings(
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


# --- the edges of each part


def _edges(schema: Any, operation: Described) -> list[Case]:
    """The smallest, largest, missing and wrong values of each part; first what is missing, as the rest may delete."""
    one = schema[operation.path][operation.method]
    valid, broken = (
        list(schema.iter_coverage_cases(one, generation_modes=[mode], generation_config=schema.config.generation))
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    )
    step = max(1, (len(valid) + len(broken)) // EDGES)
    broken.sort(key=lambda case: case.meta.phase.data.scenario != CoverageScenario.MISSING_PARAMETER)
    return [*broken[::step], *valid[::step]]


@each
def test_the_edges(operation: Described, schema: Any, east: Place) -> None:
    for case in _edges(schema, operation):
        if _about(case) != "path":
            case.path_parameters = east.values(operation)
        _let_through(case, operation)
        _send(case, east, Role.ADMIN, CHECKS_OF_EDGES, operation)


# --- at random


def _requests(schema: Any, place: Place, operation: Described) -> st.SearchStrategy[Case]:
    """Valid and broken ones, most of them to a row that exists."""
    one = schema[operation.path][operation.method]
    values = place.values(operation)
    return st.one_of(
        one.as_strategy(generation_mode=mode, path_parameters=values) for mode in GenerationMode for _ in "12"
    ) | one.as_strategy(generation_mode=GenerationMode.POSITIVE)


def _as_shown(schema: Any, place: Place, operation: Described) -> Case:
    """The example of the description, to a row that exists: what can succeed does so at least once."""
    content = operation.request_content
    form = "application/json" if "application/json" in content else next(iter(content), None)
    body = {"body": content[form]["example"], "media_type": form} if form and "example" in content[form] else {}
    return schema[operation.path][operation.method].Case(path_parameters=place.values(operation), **body)


@pytest.mark.parametrize("caller", CALLERS)
@each
def test_what_a_schema_generates(operation: Described, caller: str, schema: Any, west: Place) -> None:
    @settings(STILL, max_examples=EXAMPLES[caller] * TIMES)
    @given(_requests(schema, west, operation))
    def answers_as_described(case: Case) -> None:
        _let_through(case, operation)
        _send(case, west, caller, CHECKS, operation)

    first = _as_shown(schema, west, operation)
    if "If-Match" in str(operation.parameters):
        first.headers["If-Match"] = "*"
    _send(first, west, caller, CHECKS, operation)
    answers_as_described()


# --- chains


def test_chains(schema: Any, north: Place) -> None:
    """Failures are collected, as a chain that is played again would be another: its rows are there by then."""
    failures = []

    class Chain(schema.as_state_machine()):  # type: ignore[misc]  # made at run time
        def before_call(self, case: Case) -> None:
            _let_through(case, BY_LABEL[case.operation.label])

        def get_call_kwargs(self, case: Case) -> dict[str, Any]:
            return _options(north, Role.ADMIN, str(BY_LABEL[case.operation.label]))

        def validate_response(self, response: Response, case: Case, **_: Any) -> None:
            operation, options = BY_LABEL[case.operation.label], self.get_call_kwargs(case)
            north.count(operation, response.status_code)
            try:
                case.validate_response(
                    response, checks=CHECKS_OF_CHAINS, transport_kwargs=options, recorder=self.recorder
                )
            except BaseExceptionGroup as error:
                failures.extend(error.exceptions)

    Chain.run(settings=settings(STILL, max_examples=CHAINS, stateful_step_count=LONGEST_CHAIN))

    assert not failures, "\n\n".join(str(one) for one in failures[:10])
    assert len([operation for operation, told in north.answered.items() if any(one < 300 for one in told)]) > 15


# --- afterwards

# A guess locks the login, as it should, and a workspace is a superuser's to make: test_examples.py does both.
NEVER = {"session_create", "workspaces_create"}


@pytest.mark.parametrize("operation", [one for one in OPERATIONS if str(one) not in NEVER], ids=str)
def test_it_succeeded_for_somebody(operation: Described, east: Place, west: Place) -> None:
    """Else nothing behind its checks of the input was tried."""
    answered = east.answered[str(operation)] + west.answered[str(operation)]

    assert any(status < 300 for status in answered), answered


def test_the_process_lives(east: Place) -> None:
    answer = east.session.get(f"{east.address}/health/ready", timeout=WAIT_SECONDS)

    assert answer.status_code == 200, answer.text
