/* breaks.c: loaded in front of HDF5 (LD_PRELOAD), breaks down over every file whose name holds "breaks", as HDF5 does over some
 * damaged files: so what Kray makes of that is tested with any version of HDF5. */
#include <dlfcn.h>
#include <hdf5.h>
#include <signal.h>
#include <string.h>

hid_t H5Fopen(const char *name, unsigned flags, hid_t how)
{
    union { void *object; hid_t (*call)(const char *, unsigned, hid_t); } real = { .object = dlsym(RTLD_NEXT, "H5Fopen") };
    if (strstr(name, "breaks"))
        raise(SIGSEGV);
    return real.call(name, flags, how);
}
