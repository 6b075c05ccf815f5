#include "rpc/remote_call.h"

#include <grpc/support/time.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <mutex>

#include "core/errors.h"
#include "core/log.h"
#include "rpc/grpc_bytes.h"

namespace virtufin::rpc {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

/// Of the caller's metadata what is for tracing and pairing goes on, and nothing else: above all no
/// keys.
constexpr std::array<std::string_view, 4> kForwarded{"traceparent", "tracestate", "baggage",
                                                     "correlationid"};
constexpr char kHops[] = "virtufin-hops";

gpr_timespec to_gpr(steady_clock::time_point time) {
  if (time == steady_clock::time_point::max()) return gpr_inf_future(GPR_CLOCK_MONOTONIC);
  const auto left =
      std::chrono::duration_cast<std::chrono::nanoseconds>(time - steady_clock::now());
  return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                      gpr_time_from_nanos(left.count(), GPR_TIMESPAN));
}

int hops_of(const Call& call) {
  const std::string_view text = call.metadata(kHops);
  int hops = 0;
  std::from_chars(text.data(), text.data() + text.size(), hops);
  return std::max(hops, 0);
}

absl::Status refuse_circle(const Call& call, const std::string& path) {
  if (hops_of(call) < kMaxHops) return absl::OkStatus();
  return failed_precondition(
      "{} went through {} processes and was answered by none: do their gateway.services point at "
      "each other?",
      path, kMaxHops);
}

void prepare(grpc::ClientContext& context, const Call& call, steady_clock::time_point deadline) {
  context.set_deadline(to_gpr(deadline));
  for (const std::string_view key : kForwarded) {
    if (const auto value = call.metadata(key); !value.empty()) {
      context.AddMetadata(std::string(key), std::string(value));
    }
  }
  context.AddMetadata(kHops, std::to_string(hops_of(call) + 1));
}

using Metadata = std::vector<std::pair<std::string, std::string>>;

/// What the backend's handler gave its caller, without what belongs to the transport.
Metadata initial_metadata(const grpc::ClientContext& context) {
  Metadata metadata;
  for (const auto& [key, value] : context.GetServerInitialMetadata()) {
    const std::string_view name(key.data(), key.size());
    if (name.rfind("grpc-", 0) == 0 || name == "content-type" || name == "user-agent") continue;
    metadata.emplace_back(std::string(name), std::string(value.data(), value.size()));
  }
  return metadata;
}

absl::Status closing() { return cancelled("this process is stopping"); }

/// Lives until it has answered: holds itself while gRPC or a timer has it.
class UnaryCall final : public CompletionTag,
                        public ClientQueue::Operation,
                        public std::enable_shared_from_this<UnaryCall> {
 public:
  UnaryCall(std::shared_ptr<Backend> backend, std::string path, CallPtr call, BytesPtr request,
            std::shared_ptr<ServerStream> replies)
      : backend_(std::move(backend)),
        path_(std::move(path)),
        call_(std::move(call)),
        request_(std::move(request)),
        replies_(std::move(replies)),
        deadline_(std::min(call_->deadline(), steady_clock::now() + backend_->limits().timeout)) {}

  void begin() {
    if (!backend_->queue().enter(this)) return replies_->finish(closing());
    self_ = shared_from_this();
    call_->on_cancel([weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->cancel();
    });
    attempt();
  }

  void cancel() override {
    std::lock_guard lock(mutex_);
    cancelled_ = true;
    if (context_ != nullptr) context_->TryCancel();
  }

  void run(bool) override {
    absl::Status status = backend_->describe(*host_, from_grpc(status_));
    bool stopped = false;
    {
      std::lock_guard lock(mutex_);
      stopped = cancelled_;
    }
    const milliseconds pause = backend_->limits().retry_delay * (1 << std::min<int>(tries_, 10));
    if (absl::IsUnavailable(status) && !stopped &&
        static_cast<std::size_t>(tries_) < backend_->limits().retries &&
        steady_clock::now() + pause < deadline_) {
      ++tries_;
      return backend_->queue().after(pause, [self = shared_from_this()](bool in_time) {
        in_time ? self->attempt() : self->end(closing());
      });
    }
    backend_->record(status.code());
    end(std::move(status));
  }

 private:
  void attempt() {
    if (auto status = backend_->admit(); !status.ok()) return end(std::move(status));
    host_ = &backend_->next();
    auto context = std::make_unique<grpc::ClientContext>();
    prepare(*context, *call_, deadline_);
    bool stopped = false;
    {
      std::lock_guard lock(mutex_);
      stopped = cancelled_;
      if (!stopped) {
        reader_ = nullptr;
        context_ = std::move(context);
      }
    }
    if (stopped) return end(cancelled("the caller gave up"));
    // Finish() is the last that touches this: the answer may come on the queue's thread at once.
    reader_ = host_->stub.PrepareUnaryCall(context_.get(), path_, shared_buffer(*request_),
                                           backend_->queue().get());
    reader_->StartCall();
    reader_->Finish(&reply_, &status_, static_cast<CompletionTag*>(this));
  }

  void end(absl::Status status) {
    if (status.ok()) {
      if (Metadata metadata = initial_metadata(*context_); !metadata.empty()) {
        replies_->start(std::move(metadata));
      }
      replies_->write(std::make_shared<const ReceivedBytes>(reply_), [](absl::Status) {});
    }
    replies_->finish(std::move(status));
    replies_ = nullptr;
    call_ = nullptr;
    const auto self = std::move(self_);
    backend_->queue().leave(this);
  }

  const std::shared_ptr<Backend> backend_;
  const std::string path_;
  CallPtr call_;
  const BytesPtr request_;
  std::shared_ptr<ServerStream> replies_;
  const steady_clock::time_point deadline_;
  std::shared_ptr<UnaryCall> self_;

  Backend::Host* host_ = nullptr;
  grpc::ByteBuffer reply_;
  grpc::Status status_;
  int tries_ = 0;

  std::mutex mutex_;  // of the context and whether it is to be cancelled; a call of the queue is
                      // never made under it
  std::unique_ptr<grpc::ClientContext> context_;
  bool cancelled_ = false;
  std::unique_ptr<grpc::GenericClientAsyncResponseReader> reader_;  // ends before its context
};

