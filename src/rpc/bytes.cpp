#include "rpc/bytes.h"

namespace virtufin::rpc {

const Bytes::Companion* Bytes::keep(std::unique_ptr<const Companion> companion) const {
  const Companion* kept = nullptr;
  if (companion_.compare_exchange_strong(kept, companion.get(), std::memory_order_acq_rel,
                                         std::memory_order_acquire)) {
    kept = companion.release();
  }
  return kept;
}

BytesPtr make_bytes(std::string serialised) {
  return std::make_shared<const Bytes>(std::move(serialised));
}

BytesPtr make_bytes(const google::protobuf::Message& message) {
  return make_bytes(message.SerializeAsString());
}

std::string_view view(const Bytes& bytes) { return bytes.view(); }

}  // namespace virtufin::rpc
