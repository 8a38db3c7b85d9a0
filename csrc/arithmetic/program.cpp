#include "program.h"

#include <algorithm>
#include <chrono>
#include <stdexcept>

#include "kinds.h"
#include "machine/parallel.h"
#include "pool.h"

namespace nextword {

const char* const row_names[row_kinds] = {"tokens", "wanted"};
const char* const index_names[index_kinds] = {"ids", "places", "types", "wanted"};

namespace {

constexpr int most_caches = 8, most_layers = 1 << 16;

constexpr int64_t whole_lines(int64_t floats) { return (floats + 15) / 16 * 16; }

// Columns that values take by turns, as values come and go.
struct Registers {
  std::vector<int64_t> widths;
  std::vector<bool> free;

  // The free one that grows least, of these the one that fits best; a new one if growing were no less.
  int take(int64_t cols) {
    size_t best = widths.size();
    const auto cost = [&](size_t i) {
      return i == widths.size() ? std::pair(cols, int64_t{0})
                                : std::pair(std::max<int64_t>(0, cols - widths[i]), std::max<int64_t>(0, widths[i] - cols));
    };
    for (size_t i = 0; i < widths.size(); ++i)
      if (free[i] && cost(i) < cost(best)) best = i;
    if (best == widths.size()) widths.push_back(0), free.push_back(false);
    widths[best] = std::max(widths[best], cols);
    free[best] = false;
    return static_cast<int>(best);
  }
};

// Rows lie apart where what makes a value can write them so, and all that read it can.
void lay_rows(Program& program) {
  for (Value& v : program.values) v.apart = false;
  for (const Op& op : program.ops)
    if (op.out >= 0 && op.out != program.result) program.value(op.out).apart = op.kind->is(out_apart);
  for (const Op& op : program.ops)
    for (size_t i = 0; i < op.kind->inputs; ++i)
      if (!op.kind->reads_apart(i)) program.value(op.inputs[i].value).apart = false;
}

// A register is a value's from the operation that makes it to the last one that reads it; no result has a register of
// its operation's operands, which most may not alias.
void place_values(Program& program) {
  const auto count = static_cast<int>(program.ops.size());
  std::vector<int> last(program.values.size());
  for (int i = 0; i < count; ++i) {
    const Op& op = program.op(i);
    for (size_t j = 0; j < op.kind->inputs; ++j) last[static_cast<size_t>(op.inputs[j].value)] = i;
    if (op.out >= 0) last[static_cast<size_t>(op.out)] = i;
  }
  Registers registers;
  for (int i = 0; i < count; ++i) {
    const Op& op = program.op(i);
    if (op.out >= 0 && op.out != program.result) program.value(op.out).place = registers.take(program.value(op.out).cols);
    const auto give_back = [&](int value) {
      const int place = program.value(value).place;
      if (last[static_cast<size_t>(value)] == i && place >= 0) registers.free[static_cast<size_t>(place)] = true;
    };
    for (size_t j = 0; j < op.kind->inputs; ++j) give_back(op.inputs[j].value);
    if (op.out >= 0) give_back(op.out);
  }
  program.registers = static_cast<int>(registers.widths.size());
  for (const Value& v : program.values) {
    const auto same = [&](const Value& other) {
      return other.rows == v.rows && other.cols == v.cols && other.place == v.place && other.apart == v.apart;
    };
    if (v.place >= 0 && std::none_of(program.sizes.begin(), program.sizes.end(), same)) program.sizes.push_back(v);
  }
}

// Which product comes after each, and what is to be known of all.
void follow_products(Program& program) {
  auto& deepest = program.deepest;
  int next = -1;
  for (auto i = static_cast<int>(program.ops.size()) - 1; i >= 0; --i) {
    Op& op = program.op(i);
    if (!op.kind->is(product)) continue;
    op.next_product = next;
    next = i;
    const Rows rows = program.value(op.out).rows;
    const int64_t size = op.matrix.depth * op.matrix.cols;
    program.products[static_cast<int>(rows)] += size;
    if (rows == Rows::tokens) program.largest = std::max(program.largest, size);
    const auto alike = std::find_if(deepest.begin(), deepest.end(), [&](int other) {
      return program.op(other).matrix.dtype == op.matrix.dtype && program.value(program.op(other).out).rows == rows;
    });
    if (alike == deepest.end())
      deepest.push_back(i);
    else if (program.op(*alike).matrix.depth < op.matrix.depth)
      *alike = i;
  }
}

// Asks for what is read of the program next: weights that were streamed have pushed it out of the nearest caches.
void fetch_following(const Program& program, const Op& op) {
  constexpr size_t line = 64;
  const auto fetch = [](const Op& from) {
    for (size_t at = 0; at < sizeof(Op); at += line) __builtin_prefetch(reinterpret_cast<const char*>(&from) + at);
  };
  if (&op != &program.ops.back()) fetch(*(&op + 1));
  if (op.next_product >= 0) fetch(program.op(op.next_product));
}

}  // namespace

const Op& Program::add(Op op) {
  const Kind& kind = *op.kind;
  const auto wrong = [&](const std::string& what) { throw std::invalid_argument(std::string(kind.name) + ": " + what); };
  if (closed()) throw std::invalid_argument("program: operations are added before it is closed; make a new Program");
  if (kind.is(cached) && !(0 <= op.cache && op.cache < most_caches && 0 <= op.layer && op.layer < most_layers))
    wrong("cache must be a number below " + std::to_string(most_caches) + " and a layer below " + std::to_string(most_layers));
  if (kind.is(activated) != (op.activation != Activation::none))
    wrong(kind.is(activated) ? "an activation must be given" : "takes no activation");
  if (kind.is(headed) != (op.heads > 0)) wrong(kind.is(headed) ? "heads must be 1 or more" : "takes no heads");
  if (op.window < 0 || (op.window && !kind.is(windowed)))
    wrong(kind.is(windowed) ? "window must be 0 (all tokens) or more, got " + std::to_string(op.window) : "takes no window");
  for (size_t i = 0; i < kind.inputs; ++i) {
    const View& in = op.inputs[i];
    if (in.value < 0 || in.value >= static_cast<int>(values.size())) wrong("values must be of this program");
    const int64_t cols = value(in.value).cols;
    if (in.first < 0 || in.cols < 1 || in.first >= cols || in.cols > cols - in.first)
      wrong("columns must be some of 0 .. " + std::to_string(cols - 1));
    if (!kind.reads_apart(i) && in.cols != cols)
      wrong("its operand must be a whole value of " + std::to_string(cols) + " columns, got " + std::to_string(in.cols) +
            " of them, whose rows lie apart");
  }
  const Value made = kind.made({*this, op});
  if (made.cols) {
    op.out = static_cast<int>(values.size());
    if (values.size() == values.capacity()) values.reserve(2 * values.size() + 1);
  }
  ops.push_back(std::move(op));
  if (made.cols) values.push_back(made);  // there is room: no value without its operation
  return ops.back();
}

void Program::close(const View& view) {
  if (closed()) throw std::invalid_argument("program: it is closed already");
  if (view.value < 0 || view.value >= static_cast<int>(values.size()) || view.first != 0 || view.cols != value(view.value).cols)
    throw std::invalid_argument("program: the result must be a whole value of this program");
  Program whole = *this;  // if memory is short, this one stays open
  whole.result = view.value;
  lay_rows(whole);
  place_values(whole);
  follow_products(whole);
  *this = std::move(whole);
}

void run(const Program& program, const Pass& pass, float* out, double* seconds) {
  if (pass.count == 0) return;
  std::vector<Queries> queries;
  for (const Past& past : pass.pasts)
    queries.emplace_back(past.sequences, past.layers.empty() ? 0 : past.layers[0].prefix);
  std::vector<float*> registers(static_cast<size_t>(program.registers));
  int64_t widest = 0;  // head of a text
  for (const Op& op : program.ops)
    if (op.heads) widest = std::max(widest, op.inputs[0].cols / op.heads);
  const TextRoom texts(pass.fresh, widest ? pass.sequences : 0, widest);
  Running running{program, pass, queries, texts, nullptr, registers.data(), out};

  int64_t room = 0;
  for (const int i : program.deepest) {
    const Op& op = program.op(i);
    room = std::max(room, matmul_room(op.matrix, running.to_rows(op)));
  }
  std::vector<int64_t> sizes(registers.size(), 0);
  for (const Value& v : program.sizes) {
    int64_t& size = sizes[static_cast<size_t>(v.place)];
    size = std::max(size, running.rows(v.rows) * running.stride(v));
  }
  int64_t floats = whole_lines(room);
  for (int64_t& size : sizes) floats += size = whole_lines(size);
  const auto memory = pooled_floats(floats);
  running.room = memory.get();
  float* at = memory.get() + whole_lines(room);
  for (size_t i = 0; i < sizes.size(); at += sizes[i++]) registers[i] = at;

  const auto all = [&] {
    if (!seconds || (member && member->index != 0)) {
      for (const Op& op : program.ops) {
        fetch_following(program, op);
        op.kind->run(op, running);
      }
      return;
    }
    using Clock = std::chrono::steady_clock;
    auto before = Clock::now();
    for (size_t i = 0; i < program.ops.size(); ++i) {
      program.ops[i].kind->run(program.ops[i], running);
      const auto now = Clock::now();
      seconds[i] += std::chrono::duration<double>(now - before).count();
      before = now;
    }
  };
  // Few rows: all of it by one team of threads.
  const int most = queries.empty() ? thread_count() : queries[0].threads;
  together(pass.count < many_tokens ? std::min(most, threads_for(pass.count * program.largest, worth_a_thread)) : 1, all);
}

}  // namespace nextword
