# What Cython need not find out when it compiles gate.py; the meaning stays the same.
cimport cython

cdef Py_ssize_t _PAIRS, _ROW, _PLACES, _PARTS
cdef unsigned int _BASIC
cdef unsigned long long _ONE, _EVERY, _KNOWN

cdef class Traces:
    cdef const unsigned int[::1] _basic
    cdef dict _numbers
    cdef const unsigned char[::1] _begun
    cdef Py_ssize_t _alone

    @cython.locals(
        part="unsigned long long",
        last="unsigned long long",
        first=cython.Py_ssize_t,
        second=cython.Py_ssize_t,
        pair=cython.Py_ssize_t,
        trace=cython.Py_ssize_t,
        place=cython.Py_ssize_t,
        point=cython.uint,
        character=cython.Py_UCS4,
    )
    cpdef object tell(self, str text, int shift, unsigned long long[::1] parts, Py_ssize_t begin)

    cdef Py_ssize_t _pair(self, Py_ssize_t first, Py_ssize_t second) noexcept

cdef class Gate:
    cdef Traces _traces
    cdef Py_ssize_t _count
    cdef const int[::1] _before
    cdef const int[::1] _behind
    cdef const int[::1] _words
    cdef const int[::1] _needs
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
    cpdef tuple open(self, str text, list found)

    @cython.locals(
        begin=cython.Py_ssize_t,
        first=cython.Py_ssize_t,
        last=cython.Py_ssize_t,
        around="unsigned long long",
        needed="unsigned long long",
        trace="unsigned long long",
        stands="unsigned long long",
        need=cython.Py_ssize_t,
        place=cython.Py_ssize_t,
        index=cython.Py_ssize_t,
    )
    cdef bint _is_near(self, Py_ssize_t start, Py_ssize_t pattern, unsigned long long[::1] parts, int shift) except -1
