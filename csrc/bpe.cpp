// Encoding and decoding of bpe.h.
#include "bpe.h"

#include <algorithm>
#include <functional>
#include <queue>
#include <stdexcept>

namespace nextword {
namespace {

constexpr size_t short_piece = 32;  // up to here a scan for the lowest rank beats a heap

}  // namespace

void Bpe::encode(std::string_view text, std::vector<uint32_t>& ids) const {
  if (text.size() > 0xFFFFFFFFu) {
    throw std::invalid_argument("encode: text has " + std::to_string(text.size()) +
                                " bytes, expected less than 4 GiB; encode it in parts");
  }
  const auto* p = reinterpret_cast<const uint8_t*>(text.data());
  const auto* end = p + text.size();
  while (p < end) {
    const uint8_t* q = piece_end(pattern_, p, end);
    encode_piece({reinterpret_cast<const char*>(p), static_cast<size_t>(q - p)}, ids);
    p = q;
  }
}

void Bpe::encode_piece(std::string_view piece, std::vector<uint32_t>& ids) const {
  if (vocabulary_.whole_pieces() && piece.size() <= vocabulary_.longest()) {
    const uint32_t token = vocabulary_.find(piece);
    if (token != no_token) {
      ids.push_back(token);
      return;
    }
  }
  if (piece.size() <= short_piece) {
    merge_short(piece, ids);
  } else {
    merge_long(piece, ids);
  }
}

void Bpe::merge_short(std::string_view piece, std::vector<uint32_t>& ids) const {
  uint32_t tokens[short_piece];
  Vocabulary::Pair pairs[short_piece];
  size_t count = piece.size();
  for (size_t i = 0; i < count; ++i) tokens[i] = vocabulary_.byte_token(static_cast<uint8_t>(piece[i]));
  for (size_t i = 0; i + 1 < count; ++i) {
    pairs[i] = vocabulary_.byte_pair(static_cast<uint8_t>(piece[i]), static_cast<uint8_t>(piece[i + 1]));
  }
  while (count > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < count; ++i) {
      if (pairs[i].rank < pairs[best].rank) best = i;
    }
    if (pairs[best].rank == no_token) break;
    tokens[best] = pairs[best].token;
    --count;
    std::copy(tokens + best + 2, tokens + count + 1, tokens + best + 1);
    std::copy(pairs + best + 1, pairs + count, pairs + best);
    if (best > 0) pairs[best - 1] = vocabulary_.pair(tokens[best - 1], tokens[best]);
    if (best + 1 < count) pairs[best] = vocabulary_.pair(tokens[best], tokens[best + 1]);
  }
  ids.insert(ids.end(), tokens, tokens + count);
}

void Bpe::merge_long(std::string_view piece, std::vector<uint32_t>& ids) const {
  // The piece as a linked list of tokens, and a heap of the pairs that may merge. A merge leaves stale pairs in the
  // heap; they are recognised by the two tokens that they were made for.
  struct Node {
    uint32_t token, previous, next;
  };
  struct Candidate {
    uint32_t rank, at, token, left, right;
    bool operator>(const Candidate& o) const { return rank != o.rank ? rank > o.rank : at > o.at; }
  };
  constexpr uint32_t none = no_token;
  const auto count = static_cast<uint32_t>(piece.size());
  std::vector<Node> nodes(count);
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> heap;
  for (uint32_t i = 0; i < count; ++i) {
    nodes[i] = {vocabulary_.byte_token(static_cast<uint8_t>(piece[i])), i ? i - 1 : none, i + 1 < count ? i + 1 : none};
  }
  const auto offer = [&](uint32_t at) {
    const uint32_t next = nodes[at].next;
    if (next == none) return;
    const auto pair = vocabulary_.pair(nodes[at].token, nodes[next].token);
    if (pair.token != no_token) heap.push({pair.rank, at, pair.token, nodes[at].token, nodes[next].token});
  };
  for (uint32_t i = 0; i < count; ++i) offer(i);
  while (!heap.empty()) {
    const Candidate best = heap.top();
    heap.pop();
    Node& node = nodes[best.at];
    if (node.token != best.left || node.next == none || nodes[node.next].token != best.right) continue;
    const uint32_t gone = node.next;
    node.token = best.token;
    node.next = nodes[gone].next;
    nodes[gone].token = none;
    if (node.next != none) nodes[node.next].previous = best.at;
    offer(best.at);
    if (node.previous != none) offer(node.previous);
  }
  for (uint32_t i = 0; i != none; i = nodes[i].next) ids.push_back(nodes[i].token);
}

void Bpe::decode(const uint32_t* ids, size_t count, std::string& bytes) const {
  for (size_t i = 0; i < count; ++i) {
    if (!vocabulary_.has(ids[i])) throw std::out_of_range("decode: id " + std::to_string(ids[i]) + " is no token");
    bytes.append(vocabulary_.bytes(ids[i]));
  }
}

}  // namespace nextword
