// The functions of token_lists.h.
#include "token_lists.h"

#include <cctype>
#include <cmath>
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

std::string with_blanks(std::string_view name) {
  std::string out;
  for (size_t i = 0; i < name.size();) {
    const bool mark = name.compare(i, 3, "\xE2\x96\x81") == 0;
    out += mark ? ' ' : name[i];
    i += mark ? 3 : 1;
  }
  return out;
}

std::string with_marks(std::string_view text) {
  std::string out;
  for (const char c : text) c == ' ' ? out += "\xE2\x96\x81" : out += c;
  return out;
}

VocabularySource blank_source(const TokenLists& lists, VocabularySource::Units units, const std::string& unknown, bool byte_fallback,
                              bool fuse_unknown) {
  using Kind = VocabularySource::Kind;
  VocabularySource source = checked(lists);
  source.units = units;
  source.has_merges = !lists.merges.empty();
  source.whole_pieces = false;
  source.byte_fallback = byte_fallback;
  source.fuse_unknown = fuse_unknown;
  source.unknown = with_blanks(unknown);
  const auto place = [&] { return static_cast<uint32_t>(source.bytes.size()); };
  for (size_t i = 0; i < lists.names.size(); ++i) {
    const std::string& name = lists.names[i];
    const PieceKind given = kind_of(lists, i);
    // <0x41>: by its type or, where a file has none, by its name
    const bool looks_so = name.size() == 6 && name.compare(0, 3, "<0x") == 0 && name[5] == '>' && std::isxdigit(static_cast<uint8_t>(name[3])) && std::isxdigit(static_cast<uint8_t>(name[4]));
    if (given == PieceKind::byte && !looks_so) fail(lists, "a token of type 6 must be <0x00> to <0xFF>, got '" + shown(name) + "'");
    Kind kind = given == PieceKind::normal || given == PieceKind::user_defined ? Kind::text : Kind::hidden;
    if (units == VocabularySource::Units::characters && given == PieceKind::user_defined) kind = Kind::hidden;  // found before
    if (looks_so && (given == PieceKind::byte || (byte_fallback && lists.kinds.empty()))) kind = Kind::byte;
    if (name == unknown) kind = Kind::hidden;
    const uint32_t start = place();
    if (kind == Kind::byte) {
      source.bytes += static_cast<char>(std::stoi(name.substr(3, 2), nullptr, 16));
    } else {
      source.bytes += with_blanks(name);
    }
    source.tokens.push_back({static_cast<uint32_t>(i), start, place() - start, 1, true, kind});
    if (!lists.scores.empty()) {
      if (!std::isfinite(lists.scores[i])) fail(lists, "the score of token " + std::to_string(i) + " is not finite");
      source.scores.push_back(lists.scores[i]);
    }
  }
  for (const std::string& merge : lists.merges) {
    const size_t blank = merge.find(' ');
    if (blank == merge.npos || blank == 0 || blank + 1 == merge.size()) {
      fail(lists, "a merge must be two parts with one space between, got '" + shown(merge) + "'");
    }
    const std::string left = with_blanks(merge.substr(0, blank)), right = with_blanks(merge.substr(blank + 1));
    source.merges.push_back({place(), static_cast<uint32_t>(left.size()), static_cast<uint32_t>(right.size()), static_cast<uint32_t>(source.merges.size() + 1)});
    source.bytes += left + right;
  }
  return source;
}

VocabularySource word_source(const TokenLists& lists, const std::string& unknown, const std::string& prefix, uint32_t longest) {
  using Kind = VocabularySource::Kind;
  VocabularySource source = checked(lists);
  source.units = VocabularySource::Units::words;
  source.whole_pieces = false;
  source.unknown = unknown;
  source.word_prefix = prefix;
  source.longest_word = longest;
  for (size_t i = 0; i < lists.names.size(); ++i) {
    const Kind kind = kind_of(lists, i) == PieceKind::unused ? Kind::hidden : Kind::text;
    const auto start = static_cast<uint32_t>(source.bytes.size());
    source.bytes += lists.names[i];
    source.tokens.push_back({static_cast<uint32_t>(i), start, static_cast<uint32_t>(lists.names[i].size()), static_cast<uint32_t>(i + 1), true, kind});
  }
  return source;
}

bool begins_words(const VocabularySource& source) {
  for (const auto& token : source.tokens) {
    if (token.kind != VocabularySource::Kind::text) continue;
    for (uint32_t i = 1; i < token.size; ++i) {
      if (source.bytes[token.start + i] == ' ' && source.bytes[token.start + i - 1] != ' ') return false;
    }
  }
  return true;
}

}  // namespace nextword
