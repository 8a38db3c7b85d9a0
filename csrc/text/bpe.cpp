// Encoding with caches. The merges themselves are in bpe_merge.cpp.
#include "bpe.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <stdexcept>
#include <thread>

#include "bpe_merge.h"
#include "machine/interrupt.h"
#include "machine/parallel.h"

namespace nextword {
namespace {

constexpr size_t batch_grain = 16384;       // bytes that are worth a thread's turn
constexpr size_t at_a_time = 16;            // turns whose ids are handed over together
constexpr unsigned few_lanes = 4;           // so many words are merged as fast one by one
constexpr size_t long_whole = 32;           // bytes of pieces that recur as they are; of longer ones, parts do
constexpr size_t unigram_whole = 65536;     // bytes of pieces whose sums of scores begin at their beginning, as elsewhere
constexpr size_t slack = PackedIds::slack;  // ids may be written up to here beyond the last

struct Stopped {};  // thrown on the threads of a batch that is interrupted

inline uint32_t* copy(LongPieces::Ids ids, uint32_t* out) {
  for (uint32_t i = 0; i < ids.count; i += 2) std::memcpy(out + i, ids.data + i, 2 * sizeof *out);  // two: see LongPieces::Ids
  return out + ids.count;
}

// The whole character that holds a byte of valid UTF-8.
std::string_view character_at(std::string_view text, size_t at) {
  const auto inside = [&](size_t i) { return i < text.size() && (static_cast<uint8_t>(text[i]) & 0xC0) == 0x80; };
  size_t begin = at, end = at + 1;
  while (begin > 0 && inside(begin)) --begin;
  while (inside(end)) ++end;
  return text.substr(begin, end - begin);
}

std::string unknown_byte(std::string_view text, size_t offset, size_t before) {
  static const char digits[] = "0123456789ABCDEF";
  const auto byte = static_cast<uint8_t>(text[offset]);
  return std::string("encode: text holds the byte 0x") + digits[byte >> 4] + digits[byte & 15] + " of '" +
         std::string(character_at(text, offset)) + "' at byte " + std::to_string(before + offset) +
         ", for which the vocabulary has no token";
}

}  // namespace

UnknownByte::UnknownByte(std::string_view text, size_t offset, size_t before)
    : std::invalid_argument(unknown_byte(text, offset, before)), offset(offset) {}

// Unknown words are left out at first and merged many at a time, some chunks later; then settled() is called.
template <class Settled>
void Encoder::encode_chunks(std::string_view text, IdBuffer& ids, const Settled& settled) {
  if (text.size() > 0xFFFFFFFFu) {
    throw std::invalid_argument("encode: text has " + std::to_string(text.size()) +
                                " bytes, expected less than 4 GiB; encode it in parts");
  }
  const auto* p = reinterpret_cast<const uint8_t*>(text.data());
  Splitter splitter(pattern_, p, p + text.size());
  uint32_t ends[Splitter::room];
  size_t begin = 0, first = ids.size();
  unknown_.clear();
  unknown_bytes_ = 0;
  for (unsigned chunks = 1;; ++chunks) {
    const size_t count = splitter.next(ends);
    if (count > 0) {
      short_pieces_.grow_if_crowded();
      uint32_t* const out = ids.reserve(ends[count - 1] - begin + slack);
      const uint32_t* const end = encode_chunk(text, begin, ends, count, out, ids.size() - first);
      ids.resize(ids.size() + static_cast<size_t>(end - out));
      begin = ends[count - 1];
    }
    if (count > 0 && unknown_.size() < 8 * lanes && chunks % 32 != 0) continue;
    if (!unknown_.empty()) merge_unknown(ids, first);
    settled();
    check_interrupt();
    first = ids.size();
    if (count == 0) return;
  }
}

void Encoder::encode(std::string_view text, IdBuffer& ids) {
  if (vocabulary_.units() == Vocabulary::Units::words) return encode_words(text, ids);
  const size_t first = ids.size();
  encode_chunks(text, ids, [] {});
  if (!vocabulary_.complete() && vocabulary_.units() == Vocabulary::Units::bytes) check_known(text, ids.data() + first, ids.size() - first);
}

// Throws UnknownByte for the first id that is none.
void Encoder::check_known(std::string_view text, const uint32_t* ids, size_t count) const {
  if (vocabulary_.substitute() != max_tokens) return;
  size_t at = 0;
  for (size_t i = 0; i < count; at += vocabulary_.token_size(ids[i++])) {
    if (ids[i] == max_tokens) throw UnknownByte(text, at);
  }
}

size_t Encoder::count(std::string_view text) {
  size_t total = 0;
  IdBuffer ids;
  if (!vocabulary_.complete()) {
    encode(text, ids);
    return ids.size();
  }
  encode_chunks(text, ids, [&] {
    total += ids.size();
    ids.clear();
  });
  return total;
}

// at: how many ids stand before `out` since the unknown words were last merged, or at_once: then none is left out.
uint32_t* Encoder::encode_chunk(std::string_view text, size_t begin, const uint32_t* ends, size_t count, uint32_t* out, size_t at) {
  Probe probes[Splitter::room];
  known_.probe(short_pieces_, text, begin, ends, count, probes);
  uint32_t* const first = out;
  for (size_t i = 0;; ++i) {
    out = known_.write(probes, i, count, out);
    if (i == count) return out;
    const size_t from = i ? ends[i - 1] : begin;
    out = encode_other(probes[i], text.substr(from, ends[i] - from), out, at == at_once ? at : at + static_cast<size_t>(out - first));
  }
}

// A piece whose ids are not in its slot.
uint32_t* Encoder::encode_other(const Probe& probe, std::string_view piece, uint32_t* out, size_t at) {
  if (piece.size() > ShortKey::max_size) return encode_long(piece, out);
  if (probe.slot->holds(probe.key)) {
    uint32_t* end = kept(probe.slot->ids.position(), out);
    return end != out ? end : merge_short(probe.key, piece, out);
  }
  if (at != at_once && vocabulary_.orderly() && !vocabulary_.whole_pieces()) {
    short_pieces_.prefetch_group(probe.slot);
    unknown_.push_back({probe.key, piece, at});
    unknown_bytes_ += piece.size();
    return out;
  }
  uint32_t* end = known_short(probe.key, out);
  return end != out ? end : merge_short(probe.key, piece, out);
}

uint32_t* Encoder::kept(uint64_t position, uint32_t* out) const { return copy(long_pieces_.at(position), out); }

// The ids of a short piece that the cache has, or nothing.
uint32_t* Encoder::known_short(ShortKey key, uint32_t* out) {
  const ShortPieces::Slot* slot = short_pieces_.find(key);
  if (!slot) return out;
  const uint32_t count = slot->ids.count();
  if (count == 0) return kept(slot->ids.position(), out);
  narrow_ ? slot->ids.write<true>(out) : slot->ids.write<false>(out);
  return out + count;
}

uint32_t* Encoder::merge_short(ShortKey key, std::string_view piece, uint32_t* out) {
  uint32_t* end = whole_piece(piece, out);
  if (end == out) end = merge(piece, out);
  remember_short(key, out, static_cast<uint32_t>(end - out));
  return end;
}

void Encoder::remember_short(ShortKey key, const uint32_t* ids, uint32_t count) {
  const bool fits = count <= PackedIds::most(narrow_);
  short_pieces_.add(key, fits ? PackedIds(ids, count, narrow_) : PackedIds(long_pieces_.keep(ids, count)));
}

// Finds or merges the words that were left out, all lanes at a time, and moves the ids from `first` on apart to let
// theirs in. Words of one size go together: a round of lanes takes as long as its longest word.
void Encoder::merge_unknown(IdBuffer& buffer, size_t first) {
  unknown_ids_.resize(unknown_.size());
  size_t of_size[ShortKey::max_size + 2] = {};  // then: where the words of each size go
  for (size_t i = 0; i < unknown_.size(); ++i) {
    uint32_t* const ids = unknown_ids_[i].ids;
    unknown_[i].count = static_cast<uint32_t>(known_short(unknown_[i].key, ids) - ids);
    if (unknown_[i].count == 0) ++of_size[unknown_[i].piece.size() + 1];
  }
  for (size_t size = 1; size < ShortKey::max_size + 2; ++size) of_size[size] += of_size[size - 1];
  waiting_.resize(of_size[ShortKey::max_size + 1]);
  for (size_t i = 0; i < unknown_.size(); ++i) {
    if (unknown_[i].count == 0) waiting_[of_size[unknown_[i].piece.size()]++] = static_cast<uint32_t>(i);
  }
  const MergeLanes merge = vocabulary_.units() == Vocabulary::Units::bytes ? merge_lanes() : nullptr;
  for (size_t begin = 0; begin < waiting_.size(); begin += lanes) {
    std::string_view pieces[lanes];
    uint32_t ids[lanes][lanes], counts[lanes];
    const auto some = static_cast<unsigned>(std::min<size_t>(lanes, waiting_.size() - begin));
    for (unsigned j = 0; j < some; ++j) pieces[j] = unknown_[waiting_[begin + j]].piece;
    if (merge && some > few_lanes) {
      merge(vocabulary_, pieces, some, ids, counts);
    } else {
      for (unsigned j = 0; j < some; ++j) counts[j] = static_cast<uint32_t>(merge_few(vocabulary_, pieces[j], ids[j]));
    }
    for (unsigned j = 0; j < some; ++j) {
      const size_t i = waiting_[begin + j];
      unknown_[i].count = counts[j];
      std::memcpy(unknown_ids_[i].ids, ids[j], sizeof ids[j]);
      remember_short(unknown_[i].key, ids[j], counts[j]);
    }
  }
  size_t more = 0;
  for (const Unknown& unknown : unknown_) more += unknown.count;
  buffer.reserve(unknown_bytes_ + slack);
  uint32_t* const ids = buffer.data() + first;
  size_t end = buffer.size() - first, to = end + more;  // ids[end ...] stand at ids[to ...] already
  buffer.resize(buffer.size() + more);
  for (size_t i = unknown_.size(); i-- > 0;) {
    const Unknown& unknown = unknown_[i];
    const size_t size = end - unknown.at;
    std::memmove(ids + to - size, ids + unknown.at, size * sizeof *ids);
    to -= size + unknown.count;
    std::memcpy(ids + to, unknown_ids_[i].ids, unknown.count * sizeof *ids);
    end = unknown.at;
  }
  unknown_.clear();
  unknown_bytes_ = 0;
}

// Where whole pieces count before merges: the id of a piece that is a token.
uint32_t* Encoder::whole_piece(std::string_view piece, uint32_t* out) const {
  if (!vocabulary_.whole_pieces() || piece.size() > vocabulary_.longest()) return out;
  *out = vocabulary_.find(piece);
  return *out == no_token ? out : out + 1;
}

uint32_t* Encoder::encode_long(std::string_view piece, uint32_t* out) {
  if (uint32_t* end = whole_piece(piece, out); end != out) return end;
  if (vocabulary_.units() == Vocabulary::Units::unigram && piece.size() <= unigram_whole) return encode_part(piece, out);
  if (piece.size() > long_whole) return encode_parts(piece, out);
  const uint64_t hash = LongPieces::hash(piece);
  const LongPieces::Ids known = long_pieces_.find(hash, piece);
  if (known.count) return copy(known, out);
  uint32_t* end = encode_parts(piece, out);
  if (long_pieces_.find(hash, piece).count == 0) long_pieces_.add(hash, piece, out, static_cast<uint32_t>(end - out));
  return end;
}

// Between two bytes that stand side by side in no token, nothing merges: there a long piece falls apart. Its parts are
// encoded as pieces are, unless pieces are looked up whole before anything is merged. A long piece may have millions of
// them: what is unknown is merged at once.
uint32_t* Encoder::encode_parts(std::string_view piece, uint32_t* out) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(piece.data());
  const bool by_characters = vocabulary_.units() != Vocabulary::Units::bytes;
  uint32_t ends[Splitter::room];
  size_t begin = 0, count = 0;
  const auto encode_some = [&] {
    if (!vocabulary_.whole_pieces()) {
      out = encode_chunk(piece, begin, ends, count, out, at_once);
    } else {
      for (size_t i = 0, from = begin; i < count; from = ends[i++]) out = encode_part(piece.substr(from, ends[i] - from), out);
    }
    begin = ends[count - 1];
    count = 0;
    check_interrupt();
  };
  for (size_t i = 1; i < piece.size();) {
    const size_t stop = std::min(piece.size(), i + Splitter::room / 2);
    for (; i < stop; ++i) {  // no branch: where a piece falls apart is hard to foresee
      ends[count] = static_cast<uint32_t>(i);
      count += !(vocabulary_.within_a_token(bytes[i - 1], bytes[i]) | (by_characters & ((bytes[i] & 0xC0) == 0x80)));
    }
    if (count >= Splitter::room / 2) encode_some();
  }
  if (begin == 0 && count == 0) return encode_part(piece, out);
  ends[count++] = static_cast<uint32_t>(piece.size());
  encode_some();
  return out;
}

