// The way through a piece of the highest score (bpe_merge.h): SentencePiece's unigram model.
#include <algorithm>
#include <array>
#include <vector>

#include "bpe_merge.h"
#include "machine/interrupt.h"
#include "utf8.h"

namespace nextword {
namespace {

struct Arrival {  // the best way to a place: its score, and its last token, no_token for an unknown character
  double score;
  uint32_t begin, token;
};
constexpr uint32_t unreached = no_token;

}  // namespace

size_t best_path(const Vocabulary& vocabulary, std::string_view piece, uint32_t* ids) {
  constexpr size_t few = 1024;  // 16 KiB on the stack
  std::array<Arrival, few + 1> some;
  std::vector<Arrival> many(piece.size() > few ? piece.size() + 1 : 0);
  Arrival* const best = piece.size() > few ? many.data() : some.data();
  for (size_t i = 0; i <= piece.size(); ++i) best[i] = {0, unreached, no_token};
  const PieceTrie& trie = vocabulary.trie();
  const auto offer = [&](size_t begin, size_t end, uint32_t token, double score) {
    if (best[end].begin == unreached || score > best[end].score) best[end] = {score, static_cast<uint32_t>(begin), token};
  };
  for (size_t begin = 0, turns = 1; begin < piece.size(); ++turns) {
    if (turns % 4096 == 0) check_interrupt();
    const double score = best[begin].score;
    const size_t next = begin + char_size(piece[begin]);
    bool alone = false;  // whether the character itself is a token
    uint32_t node = trie.first_step(piece.substr(begin, next - begin));  // tokens are whole characters
    for (size_t end = next; node != PieceTrie::none; node = trie.step(node, static_cast<uint8_t>(piece[end++]))) {
      const uint32_t token = trie.value(node);
      if (token != PieceTrie::none) {
        offer(begin, end, token, score + vocabulary.score(token));
        alone = alone || end == next;
      }
      if (end == piece.size()) break;
    }
    if (!alone) offer(begin, next, no_token, score + vocabulary.unknown_score());
    begin = next;
  }
  // Backwards to the tokens, whose order is then turned; unknown characters may become several ids.
  size_t count = 0;
  for (size_t end = piece.size(); end > 0; end = best[end].begin) {
    if (best[end].token != no_token) {
      ids[count++] = best[end].token;
    } else {
      uint32_t* const from = ids + count;
      uint32_t* const to = vocabulary.unknown_ids(piece.substr(best[end].begin, end - best[end].begin), from);
      std::reverse(from, to);
      count += static_cast<size_t>(to - from);
    }
  }
  std::reverse(ids, ids + count);
  return count;
}

}  // namespace nextword
