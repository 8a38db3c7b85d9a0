#include "cpu.h"

#include <algorithm>
#include <atomic>
#include <fstream>
#include <stdexcept>

#include "shown.h"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

extern const Kernels kernels_baseline;
#if defined(__x86_64__)
extern const Kernels kernels_avx512_bf16, kernels_avx512_vnni, kernels_avx512, kernels_avx2_vnni, kernels_avx2;
#elif defined(__aarch64__)
extern const Kernels kernels_neon_dot, kernels_neon;
#endif

namespace nextword {
namespace {

// __builtin_cpu_supports reads CPUID and, for AVX and AVX-512, XCR0: registers that the operating system does not save
// count as absent. It wants a literal, hence one function a row.
struct Variant {
  const Kernels* kernels;
  bool (*supported)();
};

#if defined(__x86_64__)
bool avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma");
}
bool vnni() { return avx512() && __builtin_cpu_supports("avx512vnni"); }
bool avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

// AVX-VNNI, which __builtin_cpu_supports does not know in older compilers: CPUID leaf 7, part 1, bit 4 of EAX.
bool avx_vnni() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1);
}

// What __builtin_cpu_supports does not know in older compilers either, of CPUID leaf 7, EDX: bits 24, 25, 22 and 23. The
// operating system saves what it says in XCR0: bits 17 and 18 for tiles, 5 to 7 for AVX-512.
struct ServerFeatures {
  bool amx_tile, amx_int8, amx_bf16, avx512fp16;
};
ServerFeatures server_features() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned saves = 1u << 27, tiles = 3u << 17, wide = 7u << 5;
  if (!__get_cpuid_count(1, 0, &a, &b, &c, &d) || !(c & saves)) return {};
  unsigned low = 0, high = 0;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return {};
  const bool saves_tiles = (low & tiles) == tiles, saves_wide = (low & wide) == wide;
  const auto has = [&](int bit) { return (d >> bit & 1) != 0; };
  return {saves_tiles && has(24), saves_tiles && has(25), saves_tiles && has(22), saves_wide && has(23)};
}
#elif defined(__aarch64__)
bool neon_dot() {
#if defined(__linux__)
  return getauxval(AT_HWCAP) & HWCAP_ASIMDDP;
#else
  return true;  // every Apple processor
#endif
}
#endif

// Best first. To add an instruction set: one header in simd/, one file in isa/, one row here, one in CMakeLists.txt.
const Variant rows[] = {
#if defined(__x86_64__)
    {&kernels_avx512_bf16, [] { return vnni() && __builtin_cpu_supports("avx512bf16"); }},
    {&kernels_avx512_vnni, vnni},
    {&kernels_avx512, avx512},
    {&kernels_avx2_vnni, [] { return avx2() && avx_vnni(); }},
    {&kernels_avx2, avx2},
#elif defined(__aarch64__)
    {&kernels_neon_dot, neon_dot},
    {&kernels_neon, [] { return true; }},  // part of AArch64 itself
#endif
    {&kernels_baseline, [] { return true; }},
};

const Kernels* best() {
  for (const auto& row : rows)
    if (row.supported()) return row.kernels;
  return &kernels_baseline;
}

std::atomic<const Kernels*>& current() {
  static std::atomic<const Kernels*> table{best()};
  return table;
}

std::atomic<int64_t> cache_bytes{0};  // 0: as the system tells

std::string joined(const std::vector<std::string>& names) {
  std::string all;
  for (const auto& name : names) all += (all.empty() ? "" : ", ") + name;
  return all;
}

}  // namespace

const Kernels& kernels() { return *current().load(std::memory_order_relaxed); }

std::vector<std::string> variants() {
  std::vector<std::string> names;
  for (const auto& row : rows)
    if (row.supported()) names.push_back(row.kernels->isa);
  return names;
}

std::vector<std::string> compiled() {
  std::vector<std::string> names;
  for (const auto& row : rows) names.push_back(row.kernels->isa);
  return names;
}

void set_isa(const std::string& name) {
  for (const auto& row : rows)
    if (name == row.kernels->isa && row.supported()) {
      current() = row.kernels;
      return;
    }
  throw std::invalid_argument("set_isa: name must be one of " + joined(variants()) + " on this machine, got '" + shown(name) + "'");
}

std::vector<std::pair<std::string, bool>> features() {
#if defined(__x86_64__)
#define FEATURE(name) {name, static_cast<bool>(__builtin_cpu_supports(name))}
  const auto [amx_tile, amx_int8, amx_bf16, fp16] = server_features();
  return {FEATURE("sse4.2"), FEATURE("avx"), FEATURE("avx2"), FEATURE("fma"), FEATURE("avx512f"), FEATURE("avx512bw"),
          FEATURE("avx512dq"), FEATURE("avx512vl"), FEATURE("avx512vnni"), FEATURE("avx512bf16"),
          {"avxvnni", avx_vnni()}, {"avx512fp16", fp16}, {"amx-tile", amx_tile}, {"amx-int8", amx_int8},
          {"amx-bf16", amx_bf16}};
#undef FEATURE
#elif defined(__aarch64__)
  return {{"neon", true}, {"dotprod", neon_dot()}};
#else
  return {};
#endif
}

int64_t last_level_cache() {
  static const int64_t told = [] {
    int64_t largest = 0;
    for (int level = 0; level < 8; ++level) {
      std::ifstream file("/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(level) + "/size");
      int64_t size = 0;
      char unit = 0;
      if (file >> size >> unit) largest = std::max(largest, size * (unit == 'M' ? int64_t{1} << 20 : int64_t{1} << 10));
    }
    return largest ? largest : int64_t{16} << 20;
  }();
  const int64_t set = cache_bytes.load(std::memory_order_relaxed);
  return set ? set : told;
}

void set_last_level_cache(int64_t bytes) {
  if (bytes < 0)
    throw std::invalid_argument("set_last_level_cache: bytes must be at least 0, got " + std::to_string(bytes));
  cache_bytes = bytes;
}

}  // namespace nextword
