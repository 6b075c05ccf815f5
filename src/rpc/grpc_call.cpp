#include "rpc/grpc_call.h"

#include <grpc/support/time.h>

#include "core/errors.h"

namespace virtufin::rpc {
namespace {

/// Peers refuse trailers over 8 KiB, and then the message is lost entirely; longer ones are cut.
/// Counted as sent: what is not printable ASCII is percent-encoded.
constexpr std::size_t kLongestMessage = 6 << 10;

std::string cut_message(std::string_view text) {
  std::size_t sent = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    sent += c >= 0x20 && c <= 0x7e && c != '%' ? 1 : 3;
    if (sent > kLongestMessage) {
      while (i > 0 && (text[i] & 0xc0) == 0x80) --i;  // not within a character
      return std::string(text.substr(0, i)) + "...";
    }
  }
  return std::string(text);
}

absl::Status cancelled_error() { return virtufin::cancelled("the peer is gone, or gave up"); }

grpc::Status to_grpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  return {static_cast<grpc::StatusCode>(status.code()), cut_message(message(status))};
}

}  // namespace

BlockCache::~BlockCache() {
  for (void* block : blocks_) ::operator delete(block);
}

void* BlockCache::take(std::size_t bytes) {
  {
    std::lock_guard lock(mutex_);
    if (!blocks_.empty()) {
      void* block = blocks_.back();
      blocks_.pop_back();
      return block;
    }
  }
  return ::operator new(bytes);
}

void BlockCache::give(void* block) {
  {
    std::lock_guard lock(mutex_);
    if (blocks_.size() < kKept) return blocks_.push_back(block);
  }
  ::operator delete(block);
}

GrpcCall::GrpcCall(std::shared_ptr<GrpcShared> shared)
    : shared_(std::move(shared)), stream_(&context_) {}

void GrpcCall::accept(const std::shared_ptr<GrpcShared>& shared) {
  auto call = std::allocate_shared<GrpcCall>(BlockAllocator<GrpcCall>(shared->blocks), shared);
  // The done tag comes only for a call that arrived, so it is armed then.
  call->context_.AsyncNotifyWhenDone(static_cast<CompletionTag*>(&call->done_));
  shared->service.RequestCall(&call->context_, &call->stream_, shared->queue.get(),
                              shared->queue.get(), call->accepted_.armed());
}

void GrpcCall::on_accepted(bool ok) {
  if (!ok) return;  // the server ends
  began_ = std::chrono::steady_clock::now();
  done_.armed();
  shared_->live.fetch_add(1, std::memory_order_relaxed);
  accept(shared_);
  shared_->arrived(shared_from_this());
}

void GrpcCall::serve(MethodPtr method) {
  method_ = std::move(method);
  unary_ = !method_->descriptor()->server_streaming();
  stream_.Read(&received_, read_.armed());
}

void GrpcCall::serve(OnMessage on_message) {
  on_message_ = std::move(on_message);
  read_next();
}

void GrpcCall::read_next() { stream_.Read(&received_, read_.armed()); }

void GrpcCall::on_read(bool ok) {
  if (over()) return;
  if (on_message_) {
    on_message_(ok ? std::make_shared<const ReceivedBytes>(received_) : nullptr);
    return;
  }
  if (!ok) {
    return finish(
        invalid_argument("{}: the call ended without a request message", method_->full_name()));
  }
  const MethodPtr method = std::move(method_);
  request_.take(received_);
  received_.Clear();
  const auto self = shared_from_this();
  method->call(self, std::shared_ptr<const Bytes>(self, &request_),
               std::make_shared<GrpcReplies>(self));
}

std::chrono::steady_clock::time_point GrpcCall::deadline() const {
  const gpr_timespec raw = context_.raw_deadline();
  if (gpr_time_cmp(raw, gpr_inf_future(raw.clock_type)) == 0) {
    return std::chrono::steady_clock::time_point::max();
  }
  const gpr_timespec at = gpr_convert_clock_type(raw, GPR_CLOCK_MONOTONIC);
  return std::chrono::steady_clock::time_point(std::chrono::seconds(at.tv_sec) +
                                               std::chrono::nanoseconds(at.tv_nsec));
}

