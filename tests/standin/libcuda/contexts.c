/* Contexts: the primary one, those that callers make, and which one is current in a thread. */
#include "libcuda.h"
#include <stdlib.h>

/* What a context owned is gone with it, but still counted: nobody released it. */
static void end_context(CUcontext context)
{
    drain_all();
    forget_blocks(context);
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
