// The rules of added tokens' flags, and the parts of a text that they leave.
#include "bpe_added.h"

#include <algorithm>

#include "token_lists.h"
#include "unicode_chars.h"

namespace nextword {
namespace {

const uint8_t* at(std::string_view text, size_t place) { return reinterpret_cast<const uint8_t*>(text.data()) + place; }

bool word_before(std::string_view text, size_t place) { return place > 0 && is_word(code_at(char_before(at(text, place)))); }
bool word_after(std::string_view text, size_t place) { return place < text.size() && is_word(code_at(at(text, place))); }

// Where the white space before `place` begins, but not before `least`.
size_t blanks_before(std::string_view text, size_t place, size_t least) {
  while (place > least) {
    const uint8_t* before = char_before(at(text, place));
    if (char_at(before).kind != space) break;
    place = static_cast<size_t>(before - at(text, 0));
  }
  return place;
}

size_t blanks_after(std::string_view text, size_t place) {
  while (place < text.size()) {
    const Char c = char_at(at(text, place));
    if (c.kind != space) break;
    place += c.size;
  }
  return place;
}

}  // namespace

AddedTokens::AddedTokens(const Vocabulary& vocabulary, const TextRules& rules) : tokens_(vocabulary.added()), rules_(rules) {
  always_ = rules.prefix_space || rules.normalize;
  for (const bool special : {true, false}) {  // of two that are the same text once normalised, a special one counts
    for (uint32_t i = 0; i < tokens_.size(); ++i) {
      const AddedToken& token = tokens_[i];
      if (token.special != special) continue;
      always_ = always_ || !special;
      if (!token.normalized) {
        raw_.add(token.content, i);
      } else {
        const std::string content = !rules.normalizes_contents ? with_blanks(token.content) : rules.normalize ? rules.normalize(token.content, false).text : token.content;
        if (!content.empty()) normalized_.add(content, i);
      }
    }
  }
  raw_.prepare();
  normalized_.prepare();
}

// A token that is not taken hides others that overlap with it all the same.
void AddedTokens::find(const WordFinder& finder, std::string_view text, const Request& request, std::vector<Span>& spans) const {
  spans.clear();
  size_t done = 0, blanks_from = 0, blanks_to = 0;  // the white space that was gone over last, once
  finder.find(text, [&](uint32_t i, size_t begin, size_t end) {
    const AddedToken& token = tokens_[i];
    if (token.special && (request.allowed.empty() || !request.allowed[i])) return;
    if (token.single_word && (word_before(text, begin) || word_after(text, end))) return;
    if (token.rstrip) {
      if (end < blanks_from || end > blanks_to) blanks_from = end, blanks_to = blanks_after(text, end);
      end = blanks_to;
    }
    if (token.lstrip) begin = std::max(done, blanks_before(text, begin, done));
    if (begin >= end) return;  // blanks that the token before took
    if (done < begin) spans.push_back({no_token, done, begin});
    spans.push_back({token.id, begin, end});
    done = end;  // maybe within what the token before took: then the rest of that is text again
  });
  if (done < text.size()) spans.push_back({no_token, done, text.size()});
}

void AddedTokens::split(std::string_view text, const Request& request, bool with_steps,
                        const std::function<void(const TextPart&)>& use) const {
  std::vector<Span> outer, inner;
  std::string prefixed;
  TextPart part;
  find(raw_, text, request, outer);
  for (const Span& segment : outer) {
    std::string_view rest = text.substr(segment.begin, segment.end - segment.begin);
    part.segment_ = segment.begin;
    part.at_ = part.prefix_ = 0;
    part.changed_ = nullptr;
    part.id = segment.id;
    part.text = rest;
    if (segment.id != no_token) {
      use(part);
      continue;
    }
    Normalized normalized;
    if (rules_.normalize) {
      normalized = rules_.normalize(rest, with_steps);
      rest = normalized.text;
      part.changed_ = &normalized;
    }
    find(normalized_, rest, request, inner);
    for (const Span& span : inner) {
      part.id = span.id;
      part.text = rest.substr(span.begin, span.end - span.begin);
      part.at_ = span.begin;
      const bool wanted = rules_.prefix_space && (!rules_.prefix_first || (segment.begin == 0 && span.begin == 0));
      part.prefix_ = span.id == no_token && wanted && part.text[0] != ' ';
      if (part.prefix_) {
        prefixed.assign(1, ' ').append(part.text);
        part.text = prefixed;
      }
      use(part);
    }
  }
}

// Where a place of the segment is in the text; of a step whose bytes changed, its begin or its end.
size_t TextPart::mapped(size_t place, bool end) const {
  if (!changed_) return segment_ + place;
  const auto& steps = changed_->steps;
  // The step that holds the byte after the place, or before it for an end.
  const auto step = std::lower_bound(steps.begin(), steps.end(), place,
                                     [&](const Normalized::Step& s, size_t p) { return end ? s.normalized < p : s.normalized <= p; });
  if (step == steps.end()) return segment_ + (steps.empty() ? 0 : steps.back().original);
  const Normalized::Step before = step == steps.begin() ? Normalized::Step{0, 0, true} : step[-1];
  if (step->same) return segment_ + before.original + (place - before.normalized);
  return segment_ + (end ? step->original : before.original);
}

std::pair<size_t, size_t> TextPart::original(size_t begin, size_t end) const {
  const size_t from = at_ + (begin > prefix_ ? begin - prefix_ : 0), to = at_ + (end > prefix_ ? end - prefix_ : 0);
  if (from == to) {
    const size_t place = mapped(from, false);
    return {place, place};
  }
  return {mapped(from, false), mapped(to, true)};
}

}  // namespace nextword
