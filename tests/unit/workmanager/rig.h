#pragma once

#include <catch2/catch.hpp>
#include <condition_variable>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "bus/memory/memory_bus.h"
#include "bus/memory/memory_store.h"
#include "core/errors.h"
#include "core/event_writer.h"
#include "core/uuid.h"
#include "modules/workmanager/workmanager.h"
#include "rpc/local_call.h"
#include "rpc/server.h"
#include "virtufin/workmanager.pb.h"

namespace virtufin::workmanager::test {

std::string read_file(const std::string& path);
inline std::string puppet_code() { return read_file(VIRTUFIN_TEST_WORKERS "/libpuppet.so"); }

/// Waits for a condition; false if it does not come true within ten seconds.
bool eventually(const std::function<bool()>& condition);

/// A store that can be told to fail or to hold back its answers. Threads: any.
class TestStore final : public bus::StateStore {
 public:
  explicit TestStore(bus::StateStore& real) : real_(real) {}

  /// The next `count` saves of keys that begin with `prefix` fail with UNAVAILABLE.
  void fail_saves(std::string prefix, int count);
  /// Saves of keys that begin with `prefix` wait for release().
  void hold_saves(std::string prefix);
  std::size_t held() const;
  void release();

  void get(std::string key, bus::Done<bus::Item> done) override {
    real_.get(std::move(key), std::move(done));
  }
  void get(std::vector<std::string> keys, bus::Done<std::vector<bus::Item>> done) override {
    real_.get(std::move(keys), std::move(done));
  }
  void save(bus::Save save, bus::Done<std::string> done) override;
  void erase(bus::Erase erase, bus::Done<std::monostate> done) override {
    real_.erase(std::move(erase), std::move(done));
  }
  void transact(std::vector<std::variant<bus::Save, bus::Erase>> writes,
                bus::Done<std::monostate> done) override {
    real_.transact(std::move(writes), std::move(done));
  }
  void query(std::string query, std::size_t limit,
             bus::Done<std::vector<bus::Item>> done) override {
    real_.query(std::move(query), limit, std::move(done));
  }

 private:
  bus::StateStore& real_;
  mutable std::mutex mutex_;
  std::string fail_prefix_, hold_prefix_;
  int failures_ = 0;
  bool holding_ = false;
  std::vector<std::function<void()>> held_;
};

/// A bus whose publishing can be told to fail. Threads: any.
class TestBus final : public bus::Bus {
 public:
  explicit TestBus(bus::Bus& real) : real_(real) {}
  /// The next `count` publishes to `topic` fail with UNAVAILABLE, later and on another thread.
  void fail_publishes(std::string topic, int count);

  bus::TopicPtr topic(std::string_view name) override { return real_.topic(name); }
  void publish(const bus::TopicPtr& topic, EventPtr event, bus::PublishDone done) override;
  absl::StatusOr<std::unique_ptr<bus::Subscription>> subscribe(std::vector<std::string> patterns,
                                                               bus::SubscribeOptions options,
                                                               bus::Handler handler) override {
    return real_.subscribe(std::move(patterns), std::move(options), std::move(handler));
  }

 private:
  bus::Bus& real_;
  std::mutex mutex_;
  std::string topic_;
  int failures_ = 0;
  std::vector<std::future<void>> running_;
};

struct Seen {
  std::string topic;
  EventPtr event;
  std::string data() const { return std::string(as_text(event->data())); }
  std::string extension(std::string_view name) const { return std::string(event->extension(name)); }
};

/// What came on some topics, in order.
class Listener {
 public:
  Listener(bus::Bus& bus, std::vector<std::string> patterns);
  std::vector<Seen> seen() const;
  std::size_t count() const { return seen().size(); }
  /// Waits for so many; fails the test if they do not come.
  std::vector<Seen> wait(std::size_t count) const;
  /// Called on the publisher's thread for every event.
  std::function<void(const Seen&)> on_event;

 private:
  mutable std::mutex mutex_;
  std::vector<Seen> seen_;
  std::unique_ptr<bus::Subscription> subscription_;
};

/// Everything that a WorkManager stands on, without servers.
class Rig {
 public:
  Rig();
  ~Rig();

  /// A process's start: the module on the same store.
  void start(WorkManagerConfig config = quick());
  void stop();
  static WorkManagerConfig quick();  ///< short pauses

  /// No assertions: tests call it on threads of their own, and Catch's are for one.
  template <class Reply, class Request>
  absl::StatusOr<Reply> call(std::string_view method, const Request& request) {
    auto row = methods.find(method);
    if (!row.ok()) return row.status();
    std::promise<absl::StatusOr<Reply>> answer;
    auto future = answer.get_future();
    (*row)->call(std::make_shared<rpc::LocalCall>(), request,
                 [&](absl::StatusOr<std::unique_ptr<google::protobuf::Message>> reply) {
                   // A copy of its own: the sanitizer does not see Abseil count its references.
                   if (!reply.ok()) {
                     const auto& status = reply.status();
                     return answer.set_value(absl::Status(status.code(), status.message()));
                   }
                   answer.set_value(static_cast<Reply&>(**reply));
                 });
    if (future.wait_for(std::chrono::seconds(10)) != std::future_status::ready) {
      throw std::runtime_error(std::string(method) + " does not answer");
    }
    return future.get();
  }

  static CreateWorkerRequest request(std::vector<std::string> topics);
  absl::StatusOr<std::string> try_create(const CreateWorkerRequest& request);
  std::string create(const CreateWorkerRequest& request);
  absl::Status start_worker(const std::string& id);
  absl::Status stop_worker(const std::string& id);
  absl::Status delete_worker(const std::string& id);
  WorkerInfo info(const std::string& id);

  using Extensions = std::vector<Extension>;
  EventPtr event(std::string_view data, Extensions extensions = {}, std::string_view subject = "s",
                 std::string_view id = {});
  void publish(std::string_view topic, const EventPtr& event);
  void publish(std::string_view topic, std::string_view data, Extensions extensions = {}) {
    publish(topic, event(data, std::move(extensions)));
  }
  bus::Item get(const std::string& key);
  void save(const std::string& key, const std::string& value);

  WallClock clock;
  Metrics metrics;
  bus::MemoryBus real_bus;
  TestBus bus;
  std::unique_ptr<bus::MemoryStore> real_store;
  std::unique_ptr<TestStore> store;
  rpc::MethodTable methods;
  rpc::Health health;
  Loops loops{1};
  BlockingPool blocking{"blocking", 2, 100};
  rpc::HttpServer http{methods, health, metrics, loops, {}};  // bound to nothing
  std::unique_ptr<Platform> platform;
  std::unique_ptr<WorkManagerModule> module;
};

}  // namespace virtufin::workmanager::test
