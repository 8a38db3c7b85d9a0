// Fuzzing the reader of SentencePiece's tokenizer.model, and what is made of one: the vocabulary, the rules, the ids of texts.
// Sanitizers find what is wrong with memory; the checks here find wrong results. Build and run: tests/fuzz/run.sh [seconds] [seed]
//
// An input is the bytes of a file. With clang's -fsanitize=fuzzer define NEXTWORD_LIBFUZZER; otherwise main() makes inputs
// itself, by changing good ones.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>

#include "text/bpe.h"
#include "text/rewrite.h"
#include "text/sentencepiece_model.h"

using namespace nextword;

namespace {

[[noreturn]] void wrong(const char* what) {
  std::fprintf(stderr, "fuzz_sentencepiece: %s\n", what);
  std::abort();
}

const std::string texts[] = {"", " ", "abab  ba\xE3\x81\x8B\xE3\x82\x99\xE3\x81\x8B", "\xE2\x96\x81\xE3\x80\x80 x\xF0\x9F\x98\x80\xC3\xA9" "ab", std::string(300, 'a')};

void check(const std::string& data) {
  SentencePieceModel model = sentencepiece_model(data, "tokenizer.model");
  const size_t size = model.lists.names.size();
  if (model.lists.kinds.size() != size || model.lists.scores.size() != size) wrong("a piece has no kind or no score");
  const std::string unknown = model.unknown < size ? model.lists.names[model.unknown] : "";
  const auto units = model.model == 1 ? VocabularySource::Units::unigram : VocabularySource::Units::characters;
  SentencePieceForm form;
  form.prefix = model.prefix, form.collapses = model.collapses;
  if (!model.rules.empty()) form.rules = std::make_shared<const CharsMap>(model.rules);
  for (size_t i = 0; i < size; ++i) {
    if (model.lists.kinds[i] == static_cast<uint8_t>(PieceKind::user_defined)) form.kept.add(model.lists.names[i], 0);
  }
  TextRules rules;
  rules.normalize = sentencepiece_form(std::move(form));
  const Bpe bpe(blank_source(model.lists, units, unknown, model.byte_fallback, !model.byte_fallback), Pattern::blanks, rules);
  for (const std::string& text : texts) {
    IdBuffer ids, again;
    Bpe::Offsets offsets;
    bpe.encode(text, Request(), ids);
    bpe.encode(text, Request(), again, offsets);
    if (ids.size() != again.size() || ids.size() != offsets.size()) wrong("ids depend on whether offsets are asked for");
    if (ids.size() && std::memcmp(ids.data(), again.data(), 4 * ids.size()) != 0) wrong("offsets change the ids");
    for (size_t i = 0; i < ids.size(); ++i) {
      if (ids.data()[i] >= size) wrong("an id is no piece's");
    }
    for (const auto& [begin, end] : offsets) {
      if (begin > end || end > text.size()) wrong("offsets are no range of the text");
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    check(std::string(reinterpret_cast<const char*>(data), size));
  } catch (const std::invalid_argument&) {
  }
  return 0;
}

#ifndef NEXTWORD_LIBFUZZER
namespace {

std::string varint(uint64_t value) {
  std::string out;
  for (; value > 127; value >>= 7) out += static_cast<char>(value | 128);
  return out + static_cast<char>(value);
}
std::string number(uint32_t field, uint64_t value) { return varint(field << 3) + varint(value); }
std::string text(uint32_t field, const std::string& value) { return varint(field << 3 | 2) + varint(value.size()) + value; }
std::string piece(const std::string& name, float score, uint64_t kind) {
  std::string bits(4, '\0');
  std::memcpy(bits.data(), &score, 4);
  return text(1, text(1, name) + varint(2 << 3 | 5) + bits + number(3, kind));
}

// A table of one rule: 'x' becomes "ab". Units of a double array (Darts-clone): the root, at 0x78 ^ 1 the edge, a leaf.
std::string rules() {
  std::vector<uint32_t> units(256, 0);
  units[0] = 1u << 10;
  units[1 ^ 'x'] = 1u << 10 | 0x100u | 'x';
  units[1 ^ 'x' ^ 1] = 0x80000000u;
  const auto size = static_cast<uint32_t>(4 * units.size());
  std::string out(4 + size, '\0');
  std::memcpy(out.data(), &size, 4);
  std::memcpy(out.data() + 4, units.data(), size);
  return out + "ab" + '\0';
}

std::string good_input(bool unigram, bool fallback, bool with_rules) {
  std::string out = piece("<unk>", 0, 2) + piece("<s>", 0, 3) + piece("</s>", 0, 3) + piece("ba", 0, 4);
  float score = 0;
  for (const char* name : {"\xE2\x96\x81", "a", "b", "ab", "\xE2\x96\x81" "ab", "\xE3\x81\x8B", "abab", "\xC3\xA9"}) out += piece(name, score -= 1, 1);
  for (int byte = 0; fallback && byte < 256; ++byte) {
    char name[8];
    std::snprintf(name, sizeof name, "<0x%02X>", static_cast<unsigned>(byte));
    out += piece(name, 0, 6);
  }
  out += text(2, number(3, unigram ? 1 : 2) + number(35, fallback) + number(40, 0));
  return out + text(3, (with_rules ? text(2, rules()) : "") + number(3, 1) + number(4, 1) + number(5, 1));
}

}  // namespace

int main(int count, char** arguments) {
  const double seconds = count > 1 ? std::atof(arguments[1]) : 10;
  std::mt19937 random(count > 2 ? static_cast<unsigned>(std::atoi(arguments[2])) : 1);
  const auto start = std::chrono::steady_clock::now();
  const auto spent = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); };
  for (unsigned kind = 0; kind < 8; ++kind) check(good_input(kind & 1, kind & 2, kind & 4));  // what is changed below is good
  size_t runs = 0;
  for (; spent() < seconds; ++runs) {
    const unsigned kind = static_cast<unsigned>(random());
    std::string input = good_input(kind & 1, kind % 16 == 2, kind & 4);
    for (unsigned changes = random() % 4; changes > 0 && input.size() > 1; --changes) {
      const size_t at = random() % input.size();
      switch (random() % 4) {
        case 0: input.erase(at, random() % 8); break;
        case 1: input.insert(at, input.substr(random() % input.size(), random() % 30)); break;
        case 2: input.resize(at); break;
        default: input[at] = static_cast<char>(random());
      }
    }
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()), input.size());
  }
  std::printf("fuzz_sentencepiece: %zu inputs in %.0f s\n", runs, spent());
  return 0;
}
#endif
