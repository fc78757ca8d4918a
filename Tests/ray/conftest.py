"""A Ray cluster of two nodes on this machine, which all tests share."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "bindings" / "python"
sys.path.insert(0, str(PACKAGE))
# Nothing is sent, and workers find the package where this process does.
os.environ.update(
    RAY_USAGE_STATS_ENABLED="0",
    PYTHONPATH=os.pathsep.join([str(PACKAGE), str(ROOT / "Tests" / "ray")]),
    RAY_DATA_DISABLE_PROGRESS_BARS="1",
)

import ray
import ray.cluster_utils


@pytest.fixture(scope="session")
def cluster():
    nodes = ray.cluster_utils.Cluster(
        initialize_head=True, head_node_args={"num_cpus": 2, "object_store_memory": 100 << 20}
    )
    nodes.add_node(num_cpus=2, object_store_memory=100 << 20)
    ray.init(address=nodes.address, log_to_driver=False)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.wait_for_min_actors_s = 60  # or the first one has done the work of all before the others are there
    yield nodes
    ray.shutdown()
    nodes.shutdown()
