/* State that all parts share, the way into every call, and what tests ask. */
#include "libcuda.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const COUNTER_NAMES[COUNTERS] = {
    "contexts", "allocations", "host_allocations", "streams", "events", "graphs", "graph_execs",
    "device_bytes", "host_bytes", "all_allocations", "all_launches", "copies_to_device",
    "copies_to_host", "bytes_to_device", "bytes_to_host", "graph_launches"};

pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
int initialized;
struct context primary = {0, 1, 0, OK};
struct stream default_stream = {1, 1, 0, 0, NULL, {NULL, NULL}, NULL, NULL};
struct stream *streams = &default_stream;
struct block *blocks;
long long counters[COUNTERS];
__thread CUcontext stack[16];
__thread int depth;

const char *text(const char *name, const char *otherwise)
{
    const char *value = getenv(name);
    return value && *value ? value : otherwise;
}

long long number(const char *name, long long otherwise)
{
    const char *value = getenv(name);
    return value && *value ? atoll(value) : otherwise;
}

/* Is it this one, of those that are counted, that a test wants to fail? */
int planted(const char *name, long long count)
{
    const char *value = text(name, "0");
    long long first = atoll(value);
    return count == first || (first && count > first && strchr(value, '+'));
}

CUcontext current(void) { return depth ? stack[depth - 1] : NULL; }

CUresult enter(void)
{
    pthread_mutex_lock(&lock);
    if (!initialized)
        return NOT_INITIALIZED;
    if (depth == 0 || stack[depth - 1] == NULL)
        return INVALID_CONTEXT;
    if (!stack[depth - 1]->alive)
        return CONTEXT_IS_DESTROYED;
    return stack[depth - 1]->broken;
}

CUresult leave(CUresult result)
{
    pthread_mutex_unlock(&lock);
    return result;
}

CUresult leave_broken(CUresult result)
{
    return leave(result != OK ? result : stack[depth - 1]->broken);
}

/* --- what tests ask ------------------------------------------------------------------------- */

/* Writes all counters as one line of JSON; returns its length. */
API int standin_counters(char *buffer, int length)
{
    int at = snprintf(buffer, length, "{\"pid\": %d", (int)getpid());
    pthread_mutex_lock(&lock);
    for (int i = 0; i < COUNTERS && at < length; i++)
        at += snprintf(buffer + at, length - at, ", \"%s\": %lld", COUNTER_NAMES[i], counters[i]);
    pthread_mutex_unlock(&lock);
    return at + snprintf(buffer + at, at < length ? length - at : 0, "}\n");
}

/* Between two tests in one process: nothing lives, nothing was counted, this thread has no context. */
API void standin_reset(void)
{
    struct operation *o;
    pthread_mutex_lock(&lock);
    for (struct stream *s = streams; s; s = s->next) {
        while ((o = take(&s->todo)))
            free(o);
        s->alive = s == &default_stream;
        s->capturing = 0;
    }
    forget_blocks(NULL);
    primary = (struct context){0, 1, 0, OK};
    memset(counters, 0, sizeof counters);
    depth = 0;
    pthread_mutex_unlock(&lock);
}

__attribute__((destructor)) static void report(void)
{
    char buffer[1024];
    const char *path = text("STANDIN_CUDA_REPORT", NULL);
    FILE *file = path ? fopen(path, "a") : NULL;
    if (!file)
        return;
    standin_counters(buffer, sizeof buffer);
    fputs(buffer, file);
    fclose(file);
}
