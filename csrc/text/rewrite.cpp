// The functions of rewrite.h.
#include "rewrite.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "machine/interrupt.h"
#include "unicode_chars.h"
#include "utf8.h"

namespace nextword {
namespace {

constexpr std::string_view mark_of_blank = "\xE2\x96\x81";  // U+2581

uint32_t code_of(std::string_view text, size_t at) { return code_at(reinterpret_cast<const uint8_t*>(text.data()) + at); }
bool is_space(std::string_view text, size_t at) { return class_of(code_of(text, at)) == space; }

// Whether the character belongs to the grapheme before it; close to UAX #29, and exact for what rules are made of.
bool extends(uint32_t code) {
  return class_of(code) == mark || code == 0x200C || code == 0x200D || code == 0xFF9E || code == 0xFF9F || (code >= 0x1F3FB && code <= 0x1F3FF);
}
bool is_control(uint32_t code) {  // after which every grapheme ends
  return code < 0x20 || (code >= 0x7F && code < 0xA0) || code == 0xAD || code == 0x200B || code == 0x200E || code == 0x200F ||
         (code >= 0x2028 && code <= 0x202E) || (code >= 0x2060 && code <= 0x206F) || code == 0xFEFF;
}

size_t grapheme_end(std::string_view text, size_t at) {
  const uint32_t first = code_of(text, at);
  size_t end = at + char_size(text[at]);
  if (first == '\r' && end < text.size() && text[end] == '\n') return end + 1;
  if (is_control(first)) return end;
  while (end < text.size() && extends(code_of(text, end))) end += char_size(text[end]);
  return end;
}

}  // namespace

void Rewritten::step(size_t original, bool same) {
  if (!with_steps_) return;
  original_ += original;
  if (same && !out_.steps.empty() && out_.steps.back().same) out_.steps.pop_back();
  if (out_.text.empty() && original_ == 0) return;
  out_.steps.push_back({out_.text.size(), original_, same});
}

Normalized Rewritten::done() {
  // What was cut off belongs to the last step, which then is no longer the same.
  if (with_steps_ && !out_.steps.empty() && out_.steps.back().normalized > out_.text.size()) {
    while (out_.steps.size() > 1 && out_.steps[out_.steps.size() - 2].normalized >= out_.text.size()) out_.steps.pop_back();
    const Normalized::Step before = out_.steps.size() > 1 ? out_.steps[out_.steps.size() - 2] : Normalized::Step{0, 0, true};
    if (out_.steps.back().same) {
      const size_t kept = out_.text.size() - before.normalized;
      out_.steps.back() = {out_.text.size(), before.original + kept, true};
      if (before.original + kept < original_) out_.steps.push_back({out_.text.size(), original_, false});
    } else {
      out_.steps.back() = {out_.text.size(), original_, false};
    }
  }
  return std::move(out_);
}

CharsMap::CharsMap(std::string_view blob) {
  const auto bad = [](const std::string& what) { return std::invalid_argument("Tokenizer: precompiled_charsmap " + what); };
  uint32_t size = 0;
  if (blob.size() >= 4) std::memcpy(&size, blob.data(), 4);
  if (blob.size() < 4 || size < 4 || size % 4 || size > blob.size() - 4) throw bad("must begin with the size of its table");
  units_.resize(size / 4);
  std::memcpy(units_.data(), blob.data() + 4, size);
  texts_.assign(blob.substr(4 + size));
  if (texts_.empty() || texts_.back() != '\0') throw bad("must end with a text and a zero");
  for (size_t at = 0; at < texts_.size(); ++at) {  // texts are used as UTF-8
    const std::string_view text(texts_.c_str() + at);
    for (size_t i = 0; i < text.size();) {
      const auto* p = reinterpret_cast<const uint8_t*>(text.data()) + i;
      const size_t left = text.size() - i, n = char_size(text[i]);
      bool good = *p < 0x80 || (*p >= 0xC2 && *p < 0xF5 && n <= left);
      for (size_t j = 1; good && j < n; ++j) good = (p[j] & 0xC0) == 0x80;
      if (good && n > 2) {
        const uint32_t code = code_at(p);
        good = n == 3 ? code >= 0x800 && code - 0xD800 >= 0x800 : code >= 0x10000 && code < 0x110000;
      }
      if (!good) throw bad("holds a text that is no UTF-8");
      i += n;
    }
    at += text.size();
  }
}

// The double array's way: units hold the label, whether a leaf follows, and the way to it (Darts-clone).
CharsMap::Match CharsMap::find(std::string_view text, bool first) const {
  Match found;
  const auto offset = [](uint32_t unit) { return (unit >> 10) << ((unit & 0x200) >> 6); };
  size_t at = offset(units_[0]);
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<uint8_t>(text[i]);
    at ^= byte;
    if (at >= units_.size()) break;
    const uint32_t unit = units_[at];
    if ((unit & 0x800000FFu) != byte) break;
    at ^= offset(unit);
    if (!(unit >> 8 & 1)) continue;
    const size_t place = at < units_.size() ? units_[at] & 0x7FFFFFFF : texts_.size();
    if (place >= texts_.size() || (place > 0 && (static_cast<uint8_t>(texts_[place]) & 0xC0) == 0x80)) break;  // a damaged table
    const bool whole = i + 1 == text.size() || (static_cast<uint8_t>(text[i + 1]) & 0xC0) != 0x80;
    if (!whole) continue;
    found = {i + 1, texts_.c_str() + place};
    if (first) break;
  }
  return found;
}

