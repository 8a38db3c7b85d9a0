// A reader for the JSON of vocabulary files: pulls values one by one, knows the line, never recurses.
// No document tree, and no numbers but whole ones that are not negative.
#pragma once
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

namespace nextword {

class JsonReader {
 public:
  // `text` must outlive the reader and be valid UTF-8. Every function below throws std::invalid_argument with `file`
  // and the line where the text is no JSON or not what was asked for.
  JsonReader(std::string_view text, std::string file) : p_(text.data()), end_(p_ + text.size()), file_(std::move(file)) {}

  [[noreturn]] void fail(const std::string& what) const {
    throw std::invalid_argument("Tokenizer: " + file_ + " line " + std::to_string(line_) + ": " + what);
  }
  uint32_t line() const { return line_; }

  char peek() {  // the next character that is no white space; 0 at the end
    while (p_ < end_ && (*p_ == ' ' || *p_ == '\n' || *p_ == '\r' || *p_ == '\t')) line_ += *p_++ == '\n';
    return p_ < end_ ? *p_ : '\0';
  }
  void expect(char c) {
    if (peek() != c) fail(std::string("expected '") + c + "'" + found());
    ++p_;
  }
  bool accept(char c) {
    if (peek() != c) return false;
    ++p_;
    return true;
  }

  // Both call `member` for each entry, the reader standing before the value, which `member` must read or skip.
  template <class Member>
  void object(Member member) {  // member(key); the key is gone after the next string is read
    expect('{');
    if (accept('}')) return;
    do {
      const std::string_view key = string();
      expect(':');
      member(key);
    } while (accept(','));
    expect('}');
  }
  template <class Member>
  void array(Member member) {
    expect('[');
    if (accept(']')) return;
    do {
      member();
    } while (accept(','));
    expect(']');
  }

  // The string without escapes; valid until the next call.
  std::string_view string() {
    expect('"');
    const char* start = p_;
    while (p_ < end_ && *p_ != '"' && *p_ != '\\' && static_cast<uint8_t>(*p_) >= 0x20) ++p_;
    if (p_ < end_ && *p_ == '"') return {start, static_cast<size_t>(p_++ - start)};
    buffer_.assign(start, p_);
    for (;;) {
      if (p_ == end_) fail("a string has no end");
      const char c = *p_++;
      if (c == '"') return buffer_;
      if (static_cast<uint8_t>(c) < 0x20) fail("a control character in a string");
      if (c == '\\') {
        escape();
      } else {
        buffer_ += c;
      }
    }
  }

  uint32_t number() {
    if (peek() < '0' || *p_ > '9') fail("expected a whole number that is not negative" + found());
    uint64_t value = 0;
    for (; p_ < end_ && *p_ >= '0' && *p_ <= '9'; ++p_) {
      value = value * 10 + static_cast<uint64_t>(*p_ - '0');
      if (value > 0xFFFFFFFFu) fail("the number is too large");
    }
    if (p_ < end_ && (*p_ == '.' || *p_ == 'e' || *p_ == 'E')) fail("expected a whole number");
    return static_cast<uint32_t>(value);
  }

  bool boolean() {
    const char c = peek();
    const std::string_view word = c == 't' ? "true" : "false";
    if (std::string_view(p_, static_cast<size_t>(end_ - p_)).substr(0, word.size()) != word) fail("expected true or false" + found());
    p_ += word.size();
    return c == 't';
  }

  // Skips one value of any kind and returns its text. Checks strings and that brackets pair, no more.
  std::string_view skip() {
    peek();
    const char* start = p_;
    std::string open;
    do {
      const char c = peek();
      if (c == '"') {
        string();
      } else if (c == '{' || c == '[') {
        open += c == '{' ? '}' : ']';
        ++p_;
        continue;
      } else if (!open.empty() && c == open.back()) {
        open.pop_back();
        ++p_;
      } else if (c != '\0' && std::string_view(",:]}").find(c) == std::string_view::npos) {
        while (p_ < end_ && std::string_view(",:]}[{\" \n\r\t").find(*p_) == std::string_view::npos) ++p_;
      } else if (!open.empty() && (c == ',' || c == ':')) {
        ++p_;
      } else {
        fail("expected a value" + found());
      }
    } while (!open.empty());
    return {start, static_cast<size_t>(p_ - start)};
  }

  void finish() {
    if (peek() != '\0' || p_ != end_) fail("more text after the end" + found());
  }

 private:
  std::string found() {
    const char c = peek();
    if (p_ == end_) return ", found the end of the file";
    if (c >= 0x20 && c < 0x7F) return std::string(", found '") + c + "'";
    return ", found the byte " + std::to_string(static_cast<uint8_t>(c));
  }

  uint32_t hex4() {
    uint32_t code = 0;
    for (int i = 0; i < 4; ++i) {
      const char c = p_ < end_ ? *p_++ : '\0';
      code = code << 4;
      if (c >= '0' && c <= '9') {
        code |= static_cast<uint32_t>(c - '0');
      } else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') {
        code |= static_cast<uint32_t>((c | 0x20) - 'a' + 10);
      } else {
        fail("\\u needs four hexadecimal digits");
      }
    }
    return code;
  }

  void escape() {
    const char c = p_ < end_ ? *p_++ : '\0';
    switch (c) {
      case '"': case '\\': case '/': buffer_ += c; return;
      case 'b': buffer_ += '\b'; return;
      case 'f': buffer_ += '\f'; return;
      case 'n': buffer_ += '\n'; return;
      case 'r': buffer_ += '\r'; return;
      case 't': buffer_ += '\t'; return;
      case 'u': break;
      default: fail("an unknown escape in a string");
    }
    uint32_t code = hex4();
    if (code >= 0xD800 && code < 0xE000) {
      if (code >= 0xDC00 || end_ - p_ < 2 || p_[0] != '\\' || p_[1] != 'u') fail("half a surrogate pair in a string");
      p_ += 2;
      const uint32_t low = hex4();
      if (low < 0xDC00 || low >= 0xE000) fail("half a surrogate pair in a string");
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    if (code < 0x80) {
      buffer_ += static_cast<char>(code);
    } else if (code < 0x800) {
      buffer_ += static_cast<char>(0xC0 | code >> 6);
      buffer_ += static_cast<char>(0x80 | (code & 63));
    } else if (code < 0x10000) {
      buffer_ += static_cast<char>(0xE0 | code >> 12);
      buffer_ += static_cast<char>(0x80 | (code >> 6 & 63));
      buffer_ += static_cast<char>(0x80 | (code & 63));
    } else {
      buffer_ += static_cast<char>(0xF0 | code >> 18);
      buffer_ += static_cast<char>(0x80 | (code >> 12 & 63));
      buffer_ += static_cast<char>(0x80 | (code >> 6 & 63));
      buffer_ += static_cast<char>(0x80 | (code & 63));
    }
  }

  const char* p_;
  const char* end_;
  std::string file_;
  std::string buffer_;
  uint32_t line_ = 1;
};

}  // namespace nextword
