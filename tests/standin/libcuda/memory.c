/* Device memory, pinned and mapped host memory. */
#include "libcuda.h"
#include <stdlib.h>
#include <string.h>

long long memory_total(void) { return number("STANDIN_GPU_MEMORY", 8ll << 30); }

static long long memory_free(void)
{
    long long left = memory_total() - number("STANDIN_GPU_USED", 0) - counters[DEVICE_BYTES];
    if (number("STANDIN_GPU_INTEGRATED", 1))
        left -= counters[HOST_BYTES];
    return left < 0 ? 0 : left;
}

struct block *block_of(CUdeviceptr address, size_t bytes)
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
char *bytes_at(CUdeviceptr address, size_t bytes)
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

/* Frees what a context owned, or all, and counts none of it as released. */
void forget_blocks(CUcontext context)
{
    for (struct block **at = &blocks; *at;) {
        struct block *b = *at;
        if (context && b->context != context) {
            at = &b->next;
            continue;
        }
        *at = b->next;
        free(b->host);
        free(b);
    }
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