bool CharsMap::begins(std::string_view character) const {
  const auto offset = [](uint32_t unit) { return (unit >> 10) << ((unit & 0x200) >> 6); };
  size_t at = offset(units_[0]);
  for (const char c : character) {
    const auto byte = static_cast<uint8_t>(c);
    at ^= byte;
    if (at >= units_.size() || (units_[at] & 0x800000FFu) != byte) return false;
    at ^= offset(units_[at]);
  }
  return true;
}

Normalize prepended(std::string before) {
  return [before = std::move(before)](std::string_view text, bool with_steps) {
    Rewritten out(text.size() + before.size(), with_steps);
    if (!text.empty()) {
      out.put(before, 0);
      out.keep(text);
    }
    return out.done();
  };
}

Normalize replaced(std::string from, std::string to) {
  return [from = std::move(from), to = std::move(to)](std::string_view text, bool with_steps) {
    Rewritten out(text.size(), with_steps);
    for (size_t at = 0;;) {
      const size_t found = std::min(text.find(from, at), text.size());
      out.keep(text.substr(at, found - at));
      if (found == text.size()) return out.done();
      out.put(to, from.size());
      at = found + from.size();
    }
  };
}

Normalize blanks() { return replaced(std::string(mark_of_blank), " "); }

Normalize collapsed(std::string to) {
  return [to = std::move(to)](std::string_view text, bool with_steps) {
    Rewritten out(text.size(), with_steps);
    for (size_t at = 0;;) {
      const size_t found = std::min(text.find("  ", at), text.size());
      out.keep(text.substr(at, found - at));
      if (found == text.size()) return out.done();
      const size_t end = std::min(text.find_first_not_of(' ', found), text.size());
      out.put(to, end - found);
      at = end;
    }
  };
}

Normalize words() {
  return [](std::string_view text, bool with_steps) {
    Rewritten out(text.size(), with_steps);
    for (size_t at = 0; at < text.size();) {
      size_t end = at;
      const bool white = is_space(text, at);
      while (end < text.size() && is_space(text, end) == white) end += char_size(text[end]);
      if (!white) {
        out.keep(text.substr(at, end - at));
      } else {
        out.put(at == 0 || end == text.size() ? "" : " ", end - at);
      }
      at = end;
      check_interrupt();
    }
    return out.done();
  };
}

Normalize spaced() {
  return [](std::string_view text, bool with_steps) {
    Rewritten out(text.size(), with_steps);
    size_t kept = 0;
    for (size_t at = 0, end; at < text.size(); at = end) {
      size_t count = 0;
      for (end = at; end < text.size() && is_space(text, end); ++count) end += char_size(text[end]);
      const bool line = count == 1 && (text[at] == '\n' || text[at] == '\r' || text[at] == '\t');
      if (count > 1 || line) {
        size_t last = end - 1;  // the blank stands where the last of them does
        while ((static_cast<uint8_t>(text[last]) & 0xC0) == 0x80) --last;
        out.keep(text.substr(kept, at - kept));
        if (last > at) out.put("", last - at);
        out.put(" ", end - last);
        kept = end;
      }
      if (count == 0) end = at + char_size(text[at]);
      if ((end ^ at) >> 16) check_interrupt();
    }
    out.keep(text.substr(kept));
    return out.done();
  };
}

