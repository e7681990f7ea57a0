# What Cython need not find out when it compiles gate.py; the meaning stays the same.
cimport cython

cdef Py_ssize_t _PARTS
cdef unsigned long long _ONE, _EVERY

cdef class Gate:
    cdef Py_ssize_t _count
    cdef const int[::1] _before
    cdef const int[::1] _behind
    cdef const int[::1] _words
    cdef const int[::1] _lists

    @cython.locals(
        shift=cython.int,
        parts="unsigned long long[::1]",
        start=cython.Py_ssize_t,
        word=cython.Py_ssize_t,
        entry=cython.Py_ssize_t,
        first=cython.Py_ssize_t,
        place=cython.Py_ssize_t,
        pattern=cython.Py_ssize_t,
        one=tuple,
        tries=list,
        others=list,
    )
    cpdef tuple open(self, list found, Py_ssize_t length)

    @cython.locals(first=cython.Py_ssize_t, last=cython.Py_ssize_t)
    cdef unsigned long long _around(self, Py_ssize_t start, Py_ssize_t pattern, int shift)
