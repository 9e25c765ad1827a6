/* A stand-in for NVIDIA's libcuda.so.1: the driver API over malloc and memcpy, for tests.
 *
 * The genuine pycuda and cuda-python run on it. It is stricter than a driver:
 *   - device addresses are no host addresses: touching one from the host ends the process;
 *   - every copy must lie inside one live allocation;
 *   - every call wants a current context, as the driver does;
 *   - work on a stream is done when somebody waits for it and not before, so that a result that is
 *     read without waiting is stale;
 *   - what is still alive at the end is counted, and written to the file STANDIN_CUDA_REPORT.
 *
 * The device is described by the environment (see `number` and `text` below), read at each call:
 *   STANDIN_GPU_COUNT, _NAME, _COMPUTE ("8.7"), _SMS, _MEMORY (bytes), _USED (bytes that others
 *   hold), _INTEGRATED, _CAN_MAP_HOST, STANDIN_DRIVER_VERSION.
 * Failures are planted the same way. Counting begins at 1; "3" means the third, "3+" also all later
 * ones (pycuda tries once more before it says that there is no memory):
 *   STANDIN_FAIL_INIT=<CUresult>        cuInit returns it
 *   STANDIN_FAIL_ALLOC=<n>              the n-th allocation finds no memory
 *   STANDIN_FAIL_LAUNCH=<n>             the n-th launch fails when it is waited for
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef int CUresult;
typedef int CUdevice;
typedef unsigned long long CUdeviceptr;
typedef struct context *CUcontext;
typedef struct stream *CUstream;
typedef struct event *CUevent;
typedef struct graph *CUgraph;
typedef struct graph *CUgraphExec;
typedef void (*CUhostFn)(void *);
#define API __attribute__((visibility("default")))

enum {
    OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_INITIALIZED = 3, NO_DEVICE = 100,
    INVALID_DEVICE = 101, INVALID_CONTEXT = 201, INVALID_HANDLE = 400, NOT_FOUND = 500,
    NOT_READY = 600, ILLEGAL_ADDRESS = 700, CONTEXT_IS_DESTROYED = 709, LAUNCH_FAILED = 719,
    NOT_SUPPORTED = 801, CAPTURE_UNSUPPORTED = 900, CAPTURE_INVALIDATED = 901,
};

static const struct { CUresult code; const char *name, *text; } ERRORS[] = {
    {OK, "CUDA_SUCCESS", "no error"},
    {INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {NOT_READY, "CUDA_ERROR_NOT_READY", "device not ready"},
    {ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {CONTEXT_IS_DESTROYED, "CUDA_ERROR_CONTEXT_IS_DESTROYED", "context is destroyed"},
    {LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
     "operation not permitted when stream is capturing"},
    {CAPTURE_INVALIDATED, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
     "operation failed due to a previous error during capture"},
};

/* --- state ---------------------------------------------------------------------------------- */

struct operation {
    enum { COPY, SET, CALL, RECORD, WAIT } kind;
    CUdeviceptr to, from;          /* COPY and SET; host addresses are given as they are */
    size_t bytes;
    int value;                     /* SET: one byte */
    void *staged;                  /* COPY: what pageable memory held when the copy was asked for */
    CUhostFn function;             /* CALL */
    void *argument;
    int is_launch;
    CUevent event;                 /* RECORD and WAIT */
    unsigned long long ticket;     /* RECORD and WAIT: which record of the event */
    struct operation *next;
};

struct queue { struct operation *first, *last; };

struct context { int alive, is_primary, references; CUresult broken; };
struct stream {
    int alive, blocking, capturing, busy;
    CUcontext context;
    struct queue todo;
    CUgraph graph;
    struct stream *next;
};
struct event { int alive, timed; CUcontext context; unsigned long long asked, done; double ms; };
struct graph { int alive; struct queue nodes; };
struct block {
    char *host;
    size_t bytes;
    int is_host, mapped;
    CUcontext context;
    struct block *next;
};

/* Device addresses have a bit that no host address has on x86-64 or arm64 Linux. */
#define DEVICE_BIT (1ull << 52)

enum { CONTEXTS, ALLOCATIONS, HOST_ALLOCATIONS, STREAMS, EVENTS, GRAPHS, GRAPH_EXECS, DEVICE_BYTES,
       HOST_BYTES, ALL_ALLOCATIONS, ALL_LAUNCHES, COPIES_TO_DEVICE, COPIES_TO_HOST,
       BYTES_TO_DEVICE, BYTES_TO_HOST, GRAPH_LAUNCHES, COUNTERS };
static const char *const COUNTER_NAMES[COUNTERS] = {
    "contexts", "allocations", "host_allocations", "streams", "events", "graphs", "graph_execs",
    "device_bytes", "host_bytes", "all_allocations", "all_launches", "copies_to_device",
    "copies_to_host", "bytes_to_device", "bytes_to_host", "graph_launches"};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t idle = PTHREAD_COND_INITIALIZER;
static int initialized;
static struct context primary = {0, 1, 0, OK};
static struct stream default_stream = {1, 1, 0, 0, NULL, {NULL, NULL}, NULL, NULL};
static struct stream *streams = &default_stream;
static struct block *blocks;
static long long counters[COUNTERS];
static __thread CUcontext stack[16];
static __thread int depth;

static const char *text(const char *name, const char *otherwise)
{
    const char *value = getenv(name);
    return value && *value ? value : otherwise;
}

static long long number(const char *name, long long otherwise)
{
    const char *value = getenv(name);
    return value && *value ? atoll(value) : otherwise;
}

