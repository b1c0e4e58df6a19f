/* OpenBLAS starts its threads before main, one for every core. Nothing here wants them: our own threads work on whole
 * problems, one for each, and LAPACK's last bits would depend on how many there are. The program's definitions of the two
 * variables that OpenBLAS looks at come before its own, so that it finds the question settled; another BLAS does not know
 * them. `bench` asks for more by openblas_set_num_threads. */
#pragma GCC visibility push(default) /* or OpenBLAS would not see them */
extern int blas_cpu_number, blas_num_threads;
int blas_cpu_number = 1, blas_num_threads = 1;
#pragma GCC visibility pop
