// The functions of bpe_join.h.
#include "bpe_join.h"

#include <algorithm>
#include <cstdio>
#include <stdexcept>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "byte_alphabet.h"
#include "token_lists.h"

namespace nextword {
namespace {

std::string_view text(const VocabularySource& from, const VocabularySource::Token& token) {
  return {from.bytes.data() + token.start, token.size};
}

// As the file spells it.
std::string name_of(const VocabularySource& from, const VocabularySource::Token& token) {
  if (from.units == VocabularySource::Units::bytes) return token.spelled ? spell(text(from, token)) : std::string(text(from, token));
  if (token.kind != VocabularySource::Kind::byte) return with_marks(text(from, token));
  char name[8];
  std::snprintf(name, sizeof name, "<0x%02X>", static_cast<uint8_t>(text(from, token)[0]));
  return name;
}

// The text of the token that a file spells so, and whether it spells bytes. <0x41> is looked for among other names.
bool text_of(const VocabularySource& source, const std::string& name, std::string& out) {
  if (source.units == VocabularySource::Units::bytes) {
    out.clear();
    const bool spelled = unspell(name, out);
    if (!spelled) out = name;
    return spelled;
  }
  out = with_blanks(name);
  return true;
}

// At most 80 bytes of UTF-8 for a message, no character cut.
std::string start_of(std::string_view name) {
  size_t size = std::min<size_t>(name.size(), 80);
  while (size < name.size() && (static_cast<uint8_t>(name[size]) & 0xC0) == 0x80) --size;
  return std::string(name.substr(0, size));
}

[[noreturn]] void fail(const std::string& file, uint32_t line, const std::string& what) {
  throw std::invalid_argument("Tokenizer: " + file + " line " + std::to_string(line) + ": " + what);
}

}  // namespace

void join(VocabularySource& source, const VocabularySource& other) {
  const auto shown = [&](const VocabularySource& from, const VocabularySource::Token& token) { return "'" + start_of(name_of(from, token)) + "'"; };
  const auto differ = [&](uint32_t line, const std::string& what) {
    fail(other.tokens_file, line, what + " in " + source.tokens_file + "; the two files do not belong together, remove one");
  };
  size_t same = 0;  // most often all of them, in one order
  for (const size_t most = std::min(source.tokens.size(), other.tokens.size()); same < most; ++same) {
    const auto &a = source.tokens[same], &b = other.tokens[same];
    if (a.id != b.id || a.spelled != b.spelled || text(source, a) != text(other, b)) break;
  }
  if (same < other.tokens.size()) {
    const size_t known = source.tokens.size();
    std::vector<VocabularySource::Token> more;
    std::unordered_map<std::string_view, size_t> by_text[2];  // of names that spell no bytes, and of the others
    std::unordered_map<uint32_t, size_t> by_id;
    for (size_t i = same; i < known; ++i) {
      by_text[source.tokens[i].spelled].emplace(text(source, source.tokens[i]), i);
      by_id.emplace(source.tokens[i].id, i);
    }
    for (size_t i = same; i < other.tokens.size(); ++i) {
      const auto& token = other.tokens[i];
      const auto found = by_text[token.spelled].find(text(other, token));
      if (found != by_text[token.spelled].end()) {
        const uint32_t id = source.tokens[found->second].id;
        if (id != token.id) {
          differ(token.line, shown(other, token) + " has id " + std::to_string(token.id) + ", but id " + std::to_string(id));
        }
        continue;
      }
      const auto taken = by_id.find(token.id);
      if (taken != by_id.end()) {
        differ(token.line, "id " + std::to_string(token.id) + " is " + shown(other, token) + ", but " +
               shown(source, source.tokens[taken->second]));
      }
      more.push_back(token);
    }
    for (auto& token : more) {
      const std::string_view bytes = text(other, token);
      token.start = static_cast<uint32_t>(source.bytes.size());
      source.bytes += bytes;
      source.tokens.push_back(token);
    }
  }
  const auto parts = [](const VocabularySource& from, const VocabularySource::Merge& merge) {
    const std::string_view left(from.bytes.data() + merge.left_start, merge.left_size);
    return std::pair(left, std::string_view(left.data() + left.size(), merge.right_size));
  };
  for (size_t i = 0; i < std::max(source.merges.size(), other.merges.size()); ++i) {
    if (i < source.merges.size() && i < other.merges.size() && parts(source, source.merges[i]) == parts(other, other.merges[i])) continue;
    const auto merge = [&](const VocabularySource& from) {
      if (i >= from.merges.size()) return std::string("there is none");
      const auto [left, right] = parts(from, from.merges[i]);
      return "it is '" + start_of(spell(left)) + " " + start_of(spell(right)) + "'";
    };
    fail(other.merges_file, other.merges.empty() ? 1 : other.merges[std::min(i, other.merges.size() - 1)].line,
         "of merge " + std::to_string(i + 1) + " " + merge(other) + ", but " + merge(source) + " in " + source.merges_file +
             "; the two files do not belong together, remove one");
  }
}

std::vector<uint32_t> ids_of(const VocabularySource& source, const std::vector<std::string>& names) {
  std::vector<uint32_t> ids(names.size(), no_token);
  std::unordered_map<std::string, size_t> wanted[2];  // the text of the token, of names that spell no bytes and of the others
  for (size_t i = 0; i < names.size(); ++i) {
    std::string bytes;
    const bool spelled = text_of(source, names[i], bytes);
    wanted[spelled].emplace(bytes, i);
  }
  std::vector<bool> sizes;  // of what is wanted: few tokens have one of them
  for (const auto& some : wanted) {
    for (const auto& one : some) {
      if (sizes.size() <= one.first.size()) sizes.resize(one.first.size() + 1);
      sizes[one.first.size()] = true;
    }
  }
  std::string key;
  for (const auto& token : source.tokens) {
    if (token.size >= sizes.size() || !sizes[token.size] || token.kind == VocabularySource::Kind::byte) continue;
    key.assign(text(source, token));
    const auto found = wanted[token.spelled].find(key);
    if (found != wanted[token.spelled].end()) ids[found->second] = token.id;
  }
  return ids;
}

std::vector<std::string> names_of(const VocabularySource& source, const std::vector<uint32_t>& ids) {
  std::vector<std::string> names(ids.size());
  std::unordered_map<uint32_t, size_t> wanted;
  for (size_t i = 0; i < ids.size(); ++i) wanted.emplace(ids[i], i);
  if (ids.empty()) return names;
  const auto [least, most] = std::minmax_element(ids.begin(), ids.end());
  for (const auto& token : source.tokens) {
    if (token.id < *least || token.id > *most) continue;
    const auto found = wanted.find(token.id);
    if (found != wanted.end()) names[found->second] = name_of(source, token);
  }
  return names;
}

bool has_all_bytes(const VocabularySource& source) {
  std::vector<bool> seen(256);
  for (const auto& token : source.tokens) {
    if (token.size == 1 && token.spelled) seen[static_cast<uint8_t>(source.bytes[token.start])] = true;
  }
  return std::find(seen.begin(), seen.end(), false) == seen.end();
}

}  // namespace nextword