uint32_t* Encoder::encode_part(std::string_view part, uint32_t* out) {
  if (part.size() <= merge_few_limit) return encode_remembered(part, out);
  return vocabulary_.orderly() ? encode_windows(part, out) : merge(part, out);
}

uint32_t* Encoder::encode_remembered(std::string_view part, uint32_t* out) {
  const uint64_t hash = LongPieces::hash(part);
  const LongPieces::Ids known = long_pieces_.find(hash, part);
  if (known.count) return copy(known, out);
  uint32_t* end = merge(part, out);
  long_pieces_.add(hash, part, out, static_cast<uint32_t>(end - out));
  return end;
}

// A long part window by window. What a window's bytes become is right up to some token before its end; from there the
// next window starts, and Vocabulary::cut tells whether the two fit together. Where they do not, the border was no true
// one: tokens are taken back, and the window grows, at last to all that is left, until it is past the place that failed.
uint32_t* Encoder::encode_windows(std::string_view part, uint32_t* out) {
  constexpr size_t window = merge_few_limit, margin = 16;  // few tokens are longer than the margin
  const bool by_characters = vocabulary_.units() != Vocabulary::Units::bytes;
  const auto inside = [&](size_t place) {  // a character, whose bytes may be tokens
    return by_characters && place < part.size() && (static_cast<uint8_t>(part[place]) & 0xC0) == 0x80;
  };
  uint32_t* const begin = out;
  size_t at = 0, size = window, back = 1, failed = 0;
  for (unsigned turns = 1;; ++turns) {
    if (turns % 256 == 0) check_interrupt();
    const bool last = part.size() - at <= size;
    std::string_view piece = part.substr(at, last ? part.size() - at : size);
    while (inside(at + piece.size())) piece.remove_suffix(1);
    uint32_t* end = piece.size() <= window ? encode_remembered(piece, out) : merge(piece, out);
    if (out > begin && !vocabulary_.cut(out[-1], out[0])) {
      failed = std::max(failed, at);
      for (size_t i = 0; out > begin && (i < back || inside(at)); ++i) at -= vocabulary_.taken_before(*--out, part.data() + at);
      back *= 2;
      size *= 2;
      continue;
    }
    if (last) return end;
    size_t taken = 0;
    do {
      taken += vocabulary_.taken(*out++, piece.data() + taken);
    } while (out < end && (inside(at + taken) || taken + vocabulary_.taken(*out, piece.data() + taken) + margin <= piece.size()));
    at += taken;
    if (at > failed) {
      size = window;
      back = 1;
    }
  }
}

