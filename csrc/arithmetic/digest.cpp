#include "digest.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "machine/parallel.h"

namespace nextword {
namespace {

// Odd, so that a product by them can be undone: the fractions of the golden ratio, and of the roots of 3 and of 5.
constexpr uint64_t p = 0x9e3779b97f4a7c15, q_first = 0xbb67ae8584caa73b, q_second = 0x3c6ef372fe94f82b;

constexpr int64_t lanes = 8, line = lanes * 8, block = 1024 * line;  // bytes

using Lanes = std::array<uint64_t, lanes>;

constexpr uint64_t turned(uint64_t x, int left) { return x << left | x >> (64 - left); }

void take_lines(const char* data, int64_t count, Lanes& sums) {
  Lanes local = sums;  // in registers
  for (int64_t i = 0; i < count; ++i) {
    uint64_t words[lanes];
    std::memcpy(words, data + i * line, line);
    for (int64_t j = 0; j < lanes; ++j) local[j] = turned((local[j] ^ words[j]) * p, 32);
  }
  sums = local;
}

uint64_t scattered(uint64_t sum) {
  sum = (sum ^ sum >> 32) * p;
  return sum ^ sum >> 29;
}

}  // namespace

Digest digest(const void* data, int64_t bytes) {
  const char* const from = static_cast<const char*>(data);
  const int64_t blocks = (bytes + block - 1) / block;
  std::vector<Lanes> all(static_cast<size_t>(blocks));
  parallel_ranges(blocks, 4, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      Lanes& sums = all[static_cast<size_t>(b)];
      for (int64_t j = 0; j < lanes; ++j) sums[static_cast<size_t>(j)] = p + static_cast<uint64_t>(j);
      const char* const start = from + b * block;
      const int64_t size = std::min(block, bytes - b * block), whole = size / line;
      take_lines(start, whole, sums);
      if (size % line == 0) continue;
      char last[line] = {};
      std::memcpy(last, start + whole * line, static_cast<size_t>(size % line));
      take_lines(last, 1, sums);
    }
  });
  Digest sums{q_first ^ static_cast<uint64_t>(bytes), q_second ^ static_cast<uint64_t>(bytes)};
  for (const Lanes& block_sums : all)
    for (const uint64_t lane : block_sums) {
      sums.first = turned((sums.first ^ lane) * q_first, 29);
      sums.second = turned((sums.second ^ lane) * q_second, 29);
    }
  return {scattered(sums.first), scattered(sums.second)};
}

}  // namespace nextword
