#pragma once

namespace virtufin::rpc {

/// What a completion queue gives back.
class CompletionTag {
 public:
  virtual void run(bool ok) = 0;

 protected:
  ~CompletionTag() = default;
};

}  // namespace virtufin::rpc
