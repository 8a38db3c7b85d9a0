#include "kinds.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "machine/parallel.h"
#include "machine/shown.h"

namespace nextword {
namespace {

std::string shown(Rows rows, int64_t cols) {
  return std::string("[") + row_names[static_cast<int>(rows)] + ", " + std::to_string(cols) + "]";
}
std::string shown(const Array& a) {
  const std::string rows = a.rows ? std::to_string(a.rows) + ", " : "";
  return a.data ? "float32 [" + rows + (a.pairs ? std::to_string(a.cols / 2) + ", 2" : std::to_string(a.cols)) + "]" : "None";
}

}  // namespace

std::string Adding::shape(size_t input) const { return shown(rows(input), cols(input)); }

void Adding::reject(const char* name, const std::string& expected, const std::string& got) const {
  throw std::invalid_argument(std::string(op.kind->name) + ": " + name + " must be " + expected + ", got " + got);
}

void Adding::check_input(size_t input, const char* name, Rows rows_, int64_t cols_) const {
  if (rows(input) != rows_ || cols(input) != cols_) reject(name, shown(rows_, cols_), shape(input));
}

void Adding::check_vector(size_t array, const char* name, int64_t cols_, bool or_none) const {
  const Array& a = op.arrays[array];
  if (!a.data && or_none) return;
  if (!a.data || a.rows || a.cols != cols_) reject(name, "float32 [" + std::to_string(cols_) + "]", shown(a));
}

void Adding::check_cache(std::initializer_list<const char*> names) const {
  auto& widths = program.widths;
  const auto number = static_cast<size_t>(op.cache), layer = static_cast<size_t>(op.layer);
  const bool known = number < widths.size() && layer < widths[number].size() && widths[number][layer];
  const int64_t width = known ? widths[number][layer] : cols(0);
  size_t input = 0;
  for (const char* name : names) check_input(input++, name, Rows::tokens, width);
  if (widths.size() <= number) widths.resize(number + 1);
  if (widths[number].size() <= layer) widths[number].resize(layer + 1, 0);
  widths[number][layer] = width;
}

void Adding::check_queries() const {
  const auto& widths = program.widths;
  const auto number = static_cast<size_t>(op.cache), layer = static_cast<size_t>(op.layer);
  const int64_t width = number < widths.size() && layer < widths[number].size() ? widths[number][layer] : 0;
  if (!width) return check_cache({"q"});
  if (rows(0) != Rows::tokens || cols(0) % width)
    reject("q", std::string("[") + row_names[static_cast<int>(Rows::tokens)] + ", n * " + std::to_string(width) + "]", shape(0));
}

void Adding::limit(Index index, int64_t most) const {
  Limit& known = program.limits[static_cast<int>(index)];
  if (most < known.most) known = {most, op.kind->name};
}

namespace {

Value made_by_product(const Adding& a) {
  const Packed& weight = a.op.matrix;
  a.check_input(0, "x", a.rows(0), weight.depth);
  a.check_vector(0, "bias", weight.cols, true);
  if (a.op.kind->inputs > 1) a.check_input(1, a.op.kind->is(times) ? "factor" : "residual", a.rows(0), weight.cols);
  return {a.rows(0), weight.cols};
}

void run_product(const Op& op, const Running& r) {
  const Packed* const next = op.next_product < 0 ? nullptr : &r.program.op(op.next_product).matrix;
  Epilogue e{op.arrays[0].data, op.activation};
  if (op.kind->is(times))
    e.factor = r.in(op, 1), e.factor_stride = r.in_stride(op, 1);
  else if (op.kind->inputs > 1)
    e.residual = r.in(op, 1);
  matmul(r.in(op, 0), r.in_stride(op, 0), op.matrix, e, r.to_rows(op), r.to(op), r.stride(r.program.value(op.out)), next, r.room);
}

Value turned(const Adding& a) {
  const Array& turns = a.op.arrays[0];
  if (!turns.pairs || a.cols(0) % turns.cols)
    a.reject("turns", "float32 [positions, pairs, 2], " + std::to_string(a.cols(0)) + " being a multiple of 2 * pairs", shown(turns));
  if (rows_of(a.op.indices[0]) != a.rows(0))
    a.reject("places", "of the " + std::string(row_names[static_cast<int>(a.rows(0))]), index_names[static_cast<int>(a.op.indices[0])]);
  a.limit(a.op.indices[0], turns.rows);
  return {a.rows(0), a.cols(0)};
}

template <Pairing pairing>
void run_rotate(const Op& op, const Running& r) {
  const Array& turns = op.arrays[0];
  rotate(r.in(op, 0), r.in_stride(op, 0), r.numbers(op.indices[0]), turns.data, pairing, r.to_rows(op), r.to_cols(op) / turns.cols,
         turns.cols / 2, r.to(op));
}

Value same_as_input(const Adding& a) { return {a.rows(0), a.cols(0)}; }

Value made_of_two(const Adding& a) {
  a.check_input(1, "y", a.rows(0), a.cols(0));
  return {a.rows(0), a.cols(0)};
}

template <void (*combine)(const float*, int64_t, const float*, int64_t, int64_t, int64_t, float*)>
void run_two(const Op& op, const Running& r) {
  combine(r.in(op, 0), r.in_stride(op, 0), r.in(op, 1), r.in_stride(op, 1), r.to_rows(op), r.to_cols(op), r.to(op));
}

// name, inputs, indices, matrices, arrays, traits
const Kind kinds[] = {
    {"embedding", 0, 2, 1, 1, 0,
     [](const Adding& a) -> Value {
       const Array& positions = a.op.arrays[0];
       const Packed& tokens = a.op.matrix;
       for (const Index index : a.op.indices)
         if (rows_of(index) != Rows::tokens) a.reject("ids", "of the tokens", index_names[static_cast<int>(index)]);
       if (positions.data && (positions.rows < 1 || positions.pairs || positions.cols != tokens.depth))
         a.reject("positions", "float32 [places, " + std::to_string(tokens.depth) + "]", shown(positions));
       a.limit(a.op.indices[0], tokens.cols);
       if (positions.data) a.limit(a.op.indices[1], positions.rows);
       return {Rows::tokens, tokens.depth};
     },
     [](const Op& op, const Running& r) {
       embedding(r.numbers(op.indices[0]), r.numbers(op.indices[1]), op.matrix, op.arrays[0].data, r.to_rows(op),
                 r.to(op));
     }},
    {"layer_norm", 1, 0, 0, 2, 0,
     [](const Adding& a) {
       a.check_vector(0, "weight", a.cols(0), false);
       a.check_vector(1, "bias", a.cols(0), false);
       return same_as_input(a);
     },
     [](const Op& op, const Running& r) {
       layer_norm(r.in(op, 0), op.arrays[0].data, op.arrays[1].data, op.scalar, r.to_rows(op), r.to_cols(op), r.to(op));
     }},
    {"rms_norm", 1, 0, 0, 1, x_apart,
     [](const Adding& a) {
       const Array& weight = a.op.arrays[0];
       if (!weight.data || weight.rows || a.cols(0) % weight.cols)
         a.reject("weight", "float32 [width], " + std::to_string(a.cols(0)) + " being a multiple of it", shown(weight));
       return same_as_input(a);
     },
     [](const Op& op, const Running& r) {
       rms_norm(r.in(op, 0), r.in_stride(op, 0), op.arrays[0].data, op.scalar, r.to_rows(op), r.to_cols(op), op.arrays[0].cols,
                r.to(op));
     }},
    {"rotate", 1, 1, 0, 1, x_apart, turned, run_rotate<Pairing::halves>},
    {"rotate_interleaved", 1, 1, 0, 1, x_apart, turned, run_rotate<Pairing::neighbours>},
    {"softmax", 1, 0, 0, 0, 0, same_as_input,
     [](const Op& op, const Running& r) { softmax(r.in(op, 0), r.to_rows(op), r.to_cols(op), r.to(op)); }},
    {"activate", 1, 0, 0, 0, activated | x_apart, same_as_input,
     [](const Op& op, const Running& r) { activate(r.in(op, 0), r.in_stride(op, 0), op.activation, r.to_rows(op), r.to_cols(op), r.to(op)); }},
    {"add", 2, 0, 0, 0, x_apart | y_apart, made_of_two, run_two<add>},
    {"multiply", 2, 0, 0, 0, x_apart | y_apart, made_of_two, run_two<multiply>},
    {"matmul", 1, 0, 1, 1, product | x_apart, made_by_product, run_product},
    {"matmul_activated", 1, 0, 1, 1, product | activated | x_apart | out_apart, made_by_product, run_product},
    {"matmul_residual", 2, 0, 1, 1, product | x_apart, made_by_product, run_product},
    {"matmul_times", 2, 0, 1, 1, product | x_apart | y_apart | out_apart | times, made_by_product, run_product},
    {"gather", 1, 1, 0, 0, x_apart,
     [](const Adding& a) -> Value {
       const Index index = a.op.indices[0];  // wanted is what counts through the tokens
       if (index != Index::wanted || a.rows(0) != Rows::tokens)
         a.reject("x and the index", "[tokens, cols] and wanted",
                  a.shape(0) + " and " + index_names[static_cast<int>(index)]);
       return {Rows::wanted, a.cols(0)};
     },
     [](const Op& op, const Running& r) {
       const float* const from = r.in(op, 0);
       const int64_t stride = r.in_stride(op, 0), cols = r.to_cols(op), *const wanted = r.numbers(op.indices[0]);
       float* const to = r.to(op);
       parallel_ranges(r.to_rows(op), many_tokens, [&](int64_t begin, int64_t end) {
         for (int64_t i = begin; i < end; ++i)
           std::memcpy(to + i * cols, from + wanted[i] * stride, static_cast<size_t>(cols) * sizeof(float));
       });
     }},
    {"add_rows", 1, 1, 0, 1, x_apart,
     [](const Adding& a) {
       const Array& table = a.op.arrays[0];
       if (!table.data || table.rows < 1 || table.pairs || table.cols != a.cols(0))
         a.reject("table", "float32 [rows, " + std::to_string(a.cols(0)) + "]", shown(table));
       if (rows_of(a.op.indices[0]) != a.rows(0))
         a.reject("ids", "of the " + std::string(row_names[static_cast<int>(a.rows(0))]), index_names[static_cast<int>(a.op.indices[0])]);
       a.limit(a.op.indices[0], table.rows);
       return same_as_input(a);
     },
     [](const Op& op, const Running& r) {
       add_rows(r.in(op, 0), r.in_stride(op, 0), r.numbers(op.indices[0]), op.arrays[0].data, r.to_rows(op), r.to_cols(op), r.to(op));
     }},
    {"attention_within", 3, 0, 0, 1, windowed | headed | x_apart | y_apart | z_apart,
     [](const Adding& a) -> Value {
       const Array& bias = a.op.arrays[0];
       if (a.rows(0) != Rows::tokens || a.cols(0) % a.op.heads)
         a.reject("q", "[tokens, n * " + std::to_string(a.op.heads) + "]", a.shape(0));
       a.check_input(1, "k", Rows::tokens, a.cols(0));
       a.check_input(2, "v", Rows::tokens, a.cols(0));
       if (bias.data && (bias.rows != a.op.heads || bias.pairs || bias.cols % 2 == 0))
         a.reject("bias", "float32 [" + std::to_string(a.op.heads) + ", 2 * reach + 1]", shown(bias));
       return {Rows::tokens, a.cols(0)};
     },
     [](const Op& op, const Running& r) {
       const TextRows rows{r.in(op, 0), r.in(op, 1), r.in(op, 2), r.in_stride(op, 0), r.in_stride(op, 1), r.in_stride(op, 2),
                           r.pass.fresh, r.pass.sequences, op.heads, r.to_cols(op) / op.heads};
       attention_within(rows, r.texts, op.window, op.scalar, op.arrays[0].data, op.arrays[0].cols / 2, nullptr, nullptr, r.to(op));
     }},
    {"append", 2, 0, 0, 0, cached | x_apart | y_apart,
     [](const Adding& a) -> Value {
       a.check_cache({"k", "v"});
       return {Rows::tokens, 0};
     },
     [](const Op& op, const Running& r) {
       const Past& past = r.pass.pasts[static_cast<size_t>(op.cache)];
       append(r.in(op, 0), r.in_stride(op, 0), r.in(op, 1), r.in_stride(op, 1), past.sequences,
              past.layers[static_cast<size_t>(op.layer)]);
     }},
    {"attention", 1, 0, 0, 0, cached | windowed | x_apart,
     [](const Adding& a) -> Value {
       a.check_queries();
       return {Rows::tokens, a.cols(0)};
     },
     [](const Op& op, const Running& r) {
       const auto number = static_cast<size_t>(op.cache);
       const Past& past = r.pass.pasts[number];
       const Cache& cache = past.layers[static_cast<size_t>(op.layer)];
       attention(r.in(op, 0), r.in_stride(op, 0), r.to_cols(op) / cache.width, cache, past.sequences, r.queries[number],
                 op.window, op.scalar, nullptr, nullptr, r.to(op));
     }},
};

}  // namespace

const Kind& kind_of(const std::string& name) {
  std::string known;
  for (const Kind& kind : kinds) {
    if (name == kind.name) return kind;
    known += (known.empty() ? "" : ", ") + std::string(kind.name);
  }
  throw std::invalid_argument("program: kind must be one of " + known + ", got '" + nextword::shown(name) + "'");
}

}  // namespace nextword
