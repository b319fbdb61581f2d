import asyncio
import json
from types import SimpleNamespace

import pytest
from mlflow.exceptions import MlflowException

from ich_mlflow.serving.refusal import BAD_PARAMS, BAD_REQUEST, NOT_JSON, Refusal, plain_line, refuse_plainly


@pytest.mark.parametrize(
    ("mlflows", "ours"),
    [
        (
            "Invalid input. Ensure that input is a valid JSON formatted string. Error: 'x'\nInput: b'DOE'",
            NOT_JSON,
        ),
        (
            "Failed to predict data 'DOE^JANE'. \nError: Invalid parameters found: {('explain', 'x')}",
            BAD_PARAMS,
        ),
        ("Failed to predict data 'DOE^JANE'. \nError: Failed to enforce schema of DOE", BAD_REQUEST),
        ("The input must be a JSON dictionary with exactly one of the input fields", BAD_REQUEST),
    ],
)
def test_what_mlflow_says_with_the_data_in_it_becomes_one_line_without(mlflows, ours):
    assert plain_line(MlflowException(mlflows)) == ours


def test_mlflow_can_not_put_the_data_into_a_refusal():
    refusal = Refusal("row 0: no")
    refusal.message = "Failed to predict data 'DOE^JANE'"
    assert json.loads(refusal.serialize_as_json())["message"] == "row 0: no"
    assert refusal.get_http_status_code() == 400


def test_the_servers_handlers_refuse_plainly_once_and_for_all():
    def theirs(handler):
        async def wrapper(*args):
            try:
                return await handler(*args)
            except MlflowException as error:
                return error.message

        return wrapper

    server = SimpleNamespace(_async_catch_mlflow_exception=theirs)
    refuse_plainly(server)
    first = server._async_catch_mlflow_exception
    refuse_plainly(server)
    assert server._async_catch_mlflow_exception is first

    async def fails(request):
        raise request.error

    handler = first(fails)

    def said_of(error):
        return asyncio.run(handler(request(error)))

    assert said_of(MlflowException("Failed with DOE^JANE")) == BAD_REQUEST
    assert said_of(Refusal("row 3: no")) == "row 3: no"
    assert said_of(RecursionError("DOE^JANE")) == BAD_REQUEST
    assert said_of(OSError("DOE^JANE")) == "the server failed (OSError); its log says more"


def request(error):
    """An empty one, whose handler raises that."""

    async def nothing():
        return
        yield

    return SimpleNamespace(headers={"content-type": "application/json"}, stream=nothing, error=error)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"inputs": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "the body is nested too deeply"),
        (b'{"inputs": {"pixels": [[[' + b"7" * 5000 + b"]]]}}", NOT_JSON),
    ],
)
def test_what_json_itself_stumbles_over_is_a_refusal(body, said):
    from mlflow.pyfunc import scoring_server

    server = SimpleNamespace(
        _async_catch_mlflow_exception=lambda handler: handler,
        _parse_json_data=scoring_server._parse_json_data,
    )
    refuse_plainly(server)
    with pytest.raises(Refusal) as refusal:
        server._parse_json_data(body, None, None)
    assert refusal.value.message == said


def test_a_server_of_another_mlflow_is_left_as_it_is():
    server = SimpleNamespace()
    refuse_plainly(server)
    assert not vars(server)
