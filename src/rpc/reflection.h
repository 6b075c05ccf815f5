#pragma once

#include <google/protobuf/descriptor.h>

#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "grpc/reflection/v1/reflection.pb.h"
#include "rpc/method.h"

namespace virtufin::rpc {

/// Server reflection over the table: everything that can be reached from the rows' descriptors and
/// from the server's own services. One a stream: a file that was sent on it is not sent again.
///
/// v1 and v1alpha have the same messages on the wire; v1's are used for both.
/// Threads: one at a time.
class Reflection {
 public:
  /// `own`: services that the server answers itself (health, reflection).
  Reflection(const MethodTable& methods,
             std::vector<const google::protobuf::ServiceDescriptor*> own);

  grpc::reflection::v1::ServerReflectionResponse answer(
      const grpc::reflection::v1::ServerReflectionRequest& request);

 private:
  void refresh();
  void reach(const google::protobuf::FileDescriptor* file);
  const google::protobuf::FileDescriptor* file_of_symbol(const std::string& symbol) const;
  const google::protobuf::Descriptor* message(const std::string& name) const;
  void send(const google::protobuf::FileDescriptor* file,
            grpc::reflection::v1::FileDescriptorResponse& out);

  const MethodTable& methods_;
  const std::vector<const google::protobuf::ServiceDescriptor*> own_;
  std::uint64_t version_ = 0;  ///< of the table that what follows is made of
  std::vector<std::string> services_;
  std::vector<const google::protobuf::FileDescriptor*> files_;
  std::unordered_set<std::string> reached_;
  std::unordered_set<std::string> sent_;
  std::vector<MethodPtr> rows_;  ///< keep their descriptors alive
};

}  // namespace virtufin::rpc
