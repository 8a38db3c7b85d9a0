#include "pool.h"

#include <algorithm>
#include <mutex>
#include <new>
#include <vector>

#include "machine/pages.h"
#include "packed.h"

namespace nextword {
namespace {

constexpr int64_t always_kept = 32'000'000;      // floats
constexpr int64_t huge_page = int64_t{1} << 19;  // floats: 2 MiB

struct Block {
  std::shared_ptr<float> memory;
  int64_t size;
};

struct Pool {
  std::mutex mutex;
  std::vector<Block> unused;  // the longest unused first
  int64_t total = 0;          // floats in `unused`

  // A model's results and the key-value cache of a text are within the size of its weights, mostly.
  static int64_t most_unused() { return std::max(always_kept, packed_bytes() / static_cast<int64_t>(sizeof(float))); }

  void put(Block block) {  // must not throw: a pointer that goes calls it
    const std::lock_guard<std::mutex> lock(mutex);
    try {
      unused.push_back(block);
    } catch (const std::bad_alloc&) {  // the block goes, too
      return;
    }
    total += block.size;
    for (const int64_t most = most_unused(); total > most;) {
      total -= unused.front().size;
      unused.erase(unused.begin());
    }
  }

  // The smallest block that is large enough and not much more than twice as large; empty if there is none.
  Block take(int64_t count) {
    const std::lock_guard<std::mutex> lock(mutex);
    auto best = unused.end();
    for (auto it = unused.begin(); it != unused.end(); ++it)
      if (it->size >= count && it->size <= 2 * count + huge_page && (best == unused.end() || it->size <= best->size)) best = it;
    if (best == unused.end()) return {};
    Block found = std::move(*best);
    unused.erase(best);
    total -= found.size;
    return found;
  }
};

Pool& pool() {
  static auto* const only = new Pool;  // never destroyed: arrays may outlive every static object
  return *only;
}

}  // namespace

std::shared_ptr<float> pooled_floats(int64_t count) {
  Block block = pool().take(count);
  if (!block.memory) {
    // From half a huge page on, whole ones.
    const int64_t size = count < huge_page / 2 ? count : (count + huge_page - 1) / huge_page * huge_page;
    block = {aligned_floats(size), size};
  }
  float* const data = block.memory.get();
  return {data, [block](float*) { pool().put(block); }};
}

float* scratch(int64_t count) {
  thread_local std::shared_ptr<float> memory;
  thread_local int64_t size = 0;
  if (size < count) {
    memory.reset();
    size = 0;
    memory = aligned_floats(count);
    size = count;
  }
  return memory.get();
}

}  // namespace nextword
