// The merge loops of bpe_merge.h.
#include "bpe_merge.h"

#include <functional>
#include <queue>
#include <vector>

#include "machine/interrupt.h"

namespace nextword {
namespace {

// The piece as a linked list of tokens, and a heap of the pairs that may merge. A merge leaves stale pairs in the heap;
// they are known by the two tokens that they were made for. pair_of(left, right) gives rank and product.
template <class PairOf>
size_t merge_by_heap(const Vocabulary& vocabulary, std::string_view piece, const PairOf& pair_of, uint32_t* ids) {
  struct Node {
    uint32_t token, previous, next;
  };
  struct Candidate {
    uint32_t rank, at, token, left, right;
    bool operator>(const Candidate& o) const { return rank != o.rank ? rank > o.rank : at > o.at; }
  };
  constexpr uint32_t none = no_token;
  std::vector<uint32_t> tokens(piece.size());
  const auto count = static_cast<uint32_t>(vocabulary.symbols(piece, tokens.data()));
  std::vector<Node> nodes(count);
  std::vector<Candidate> first;
  for (uint32_t i = 0; i < count; ++i) {
    nodes[i] = {tokens[i], i ? i - 1 : none, i + 1 < count ? i + 1 : none};
    if (i % 65536 == 0) check_interrupt();
    if (i == 0) continue;
    const Vocabulary::Pair pair = pair_of(nodes[i - 1].token, nodes[i].token);
    if (pair.token != no_token) first.push_back({pair.rank, i - 1, pair.token, nodes[i - 1].token, nodes[i].token});
  }
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> heap(std::greater<>(), std::move(first));
  const auto offer = [&](uint32_t at, uint32_t next) {
    const Vocabulary::Pair pair = pair_of(nodes[at].token, nodes[next].token);
    if (pair.token != no_token) heap.push({pair.rank, at, pair.token, nodes[at].token, nodes[next].token});
  };
  for (unsigned turns = 1; !heap.empty(); ++turns) {
    if (turns % 4096 == 0) check_interrupt();
    const Candidate best = heap.top();
    heap.pop();
    Node& node = nodes[best.at];
    if (node.token != best.left || node.next == none || nodes[node.next].token != best.right) continue;
    const uint32_t gone = node.next;
    node.token = best.token;
    node.next = nodes[gone].next;
    nodes[gone].token = none;
    if (node.next != none) {
      nodes[node.next].previous = best.at;
      offer(best.at, node.next);
    }
    if (node.previous != none) offer(node.previous, best.at);
  }
  size_t written = 0;
  for (uint32_t i = 0; i != none; i = nodes[i].next) tokens[written++] = nodes[i].token;
  return vocabulary.ids_of_symbols(piece, tokens.data(), written, ids);
}

inline unsigned lowest(uint64_t bits) { return static_cast<unsigned>(__builtin_ctzll(bits)); }
inline unsigned highest(uint64_t bits) { return 63 - static_cast<unsigned>(__builtin_clzll(bits)); }

}  // namespace

size_t merge_few(const Vocabulary& vocabulary, std::string_view piece, uint32_t* ids) {
  // keys[i] is the rank of the merge of token i with the one after it, then i in six bits: the smallest is next.
  constexpr int32_t none = 0x7FFFFFFF;
  constexpr unsigned step = 8;  // the search runs over whole steps
  int32_t keys[merge_few_limit];
  uint32_t tokens[merge_few_limit];
  const bool by_bytes = vocabulary.units() == Vocabulary::Units::bytes;
  const auto count = static_cast<unsigned>(vocabulary.symbols(piece, tokens));
  const auto* bytes = reinterpret_cast<const uint8_t*>(piece.data());
  const unsigned width = (count + step - 1) / step * step;
  const auto key = [](uint32_t token, unsigned at) {
    return token == no_token ? none : static_cast<int32_t>(token << 6 | at);
  };
  for (unsigned i = 1; i < count; ++i) {
    keys[i - 1] = key(by_bytes ? vocabulary.merged_bytes(bytes[i - 1], bytes[i]) : vocabulary.merged(tokens[i - 1], tokens[i]), i - 1);
  }
  for (unsigned i = count - 1; i < width; ++i) keys[i] = none;
  uint64_t alive = ~uint64_t{0} >> (64 - count);
  for (;;) {
    int32_t best = none;
    for (unsigned i = 0; i < width; ++i) best = keys[i] < best ? keys[i] : best;
    if (best == none) break;
    const unsigned at = static_cast<unsigned>(best) & 63;
    const uint32_t token = static_cast<uint32_t>(best) >> 6;
    const uint64_t above = alive & (~uint64_t{1} << at);
    const unsigned gone = lowest(above);
    const uint64_t after = above & (above - 1);
    const uint64_t below = alive & ((uint64_t{1} << at) - 1);
    alive ^= uint64_t{1} << gone;
    tokens[at] = token;
    keys[gone] = none;
    keys[at] = after ? key(vocabulary.merged(token, tokens[lowest(after)]), at) : none;
    if (below) {
      const unsigned before = highest(below);
      keys[before] = key(vocabulary.merged(tokens[before], token), before);
    }
  }
  size_t written = 0;
  if (by_bytes) {
    for (; alive; alive &= alive - 1) ids[written++] = tokens[lowest(alive)];
    return written;
  }
  for (; alive; alive &= alive - 1) tokens[written++] = tokens[lowest(alive)];
  return vocabulary.ids_of_symbols(piece, tokens, written, ids);
}

size_t merge_many(const Vocabulary& vocabulary, std::string_view piece, uint32_t* ids) {
  return merge_by_heap(vocabulary, piece, [&](uint32_t left, uint32_t right) {
    const uint32_t token = vocabulary.merged(left, right);
    return Vocabulary::Pair{token, token};
  }, ids);
}

size_t merge_any(const Vocabulary& vocabulary, std::string_view piece, uint32_t* ids) {
  return merge_by_heap(vocabulary, piece, [&](uint32_t left, uint32_t right) { return vocabulary.pair(left, right); }, ids);
}

}  // namespace nextword
