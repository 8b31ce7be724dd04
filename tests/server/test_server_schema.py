"""schemathesis asks what the OpenAPI schema allows and what it does not: never a 5xx."""

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from server_doubles import gateway

PHASES = (Phase.explicit, Phase.generate)
PATHS = (
    "/v1/chat/completions",
    "/v1/messages",
    "/v1/completions",
    "/v1/moderations",
    "/v1/decisions",
    "/v1/models",
    "/healthz",
    "/readyz",
    "/metrics",
    "/v1/admin/reload",
)


@pytest.fixture(scope="module")
def schema(upstream):
    with gateway(upstream) as running:
        yield schemathesis.openapi.from_url(running.url + "/openapi.json")


def ask_everything(schema, path, examples):
    methods = [found.ok() for found in schema.get_all_operations() if found.ok().path == path]
    assert methods, f"{path} is not in the schema"
    for operation in methods:

        @settings(
            max_examples=examples,
            deadline=None,
            phases=PHASES,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def check(case):
            response = case.call()
            assert response.status_code < 500, (response.status_code, response.text)
            if response.status_code >= 400:
                assert "error" in response.json()

        check()


@pytest.mark.parametrize("path", PATHS)
def test_no_request_is_answered_by_a_5xx(schema, path):
    ask_everything(schema, path, 5)


@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS)
def test_no_request_is_answered_by_a_5xx_however_long_one_looks(schema, path):
    ask_everything(schema, path, 300)


def test_the_schema_has_nothing_that_is_not_asked(schema):
    console = ("/console", "/login", "/logout")
    found = {each.ok().path for each in schema.get_all_operations()}
    assert {path for path in found if not path.startswith(console)} == set(PATHS)
