"""Errors are those of the textbook, however the numbers come in."""

import numpy as np
import pytest

from halocline.training.errors import Deviations

#: Of sums in another order, relative.
ROUNDING = 1e-12


@pytest.mark.parametrize("pieces", [1, 2, 7, 500])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_deviations_are_those_of_all_numbers_at_once(pieces, offset):
    rng = np.random.default_rng(pieces)
    labels = offset + rng.normal(0, 3, 500)
    model = labels + rng.normal(0.1, 0.5, 500)
    found = Deviations()
    for chunk in np.array_split(np.arange(500), pieces):
        found.add(labels[chunk], model[chunk])
    errors = model - labels
    close = {"rel": ROUNDING * max(1.0, offset)}
    assert found.count == 500
    assert found.mae == pytest.approx(np.abs(errors).mean(), **close)
    assert found.rmse == pytest.approx(np.sqrt((errors**2).mean()), **close)
    assert found.largest == np.abs(errors).max()
    assert found.label_std == pytest.approx(labels.std(), **close)
    assert found.label_magnitude == pytest.approx(np.abs(labels).mean(), **close)
    assert found.r2 == pytest.approx(1.0 - (errors**2).sum() / ((labels - labels.mean()) ** 2).sum(), **close)
    assert found.correlation == pytest.approx(np.corrcoef(labels, model)[0, 1], **close)
    assert found.slope == pytest.approx(np.polyfit(model, labels, 1)[0], rel=1e-6)


def test_without_numbers_there_are_no_errors():
    found = Deviations()
    found.add(np.empty((0, 3)), np.empty((0, 3)))
    assert found.count == 0
    assert {found.mae, found.rmse, found.label_std, found.label_magnitude, found.r2, found.correlation} == {None}
    found.add(1.0, 1.0)
    assert (found.mae, found.rmse, found.r2) == (0.0, 0.0, None)  # one label has no spread
