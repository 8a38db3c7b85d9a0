// A graph of operations, recorded once and run as one call: what a model computes from ids to logits, without its
// architecture. Which kinds of operations there are, how each is checked, sized and run: one row each in kinds.cpp.
#pragma once
#include <string>
#include <vector>

#include "attention.h"
#include "ops.h"
#include "within.h"

namespace nextword {

enum class Rows { tokens, wanted };        // what a value has a row for each of: the fresh tokens, or the wanted ones
enum class Index { ids, places, types, wanted };  // the numbers that a pass brings
constexpr int row_kinds = 2, index_kinds = 4;

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

// A float32 array of the weights, [cols] (rows = 0), [rows, cols] or, of pairs, [rows, cols / 2, 2]; null data: none is
// given.
struct Array {
  const float* data;
  int64_t rows, cols;
  bool pairs = false;
};

// Its kind says how much of what an operation may have it has.
struct Op {
  const Kind* kind = nullptr;
  View inputs[3] = {};
  Index indices[2] = {};
  Packed matrix;
  Array arrays[2] = {};
  float scalar = 0;  // eps of a norm, scale of attention's scores
  Activation activation = Activation::none;
  int cache = -1, layer = -1;  // where keys and values are: the number of a cache and the layer in it
  int64_t window = 0;          // of attention, in tokens; 0: any number
  int64_t heads = 0;           // of attention within texts
  int out = -1;                // the value that it makes; -1: none, it writes to a cache
  int next_product = -1;       // the operation, counted through the program, whose weights are read next
};

// The numbers of an index are below `most`, as the operation of this name would have it; null: none limits them.
struct Limit {
  int64_t most = int64_t{1} << 62;
  const char* of = nullptr;
};

// What an operation makes, [rows, cols].
struct Value {
  Rows rows;
  int64_t cols;
  int place = -1;      // which register holds it; -1: what run() writes the result to
  bool apart = false;  // whether its rows lie spread_stride apart
};

struct Program {
  std::vector<Op> ops;
  std::vector<Value> values;

  // What whoever calls run() is to check: each number of an index is below its limit, that of the smallest table that it
  // looks up in, and a wanted row is one of the tokens; caches have layers of these heads * width (0: of any, none is used).
  Limit limits[index_kinds];
  std::vector<std::vector<int64_t>> widths;

  // What close() finds.
  int result = -1;                    // a value
  int registers = 0;                  // memory that values take in turns
  std::vector<Value> sizes;           // of all values in registers, one of each size and place
  std::vector<int> deepest;           // the products that take most room, one of each format and kind of rows
  int64_t largest = 0;                // multiply-adds of a token's largest product
  int64_t products[row_kinds] = {};   // multiply-adds of all products of a row

  // Adds an operation, checked against the values that there are; returns it. Throws std::invalid_argument.
  const Op& add(Op op);
  // Names the value that is the result, and gives each value its place. Throws std::invalid_argument unless it is a whole
  // value and the program is open.
  void close(const View& result);
  bool closed() const { return result >= 0; }

  Op& op(int i) { return ops[static_cast<size_t>(i)]; }
  const Op& op(int i) const { return ops[static_cast<size_t>(i)]; }
  Value& value(int i) { return values[static_cast<size_t>(i)]; }
  const Value& value(int i) const { return values[static_cast<size_t>(i)]; }
};

const Kind& kind_of(const std::string& name);  // throws std::invalid_argument

// A cache in a pass: which slots the sequences have, what each held before, and the memory of each layer.
struct Past {
  Sequences sequences;
  std::vector<Cache> layers;
};

// ids, places, types: of each fresh token of the sequences, one sequence after the other. wanted: tokens, counted through
// them. fresh: how many each sequence has.
struct Pass {
  const int64_t *ids, *places, *types, *wanted, *fresh;
  int64_t count, wanted_count, sequences;
  std::vector<Past> pasts;  // by the number of the cache; fresh tokens are the same in all
};

// Runs a closed program: each operation in turn, as ops.h and attention.h have it. out: [rows of the result, its columns].
// seconds: null, or what the time of each operation is added to [ops]. Throws what interrupts it (interrupt.h) and
// std::bad_alloc; the caches then hold no more than before.
void run(const Program& program, const Pass& pass, float* out, double* seconds = nullptr);

}  // namespace nextword
