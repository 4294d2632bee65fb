// SPDX-License-Identifier: Apache-2.0
//
// What a view of a layer is: `LAYER:only=GLOB` keeps a part of it, `LAYER:at=/prefix` moves its
// root. Here is how one is written; stager/view.h makes the layer.
//
// As text, a view is "at=/prefix", "only=GLOB", or several of them with ":" between. The canonical
// form, which dependency sets hold and keys are made of, has at= first and the globs sorted, each
// once.
//
// Globs are matched against the layer's own paths, as bytes, without a leading '/' and before at=
// moves them: `*` is any text without a '/', `**` any text at all (`a/**/b` also matches a/b), `?`
// one byte that is no '/', `[a-z_]` one of these, `[!a-z]` any other but '/', and `\` takes the
// next byte as it is. A directory that matches brings all that is below it. Of several only=, what
// any of them matches is kept.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace strata {

// A compiled pattern. Immutable; the time of a match is at most the product of both lengths.
class Glob {
 public:
  static Result<Glob> Parse(std::string_view text);
  bool Matches(std::string_view path) const;
  const std::string& text() const { return text_; }  // without leading and trailing '/'

 private:
  struct Token {
    // kMaybe: what follows up to and with the next '/' may be missing.
    enum class Kind : uint8_t { kByte, kAny, kSet, kStar, kGlobstar, kMaybe };
    Kind kind = Kind::kByte;
    uint8_t byte = 0;
    uint16_t set = 0;  // index into sets_
  };
  using ByteSet = std::vector<bool>;  // 256

  Result<size_t> ParseSet(std::string_view text, size_t at);
  bool Takes(const Token& token, uint8_t byte) const;

  std::string text_;
  std::vector<Token> tokens_;
  std::vector<ByteSet> sets_;
};

struct View {
  std::string at;          // "opt/tool"; empty: the root stays where it is
  std::vector<Glob> only;  // sorted by their text; empty: everything

  bool Keeps(std::string_view path) const;  // whether a glob matches it
  std::string Canonical() const;            // empty where it changes nothing
};

// "at=/opt:only=usr/**". kInvalid says which part is wrong.
Result<View> ParseView(std::string_view text);

// Where in `LAYER:at=...` the view starts: the place of its ':', else npos.
size_t FindView(std::string_view layer);

}  // namespace strata
