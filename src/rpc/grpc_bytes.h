#pragma once

#include <grpcpp/support/byte_buffer.h>

#include <memory>

#include "rpc/bytes.h"

namespace virtufin::rpc {

/// Bytes that came in over gRPC: the received slice itself, nothing copied unless it came in
/// pieces.
class ReceivedBytes final : public Bytes {
 public:
  ReceivedBytes() = default;
  explicit ReceivedBytes(grpc::ByteBuffer& buffer) { take(buffer); }
  void take(grpc::ByteBuffer& buffer);

 private:
  grpc::Slice slice_;
};

/// The bytes as gRPC sends them; made once for messages that go to several streams.
const grpc::ByteBuffer& shared_buffer(const Bytes& bytes);

/// The same for a message that is sent once.
grpc::ByteBuffer make_buffer(const Bytes& bytes);

}  // namespace virtufin::rpc
