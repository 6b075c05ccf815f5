#include "rpc/reflection.h"

#include <google/protobuf/descriptor.pb.h>

#include <algorithm>

#include "core/errors.h"
#include "core/log.h"

namespace virtufin::rpc {
namespace {

namespace pb = google::protobuf;
using grpc::reflection::v1::ServerReflectionRequest;
using grpc::reflection::v1::ServerReflectionResponse;

}  // namespace

Reflection::Reflection(const MethodTable& methods, std::vector<const pb::ServiceDescriptor*> own)
    : methods_(methods), own_(std::move(own)) {}

void Reflection::refresh() {
  const std::uint64_t version = methods_.version();
  if (version == version_) return;
  version_ = version;
  services_.clear();
  files_.clear();
  reached_.clear();
  rows_ = methods_.list();
  const auto add = [&](const pb::ServiceDescriptor* service) {
    services_.push_back(service->full_name());
    reach(service->file());
  };
  for (const pb::ServiceDescriptor* service : own_) add(service);
  for (const MethodPtr& row : rows_) add(row->descriptor()->service());
  std::sort(services_.begin(), services_.end());
  services_.erase(std::unique(services_.begin(), services_.end()), services_.end());
}

void Reflection::reach(const pb::FileDescriptor* file) {
  // Two backends may each have a file of one name: the first one wins.
  if (!reached_.insert(file->name()).second) return;
  files_.push_back(file);
  for (int i = 0; i < file->dependency_count(); ++i) reach(file->dependency(i));
}

const pb::FileDescriptor* Reflection::file_of_symbol(const std::string& symbol) const {
  for (const pb::FileDescriptor* file : files_) {
    const pb::FileDescriptor* found = file->pool()->FindFileContainingSymbol(symbol);
    if (found != nullptr && reached_.count(found->name()) != 0) return found;
  }
  return nullptr;
}

const pb::Descriptor* Reflection::message(const std::string& name) const {
  const pb::FileDescriptor* file = file_of_symbol(name);
  return file == nullptr ? nullptr : file->pool()->FindMessageTypeByName(name);
}

void Reflection::send(const pb::FileDescriptor* file,
                      grpc::reflection::v1::FileDescriptorResponse& out) {
  if (!sent_.insert(file->name()).second) return;
  for (int i = 0; i < file->dependency_count(); ++i) send(file->dependency(i), out);
  pb::FileDescriptorProto proto;
  file->CopyTo(&proto);
  out.add_file_descriptor_proto(proto.SerializeAsString());
}

ServerReflectionResponse Reflection::answer(const ServerReflectionRequest& request) {
  refresh();
  ServerReflectionResponse response;
  response.set_valid_host(request.host());
  *response.mutable_original_request() = request;
  const auto refuse = [&](const absl::Status& status) {
    response.mutable_error_response()->set_error_code(static_cast<int>(status.code()));
    response.mutable_error_response()->set_error_message(std::string(virtufin::message(status)));
  };
  // A file that is asked for by itself is always sent, its dependencies once a stream.
  const auto answer_file = [&](const pb::FileDescriptor* file) {
    sent_.erase(file->name());
    send(file, *response.mutable_file_descriptor_response());
  };

  switch (request.message_request_case()) {
    case ServerReflectionRequest::kListServices:
      response.mutable_list_services_response();
      for (const std::string& name : services_) {
        response.mutable_list_services_response()->add_service()->set_name(name);
      }
      break;
    case ServerReflectionRequest::kFileByFilename: {
      const auto found =
          std::find_if(files_.begin(), files_.end(), [&](const pb::FileDescriptor* file) {
            return file->name() == request.file_by_filename();
          });
      if (found != files_.end()) {
        answer_file(*found);
      } else {
        refuse(not_found("no file {}", printable(request.file_by_filename())));
      }
      break;
    }
    case ServerReflectionRequest::kFileContainingSymbol:
      if (const pb::FileDescriptor* file = file_of_symbol(request.file_containing_symbol())) {
        answer_file(file);
      } else {
        refuse(not_found("no symbol {}", printable(request.file_containing_symbol())));
      }
      break;
    case ServerReflectionRequest::kFileContainingExtension: {
      const auto& wanted = request.file_containing_extension();
      const pb::Descriptor* type = message(wanted.containing_type());
      const pb::FieldDescriptor* extension =
          type == nullptr
              ? nullptr
              : type->file()->pool()->FindExtensionByNumber(type, wanted.extension_number());
      if (extension != nullptr && reached_.count(extension->file()->name()) != 0) {
        answer_file(extension->file());
      } else {
        refuse(not_found("no extension {} of {}", wanted.extension_number(),
                         printable(wanted.containing_type())));
      }
      break;
    }
    case ServerReflectionRequest::kAllExtensionNumbersOfType: {
      const std::string& name = request.all_extension_numbers_of_type();
      const pb::Descriptor* type = message(name);
      if (type == nullptr) {
        refuse(not_found("no message {}", printable(name)));
        break;
      }
      auto& numbers = *response.mutable_all_extension_numbers_response();
      numbers.set_base_type_name(name);
      std::vector<const pb::FieldDescriptor*> extensions;
      type->file()->pool()->FindAllExtensions(type, &extensions);
      for (const pb::FieldDescriptor* extension : extensions) {
        if (reached_.count(extension->file()->name()) != 0) {
          numbers.add_extension_number(extension->number());
        }
      }
      break;
    }
    case ServerReflectionRequest::MESSAGE_REQUEST_NOT_SET:
      refuse(
          invalid_argument("the request asks for nothing: set one of list_services, "
                           "file_by_filename, file_containing_symbol, "
                           "file_containing_extension, all_extension_numbers_of_type"));
      break;
  }
  return response;
}

}  // namespace virtufin::rpc
