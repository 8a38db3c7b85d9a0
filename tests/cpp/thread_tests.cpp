// The core from many threads at once, for ThreadSanitizer: threads that start at a barrier use it for the first time, and
// each gets the bits of the call alone. Built without OpenMP, whose GCC library the sanitizer does not understand: there,
// threads of one call meet at barriers only.
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <thread>
#include <vector>

#include "text/bpe.h"
#include "text/bpe_train.h"
#include "machine/cpu.h"
#include "machine/interrupt.h"
#include "machine/speed.h"
#include "machine/parallel.h"
#include "arithmetic/pool.h"
#include "arithmetic/sampling.h"
#include "recorded.h"

using namespace nextword;
using Floats = std::vector<float>;

namespace {

constexpr int threads = 8;
constexpr int64_t width = 48, heads = 3, inner = 80, vocabulary = 97, places = 64, blocks = 2;

Floats numbers(int64_t count, unsigned seed) {
  std::mt19937 bits(seed);
  std::normal_distribution<float> normal;
  Floats x(static_cast<size_t>(count));
  for (float& v : x) v = normal(bits) * 0.2f;
  return x;
}

void require(bool condition, const char* what) {
  if (condition) return;
  std::printf("FAILED: %s\n", what);
  std::exit(1);
}

// fn(thread) on all threads, which begin together.
void at_once(const std::function<void(int)>& fn) {
  std::atomic<int> waiting{threads};
  std::vector<std::thread> all;
  for (int i = 0; i < threads; ++i) {
    all.emplace_back([&, i] {
      --waiting;
      while (waiting) std::this_thread::yield();
      fn(i);
    });
  }
  for (auto& one : all) one.join();
}

// A model, and what its program points into.
struct Model {
  Floats ones = Floats(inner, 1.0f), zeros = Floats(3 * width + inner, 0.0f), positions = numbers(places * width, 1);
  Recorder recorder;

  explicit Model(Dtype dtype) {
    const auto matrix = [&](int64_t depth, int64_t cols, unsigned seed) {
      return pack(numbers(depth * cols, seed).data(), Source::float32, dtype, depth, cols);
    };
    std::vector<Block> layers;
    const Norm norm{ones.data(), zeros.data()};
    for (unsigned i = 0; i < blocks; ++i) {
      layers.push_back({norm, norm, {matrix(width, 3 * width, 10 + i), zeros.data()}, {matrix(width, width, 20 + i), zeros.data()},
                        {matrix(width, inner, 30 + i), zeros.data()}, {matrix(inner, width, 40 + i), zeros.data()}, 0.25f,
                        Activation::gelu_tanh});
    }
    recorder.gpt2(matrix(width, vocabulary, 2), positions.data(), places, layers, norm);
  }

