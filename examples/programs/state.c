/* A hundred megabytes of state that changes a little with every round. Prints a checksum over all of it as JSON. */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define WORDS (100u * 1000 * 1000 / 8)

static uint64_t next(uint64_t *seed) {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    return *seed ^= *seed << 17;
}

int main(int argc, char **argv) {
    uint64_t rounds = argc > 1 ? strtoull(argv[1], NULL, 10) : 1, seed = 88172645463325252u, sum = 0;
    uint64_t *words = malloc(WORDS * sizeof *words);
    if (!words) return 1;
    for (size_t i = 0; i < WORDS; i++) words[i] = next(&seed);
    for (uint64_t round = 0; round < rounds; round++) {
        /* One part in a hundred changes, all of it counts. */
        size_t from = round % 100 * (WORDS / 100);
        for (size_t i = from; i < from + WORDS / 100; i++) words[i] += next(&seed);
        for (size_t i = 0; i < WORDS; i++) sum = (sum ^ words[i]) * 1099511628211u;
    }
    printf("{\"rounds\": %llu, \"sum\": \"%016llx\"}\n", (unsigned long long)rounds, (unsigned long long)sum);
    return 0;
}
