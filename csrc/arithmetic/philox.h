// The counter-based generator Philox 4x64 with ten rounds (Salmon et al. 2011), as NumPy seeds and reads it.
#pragma once
#include <cstdint>

namespace nextword {

// What numpy.random.Generator(Philox(key=[seed, row], counter=[0, step, 0, 0])).random() gives first, in [0, 1): NumPy
// raises the counter before each block and takes the upper 53 bits of the block's first word.
inline double philox(uint64_t seed, uint64_t row, uint64_t step) {
  __extension__ using Wide = unsigned __int128;
  uint64_t c[4] = {1, step, 0, 0}, key[2] = {seed, row};
  for (int round = 0; round < 10; ++round) {
    const Wide a = Wide{0xD2E7470EE14C6C93} * c[0], b = Wide{0xCA5A826395121157} * c[2];
    const uint64_t next[4] = {static_cast<uint64_t>(b >> 64) ^ c[1] ^ key[0], static_cast<uint64_t>(b),
                              static_cast<uint64_t>(a >> 64) ^ c[3] ^ key[1], static_cast<uint64_t>(a)};
    for (int i = 0; i < 4; ++i) c[i] = next[i];
    key[0] += 0x9E3779B97F4A7C15;  // the golden ratio, as the paper has it
    key[1] += 0xBB67AE8584CAA73B;  // sqrt(3) - 1
  }
  return static_cast<double>(c[0] >> 11) * 0x1p-53;
}

}  // namespace nextword
