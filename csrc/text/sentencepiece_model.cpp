// The reader of sentencepiece_model.h. Field numbers are those of sentencepiece_model.proto; unknown ones are passed over.
#include "sentencepiece_model.h"

#include <cmath>
#include <cstring>
#include <stdexcept>

#include "bpe_files.h"

namespace nextword {
namespace {

// The fields of one message, one after the other.
class Fields {
 public:
  Fields(std::string_view bytes, const std::string& file) : rest_(bytes), file_(file) {}

  uint32_t number = 0;     // of the field
  uint64_t value = 0;      // of a varint or a fixed-size number
  std::string_view bytes;  // of a string or message

  bool next() {
    if (rest_.empty()) return false;
    const uint64_t tag = varint();
    kind_ = static_cast<uint32_t>(tag & 7);
    if (tag >> 3 == 0 || tag >> 3 > 0x1FFFFFFF) fail("a field has the number " + std::to_string(tag >> 3));
    number = static_cast<uint32_t>(tag >> 3);
    value = 0;
    bytes = {};
    switch (kind_) {
      case 0: value = varint(); break;
      case 1: value = fixed(8); break;
      case 2: {
        const uint64_t size = varint();
        if (size > rest_.size()) fail("a field of " + std::to_string(size) + " bytes goes beyond the end");
        bytes = taken(static_cast<size_t>(size));
        break;
      }
      case 5: value = fixed(4); break;
      default: fail("a field is of wire type " + std::to_string(kind_));
    }
    return true;
  }
  std::string_view text() const { return of(2), bytes; }
  uint64_t integer() const { return of(0), value; }
  bool flag() const { return integer() != 0; }
  uint32_t id() const {  // int32; a negative one is none
    const uint64_t all = integer();
    return all > 0x7FFFFFFF ? no_token : static_cast<uint32_t>(all);
  }
  double real() const {
    of(5);
    const auto bits = static_cast<uint32_t>(value);
    float out;
    std::memcpy(&out, &bits, 4);
    if (!std::isfinite(out)) fail("a score is not finite");
    return out;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw std::invalid_argument("Tokenizer: " + file_ + " is no SentencePiece model: " + what);
  }
  void of(uint32_t kind) const {
    if (kind_ != kind) fail("field " + std::to_string(number) + " is of wire type " + std::to_string(kind_) + ", expected " + std::to_string(kind));
  }
  std::string_view taken(size_t size) {
    const std::string_view out = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return out;
  }
  uint64_t fixed(size_t size) {
    if (rest_.size() < size) fail("it ends within a number");
    uint64_t out = 0;
    std::memcpy(&out, taken(size).data(), size);
    return out;
  }
  uint64_t varint() {
    uint64_t out = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
      if (rest_.empty()) fail("it ends within a number");
      const auto byte = static_cast<uint8_t>(taken(1)[0]);
      if (shift < 64) out |= static_cast<uint64_t>(byte & 127) << shift;
      if (byte < 128) return out;
    }
    fail("a number has more than ten bytes");
  }

  std::string_view rest_;
  const std::string& file_;
  uint32_t kind_ = 0;
};

void read_piece(Fields piece, const std::string& file, TokenLists& lists) {
  std::string_view name;
  double score = 0;
  uint64_t kind = 1;
  while (piece.next()) {
    if (piece.number == 1) name = piece.text();
    if (piece.number == 2) score = piece.real();
    if (piece.number == 3) kind = piece.integer();
  }
  const std::string place = "piece " + std::to_string(lists.names.size());
  if (name.empty()) throw std::invalid_argument("Tokenizer: " + file + ": " + place + " is empty");
  if (kind < 1 || kind > 6) throw std::invalid_argument("Tokenizer: " + file + ": " + place + " is of type " + std::to_string(kind) + ", expected 1 to 6");
  check_utf8(name, file + ": " + place);
  lists.names.emplace_back(name);
  lists.scores.push_back(score);
  lists.kinds.push_back(static_cast<uint8_t>(kind));
}

}  // namespace

SentencePieceModel sentencepiece_model(std::string_view bytes, const std::string& file) {
  SentencePieceModel out;
  out.lists.file = file;
  Fields model(bytes, file);
  while (model.next()) {
    if (model.number == 1) {
      if (out.lists.names.size() == max_tokens) throw std::invalid_argument("Tokenizer: " + file + " has more than 2^24 pieces");
      read_piece(Fields(model.text(), file), file, out.lists);
    } else if (model.number == 2) {
      for (Fields spec(model.text(), file); spec.next();) {
        if (spec.number == 3) out.model = static_cast<uint32_t>(spec.integer());
        if (spec.number == 24) out.suffix = spec.flag();
        if (spec.number == 35) out.byte_fallback = spec.flag();
        if (spec.number == 40) out.unknown = spec.id();
        if (spec.number == 41) out.begin = spec.id();
        if (spec.number == 42) out.end = spec.id();
      }
    } else if (model.number == 3) {
      for (Fields spec(model.text(), file); spec.next();) {
        if (spec.number == 2) out.rules = spec.text();
        if (spec.number == 3) out.prefix = spec.flag();
        if (spec.number == 4) out.collapses = spec.flag();
        if (spec.number == 5) out.escapes = spec.flag();
      }
    } else if (model.number == 5) {
      for (Fields spec(model.text(), file); spec.next();) {
        if (spec.number == 2 && !spec.text().empty()) out.denormalizes = true;
      }
    }
  }
  if (out.lists.names.empty()) throw std::invalid_argument("Tokenizer: " + file + " has no pieces; is this a SentencePiece model?");
  return out;
}

}  // namespace nextword
