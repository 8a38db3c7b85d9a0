// Calls whose arguments do not fit a function's signature: one short error that names the function and the argument.
#pragma once
#include <pybind11/pybind11.h>

// Of every function of the module and method of its classes that is bound by now. pybind11 would list its own signatures
// and repeat all arguments, however long they are. Costs a call that goes well one comparison of pointers.
void word_call_errors(pybind11::module_& m);
