// A graph of operations, recorded once and run as one call: what a model computes from ids to logits, without its
// architecture. Which kinds of operations there are, how each is checked, sized and run: one row each in kinds.cpp.
#pragma once
#include <string>
#include <vector>

#include "attention.h"
#include "ops.h"

namespace nextword {

enum class Rows { tokens, wanted };        // what a value has a row for each of: the fresh tokens, or the wanted ones
enum class Index { ids, places, wanted };  // the numbers that a pass brings
constexpr int row_kinds = 2, index_kinds = 3;

// Rows from which on a pass is long: a start of threads costs nothing beside it.
constexpr int64_t many_tokens = 32;

extern const char* const row_names[row_kinds];
extern const char* const index_names[index_kinds];
inline Rows rows_of(Index index) { return index == Index::wanted ? Rows::wanted : Rows::tokens; }

struct Kind;

// Columns first .. first + cols - 1 of a value.
struct View {
  int value;
  int64_t first, cols;
};

// A float32 array of the weights, [cols] (rows = 0) or [rows, cols]; null data: none is given.
struct Array {
  const float* data;
  int64_t rows, cols;
};

// Its kind says how much of what an operation may have it has.
struct Op {
  const Kind* kind = nullptr;
  View inputs[2] = {};
  Index indices[2] = {};
  Packed matrix;
  Array arrays[2] = {};
  float scalar = 0;  // eps of a norm, scale of attention's scores
  Activation activation = Activation::none;
  int cache = -1, layer = -1;  // where keys and values are: the number of a cache and the layer in it
  int out = -1;           // the value that it makes; -1: none, it writes to a cache
  int next_product = -1;  // the operation, counted through the program, whose weights are read next
};

struct Value {
  Rows rows;
  int64_t cols;
  int place = -1;      // which register holds it; -1: what run() writes the result to
  bool apart = false;  // whether its rows lie spread_stride apart
};

struct Program {
  std::vector<Op> ops;
  std::vector<Value> values;
  // What close() finds: the result, a value; the registers, memory that values take in turns; of all values one of each
  // size and place; of all products the deepest of each format and the largest of a token; multiply-adds of a row.
  int result = -1, registers = 0;
  std::vector<Value> sizes;
  std::vector<int> deepest;
  int64_t largest = 0, products[row_kinds] = {};
  std::vector<std::vector<int64_t>> widths;  // heads * width of each cache's layers; 0: no operation takes that layer

  // What run() is to check: each number of an index is below its limit, which is the smallest of all tables that it looks
  // up in. A wanted row is one of the tokens.
  int64_t limits[index_kinds];

  Program();
  // Adds an operation, checked against the values that there are; returns it. Throws std::invalid_argument.
  const Op& add(Op op);
  // Names the value that is the result, and gives each value its place. Throws std::invalid_argument unless it is a whole
  // value and the program is open.
  void close(const View& result);
  bool closed() const { return result >= 0; }
};

const Kind& kind_of(const std::string& name);  // throws std::invalid_argument

// A cache in a pass: which slots the sequences have, what each held before, and the memory of each layer.
struct Past {
  Sequences sequences;
  std::vector<Cache> layers;
};

// ids, places: of each fresh token of the sequences, one sequence after the other. wanted: tokens, counted through them.
struct Pass {
  const int64_t *ids, *places, *wanted;
  int64_t count, wanted_count;
  std::vector<Past> pasts;  // by the number of the cache; fresh tokens are the same in all
};

// Runs a closed program: each operation in turn, as ops.h and attention.h have it. out: [rows of the result, its columns].
// seconds: null, or what the time of each operation is added to [ops]. Throws what interrupts it (interrupt.h) and
// std::bad_alloc; the caches then hold no more than before.
void run(const Program& program, const Pass& pass, float* out, double* seconds = nullptr);

}  // namespace nextword
