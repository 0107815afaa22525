/* Two tasks send each other messages of several sizes: prints how long one way takes, in microseconds, the best of ten batches.
   pingpong [ROUNDS]   so many in a batch, where they are only to be seen */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LARGEST = 4 << 20, BATCHES = 10 };

static void send_and_receive(char *data, int size, int rank) {
    if (rank == 0) MPI_Send(data, size, MPI_BYTE, 1, 0, MPI_COMM_WORLD);
    MPI_Recv(data, size, MPI_BYTE, 1 - rank, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    if (rank == 1) MPI_Send(data, size, MPI_BYTE, 0, 0, MPI_COMM_WORLD);
}

int main(int argc, char **argv) {
    static const int sizes[] = {8, 4096, 65536, 1 << 20, LARGEST};
    int rank, count;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &count);
    if (count != 2) {
        fprintf(stderr, "these are %d tasks that know of each other, not 2\n", count);
        MPI_Abort(MPI_COMM_WORLD, 2);
    }
    char *data = malloc(LARGEST);
    memset(data, rank, LARGEST);
    for (unsigned at = 0; at < sizeof sizes / sizeof *sizes; at++) {
        int rounds = argc > 1 ? atoi(argv[1]) : sizes[at] > 100000 ? 200 : 2000;
        double best = 1e9;
        for (int batch = 0; batch < BATCHES; batch++) {
            MPI_Barrier(MPI_COMM_WORLD);
            double start = MPI_Wtime();
            for (int round = 0; round < rounds; round++) send_and_receive(data, sizes[at], rank);
            double one_way = (MPI_Wtime() - start) / rounds / 2 * 1e6;
            if (one_way < best) best = one_way;
        }
        if (rank == 0) printf("%d %.2f\n", sizes[at], best);
    }
    MPI_Finalize();
    return 0;
}