uint32_t* Encoder::merge(std::string_view piece, uint32_t* out) {
  if (vocabulary_.units() == Vocabulary::Units::unigram) return out + best_path(vocabulary_, piece, out);
  if (!vocabulary_.orderly()) return out + merge_any(vocabulary_, piece, out);
  return out + (piece.size() <= merge_few_limit ? merge_few(vocabulary_, piece, out) : merge_many(vocabulary_, piece, out));
}

void Bpe::encode(std::string_view text, IdBuffer& ids) const { Borrowed(*this)->encode(text, ids); }

size_t Bpe::count(std::string_view text) const { return Borrowed(*this)->count(text); }

// Many texts on their way to their ids. Threads take portions in order; the calling one hands over what is ready and
// encodes while nothing is.
class Bpe::Batch {
 public:
  // grain: bytes of a portion, but for its last text; together: portions that are handed over together
  Batch(const Bpe& bpe, const Texts& texts, const Request& request, size_t grain, size_t together)
      : bpe_(bpe), texts_(texts), request_(request), together_(together) {
    size_t bytes = grain;
    for (size_t i = 0; i < texts.count(); ++i) {
      if (bytes >= grain) {
        portions_.emplace_back();
        portions_.back().first = i;
        bytes = 0;
      }
      portions_.back().counts.push_back(0);
      bytes += texts.size(i);
    }
    done_ = std::vector<std::atomic<bool>>(portions_.size());
  }

