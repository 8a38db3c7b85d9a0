// The functions of bert_form.h. Splitting into words is in wordpiece.cpp.
#include "bert_form.h"

#include <algorithm>
#include <iterator>
#include <memory>

#include "bert_chars.h"
#include "bert_parts.h"
#include "machine/interrupt.h"
#include "rewrite.h"
#include "utf8.h"

namespace nextword {
namespace {

constexpr uint32_t hangul_first = 0xAC00, hangul_count = 11172;

void append(uint32_t code, std::string& out) {
  char bytes[4];
  size_t done = 0;
  out.append(bytes, write_utf8(&code, 1, bytes, done));
}

void append_lower(uint32_t code, std::string& out) {
  if (code == 0x130) return void(out += "i\xCC\x87");
  const auto* const run = std::upper_bound(std::begin(bert_lower), std::end(bert_lower), code,
                                           [](uint32_t c, const BertLower& r) { return c < r.first; }) - 1;
  append(run->to + (code - run->first), out);
}

// use(part) for each code point of the decomposition.
template <class Use>
void decompose(uint32_t code, const Use& use) {
  if (code - hangul_first < hangul_count) {
    const uint32_t syllable = code - hangul_first, final = syllable % 28;
    use(0x1100 + syllable / 588);
    use(0x1161 + syllable % 588 / 28);
    if (final) use(0x11A7 + final);
    return;
  }
  if (!(bert_kind(code) & bert_decomposes)) return use(code);
  static const auto starts = [] {  // where in bert_parts_to the parts of each run begin
    std::array<uint32_t, std::size(bert_parts)> all{};
    uint32_t at = 0;
    for (size_t i = 0; i < all.size(); ++i) {
      all[i] = at;
      at += (bert_parts[i].last - bert_parts[i].first + 1) * bert_parts[i].size;
    }
    return all;
  }();
  const auto* const run = std::upper_bound(std::begin(bert_parts), std::end(bert_parts), code,
                                           [](uint32_t c, const BertParts& r) { return c < r.first; }) - 1;
  const uint32_t* const parts = bert_parts_to + starts[static_cast<size_t>(run - bert_parts)] + (code - run->first) * run->size;
  for (uint32_t i = 0; i < run->size; ++i) use(parts[i]);
}

uint8_t combining_class(uint32_t code) {
  if (!(bert_kind(code) & bert_nonstarter)) return 0;
  const auto* const run = std::upper_bound(std::begin(bert_combining), std::end(bert_combining), code,
                                           [](uint32_t c, const BertCombining& r) { return c < r.first; }) - 1;
  return run->combining_class;
}

struct Place {  // a character of the text
  uint32_t code;
  size_t size;
};
Place at(std::string_view text, size_t place) {
  return {code_at(reinterpret_cast<const uint8_t*>(text.data()) + place), char_size(text[place])};
}

class Form {
 public:
  explicit Form(BertForm form) : form_(form) {
    for (uint32_t code = 0; code < few; ++code) {
      const std::string to = slow(code) ? std::string(4, ' ') : becomes(code);
      Short& known = short_[code];
      known.size = static_cast<uint8_t>(to.size() > 3 ? unknown : to.size());
      std::copy_n(to.begin(), known.size == unknown ? 0 : to.size(), known.bytes);
    }
  }

  Normalized operator()(std::string_view text, bool with_steps) const {
    Rewritten out(text.size(), with_steps);
    std::string buffer;
    for (size_t place = 0, turns = 1; place < text.size(); ++turns) {
      if (turns % 65536 == 0) check_interrupt();
      const size_t run = ascii(text, place, out);
      place += run;
      if (place == text.size()) break;
      const auto [code, size] = at(text, place);
      if (code < few && short_[code].size != unknown) {
        put(out, {short_[code].bytes, short_[code].size}, text.substr(place, size));
        place += size;
      } else if (slow(code)) {
        place = marks(text, place, buffer, out);
      } else {
        buffer.clear();
        become(code, buffer);
        put(out, buffer, text.substr(place, size));
        place += size;
      }
    }
    return out.done();
  }

 private:
  static constexpr uint32_t few = 0x3000;
  static constexpr uint8_t unknown = 255;
  struct Short {
    uint8_t size;
    char bytes[3];
  };

  static void put(Rewritten& out, std::string_view to, std::string_view from) {
    to == from ? out.keep(to) : out.put(to, from.size());
  }

