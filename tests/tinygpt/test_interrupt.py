"""The first signal requests a stop, and the second one stops at once."""

import pickle
import signal

import pytest

from tinytorch.tinygpt.interrupt import Interrupt, Stop

HANGUP = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no SIGHUP")


def test_the_first_signal_is_a_request_and_the_second_one_stops_at_once() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Interrupt() as interrupt:
        signal.raise_signal(signal.SIGINT)
        assert interrupt.requested == signal.SIGINT
        with pytest.raises(Stop) as caught:
            signal.raise_signal(signal.SIGTERM)
        assert caught.value.number == signal.SIGTERM
        assert isinstance(caught.value, KeyboardInterrupt)
    copy = pickle.loads(pickle.dumps(caught.value))  # as ranks send it
    assert (copy.number, str(copy)) == (signal.SIGTERM, "stopped by SIGTERM")
    assert signal.getsignal(signal.SIGINT) == before


@HANGUP
@pytest.mark.usefixtures("hangup")
def test_a_closed_terminal_may_send_several_signals() -> None:
    with Interrupt() as interrupt:
        for _ in range(3):
            signal.raise_signal(signal.SIGHUP)
        assert interrupt.requested == signal.SIGHUP


@HANGUP
def test_a_signal_that_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupt() as interrupt:
            signal.raise_signal(signal.SIGHUP)
            assert not interrupt.requested
    finally:
        signal.signal(signal.SIGHUP, before)