  size_t size() const { return portions_.size(); }

  // Encodes the next portion; returns whether there was one.
  bool encode_one(Encoder& encoder, TextBuffer& text) {
    if (stopped_) return false;
    const size_t i = next_++;  // who has taken a portion encodes it: of two errors the first one is met
    if (i >= size()) return false;
    Portion& portion = portions_[i];
    try {
      portion.ids = spare();
      for (size_t j = 0; j < portion.counts.size(); ++j) {
        const size_t before = portion.ids.size();
        bpe_.encode(encoder, texts_.utf8(portion.first + j, text), request_, portion.ids);
        portion.counts[j] = static_cast<uint32_t>(portion.ids.size() - before);
      }
    } catch (const Stopped&) {
    } catch (...) {  // an exception must not leave a thread
      const std::lock_guard<std::mutex> lock(mutex_);
      if (!error_ || i < error_at_) error_ = std::current_exception(), error_at_ = i;  // earlier ones are all under way
      stopped_ = true;
    }
    done_[i].store(true, std::memory_order_release);
    return true;
  }

  // What of the next portions is ready: nothing, while there are fewer than `together` and more to encode.
  std::vector<Portion*> ready() {
    std::vector<Portion*> found;
    for (size_t i = handed_; i < size() && done_[i].load(std::memory_order_acquire); ++i) found.push_back(&portions_[i]);
    if (found.size() < together_ && next_ < size()) found.clear();
    return found;
  }
  void handed_over(const std::vector<Portion*>& portions) {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (Portion* portion : portions) spare_.push_back(std::move(portion->ids));
    handed_ += portions.size();
  }
  bool over() const { return handed_ == size() || stopped_; }
  void stop() { stopped_ = true; }
  // What interrupts the calling thread ends the others, too, within their texts.
  void ask(Interruptible& from) {
    try {
      from.check();
    } catch (...) {
      interruption_ = std::current_exception();
      interrupted_ = stopped_ = true;
      throw Stopped();
    }
  }
  void ask() const {
    if (interrupted_) throw Stopped();
  }
  void rethrow() const {
    if (interruption_) std::rethrow_exception(interruption_);
    if (error_) std::rethrow_exception(error_);
  }

