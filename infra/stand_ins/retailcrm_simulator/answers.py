"""The answers of RetailCRM: statuses, forms and texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

KEY_MISSING = '"apiKey" is missing.'
KEY_WRONG = 'Wrong "apiKey" value.'
ACCESS_DENIED = "Access denied."
ENTITY_ERRORS = "Errors in the entity format"
INPUT_ERRORS = "Errors in the input parameters"
NOT_FOUND = "Not found"
METHOD_NOT_FOUND = "API method not found"
METHOD_NOT_ALLOWED = "Method Not Allowed"
RATE_LIMIT = "Rate limit exceeded"
UNAVAILABLE = "Service temporary unavailable"
TELEPHONY_OFF = "Telephony not enabled"
UPLOAD_OFF = "Telephony not enabled or not supports calls upload"
NOT_PAID = "Payment required"
NO_ACCOUNT = "Account does not exist."
NO_SIMPLE_CONNECTION = "Not enabled simple connection"

BLANK = "This value should not be blank"
INVALID = "This value is not valid"
NOT_A_CHOICE = "The value you selected is not a valid choice."


PAGE = "<html>\r\n<head><title>{0}</title></head>\r\n<body>\r\n<center><h1>{0}</h1></center>\r\n<hr>\
<center>nginx</center>\r\n</body>\r\n</html>\r\n"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """`page`: HTML in the place of the JSON."""

    status: int
    body: Mapping[str, object] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    page: str | None = None


def success(content: Mapping[str, object] | None = None, *, status: int = 200) -> Answer:
    return Answer(status=status, body={"success": True, **(content or {})})


def refusal(status: int, message: str, errors: Mapping[str, str] | Sequence[str] | None = None) -> Answer:
    body: dict[str, object] = {"success": False, "errorMsg": message}
    if errors:
        body["errors"] = errors
    return Answer(status=status, body=body)


def parameter_missing(name: str) -> Answer:
    return refusal(400, f"Parameter '{name}' is missing")


def non_scalar(name: str) -> Answer:
    return refusal(400, f'Input value "{name}" contains a non-scalar value')
