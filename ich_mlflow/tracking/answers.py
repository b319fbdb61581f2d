"""What a tracking server says: that something is not there, or nothing that can be relied on."""

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from ich_mlflow.errors import PromotionError, first_line

#: Of a model, a version, a run. An alias that is not there, and a run in the bin, are invalid values, by MLflow.
_ABSENT, _INVALID = ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"), "INVALID_PARAMETER_VALUE"
_DENIED = "PERMISSION_DENIED"


def expect_absent(error: MlflowException, model_name: str = "") -> None:
    """Return where the error says that what was asked for is not there. Raises PromotionError for any other.

    A server that is busy or refuses says nothing about what it holds: `no champion` must not be read from a 503.
    model_name: of the registered model that was asked about. A server with users denies what is not there, too: then
    its list decides, since nobody can register under a name that is kept from them.
    """
    if error.error_code == _DENIED and model_name and not _is_listed(model_name):
        return
    said = str(error.message).lower()
    invalid = error.error_code == _INVALID
    absent = error.error_code in _ABSENT or (invalid and ("not found" in said or "state is deleted" in said))
    if not absent:
        raise PromotionError(
            f"the model registry gives no answer that can be relied on ({first_line(error)}): nothing was decided, try "
            "again when it answers"
        ) from None


def _is_listed(model_name: str) -> bool:
    """Whether the registry lists the model for this user."""
    try:
        return bool(MlflowClient().search_registered_models(f"name = '{model_name}'"))
    except MlflowException:
        return True  # nobody knows
