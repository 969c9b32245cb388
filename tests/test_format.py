"""Every number is written in one form: values, intervals, p values, hours, counts."""

from types import SimpleNamespace

import numpy as np
import pytest

from hpiclock.format import (
    LEAST_P,
    Estimate,
    count_text,
    first_clause,
    interval_text,
    limits_text,
    n_text,
    number_text,
    p_text,
    p_with_floor,
    range_text,
    short_interval,
    significant_text,
    true_minus,
    units_text,
    value_text,
    window_text,
)

NAN = float("nan")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (number_text(0.91234), "0.912"),
        (number_text(0.5, 1, signed=True), "+0.5"),
        (number_text(NAN), "undefined"),
        (value_text(5.8432, "h", signed=True), "+5.84 h"),
        (value_text(0.9124, ""), "0.912"),
        (significant_text(12345.0), "1.23e+04"),
        (significant_text(NAN, missing="not defined"), "not defined"),
        (limits_text(0.87, 0.95), "0.870 to 0.950"),
        (limits_text(-0.1, 0.2, 1, signed=True), "-0.1 to +0.2"),
        (limits_text(NAN, 0.95), "no interval"),
        (interval_text(0.912, 0.87, 0.95), "0.912 (0.870 to 0.950)"),
        (interval_text(0.912, NAN, NAN), "0.912 (no interval)"),
        (short_interval(0.912, NAN, 0.95), "0.91"),
        (short_interval(0.934, 0.81, 0.98), "0.93 (0.81 to 0.98)"),
        (interval_text(NAN, 0.1, 0.2, missing="–"), "–"),
        (range_text([0, NAN, 48]), "0.0 to 48.0"),
        (range_text([NAN]), "no values"),
        (p_text(0.01391), "0.014"),
        (p_text(0.0002), "0.0002"),
        (p_text(0.0002, least=LEAST_P), "below 0.001"),
        (p_text(LEAST_P, least=LEAST_P), "0.001"),
        (p_text(NAN, missing="–"), "–"),
        (p_with_floor(0.014, 0.002), "p = 0.014 (smallest possible 0.002)"),
        (window_text(6.0, 12.5), "6-12.5 h"),
        (true_minus("-0.5 to +0.2"), "−0.5 to +0.2"),
        (first_clause("one class only; 3 wells"), "one class only"),
        (number_text(-0.04, 1), "0.0"),
        (number_text(-0.001, 2, signed=True), "+0.00"),
    ],
)
def test_one_form_each(text, expected):
    assert text == expected


@pytest.mark.parametrize(("n", "text"), [(0, "0 wells"), (1, "1 well"), (1068, "1,068 wells")])
def test_a_count_agrees_with_its_noun(n, text):
    assert count_text(n, "well") == text


@pytest.mark.parametrize(
    ("note", "words"),
    [
        ("unit well: 7", "over 7 wells"),
        ("unit well: 1; 2 windows undefined", "over 1 well; 2 windows undefined"),
        ("unit column: 12 infected, 7 mock", "over columns: 12 infected, 7 mock"),
        ("no frames", "no frames"),
    ],
)
def test_what_was_resampled_is_said_in_words(note, words):
    assert units_text(note) == words


def test_the_n_of_a_row_names_frames_stacks_and_wells():
    row = SimpleNamespace(n=np.int64(240), n_stacks=12.0, n_wells=1)
    assert n_text(row) == "240 frames, 12 stacks, 1 well"


def test_an_estimate_is_written_with_its_interval_or_says_that_there_is_none():
    gain = Estimate(-2.0, -3.0, -1.0, 0.9)
    assert f"{gain.absolute():.1f h}" == "2.0 h (90% interval 1.0 to 3.0)"
    assert f"{gain:.2f}" == "-2.00, 90% interval -3.00 to -1.00"
    alone = Estimate(0.5, NAN, NAN, 0.95)
    assert f"{alone:.3f} {alone:.1f h} {alone.value:.0%}" == "0.500, no interval 0.5 h (no interval) 50%"
    assert alone.absolute() == alone
