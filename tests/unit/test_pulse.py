"""A worker is alive while every thread of it looks whether it is to stop."""

import threading
import time

from sync_daemon.supervision.pulse import Pulse


def test_whoever_looks_or_waits_has_beaten_and_silence_has_not() -> None:
    pulse = Pulse()
    assert not pulse.has_beaten()
    pulse.is_set()
    assert pulse.has_beaten()
    assert not pulse.has_beaten()
    pulse.wait(0.0)
    assert pulse.has_beaten()


def test_one_thread_that_hangs_is_enough_and_one_that_has_ended_is_not_waited_for() -> None:
    pulse, is_to_end = Pulse(), threading.Event()

    def hang() -> None:
        pulse.is_set()
        is_to_end.wait()

    thread = threading.Thread(target=hang)
    thread.start()
    deadline = time.monotonic() + 10
    while not pulse.has_beaten():
        pulse.is_set()
        assert time.monotonic() < deadline
    while pulse.has_beaten():  # the thread may have come after the last time
        pulse.is_set()

    for _ in range(3):
        pulse.is_set()
        assert not pulse.has_beaten()
    is_to_end.set()
    thread.join()
    pulse.is_set()
    assert pulse.has_beaten()


def test_a_wait_beats_all_the_while_and_ends_when_told() -> None:
    pulse = Pulse()
    thread = threading.Thread(target=pulse.wait)
    thread.start()
    for _ in range(2):
        deadline = time.monotonic() + 10
        while not pulse.has_beaten():
            pulse.is_set()
            assert time.monotonic() < deadline
            time.sleep(0.01)
    pulse.set()
    thread.join(10)
    assert not thread.is_alive()
    assert pulse.wait()


def test_a_wait_ends_at_its_time() -> None:
    pulse = Pulse()
    began = time.monotonic()
    assert not pulse.wait(0.05)
    assert time.monotonic() - began >= 0.05
