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
 * The device is described by the environment and read at each call:
 *   STANDIN_GPU_COUNT, _NAME, _COMPUTE ("8.7"), _SMS, _MEMORY (bytes), _USED (bytes that others
 *   hold), _INTEGRATED, _CAN_MAP_HOST, STANDIN_DRIVER_VERSION.
 * Failures are planted the same way. Counting begins at 1; "3" means the third, "3+" also all later
 * ones (pycuda tries once more before it says that there is no memory):
 *   STANDIN_FAIL_INIT=<CUresult>        cuInit returns it
 *   STANDIN_FAIL_ALLOC=<n>              the n-th allocation finds no memory
 *   STANDIN_FAIL_LAUNCH=<n>             the n-th launch fails when it is waited for
 */
#ifndef STANDIN_LIBCUDA_H
#define STANDIN_LIBCUDA_H
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

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
    NOT_SUPPORTED = 801, DRIVER_MISMATCH = 803,
    CAPTURE_UNSUPPORTED = 900, CAPTURE_INVALIDATED = 901,
};

/* --- what there is ------------------------------------------------------------------------- */

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

extern pthread_mutex_t lock;             /* guards all that follows but the last two */
extern int initialized;
extern struct context primary;
extern struct stream default_stream;
extern struct stream *streams;           /* all that were ever made, the default one first */
extern struct block *blocks;
extern long long counters[COUNTERS];
extern __thread CUcontext stack[16];     /* the thread's contexts, the current one on top */
extern __thread int depth;

/* --- state.c ------------------------------------------------------------------------------- */

const char *text(const char *name, const char *otherwise);
long long number(const char *name, long long otherwise);
int planted(const char *name, long long count);
CUcontext current(void);
CUresult enter(void);                    /* takes the lock; what is wrong with the context */
CUresult leave(CUresult result);         /* gives it back */
CUresult leave_broken(CUresult result);  /* the same, for calls that a broken context lets pass */

/* What a call that needs a context begins with; it ends with `return leave(...)`. */
#define ENTER() do { CUresult entered = enter(); if (entered != OK) return leave(entered); } while (0)

/* Releasing goes on after a failure that broke the context, and says that it is broken. */
#define ENTER_BROKEN_TOO() do { CUresult entered = enter(); \
    if (entered != OK && !(current() && current()->alive && initialized)) return leave(entered); \
    } while (0)

/* --- memory.c ------------------------------------------------------------------------------ */

long long memory_total(void);
struct block *block_of(CUdeviceptr address, size_t bytes);
char *bytes_at(CUdeviceptr address, size_t bytes);
void forget_blocks(CUcontext context);

/* --- devices.c ----------------------------------------------------------------------------- */

CUresult device_known(CUdevice device);

/* --- streams.c ----------------------------------------------------------------------------- */

CUstream stream_of(CUstream handle);
CUresult enqueue(CUstream handle, struct operation operation);
void append(struct queue *queue, struct operation *operation);
struct operation *take(struct queue *queue);
void drain(CUstream stream, CUevent event, unsigned long long ticket);
void drain_all(void);
void drain_blocking(void);

#endif
