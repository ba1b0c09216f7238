"""The words for Error-Cause values (RFC 5176 §3.5, RFC 6929, IANA radius-types 101)."""

from collections.abc import Mapping
from types import MappingProxyType

RESIDUAL_CONTEXT_REMOVED = 201
UNSUPPORTED_ATTRIBUTE = 401
MISSING_ATTRIBUTE = 402
NAS_MISMATCH = 403
INVALID_REQUEST = 404
UNSUPPORTED_SERVICE = 405
UNSUPPORTED_EXTENSION = 406
INVALID_VALUE = 407
NOT_ROUTABLE = 502
CONTEXT_NOT_FOUND = 503
PROXY_ERROR = 505
RESOURCES_UNAVAILABLE = 506
REQUEST_INITIATED = 507
SEVERAL_SESSIONS = 508

ERROR_CAUSES: Mapping[int, str] = MappingProxyType(
    {
        201: "residual session context removed",
        202: "invalid EAP packet",
        401: "unsupported attribute",
        402: "missing attribute",
        403: "NAS identification mismatch",
        404: "invalid request",
        405: "unsupported service",
        406: "unsupported extension",
        407: "invalid attribute value",
        501: "administratively prohibited",
        502: "request not routable",
        503: "session context not found",
        504: "session context not removable",
        505: "other proxy processing error",
        506: "resources unavailable",
        507: "request initiated",
        508: "multiple session selection unsupported",
        509: "location information required",
        601: "response too big",
    }
)


def describe_error_cause(error_cause: int | None) -> str:
    """Say an Error-Cause in words with its number, or that the NAS gave none."""
    if error_cause is None:
        return "no Error-Cause given"
    return f"{ERROR_CAUSES.get(error_cause, 'unknown cause')} (Error-Cause {error_cause})"
