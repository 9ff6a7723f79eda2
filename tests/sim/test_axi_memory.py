"""The memory model behind the accelerator, against its own claims."""

import numpy as np
import pytest

from vitrtl.sim.build import build_model
from vitrtl.sim.simulator import run_bench
from vitrtl.sw.files import json_text

pytestmark = pytest.mark.sim


def test_memory_model_keeps_its_claims(build, tmp_path):
    model = build_model("", "bench_axi_memory", {"UNIT": "axi_memory"}, build)
    contents = np.random.default_rng(0).integers(0, 256, 1 << 16, np.uint8)
    (tmp_path / "memory.bin").write_bytes(contents.tobytes())
    (tmp_path / "job.json").write_text(json_text({"folder": str(tmp_path)}))
    assert run_bench("bench_axi_memory", model, tmp_path) == []
