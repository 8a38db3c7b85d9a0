// A kind of operation: how one is checked, sized and run. The table of them is in kinds.cpp.
#pragma once
#include <initializer_list>

#include "program.h"

namespace nextword {

// An operation that is being added, and the words of its errors: std::invalid_argument.
struct Adding {
  Program& program;
  const Op& op;

  Rows rows(size_t input) const { return program.value(op.inputs[input].value).rows; }
  int64_t cols(size_t input) const { return op.inputs[input].cols; }
  std::string shape(size_t input) const;  // as messages show it

  [[noreturn]] void reject(const char* name, const std::string& expected, const std::string& got) const;
  void check_input(size_t input, const char* name, Rows rows, int64_t cols) const;
  void check_vector(size_t array, const char* name, int64_t cols, bool or_none) const;
  void check_cache(std::initializer_list<const char*> names) const;  // rows of one width for all of a cache's layer
  void check_queries() const;                                        // rows of this width, or of a multiple of it
  void limit(Index index, int64_t most) const;             // its numbers stay below
};

// A pass under way.
struct Running {
  const Program& program;
  const Pass& pass;
  const std::vector<Queries>& queries;  // by the number of the cache
  const TextRoom& texts;                // of attention within texts
  float* room;                          // of a matmul
  float* const* registers;
  float* out;

  int64_t rows(Rows kind) const { return kind == Rows::tokens ? pass.count : pass.wanted_count; }
  const int64_t* numbers(Index index) const {
    return index == Index::ids ? pass.ids : index == Index::places ? pass.places : index == Index::types ? pass.types : pass.wanted;
  }
  int64_t stride(const Value& v) const { return v.apart ? spread_stride(rows(v.rows), v.cols) : v.cols; }
  float* at(const Value& v) const { return v.place < 0 ? out : registers[v.place]; }

  // Of an operation: where an input begins, and how far its rows are apart; how many rows the result has.
  const float* in(const Op& op, size_t input) const {
    return at(program.value(op.inputs[input].value)) + op.inputs[input].first;
  }
  int64_t in_stride(const Op& op, size_t input) const { return stride(program.value(op.inputs[input].value)); }
  float* to(const Op& op) const { return at(program.value(op.out)); }
  int64_t to_rows(const Op& op) const { return rows(program.value(op.out).rows); }
  int64_t to_cols(const Op& op) const { return program.value(op.out).cols; }
};

// What holds for a kind. An input whose rows may lie apart may be some columns of a value; any other must be a whole one.
enum Trait : unsigned {
  cached = 1,      // it takes a layer of a cache
  product = 2,     // it reads a whole matrix
  activated = 4,   // it applies an activation
  x_apart = 8,     // the first input's rows may lie apart
  y_apart = 16,    // the second one's
  z_apart = 32,    // the third one's
  out_apart = 64,  // it can write rows apart
  times = 128,     // the second input is multiplied by
  windowed = 256,  // it may see a window of tokens
  headed = 512     // it takes a number of heads
};

// A kind of operation.
struct Kind {
  const char* name;
  size_t inputs, indices, matrices, arrays;  // how many it has: three, two, one, two at most
  unsigned traits;
  Value (*made)(const Adding& adding);  // checks it; what it makes, without columns if it makes nothing
  void (*run)(const Op& op, const Running& running);

  bool is(Trait trait) const { return traits & trait; }
  bool reads_apart(size_t input) const { return traits & (x_apart << input); }
};

}  // namespace nextword
