# Whole numbers are asked for as such: `from engine.core.whole cimport *` in a module whose functions take any.
#
# Cython makes C integers of what is no int by __int__, which cuts the fraction off a float or a Decimal. __index__ is Python's
# word for "is a whole number": ints and NumPy's integers have it, and what hasn't it gets a TypeError. Cython asks only where it
# didn't find an int, so it costs nothing. tests/engine/core/test_whole_numbers.py holds each module against it.

from cpython.number cimport PyNumber_Index
from libc.stdint cimport int64_t


cdef extern from *:
    """
    #define nb_int nb_index /* of PyNumberMethods, behind Python.h: what Cython's conversions look at */
    """


cdef inline int64_t levels_wanted(object n, int64_t usual, int64_t held) except -1:
    # How many levels of those held a reader gets who asks for n, or for none in particular.
    if n is None:
        return min(usual, held)
    n = PyNumber_Index(n)
    if n < 0:
        raise ValueError(f"found {n} levels, expected 0 or more")
    return <int64_t>min(n, held)
