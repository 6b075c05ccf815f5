#include "rpc/service_descriptors.h"

#include <google/protobuf/dynamic_message.h>

#include <set>

#include "core/errors.h"
#include "core/log.h"

namespace virtufin::rpc {
namespace {

namespace pb = google::protobuf;
using Files = ServiceDescriptors::Files;

/// Collects what protobuf says of files that do not fit; the first complaint is told.
class Complaints final : public pb::DescriptorPool::ErrorCollector {
 public:
  void AddError(const std::string& file, const std::string& element, const pb::Message*,
                ErrorLocation, const std::string& what) override {
    if (first_.empty()) first_ = fmt::format("{}: {}: {}", file, element, what);
  }
  const std::string& first() const { return first_; }

 private:
  std::string first_;
};

/// Whether the linked protos have that file and all that it imports, the same word for word.
bool linked_alike(const Files& files, const std::string& name, std::set<std::string>& seen) {
  if (!seen.insert(name).second) return true;
  const pb::FileDescriptor* linked = pb::DescriptorPool::generated_pool()->FindFileByName(name);
  const auto told = files.find(name);
  if (linked == nullptr || told == files.end()) return false;
  pb::FileDescriptorProto ours;
  linked->CopyTo(&ours);
  if (ours.SerializeAsString() != told->second.SerializeAsString()) return false;
  for (const std::string& dependency : told->second.dependency()) {
    if (!linked_alike(files, dependency, seen)) return false;
  }
  return true;
}

/// Adds a file after those that it imports. protobuf itself refuses cycles and strangers.
absl::Status add_file(const Files& files, const std::string& name, std::set<std::string>& begun,
                      pb::DescriptorPool& pool) {
  if (!begun.insert(name).second) return absl::OkStatus();
  const auto found = files.find(name);
  if (found == files.end()) return invalid_argument("file {} is missing", printable(name));
  for (const std::string& dependency : found->second.dependency()) {
    VIRTUFIN_RETURN_IF_ERROR(add_file(files, dependency, begun, pool));
  }
  Complaints complaints;
  if (pool.BuildFileCollectingErrors(found->second, &complaints) == nullptr) {
    return invalid_argument("{}", printable(complaints.first()));
  }
  return absl::OkStatus();
}

}  // namespace

ServiceDescriptors::ServiceDescriptors() = default;

std::shared_ptr<const ServiceDescriptors> ServiceDescriptors::linked(
    const std::vector<std::string>& services) {
  std::shared_ptr<ServiceDescriptors> made(new ServiceDescriptors);
  for (const std::string& name : services) {
    const auto* service = pb::DescriptorPool::generated_pool()->FindServiceByName(name);
    if (service != nullptr) made->services_.push_back(service);
  }
  return made;
}

absl::StatusOr<std::shared_ptr<const ServiceDescriptors>> ServiceDescriptors::from_files(
    const Files& files, const std::vector<std::string>& services) {
  std::set<std::string> seen;
  bool alike = true;
  for (const auto& [name, file] : files) alike = alike && linked_alike(files, name, seen);
  std::shared_ptr<ServiceDescriptors> made(new ServiceDescriptors);
  const pb::DescriptorPool* pool = pb::DescriptorPool::generated_pool();
  if (!alike) {
    made->pool_ = std::make_unique<pb::DescriptorPool>();
    made->factory_ = std::make_unique<pb::DynamicMessageFactory>(made->pool_.get());
    pool = made->pool_.get();
    std::set<std::string> begun;
    for (const auto& [name, file] : files) {
      VIRTUFIN_RETURN_IF_ERROR(add_file(files, name, begun, *made->pool_));
    }
  }
  for (const std::string& name : services) {
    const auto* service = pool->FindServiceByName(name);
    if (service == nullptr) {
      return invalid_argument("no file defines service {}", printable(name));
    }
    made->services_.push_back(service);
  }
  return std::shared_ptr<const ServiceDescriptors>(std::move(made));
}

std::unique_ptr<pb::Message> ServiceDescriptors::make(const pb::Descriptor* type) const {
  pb::MessageFactory* factory = factory_ ? factory_.get() : pb::MessageFactory::generated_factory();
  return std::unique_ptr<pb::Message>(factory->GetPrototype(type)->New());
}

std::string full_name(const pb::MethodDescriptor& method) {
  return fmt::format("{}/{}", method.service()->full_name(), method.name());
}

}  // namespace virtufin::rpc