/* Is it this one, of those that are counted, that a test wants to fail? */
static int planted(const char *name, long long count)
{
    const char *value = text(name, "0");
    long long first = atoll(value);
    return count == first || (first && count > first && strchr(value, '+'));
}

static long long memory_total(void) { return number("STANDIN_GPU_MEMORY", 8ll << 30); }

static long long memory_free(void)
{
    long long left = memory_total() - number("STANDIN_GPU_USED", 0) - counters[DEVICE_BYTES];
    if (number("STANDIN_GPU_INTEGRATED", 1))
        left -= counters[HOST_BYTES];
    return left < 0 ? 0 : left;
}

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e3 * t.tv_sec + 1e-6 * t.tv_nsec;
}

/* What every call that needs a context begins with. The lock is held from here to `leave`. */
static CUresult enter(void)
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

static CUresult leave(CUresult result)
{
    pthread_mutex_unlock(&lock);
    return result;
}

#define ENTER() do { CUresult entered = enter(); if (entered != OK) return leave(entered); } while (0)

/* Releasing goes on after a failure that broke the context, and says that it is broken. */
#define ENTER_BROKEN_TOO() do { CUresult entered = enter(); \
    if (entered != OK && !(current() && current()->alive && initialized)) return leave(entered); \
    } while (0)

static CUresult leave_broken(CUresult result)
{
    return leave(result != OK ? result : stack[depth - 1]->broken);
}

static CUcontext current(void) { return depth ? stack[depth - 1] : NULL; }

/* --- memory --------------------------------------------------------------------------------- */

static struct block *block_of(CUdeviceptr address, size_t bytes)
{
    int is_device = (address & DEVICE_BIT) != 0;
    char *host = (char *)(uintptr_t)(address & ~DEVICE_BIT);
    for (struct block *b = blocks; b; b = b->next) {
        if (is_device && b->is_host && !b->mapped)
            continue;
        if (!is_device && !b->is_host)
            continue;
        if (host >= b->host && host + bytes <= b->host + b->bytes)
            return b;
    }
    return NULL;
}

/* Where the bytes of a device or host address lie; NULL where no live allocation has them all. */
static char *bytes_at(CUdeviceptr address, size_t bytes)
{
    if ((address & DEVICE_BIT) && !block_of(address, bytes))
        return NULL;
    return (char *)(uintptr_t)(address & ~DEVICE_BIT);
}

/* For the stand-in of libnvinfer: the memory behind a device address, or NULL. */
API void *standin_bytes(CUdeviceptr address, size_t bytes)
{
    pthread_mutex_lock(&lock);
    void *found = (address & DEVICE_BIT) ? bytes_at(address, bytes) : NULL;
    pthread_mutex_unlock(&lock);
    return found;
}

static CUresult allocate(size_t bytes, int is_host, int mapped, void **host)
{
    if (bytes == 0)
        return INVALID_VALUE;
    for (struct stream *s = streams; s; s = s->next)
        if (s->capturing)
            return CAPTURE_UNSUPPORTED;
    if (planted("STANDIN_FAIL_ALLOC", ++counters[ALL_ALLOCATIONS]))
        return OUT_OF_MEMORY;
    if ((!is_host || number("STANDIN_GPU_INTEGRATED", 1)) && (long long)bytes > memory_free())
        return OUT_OF_MEMORY;
    struct block *b = calloc(1, sizeof *b);
    /* 256 bytes, as the driver aligns; filled, since nobody may rely on zeros. */
    if (posix_memalign((void **)&b->host, 256, bytes)) {
        free(b);
        return OUT_OF_MEMORY;
    }
    memset(b->host, 0xcd, bytes);
    b->bytes = bytes;
    b->is_host = is_host;
    b->mapped = mapped;
    b->context = current();
    b->next = blocks;
    blocks = b;
    counters[is_host ? HOST_ALLOCATIONS : ALLOCATIONS]++;
    counters[is_host ? HOST_BYTES : DEVICE_BYTES] += bytes;
    *host = b->host;
    return OK;
}

static void drain_all(void);

static CUresult release(char *host, int is_host)
{
    drain_all();
    for (struct block **at = &blocks; *at; at = &(*at)->next) {
        struct block *b = *at;
        if (b->host == host && b->is_host == is_host) {
            *at = b->next;
            counters[is_host ? HOST_ALLOCATIONS : ALLOCATIONS]--;
            counters[is_host ? HOST_BYTES : DEVICE_BYTES] -= b->bytes;
            free(b->host);
            free(b);
            return OK;
        }
    }
    return INVALID_VALUE;
}

API CUresult cuMemAlloc_v2(CUdeviceptr *pointer, size_t bytes)
{
    void *host;
    ENTER();
    CUresult result = allocate(bytes, 0, 0, &host);
    if (result == OK)
        *pointer = (uintptr_t)host | DEVICE_BIT;
    return leave(result);
}

API CUresult cuMemFree_v2(CUdeviceptr pointer)
{
    ENTER_BROKEN_TOO();
    return leave_broken(release((char *)(uintptr_t)(pointer & ~DEVICE_BIT), 0));
}

API CUresult cuMemHostAlloc(void **host, size_t bytes, unsigned flags)
{
    ENTER();
    int mapped = (flags & 2) != 0;
    if (mapped && !number("STANDIN_GPU_CAN_MAP_HOST", 1))
        return leave(NOT_SUPPORTED);
    return leave(allocate(bytes, 1, mapped, host));
}

API CUresult cuMemAllocHost_v2(void **host, size_t bytes) { return cuMemHostAlloc(host, bytes, 0); }

API CUresult cuMemFreeHost(void *host)
{
    ENTER_BROKEN_TOO();
    return leave_broken(release(host, 1));
}

