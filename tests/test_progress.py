"""The bar: drawn where somebody watches, rare in a log, silent where it is switched off."""

import io
import sys
import time

import pytest

from hpiclock.progress import LOG_EVERY_S, OFF, progress


class Watched(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def _bars_are_on(monkeypatch):
    monkeypatch.delenv(OFF, raising=False)


@pytest.fixture
def drawn(monkeypatch):
    def draw(stream):
        monkeypatch.setattr(sys, "stderr", stream)
        assert list(progress(range(3), desc="converting", total=3, file=stream)) == [0, 1, 2]
        return stream.getvalue()

    return draw


def test_a_terminal_sees_the_name_and_the_end_of_the_work(drawn):
    text = drawn(Watched())
    assert "converting: 100%" in text
    assert "3/3" in text


def test_a_log_holds_nothing_of_short_work(drawn):
    assert drawn(io.StringIO()) == ""


def test_a_log_holds_a_line_of_long_work(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.delenv(OFF, raising=False)
    bar = progress(desc="converting", total=4, file=stream)
    assert bar.mininterval == LOG_EVERY_S
    now = time.time() + LOG_EVERY_S
    monkeypatch.setattr(bar, "_time", lambda: now + 1)
    bar.update(2)
    bar.close()
    assert "2/4" in stream.getvalue()
    assert stream.getvalue().count("\r") <= 3


def test_it_is_silent_where_it_is_switched_off(monkeypatch):
    stream = Watched()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv(OFF, "off")
    list(progress(range(3), desc="converting", total=3, file=stream))
    assert stream.getvalue() == ""
