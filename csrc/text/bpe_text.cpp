// From a text to the ids of its parts: added tokens, and what is encoded between them.
#include "bpe.h"

#include <algorithm>
#include <stdexcept>

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

void Bpe::encode(std::string_view text, const Request& request, IdBuffer& ids) const {
  encode(*Borrowed(*this).get(), text, request, ids);
}

void Bpe::encode(Encoder& encoder, std::string_view text, const Request& request, IdBuffer& ids) const {
  if (plain_ && request.allowed.empty()) return encoder.encode(text, ids);
  if (request.whole) append(rules_.beginning, ids);
  try {
    added_.split(text, request, false, [&](const TextPart& part) {
      if (part.id == no_token) return encoder.encode(part.text, ids);
      ids.push_back(part.id);
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
    try {
      encoder->encode(part.text, ids);
    } catch (const UnknownByte& error) {
      throw UnknownByte(text, std::min(part.original(error.offset, error.offset + 1).first, text.size() - 1));
    }
    for (size_t i = first, at = 0; i < ids.size(); ++i) {
      const bool unknown = !vocabulary_.complete() && ids.data()[i] == vocabulary_.substitute();
      const size_t end = at + (unknown ? 1 : vocabulary_.token_size(ids.data()[i]));  // the unknown token is of one byte
      offsets.push_back(part.original(at, end));
      at = end;
    }
  });
  if (request.whole) {
    append(rules_.ending, ids);
    offsets.resize(ids.size(), {text.size(), text.size()});
  }
}

void Bpe::pieces(std::string_view text, const Request& request, const std::function<void(std::string_view)>& use) const {
  added_.split(text, request, false, [&](const TextPart& part) {
    if (part.id != no_token) return use(vocabulary_.bytes(part.id));
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