API CUresult cuMemHostGetDevicePointer_v2(CUdeviceptr *pointer, void *host, unsigned flags)
{
    (void)flags;
    ENTER();
    struct block *b = block_of((uintptr_t)host, 1);
    if (!b || !b->mapped)
        return leave(INVALID_VALUE);
    *pointer = (uintptr_t)host | DEVICE_BIT;
    return leave(OK);
}

API CUresult cuMemHostGetFlags(unsigned *flags, void *host)
{
    ENTER();
    struct block *b = block_of((uintptr_t)host, 1);
    if (!b)
        return leave(INVALID_VALUE);
    *flags = b->mapped ? 2 : 0;
    return leave(OK);
}

API CUresult cuMemGetInfo_v2(size_t *unused, size_t *total)
{
    ENTER();
    *unused = memory_free();
    *total = memory_total();
    return leave(OK);
}

API CUresult cuMemGetAddressRange_v2(CUdeviceptr *base, size_t *bytes, CUdeviceptr pointer)
{
    ENTER();
    struct block *b = (pointer & DEVICE_BIT) ? block_of(pointer, 1) : NULL;
    if (!b)
        return leave(NOT_FOUND);
    if (base)
        *base = (uintptr_t)b->host | DEVICE_BIT;
    if (bytes)
        *bytes = b->bytes;
    return leave(OK);
}

/* --- streams -------------------------------------------------------------------------------- */

static CUstream stream_of(CUstream handle)
{
    if ((uintptr_t)handle <= 2)
        return &default_stream;
    for (struct stream *s = streams; s; s = s->next)
        if (s == handle && s->alive)
            return s;
    return NULL;
}

static void append(struct queue *queue, struct operation *operation)
{
    operation->next = NULL;
    if (queue->last)
        queue->last->next = operation;
    else
        queue->first = operation;
    queue->last = operation;
}

static struct operation *take(struct queue *queue)
{
    struct operation *first = queue->first;
    if (first && !(queue->first = first->next))
        queue->last = NULL;
    return first;
}

static void drain(CUstream stream, CUevent event, unsigned long long ticket);

static void carry_out(struct operation *o, CUcontext context)
{
    char *to, *from;
    switch (o->kind) {
    case COPY:
        to = bytes_at(o->to, o->bytes);
        from = o->staged ? o->staged : bytes_at(o->from, o->bytes);
        if (to && from)
            memmove(to, from, o->bytes);
        else
            context->broken = ILLEGAL_ADDRESS;
        break;
    case SET:
        if ((to = bytes_at(o->to, o->bytes)))
            memset(to, o->value, o->bytes);
        else
            context->broken = ILLEGAL_ADDRESS;
        break;
    case CALL:
        if (o->is_launch && planted("STANDIN_FAIL_LAUNCH", ++counters[ALL_LAUNCHES])) {
            context->broken = LAUNCH_FAILED;
            break;
        }
        pthread_mutex_unlock(&lock); /* it may want Python's lock, whose holder may want ours */
        o->function(o->argument);
        pthread_mutex_lock(&lock);
        break;
    case RECORD:
        if (o->event->done < o->ticket) {
            o->event->done = o->ticket;
            o->event->ms = now_ms();
        }
        break;
    case WAIT:
        for (struct stream *s = streams; s && o->event->done < o->ticket; s = s->next)
            if (!s->busy)
                drain(s, o->event, o->ticket);
        break;
    }
}

/* Does what is queued: all of it, or until the event's record with that ticket is reached. */
static void drain(CUstream stream, CUevent event, unsigned long long ticket)
{
    struct operation *o;
    while (stream->busy)
        pthread_cond_wait(&idle, &lock);
    stream->busy = 1;
    while (!(event && event->done >= ticket) && (o = take(&stream->todo))) {
        CUcontext context = stream->context ? stream->context : &primary;
        if (context->broken == OK || o->kind == RECORD)
            carry_out(o, context);
        free(o->staged);
        free(o);
    }
    stream->busy = 0;
    pthread_cond_broadcast(&idle);
}

static void drain_all(void)
{
    for (struct stream *s = streams; s; s = s->next)
        drain(s, NULL, 0);
}

/* The default stream waits for every stream that was not made non-blocking. */
static void drain_blocking(void)
{
    for (struct stream *s = streams; s; s = s->next)
        if (s->blocking)
            drain(s, NULL, 0);
}

static CUresult enqueue(CUstream handle, struct operation operation)
{
    CUstream stream = stream_of(handle);
    if (!stream || (operation.event && !operation.event->alive)) {
        free(operation.staged);
        return INVALID_HANDLE;
    }
    struct operation *o = malloc(sizeof *o);
    *o = operation;
    if (stream->capturing) {
        append(&stream->graph->nodes, o);
        return OK;
    }
    if (stream == &default_stream)
        drain_blocking();
    append(&stream->todo, o);
    return OK;
}

/* For the stand-in of libnvinfer: a kernel launch, done when somebody waits for the stream. */
API CUresult standin_launch(CUstream stream, CUhostFn function, void *argument)
{
    ENTER();
    return leave(enqueue(stream, (struct operation){
        .kind = CALL, .function = function, .argument = argument, .is_launch = 1}));
}

/* For the stand-in of libnvinfer, from inside a launch: it failed. */
API void standin_fail(CUresult code)
{
    pthread_mutex_lock(&lock);
    primary.broken = code;
    pthread_mutex_unlock(&lock);
}

API CUresult cuLaunchHostFunc(CUstream stream, CUhostFn function, void *argument)
{
    ENTER();
    return leave(enqueue(stream, (struct operation){
        .kind = CALL, .function = function, .argument = argument}));
}