std::string_view GrpcCall::metadata(std::string_view key) const {
  const auto& all = context_.client_metadata();
  const auto found = all.find(grpc::string_ref(key.data(), key.size()));
  if (found == all.end()) return {};
  return {found->second.data(), found->second.size()};
}

void GrpcCall::start(std::vector<std::pair<std::string, std::string>> metadata) {
  std::lock_guard lock(mutex_);
  for (const auto& [key, value] : metadata) context_.AddInitialMetadata(key, value);
  metadata_waits_ = true;
  send_next();
}

void GrpcCall::write(BytesPtr message, Written written) {
  absl::Status status;
  {
    std::lock_guard lock(mutex_);
    if (over()) {
      status = cancelled_error();
    } else if (message_ != nullptr || finished_) {
      status = failed_precondition("one message at a time, and none after the end");
    } else {
      message_ = std::move(message);
      if (!unary_) {
        written_ = std::move(written);
        send_next();
        return;
      }
    }
  }
  // A unary reply goes out together with its status.
  written(std::move(status));
}

void GrpcCall::finish(absl::Status status) {
  BytesPtr unsent;
  std::lock_guard lock(mutex_);
  if (finished_) return;
  finished_ = true;
  if (unary_ && status.ok() && message_ == nullptr) {
    status = internal_error("the handler answered without a reply");
  }
  if (unary_ && !status.ok()) unsent = std::move(message_);
  record(status.code());
  status_ = to_grpc(status);
  send_next();
}

void GrpcCall::send_next() {
  if (sending_ != Sending::kNothing || over()) return;
  if (metadata_waits_) {
    metadata_waits_ = false;
    sending_ = Sending::kMetadata;
    stream_.SendInitialMetadata(sent_.armed());
  } else if (message_ != nullptr && !unary_) {
    sending_ = Sending::kMessage;
    stream_.Write(shared_buffer(*message_), sent_.armed());
  } else if (status_ && message_ != nullptr) {
    sending_ = Sending::kStatus;
    stream_.WriteAndFinish(make_buffer(*message_), grpc::WriteOptions(), *status_, sent_.armed());
  } else if (status_) {
    sending_ = Sending::kStatus;
    stream_.Finish(*status_, sent_.armed());
  }
}

void GrpcCall::on_sent(bool ok) {
  BytesPtr message;
  Written written;
  {
    std::lock_guard lock(mutex_);
    if (sending_ == Sending::kStatus) return;  // nothing follows a status
    if (sending_ == Sending::kMessage) {
      message.swap(message_);
      written.swap(written_);
    }
    sending_ = Sending::kNothing;
    send_next();
  }
  if (written) written(ok ? absl::OkStatus() : cancelled_error());
}

void GrpcCall::on_done(bool) {
  BytesPtr message;
  Written written;
  {
    std::lock_guard lock(mutex_);
    over_.store(true, std::memory_order_release);
    if (sending_ != Sending::kMessage) {
      message.swap(message_);
      written.swap(written_);
    }
    if (!finished_) record(absl::StatusCode::kCancelled);
  }
  if (context_.IsCancelled()) cancellation_.cancel();
  cancellation_.end();
  if (written) written(cancelled_error());
  method_ = nullptr;
  on_message_ = nullptr;
  shared_->live.fetch_sub(1, std::memory_order_release);
  shared_->live.notify_all();
}

void GrpcCall::record(absl::StatusCode code) {
  if (stats_ != nullptr) stats_->record(code, std::chrono::steady_clock::now() - began_);
}

GrpcReplies::~GrpcReplies() {
  call_->finish(internal_error("{} ended without an answer", call_->path()));
}

}  // namespace virtufin::rpc