/// One operation of gRPC's is out at a time, or a write of the caller's: so the backend is read no
/// faster than the caller takes. Holds itself until it has ended.
class StreamCall final : public CompletionTag,
                         public ClientQueue::Operation,
                         public std::enable_shared_from_this<StreamCall> {
 public:
  StreamCall(std::shared_ptr<Backend> backend, std::string path, CallPtr call, BytesPtr request,
             std::shared_ptr<ServerStream> replies)
      : backend_(std::move(backend)),
        host_(backend_->next()),
        path_(std::move(path)),
        call_(std::move(call)),
        request_(std::move(request)),
        replies_(std::move(replies)) {}

  void begin() {
    if (auto status = backend_->admit(); !status.ok()) return replies_->finish(std::move(status));
    if (!backend_->queue().enter(this)) return replies_->finish(closing());
    self_ = shared_from_this();
    prepare(context_, *call_, call_->deadline());
    stream_ = host_.stub.PrepareCall(&context_, path_, backend_->queue().get());
    call_->on_cancel([weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->cancel();
    });
    stream_->StartCall(tag());
  }

  void cancel() override { context_.TryCancel(); }

  void run(bool ok) override {
    if (step_ == Step::kFinish) return end();
    if (!ok) return finish();
    switch (step_) {
      case Step::kStart:
        step_ = Step::kWrite;
        stream_->WriteLast(shared_buffer(*request_), grpc::WriteOptions(), tag());
        break;
      case Step::kWrite:
        step_ = Step::kMetadata;
        stream_->ReadInitialMetadata(tag());
        break;
      case Step::kMetadata:
        if (Metadata metadata = initial_metadata(context_); !metadata.empty()) {
          replies_->start(std::move(metadata));
        }
        read();
        break;
      case Step::kRead:
        replies_->write(std::make_shared<const ReceivedBytes>(received_),
                        [self = shared_from_this()](const absl::Status& status) {
                          if (!status.ok()) self->cancel();
                          self->read();
                        });
        break;
      case Step::kFinish: break;
    }
  }

 private:
  enum class Step { kStart, kWrite, kMetadata, kRead, kFinish };

  void* tag() { return static_cast<CompletionTag*>(this); }

  void read() {
    step_ = Step::kRead;
    stream_->Read(&received_, tag());
  }

  void finish() {
    step_ = Step::kFinish;
    stream_->Finish(&status_, tag());
  }

  void end() {
    absl::Status status = backend_->describe(host_, from_grpc(status_));
    // A stream that lasts until its caller's deadline is none that failed.
    backend_->record(absl::IsDeadlineExceeded(status) ? absl::StatusCode::kOk : status.code());
    replies_->finish(std::move(status));
    replies_ = nullptr;
    call_ = nullptr;
    const auto self = std::move(self_);
    backend_->queue().leave(this);
  }

  const std::shared_ptr<Backend> backend_;
  Backend::Host& host_;
  const std::string path_;
  CallPtr call_;
  const BytesPtr request_;
  std::shared_ptr<ServerStream> replies_;
  std::shared_ptr<StreamCall> self_;

  grpc::ClientContext context_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> stream_;
  grpc::ByteBuffer received_;
  grpc::Status status_;
  Step step_ = Step::kStart;
};

}  // namespace

void call_unary(std::shared_ptr<Backend> backend, const std::string& path, CallPtr call,
                BytesPtr request, std::shared_ptr<ServerStream> replies) {
  if (auto status = refuse_circle(*call, path); !status.ok()) return replies->finish(status);
  std::make_shared<UnaryCall>(std::move(backend), path, std::move(call), std::move(request),
                              std::move(replies))
      ->begin();
}

void call_stream(std::shared_ptr<Backend> backend, const std::string& path, CallPtr call,
                 BytesPtr request, std::shared_ptr<ServerStream> replies) {
  if (auto status = refuse_circle(*call, path); !status.ok()) return replies->finish(status);
  std::make_shared<StreamCall>(std::move(backend), path, std::move(call), std::move(request),
                               std::move(replies))
      ->begin();
}

}  // namespace virtufin::rpc
