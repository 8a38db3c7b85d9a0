"""The operations on arrays, in C++ and in NumPy, and the formats of numbers."""