API CUresult cuStreamCreate(CUstream *stream, unsigned flags)
{
    ENTER();
    struct stream *made = calloc(1, sizeof *made);
    made->alive = 1;
    made->blocking = !(flags & 1);
    made->context = current();
    made->next = streams->next;
    streams->next = made;
    counters[STREAMS]++;
    *stream = made;
    return leave(OK);
}

API CUresult cuStreamCreateWithPriority(CUstream *stream, unsigned flags, int priority)
{
    (void)priority;
    return cuStreamCreate(stream, flags);
}

API CUresult cuStreamDestroy_v2(CUstream handle)
{
    ENTER_BROKEN_TOO();
    CUstream stream = stream_of(handle);
    if (!stream || stream == &default_stream)
        return leave(INVALID_HANDLE);
    drain(stream, NULL, 0);
    stream->alive = 0; /* kept, so that a later use is recognised */
    counters[STREAMS]--;
    return leave_broken(OK);
}

API CUresult cuStreamSynchronize(CUstream handle)
{
    ENTER();
    CUstream stream = stream_of(handle);
    if (!stream)
        return leave(INVALID_HANDLE);
    if (stream->capturing)
        return leave(CAPTURE_UNSUPPORTED);
    drain(stream, NULL, 0);
    return leave(current()->broken);
}

/* Who asks again and again is answered at last, but never at the first time. */
API CUresult cuStreamQuery(CUstream handle)
{
    ENTER();
    CUstream stream = stream_of(handle);
    if (!stream)
        return leave(INVALID_HANDLE);
    if (stream->capturing)
        return leave(CAPTURE_UNSUPPORTED);
    if (!stream->todo.first && !stream->busy)
        return leave(current()->broken);
    drain(stream, NULL, 0);
    return leave(NOT_READY);
}

API CUresult cuStreamGetFlags(CUstream handle, unsigned *flags)
{
    ENTER();
    CUstream stream = stream_of(handle);
    if (!stream)
        return leave(INVALID_HANDLE);
    *flags = !stream->blocking;
    return leave(OK);
}

API CUresult cuStreamGetPriority(CUstream handle, int *priority)
{
    ENTER();
    *priority = 0;
    return leave(stream_of(handle) ? OK : INVALID_HANDLE);
}

API CUresult cuStreamGetCtx(CUstream handle, CUcontext *context)
{
    ENTER();
    CUstream stream = stream_of(handle);
    if (!stream)
        return leave(INVALID_HANDLE);
    *context = stream->context ? stream->context : current();
    return leave(OK);
}

/* --- copies --------------------------------------------------------------------------------- */

static CUresult check_range(CUdeviceptr address, size_t bytes)
{
    return (address & DEVICE_BIT) && block_of(address, bytes) ? OK : INVALID_VALUE;
}

/* Pageable host memory is staged on the way to the device; on the way back the call waits. */
static CUresult copy(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream, int wait)
{
    int to_device = (to & DEVICE_BIT) != 0, from_device = (from & DEVICE_BIT) != 0;
    if ((to_device && check_range(to, bytes)) || (from_device && check_range(from, bytes)))
        return INVALID_VALUE;
    if (!to_device && !from_device)
        return INVALID_VALUE;
    struct operation o = {.kind = COPY, .to = to, .from = from, .bytes = bytes};
    int pageable = (!from_device && !block_of(from, bytes)) || (!to_device && !block_of(to, bytes));
    CUstream known = stream_of(stream);
    if (known && known->capturing && (wait || pageable))
        return CAPTURE_UNSUPPORTED;
    if (pageable && !from_device) {
        o.staged = malloc(bytes ? bytes : 1);
        memcpy(o.staged, (void *)(uintptr_t)from, bytes);
    }
    if (!from_device) {
        counters[COPIES_TO_DEVICE]++;
        counters[BYTES_TO_DEVICE] += bytes;
    } else if (!to_device) {
        counters[COPIES_TO_HOST]++;
        counters[BYTES_TO_HOST] += bytes;
    }
    CUresult result = enqueue(stream, o);
    if (result == OK && (wait || (pageable && !to_device)))
        drain(known, NULL, 0);
    return result != OK ? result : current()->broken;
}

API CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t bytes)
{
    ENTER();
    return leave((to & DEVICE_BIT) ? copy(to, (uintptr_t)from, bytes, NULL, 1) : INVALID_VALUE);
}

API CUresult cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t bytes)
{
    ENTER();
    return leave((from & DEVICE_BIT) ? copy((uintptr_t)to, from, bytes, NULL, 1) : INVALID_VALUE);
}

API CUresult cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes)
{
    ENTER();
    return leave(to & from & DEVICE_BIT ? copy(to, from, bytes, NULL, 1) : INVALID_VALUE);
}

API CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t bytes, CUstream stream)
{
    ENTER();
    return leave((to & DEVICE_BIT) ? copy(to, (uintptr_t)from, bytes, stream, 0) : INVALID_VALUE);
}

API CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t bytes, CUstream stream)
{
    ENTER();
    return leave((from & DEVICE_BIT) ? copy((uintptr_t)to, from, bytes, stream, 0) : INVALID_VALUE);
}

API CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream)
{
    ENTER();
    return leave(to & from & DEVICE_BIT ? copy(to, from, bytes, stream, 0) : INVALID_VALUE);
}

API CUresult cuMemcpy(CUdeviceptr to, CUdeviceptr from, size_t bytes)
{
    ENTER();
    return leave(copy(to, from, bytes, NULL, 1));
}

API CUresult cuMemcpyAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream)
{
    ENTER();
    return leave(copy(to, from, bytes, stream, 0));
}

