/*
 * Stands before the MPI library of one rank, and ends or stops the process at one of its messages: LLADA_MPI_LIBRARY
 * names it. Of MPI's functions it has those that begin something; the others are found in the library behind it.
 *
 * FAIL_TRACE is a file to which each call is written, as "number function tag peer"; FAIL_AT the number of the call at
 * which the process gets the signal FAIL_SIGNAL, before the call is made; FAIL_RANK the rank that this is about. Calls
 * of other threads than the first are not counted: the heartbeat has its own time.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int number;

static void *behind(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) abort();
    return found;
}

static void count(const char *function, int tag, int peer) {
    const char *rank = getenv("PMI_RANK"), *wanted = getenv("FAIL_RANK"), *at = getenv("FAIL_AT");
    const char *trace = getenv("FAIL_TRACE");
    if (gettid() != getpid() || !rank || !wanted || strcmp(rank, wanted) != 0) return;
    number++;
    if (trace) {
        FILE *file = fopen(trace, "a");
        if (!file) abort();
        fprintf(file, "%d %s %d %d\n", number, function, tag, peer);
        fclose(file);
    }
    if (at && number == atoi(at)) raise(atoi(getenv("FAIL_SIGNAL")));
}

typedef int idup(void *comm, void **new, void **request);
typedef int isend(const void *bytes, int size, void *type, int peer, int tag, void *comm, void **request);
typedef int irecv(void *bytes, int size, void *type, int peer, int tag, void *comm, void **request);
typedef int imrecv(void *bytes, int size, void *type, void **message, void **request);

int MPI_Comm_idup(void *comm, void **new, void **request) {
    count("idup", 0, -1);
    return ((idup *)(intptr_t)behind("MPI_Comm_idup"))(comm, new, request);
}

int MPI_Isend(const void *bytes, int size, void *type, int peer, int tag, void *comm, void **request) {
    count("send", tag, peer);
    return ((isend *)(intptr_t)behind("MPI_Isend"))(bytes, size, type, peer, tag, comm, request);
}

int MPI_Irecv(void *bytes, int size, void *type, int peer, int tag, void *comm, void **request) {
    count("receive", tag, peer);
    return ((irecv *)(intptr_t)behind("MPI_Irecv"))(bytes, size, type, peer, tag, comm, request);
}

int MPI_Imrecv(void *bytes, int size, void *type, void **message, void **request) {
    count("take", 0, -1);
    return ((imrecv *)(intptr_t)behind("MPI_Imrecv"))(bytes, size, type, message, request);
}
