#pragma once

#include <grpcpp/alarm.h>
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <vector>

#include "rpc/call_metrics.h"
#include "rpc/completion_tag.h"
#include "rpc/grpc_bytes.h"
#include "rpc/local_call.h"
#include "rpc/method.h"

namespace virtufin::rpc {

class GrpcCall;

/// Memory of ended calls, kept for the next ones: a call is some kilobytes, which malloc takes its
/// time for. Bounded; all blocks have one size, that of the first.
///
/// Threads: any.
class BlockCache {
 public:
  ~BlockCache();
  void* take(std::size_t bytes);
  void give(void* block);

 private:
  static constexpr std::size_t kKept = 256;
  std::mutex mutex_;
  std::vector<void*> blocks_;
};

/// std::allocate_shared's door to it.
template <class T>
struct BlockAllocator {
  using value_type = T;
  explicit BlockAllocator(std::shared_ptr<BlockCache> block_cache)
      : cache(std::move(block_cache)) {}
  template <class U>
  BlockAllocator(const BlockAllocator<U>& other) : cache(other.cache) {}
  T* allocate(std::size_t) { return static_cast<T*>(cache->take(sizeof(T))); }
  void deallocate(T* block, std::size_t) { cache->give(block); }
  template <class U>
  bool operator==(const BlockAllocator<U>& other) const {
    return cache == other.cache;
  }
  std::shared_ptr<BlockCache> cache;
};

/// What the calls of one server share. Outlives the server while a handler still holds a call.
struct GrpcShared {
  grpc::GrpcLibraryCodegen library;  ///< first: gRPC stays initialised until the last call is gone
  grpc::AsyncGenericService service;
  std::unique_ptr<grpc::ServerCompletionQueue> queue;
  /// Given every call that arrives, on the queue's thread.
  std::function<void(std::shared_ptr<GrpcCall>)> arrived;
  std::atomic<std::int64_t> live{0};  ///< calls that arrived and are not over
  std::shared_ptr<BlockCache> blocks = std::make_shared<BlockCache>();
};

/// One gRPC call: reads its request, hands it on, sends what comes back, one operation at a time.
///
/// Life: held by its outstanding operations and by whoever answers; over when gRPC says so
/// (`done`), and from then on it starts no operation. Threads: arrival, reading and done on the
/// queue's thread; the answering side from any.
class GrpcCall final : public Call, public std::enable_shared_from_this<GrpcCall> {
 public:
  /// A message of the client's, or nothing at the end of its messages.
  using OnMessage = absl::AnyInvocable<void(std::shared_ptr<const Bytes>)>;

  explicit GrpcCall(std::shared_ptr<GrpcShared> shared);
  /// Waits for the next call of the server.
  static void accept(const std::shared_ptr<GrpcShared>& shared);

  std::string_view path() const { return context_.method(); }  ///< `/package.Service/Method`
  void measure(std::shared_ptr<MethodStats> stats) { stats_ = std::move(stats); }
  /// Answers one request by a row of the table.
  void serve(MethodPtr method);
  /// Hands every message to `on_message`, each read asked for by read_next().
  void serve(OnMessage on_message);
  void read_next();

  std::chrono::steady_clock::time_point deadline() const override;
  std::string_view metadata(std::string_view key) const override;
  bool cancelled() const override { return cancellation_.cancelled(); }
  void on_cancel(absl::AnyInvocable<void()> callback) override {
    cancellation_.on_cancel(std::move(callback));
  }
  bool over() const { return over_.load(std::memory_order_acquire); }

  void start(std::vector<std::pair<std::string, std::string>> metadata);
  void write(BytesPtr message, absl::AnyInvocable<void(absl::Status)> written);
  void finish(absl::Status status);

 private:
  enum class Sending { kNothing, kMetadata, kMessage, kStatus };
  using Written = absl::AnyInvocable<void(absl::Status)>;
  struct Tag final : CompletionTag {
    Tag(GrpcCall* owner, void (GrpcCall::*step)(bool)) : call(owner), done(step) {}
    void run(bool ok) override {
      const std::shared_ptr<GrpcCall> alive = std::move(keep);
      (call->*done)(ok);
    }
    void* armed() {
      keep = call->shared_from_this();
      return static_cast<CompletionTag*>(this);
    }
    GrpcCall* const call;
    void (GrpcCall::*const done)(bool);
    std::shared_ptr<GrpcCall> keep;  ///< while gRPC has the tag
  };

  void on_accepted(bool ok);
  void on_read(bool ok);
  void on_sent(bool ok);
  void on_done(bool ok);
  void send_next();  ///< under mutex_
  void record(absl::StatusCode code);

  const std::shared_ptr<GrpcShared> shared_;
  grpc::GenericServerContext context_;
  grpc::GenericServerAsyncReaderWriter stream_;
  grpc::ByteBuffer received_;
  ReceivedBytes request_;  ///< of a row
  Tag accepted_{this, &GrpcCall::on_accepted};
  Tag read_{this, &GrpcCall::on_read};
  Tag sent_{this, &GrpcCall::on_sent};
  Tag done_{this, &GrpcCall::on_done};

  MethodPtr method_;
  bool unary_ = false;
  OnMessage on_message_;
  std::shared_ptr<MethodStats> stats_;
  std::chrono::steady_clock::time_point began_;
  Cancellation cancellation_;
  std::atomic<bool> over_{false};

  std::mutex mutex_;  // of what follows; never held across a callback
  Sending sending_ = Sending::kNothing;
  bool metadata_waits_ = false;
  bool finished_ = false;  ///< finish() was called
  BytesPtr message_;       ///< to be written, or a unary call's reply until finish()
  Written written_;
  std::optional<grpc::Status> status_;  ///< to be sent
};

/// The answering side as handlers hold it: letting go of it unfinished ends the call with INTERNAL.
class GrpcReplies final : public ServerStream {
 public:
  explicit GrpcReplies(std::shared_ptr<GrpcCall> call) : call_(std::move(call)) {}
  ~GrpcReplies() override;
  void start(std::vector<std::pair<std::string, std::string>> metadata) override {
    call_->start(std::move(metadata));
  }
  void write(BytesPtr message, absl::AnyInvocable<void(absl::Status)> written) override {
    call_->write(std::move(message), std::move(written));
  }
  void finish(absl::Status status) override { call_->finish(std::move(status)); }

 private:
  const std::shared_ptr<GrpcCall> call_;
};

}  // namespace virtufin::rpc