static CUresult set(CUdeviceptr to, unsigned char value, size_t bytes, CUstream stream, int wait)
{
    if (check_range(to, bytes))
        return INVALID_VALUE;
    CUresult result = enqueue(stream, (struct operation){
        .kind = SET, .to = to, .value = value, .bytes = bytes});
    if (result == OK && wait)
        drain(stream_of(stream), NULL, 0);
    return result;
}

API CUresult cuMemsetD8_v2(CUdeviceptr to, unsigned char value, size_t bytes)
{
    ENTER();
    return leave(set(to, value, bytes, NULL, 1));
}

API CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t bytes, CUstream stream)
{
    ENTER();
    return leave(set(to, value, bytes, stream, 0));
}

/* --- events --------------------------------------------------------------------------------- */

API CUresult cuEventCreate(CUevent *event, unsigned flags)
{
    ENTER();
    struct event *made = calloc(1, sizeof *made);
    made->alive = 1;
    made->timed = !(flags & 2);
    made->context = current();
    counters[EVENTS]++;
    *event = made;
    return leave(OK);
}

/* The handle stays readable, so that a later use is recognised. */
API CUresult cuEventDestroy_v2(CUevent event)
{
    ENTER_BROKEN_TOO();
    if (!event || !event->alive)
        return leave(INVALID_HANDLE);
    event->alive = 0;
    counters[EVENTS]--;
    return leave_broken(OK);
}

API CUresult cuEventRecord(CUevent event, CUstream stream)
{
    ENTER();
    if (!event || !event->alive)
        return leave(INVALID_HANDLE);
    return leave(enqueue(stream, (struct operation){
        .kind = RECORD, .event = event, .ticket = ++event->asked}));
}

API CUresult cuEventRecordWithFlags(CUevent event, CUstream stream, unsigned flags)
{
    (void)flags;
    return cuEventRecord(event, stream);
}

static void reach(CUevent event)
{
    for (struct stream *s = streams; s && event->done < event->asked; s = s->next)
        if (!s->capturing)
            drain(s, event, event->asked);
}

API CUresult cuEventSynchronize(CUevent event)
{
    ENTER();
    if (!event || !event->alive)
        return leave(INVALID_HANDLE);
    reach(event);
    return leave(current()->broken);
}

API CUresult cuEventQuery(CUevent event)
{
    ENTER();
    if (!event || !event->alive)
        return leave(INVALID_HANDLE);
    if (event->done >= event->asked)
        return leave(current()->broken);
    reach(event);
    return leave(NOT_READY);
}

API CUresult cuEventElapsedTime(float *ms, CUevent from, CUevent to)
{
    ENTER();
    if (!from || !to || !from->alive || !to->alive || !from->timed || !to->timed)
        return leave(INVALID_HANDLE);
    if (!from->asked || !to->asked)
        return leave(INVALID_HANDLE);
    if (from->done < from->asked || to->done < to->asked)
        return leave(NOT_READY);
    *ms = (float)(to->ms - from->ms);
    return leave(OK);
}

API CUresult cuEventElapsedTime_v2(float *ms, CUevent from, CUevent to)
{
    return cuEventElapsedTime(ms, from, to);
}

API CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned flags)
{
    (void)flags;
    ENTER();
    if (!event || !event->alive)
        return leave(INVALID_HANDLE);
    return leave(enqueue(stream, (struct operation){
        .kind = WAIT, .event = event, .ticket = event->asked}));
}

/* --- graphs --------------------------------------------------------------------------------- */

API CUresult cuStreamBeginCapture_v2(CUstream handle, int mode)
{
    (void)mode;
    ENTER();
    CUstream stream = stream_of(handle);
    if (!stream || stream == &default_stream)
        return leave(stream ? CAPTURE_UNSUPPORTED : INVALID_HANDLE);
    if (stream->capturing)
        return leave(INVALID_VALUE);
    stream->graph = calloc(1, sizeof *stream->graph);
    stream->graph->alive = 1;
    stream->capturing = 1;
    counters[GRAPHS]++;
    return leave(OK);
}

API CUresult cuStreamEndCapture(CUstream handle, CUgraph *graph)
{
    ENTER();
    CUstream stream = stream_of(handle);
    if (!stream || !stream->capturing)
        return leave(stream ? INVALID_VALUE : INVALID_HANDLE);
    stream->capturing = 0;
    *graph = stream->graph;
    stream->graph = NULL;
    return leave(OK);
}

API CUresult cuStreamIsCapturing(CUstream handle, int *status)
{
    ENTER();
    CUstream stream = stream_of(handle);
    if (!stream)
        return leave(INVALID_HANDLE);
    *status = stream->capturing;
    return leave(OK);
}

static void copy_nodes(const struct queue *from, struct queue *to)
{
    for (const struct operation *o = from->first; o; o = o->next) {
        struct operation *again = malloc(sizeof *again);
        *again = *o;
        append(to, again);
    }
}

static void destroy_nodes(struct queue *queue)
{
    struct operation *o;
    while ((o = take(queue)))
        free(o);
}

API CUresult cuGraphInstantiateWithFlags(CUgraphExec *exec, CUgraph graph, unsigned long long flags)
{
    (void)flags;
    ENTER();
    if (!graph || !graph->alive)
        return leave(INVALID_VALUE);
    *exec = calloc(1, sizeof **exec);
    (*exec)->alive = 1;
    copy_nodes(&graph->nodes, &(*exec)->nodes);
    counters[GRAPH_EXECS]++;
    return leave(OK);
}

