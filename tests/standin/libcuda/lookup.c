/* cuGetProcAddress: finds functions by the names that they have without their version. */
#define _GNU_SOURCE
#include "libcuda.h"
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

/* Where the youngest form is not simply the one that is called _v2, or nothing. */
static const struct { const char *name; int since; const char *function; } OTHERS[] = {
    {"cuGraphInstantiate", 12000, "cuGraphInstantiateWithFlags"},
    {"cuCtxCreate", 11040, NULL}, /* takes other arguments since then */
    {"cuGetProcAddress", 0, "cuGetProcAddress_v2"},
};

API CUresult cuGetProcAddress_v2(const char *symbol, void **function, int version,
                                 unsigned long long flags, int *status)
{
    Dl_info own;
    char name[80];
    (void)flags;
    *function = NULL;
    if (status)
        *status = 1; /* not found */
    dladdr((void *)(uintptr_t)cuGetProcAddress_v2, &own);
    void *library = dlopen(own.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
    const char *special = symbol;
    for (size_t i = 0; i < sizeof OTHERS / sizeof *OTHERS; i++)
        if (!strcmp(symbol, OTHERS[i].name) && version >= OTHERS[i].since)
            special = OTHERS[i].function;
    if (special) {
        snprintf(name, sizeof name, "%s_v2", symbol);
        *function = special == symbol ? dlsym(library, name) : NULL;
        if (!*function)
            *function = dlsym(library, special);
    }
    dlclose(library);
    if (*function && status)
        *status = 0;
    return *function ? OK : NOT_FOUND;
}
