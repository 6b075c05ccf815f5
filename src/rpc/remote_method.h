#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "rpc/backend.h"
#include "rpc/method.h"
#include "rpc/service_descriptors.h"

namespace virtufin::rpc {

/// A row that belongs to another process: bytes go through unparsed.
///
/// Threads: any.
class RemoteMethod final : public Method {
 public:
  RemoteMethod(std::shared_ptr<Backend> backend,
               std::shared_ptr<const ServiceDescriptors> descriptors,
               const google::protobuf::MethodDescriptor* descriptor);

  std::string_view full_name() const override { return full_name_; }
  const google::protobuf::MethodDescriptor* descriptor() const override { return descriptor_; }
  const Backend& backend() const { return *backend_; }

  void call(CallPtr call, BytesPtr request, std::shared_ptr<ServerStream> replies) const override;
  /// The reply does not outlive the row.
  void call(CallPtr call, const google::protobuf::Message& request,
            ReplyTo<std::unique_ptr<google::protobuf::Message>> reply) const override;

 private:
  const std::shared_ptr<Backend> backend_;
  const std::shared_ptr<const ServiceDescriptors> descriptors_;
  const google::protobuf::MethodDescriptor* const descriptor_;
  const std::string full_name_;
  const std::string path_;  ///< `/package.Service/Method`
};

}  // namespace virtufin::rpc
