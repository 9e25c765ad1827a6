/* The device, as the environment describes it, and the names of errors. */
#include "libcuda.h"
#include <stdio.h>
#include <string.h>

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
    {DRIVER_MISMATCH, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
     "system has unsupported display driver / cuda driver combination"},
    {CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
     "operation not permitted when stream is capturing"},
    {CAPTURE_INVALIDATED, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
     "operation failed due to a previous error during capture"},
};

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

CUresult device_known(CUdevice device)
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