API CUresult cuGraphLaunch(CUgraphExec exec, CUstream handle)
{
    ENTER();
    CUstream stream = stream_of(handle);
    if (!stream || !exec || !exec->alive)
        return leave(INVALID_HANDLE);
    if (stream->capturing)
        return leave(CAPTURE_UNSUPPORTED);
    counters[GRAPH_LAUNCHES]++;
    if (stream == &default_stream)
        drain_blocking();
    copy_nodes(&exec->nodes, &stream->todo);
    return leave(OK);
}

API CUresult cuGraphUpload(CUgraphExec exec, CUstream handle)
{
    ENTER();
    return leave(stream_of(handle) && exec && exec->alive ? OK : INVALID_HANDLE);
}

API CUresult cuGraphGetNodes(CUgraph graph, void **nodes, size_t *count)
{
    ENTER();
    if (!graph || !graph->alive || nodes)
        return leave(nodes ? NOT_SUPPORTED : INVALID_VALUE);
    *count = 0;
    for (struct operation *o = graph->nodes.first; o; o = o->next)
        ++*count;
    return leave(OK);
}

static CUresult destroy_graph(struct graph *graph, int counter)
{
    if (!graph || !graph->alive)
        return INVALID_VALUE;
    destroy_nodes(&graph->nodes);
    graph->alive = 0;
    counters[counter]--;
    return OK;
}

API CUresult cuGraphDestroy(CUgraph graph)
{
    ENTER_BROKEN_TOO();
    return leave_broken(destroy_graph(graph, GRAPHS));
}

API CUresult cuGraphExecDestroy(CUgraphExec exec)
{
    ENTER_BROKEN_TOO();
    drain_all();
    return leave_broken(destroy_graph(exec, GRAPH_EXECS));
}

/* --- contexts and devices ------------------------------------------------------------------- */

API CUresult cuInit(unsigned flags)
{
    (void)flags;
    CUresult planted = (CUresult)number("STANDIN_FAIL_INIT", 0);
    if (planted)
        return planted;
    if (number("STANDIN_GPU_COUNT", 1) == 0)
        return NO_DEVICE;
    initialized = 1;
    return OK;
}

API CUresult cuDriverGetVersion(int *version)
{
    *version = (int)number("STANDIN_DRIVER_VERSION", 12060);
    return OK;
}

API CUresult cuDeviceGetCount(int *count)
{
    *count = (int)number("STANDIN_GPU_COUNT", 1);
    return initialized ? OK : NOT_INITIALIZED;
}

static CUresult device_known(CUdevice device)
{
    if (!initialized)
        return NOT_INITIALIZED;
    return device >= 0 && device < number("STANDIN_GPU_COUNT", 1) ? OK : INVALID_DEVICE;
}

API CUresult cuDeviceGet(CUdevice *device, int ordinal)
{
    *device = ordinal;
    return device_known(ordinal);
}

API CUresult cuDeviceGetName(char *name, int length, CUdevice device)
{
    snprintf(name, length, "%s", text("STANDIN_GPU_NAME", "Orin"));
    return device_known(device);
}

API CUresult cuDeviceGetUuid(char uuid[16], CUdevice device)
{
    memcpy(uuid, "dermedge-standin", 16);
    return device_known(device);
}

API CUresult cuDeviceGetUuid_v2(char uuid[16], CUdevice device)
{
    return cuDeviceGetUuid(uuid, device);
}

API CUresult cuDeviceGetPCIBusId(char *id, int length, CUdevice device)
{
    snprintf(id, length, "0000:00:00.0");
    return device_known(device);
}

API CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice device)
{
    *bytes = memory_total();
    return device_known(device);
}

API CUresult cuDeviceComputeCapability(int *major, int *minor, CUdevice device)
{
    if (sscanf(text("STANDIN_GPU_COMPUTE", "8.7"), "%d.%d", major, minor) != 2)
        return INVALID_VALUE;
    return device_known(device);
}

API CUresult cuDeviceGetAttribute(int *value, int attribute, CUdevice device)
{
    int major = 0, minor = 0;
    CUresult result = cuDeviceComputeCapability(&major, &minor, device);
    switch (attribute) {
    case 1: *value = 1024; break;                                      /* threads per block */
    case 10: *value = 32; break;                                       /* warp size */
    case 16: *value = (int)number("STANDIN_GPU_SMS", 8); break;
    case 18: *value = (int)number("STANDIN_GPU_INTEGRATED", 1); break;
    case 19: *value = (int)number("STANDIN_GPU_CAN_MAP_HOST", 1); break;
    case 41: *value = 1; break;                                        /* unified addressing */
    case 75: *value = major; break;
    case 76: *value = minor; break;
    default: *value = 0;
    }
    return result;
}

/* What a context owned is gone with it, but still counted: nobody released it. */
static void end_context(CUcontext context)
{
    drain_all();
    for (struct block **at = &blocks; *at;) {
        struct block *b = *at;
        if (b->context == context) {
            *at = b->next;
            free(b->host);
            free(b);
        } else {
            at = &b->next;
        }
    }
    for (struct stream *s = streams; s; s = s->next)
        if (s->context == context)
            s->alive = 0;
    context->alive = 0;
    counters[CONTEXTS]--;
}

API CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device)
{
    CUresult result = device_known(device);
    if (result != OK)
        return result;
    pthread_mutex_lock(&lock);
    if (primary.references++ == 0) {
        primary.alive = 1;
        primary.broken = OK;
        counters[CONTEXTS]++;
    }
    *context = &primary;
    return leave(OK);
}

API CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device)
{
    CUresult result = device_known(device);
    if (result != OK)
        return result;
    pthread_mutex_lock(&lock);
    if (primary.references == 0)
        return leave(INVALID_CONTEXT);
    if (--primary.references == 0)
        end_context(&primary);
    return leave(OK);
}

