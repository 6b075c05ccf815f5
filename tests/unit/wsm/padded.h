#pragma once

#include <string>
#include <string_view>

#include "modules/wsm/feeds/levels.h"

namespace virtufin::wsm::test {

/// A text with the padding that readers in place need.
class Padded {
 public:
  explicit Padded(std::string text) : size_(text.size()), text_(std::move(text)) {
    text_.resize(size_ + kReadPadding);
  }
  std::string_view view() const { return std::string_view(text_).substr(0, size_); }

 private:
  std::size_t size_;
  std::string text_;
};

}  // namespace virtufin::wsm::test