  // Logits of the last of `count` tokens, after a prompt in two parts.
  Floats logits(int64_t first, int64_t count) const {
    const int64_t panels = panels_of(places), head_width = width / heads;
    std::vector<Floats> memory;
    std::vector<Cache> caches;
    for (int64_t i = 0; i < blocks; ++i) {
      memory.emplace_back(panels * panel_cols * width);
      memory.emplace_back(heads * panels_of(head_width) * panel_cols * panels * panel_cols);
      Cache cache{};
      cache.element = Element::float32;
      cache.keys = memory[memory.size() - 2].data();
      cache.values = memory.back().data();
      cache.heads = heads, cache.width = head_width, cache.capacity = panels * panel_cols;
      caches.push_back(cache);
    }
    Floats out(vocabulary);
    const int64_t slot = 0;
    for (int64_t begin = 0; begin < count;) {
      const int64_t fresh = begin ? count - begin : std::max<int64_t>(1, count / 2), last = fresh - 1;
      std::vector<int64_t> ids, at;
      for (int64_t i = begin; i < begin + fresh; ++i) ids.push_back((first + 7 * i) % vocabulary), at.push_back(i);
      const std::vector<int64_t> types(ids.size());
      run(recorder.program,
          {ids.data(), at.data(), types.data(), &last, &fresh, fresh, 1, 1, {{{&slot, &begin, &fresh, 1}, caches}}},
          out.data());
      begin += fresh;
    }
    return out;
  }
};

void test_program() {
  for (const Dtype dtype : {Dtype::float32, Dtype::bfloat16, Dtype::int8, Dtype::int4}) {
    const Model model(dtype);
    std::vector<Floats> found(threads);
    at_once([&](int i) { found[static_cast<size_t>(i)] = model.logits(i, 3 + 5 * i); });
    for (int i = 0; i < threads; ++i) require(found[static_cast<size_t>(i)] == model.logits(i, 3 + 5 * i), "logits are those of the call alone");
  }
}

void test_packing() {
  const Floats source = numbers(64 * 100, 3);
  const Packed alone = pack(source.data(), Source::float32, Dtype::int8, 64, 100);
  std::vector<Packed> found(threads);
  at_once([&](int i) {
    for (int round = 0; round < 20; ++round) found[static_cast<size_t>(i)] = pack(source.data(), Source::float32, Dtype::int8, 64, 100);
    require(packed_bytes() > 0, "packed bytes are counted");
  });
  for (const Packed& one : found) require(!std::memcmp(one.data.get(), alone.data.get(), static_cast<size_t>(alone.bytes())), "packed bytes are those of the call alone");
}

void test_memory_and_settings() {
  std::atomic<int> wrong{0};
  at_once([&](int i) {
    for (int round = 0; round < 50; ++round) {
      const int64_t count = pooled_from + 1000 * (i + round);
      const auto memory = pooled_floats(count);
      memory.get()[0] = memory.get()[count - 1] = static_cast<float>(i);
      set_isa(kernels().isa);
      set_thread_count(1 + i);
      wrong += memory.get()[0] != static_cast<float>(i) || threads_for(100, 1) != 1 || last_level_cache() <= 0 || processors() < 1;
    }
  });
  require(!wrong, "memory is each thread's own");
}

void test_sampling() {
  const Floats logits = numbers(5000, 4);
  const Rules rules{0.8, 50, 0.9, 0.01, 1.0, Chances::proportional};
  const auto drawn = [&](int i) { return draw(keep("test", logits.data(), 5000, rules), (i + 0.5) / threads).id; };
  std::vector<int64_t> found(threads);
  at_once([&](int i) { found[static_cast<size_t>(i)] = drawn(i); });
  for (int i = 0; i < threads; ++i) require(found[static_cast<size_t>(i)] == drawn(i), "tokens are those drawn alone");
}

VocabularySource bytes_and_pairs() {
  VocabularySource source;
  const auto add = [&](const std::string& bytes) {
    source.tokens.push_back({static_cast<uint32_t>(source.tokens.size()), static_cast<uint32_t>(source.bytes.size()),
                             static_cast<uint32_t>(bytes.size()), 1, true});
    source.bytes += bytes;
  };
  for (int byte = 0; byte < 256; ++byte) add(std::string(1, static_cast<char>(byte)));
  source.has_merges = true, source.whole_pieces = false;
  for (const char* pair : {"th", "in", "er", "an", "on", "re"}) {
    source.merges.push_back({static_cast<uint32_t>(source.bytes.size()), 1, 1, 1});
    add(pair);
  }
  return source;
}

void test_tokenizer() {
  const Bpe alone(bytes_and_pairs(), pattern_named("gpt2")), shared(bytes_and_pairs(), pattern_named("gpt2"));
  std::string text;
  for (int i = 0; i < 3000; ++i) text += "another thing on the " + std::to_string(i * 7919 % 1000) + (i % 3 ? " hill" : "\xc3\xa4ther ");
  const auto ids_of = [](const Bpe& bpe, const std::string& of) {
    IdBuffer ids;
    bpe.encode(of, ids);
    return std::vector<uint32_t>(ids.data(), ids.data() + ids.size());
  };
  std::vector<std::vector<uint32_t>> found(threads);
  at_once([&](int i) {
    found[static_cast<size_t>(i)] = ids_of(shared, text.substr(static_cast<size_t>(i)));
    require(shared.count(text) == shared.count(text), "counts agree");
  });
  for (size_t i = 0; i < threads; ++i) require(found[i] == ids_of(alone, text.substr(i)), "ids are those of the call alone");

  std::vector<std::vector<LearnedMerge>> learned(threads);
  const auto learn = [&] {
    PieceCounts counts(pattern_named("gpt2"));
    counts.add({text}, 2);
    return learn_merges(counts, 50, 1, [](size_t) {});
  };
  at_once([&](int i) { learned[static_cast<size_t>(i)] = learn(); });
  for (const auto& one : learned) require(one == learn(), "merges are those learned alone");
}

// What one thread is asked stays its own, and work that was interrupted is right the next time.
void test_interrupts() {
  struct Stop {};
  const Bpe bpe(bytes_and_pairs(), pattern_named("gpt2"));
  const std::string text(1 << 22, 'x');
  std::atomic<int> stopped{0};
  at_once([&](int i) {
    IdBuffer ids;
    try {
      const Interruptible asks([&] {
        if (i % 2) throw Stop();
      });
      for (int round = 0; round < (i % 2 ? 1000 : 1); ++round) {
        ids.clear();
        bpe.encode(text, ids);
      }
    } catch (const Stop&) {
      ++stopped;
    }
    require(!interruptible, "what asked is gone");
    ids.clear();
    bpe.encode("xx", ids);
    require(ids.size() == 2, "a text after an interrupted one");
  });
  require(stopped == threads / 2, "those that were to stop have stopped");
}

}  // namespace

int main() {
  test_memory_and_settings();
  test_program();
  test_packing();
  test_sampling();
  test_tokenizer();
  test_interrupts();
  std::printf("threads: all passed on %s\n", kernels().isa);
}
