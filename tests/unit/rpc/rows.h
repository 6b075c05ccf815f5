#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "core/errors.h"
#include "rpc/bytes.h"
#include "rpc/method.h"
#include "virtufin/pubsub.pb.h"
#include "virtufin/state.pb.h"

/// Rows and ends of calls for the tests of this room.
namespace virtufin::rpc::test {

using namespace std::chrono_literals;

/// Waits for what other threads bring, at most ten seconds.
template <class T>
class Mailbox {
 public:
  void put(T value) {
    // Notified under the lock: whoever takes the value may destroy the mailbox next.
    std::lock_guard lock(mutex_);
    values_.push_back(std::move(value));
    arrived_.notify_all();
  }
  std::optional<T> take(std::chrono::milliseconds limit = 10s) {
    std::unique_lock lock(mutex_);
    if (!arrived_.wait_for(lock, limit, [&] { return !values_.empty(); })) return std::nullopt;
    std::optional<T> value(std::move(values_.front()));
    values_.pop_front();
    return value;
  }
  std::size_t size() {
    std::lock_guard lock(mutex_);
    return values_.size();
  }

 private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<T> values_;
};

template <class Condition>
bool eventually(Condition condition, std::chrono::milliseconds limit = 10s) {
  const auto end = std::chrono::steady_clock::now() + limit;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(1ms);
  }
  return true;
}

/// The receiving end of a stream within the process.
class Sink final : public ServerStream {
 public:
  void start(std::vector<std::pair<std::string, std::string>> metadata) override {
    started = std::move(metadata);
  }
  void write(BytesPtr message, absl::AnyInvocable<void(absl::Status)> written) override {
    messages.push_back(std::string(view(*message)));
    written(absl::OkStatus());
  }
  void finish(absl::Status status) override { finished = std::move(status); }

  std::vector<std::pair<std::string, std::string>> started;
  std::vector<std::string> messages;
  std::optional<absl::Status> finished;
};

/// GetState answers the key as the value; an empty key is refused.
inline void add_get_state(MethodTable& methods) {
  methods.unary<GetStateRequest, GetStateResponse>(
      "virtufin.State/GetState",
      [](CallPtr, const GetStateRequest& request, ReplyTo<GetStateResponse> reply) {
        if (request.key().empty()) return reply(invalid_argument("key is empty; give one"));
        GetStateResponse response;
        response.set_key(request.key());
        response.set_value(request.service() + ":" + request.key());
        response.set_etag("1");
        reply(std::move(response));
      });
}

}  // namespace virtufin::rpc::test
