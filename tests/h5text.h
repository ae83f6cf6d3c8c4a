/* h5text.h: attributes of text in HDF5 files of tests. */
#ifndef KRAY_TEST_H5TEXT_H
#define KRAY_TEST_H5TEXT_H
#include <hdf5.h>
#include <string.h>

static inline void h5_text(hid_t object, const char *name, const char *value)
{
    hid_t t = H5Tcopy(H5T_C_S1), space = H5Screate(H5S_SCALAR);
    H5Tset_size(t, strlen(value));
    hid_t a = H5Acreate2(object, name, t, space, H5P_DEFAULT, H5P_DEFAULT);
    H5Awrite(a, t, value);
    H5Aclose(a);
    H5Sclose(space);
    H5Tclose(t);
}
#endif
