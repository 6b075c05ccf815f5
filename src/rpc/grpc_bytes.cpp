#include "rpc/grpc_bytes.h"

namespace virtufin::rpc {
namespace {

struct GrpcForm final : Bytes::Companion {
  explicit GrpcForm(grpc::ByteBuffer made) : buffer(std::move(made)) {}
  grpc::ByteBuffer buffer;
};

}  // namespace

void ReceivedBytes::take(grpc::ByteBuffer& buffer) {
  if (!buffer.TrySingleSlice(&slice_).ok() && !buffer.DumpToSingleSlice(&slice_).ok()) return;
  // Small slices hold their bytes inside, so the view is taken of the member.
  set_view({reinterpret_cast<const char*>(slice_.begin()), slice_.size()});
}

grpc::ByteBuffer make_buffer(const Bytes& bytes) {
  const std::string_view content = bytes.view();
  const grpc::Slice slice(content.data(), content.size());
  return grpc::ByteBuffer(&slice, 1);
}

const grpc::ByteBuffer& shared_buffer(const Bytes& bytes) {
  const Bytes::Companion* kept = bytes.companion();
  if (kept == nullptr) kept = bytes.keep(std::make_unique<GrpcForm>(make_buffer(bytes)));
  return static_cast<const GrpcForm*>(kept)->buffer;
}

}  // namespace virtufin::rpc
