#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <span>
#include <type_traits>

#include "core/event_fields.h"

namespace virtufin::workmanager {

/// Extensions on their way from a worker's buffer into an event: on the stack unless there are
/// many. Neither cleared before nor grown, because an output's list is made twice on the shortest
/// path that there is.
class ExtensionList {
 public:
  /// Room for so many.
  explicit ExtensionList(std::size_t capacity) {
    if (capacity <= kFew) {
      data_ = reinterpret_cast<Extension*>(few_);
    } else {
      many_ = std::make_unique<Extension[]>(capacity);
      data_ = many_.get();
    }
  }
  ExtensionList(const ExtensionList&) = delete;
  ExtensionList& operator=(const ExtensionList&) = delete;

  void add(const Extension& extension) { ::new (data_ + count_++) Extension(extension); }
  std::span<const Extension> view() const { return {data_, count_}; }

 private:
  static constexpr std::size_t kFew = 32;
  static_assert(std::is_trivially_destructible_v<Extension>);

  alignas(Extension) std::byte few_[kFew * sizeof(Extension)];
  std::unique_ptr<Extension[]> many_;
  Extension* data_;
  std::size_t count_ = 0;
};

}  // namespace virtufin::workmanager
