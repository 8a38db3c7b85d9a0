#include "pages.h"

#include <cstdlib>
#include <mutex>
#include <new>

#include "parallel.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace nextword {

std::shared_ptr<float> aligned_floats(int64_t count) {
  const size_t bytes = static_cast<size_t>(std::max<int64_t>(count, 1)) * sizeof(float);
#if defined(__linux__)
  constexpr size_t huge = size_t{2} << 20;
  if (bytes >= huge) {
    // Aligned to a huge page, but no longer than asked for: the last, partly used one stays in small pages.
    const size_t length = (bytes + 4095) / 4096 * 4096;
    void* const raw = mmap(nullptr, length + huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (raw == MAP_FAILED) throw std::bad_alloc();
    const size_t skip = (huge - reinterpret_cast<uintptr_t>(raw) % huge) % huge;
    char* const start = static_cast<char*>(raw) + skip;
    if (skip) munmap(raw, skip);
    if (huge - skip) munmap(start + length, huge - skip);
    madvise(start, length, MADV_HUGEPAGE);
    return {reinterpret_cast<float*>(start), [length](float* p) { munmap(p, length); }};
  }
#endif
  void* const p = std::aligned_alloc(64, (bytes + 63) / 64 * 64);
  if (!p) throw std::bad_alloc();
  return {static_cast<float*>(p), [](float* q) { std::free(q); }};
}

std::shared_ptr<char> shared_pages(int64_t bytes) {
  constexpr int64_t chunk = int64_t{64} << 20;
  const auto pages = [](int64_t size) {
    const auto memory = aligned_floats((size + 3) / 4);
    return std::shared_ptr<char>(memory, reinterpret_cast<char*>(memory.get()));
  };
  if (bytes > chunk / 2) return pages(bytes);
  static std::mutex mutex;
  static auto& current = *new std::weak_ptr<char>;  // never destroyed: threads may pack while the process exits
  static int64_t used = 0;
  const std::lock_guard<std::mutex> lock(mutex);
  auto from = current.lock();
  if (!from || used + bytes > chunk) {
    from = pages(chunk);
    current = from;
    used = 0;
  }
  const int64_t at = used;
  used += (bytes + 63) / 64 * 64;
  return {from, from.get() + at};
}

void touch_pages(float* memory, int64_t count) {
  constexpr int64_t page = 1024, some = 64;  // floats; pages
  parallel_ranges((count + page - 1) / page, some, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      volatile float& first = memory[i * page];
      first = first;
    }
  });
}

}  // namespace nextword
