"""Splines: against loops over the formulas, and by what must come out exactly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isr.numerics.splines import akima, evaluate, natural
from tests import naive

ANY, FEW = st.floats(-1000, 1000), st.sampled_from([0.0, 1.0, 2.0])


@st.composite
def knots(draw, fewest, values=ANY):
    count = draw(st.integers(fewest, 14))
    steps = draw(st.lists(st.floats(0.25, 4), min_size=count - 1, max_size=count - 1))
    y = draw(st.lists(values, min_size=count, max_size=count))
    return draw(st.floats(-10, 10)) + np.cumsum([0.0, *steps]), np.array(y)


def positions(x, margin=3.0):
    """Knots, points between them and points outside."""
    return np.sort(np.concatenate((x, np.linspace(x[0] - margin, x[-1] + margin, 101))))


@given(knots(5))
def test_akima_is_the_naive_one(points):
    at = positions(points[0])
    np.testing.assert_allclose(evaluate(akima(*points), at), naive.akima(*points, at), rtol=1e-10, atol=1e-8)


@given(knots(5, FEW))
def test_akima_with_equal_slopes(points):
    """Few values give runs of equal slopes: the weights vanish, on one side or on both."""
    x = np.arange(len(points[0]), dtype=float)
    at = positions(x)
    found = evaluate(akima(x, points[1]), at)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, naive.akima(x, points[1], at), rtol=1e-12, atol=1e-12)


@given(knots(3))
def test_natural_spline_is_the_naive_one(points):
    at = positions(points[0])
    found = evaluate(natural(*points), at)
    np.testing.assert_allclose(found, naive.natural_spline(*points, at), rtol=1e-9, atol=1e-8)


@pytest.mark.parametrize("spline", [akima, natural])
@given(points=knots(5))
def test_splines_go_through_their_knots(spline, points):
    x, y = points
    np.testing.assert_allclose(evaluate(spline(x, y), x), y, rtol=1e-10, atol=1e-9)


@pytest.mark.parametrize("spline", [akima, natural])
@pytest.mark.parametrize("count", [5, 6, 30])
def test_a_line_is_reproduced_also_outside(spline, count):
    x = np.linspace(-1, 1, count)
    at = np.linspace(-1.3, 1.3, 333)
    np.testing.assert_allclose(evaluate(spline(x, 1000 + 7 * x), at), 1000 + 7 * at, rtol=0, atol=1e-9)


@pytest.mark.parametrize("count", [5, 6, 30])
def test_akima_reproduces_a_parabola_also_outside(count):
    """With equal steps Akima's end slopes continue a parabola exactly."""
    x = np.linspace(-1, 1, count)
    at = np.linspace(-1.5, 1.5, 333)
    expected = 3 - 5 * at + 11 * at**2
    np.testing.assert_allclose(evaluate(akima(x, 3 - 5 * x + 11 * x**2), at), expected, rtol=0, atol=1e-11)


def test_a_constant_stays_constant():
    x, at = np.arange(6.0), np.linspace(-2, 8, 50)
    for spline in (akima, natural):
        np.testing.assert_array_equal(evaluate(spline(x, np.full(6, 4.25)), at), 4.25)


def test_akima_does_not_ring_next_to_a_step():
    x = np.arange(10.0)
    y = np.where(x < 5, 0.0, 1.0)
    found = evaluate(akima(x, y), np.linspace(0, 9, 200))
    assert found.min() == 0.0
    assert found.max() == 1.0


@given(knots(3))
def test_natural_spline_has_no_curvature_at_its_ends(points):
    x, _, b, c, d = natural(*points)
    h = x[-1] - x[-2]
    scale = 1 + np.abs(c).max() + np.abs(d).max() * h
    assert c[0] == 0.0
    assert abs(2 * c[-1] + 6 * d[-1] * h) < 1e-12 * scale
    # Slope and curvature are continuous at the inner knots.
    h = np.diff(x)[:-1]
    scale = 1 + np.abs(b).max() + np.abs(c).max()
    np.testing.assert_allclose(b[:-1] + h * (2 * c[:-1] + 3 * h * d[:-1]), b[1:], rtol=0, atol=1e-11 * scale)
    np.testing.assert_allclose(c[:-1] + 3 * h * d[:-1], c[1:], rtol=0, atol=1e-11 * scale)


@given(knots(5), st.floats(0.01, 5))
def test_the_continuation_is_the_parabola_of_the_end_segment(points, step):
    """Its value, slope and curvature at the end knot are those of the cubic there."""
    x, _ = points
    cubics = akima(*points)
    for end, sign in ((x[0], -1.0), (x[-1], 1.0)):
        outside = evaluate(cubics, end + sign * step * np.array([1e-9, 1.0, 2.0, 3.0]))
        third_difference = outside[3] - 3 * outside[2] + 3 * outside[1] - outside[0]
        scale = 1 + np.abs(outside).max()
        assert abs(third_difference) < 1e-7 * scale  # a parabola
        inside = evaluate(cubics, np.array([end]))[0]
        assert abs(outside[0] - inside) < 1e-6 * scale  # that starts at the knot