Normalize stripped(bool left, bool right) {
  return [left, right](std::string_view text, bool with_steps) {
    size_t begin = 0, end = text.size();
    while (left && begin < end && is_space(text, begin)) begin += char_size(text[begin]);
    while (right && end > begin) {
      size_t last = end - 1;
      while ((static_cast<uint8_t>(text[last]) & 0xC0) == 0x80) --last;
      if (!is_space(text, last)) break;
      end = last;
    }
    Rewritten out(text.size(), with_steps);
    if (begin > 0) out.put("", begin);
    out.keep(text.substr(begin, end - begin));
    if (end < text.size()) out.put("", text.size() - end);
    return out.done();
  };
}

Normalize mapped(Rule rules) {
  return [rules = std::move(rules)](std::string_view text, bool with_steps) {
    Rewritten out(text.size(), with_steps);
    for (size_t at = 0, turns = 1; at < text.size(); ++turns) {
      if (turns % 65536 == 0) check_interrupt();
      const size_t end = grapheme_end(text, at);
      if (end - at < 6) {
        const CharsMap::Match match = rules->shortest(text.substr(at, end - at));
        if (match.size) {
          out.put(match.text, end - at);
          at = end;
          continue;
        }
      }
      while (at < end) {
        const std::string_view one = text.substr(at, char_size(text[at]));
        const CharsMap::Match match = rules->shortest(one);
        match.size ? out.put(match.text, one.size()) : out.keep(one);
        at += one.size();
      }
    }
    return out.done();
  };
}

Normalize sentencepiece_form(SentencePieceForm form) {
  // By the first of two ASCII characters: what it becomes, where no key has both (then the rule of the first alone counts).
  struct Ascii {
    bool known = false, same = false;
    std::string text;
  };
  auto ascii = std::make_shared<std::vector<Ascii>>(128);
  for (int c = 0; c < 128; ++c) {
    const char first = static_cast<char>(c);
    bool known = form.kept.step(0, static_cast<uint8_t>(c)) == PieceTrie::none;
    const CharsMap::Match alone = form.rules ? form.rules->longest(std::string_view(&first, 1)) : CharsMap::Match();
    for (int d = 0; form.rules && known && d < 128; ++d) {
      const char both[2] = {first, static_cast<char>(d)};
      known = form.rules->longest(std::string_view(both, 2)).size < 2;
    }
    (*ascii)[static_cast<size_t>(c)] = {known, alone.size == 0, std::string(alone.size ? alone.text : std::string_view(&first, 1))};
  }
  // Of characters of three bytes, by their 16 bits: those with which no key begins, so that they stay as they are.
  auto same_threes = std::make_shared<std::vector<bool>>(1 << 16, false);
  for (uint32_t code = 0x800; code < 0x10000; ++code) {
    const char three[3] = {static_cast<char>(0xE0 | code >> 12), static_cast<char>(0x80 | (code >> 6 & 63)), static_cast<char>(0x80 | (code & 63))};
    const std::string_view character(three, 3);
    (*same_threes)[code] = character != mark_of_blank && form.kept.first_step(character) == PieceTrie::none && !(form.rules && form.rules->begins(character));
  }
  const auto shared = std::make_shared<const SentencePieceForm>(std::move(form));
  return [shared, ascii, same_threes](std::string_view text, bool with_steps) {
    const SentencePieceForm& form = *shared;
    Rewritten out(text.size(), with_steps);
    std::string_view becomes;  // what the next `size` bytes become
    size_t at = 0, size = 0;
    bool same = false;
    const auto next = [&] {
      const auto byte = static_cast<uint8_t>(text[at]);
      if (byte < 128 && at + 1 < text.size() && static_cast<uint8_t>(text[at + 1]) < 128 && (*ascii)[byte].known) {
        size = 1, becomes = (*ascii)[byte].text, same = (*ascii)[byte].same;
        return;
      }
      same = true;
      size = form.kept.empty() ? 0 : form.kept.longest(text.substr(at));
      if (size == 0 && form.rules) {
        const CharsMap::Match match = form.rules->longest(text.substr(at));
        size = match.size, becomes = match.text, same = false;
        if (size) return;
        same = true;
      }
      if (size == 0) size = char_size(text[at]);
      becomes = text.substr(at, size);
    };
    size_t skipped = 0;
    if (form.collapses) {
      for (; at < text.size(); at += size) {
        next();
        if (becomes != " ") break;
      }
      skipped = at;
    }
    if (at == text.size()) {
      if (skipped) out.put("", skipped);
      return out.done();
    }
    if (skipped) out.put("", skipped);
    if (form.prefix) out.put(" ", 0);
    bool after_blank = form.collapses;
    for (size_t turns = 1; at < text.size(); at += size, ++turns) {
      if (turns % 65536 == 0) check_interrupt();
      // A run that stays as it is, at once: ASCII, words with one blank between them, and characters of three bytes.
      size_t run = at;
      while (run + 1 < text.size()) {
        const auto byte = static_cast<uint8_t>(text[run]);
        if ((byte & 0xF0) == 0xE0) {
          const uint32_t code = code_of(text, run);
          if (!(*same_threes)[code]) {  // a key may begin here, such as a letter with its mark, and yet not go on so
            if (!form.kept.empty() || !form.rules || code == 0x2581 || form.rules->longest(text.substr(run)).size) break;
          }
          run += 3;
          continue;
        }
        if (byte >= 128 || static_cast<uint8_t>(text[run + 1]) >= 128 || !(*ascii)[byte].known || !(*ascii)[byte].same) break;
        if (byte == ' ' && (run == at || text[run - 1] == ' ')) break;
        ++run;
      }
      if (run > at) {
        out.keep(text.substr(at, run - at));
        after_blank = form.collapses && text[run - 1] == ' ';
        at = run, size = 0;
        continue;
      }
      next();
      const std::string_view all = becomes;
      while (after_blank && !becomes.empty() && becomes[0] == ' ') becomes.remove_prefix(1);
      if (!becomes.empty()) {
        after_blank = form.collapses && becomes.back() == ' ';
        if (becomes.find(mark_of_blank) != becomes.npos) {
          std::string changed;
          for (size_t i = 0; i < becomes.size();) {
            const bool mark = becomes.compare(i, 3, mark_of_blank) == 0;
            mark ? changed += ' ' : changed += becomes[i];
            i += mark ? 3 : 1;
          }
          out.put(changed, size);
          continue;
        }
      }
      same && becomes.size() == all.size() ? out.keep(becomes) : out.put(becomes, size);
    }
    if (form.collapses) {
      std::string& all = out.text();
      all.resize(all.find_last_not_of(' ') + 1);
    }
    return out.done();
  };
}

