"""What all tests share: one thread of torch, no deadlines on a shared machine, no stray network."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("GOMP_SPINCOUNT", "0")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from hypothesis import HealthCheck, settings

settings.register_profile("custodes", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("custodes")
