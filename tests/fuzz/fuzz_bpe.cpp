// Fuzzing the tokenizer's C++: vocabulary files of any content, any added tokens, and encoding of any text. Sanitizers find what is wrong
// with memory; the checks here find wrong results. Build and run: tests/fuzz/run.sh [seconds] [seed]
//
// The first byte of an input says what the rest is. With clang's -fsanitize=fuzzer define NEXTWORD_LIBFUZZER; otherwise
// main() makes inputs itself, by chance and by changing good ones.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <stdexcept>
#include <string>

#include "text/bert_form.h"
#include "text/bpe.h"
#include "text/bpe_cpu.h"
#include "text/bpe_files.h"
#include "text/bpe_join.h"
#include "text/bpe_train.h"
#include "text/byte_alphabet.h"
#include "text/token_lists.h"
#include "text/wordpiece.h"

using namespace nextword;

namespace {

[[noreturn]] void wrong(const char* what) {
  std::fprintf(stderr, "fuzz_bpe: %s\n", what);
  std::abort();
}

const std::string& folder() {
  static const std::string path = [] {
    const char* const place = std::getenv("TMPDIR");
    std::string name = std::string(place && *place ? place : "/tmp") + "/nextword-fuzz-" + std::string(6, 'X');
    if (!mkdtemp(name.data())) wrong("no temporary folder");  // it writes a name over the six letters
    return name;
  }();
  return path;
}

std::string write(const char* name, const std::string& content) {
  const std::string path = folder() + "/" + name;
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (!file || std::fwrite(content.data(), 1, content.size(), file) != content.size()) wrong("cannot write");
  std::fclose(file);
  return path;
}

// A vocabulary of some merges over few letters, learned once.
VocabularySource learned() {
  static const std::vector<LearnedMerge> merges = [] {
    PieceCounts counts(Pattern::gpt2);
    std::string text;
    std::mt19937 random(1);
    for (int i = 0; i < 20000; ++i) text += "aaabbcde  \n'st\xC3\xA9"[random() % 14];
    for (size_t i = 0; i < text.size(); ++i) {
      if (static_cast<uint8_t>(text[i]) >= 0x80) text[i] = 'e';
    }
    counts.add({text}, 1);
    return learn_merges(counts, 300, 0, [](size_t) {});
  }();
  VocabularySource source;
  source.has_merges = true;
  source.whole_pieces = false;
  const auto add = [&](const std::string& token) {
    source.tokens.push_back({static_cast<uint32_t>(source.tokens.size()), static_cast<uint32_t>(source.bytes.size()),
                             static_cast<uint32_t>(token.size()), 1, true});
    source.bytes += token;
  };
  for (uint32_t symbol = 0; symbol < 256; ++symbol) add(std::string(1, static_cast<char>(byte_of_symbol(symbol))));
  for (const auto& [left, right] : merges) {
    const auto l = source.tokens[left], r = source.tokens[right];
    source.merges.push_back({static_cast<uint32_t>(source.bytes.size()), l.size, r.size, 1});
    add(source.bytes.substr(l.start, l.size) + source.bytes.substr(r.start, r.size));
  }
  return source;
}

std::string decoded(const Vocabulary& vocabulary, const IdBuffer& ids) {
  std::string out;
  for (size_t i = 0; i < ids.size(); ++i) out += vocabulary.bytes(ids.data()[i]);
  return out;
}

void check_text(const Bpe& bpe, std::string_view text) {
  IdBuffer ids;
  bpe.encode(text, ids);
  if (decoded(bpe.vocabulary(), ids) != text) wrong("the tokens are not the text");
  if (bpe.count(text) != ids.size()) wrong("count differs from encode");
  special_instructions = false;
  Encoder fresh(bpe.vocabulary(), bpe.pattern());
  IdBuffer again;
  fresh.encode(text, again);
  special_instructions = true;
  if (again.size() != ids.size() || (ids.size() && std::memcmp(ids.data(), again.data(), 4 * ids.size()) != 0)) {
    wrong("ids depend on the cache or on special instructions");
  }
  const auto* begin = reinterpret_cast<const uint8_t*>(text.data());
  Splitter splitter(bpe.pattern(), begin, begin + text.size());
  const uint8_t* p = begin;
  uint32_t ends[Splitter::room];
  while (const size_t count = splitter.next(ends)) {
    for (size_t i = 0; i < count; ++i) {
      p = piece_end(bpe.pattern(), p, begin + text.size());
      if (begin + ends[i] != p) wrong("blocks and scanner split differently");
    }
  }
  if (p != begin + text.size()) wrong("the pieces are not the text");
}

// Valid UTF-8 from any bytes: code points that favour ASCII.
std::string text_from(const uint8_t* data, size_t size) {
  std::string out;
  for (size_t i = 0; i < size; ++i) {
    uint32_t code = data[i];
    if (code >= 0xC0 && i + 2 < size) {
      code = (code & 31) << 16 | static_cast<uint32_t>(data[i + 1] << 8) | data[i + 2];
      i += 2;
    }
    if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) code = 0x3000;
    if (code < 0x80) {
      out += static_cast<char>(code);
    } else if (code < 0x800) {
      out += {static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 63))};
    } else if (code < 0x10000) {
      out += {static_cast<char>(0xE0 | code >> 12), static_cast<char>(0x80 | (code >> 6 & 63)), static_cast<char>(0x80 | (code & 63))};
    } else {
      out += {static_cast<char>(0xF0 | code >> 18), static_cast<char>(0x80 | (code >> 12 & 63)),
              static_cast<char>(0x80 | (code >> 6 & 63)), static_cast<char>(0x80 | (code & 63))};
    }
  }
  return out;
}

