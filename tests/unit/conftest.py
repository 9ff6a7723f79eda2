"""Images, float network, calibration and integer network that several tests share."""

import pytest
import torch

from vitrtl.sw.data import load
from vitrtl.sw.ptq.calibration import calibrate
from vitrtl.sw.ptq.models import build
from vitrtl.sw.ptq.quantize import quantize
from vitrtl.sw.ptq.scheme import Scheme

# Each worker of pytest-xdist would otherwise start as many threads as there are cores.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def digits():
    return load("digits")


@pytest.fixture(scope="session")
def float_model():
    return build("digits_vit")


@pytest.fixture(scope="session")
def calibration(digits, float_model):
    ids = digits.calibration(128, seed=0)
    return calibrate(float_model, digits.pixels[ids], Scheme.plain())


@pytest.fixture(scope="session")
def network(digits, float_model):
    return quantize(float_model, digits)
