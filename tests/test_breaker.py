"""A server that did not answer is left alone for a moment, then asked by one caller."""

from __future__ import annotations

from memchunk.breaker import PAUSE_SECONDS, Breaker

TRY = 7.0


def test_a_closed_one_admits_everybody() -> None:
    breaker = Breaker(try_seconds=TRY)
    assert all(breaker.admits(now) for now in (0.0, 0.0, 100.0))
    assert not breaker.is_open


def test_after_a_failure_nobody_is_admitted_for_a_moment() -> None:
    breaker = Breaker(try_seconds=TRY)
    breaker.failed(100.0, "it was away")
    assert breaker.is_open
    assert breaker.reason == "it was away"
    assert not breaker.admits(100.0)
    assert not breaker.admits(100.0 + 0.99 * PAUSE_SECONDS)


def test_after_the_pause_one_tries_while_the_others_still_fail() -> None:
    breaker = Breaker(try_seconds=TRY)
    breaker.failed(100.0, "it was away")
    now = 100.0 + PAUSE_SECONDS
    assert breaker.admits(now)
    assert not breaker.admits(now)
    assert not breaker.admits(now + 0.99 * TRY)
    assert breaker.is_open


def test_whoever_tries_and_says_nothing_more_is_followed_by_the_next() -> None:
    breaker = Breaker(try_seconds=TRY)
    breaker.failed(100.0, "it was away")
    assert breaker.admits(101.0)
    assert breaker.admits(101.0 + TRY)
    assert not breaker.admits(101.0 + TRY)


def test_a_try_that_fails_begins_another_pause() -> None:
    breaker = Breaker(try_seconds=TRY)
    breaker.failed(100.0, "it was away")
    assert breaker.admits(101.0)
    breaker.failed(102.0, "it is still away")
    assert not breaker.admits(102.0)
    assert breaker.admits(102.0 + PAUSE_SECONDS)
    assert breaker.reason == "it is still away"


def test_an_answer_closes_it() -> None:
    breaker = Breaker(try_seconds=TRY)
    breaker.failed(100.0, "it was away")
    breaker.answered()
    assert not breaker.is_open
    assert breaker.admits(100.0)
    assert breaker.admits(100.0)
