"""The functions FreeRADIUS calls: mods-available/herotill names this module.

rlm_python3 runs one hook at a time and calls no hook for what it cannot decode. A negative return code kills the server, so
hooks return only RLM_MODULE codes, whatever happens. `instantiate` runs twice at every start (`-C`) and has no side effects.
"""

import gc
import os
import time
import traceback
from dataclasses import dataclass
from typing import Any

import radiusd

from herotill.dialect import use_dialects
from herotill.journal import encode_accounting
from rlm_herotill.attributes import (
    MESSAGE_AUTHENTICATOR,
    SOURCE,
    Pairs,
    escape,
    last,
    parse_access_request,
)
from rlm_herotill.journal import JournalWriter
from rlm_herotill.login import LoginDesk
from rlm_herotill.settings import PacketTimeSettings, settings_from_config
from rlm_herotill.store import SnapshotStore
from rlm_herotill.under_way import Answer

Result = int | tuple[int, tuple[Any, ...], tuple[Any, ...]] | tuple[int, dict[str, Any]]

COMPLAINT_INTERVAL_SECONDS = 1.0


@dataclass(slots=True)
class _Node:
    """What this server process holds."""

    settings: PacketTimeSettings
    store: SnapshotStore
    journal: JournalWriter
    desk: LoginDesk


_node: _Node | None = None
_complained_at: dict[str, float] = {}


def instantiate(_pairs: object) -> int:
    """Read the configuration; FreeRADIUS does not start where it is wrong."""
    global _node  # noqa: PLW0603 - rlm_python3 has no other place for state
    # Tens of thousands of snapshots live here, without cycles: looking through them for cycles would stall logins.
    gc.set_threshold(100_000, 50, 100)
    try:
        settings = settings_from_config(radiusd.config)
        use_dialects(settings.dialects_directory)
        store = SnapshotStore(settings, _complain)
        journal = JournalWriter(settings.journal_directory, settings.fdatasync)
        _node = _Node(settings, store, journal, LoginDesk(store, journal, settings, _complain))
    except Exception as error:
        radiusd.radlog(radiusd.L_ERR, f"herotill: {error}")
        return -1
    return 0


def authorize(pairs: Pairs | None) -> Result:
    """Find the account and hand over its password; answer for dynamic clients too, marked by unlang."""
    try:
        return _authorize(_running(), pairs or ())
    except Exception:
        _complain_of_bug("authorize")
    return radiusd.RLM_MODULE_FAIL, (MESSAGE_AUTHENTICATOR,), ()


def _authorize(node: _Node, pairs: Pairs) -> Result:
    access = parse_access_request(pairs)
    if access.section == "dynamic-client":
        return _dynamic_client(node, access.source)
    if access.section == "status":
        return radiusd.RLM_MODULE_OK  # a health check: that we are asked and answer is what it wants to know
    found = node.desk.authorize(access)
    # Message-Authenticator is in the reply already, first: sites-available/herotill puts it there.
    return (
        (radiusd.RLM_MODULE_OK if found.is_known else radiusd.RLM_MODULE_NOTFOUND),
        found.reply,
        (*found.passwords, found.mark),
    )


def _dynamic_client(node: _Node, address: str) -> Result:
    """Answer from memory whether this source is one of our NASes (sites-available/herotill-clients)."""
    nas = node.store.nases.find(address)
    if nas is None:
        _complain(
            f"a packet from {address or 'an unknown address'}: no NAS with that address; see herotill nas add"
        )
        return radiusd.RLM_MODULE_NOTFOUND
    attribute = "FreeRADIUS-Client-IPv6-Address" if ":" in address else "FreeRADIUS-Client-IP-Address"
    return (
        radiusd.RLM_MODULE_UPDATED,
        (),
        (
            (attribute, ":=", address),
            ("FreeRADIUS-Client-Secret", ":=", escape(nas.secret)),
            ("FreeRADIUS-Client-Shortname", ":=", escape(nas.shortname)),
            ("FreeRADIUS-Client-NAS-Type", ":=", escape(nas.nas_type)),
        ),
    )


def post_auth(pairs: Pairs | None) -> Result:
    """Decide after authentication; in Post-Auth-Type REJECT, say why."""
    try:
        return _post_auth(_running(), pairs or ())
    except Exception:
        _complain_of_bug("post_auth")
        return radiusd.RLM_MODULE_FAIL


def _post_auth(node: _Node, pairs: Pairs) -> Result:
    access = parse_access_request(pairs)
    if access.section == "reject":
        return radiusd.RLM_MODULE_UPDATED, node.desk.rejected(access).reply, ()
    answer: Answer = node.desk.authenticated(access)
    return (radiusd.RLM_MODULE_OK if answer.accepted else radiusd.RLM_MODULE_REJECT), answer.reply, ()


def accounting(pairs: Pairs | None) -> Result:
    """Journal the packet; only then is it answered (RFC 2866 §2)."""
    try:
        node = _running()
        packet = pairs or ()
        nas_address = last(packet, SOURCE)
        received_at_us = time.time_ns() // 1000
        position = node.journal.append(encode_accounting(received_at_us, nas_address, packet))
        node.store.note_accounting(position, received_at_us, nas_address, packet)
    except OSError as error:
        _complain(f"the journal cannot be written, so the NAS is not answered and will send again: {error}")
        return radiusd.RLM_MODULE_FAIL
    except Exception:
        _complain_of_bug("accounting")
        return radiusd.RLM_MODULE_FAIL
    return radiusd.RLM_MODULE_OK


def detach(_pairs: object = None) -> int:
    """Stop our threads, flush the journal, and leave before a server older than 3.2.7 aborts."""
    if _node is None:
        return 0
    _node.store.stop()
    _node.journal.close()
    if _node.settings.exit_in_detach:
        os._exit(0)
    return 0


def _running() -> _Node:
    if _node is None:
        raise RuntimeError("instantiate has not run")
    _node.store.start()
    return _node


def _complain(sentence: str) -> None:
    """Log an error, but the same one at most once a second: a flood of packets must not become a flood of lines."""
    now = time.monotonic()
    if now - _complained_at.get(sentence, 0.0) >= COMPLAINT_INTERVAL_SECONDS:
        if len(_complained_at) > 1000:
            _complained_at.clear()
        _complained_at[sentence] = now
        radiusd.radlog(radiusd.L_ERR, f"herotill: {sentence}")


def _complain_of_bug(hook: str) -> None:
    _complain(f"{hook} failed, please report this: {traceback.format_exc()}")