// A normaliser that makes text shorter and longer: no "b", each "a" twice, small letters.
Normalized normalized(std::string_view text, bool with_steps) {
  Normalized out;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i] >= 'A' && text[i] <= 'Z' ? static_cast<char>(text[i] | 0x20) : text[i];
    if (c != 'b') out.text.append(c == 'a' ? 2 : 1, c);
    if (with_steps) out.steps.push_back({out.text.size(), i + 1, c == text[i] && c != 'a' && c != 'b'});
  }
  return out;
}

// Some added tokens, and a text that holds them, all from the bytes: rules, tokens (flags, size, content), the text's parts.
void check_added(const uint8_t* data, size_t size) {
  size_t at = 0;
  const auto next = [&] { return at < size ? data[at++] : uint8_t{0}; };
  const unsigned rules_bits = next();
  VocabularySource source = learned();
  const auto base = static_cast<uint32_t>(source.tokens.size());
  std::vector<std::string> contents;
  bool plain = true;
  for (unsigned count = next() % 6; count > 0; --count) {
    const unsigned bits = next();
    const size_t most = next() % 12 + 1u, length = std::min(most, size - at);
    std::string content = text_from(data + at, length);
    at += length;
    if (content.empty() || std::find(contents.begin(), contents.end(), content) != contents.end()) continue;
    plain = plain && !(bits & 14);
    source.added.push_back({content, base + 7 * count, (bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0, (bits & 8) != 0, (bits & 16) != 0});
    contents.push_back(std::move(content));
  }
  std::string text;
  while (at < size) {
    const unsigned kind = next();
    if (kind < 64 && !contents.empty()) {
      text += contents[kind % contents.size()];
    } else {
      const size_t length = std::min<size_t>(kind % 16 + 1, size - at);
      text += text_from(data + at, length);
      at += length;
    }
  }
  TextRules rules;
  rules.prefix_space = rules_bits & 1;
  if (rules_bits & 2) rules.normalize = normalized;
  if (rules_bits & 4) rules.beginning = {1, 2};
  const Bpe bpe(std::move(source), Pattern::gpt2, rules);
  Request request;
  request.whole = !(rules_bits & 8);
  if (rules_bits & 16) request.allowed.assign(bpe.vocabulary().added().size(), true);
  IdBuffer ids, again;
  Bpe::Offsets offsets;
  bpe.encode(text, request, ids);
  bpe.encode(text, request, again, offsets);
  if (ids.size() != again.size() || ids.size() != offsets.size()) wrong("added: ids depend on whether offsets are asked for");
  if (ids.size() && std::memcmp(ids.data(), again.data(), 4 * ids.size()) != 0) wrong("added: offsets change the ids");
  for (const auto& [begin, end] : offsets) {
    if (begin > end || end > text.size()) wrong("added: offsets are no range of the text");
  }
  if (rules.prefix_space || rules.normalize || !plain) return;
  IdBuffer middle;
  request.whole = false;
  bpe.encode(text, request, middle);
  if (decoded(bpe.vocabulary(), middle) != text) wrong("added: the tokens are not the text");
}

// A vocabulary of words and a text from the bytes: names (size, content), then the text, which BERT's normaliser changes.
void check_words(const uint8_t* data, size_t size) {
  size_t at = 0;
  const auto next = [&] { return at < size ? data[at++] : uint8_t{0}; };
  const unsigned bits = next();
  TokenLists lists{{"[UNK]", "a", "b", "##a", "##ab", "c"}, {}, {}, {}, "words"};
  for (unsigned count = next() % 12; count > 0; --count) {
    const size_t most = next() % 6 + 1u, length = std::min(most, size - at);
    std::string name = (count & 1 ? "##" : "") + text_from(data + at, length);
    at += length;
    if (!name.empty() && std::find(lists.names.begin(), lists.names.end(), name) == lists.names.end()) lists.names.push_back(name);
  }
  TextRules rules;
  rules.normalize = bert_form({(bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0, (bits & 8) != 0});
  rules.cleans = bits & 16;
  rules.beginning = {0};
  VocabularySource source = word_source(lists, "[UNK]", "##", bits & 32 ? 8 : 100);
  if (bits & 64) source.added.push_back({"c", 5, false, true, false, false, (bits & 128) != 0});
  const Bpe bpe(std::move(source), bits & 128 ? Pattern::words : Pattern::bert, rules);
  const std::string text = text_from(data + at, size - at);
  IdBuffer ids, again;
  Bpe::Offsets offsets;
  bpe.encode(text, Request(), ids);
  bpe.encode(text, Request(), again, offsets);
  if (ids.size() != again.size() || ids.size() != offsets.size()) wrong("words: ids depend on whether offsets are asked for");
  if (std::memcmp(ids.data(), again.data(), 4 * ids.size()) != 0) wrong("words: offsets change the ids");
  for (const auto& [begin, end] : offsets) {
    if (begin > end || end > text.size()) wrong("words: offsets are no range of the text");
  }
  Bpe::in_characters(text, offsets);
  text_of_words(bpe.vocabulary(), {ids.data(), ids.data() + ids.size()}, rules.cleans);
  IdBuffer cached;
  Encoder fresh(bpe.vocabulary(), bpe.pattern());
  fresh.encode(text, cached);
  std::vector<uint32_t> alone, some;
  for (WordRange word{0, 0}; (word = next_word(bpe.pattern(), text, word.end)).begin < word.end;) {
    some.resize(word.end - word.begin);
    some.resize(wordpieces(bpe.vocabulary(), std::string_view(text).substr(word.begin, some.size()), some.data()));
    alone.insert(alone.end(), some.begin(), some.end());
  }
  if (alone != std::vector<uint32_t>(cached.data(), cached.data() + cached.size())) wrong("words: ids depend on the cache");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  const unsigned kind = data[0] % 10;
  if (kind == 9) {
    check_words(data + 1, size - 1);
    return 0;
  }
  if (kind == 8) {
    check_added(data + 1, size - 1);
    return 0;
  }
  static const Bpe* const bpes[] = {new Bpe(learned(), Pattern::gpt2), new Bpe(learned(), Pattern::cl100k),
                                    new Bpe(learned(), Pattern::llama3), new Bpe(learned(), Pattern::o200k)};
  if (kind < 4) {
    check_text(*bpes[kind], text_from(data + 1, size - 1));
    return 0;
  }
  try {
    VocabularySource source;
    const size_t cut = rest.find('\0');
    if (kind == 4) {
      source = read_ranks(write("r50k_base.tiktoken", rest));
    } else if (kind == 5) {
      source = read_tokenizer_json(write("tokenizer.json", rest));
    } else {
      source = read_vocab_and_merges(write("vocab.json", rest.substr(0, cut)), write("merges.txt", cut == std::string::npos ? "" : rest.substr(cut + 1)));
    }
    ids_of(source, {"aa", rest.substr(0, 8)});
    names_of(source, {0, 300});
    has_all_bytes(source);
    if (kind == 7) {  // the same vocabulary from two files
      VocabularySource first = learned();
      first.tokens.resize(280);
      first.merges.resize(280 - 256);
      join(first, source);
      source = std::move(first);
    }
    const Bpe bpe(std::move(source), Pattern::gpt2);
    check_text(bpe, "the cat's  sat 123 abcabcabc aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
  } catch (const std::invalid_argument&) {
  }
  return 0;
}

#ifndef NEXTWORD_LIBFUZZER
namespace {

std::string good_input(unsigned kind) {
  const VocabularySource source = learned();
  const auto token = [&](size_t id) { return source.bytes.substr(source.tokens[id].start, source.tokens[id].size); };
  std::string vocab = "{", merges, ranks;
  for (size_t id = 0; id < 280; ++id) {
    std::string escaped;
    for (const char c : spell(token(id))) escaped += c == '"' || c == '\\' ? std::string("\\") + c : std::string(1, c);
    vocab += (id ? ",\"" : "\"") + escaped + "\":" + std::to_string(id);
    if (id >= 256) {
      const auto& m = source.merges[id - 256];
      merges += spell(source.bytes.substr(m.left_start, m.left_size)) + " " + spell(source.bytes.substr(m.left_start + m.left_size, m.right_size)) + "\n";
    }
    const std::string bytes = token(id);
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < bytes.size(); i += 3) {
      uint32_t bits = 0;
      for (size_t j = 0; j < 3; ++j) bits = bits << 8 | (i + j < bytes.size() ? static_cast<uint8_t>(bytes[i + j]) : 0u);
      for (size_t j = 0; j < 4; ++j) ranks += i + j > bytes.size() ? '=' : digits[bits >> (18 - 6 * j) & 63];
    }
    ranks += " " + std::to_string(id) + "\n";
  }
  vocab += "}";
  if (kind == 4) return ranks;
  if (kind != 5) return vocab + '\0' + merges;
  std::string list;
  for (size_t at = 0; at < merges.size();) {
    const size_t end = merges.find('\n', at);
    std::string escaped;
    for (const char c : merges.substr(at, end - at)) escaped += c == '"' || c == '\\' ? std::string("\\") + c : std::string(1, c);
    list += (list.empty() ? "\"" : ",\"") + escaped + "\"";
    at = end + 1;
  }
  return "{\"added_tokens\":[],\"model\":{\"type\":\"BPE\",\"vocab\":" + vocab + ",\"merges\":[" + list + "]}}";
}

}  // namespace

int main(int count, char** arguments) {
  const double seconds = count > 1 ? std::atof(arguments[1]) : 10;
  std::mt19937 random(count > 2 ? static_cast<unsigned>(std::atoi(arguments[2])) : 1);
  const auto start = std::chrono::steady_clock::now();
  const auto spent = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); };
  for (unsigned kind = 4; kind < 7; ++kind) {  // the inputs to be changed are good ones
    const std::string input = good_input(kind);
    if (kind == 4) Bpe(read_ranks(write("r50k_base.tiktoken", input)), Pattern::gpt2);
    if (kind == 5) Bpe(read_tokenizer_json(write("tokenizer.json", input)), Pattern::gpt2);
  }
  static const char frequent[] = "aaabbcde  \n'st\t1!\xC5\x01\x7F\xE0\x30\x00";
  size_t runs = 0;
  for (; spent() < seconds; ++runs) {
    const unsigned kind = random() % 10;
    std::string input(1, static_cast<char>(kind));
    if (kind < 4 || kind >= 8) {
      for (size_t size = random() % (random() % 8 ? 300 : 20000); size > 0; --size) {
        input += random() % 8 ? frequent[random() % (sizeof frequent - 1)] : static_cast<char>(random());
        if (random() % 64 == 0) input.append(random() % 200, input.back());
      }
    } else {
      input += good_input(kind);
      for (unsigned changes = random() % 4; changes > 0; --changes) {
        const size_t at = 1 + random() % (input.size() - 1);
        if (random() % 3 == 0) {
          input.erase(at, random() % 8);
        } else if (random() % 2) {
          input.insert(at, input.substr(random() % input.size(), random() % 30));
        } else {
          input[at] = static_cast<char>(random());
        }
        if (input.size() < 2) break;
      }
    }
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()), input.size());
  }
  for (const char* name : {"r50k_base.tiktoken", "tokenizer.json", "vocab.json", "merges.txt"}) std::remove((folder() + "/" + name).c_str());
  rmdir(folder().c_str());
  std::printf("fuzz_bpe: %zu inputs in %.0f s\n", runs, spent());
  return 0;
}
#endif
