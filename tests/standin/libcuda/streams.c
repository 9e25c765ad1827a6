/* Streams: what is queued on them, and when it is done. */
#include "libcuda.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>

static pthread_cond_t idle = PTHREAD_COND_INITIALIZER;

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e3 * t.tv_sec + 1e-6 * t.tv_nsec;
}

CUstream stream_of(CUstream handle)
{
    if ((uintptr_t)handle <= 2)
        return &default_stream;
    for (struct stream *s = streams; s; s = s->next)
        if (s == handle && s->alive)
            return s;
    return NULL;
}

void append(struct queue *queue, struct operation *operation)
{
    operation->next = NULL;
    if (queue->last)
        queue->last->next = operation;
    else
        queue->first = operation;
    queue->last = operation;
}

struct operation *take(struct queue *queue)
{
    struct operation *first = queue->first;
    if (first && !(queue->first = first->next))
        queue->last = NULL;
    return first;
}

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
void drain(CUstream stream, CUevent event, unsigned long long ticket)
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

/* Not what another thread is waiting for just now: it may want Python's lock, and cuda-python before
 * 12.9 keeps that while it is here. */
void drain_all(void)
{
    for (struct stream *s = streams; s; s = s->next)
        if (!s->busy)
            drain(s, NULL, 0);
}

/* The default stream waits for every stream that was not made non-blocking. */
void drain_blocking(void)
{
    for (struct stream *s = streams; s; s = s->next)
        if (s->blocking && !s->busy)
            drain(s, NULL, 0);
}

CUresult enqueue(CUstream handle, struct operation operation)
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
