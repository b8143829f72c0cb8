"""Settings of the whole run."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports the hub's client: no test may reach a network
os.environ["OMP_NUM_THREADS"] = "1"  # small networks on shared cores: threads that wait for each other only cost time
