# What Cython need not find out when it compiles letters.py; the meaning stays the same.
cimport cython

cdef unsigned int _BASIC, _NONE, _OTHER

cdef class Translation:
    cdef object _table
    cdef const unsigned short[::1] _codes
    cdef list _list

    @cython.locals(
        buffer=bytearray,
        pieces=list,
        size=cython.Py_ssize_t,
        point=cython.uint,
        character=cython.Py_UCS4,
        code=cython.ushort,
    )
    cpdef str of(self, str text)

cdef class Marks:
    cdef dict _marked
    cdef dict _beyond
    cdef const unsigned long long[::1] _sets
    cdef const unsigned short[::1] _numbers

    @cython.locals(found=cython.ulonglong, point=cython.uint, character=cython.Py_UCS4)
    cpdef object of(self, str text)

    @cython.locals(
        longest=cython.Py_ssize_t,
        run=cython.Py_ssize_t,
        gap=cython.Py_ssize_t,
        point=cython.uint,
        character=cython.Py_UCS4,
        marks=cython.ulonglong,
    )
    cpdef Py_ssize_t longest(
        self, str text, unsigned long long mark, unsigned long long between, Py_ssize_t most
    ) except -1

    @cython.locals(
        runs=list,
        start=cython.Py_ssize_t,
        place=cython.Py_ssize_t,
        point=cython.uint,
        character=cython.Py_UCS4,
        marks=cython.ulonglong,
    )
    cpdef list runs(self, str text, unsigned long long mark, Py_ssize_t least)

cdef str _text(bytearray buffer, Py_ssize_t size)
