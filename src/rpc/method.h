#pragma once

#include <absl/functional/any_invocable.h>
#include <absl/status/statusor.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
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
/// Threads: find(), list() and version() from any thread without locking; changes are rare and wait
/// for each other and for the readers of a moment.
class MethodTable {
 public:
  MethodTable();
  ~MethodTable();
  MethodTable(const MethodTable&) = delete;
  MethodTable& operator=(const MethodTable&) = delete;

  /// Adds a method of a local service; `Request` and `Reply` are its generated messages. Handlers
  /// run on several threads at once, reply once, now or later, and must not block or throw. The
  /// request lives until the reply was given or the stream let go. Throws std::logic_error if the
  /// protos know no such method or it has other messages: a mistake in our own source.
  template <class Request, class Reply>
  void unary(std::string_view full_name,
             absl::AnyInvocable<void(CallPtr, const Request&, ReplyTo<Reply>) const> handler);
  template <class Request>
  void server_stream(
      std::string_view full_name,
      absl::AnyInvocable<void(CallPtr, const Request&, std::shared_ptr<ServerStream>) const>
          handler);
  /// Takes the place of a row of the same full name.
  void add(MethodPtr method);
  void remove(std::string_view full_name);

  /// By `package.Service/Method`, `Service/Method` or `Method`. NOT_FOUND names the nearest
  /// methods; a shorter name that two services have is INVALID_ARGUMENT with both.
  absl::StatusOr<MethodPtr> find(std::string_view name) const;
  /// Exactly that full name, or nothing: what a call on the wire names.
  MethodPtr find_exact(std::string_view full_name) const;
  std::vector<MethodPtr> list() const;  ///< by full name
  /// Another number after every change, so that what was derived from list() is known to be stale.
  std::uint64_t version() const { return version_.load(std::memory_order_acquire); }

 private:
  struct Snapshot;
  class Reading;
  template <class Change>
  void change(Change&& change);

  std::mutex changes_;
  std::atomic<const Snapshot*> current_;
  // Readers count themselves in on one of two counters; a change swaps the snapshot, turns new
  // readers to the other counter and waits until the old one is at zero.
  mutable std::atomic<std::uint32_t> epoch_{0};
  struct alignas(64) Readers {
    std::atomic<std::uint32_t> count{0};
  };
  mutable Readers readers_[2];
  std::atomic<std::uint64_t> version_{1};
};

}  // namespace virtufin::rpc

#include "rpc/local_method.h"  // the templates
