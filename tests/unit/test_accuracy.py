"""Every method within its stated error, and the error study's own parts."""

import pytest

from vitrtl.sw.accuracy.study import SCALES, measure, plan, subjects, worst
from vitrtl.sw.catalog import OPERATORS, methods_of

METHODS = [u for operator in OPERATORS for u in methods_of(operator)]


@pytest.mark.parametrize("entry", METHODS, ids=lambda entry: entry.name)
def test_a_method_is_within_its_stated_error(entry):
    default = subjects([entry])[0]
    exceeded = []
    for scale in SCALES:
        found = worst(measure(point) for point in plan([default], [scale], (17, 197)))
        if not found.refused and found.largest > entry.golden.error_limit(float(scale)):
            exceeded.append((float(scale), found.largest, found.worst_rows, found.length))
    assert exceeded == []


@pytest.mark.parametrize("entry", METHODS, ids=lambda entry: entry.name)
def test_a_stated_error_is_no_empty_promise(entry):
    # At most twice what is found somewhere below the largest scale it is stated for.
    default = subjects([entry])[0]
    limits = entry.golden.limits
    assert limits[-1].scale == 0.25
    assert list(limits) == sorted(limits, key=lambda limit: limit.scale)
    largest = max(found.largest for found in map(measure, plan([default])) if not found.refused)
    assert largest >= limits[-1].error / 2
