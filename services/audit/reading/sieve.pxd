# What Cython need not find out when it compiles sieve.py; the meaning stays the same.
cimport cython

cdef class Sieve:
    cdef Py_ssize_t _first
    cdef dict _also
    cdef const unsigned int[::1] _disguises
    cdef const unsigned char[::1] _is_also

    @cython.locals(disguises=list, one=tuple, number=cython.Py_ssize_t)
    cpdef tuple parted(self, list found)
