// The tokens that text may go on with: a tree of their bytes.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace nextword {

class PieceTrie {
 public:
  static constexpr uint32_t none = 0xFFFFFFFFu;

  void add(std::string_view piece, uint32_t value) {
    uint32_t node = 0;
    for (const char c : piece) {
      const auto byte = static_cast<uint8_t>(c);
      size_t at = slot(node, byte);
      if (edges_[at].from == none) {
        if (2 * values_.size() >= edges_.size()) {
          grow();
          at = slot(node, byte);
        }
        edges_[at] = {node, static_cast<uint32_t>(values_.size()) << 8 | byte};
        values_.push_back(none);
      }
      node = edges_[at].to >> 8;
    }
    values_[node] = value;
  }

  // The node of what `node` (0 at first) stands for and one byte more, or none.
  uint32_t step(uint32_t node, uint8_t byte) const {
    const Edge& edge = edges_[slot(node, byte)];
    return edge.from == none ? none : edge.to >> 8;
  }
  // The same for a whole character, at the beginning of `text`. After index_characters(), one look-up for most.
  uint32_t first_step(std::string_view character) const {
    if (character.size() == 3 && !threes_.empty()) {
      const auto at = [&](size_t i) { return static_cast<uint32_t>(static_cast<uint8_t>(character[i])); };
      return threes_[(at(0) & 15) << 12 | (at(1) & 63) << 6 | (at(2) & 63)];
    }
    uint32_t node = 0;
    for (size_t i = 0; i < character.size() && node != none; ++i) node = step(node, static_cast<uint8_t>(character[i]));
    return node;
  }
  // When all pieces are there: the nodes of the characters of three bytes, as are those of scripts without spaces.
  void index_characters() {
    std::vector<uint32_t> threes(1 << 16, none);
    for (uint32_t code = 0x800; code < 0x10000; ++code) {
      const char character[3] = {static_cast<char>(0xE0 | code >> 12), static_cast<char>(0x80 | (code >> 6 & 63)), static_cast<char>(0x80 | (code & 63))};
      threes[code] = first_step({character, 3});
    }
    threes_ = std::move(threes);
  }
  uint32_t value(uint32_t node) const { return values_[node]; }  // none where it is no piece
  size_t nodes() const { return values_.size(); }                // below 2^24
  bool empty() const { return values_.size() == 1; }

  // The longest piece that `text` begins with: its size, 0 where there is none.
  size_t longest(std::string_view text) const {
    size_t found = 0;
    uint32_t node = 0;
    for (size_t i = 0; i < text.size(); ++i) {
      node = step(node, static_cast<uint8_t>(text[i]));
      if (node == none) break;
      if (values_[node] != none) found = i + 1;
    }
    return found;
  }

 private:
  struct Edge {
    uint32_t from, to;  // to: node << 8 | byte
  };
  size_t slot(uint32_t from, uint8_t byte) const {
    const uint64_t key = static_cast<uint64_t>(from) << 8 | byte;
    size_t at = (key * 0x9E3779B97F4A7C15ull) >> 32 & (edges_.size() - 1);
    while (edges_[at].from != none && (edges_[at].from != from || (edges_[at].to & 255) != byte)) at = (at + 1) & (edges_.size() - 1);
    return at;
  }
  void grow() {
    std::vector<Edge> old(2 * edges_.size(), Edge{none, 0});
    old.swap(edges_);
    for (const Edge& edge : old) {
      if (edge.from != none) edges_[slot(edge.from, static_cast<uint8_t>(edge.to))] = edge;
    }
  }
  std::vector<Edge> edges_ = std::vector<Edge>(16, Edge{none, 0});  // open addressing; none where free
  std::vector<uint32_t> values_ = std::vector<uint32_t>(1, none);
  std::vector<uint32_t> threes_;  // empty until index_characters()
};

}  // namespace nextword
