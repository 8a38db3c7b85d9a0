// Counting pieces and learning merges, of bpe_train.h.
//
// Merges are learned over the distinct pieces only. Every pair of neighbouring symbols knows its count and the pieces
// that may hold it; a heap gives the most frequent pair. Counts in the heap go stale when they fall, which is noticed
// when the pair comes up; they never rise, because new pairs hold the symbol that was made last.
#include "bpe_train.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <mutex>
#include <queue>

#include "bpe_cache.h"
#include "byte_alphabet.h"
#include "machine/interrupt.h"
#include "machine/parallel.h"

namespace nextword {
namespace {

constexpr size_t worth_a_worker = size_t{1} << 20;  // bytes of text
constexpr size_t unit_bytes = size_t{1} << 18;      // of a thread's turn, after which it looks whether to go on
constexpr size_t often = 4096;  // steps between two looks at whether to go on

inline bool ascii_letter(char c) { return (c | 0x20) >= 'a' && (c | 0x20) <= 'z'; }

// Cuts a long text into units without changing its pieces: a blank between two letters always starts a piece, and what
// stands before it has no say in what follows.
void cut_into_units(std::string_view text, std::vector<std::string_view>& units) {
  while (text.size() > unit_bytes) {
    size_t at = unit_bytes;
    while (at + 1 < text.size() && !(text[at] == ' ' && ascii_letter(text[at - 1]) && ascii_letter(text[at + 1]))) ++at;
    if (at + 1 >= text.size()) break;
    units.push_back(text.substr(0, at));
    text.remove_prefix(at);
  }
  if (!text.empty()) units.push_back(text);
}

struct SymbolOrder {
  std::array<uint8_t, 256> byte_of_symbol{};
  std::array<uint32_t, 256> symbol_of_byte{};

  SymbolOrder() {
    for (unsigned i = 0; i < 256; ++i) byte_of_symbol[i] = static_cast<uint8_t>(i);
    const auto& code = byte_alphabet().code_of_byte;
    std::sort(byte_of_symbol.begin(), byte_of_symbol.end(), [&](uint8_t a, uint8_t b) { return code[a] < code[b]; });
    for (unsigned i = 0; i < 256; ++i) symbol_of_byte[byte_of_symbol[i]] = i;
  }
};

const SymbolOrder& symbol_order() {
  static const SymbolOrder order;
  return order;
}

}  // namespace

uint8_t byte_of_symbol(uint32_t symbol) { return symbol_order().byte_of_symbol[symbol]; }

// Pieces of up to 15 bytes in one open-addressing table of words, the rest in a map.
class PieceCounts::Table {
 public:
  Table() { slots_.resize(size_t{1} << 12); }

  void add(ShortKey key, uint64_t count) {
    if (2 * (used_ + 1) > slots_.size()) grow();
    Slot& slot = find(key);
    used_ += slot.count == 0;
    slot.key = key;
    slot.count += count;
  }
  void add_long(std::string_view piece, uint64_t count) { longer_[std::string(piece)] += count; }

  void add_text(Pattern pattern, std::string_view text) {
    const auto* p = reinterpret_cast<const uint8_t*>(text.data());
    Splitter splitter(pattern, p, p + text.size());
    uint32_t ends[Splitter::room];
    ShortKey keys[Splitter::room];
    size_t begin = 0;
    while (const size_t count = splitter.next(ends)) {
      size_t shorts = 0;
      for (size_t i = 0; i < count; begin = ends[i++]) {
        const size_t size = ends[i] - begin;
        if (size > ShortKey::max_size) {
          add_long(text.substr(begin, size), 1);
          continue;
        }
        keys[shorts] = begin + 16 <= text.size() ? ShortKey::readable(&text[begin], size) : ShortKey::any(&text[begin], size);
        __builtin_prefetch(&slots_[place(keys[shorts++])]);
      }
      for (size_t i = 0; i < shorts; ++i) add(keys[i], 1);
    }
  }

  void take(const Table& other) {
    for (size_t i = 0; i < other.slots_.size(); ++i) {
      if (other.slots_[i].count) add(other.slots_[i].key, other.slots_[i].count);
      if (i % often == 0) check_interrupt();
    }
    size_t taken = 0;
    for (const auto& [piece, count] : other.longer_) {
      longer_[piece] += count;
      if (++taken % often == 0) check_interrupt();
    }
  }

  size_t size() const { return used_ + longer_.size(); }

  template <class Visit>
  void each(const Visit& visit) const {  // visit(piece, count); the view is valid as long as the table is not changed
    size_t seen = 0;
    for (const Slot& slot : slots_) {
      if (++seen % often == 0) check_interrupt();
      if (slot.count) visit(std::string_view(reinterpret_cast<const char*>(&slot.key), slot.key.high >> 56), slot.count);
    }
    for (const auto& [piece, count] : longer_) visit(std::string_view(piece), count);
  }

