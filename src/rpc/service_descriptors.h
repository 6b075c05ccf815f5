#pragma once

#include <absl/status/statusor.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/message.h>

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace virtufin::rpc {

/// What is known about the services of another process: from its reflection, or from the protos
/// that are linked into this one. Files that both know alike are the linked ones, whose messages
/// are the generated classes; else the whole set has a pool of its own.
///
/// Immutable; threads: any. Messages that it makes do not outlive it.
class ServiceDescriptors {
 public:
  using Files = std::map<std::string, google::protobuf::FileDescriptorProto>;  ///< by name

  /// INVALID_ARGUMENT if the files are no whole, or lack a service.
  static absl::StatusOr<std::shared_ptr<const ServiceDescriptors>> from_files(
      const Files& files, const std::vector<std::string>& services);
  /// Of the linked protos; services that they do not have are left out.
  static std::shared_ptr<const ServiceDescriptors> linked(const std::vector<std::string>& services);

  const std::vector<const google::protobuf::ServiceDescriptor*>& services() const {
    return services_;
  }
  std::unique_ptr<google::protobuf::Message> make(const google::protobuf::Descriptor* type) const;

 private:
  ServiceDescriptors();

  std::unique_ptr<google::protobuf::DescriptorPool> pool_;  ///< null: the linked one
  std::unique_ptr<google::protobuf::MessageFactory> factory_;
  std::vector<const google::protobuf::ServiceDescriptor*> services_;
};

/// `package.Service/Method`.
std::string full_name(const google::protobuf::MethodDescriptor& method);

}  // namespace virtufin::rpc
