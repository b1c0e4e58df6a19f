/* Somebody who exchanges what lies in a folder while the program writes into it. */
#ifndef DELTASCOPE_TESTS_SWAPPER_H
#define DELTASCOPE_TESTS_SWAPPER_H

#include <stddef.h>
#include <stdint.h>

/* Reports into scratch folder "out" while another process puts links to scratch folder "home", pipes, devices, sockets and hard
 * links in the place of files and folders there, and of "out" itself once the run has opened it, at moments drawn by the seed.
 * Fails the test where a run neither ends well nor says what it found, takes more than two minutes, or changes anything in
 * "home". */
void swap_while_reporting(size_t rounds, uint64_t seed);

#endif