API CUresult cuDevicePrimaryCtxGetState(CUdevice device, unsigned *flags, int *active)
{
    *flags = 0;
    *active = primary.alive;
    return device_known(device);
}

API CUresult cuDevicePrimaryCtxSetFlags_v2(CUdevice device, unsigned flags)
{
    (void)flags;
    return device_known(device);
}

API CUresult cuCtxCreate_v2(CUcontext *context, unsigned flags, CUdevice device)
{
    (void)flags;
    CUresult result = device_known(device);
    if (result != OK)
        return result;
    pthread_mutex_lock(&lock);
    if (depth == 16)
        return leave(INVALID_CONTEXT);
    CUcontext made = calloc(1, sizeof *made);
    made->alive = 1;
    made->references = 1;
    counters[CONTEXTS]++;
    stack[depth++] = *context = made;
    return leave(OK);
}

API CUresult cuCtxDestroy_v2(CUcontext context)
{
    pthread_mutex_lock(&lock);
    if (!context || context->is_primary || !context->alive)
        return leave(INVALID_CONTEXT);
    end_context(context);
    if (current() == context)
        depth--;
    return leave(OK);
}

API CUresult cuCtxPushCurrent_v2(CUcontext context)
{
    if (!initialized)
        return NOT_INITIALIZED;
    if (!context || depth == 16)
        return INVALID_CONTEXT;
    stack[depth++] = context;
    return context->alive ? OK : CONTEXT_IS_DESTROYED;
}

API CUresult cuCtxPopCurrent_v2(CUcontext *context)
{
    if (!initialized)
        return NOT_INITIALIZED;
    if (depth == 0)
        return INVALID_CONTEXT;
    depth--;
    if (context)
        *context = stack[depth];
    return OK;
}

API CUresult cuCtxSetCurrent(CUcontext context)
{
    if (!initialized)
        return NOT_INITIALIZED;
    if (depth)
        depth--;
    if (context)
        stack[depth++] = context;
    return OK;
}

API CUresult cuCtxGetCurrent(CUcontext *context)
{
    *context = current();
    return initialized ? OK : NOT_INITIALIZED;
}

API CUresult cuCtxGetDevice(CUdevice *device)
{
    ENTER();
    *device = 0;
    return leave(OK);
}

API CUresult cuCtxGetFlags(unsigned *flags)
{
    ENTER();
    *flags = 0;
    return leave(OK);
}

API CUresult cuCtxGetApiVersion(CUcontext context, unsigned *version)
{
    (void)context;
    *version = 3020;
    return OK;
}

API CUresult cuCtxGetStreamPriorityRange(int *least, int *greatest)
{
    ENTER();
    if (least)
        *least = 0;
    if (greatest)
        *greatest = 0;
    return leave(OK);
}

API CUresult cuCtxSynchronize(void)
{
    ENTER();
    drain_all();
    return leave(current()->broken);
}

API CUresult cuGetErrorName(CUresult error, const char **name)
{
    *name = NULL;
    for (size_t i = 0; i < sizeof ERRORS / sizeof *ERRORS; i++)
        if (ERRORS[i].code == error)
            *name = ERRORS[i].name;
    return *name ? OK : INVALID_VALUE;
}

API CUresult cuGetErrorString(CUresult error, const char **string)
{
    *string = NULL;
    for (size_t i = 0; i < sizeof ERRORS / sizeof *ERRORS; i++)
        if (ERRORS[i].code == error)
            *string = ERRORS[i].text;
    return *string ? OK : INVALID_VALUE;
}

/* --- what lives, for tests ------------------------------------------------------------------ */

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
    for (struct block *b; (b = blocks); free(b)) {
        blocks = b->next;
        free(b->host);
    }
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

/* --- finding functions ---------------------------------------------------------------------- */

