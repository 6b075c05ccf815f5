#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <string_view>

#include "rpc/method.h"

namespace virtufin::rpc {

/// A serialised message, immutable, shared by pointer.
///
/// A server may keep its own form of the bytes beside them, so that a message that goes to a
/// hundred streams is converted once. Threads: any.
class Bytes {
 public:
  /// What a server keeps beside the bytes.
  struct Companion {
    virtual ~Companion() = default;
  };

  explicit Bytes(std::string content) : content_(std::move(content)), view_(content_) {}
  virtual ~Bytes() { delete companion_.load(std::memory_order_relaxed); }
  Bytes(const Bytes&) = delete;
  Bytes& operator=(const Bytes&) = delete;

  std::string_view view() const { return view_; }

  const Companion* companion() const { return companion_.load(std::memory_order_acquire); }
  /// The first one stays; answers the one that stayed.
  const Companion* keep(std::unique_ptr<const Companion> companion) const;

 protected:
  /// For bytes that live elsewhere, as long as the derived object.
  Bytes() = default;
  void set_view(std::string_view view) { view_ = view; }

 private:
  std::string content_;
  std::string_view view_;
  mutable std::atomic<const Companion*> companion_{nullptr};
};

}  // namespace virtufin::rpc
