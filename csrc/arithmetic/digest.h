// A checksum of memory that tells contents apart: against mistakes, not against malice (it is no cryptographic hash).
#pragma once
#include <cstdint>

namespace nextword {

struct Digest {
  uint64_t first, second;
};

// 128 bits of the content, the same on every machine and for any number of threads, at the speed of memory:
//   the bytes are 64-bit little-endian words, eight to a line, the last line filled up with zeros; 1024 lines are a block
//   word j of a line goes to lane j of its block:        lane = turned left by 32 (lane ^ word) * p, at first p + j
//   the lanes of all blocks, in order, go to both sums:  sum = turned left by 29 (sum ^ lane) * q, at first q ^ bytes
//   and each sum is scattered at the end:                sum = (sum ^ sum >> 32) * p, sum ^ sum >> 29
// with another q for each sum. For a given rest, each step takes different numbers to different ones: memory that differs
// in one word always differs in both sums; other changes meet in a lane, or in both sums, by a chance of about 2^-64.
Digest digest(const void* data, int64_t bytes);

}  // namespace nextword