 private:
  IdBuffer spare() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (spare_.empty()) return {};
    IdBuffer ids = std::move(spare_.back());
    spare_.pop_back();
    ids.clear();
    return ids;
  }

  const Bpe& bpe_;
  const Texts& texts_;
  const Request& request_;
  const size_t together_;
  std::vector<Portion> portions_;
  std::vector<std::atomic<bool>> done_;
  std::atomic<size_t> next_{0};
  std::atomic<bool> stopped_{false}, interrupted_{false};
  std::exception_ptr interruption_;  // of the calling thread
  size_t handed_ = 0;  // of the calling thread
  std::mutex mutex_;   // of what follows
  std::vector<IdBuffer> spare_;
  std::exception_ptr error_;
  size_t error_at_ = 0;  // the portion
};

void Bpe::encode_batch(const Texts& texts, const Request& request, int threads,
                       const std::function<bool(const std::vector<Portion*>&)>& hand_over) const {
  size_t bytes = 0;
  for (size_t i = 0; i < texts.count(); ++i) bytes += texts.size(i);
  const int workers = std::max(1, std::min(threads, threads_for(static_cast<int64_t>(bytes / batch_grain + 1), 1)));
  Batch batch(*this, texts, request, workers > 1 ? batch_grain : at_a_time * batch_grain, workers > 1 ? at_a_time : 1);
  std::vector<std::unique_ptr<Borrowed>> encoders;
  for (int i = 0; i < workers; ++i) encoders.push_back(std::make_unique<Borrowed>(*this));
  std::exception_ptr error;  // of hand_over
  const auto hand_over_all = [&](Encoder& encoder, TextBuffer& text) {
    while (!batch.over()) {
      const std::vector<Portion*> ready = batch.ready();
      if (ready.empty()) {
        if (!batch.encode_one(encoder, text)) std::this_thread::yield();
        check_interrupt();
        continue;
      }
      if (!hand_over(ready)) batch.stop();
      batch.handed_over(ready);
    }
  };
  Interruptible* const outer = interruptible;
  together(workers, [&] {
    const int index = member ? member->index : 0;
    Encoder& encoder = *encoders[static_cast<size_t>(index)]->get();
    TextBuffer text;
    if (index > 0) {
      const Interruptible asks([&] { batch.ask(); });
      while (batch.encode_one(encoder, text)) {
      }
      return;
    }
    try {
      const Interruptible asks([&] {
        if (outer) batch.ask(*outer);
      });
      hand_over_all(encoder, text);
    } catch (const Stopped&) {
    } catch (...) {
      error = std::current_exception();
      batch.stop();
    }
  });
  if (error) std::rethrow_exception(error);
  batch.rethrow();
}

}  // namespace nextword
