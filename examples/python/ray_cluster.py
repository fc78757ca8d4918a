"""What the examples for Ray begin with: the cluster that the user names, or one of several nodes on this machine."""

import os
from contextlib import contextmanager
from pathlib import Path

checkout = Path(__file__).resolve().parents[2]
os.environ["PYTHONPATH"] = str(checkout / "bindings" / "python")  # by which actors find llada in a checkout

import ray


@contextmanager
def cluster(address, hosts, cpus):
    """`address`: of a cluster, "auto" for the one that this host belongs to; None: nodes are made here."""
    nodes = None
    if address is None:
        from ray.cluster_utils import Cluster

        size = {"num_cpus": cpus + 1, "object_store_memory": 200 << 20}
        nodes = Cluster(initialize_head=True, head_node_args=size)
        for _ in range(hosts - 1):
            nodes.add_node(**size)
        address = nodes.address
    ray.init(address=address, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    try:
        yield
    finally:
        ray.shutdown()
        if nodes is not None:
            nodes.shutdown()