 private:
  struct Slot {
    ShortKey key{0, 0};
    uint64_t count = 0;
  };
  size_t place(ShortKey key) const {
    const uint64_t h = (key.low ^ key.high * 0x9E3779B97F4A7C15ull) * 0xD6E8FEB86659FD93ull;
    return (h ^ h >> 32) & (slots_.size() - 1);
  }
  Slot& find(ShortKey key) {
    size_t at = place(key);
    while (slots_[at].count && ((slots_[at].key.low ^ key.low) | (slots_[at].key.high ^ key.high))) at = (at + 1) & (slots_.size() - 1);
    return slots_[at];
  }
  void grow() {
    std::vector<Slot> old(slots_.size() * 4);
    old.swap(slots_);
    for (const Slot& slot : old) {
      if (slot.count) find(slot.key) = slot;
    }
  }

  std::vector<Slot> slots_;
  size_t used_ = 0;
  std::unordered_map<std::string, uint64_t> longer_;
};

void PieceCounts::add(const std::vector<std::string_view>& texts, int threads) {
  std::vector<std::string_view> units;
  size_t bytes = 0;
  for (const std::string_view text : texts) {
    cut_into_units(text, units);
    bytes += text.size();
  }
  const int workers = std::max(1, std::min(threads, threads_for(static_cast<int64_t>(bytes / worth_a_worker), 1)));
  while (tables_.size() < static_cast<size_t>(workers) || tables_.empty()) tables_.push_back(std::make_shared<Table>());
  std::exception_ptr error;  // an exception must not leave a thread
  std::mutex error_mutex;
  // Short texts many at a time, so that a turn is worth its while.
  std::vector<size_t> starts{0};
  size_t gathered = 0;
  for (size_t i = 0; i < units.size(); ++i) {
    gathered += units[i].size();
    if (gathered >= unit_bytes || i + 1 == units.size()) {
      starts.push_back(i + 1);
      gathered = 0;
    }
  }
  parallel_items(static_cast<int64_t>(starts.size()) - 1, workers, [&](int64_t item, int worker) {
    try {
      for (size_t i = starts[static_cast<size_t>(item)]; i < starts[static_cast<size_t>(item) + 1]; ++i) {
        tables_[static_cast<size_t>(worker)]->add_text(pattern_, units[i]);
      }
    } catch (...) {
      const std::lock_guard<std::mutex> lock(error_mutex);
      error = std::current_exception();
    }
  });
  if (error) std::rethrow_exception(error);
  for (size_t i = 1; i < tables_.size(); ++i) tables_[0]->take(*tables_[i]);
  tables_.resize(1);
}

size_t PieceCounts::size() const { return tables_.empty() ? 0 : tables_[0]->size(); }

std::vector<std::pair<std::string_view, uint64_t>> PieceCounts::pieces() const {
  std::vector<std::pair<std::string_view, uint64_t>> out;
  if (tables_.empty()) return out;
  out.reserve(tables_[0]->size());
  tables_[0]->each([&](std::string_view piece, uint64_t count) {
    if (piece.size() > 1) out.emplace_back(piece, count);
  });
  return out;
}

namespace {

class Learner {
 public:
  explicit Learner(const PieceCounts& counts) {
    const auto pieces = counts.pieces();
    size_t total = 0;
    for (const auto& piece : pieces) total += piece.first.size();
    symbols_.reserve(total);
    words_.reserve(pieces.size());
    for (const auto& [piece, count] : pieces) {
      words_.push_back({symbols_.size(), static_cast<uint32_t>(piece.size()), static_cast<int64_t>(count)});
      for (const char c : piece) symbols_.push_back(symbol_order().symbol_of_byte[static_cast<uint8_t>(c)]);
      if (words_.size() % often == 0) check_interrupt();
    }
    index_.assign(size_t{1} << 16, 0);
    for (uint32_t i = 0; i < words_.size(); ++i) {
      const uint32_t* s = &symbols_[words_[i].begin];
      for (uint32_t j = 0; j + 1 < words_[i].size; ++j) occurs(s[j], s[j + 1], i);
      if (i % often == 0) check_interrupt();
    }
    std::vector<Candidate> first;
    for (uint32_t i = 0; i < pairs_.size(); ++i) first.push_back({pairs_[i].count, pairs_[i].key, i});
    heap_ = Heap(std::less<>(), std::move(first));
    made_now_.clear();
  }

