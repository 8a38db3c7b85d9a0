// The functions of token_lists.h.
#include "token_lists.h"

#include <stdexcept>

#include "byte_alphabet.h"
#include "machine/shown.h"

namespace nextword {
namespace {

[[noreturn]] void fail(const TokenLists& lists, const std::string& what) {
  throw std::invalid_argument("Tokenizer: " + lists.file + ": " + what);
}

PieceKind kind_of(const TokenLists& lists, size_t i) {
  return lists.kinds.empty() ? PieceKind::normal : static_cast<PieceKind>(lists.kinds[i]);
}

VocabularySource checked(const TokenLists& lists) {
  const size_t count = lists.names.size();
  if (count == 0) fail(lists, "there are no tokens");
  if (count > max_tokens) fail(lists, "there are " + std::to_string(count) + " tokens, expected at most 2^24");
  if (!lists.kinds.empty() && lists.kinds.size() != count) {
    fail(lists, "there must be one type a token, got " + std::to_string(lists.kinds.size()) + " for " + std::to_string(count));
  }
  if (!lists.scores.empty() && lists.scores.size() != count) {
    fail(lists, "there must be one score a token, got " + std::to_string(lists.scores.size()) + " for " + std::to_string(count));
  }
  for (const uint8_t kind : lists.kinds) {
    if (kind < 1 || kind > 6) fail(lists, "the type of a token must be 1 to 6, got " + std::to_string(kind));
  }
  VocabularySource source;
  source.tokens_file = source.merges_file = lists.file;
  size_t bytes = 0;
  for (const std::string& name : lists.names) bytes += name.size();
  for (const std::string& merge : lists.merges) bytes += merge.size();
  if (bytes > 0x7FFFFFFF) fail(lists, "the tokens are over 2 GiB together");
  source.bytes.reserve(bytes);
  source.tokens.reserve(count);
  source.merges.reserve(lists.merges.size());
  return source;
}

}  // namespace

VocabularySource spelled_source(const TokenLists& lists) {
  VocabularySource source = checked(lists);
  source.has_merges = true;
  source.whole_pieces = false;
  const auto place = [&] { return static_cast<uint32_t>(source.bytes.size()); };
  for (size_t i = 0; i < lists.names.size(); ++i) {
    const uint32_t start = place();
    const bool spelled = kind_of(lists, i) != PieceKind::control && unspell(lists.names[i], source.bytes);
    if (!spelled) source.bytes += lists.names[i];
    const auto kind = kind_of(lists, i) == PieceKind::unused ? VocabularySource::Kind::hidden : VocabularySource::Kind::text;
    source.tokens.push_back({static_cast<uint32_t>(i), start, place() - start, 1, spelled, kind});
  }
  for (const std::string& merge : lists.merges) {
    const size_t blank = merge.find(' ');
    const uint32_t start = place();
    bool good = blank != merge.npos && blank > 0 && blank + 1 < merge.size() && merge.find(' ', blank + 1) == merge.npos;
    uint32_t middle = start;
    if (good) {
      good = unspell(std::string_view(merge).substr(0, blank), source.bytes);
      middle = place();
      good = good && unspell(std::string_view(merge).substr(blank + 1), source.bytes);
    }
    if (!good) fail(lists, "a merge must be two parts that spell bytes, with one space between, got '" + shown(merge) + "'");
    source.merges.push_back({start, middle - start, place() - middle, static_cast<uint32_t>(source.merges.size() + 1)});
  }
  return source;
}

}  // namespace nextword
