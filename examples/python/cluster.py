"""One model over several processes: rank 0 asks, the others compute their experts.

mpiexec -n 3 python3 examples/python/cluster.py "What is 17 plus 25?"
"""

import argparse
import sys
from pathlib import Path

checkout = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(checkout / "bindings" / "python"))  # not needed after: pip install ./bindings/python

import llada

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("question", nargs="?", default="What is 17 plus 25?")
parser.add_argument("--model", default=checkout / "examples" / "models" / "tiny-2.1")
parser.add_argument("--threads", type=int, help="of each rank")
given = parser.parse_args()

with llada.Cluster() as cluster:
    if cluster.rank > 0:
        cluster.serve(given.model, threads=given.threads)
    else:
        with llada.Model.load(given.model, threads=given.threads, cluster=cluster) as model:
            answer = model.generate(given.question, policy=llada.Policy.speedy())
            info = cluster.info
            print(answer.text)
            print(f"{info.size} ranks; {info.bytes_sent / 1e6:.1f} MB sent, {info.bytes_received / 1e6:.1f} received")
