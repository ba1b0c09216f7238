"""A login between the hooks: what authorize leaves for post_auth, what each of them answers."""

from typing import NamedTuple

from herotill.decision import LoginRequest
from herotill.journal import LoginRecord
from herotill.reasons import Reason
from herotill.snapshot import AccountSnapshot
from rlm_herotill.attributes import AccessRequest, ReplyPair, login_request


class Login(NamedTuple):
    """A login between authorize and post_auth; `snapshot` is None for an unknown user."""

    request: LoginRequest
    called_station_id: str
    snapshot: AccountSnapshot | None
    is_from_memory: bool
    is_in_outage: bool = False
    is_accepted: bool = False
    is_made_to_wait: bool = False
    is_unsigned: bool = False


class Found(NamedTuple):
    """authorize's answer: the known good passwords, and by what mark post-auth finds this login again.

    `reply` is the Accept, where nothing is to be committed first; it holds if the password is right.
    """

    passwords: tuple[ReplyPair, ...]
    mark: ReplyPair
    is_known: bool
    reply: tuple[ReplyPair, ...] = ()


class Answer(NamedTuple):
    """post_auth's answer; None as `accepted` means it was given before."""

    accepted: bool | None
    reply: tuple[ReplyPair, ...]


def reason_of_rejection(login: Login) -> Reason:
    """Return why FreeRADIUS refused this login, where not we did."""
    if login.is_made_to_wait:
        return Reason.TOO_MANY_FAILURES
    if login.is_accepted or login.snapshot is not None:
        return Reason.BAD_CREDENTIALS
    return Reason.UNAVAILABLE if login.is_in_outage else Reason.UNKNOWN_USER


def accepted_before(access: AccessRequest) -> Login:
    """Return the login that authorize accepted: what it needs to be taken back is in the request still."""
    request = login_request(access)._replace(login_id=access.login_id)
    return login_under_way(access, request, None, is_from_memory=True)._replace(is_accepted=True)


def ordinary_accept(access: AccessRequest, login_id: str) -> LoginRecord:
    """Return what is journalled of a login that is answered at once."""
    return LoginRecord(
        access.username,
        True,
        Reason.ACCEPTED,
        login_id,
        access.calling_station_id,
        access.called_station_id,
        False,
        access.is_unsigned,
    )


def stranger(access: AccessRequest) -> Login:
    """Return the login of somebody of whom nothing is known."""
    return login_under_way(access, login_request(access), None, is_from_memory=False)


def login_under_way(
    access: AccessRequest, request: LoginRequest, snapshot: AccountSnapshot | None, *, is_from_memory: bool
) -> Login:
    """Return the login this request begins."""
    return Login(request, access.called_station_id, snapshot, is_from_memory, is_unsigned=access.is_unsigned)