#define NEWEST(name, since, function) {name, since, (void *)(uintptr_t)(function)}
static const struct { const char *name; int since; void *function; } FUNCTIONS[] = {
    NEWEST("cuInit", 2000, cuInit), NEWEST("cuDriverGetVersion", 2020, cuDriverGetVersion),
    NEWEST("cuGetErrorName", 6000, cuGetErrorName),
    NEWEST("cuGetErrorString", 6000, cuGetErrorString),
    NEWEST("cuDeviceGet", 2000, cuDeviceGet), NEWEST("cuDeviceGetCount", 2000, cuDeviceGetCount),
    NEWEST("cuDeviceGetName", 2000, cuDeviceGetName),
    NEWEST("cuDeviceGetUuid", 9020, cuDeviceGetUuid),
    NEWEST("cuDeviceGetPCIBusId", 4010, cuDeviceGetPCIBusId),
    NEWEST("cuDeviceTotalMem", 3020, cuDeviceTotalMem_v2),
    NEWEST("cuDeviceComputeCapability", 2000, cuDeviceComputeCapability),
    NEWEST("cuDeviceGetAttribute", 2000, cuDeviceGetAttribute),
    NEWEST("cuDevicePrimaryCtxRetain", 7000, cuDevicePrimaryCtxRetain),
    NEWEST("cuDevicePrimaryCtxRelease", 7000, cuDevicePrimaryCtxRelease_v2),
    NEWEST("cuDevicePrimaryCtxGetState", 7000, cuDevicePrimaryCtxGetState),
    NEWEST("cuDevicePrimaryCtxSetFlags", 7000, cuDevicePrimaryCtxSetFlags_v2),
    NEWEST("cuCtxCreate", 3020, cuCtxCreate_v2), NEWEST("cuCtxDestroy", 4000, cuCtxDestroy_v2),
    NEWEST("cuCtxPushCurrent", 4000, cuCtxPushCurrent_v2),
    NEWEST("cuCtxPopCurrent", 4000, cuCtxPopCurrent_v2),
    NEWEST("cuCtxSetCurrent", 4000, cuCtxSetCurrent),
    NEWEST("cuCtxGetCurrent", 4000, cuCtxGetCurrent),
    NEWEST("cuCtxGetDevice", 2000, cuCtxGetDevice), NEWEST("cuCtxGetFlags", 7000, cuCtxGetFlags),
    NEWEST("cuCtxGetApiVersion", 3020, cuCtxGetApiVersion),
    NEWEST("cuCtxGetStreamPriorityRange", 5050, cuCtxGetStreamPriorityRange),
    NEWEST("cuCtxSynchronize", 2000, cuCtxSynchronize),
    NEWEST("cuMemAlloc", 3020, cuMemAlloc_v2), NEWEST("cuMemFree", 3020, cuMemFree_v2),
    NEWEST("cuMemHostAlloc", 2020, cuMemHostAlloc),
    NEWEST("cuMemAllocHost", 3020, cuMemAllocHost_v2),
    NEWEST("cuMemFreeHost", 2000, cuMemFreeHost),
    NEWEST("cuMemHostGetDevicePointer", 3020, cuMemHostGetDevicePointer_v2),
    NEWEST("cuMemHostGetFlags", 2030, cuMemHostGetFlags),
    NEWEST("cuMemGetInfo", 3020, cuMemGetInfo_v2),
    NEWEST("cuMemGetAddressRange", 3020, cuMemGetAddressRange_v2),
    NEWEST("cuMemcpy", 4000, cuMemcpy), NEWEST("cuMemcpyAsync", 4000, cuMemcpyAsync),
    NEWEST("cuMemcpyHtoD", 3020, cuMemcpyHtoD_v2), NEWEST("cuMemcpyDtoH", 3020, cuMemcpyDtoH_v2),
    NEWEST("cuMemcpyDtoD", 3020, cuMemcpyDtoD_v2),
    NEWEST("cuMemcpyHtoDAsync", 3020, cuMemcpyHtoDAsync_v2),
    NEWEST("cuMemcpyDtoHAsync", 3020, cuMemcpyDtoHAsync_v2),
    NEWEST("cuMemcpyDtoDAsync", 3020, cuMemcpyDtoDAsync_v2),
    NEWEST("cuMemsetD8", 3020, cuMemsetD8_v2), NEWEST("cuMemsetD8Async", 3020, cuMemsetD8Async),
    NEWEST("cuStreamCreate", 2000, cuStreamCreate),
    NEWEST("cuStreamCreateWithPriority", 5050, cuStreamCreateWithPriority),
    NEWEST("cuStreamDestroy", 4000, cuStreamDestroy_v2),
    NEWEST("cuStreamSynchronize", 2000, cuStreamSynchronize),
    NEWEST("cuStreamQuery", 2000, cuStreamQuery), NEWEST("cuStreamGetFlags", 5050, cuStreamGetFlags),
    NEWEST("cuStreamGetPriority", 5050, cuStreamGetPriority),
    NEWEST("cuStreamGetCtx", 9020, cuStreamGetCtx),
    NEWEST("cuStreamWaitEvent", 3020, cuStreamWaitEvent),
    NEWEST("cuLaunchHostFunc", 10000, cuLaunchHostFunc),
    NEWEST("cuEventCreate", 2000, cuEventCreate), NEWEST("cuEventDestroy", 4000, cuEventDestroy_v2),
    NEWEST("cuEventRecord", 2000, cuEventRecord),
    NEWEST("cuEventRecordWithFlags", 11010, cuEventRecordWithFlags),
    NEWEST("cuEventSynchronize", 2000, cuEventSynchronize),
    NEWEST("cuEventQuery", 2000, cuEventQuery), NEWEST("cuEventElapsedTime", 2000, cuEventElapsedTime),
    NEWEST("cuStreamBeginCapture", 10010, cuStreamBeginCapture_v2),
    NEWEST("cuStreamEndCapture", 10000, cuStreamEndCapture),
    NEWEST("cuStreamIsCapturing", 10000, cuStreamIsCapturing),
    NEWEST("cuGraphInstantiate", 12000, cuGraphInstantiateWithFlags),
    NEWEST("cuGraphInstantiateWithFlags", 11040, cuGraphInstantiateWithFlags),
    NEWEST("cuGraphLaunch", 10000, cuGraphLaunch), NEWEST("cuGraphUpload", 11010, cuGraphUpload),
    NEWEST("cuGraphGetNodes", 10000, cuGraphGetNodes),
    NEWEST("cuGraphDestroy", 10000, cuGraphDestroy),
    NEWEST("cuGraphExecDestroy", 10000, cuGraphExecDestroy),
};

/* A function is given under its base name; one that is younger than `version` is not. */
API CUresult cuGetProcAddress_v2(const char *symbol, void **function, int version,
                                 unsigned long long flags, int *status)
{
    (void)flags;
    *function = NULL;
    if (status)
        *status = 1; /* not found */
    /* Newer forms of these take other arguments, which are not here. */
    if (!strcmp(symbol, "cuCtxCreate") && version >= 11040)
        return NOT_FOUND;
    if (!strcmp(symbol, "cuGetProcAddress"))
        *function = (void *)(uintptr_t)cuGetProcAddress_v2;
    for (size_t i = 0; i < sizeof FUNCTIONS / sizeof *FUNCTIONS; i++)
        if (!strcmp(symbol, FUNCTIONS[i].name) && version >= FUNCTIONS[i].since)
            *function = FUNCTIONS[i].function;
    if (*function && status)
        *status = 0;
    return *function ? OK : NOT_FOUND;
}
