"""What the server says to a request that can't be answered: one line that repeats nothing of it.

MLflow's scoring server puts the request's data, parser positions or a traceback into its own messages. Pixels and names
of patients don't belong into the log of whoever sent them.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import wraps
from types import ModuleType
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, INVALID_PARAMETER_VALUE

from ich_mlflow.errors import nearest
from ich_mlflow.serving.gate import Gate

_logger = logging.getLogger(__name__)
NOT_JSON = "the body is not JSON, or not UTF-8"
BAD_PARAMS = (
    "params has a value of the wrong type: operating_point, aggregate and on_error are text, "
    "explain is true or false"
)
BAD_REQUEST = (
    "the request can't be read: expected JSON with one of dataframe_split, dataframe_records or inputs, and in it a "
    "column dicom (base64) or pixels (lists of numbers)"
)


class Refusal(MlflowException):
    """A request that is not answered, HTTP status 400. Its one line stays as it is: MLflow adds the data to others.

    is_ours: nothing is wrong with the request, status 500.
    """

    def __init__(self, line: str, *, is_ours: bool = False) -> None:
        self._line = line
        super().__init__(line, error_code=INTERNAL_ERROR if is_ours else INVALID_PARAMETER_VALUE)

    @property
    def message(self) -> str:
        """The line."""
        return self._line

    @message.setter
    def message(self, value: str) -> None:
        """MLflow's scoring server sets `Failed to predict data '<the data>'`: not taken."""


def plain_line(error: MlflowException) -> str:
    """The line that is said for an error that MLflow itself raised."""
    said = str(error.message).rpartition("\nError: ")[2] or str(error.message)
    if "valid JSON formatted" in said or "UTF-8" in said:
        return NOT_JSON
    if said.startswith(("Invalid parameters", "Parameters must")):
        return BAD_PARAMS
    return BAD_REQUEST


def refuse_plainly(scoring_server: ModuleType) -> None:
    """Let MLflow's scoring server answer every error in one line, behind a Gate. To be called before it makes its app.

    It wraps its handlers with a function of this name; where another MLflow has none, its own messages stay.
    """
    theirs = getattr(scoring_server, "_async_catch_mlflow_exception", None)
    if theirs is None or getattr(theirs, "is_plain", False):
        return

    def catch(handler: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        gate = Gate()

        @wraps(handler)
        async def plain(request: Any) -> Any:
            try:
                return await gate.answer(request, handler)
            except Refusal:
                raise
            except MlflowException as error:
                raise Refusal(plain_line(error)) from None
            except (ValueError, RecursionError, MemoryError):  # of the body's parser
                raise Refusal(BAD_REQUEST) from None
            except Exception as error:
                _logger.exception("a request was not answered")
                raise Refusal(
                    f"the server failed ({type(error).__name__}); its log says more", is_ours=True
                ) from None

        return theirs(plain)

    catch.is_plain = True  # type: ignore[attr-defined]
    vars(scoring_server)["_async_catch_mlflow_exception"] = catch
    parse = getattr(scoring_server, "_parse_json_data", None)
    if parse is not None:
        decode = getattr(scoring_server, "_decode_json_input", lambda body: body)
        vars(scoring_server)["_parse_json_data"] = _strictly(parse, decode)


def _strictly(parse: Callable[..., Any], decode: Callable[[Any], Any]) -> Callable[..., Any]:
    """MLflow's parser of a JSON body, which leaves out params and columns that the signature does not have.

    A misspelt one would be answered as if it had not been said. The body is decoded here: MLflow would do it twice.
    """

    @wraps(parse)
    def strict(data: Any, metadata: Any, input_schema: Any) -> Any:
        try:
            parsed = parse(decode(data), metadata, input_schema)
        except RecursionError:
            raise Refusal("the body is nested too deeply") from None
        except ValueError:  # an integer of thousands of digits
            raise Refusal(NOT_JSON) from None
        params_schema = metadata.get_params_schema() if metadata is not None else None
        if isinstance(parsed.params, dict) and params_schema is not None:
            expect_known("params", parsed.params, [one.name for one in params_schema])
        columns = getattr(parsed.data, "columns", parsed.data if isinstance(parsed.data, dict) else ())
        if input_schema is not None and input_schema.has_input_names():
            expect_known("columns", list(columns), input_schema.input_names())
        return parsed

    return strict


def expect_known(what: str, said: Iterable[Any], known: Sequence[str]) -> None:
    """Raise Refusal for a name that is none of the known ones. It repeats none that is not nearly one of them."""
    for name in said:
        if name in known:
            continue
        meant = nearest(str(name)[:80], known)
        raise Refusal(f"{what}: one of them is not known{meant}, expected {', '.join(known)}")
