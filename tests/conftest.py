"""Settings of the whole run."""

import os
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports the hub's client: no test may reach a network
FOUND_OUT = tempfile.TemporaryDirectory(prefix="blip-serve-tests-")
os.environ["XDG_DATA_HOME"] = (
    FOUND_OUT.name
)  # tests neither see nor keep what was found out about this machine's models
os.environ["OMP_NUM_THREADS"] = "1"  # small networks on shared cores: threads that wait for each other only cost time
