// From a text to the ids of its parts: added tokens, and what is encoded between them.
#include "bpe.h"

#include <algorithm>
#include <stdexcept>

#include "utf8.h"
#include "wordpiece.h"

namespace nextword {
namespace {

void append(const std::vector<uint32_t>& some, IdBuffer& ids) {
  for (const uint32_t id : some) ids.push_back(id);
}

}  // namespace

Bpe::Bpe(VocabularySource source, Pattern pattern, TextRules rules)
    : vocabulary_(std::move(source)), pattern_(pattern), rules_(std::move(rules)), added_(vocabulary_, rules_) {
  plain_ = !added_.always() && rules_.beginning.empty() && rules_.ending.empty();
  for (const auto* ids : {&rules_.beginning, &rules_.ending}) {
    for (const uint32_t id : *ids) {
      if (!vocabulary_.has(id)) {
        throw std::out_of_range("Tokenizer: beginning and ending must be ids of the vocabulary, got " + std::to_string(id));
      }
    }
  }
}

// Unknown neighbours from `first` on become one.
void Bpe::fuse(IdBuffer& ids, size_t first) const {
  size_t kept = first;
  for (size_t i = first; i < ids.size(); ++i) {
    const uint32_t id = ids.data()[i];
    if (id != vocabulary_.substitute() || kept == first || ids.data()[kept - 1] != id) ids.data()[kept++] = id;
  }
  ids.resize(kept);
}

void Bpe::encode(std::string_view text, const Request& request, IdBuffer& ids) const {
  encode(*Borrowed(*this).get(), text, request, ids);
}

void Bpe::encode(Encoder& encoder, std::string_view text, const Request& request, IdBuffer& ids) const {
  if (plain_ && request.allowed.empty()) return encoder.encode(text, ids);
  if (request.whole) append(rules_.beginning, ids);
  try {
    added_.split(text, request, false, [&](const TextPart& part) {
      if (part.id != no_token) return ids.push_back(part.id);
      const size_t first = ids.size();
      encoder.encode(part.text, ids);
      if (vocabulary_.fuses_unknown()) fuse(ids, first);
    });
  } catch (const UnknownByte&) {  // its place in the part is known: find that in the text
    Offsets offsets;
    IdBuffer again;
    encode(text, request, again, offsets);
    throw;
  }
  if (request.whole) append(rules_.ending, ids);
}

void Bpe::encode(std::string_view text, const Request& request, IdBuffer& ids, Offsets& offsets) const {
  const Borrowed encoder(*this);
  if (request.whole) {
    append(rules_.beginning, ids);
    offsets.resize(ids.size(), {0, 0});
  }
  added_.split(text, request, true, [&](const TextPart& part) {
    if (part.id != no_token) {
      ids.push_back(part.id);
      offsets.push_back(part.original());
      return;
    }
    const size_t first = ids.size();
    if (vocabulary_.units() == Vocabulary::Units::words) {
      Offsets ranges;
      encoder->encode_words(part.text, ids, ranges);
      for (const auto& [begin, end] : ranges) offsets.push_back(part.original(begin, end));
      return;
    }
    try {
      encoder->encode(part.text, ids);
    } catch (const UnknownByte& error) {
      throw UnknownByte(text, std::min(part.original(error.offset, error.offset + 1).first, text.size() - 1));
    }
    size_t kept = first;
    for (size_t i = first, at = 0; i < ids.size(); ++i) {
      const uint32_t id = ids.data()[i];
      const size_t end = at + vocabulary_.taken(id, part.text.data() + at);
      const bool goes_on = vocabulary_.fuses_unknown() && kept > first && id == vocabulary_.substitute() && ids.data()[kept - 1] == id;
      const bool blank = request.bare && part.text[at] == ' ' && (rules_.parts_words || (at == 0 && part.prefixed())) && at + 1 < part.text.size();
      const auto range = blank ? part.original(at + 1, std::max(end, at + 1 + char_size(part.text[at + 1]))) : part.original(at, end);
      at = end;
      if (goes_on) {
        offsets.back().second = range.second;
        continue;
      }
      offsets.push_back(range);
      ids.data()[kept++] = id;
    }
    ids.resize(kept);
  });
  if (request.whole) {
    append(rules_.ending, ids);
    offsets.resize(ids.size(), {text.size(), text.size()});
  }
}

void Bpe::in_characters(std::string_view text, Offsets& offsets) {
  constexpr size_t step = 64;  // bytes, before each multiple of which the characters are counted once
  if (std::all_of(text.begin(), text.end(), [](char c) { return static_cast<uint8_t>(c) < 0x80; })) return;
  const auto begins = [&](size_t i) { return (static_cast<uint8_t>(text[i]) & 0xC0) != 0x80; };
  std::vector<size_t> before(text.size() / step + 1);
  for (size_t i = 0, count = 0; i <= text.size(); ++i) {
    if (i % step == 0) before[i / step] = count;
    if (i < text.size()) count += begins(i);
  }
  const auto characters = [&](size_t end) {  // that begin before `end`
    size_t count = before[end / step];
    for (size_t i = end / step * step; i < end; ++i) count += begins(i);
    return count;
  };
  for (auto& [begin, end] : offsets) {
    const bool none = begin == end;
    while (begin < text.size() && !begins(begin)) --begin;  // the character that holds it
    begin = characters(begin);
    end = none ? begin : characters(end);
  }
}

void Bpe::pieces(std::string_view text, const Request& request, const std::function<void(std::string_view)>& use) const {
  added_.split(text, request, false, [&](const TextPart& part) {
    if (part.id != no_token) return use(vocabulary_.bytes(part.id));
    if (vocabulary_.units() == Vocabulary::Units::words) {
      for (WordRange word{0, 0}; (word = next_word(pattern_, part.text, word.end)).begin < word.end;) {
        use(part.text.substr(word.begin, word.end - word.begin));
      }
      return;
    }
    const auto* begin = reinterpret_cast<const uint8_t*>(part.text.data());
    Splitter splitter(pattern_, begin, begin + part.text.size());
    uint32_t ends[Splitter::room];
    size_t at = 0;
    while (const size_t count = splitter.next(ends)) {
      for (size_t i = 0; i < count; at = ends[i++]) use(part.text.substr(at, ends[i] - at));
    }
  });
}

}  // namespace nextword
