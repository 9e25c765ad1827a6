/* Events: moments in a stream. */
#include "libcuda.h"
#include <stdlib.h>

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
