"""Two test processes share two cores: a thread each, said before TensorFlow and BLAS are imported."""

import os

THREADS = ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
if "PYTEST_XDIST_WORKER" in os.environ:
    for name in THREADS:
        os.environ.setdefault(name, "1")
