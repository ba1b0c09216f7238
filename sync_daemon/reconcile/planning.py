"""A plan: every difference in order, how many it would cut off, and the brake (rule R30)."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from herotill.errors import Refused
from herotill.reconciling import Change, Phase
from herotill.typed_writer import misread_because
from sync_daemon.reconcile.comparing import Databases, compare_all, compare_names, read_changes
from sync_daemon.reconcile.relations import BY_NAME, Scope

_ATTRIBUTES = ("radcheck", "radreply", "radgroupcheck", "radgroupreply")
_COUNT_ACTIVE = "SELECT count(*) FROM radius.managed_account WHERE status = 'active'"
_COUNT_SESSIONS = "SELECT count(*) FROM radius.session WHERE stopped_at IS NULL AND username = ANY(%s)"


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A row the books want that FreeRADIUS would misread; it is not written."""

    change: Change
    why: str

    def __str__(self) -> str:
        """Name the row and what is wrong with it."""
        after = self.change.after or {}
        return f"{self.change.relation} {self.change.name}: {self.change.item} {after.get('op')}: {self.why}"


@dataclass(slots=True)
class Survey:
    """What there is to do, by names only: a million of them fit."""

    names: dict[tuple[Phase, Scope], set[str]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    cut_off: set[str] = field(default_factory=set)
    refused: list[RefusedRow] = field(default_factory=list)
    active_accounts: int = 0
    live_sessions: int = 0

    @property
    def changes(self) -> int:
        """How many rows differ."""
        return sum(self.counts.values())

    @property
    def share_cut_off(self) -> float:
        """Which share of the accounts that may log in now would not be let in any more, from 0 to 1."""
        return len(self.cut_off) / max(self.active_accounts, len(self.cut_off), 1)

    def note(self, change: Change) -> None:
        """Count a change."""
        self.counts[change.relation] += 1
        self.names.setdefault((change.phase, BY_NAME[change.relation].scope), set()).add(change.name)
        if change.cuts_off:
            self.cut_off.add(change.name)


def survey(databases: Databases) -> Survey:
    """Find everything there is to do, without keeping it. Leaves both connections without a transaction."""
    compare_all(databases)
    return _surveyed(databases, lambda _: None)


def survey_names(databases: Databases, scope: Scope, names: Sequence[str]) -> Survey:
    """Find what there is to do for some names."""
    _compare_names(databases, scope, names)
    return _surveyed(databases, lambda _: None)


def plan(databases: Databases, username: str | None = None) -> tuple[list[Change], Survey]:
    """Return every change, or those of one user, in the order they are applied in, and the survey of them."""
    changes: list[Change] = []
    if username is None:
        compare_all(databases)
    else:
        _compare_names(databases, Scope.ACCOUNT, [username])
    found = _surveyed(databases, changes.extend)
    return sorted(changes, key=lambda change: change.order), found


def _compare_names(databases: Databases, scope: Scope, names: Sequence[str]) -> None:
    databases.books.rollback()
    databases.radius.rollback()
    databases.share_snapshot()
    compare_names(databases, scope, names)


def _surveyed(databases: Databases, keep: Callable[[list[Change]], None]) -> Survey:
    found = Survey()
    for page in read_changes(databases):
        good, refused = sorted_out(page)
        keep(good)
        found.refused.extend(refused)
        for change in good:
            found.note(change)
    _look_at_the_living(databases, found)
    return found


def sorted_out(changes: list[Change]) -> tuple[list[Change], list[RefusedRow]]:
    """Part what may be written from what FreeRADIUS would misread."""
    good, refused = [], []
    for change in changes:
        why = _misread(change)
        if why is None:
            good.append(change)
        else:
            refused.append(RefusedRow(change, why))
    return good, refused


def check_brake(found: Survey, max_cut_off_percent: float) -> None:
    """Raise Refused where too large a share would be cut off."""
    percent = found.share_cut_off * 100
    if percent <= max_cut_off_percent:
        return
    # Rounded up, so that what is said is enough.
    enough = -int(-percent // 1)
    raise Refused(
        f"{len(found.cut_off)} of {found.active_accounts} accounts would be cut off ({percent:.1f} %, allowed are "
        f"{max_cut_off_percent:g} %); nothing was changed. Look at `herotill sync plan`; if it is right, "
        f"`herotill sync apply --max-cut-off {enough}%`",
        "R30",
    )


def _misread(change: Change) -> str | None:
    if change.relation not in _ATTRIBUTES or change.after is None:
        return None
    return misread_because(change.relation, change.item, change.after["op"], change.after["value"])


def _look_at_the_living(databases: Databases, found: Survey) -> None:
    if found.cut_off:
        with databases.radius.cursor() as cursor:
            cursor.execute(_COUNT_ACTIVE)
            (found.active_accounts,) = cursor.fetchone() or (0,)
            cursor.execute(_COUNT_SESSIONS, (sorted(found.cut_off),))
            (found.live_sessions,) = cursor.fetchone() or (0,)
    databases.radius.rollback()
    databases.books.rollback()
