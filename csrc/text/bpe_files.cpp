// The vocabulary file formats. The reader of JSON itself is json.h.
#include "bpe_files.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <memory>
#include <stdexcept>

#include "byte_alphabet.h"
#include "json.h"

namespace nextword {
namespace {

std::string last_part(const std::string& path) { return path.substr(path.find_last_of('/') + 1); }

[[noreturn]] void fail(const std::string& file, uint32_t line, const std::string& what) {
  throw std::invalid_argument("Tokenizer: " + file + " line " + std::to_string(line) + ": " + what);
}

// At most 80 bytes of UTF-8 for a message, no character cut.
std::string start_of(std::string_view text) {
  size_t size = std::min<size_t>(text.size(), 80);
  while (size < text.size() && (static_cast<uint8_t>(text[size]) & 0xC0) == 0x80) --size;
  return std::string(text.substr(0, size));
}

std::string read_file(const std::string& path) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"), std::fclose);
  std::string text;
  if (file && std::fseek(file.get(), 0, SEEK_END) == 0) {
    const long size = std::ftell(file.get());
    if (size > 0x7FFFFFFF) throw std::invalid_argument("Tokenizer: " + path + " is over 2 GiB; is this the right file?");
    std::rewind(file.get());
    text.resize(size > 0 ? static_cast<size_t>(size) : 0);
    text.resize(std::fread(&text[0], 1, text.size(), file.get()));
  }
  if (!file || std::ferror(file.get())) throw std::runtime_error("Tokenizer: cannot read " + path);
  if (text.compare(0, 3, "\xEF\xBB\xBF") == 0) text.erase(0, 3);  // a byte order mark, which some editors write
  return text;
}

// Before so many bytes of a file are read. Room that is never written takes no memory; to grow does.
void make_room(VocabularySource& source, size_t tokens, size_t merges) {
  constexpr size_t token_line = 12, merge_line = 6;  // bytes; most files have some more
  source.bytes.reserve(tokens + merges);
  source.tokens.reserve(tokens / token_line);
  source.merges.reserve(merges / merge_line);
}

uint32_t place(const VocabularySource& source) { return static_cast<uint32_t>(source.bytes.size()); }

void add_spelled(VocabularySource& source, std::string_view spelling, uint32_t id, uint32_t line) {
  const uint32_t start = place(source);
  const bool spelled = unspell(spelling, source.bytes);
  if (!spelled) source.bytes += spelling;
  source.tokens.push_back({id, start, place(source) - start, line, spelled});
}

void add_merge(VocabularySource& source, std::string_view left, std::string_view right, uint32_t line) {
  const uint32_t start = place(source);
  if (!unspell(left, source.bytes)) fail(source.merges_file, line, "'" + start_of(left) + "' spells no bytes");
  const uint32_t middle = place(source);
  if (!unspell(right, source.bytes)) fail(source.merges_file, line, "'" + start_of(right) + "' spells no bytes");
  source.merges.push_back({start, middle - start, place(source) - middle, line});
}

// "left right" in one string.
void add_merge(VocabularySource& source, std::string_view both, uint32_t line) {
  const size_t space = both.find(' ');
  if (space == std::string_view::npos || space == 0 || space + 1 == both.size() || both.find(' ', space + 1) != std::string_view::npos) {
    fail(source.merges_file, line, "expected two parts with one space between, found '" + start_of(both) + "'");
  }
  add_merge(source, both.substr(0, space), both.substr(space + 1), line);
}

void read_vocab(JsonReader& json, VocabularySource& source) {
  json.object([&](std::string_view key) {
    const uint32_t line = json.line();
    add_spelled(source, key, json.number(), line);
  });
}

template <class Line>
void for_each_line(std::string_view text, Line line) {  // line(text, number from 1), without "\n" or "\r\n"
  uint32_t number = 1;
  for (size_t at = 0; at < text.size(); ++number) {
    const size_t newline = std::min(text.find('\n', at), text.size());
    std::string_view one = text.substr(at, newline - at);
    if (!one.empty() && one.back() == '\r') one.remove_suffix(1);
    line(one, number);
    at = newline + 1;
  }
}

// Appends the bytes of `text` to out; false where it is no base64 with padding (RFC 4648).
bool base64(std::string_view text, std::string& out) {
  static const auto table = [] {
    std::array<int8_t, 256> t{};
    t.fill(-1);
    const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (int i = 0; i < 64; ++i) t[static_cast<uint8_t>(digits[i])] = static_cast<int8_t>(i);
    return t;
  }();
  if (text.empty() || text.size() % 4) return false;
  const size_t pad = text.back() != '=' ? 0 : text[text.size() - 2] != '=' ? 1 : 2;
  const size_t digits = text.size() - pad;
  uint32_t bits = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const int value = i < digits ? table[static_cast<uint8_t>(text[i])] : 0;
    if (value < 0) return false;
    bits = bits << 6 | static_cast<uint32_t>(value);
    if (i % 4 == 3) {
      const char three[3] = {static_cast<char>(bits >> 16), static_cast<char>(bits >> 8), static_cast<char>(bits)};
      const size_t last = i + 1 == text.size() ? pad : 0;
      out.append(three, 3 - last);
      if (last && (bits & ((1u << 8 * last) - 1))) return false;  // bits past the last byte must be zero
      bits = 0;
    }
  }
  return true;
}

}  // namespace

