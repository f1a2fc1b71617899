"""
A small TAP harness

A test is a function with a sentence for a name, marked with @test; main() runs the tests of a file
in the order in which they stand, each under a deadline, and prints TAP. A test passes only if it
returned and checked something: one that asserted nothing has failed. A failing test shows its
traceback as comments and the others go on.

    from tap import equal, main, test

    @test
    def a_late_answer_reaches_nobody():
        equal(client.call(request).code, 0, "the code of the answer")

    main()

Nothing here sleeps for luck: wait_until() looks again every few milliseconds until its predicate
holds.
"""

import os
import signal
import sys
import time
import traceback

DEADLINE_SECONDS = 60
# Of every test, for who gives a story larger numbers than those of every test run.
DEADLINE_OF_ALL = float(os.environ.get("TAP_DEADLINE", "0"))

_tests = []
_cleanups = []
_n_checks = 0


class Skip(Exception):
    """Raised by skip(): the test could not be run here."""


class Deadline(BaseException):
    """The test took longer than it may. Not an Exception, so that no test swallows it."""


def test(function=None, *, deadline=DEADLINE_SECONDS):
    """
    Marks a test. `deadline` is in seconds; its name is its sentence, underscores read as spaces.
    """

    def add(function):
        _tests.append((function, function.__name__.replace("_", " "), deadline))
        return function

    return add(function) if function else add


def at_end(function):
    """
    Calls function after the last test, whatever happened, and reports it as one more; the first
    registered comes first.
    """
    _cleanups.append(function)
    return function


def skip(reason):
    raise Skip(reason)


def check(condition, message):
    """Asserts that condition holds; message says what was expected."""
    global _n_checks
    _n_checks += 1
    if not condition:
        raise AssertionError(message)


def equal(seen, expected, what):
    check(seen == expected, f"{what}: expected {_short(expected)}, saw {_short(seen)}")


def contains(seen, part, what):
    check(part in seen, f"{what}: expected {_short(part)} in {_short(seen)}")


def less(seen, limit, what):
    check(seen < limit, f"{what}: expected less than {limit}, saw {seen}")


def wait_until(predicate, timeout=5.0, what="the condition"):
    """
    Returns the first true value of predicate(); fails when there is none within timeout seconds.
    """
    end = time.monotonic() + timeout
    while True:
        value = predicate()
        if value:
            check(True, what)
            return value
        if time.monotonic() > end:
            check(False, f"{what} did not come about within {timeout} s")
        time.sleep(0.003)


def note(text):
    """A comment line for the reader of the log."""
    for line in str(text).splitlines() or [""]:
        print(f"# {line}", flush=True)


def _short(value, limit=400):
    text = repr(value)
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text)} characters)"


def _on_alarm(signum, frame):
    raise Deadline()


def _run(function, deadline):
    """None when it passed, otherwise what went wrong; raises Skip."""
    before = _n_checks
    deadline = DEADLINE_OF_ALL or deadline
    signal.setitimer(signal.ITIMER_REAL, deadline)
    try:
        function()
    except Skip:
        raise
    except Deadline:
        return f"not finished after {deadline} s\n{traceback.format_exc()}"
    except Exception:
        return traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return None if _n_checks > before else "the test asserted nothing"


def _report(number, name, failure):
    print(f"{'not ok' if failure else 'ok'} {number} - {name}", flush=True)
    if failure:
        note(failure.rstrip())


def main():
    """
    Runs what was marked and ends the program: 0 when nothing failed. Arguments, if any, pick tests
    by part of a name.
    """
    signal.signal(signal.SIGALRM, _on_alarm)
    signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(1))
    wanted = [part.replace("_", " ") for part in sys.argv[1:]]
    tests = [row for row in _tests if not wanted or any(part in row[1] for part in wanted)]
    n_failed = 0
    try:
        for number, (function, name, deadline) in enumerate(tests, 1):
            try:
                failure = _run(function, deadline)
            except Skip as skipped:
                print(f"ok {number} - {name} # SKIP {skipped}", flush=True)
                continue
            _report(number, name, failure)
            n_failed += 1 if failure else 0
    finally:
        for number, function in enumerate(_cleanups, len(tests) + 1):
            failure = _run(function, DEADLINE_SECONDS)
            _report(number, function.__name__.replace("_", " "), failure)
            n_failed += 1 if failure else 0
    # The plan comes last: a test may still have added something for the end, and a program that
    # breaks off has none.
    print(f"1..{len(tests) + len(_cleanups)}", flush=True)
    # Threads of a failed test may still wait for something that never comes: they do not hold up
    # the end.
    os._exit(1 if n_failed or not tests else 0)
