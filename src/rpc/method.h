#pragma once

#include <absl/functional/any_invocable.h>
#include <absl/status/statusor.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace virtufin::rpc {

/// What travels beside a request, however the call came in: gRPC, REST, gRPC-Web, a worker.
class Call {
 public:
  virtual ~Call() = default;
  virtual std::chrono::steady_clock::time_point deadline() const = 0;
  virtual std::string_view metadata(std::string_view key) const = 0;  ///< empty if absent
  virtual bool cancelled() const = 0;
  virtual void on_cancel(absl::AnyInvocable<void()> callback) = 0;
};
using CallPtr = std::shared_ptr<Call>;

/// One serialised message, shared between the streams that it goes to; what each server makes of it
/// (a gRPC byte buffer) is made once and kept beside it.
class Bytes;
using BytesPtr = std::shared_ptr<const Bytes>;
BytesPtr make_bytes(std::string serialised);
BytesPtr make_bytes(const google::protobuf::Message& message);
std::string_view view(const Bytes& bytes);

/// The sending end of a server stream. One write at a time: `written` says when the next may come.
class ServerStream {
 public:
  virtual ~ServerStream() = default;
  /// Initial metadata, sent at once; at most once, before the first write. Keys in lower case.
  virtual void start(std::vector<std::pair<std::string, std::string>> metadata) = 0;
  virtual void write(BytesPtr message, absl::AnyInvocable<void(absl::Status)> written) = 0;
  virtual void finish(absl::Status status) = 0;
};

template <class Reply>
using ReplyTo = absl::AnyInvocable<void(absl::StatusOr<Reply>)>;

/// One RPC of this process or of a backend: a row of the table.
class Method {
 public:
  virtual ~Method() = default;
  virtual std::string_view full_name() const = 0;  ///< `package.Service/Method`
  virtual const google::protobuf::MethodDescriptor* descriptor() const = 0;

  /// Any row, on bytes; a unary one writes once. A remote row passes them through unparsed.
  virtual void call(CallPtr, BytesPtr request, std::shared_ptr<ServerStream> replies) const = 0;

  /// A unary row on messages; a local one serialises nothing. The request lives until the reply.
  virtual void call(CallPtr, const google::protobuf::Message& request,
                    ReplyTo<std::unique_ptr<google::protobuf::Message>> reply) const = 0;
};
using MethodPtr = std::shared_ptr<const Method>;

/// Every RPC that this process can answer. Modules add theirs when they are built; backends come
/// and go. Bidirectional rows come with the gateway's proxy.
///
/// Read by the gRPC and HTTP servers, gRPC-Web, Invoke, `gateway_call`, reflection, API docs.
/// Threads: find() and list() from any thread without locking; changes are rare.
class MethodTable {
 public:
  /// Adds a method of a local service; `Request` and `Reply` are its generated messages. Handlers
  /// run on several threads at once, reply once, now or later, and must not block. The request
  /// lives until the reply was given or the stream finished.
  template <class Request, class Reply>
  void unary(std::string_view full_name,
             absl::AnyInvocable<void(CallPtr, const Request&, ReplyTo<Reply>) const> handler);
  template <class Request>
  void server_stream(std::string_view full_name,
                     absl::AnyInvocable<void(CallPtr, const Request&,
                                             std::shared_ptr<ServerStream>) const> handler);
  void add(MethodPtr method);
  void remove(std::string_view full_name);

  /// NOT_FOUND names the nearest methods; a bare name that two services have is INVALID_ARGUMENT
  /// with both.
  absl::StatusOr<MethodPtr> find(std::string_view name) const;
  std::vector<MethodPtr> list() const;
};

}  // namespace virtufin::rpc
