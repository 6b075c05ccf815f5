#include "unit/workmanager/rig.h"

#include <fstream>
#include <sstream>
#include <thread>

namespace virtufin::workmanager::test {

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  INFO(path);
  REQUIRE(file.is_open());
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

bool eventually(const std::function<bool()>& condition) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

void TestStore::fail_saves(std::string prefix, int count) {
  std::lock_guard lock(mutex_);
  fail_prefix_ = std::move(prefix);
  failures_ = count;
}

void TestStore::hold_saves(std::string prefix) {
  std::lock_guard lock(mutex_);
  hold_prefix_ = std::move(prefix);
  holding_ = true;
}

std::size_t TestStore::held() const {
  std::lock_guard lock(mutex_);
  return held_.size();
}

void TestStore::release() {
  std::vector<std::function<void()>> held;
  {
    std::lock_guard lock(mutex_);
    holding_ = false;
    held.swap(held_);
  }
  for (auto& one : held) one();
}

void TestStore::save(bus::Save save, bus::Done<std::string> done) {
  {
    std::unique_lock lock(mutex_);
    if (failures_ > 0 && save.key.starts_with(fail_prefix_)) {
      --failures_;
      lock.unlock();
      return done(unavailable("told to fail"));
    }
    if (holding_ && save.key.starts_with(hold_prefix_)) {
      const auto kept = std::make_shared<std::pair<bus::Save, bus::Done<std::string>>>(
          std::move(save), std::move(done));
      held_.push_back(
          [this, kept] { real_.save(std::move(kept->first), std::move(kept->second)); });
      return;
    }
  }
  real_.save(std::move(save), std::move(done));
}

void TestBus::fail_publishes(std::string topic, int count) {
  std::lock_guard lock(mutex_);
  topic_ = std::move(topic);
  failures_ = count;
}

void TestBus::publish(const bus::TopicPtr& topic, EventPtr event, bus::PublishDone done) {
  {
    std::lock_guard lock(mutex_);
    if (failures_ > 0 && bus::name(topic) == topic_) {
      --failures_;
      running_.push_back(std::async(std::launch::async, [done = std::move(done)]() mutable {
        done(unavailable("told to fail"));
      }));
      return;
    }
  }
  real_.publish(topic, std::move(event), std::move(done));
}

Listener::Listener(bus::Bus& bus, std::vector<std::string> patterns) {
  bus::SubscribeOptions options;
  options.name = "listener";
  options.queue_events = 1'000'000;
  auto made = bus.subscribe(std::move(patterns), std::move(options),
                            [this](const bus::Delivery& delivery, bus::Receipt receipt) {
                              Seen seen{std::string(bus::name(delivery.topic)), delivery.event};
                              if (on_event) on_event(seen);
                              {
                                std::lock_guard lock(mutex_);
                                seen_.push_back(std::move(seen));
                              }
                              std::move(receipt).answer(bus::Answer::kSuccess);
                            });
  REQUIRE(made.ok());
  subscription_ = *std::move(made);
}

std::vector<Seen> Listener::seen() const {
  std::lock_guard lock(mutex_);
  return seen_;
}

std::vector<Seen> Listener::wait(std::size_t count) const {
  eventually([&] { return this->count() >= count; });
  auto all = seen();
  REQUIRE(all.size() == count);
  return all;
}

Rig::Rig() : real_bus({}, metrics), bus(real_bus) {
  auto opened = bus::MemoryStore::open({}, clock, metrics);
  REQUIRE(opened.ok());
  real_store = *std::move(opened);
  store = std::make_unique<TestStore>(*real_store);
  platform.reset(new Platform{clock, bus, *store, methods, http, health, metrics, loops, blocking,
                              "test-instance"});
}

Rig::~Rig() {
  stop();
  module.reset();
}

WorkManagerConfig Rig::quick() {
  WorkManagerConfig config;
  config.retry_first_delay = std::chrono::milliseconds(1);
  config.recovery_interval = std::chrono::milliseconds(100);
  config.order_index_interval = std::chrono::milliseconds(5);
  return config;
}

void Rig::start(WorkManagerConfig config) {
  module = std::make_unique<WorkManagerModule>(*platform, std::move(config));
  const auto status = module->start();
  INFO(status.ToString());
  REQUIRE(status.ok());
}

void Rig::stop() {
  if (module == nullptr) return;
  module->close_intake();
  module->stop(std::chrono::steady_clock::now() + std::chrono::seconds(5));
  module.reset();
}

CreateWorkerRequest Rig::request(std::vector<std::string> topics) {
  CreateWorkerRequest request;
  request.mutable_code_source()->set_content(puppet_code());
  request.set_mime_type("application/x-native-dll");
  for (auto& topic : topics) request.add_topics(std::move(topic));
  request.set_start(true);
  return request;
}

absl::StatusOr<std::string> Rig::try_create(const CreateWorkerRequest& request) {
  auto reply = call<CreateWorkerResponse>("virtufin.WorkManager/CreateWorker", request);
  if (!reply.ok()) return reply.status();
  return reply->id();
}

std::string Rig::create(const CreateWorkerRequest& request) {
  auto id = try_create(request);
  INFO(id.status().ToString());
  REQUIRE(id.ok());
  return *id;
}

absl::Status Rig::start_worker(const std::string& id) {
  StartWorkerRequest request;
  request.set_id(id);
  return call<StartWorkerResponse>("virtufin.WorkManager/StartWorker", request).status();
}

absl::Status Rig::stop_worker(const std::string& id) {
  StopWorkerRequest request;
  request.set_id(id);
  return call<StopWorkerResponse>("virtufin.WorkManager/StopWorker", request).status();
}

absl::Status Rig::delete_worker(const std::string& id) {
  DeleteWorkerRequest request;
  request.set_id(id);
  return call<DeleteWorkerResponse>("virtufin.WorkManager/DeleteWorker", request).status();
}

WorkerInfo Rig::info(const std::string& id) {
  auto list = call<ListWorkersResponse>("virtufin.WorkManager/ListWorkers", ListWorkersRequest());
  REQUIRE(list.ok());
  for (const auto& worker : list->workers()) {
    if (worker.id() == id) return worker;
  }
  FAIL("no worker " << id);
  return {};
}

EventPtr Rig::event(std::string_view data, Extensions extensions, std::string_view subject,
                    std::string_view id) {
  const UuidText random = random_uuid();
  const std::string now = format_time(clock.now());
  const auto has = [&](std::string_view name) {
    for (const auto& one : extensions) {
      if (one.name == name) return true;
    }
    return false;
  };
  if (!has("eventtime")) extensions.push_back({"eventtime", now});
  if (!has("walltime")) extensions.push_back({"walltime", now});
  EventFields fields;
  fields.id = id.empty() ? random.view() : id;
  fields.type = "com.example.command";
  fields.source = "urn:test";
  fields.data_content_type = "text/plain";
  fields.subject = subject;
  fields.data = as_bytes(data);
  fields.extensions = extensions;
  auto made = make_event(fields);
  INFO(made.status().ToString());
  REQUIRE(made.ok());
  return *made;
}

void Rig::publish(std::string_view topic, const EventPtr& event) {
  std::promise<absl::Status> done;
  auto future = done.get_future();
  bus.publish(bus.topic(topic), event, [&](absl::Status status) { done.set_value(status); });
  REQUIRE(future.wait_for(std::chrono::seconds(10)) == std::future_status::ready);
  REQUIRE(future.get().ok());
}

bus::Item Rig::get(const std::string& key) {
  std::promise<absl::StatusOr<bus::Item>> answer;
  auto future = answer.get_future();
  store->get(key, [&](absl::StatusOr<bus::Item> item) { answer.set_value(std::move(item)); });
  auto item = future.get();
  REQUIRE(item.ok());
  return *item;
}

void Rig::save(const std::string& key, const std::string& value) {
  std::promise<absl::Status> answer;
  auto future = answer.get_future();
  store->save({key, value, {}, {}},
              [&](absl::StatusOr<std::string> etag) { answer.set_value(etag.status()); });
  REQUIRE(future.get().ok());
}

}  // namespace virtufin::workmanager::test