  // ASCII that begins at `place`, as far as each byte becomes one byte; returns how far that is.
  size_t ascii(std::string_view text, size_t place, Rewritten& out) const {
    size_t end = place;
    char some[256];
    while (end < text.size() && end - place < sizeof some) {
      const auto byte = static_cast<uint8_t>(text[end]);
      if (byte >= 128 || short_[byte].size != 1) break;
      some[end++ - place] = short_[byte].bytes[0];
    }
    if (end > place) out.keep({some, end - place});  // byte by byte
    return end - place;
  }

  bool is_removed(uint32_t code) const { return form_.cleans && (bert_kind(code) & bert_removed); }

  // Whether it stands among marks that may be reordered.
  static bool begins_with_nonstarter(uint32_t code) {
    bool first = true, found = false;
    decompose(code, [&](uint32_t part) {
      if (first) found = bert_kind(part) & bert_nonstarter;
      first = false;
    });
    return found;
  }
  bool slow(uint32_t code) const {
    if (!form_.strips || is_removed(code)) return false;
    const unsigned kind = bert_kind(code);
    if (kind & bert_nonstarter) return true;
    if (!(kind & bert_decomposes)) return false;
    bool kept = false;
    decompose(code, [&](uint32_t part) {
      kept = kept || (bert_kind(part) & (bert_nonstarter | bert_mark)) == bert_nonstarter;
    });
    return kept || begins_with_nonstarter(code);
  }

  void put_part(uint32_t code, std::string& out) const {  // after decomposition
    const unsigned kind = bert_kind(code);
    if (form_.strips && (kind & bert_mark)) return;
    form_.lowers && (kind & bert_lowers) ? append_lower(code, out) : append(code, out);
  }

  // What a character becomes that is not slow().
  void become(uint32_t code, std::string& out) const {
    const unsigned kind = bert_kind(code);
    if (is_removed(code)) return;
    if (form_.cleans && (kind & bert_white)) code = ' ';
    const bool apart = form_.parts && (kind & bert_ideograph);
    if (apart) out += ' ';
    form_.strips ? decompose(code, [&](uint32_t part) { put_part(part, out); }) : put_part(code, out);
    if (apart) out += ' ';
  }
  std::string becomes(uint32_t code) const {
    std::string out;
    if (code - 0xD800 >= 0x800) become(code, out);
    return out;
  }

  // A character that is slow, and the marks behind it. Returns where they end. Of what is reordered, the first part of each
  // character stands for the next character in the text, as the alignment of tokenizers has it.
  size_t marks(std::string_view text, size_t begin, std::string& buffer, Rewritten& out) const {
    struct Part {
      uint32_t code;
      uint8_t combining;
      bool first;  // of its character
    };
    size_t end = begin;
    bool all_go = true;
    std::vector<std::pair<size_t, size_t>> characters;
    std::vector<Part> parts;
    while (end < text.size()) {
      const auto [code, size] = at(text, end);
      if (is_removed(code)) {
        end += size;
        continue;
      }
      if (end > begin && !begins_with_nonstarter(code)) break;
      characters.emplace_back(end, end + size);
      bool first = true;
      decompose(code, [&](uint32_t part) {
        all_go = all_go && (bert_kind(part) & bert_mark);
        parts.push_back({part, combining_class(part), first});
        first = false;
      });
      end += size;
    }
    if (all_go) {
      out.put("", end - begin);
      return end;
    }
    for (auto from = parts.begin(); from != parts.end();) {
      const auto to = std::find_if(from + 1, parts.end(), [](const Part& p) { return p.combining == 0; });
      std::stable_sort(from->combining ? from : from + 1, to, [](const Part& a, const Part& b) { return a.combining < b.combining; });
      from = to;
    }
    size_t done = begin, next = 0;
    for (size_t i = 0; i < parts.size();) {
      buffer.clear();
      do {
        put_part(parts[i].code, buffer);
      } while (++i < parts.size() && !parts[i].first);
      const auto [from, to] = characters[next++];
      if (from > done) out.put("", from - done);
      out.put(buffer, to - from);
      done = to;
    }
    if (end > done) out.put("", end - done);
    return end;
  }

  BertForm form_;
  Short short_[few];
};

}  // namespace

Normalize bert_form(BertForm form) {
  return [made = std::make_shared<const Form>(form)](std::string_view text, bool with_steps) { return (*made)(text, with_steps); };
}

}  // namespace nextword
