# What Cython need not find out when it compiles alike.py; the meaning stays the same.
cimport cython

cdef unsigned int _BASIC

cdef class Alike:
    cdef const unsigned int[::1] _sounds
    cdef dict _beyond
    cdef Py_ssize_t _row
    cdef Py_ssize_t _mask
    cdef const int[::1] _begins
    cdef const unsigned int[::1] _thirds
    cdef const unsigned char[::1] _begun
    cdef const int[::1] _places
    cdef const int[::1] _letters
    cdef Py_ssize_t _sure

    @cython.locals(
        meant=list,
        first=cython.Py_ssize_t,
        second=cython.Py_ssize_t,
        third=cython.Py_ssize_t,
        place=cython.Py_ssize_t,
        character=cython.Py_UCS4,
        point=cython.uint,
        pair=cython.Py_ssize_t,
    )
    cpdef list of(self, str text)

    @cython.locals(word=cython.Py_ssize_t, is_third=cython.bint)
    cdef object _begin(self, str text, Py_ssize_t start, Py_ssize_t pair, Py_ssize_t third, list meant)

    @cython.locals(
        place=cython.Py_ssize_t,
        length=cython.Py_ssize_t,
        same=cython.Py_ssize_t,
        index=cython.Py_ssize_t,
        point=cython.uint,
        letter=cython.uint,
    )
    cdef bint _is_near(self, str text, Py_ssize_t start, Py_ssize_t word) except -1

    cdef Py_ssize_t _sound(self, unsigned int point) except -1