Normalize in_turn(std::vector<Normalize> steps) {
  if (steps.size() == 1) return steps[0];
  return [steps = std::move(steps)](std::string_view text, bool with_steps) {
    Normalized all = steps[0](text, with_steps);
    for (size_t i = 1; i < steps.size(); ++i) {
      Normalized next = steps[i](all.text, with_steps);
      if (with_steps) next.steps = composed(all.steps, next.steps);
      all = std::move(next);
    }
    return all;
  };
}

// Places where both ways have a border; what is the same byte by byte has one at each byte.
std::vector<Normalized::Step> composed(const std::vector<Normalized::Step>& first, const std::vector<Normalized::Step>& second) {
  std::vector<Normalized::Step> out;
  size_t i = 0, j = 0;                          // the steps that go on
  size_t original = 0, middle = 0, result = 0;  // done of each text
  const auto put = [&](bool same) {
    if (same && !out.empty() && out.back().same) out.pop_back();
    out.push_back({result, original, same});
  };
  while (i < first.size() || j < second.size()) {
    const bool one = i < first.size() && first[i].same, two = j < second.size() && second[j].same;
    if (one && two) {
      const size_t end = std::min(first[i].normalized, second[j].original), size = end - middle;
      original += size, result += size, middle = end;
      i += first[i].normalized == end, j += second[j].original == end;
      if (size) put(true);
      continue;
    }
    const size_t i_before = i, j_before = j;
    size_t end = middle;  // grows until both have a border there
    if (i < first.size() && !one) end = std::max(end, first[i].normalized);
    if (j < second.size() && !two) end = std::max(end, second[j].original);
    for (bool grown = true; grown;) {
      grown = false;
      for (; i < first.size() && first[i].normalized <= end; ++i) original = first[i].original;
      if (i < first.size() && (i ? first[i - 1].normalized : 0) < end) {
        if (first[i].same) {
          original = first[i].original - (first[i].normalized - end);
        } else {
          end = first[i].normalized, grown = true;
        }
      }
      for (; j < second.size() && second[j].original <= end; ++j) result = second[j].normalized;
      if (j < second.size() && (j ? second[j - 1].original : 0) < end) {
        if (second[j].same) {
          result = second[j].normalized - (second[j].original - end);
        } else {
          end = second[j].original, grown = true;
        }
      }
    }
    if (i == i_before && j == j_before && end == middle) break;  // the two are not of one text
    middle = end;
    put(false);
  }
  return out;
}

}  // namespace nextword