void check_utf8(std::string_view text, const std::string& file) {
  const auto* p = reinterpret_cast<const uint8_t*>(text.data());
  const uint8_t* end = p + text.size();
  const uint8_t* start = p;
  while (p < end) {
    uint64_t word;
    if (end - p >= 8 && (std::memcpy(&word, p, 8), (word & 0x8080808080808080ull) == 0)) {
      p += 8;
      continue;
    }
    const uint8_t b = *p;
    const int more = b < 0x80 ? 0 : b >= 0xC2 && b < 0xE0 ? 1 : b >= 0xE0 && b < 0xF0 ? 2 : b >= 0xF0 && b < 0xF5 ? 3 : -1;
    bool good = more >= 0 && end - p > more;
    for (int i = 1; good && i <= more; ++i) good = (p[i] & 0xC0) == 0x80;
    if (good && more >= 2) {
      good = !(b == 0xE0 && p[1] < 0xA0) && !(b == 0xED && p[1] >= 0xA0) && !(b == 0xF0 && p[1] < 0x90) &&
             !(b == 0xF4 && p[1] >= 0x90);
    }
    if (!good) {
      uint32_t line = 1;
      for (const uint8_t* q = start; q < p; ++q) line += *q == '\n';
      fail(file, line, "the text is not UTF-8");
    }
    p += more + 1;
  }
}

VocabularySource read_vocab_and_merges(const std::string& vocab_path, const std::string& merges_path) {
  VocabularySource source;
  source.tokens_file = last_part(vocab_path);
  source.merges_file = last_part(merges_path);
  source.has_merges = true;
  source.whole_pieces = false;
  source.unmade_are_special = true;
  const std::string vocab = read_file(vocab_path), merges = read_file(merges_path);
  check_utf8(vocab, source.tokens_file);
  check_utf8(merges, source.merges_file);
  make_room(source, vocab.size(), merges.size());
  JsonReader json(vocab, source.tokens_file);
  read_vocab(json, source);
  json.finish();
  for_each_line(merges, [&](std::string_view line, uint32_t number) {
    if (line.empty() || (number == 1 && line.substr(0, 8) == "#version")) return;
    add_merge(source, line, number);
  });
  return source;
}

VocabularySource read_ranks(const std::string& path) {
  VocabularySource source;
  source.tokens_file = last_part(path);
  const std::string text = read_file(path);
  make_room(source, text.size(), 0);
  for_each_line(text, [&](std::string_view line, uint32_t number) {
    if (line.empty()) return;
    const size_t space = line.find(' ');
    uint64_t rank = 0;
    bool good = space != std::string_view::npos && space + 1 < line.size() && line.size() - space < 12;
    for (size_t i = space + 1; good && i < line.size(); ++i) {
      good = line[i] >= '0' && line[i] <= '9';
      rank = rank * 10 + static_cast<uint64_t>(line[i] - '0');
    }
    if (!good || rank >= max_tokens) fail(source.tokens_file, number, "expected base64, a space and a rank below 2^24");
    const uint32_t start = place(source);
    if (!base64(line.substr(0, space), source.bytes)) fail(source.tokens_file, number, "the token is not base64");
    source.tokens.push_back({static_cast<uint32_t>(rank), start, place(source) - start, number, true});
  });
  return source;
}

VocabularySource read_tokenizer_json(const std::string& path) {
  VocabularySource source;
  source.tokens_file = source.merges_file = last_part(path);
  source.has_merges = true;
  source.whole_pieces = false;
  const std::string text = read_file(path);
  check_utf8(text, source.tokens_file);
  make_room(source, text.size() / 2, text.size() / 2);
  JsonReader json(text, source.tokens_file);
  bool has_model = false, has_vocab = false, has_merges = false;
  const auto keep = [&](const std::string& key) {
    static const std::string_view known[] = {
        "added_tokens", "normalizer", "pre_tokenizer", "post_processor", "decoder", "model.type", "model.ignore_merges",
        "model.continuing_subword_prefix", "model.end_of_word_suffix", "model.dropout", "model.unk_token", "model.fuse_unk",
        "model.byte_fallback"};
    if (std::find(std::begin(known), std::end(known), key) == std::end(known)) {
      json.skip();
      return;
    }
    source.settings += source.settings.empty() ? "{\"" : ",\"";
    source.settings += key + "\":";
    source.settings += json.skip();
  };
  const auto read_model = [&](std::string_view key) {
    if (key == "vocab" && json.peek() == '{') {
      has_vocab = true;
      read_vocab(json, source);
    } else if (key == "merges" && json.peek() == '[') {
      has_merges = true;
      json.array([&] {
        const uint32_t line = json.line();
        if (!json.accept('[')) return add_merge(source, json.string(), line);
        const std::string left(json.string());
        json.expect(',');
        add_merge(source, left, json.string(), line);
        json.expect(']');
      });
    } else {
      keep("model." + std::string(key));
    }
  };
  json.object([&](std::string_view key) {
    if (key == "model" && json.peek() == '{') {
      has_model = true;
      json.object(read_model);
    } else {
      keep(std::string(key));
    }
  });
  json.finish();
  if (!has_model || !has_vocab || !has_merges) json.fail("no \"model\" with \"vocab\" and \"merges\"; only byte-level BPE is supported");
  source.settings += source.settings.empty() ? "{}" : "}";
  return source;
}

}  // namespace nextword
