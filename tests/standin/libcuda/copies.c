/* Copies between host and device. */
#include "libcuda.h"
#include <stdlib.h>
#include <string.h>

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
