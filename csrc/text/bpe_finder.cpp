// The automaton of bpe_finder.h: a tree of the words read from their ends.
#include "bpe_finder.h"

#include "machine/interrupt.h"

namespace nextword {

size_t WordFinder::slot(uint32_t from, uint8_t byte) const {
  const uint64_t key = static_cast<uint64_t>(from) << 8 | byte;
  size_t at = (key * 0x9E3779B97F4A7C15ull) >> 32 & (edges_.size() - 1);
  while (edges_[at].from != none && (edges_[at].from != from || edges_[at].byte != byte)) at = (at + 1) & (edges_.size() - 1);
  return at;
}

void WordFinder::grow() {
  std::vector<Edge> old(2 * edges_.size(), Edge{none, 0, 0});
  old.swap(edges_);
  for (const Edge& edge : old) {
    if (edge.from != none) edges_[slot(edge.from, edge.byte)] = edge;
  }
}

void WordFinder::add(std::string_view word, uint32_t value) {
  uint32_t node = 0;
  for (size_t i = word.size(); i-- > 0;) {
    const auto byte = static_cast<uint8_t>(word[i]);
    size_t at = slot(node, byte);
    if (edges_[at].from == none) {
      if (2 * nodes_.size() > edges_.size()) {
        grow();
        at = slot(node, byte);
      }
      edges_[at] = {node, static_cast<uint32_t>(nodes_.size()), byte};
      nodes_.push_back({node, 0, nodes_[node].depth + 1, none, byte});
    }
    node = edges_[at].to;
  }
  if (nodes_[node].word != none) return;
  nodes_[node].word = static_cast<uint32_t>(words_.size());
  words_.push_back({value, static_cast<uint32_t>(word.size())});
  longest_ = std::max(longest_, word.size());
}

// The longest node that is what `node` is with `byte` before it, or the beginning of that.
inline uint32_t WordFinder::step(uint32_t node, uint8_t byte) const {
  for (; node != 0; node = nodes_[node].shorter) {
    const Edge& edge = edges_[slot(node, byte)];
    if (edge.from != none) return edge.to;
  }
  return first_[byte];
}

void WordFinder::prepare() {
  std::vector<uint32_t> by_depth(nodes_.size()), starts(longest_ + 2);
  for (const Node& node : nodes_) ++starts[node.depth + 1];
  for (size_t depth = 1; depth < starts.size(); ++depth) starts[depth] += starts[depth - 1];
  for (uint32_t i = 0; i < nodes_.size(); ++i) by_depth[starts[nodes_[i].depth]++] = i;
  for (size_t i = 1; i < by_depth.size(); ++i) {
    Node& node = nodes_[by_depth[i]];
    if (node.depth == 1) {
      first_[node.byte] = by_depth[i];
      continue;
    }
    node.shorter = step(nodes_[node.parent].shorter, node.byte);
    if (node.word == none) node.word = nodes_[node.shorter].word;
  }
}

// The longest word that begins at each place of [begin, end) where one does, from right to left.
void WordFinder::places_of(std::string_view text, size_t begin, size_t end, std::vector<std::pair<size_t, uint32_t>>& places) const {
  check_interrupt();
  places.clear();
  const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
  uint32_t node = 0;
  for (size_t i = std::min(text.size(), end + longest_ - 1); i-- > begin;) {
    if (node == 0) {
      node = first_[bytes[i]];
      if (node == 0) continue;
    } else {
      node = step(node, bytes[i]);
    }
    if (i < end && nodes_[node].word != none) places.emplace_back(i, nodes_[node].word);
  }
}

}  // namespace nextword