  // The most frequent pair, merged everywhere; false where none occurs `least` times.
  bool step(int64_t least, LearnedMerge& merge) {
    while (!heap_.empty()) {
      Candidate best = heap_.top();
      heap_.pop();
      const int64_t count = pairs_[best.pair].count;
      if (best.count != count) {
        best.count = count;
        if (count > 0) heap_.push(best);
        continue;
      }
      if (count < least) return false;
      merge = {static_cast<uint32_t>(best.key >> 32), static_cast<uint32_t>(best.key)};
      apply(best.pair, merge);
      return true;
    }
    return false;
  }

 private:
  struct Word {
    size_t begin;  // in symbols_
    uint32_t size;
    int64_t count;
  };
  struct Pair {
    int64_t count;
    uint64_t key;                // left << 32 | right
    std::vector<uint32_t> words;  // that hold it, or held it once; ascending but for repeats in a row, which are left out
  };
  struct Candidate {
    int64_t count;
    uint64_t key;
    uint32_t pair;
    bool operator<(const Candidate& o) const { return count != o.count ? count < o.count : key > o.key; }
  };
  using Heap = std::priority_queue<Candidate, std::vector<Candidate>, std::less<>>;

  static size_t hash(uint64_t key) { return static_cast<size_t>(key * 0x9E3779B97F4A7C15ull >> 20); }

  uint32_t pair_of(uint32_t left, uint32_t right) {
    if (2 * (pairs_.size() + 1) > index_.size()) {
      index_.assign(index_.size() * 4, 0);
      for (uint32_t i = 0; i < pairs_.size(); ++i) index_[free_place(pairs_[i].key)] = i + 1;
    }
    const uint64_t key = static_cast<uint64_t>(left) << 32 | right;
    const size_t at = free_place(key);
    if (index_[at] == 0) {
      pairs_.push_back({0, key, {}});
      index_[at] = static_cast<uint32_t>(pairs_.size());
      made_now_.push_back(index_[at] - 1);
    }
    return index_[at] - 1;
  }

  size_t free_place(uint64_t key) const {  // where the key is, or is to go
    const size_t mask = index_.size() - 1;
    size_t at = hash(key) & mask;
    while (index_[at] && pairs_[index_[at] - 1].key != key) at = (at + 1) & mask;
    return at;
  }

  void occurs(uint32_t left, uint32_t right, uint32_t word) {
    Pair& pair = pairs_[pair_of(left, right)];
    pair.count += words_[word].count;
    if (pair.words.empty() || pair.words.back() != word) pair.words.push_back(word);
  }
  void vanishes(uint32_t left, uint32_t right, uint32_t word) { pairs_[pair_of(left, right)].count -= words_[word].count; }

  void apply(uint32_t pair, LearnedMerge merge) {
    const uint32_t made = next_++;
    const auto [left, right] = merge;
    std::vector<uint32_t> where;
    where.swap(pairs_[pair].words);
    made_now_.clear();
    for (size_t w = 0; w < where.size(); ++w) {
      if (w % often == often - 1) check_interrupt();
      if (w + 8 < where.size()) __builtin_prefetch(&symbols_[words_[where[w + 8]].begin]);
      const uint32_t at = where[w];
      uint32_t* s = &symbols_[words_[at].begin];
      const uint32_t size = words_[at].size;
      uint32_t kept = 0;
      for (uint32_t i = 0; i < size;) {
        if (i + 1 == size || s[i] != left || s[i + 1] != right) {
          s[kept++] = s[i++];
          continue;
        }
        if (kept > 0) {
          vanishes(s[kept - 1], left, at);
          occurs(s[kept - 1], made, at);
        }
        if (i + 2 < size) {
          vanishes(right, s[i + 2], at);
          occurs(made, s[i + 2], at);
        }
        s[kept++] = made;
        i += 2;
      }
      words_[at].size = kept;
    }
    pairs_[pair].count = 0;
    for (const uint32_t i : made_now_) {
      if (pairs_[i].count > 0) heap_.push({pairs_[i].count, pairs_[i].key, i});
    }
  }

  std::vector<uint32_t> symbols_;
  std::vector<Word> words_;
  std::vector<Pair> pairs_;
  std::vector<uint32_t> index_;     // open addressing: pair + 1
  std::vector<uint32_t> made_now_;  // pairs that the merge under way has made
  Heap heap_;
  uint32_t next_ = 256;
};

}  // namespace

std::vector<LearnedMerge> learn_merges(const PieceCounts& counts, size_t wanted, uint64_t min_frequency,
                                       const std::function<void(size_t)>& progress) {
  Learner learner(counts);
  std::vector<LearnedMerge> merges;
  LearnedMerge merge;
  const auto least = static_cast<int64_t>(std::max<uint64_t>(1, min_frequency));
  while (merges.size() < wanted && learner.step(least, merge)) {
    merges.push_back(merge);
    if (merges.size() % 256 == 0) progress(merges.size());
    check_interrupt();
  }
  return merges;
}

}  // namespace nextword
