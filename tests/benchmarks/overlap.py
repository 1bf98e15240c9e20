"""What sums during the backward pass would gain over sums after it, in two ranks.

mpiexec -n 2 python tests/benchmarks/overlap.py
MPIR_CVAR_ASYNC_PROGRESS=1 mpiexec -n 2 python tests/benchmarks/overlap.py      a thread of MPICH's
python tests/benchmarks/slow_network.py --overlap          both, over a slowed network, as root

Products stand for the backward pass: after each of its parts a bucket of gradients is complete. A
sum that runs beside them makes progress where MPI is called, between two products, or in a thread.
"""

import statistics
import time

import numpy as np
from mpi4py import MPI

BUCKETS, BUCKET, PRODUCTS, SIDE, REPEATS = 8, 2**20, 12, 384, 7


def main() -> None:
    comm = MPI.COMM_WORLD
    buckets = [np.zeros(BUCKET, np.float32) for _ in range(BUCKETS)]
    matrix = np.full((SIDE, SIDE), 1e-3, np.float32)

    def compute(requests: list[MPI.Request]) -> None:
        for _ in range(PRODUCTS):
            matrix @ matrix
            MPI.Request.Testall(requests)

    def backward() -> None:
        for _ in buckets:
            compute([])

    def sums() -> None:
        for bucket in buckets:
            comm.Allreduce(MPI.IN_PLACE, bucket)

    def after() -> None:
        backward()
        sums()

    def during() -> None:
        requests: list[MPI.Request] = []
        for bucket in buckets:
            compute(requests)
            requests.append(comm.Iallreduce(MPI.IN_PLACE, bucket))
        MPI.Request.Waitall(requests)

    for work in (backward, sums, after, during):
        seconds = []
        for _ in range(REPEATS):
            comm.Barrier()
            begin = time.perf_counter()
            work()
            comm.Barrier()
            seconds.append(time.perf_counter() - begin)
        if comm.Get_rank() == 0:
            print(
                f"{work.__name__} {1e3 * statistics.median(seconds):.1f} ms", end="; ", flush=True
            )


if __name__ == "__main__":
    main()
