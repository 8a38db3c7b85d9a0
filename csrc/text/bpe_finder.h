// Finds words in a text, many at once. What the words mean is elsewhere (bpe_added.h).
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace nextword {

// Finds words in text: of those that begin first the longest, then goes on behind it. Linear in the text, whatever the
// words. They are read from the back, so that each place has the longest word that begins there (Aho and Corasick 1975).
class WordFinder {
 public:
  // word: not empty; of equal ones the first counts. value: what find() gives for it. All before prepare().
  void add(std::string_view word, uint32_t value);
  void prepare();

  // found(value, begin, end) for each, from left to right.
  template <class Found>
  void find(std::string_view text, const Found& found) const {
    if (words_.empty()) return;
    std::vector<std::pair<size_t, uint32_t>> places;
    for (size_t done = 0, begin = 0; begin < text.size();) {
      const size_t end = std::min(text.size(), begin + std::max(block, longest_));
      places_of(text, begin, end, places);
      for (size_t i = places.size(); i-- > 0;) {
        if (places[i].first < done) continue;
        const Word& word = words_[places[i].second];
        done = places[i].first + word.size;
        found(word.value, places[i].first, done);
      }
      begin = std::max(end, done);
    }
  }

 private:
  static constexpr size_t block = size_t{1} << 16;  // bytes whose words are kept at a time
  static constexpr uint32_t none = 0xFFFFFFFFu;
  struct Word {
    uint32_t value, size;
  };
  struct Node {  // the last bytes of some words
    uint32_t parent, shorter;  // shorter: the longest node that is a beginning of this one's bytes
    uint32_t depth, word;      // word: the longest that is one, or none
    uint8_t byte;
  };
  struct Edge {
    uint32_t from, to;
    uint8_t byte;
  };
  void places_of(std::string_view text, size_t begin, size_t end, std::vector<std::pair<size_t, uint32_t>>& places) const;
  size_t slot(uint32_t from, uint8_t byte) const;
  uint32_t step(uint32_t node, uint8_t byte) const;
  void grow();

  std::vector<Word> words_;
  std::vector<Node> nodes_{{0, 0, 0, none, 0}};
  std::vector<Edge> edges_ = std::vector<Edge>(16, Edge{none, 0, 0});  // open addressing; none where free
  std::array<uint32_t, 256> first_{};  // of the root, which is 0
  size_t longest_ = 1;
};

}  // namespace nextword
