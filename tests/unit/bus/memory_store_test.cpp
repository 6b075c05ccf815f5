#include "bus/memory/memory_store.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <future>

#include "conformance/support.h"
#include "core/config.h"
#include "core/metrics.h"
#include "core/time.h"

using namespace virtufin;
using namespace virtufin::testing;
using bus::Item;
using bus::MemoryStore;
using bus::Save;
using bus::StateConfig;

namespace {

struct Directory {
  std::filesystem::path path;
  Directory() {
    std::string name = (std::filesystem::temp_directory_path() / "virtufin-store-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path = name;
  }
  ~Directory() { std::filesystem::remove_all(path); }
  StateConfig config(const std::string& durability) const {
    StateConfig config;
    config.durability = durability;
    config.path = (path / "state.db").string();
    return config;
  }
};

struct Opened {
  WallClock clock;
  Metrics metrics;
  std::unique_ptr<MemoryStore> store;

  explicit Opened(const StateConfig& config) {
    auto opened = MemoryStore::open(config, clock, metrics);
    INFO(message(opened.status()));
    REQUIRE(opened.ok());
    store = *std::move(opened);
  }

  absl::Status save(const std::string& key, std::string value) {
    std::promise<absl::Status> promise;
    store->save({key, std::move(value), {}, {}},
                [&](const auto& result) { promise.set_value(result.status()); });
    auto future = promise.get_future();
    REQUIRE(future.wait_for(kDeadline) == std::future_status::ready);
    return future.get();
  }
  std::string value(const std::string& key) {
    std::string value;
    store->get(key, [&](const auto& item) { value = item->value; });
    return value;
  }
};

}  // namespace

TEST_CASE("kill -9: what was acknowledged is there after the restart") {
  const std::string durability = GENERATE("batched", "commit");
  const Directory directory;
  int pipe_ends[2];
  REQUIRE(pipe(pipe_ends) == 0);
  const pid_t child = fork();
  if (child == 0) {
    // Saves as fast as it can and says which were acknowledged, until it is killed.
    close(pipe_ends[0]);
    WallClock clock;
    Metrics metrics;
    auto store = MemoryStore::open(directory.config(durability), clock, metrics);
    if (!store.ok()) _exit(1);
    for (int i = 0;; ++i) {
      std::promise<bool> settled;
      (*store)->save({"k." + std::to_string(i), std::to_string(i), {}, {}},
                     [&](const auto& result) { settled.set_value(result.ok()); });
      if (!settled.get_future().get()) _exit(2);
      if (write(pipe_ends[1], &i, sizeof i) != sizeof i) _exit(3);
    }
  }
  REQUIRE(child > 0);
  close(pipe_ends[1]);
  int last = -1, number = 0;
  while (read(pipe_ends[0], &number, sizeof number) == sizeof number) {
    last = number;
    if (last == 200) kill(child, SIGKILL);
  }
  close(pipe_ends[0]);
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(WIFSIGNALED(status));
  REQUIRE(last >= 200);
  Opened opened(directory.config(durability));
  for (int i = 0; i <= last; ++i)
    CHECK(opened.value("k." + std::to_string(i)) == std::to_string(i));
  CHECK(opened.store->records() >= static_cast<std::size_t>(last) + 1);
}

TEST_CASE("a full disk: the write fails, memory goes back, nothing acknowledged is lost") {
  const Directory directory;
  {
    Opened opened(directory.config("batched"));
    REQUIRE(opened.save("kept", "before").ok());
    REQUIRE(opened.save("erased", "here").ok());
    const std::size_t records = opened.store->records();
    const std::size_t bytes = opened.store->bytes();

    // No file of this process may grow, as on a full disk.
    signal(SIGXFSZ, SIG_IGN);
    rlimit before{};
    getrlimit(RLIMIT_FSIZE, &before);
    rlimit none = before;
    none.rlim_cur = 1;
    setrlimit(RLIMIT_FSIZE, &none);
    const absl::Status refused = opened.save("kept", std::string(100'000, 'x'));
    std::promise<absl::Status> promise;
    opened.store->erase({"erased", {}},
                        [&](const auto& result) { promise.set_value(result.status()); });
    const absl::Status erase_refused = promise.get_future().get();
    const absl::Status health = opened.store->health();
    const absl::Status added = opened.save("new", "never");
    setrlimit(RLIMIT_FSIZE, &before);

    CHECK(refused.code() == absl::StatusCode::kUnavailable);
    CHECK(erase_refused.code() == absl::StatusCode::kUnavailable);
    CHECK(added.code() == absl::StatusCode::kUnavailable);
    CHECK(health.code() == absl::StatusCode::kUnavailable);
    CHECK_THAT(std::string(message(health)), Catch::Contains("state.db"));
    CHECK(opened.value("kept") == "before");
    CHECK(opened.value("erased") == "here");
    CHECK(opened.value("new").empty());
    CHECK(opened.store->records() == records);
    CHECK(opened.store->bytes() == bytes);

    // When there is room again it goes on by itself.
    CHECK(opened.save("kept", "after").ok());
    CHECK(opened.store->health().ok());
    CHECK(opened.value("kept") == "after");
  }
  Opened again(directory.config("batched"));
  CHECK(again.value("kept") == "after");
  CHECK(again.value("erased") == "here");
  CHECK(again.value("new").empty());
}

TEST_CASE("more writes than may wait are refused, and those that wait are written") {
  const Directory directory;
  auto config = directory.config("commit");
  config.queue_writes = 8;
  Opened opened(config);
  std::atomic<int> written = 0, refused = 0, other = 0;
  constexpr int kWrites = 2000;
  for (int i = 0; i < kWrites; ++i) {
    opened.store->save({"k." + std::to_string(i), "v", {}, {}}, [&](const auto& result) {
      if (result.ok()) {
        ++written;
      } else if (result.status().code() == absl::StatusCode::kResourceExhausted) {
        ++refused;
      } else {
        ++other;
      }
    });
  }
  REQUIRE(eventually([&] { return written + refused + other == kWrites; }));
  CHECK(written >= 8);
  CHECK(refused > 0);
  CHECK(other == 0);
  CHECK(opened.store->records() == static_cast<std::size_t>(written));
  std::vector<std::variant<Save, bus::Erase>> many(9, Save{"t", "v", {}, {}});
  std::promise<absl::Status> promise;
  opened.store->transact(many, [&](const auto& result) { promise.set_value(result.status()); });
  CHECK(promise.get_future().get().code() == absl::StatusCode::kResourceExhausted);
}

TEST_CASE("writers on many threads: the last acknowledged value is what is read, now and after") {
  const Directory directory;
  const std::string durability = GENERATE("none", "batched");
  constexpr int kThreads = 4, kKeys = 5, kWrites = 400;
  std::vector<std::string> last(kKeys);
  {
    Opened opened(directory.config(durability));
    std::vector<std::thread> threads;
    std::atomic<int> settled = 0, failed = 0, behind = 0;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < kWrites; ++i) {
          // The key is this thread's alone while t < kKeys: what it reads after an
          // acknowledgement is that write or one of its later ones.
          const std::string key = "k." + std::to_string(t);
          opened.store->save({key, std::to_string(i), {}, {}}, [&, key, i](const auto& result) {
            if (!result.ok()) ++failed;
            opened.store->get(key, [&](const auto& item) {
              if (std::stoi(item->value) < i) ++behind;
            });
            ++settled;
          });
        }
      });
    }
    for (auto& thread : threads) thread.join();
    REQUIRE(eventually([&] { return settled == kThreads * kWrites; }));
    CHECK(failed == 0);
    CHECK(behind == 0);
    for (int t = 0; t < kThreads; ++t) {
      CHECK(opened.value("k." + std::to_string(t)) == std::to_string(kWrites - 1));
    }
  }
  if (durability == "none") return;
  Opened again(directory.config(durability));
  for (int t = 0; t < kThreads; ++t) {
    CHECK(again.value("k." + std::to_string(t)) == std::to_string(kWrites - 1));
  }
}

TEST_CASE("the destructor writes what waits") {
  const Directory directory;
  std::atomic<int> written = 0;
  {
    Opened opened(directory.config("batched"));
    for (int i = 0; i < 500; ++i) {
      opened.store->save({"k." + std::to_string(i), "v", {}, {}}, [&](const auto& result) {
        if (result.ok()) ++written;
      });
    }
  }
  CHECK(written == 500);
  Opened again(directory.config("batched"));
  CHECK(again.store->records() == 500);
}

TEST_CASE("records and bytes follow what is stored") {
  StateConfig config;
  Opened opened(config);
  CHECK(opened.store->records() == 0);
  CHECK(opened.store->bytes() == 0);
  REQUIRE(opened.save("a", std::string(1000, 'x')).ok());
  const std::size_t one = opened.store->bytes();
  CHECK(one > 1000);
  CHECK(one < 1500);
  REQUIRE(opened.save("a", "y").ok());
  CHECK(opened.store->records() == 1);
  CHECK(opened.store->bytes() < one - 900);
  REQUIRE(opened.save("b", "y").ok());
  CHECK(opened.store->records() == 2);
  CHECK(opened.metrics.gauge("virtufin_state_records", "")->value() == 2);
  CHECK(opened.metrics.gauge("virtufin_state_bytes", "")->value() ==
        static_cast<std::int64_t>(opened.store->bytes()));
  for (const char* key : {"a", "b"}) {
    opened.store->erase({key, {}}, [](const auto& result) { CHECK(result.ok()); });
  }
  CHECK(opened.store->records() == 0);
  CHECK(opened.store->bytes() == 0);
}

TEST_CASE("with durability none a save completes before it returns") {
  StateConfig config;
  Opened opened(config);
  bool done = false;
  opened.store->save({"k", "v", {}, {}}, [&](const auto& result) { done = result.ok(); });
  CHECK(done);
}

TEST_CASE("expired records are taken away without being asked for") {
  const Directory directory;
  auto config = directory.config(GENERATE("none", "batched"));
  config.expire_ms = std::chrono::milliseconds(1);
  HistoricalClock clock{TimePoint(std::chrono::hours(24 * 365))};
  Metrics metrics;
  auto store = MemoryStore::open(config, clock, metrics);
  REQUIRE(store.ok());
  std::atomic<int> saved = 0;
  for (int i = 0; i < 600; ++i) {
    (*store)->save({"k." + std::to_string(i), "v", {}, std::chrono::seconds(10)},
                   [&](const auto& result) {
                     if (result.ok()) ++saved;
                   });
  }
  REQUIRE(eventually([&] { return saved == 600; }));
  CHECK((*store)->records() == 600);
  clock.advance_to(clock.now() + std::chrono::seconds(11));
  CHECK(eventually([&] { return (*store)->records() == 0; }));
}

TEST_CASE("a file that cannot be used is refused with its path") {
  const Directory directory;
  WallClock clock;
  Metrics metrics;
  auto config = directory.config("batched");
  SECTION("no directory") {
    config.path = (directory.path / "no" / "state.db").string();
    const auto store = MemoryStore::open(config, clock, metrics);
    CHECK(store.status().code() == absl::StatusCode::kUnavailable);
    CHECK_THAT(std::string(message(store.status())), Catch::Contains(config.path));
  }
  SECTION("no database") {
    std::ofstream(config.path) << std::string(5000, 'x');
    const auto store = MemoryStore::open(config, clock, metrics);
    CHECK_FALSE(store.ok());
    CHECK_THAT(std::string(message(store.status())), Catch::Contains(config.path));
  }
  SECTION("in use") {
    const Opened first(config);
    const auto second = MemoryStore::open(config, clock, metrics);
    CHECK(second.status().code() == absl::StatusCode::kFailedPrecondition);
    CHECK_THAT(std::string(message(second.status())), Catch::Contains("in use"));
  }
}

TEST_CASE("queries that wait are bounded") {
  StateConfig config;
  config.queue_queries = 2;
  config.query_items_max = 3;
  config.query_sort_max = 5;
  Opened opened(config);
  for (int i = 0; i < 10; ++i) REQUIRE(opened.save("k." + std::to_string(i), "{}").ok());
  std::promise<std::size_t> items;
  opened.store->query("{}", 100, [&](const auto& result) { items.set_value(result->size()); });
  CHECK(items.get_future().get() == 3);
  std::promise<absl::Status> sorted;
  opened.store->query(R"({"sort":[{"key":"a"}]})", 1,
                      [&](const auto& result) { sorted.set_value(result.status()); });
  const absl::Status status = sorted.get_future().get();
  CHECK(status.code() == absl::StatusCode::kResourceExhausted);
  CHECK_THAT(std::string(message(status)), Catch::Contains("query_sort_max"));

  Gate gate;
  std::atomic<int> refused = 0, answered = 0;
  const auto ask = [&](bool hold) {
    opened.store->query("{}", 1, [&, hold](const auto& result) {
      if (hold) gate.pass();
      if (result.status().code() == absl::StatusCode::kResourceExhausted) {
        ++refused;
      } else {
        ++answered;
      }
    });
  };
  ask(true);
  REQUIRE(gate.wait_until_reached());
  for (int i = 0; i < 5; ++i) ask(false);
  CHECK(refused == 3);
  gate.open();
  CHECK(eventually([&] { return answered == 3; }));
}

TEST_CASE("a value beyond the limit is refused by name") {
  StateConfig config;
  config.value_bytes_max = 10;
  Opened opened(config);
  CHECK(opened.save("k", std::string(10, 'x')).ok());
  const absl::Status status = opened.save("k", std::string(11, 'x'));
  CHECK(status.code() == absl::StatusCode::kInvalidArgument);
  CHECK_THAT(std::string(message(status)), Catch::Contains("value_bytes_max"));
}

TEST_CASE("the section [state] is read") {
  auto loaded = Config::load("", {{"VIRTUFIN_STATE__DURABILITY", "batched"},
                                  {"VIRTUFIN_STATE__PATH", "/tmp/x.db"},
                                  {"VIRTUFIN_STATE__QUEUE_WRITES", "100"},
                                  {"VIRTUFIN_STATE__SERVICES", "alpha,beta"}});
  REQUIRE(loaded.ok());
  StateConfig config;
  config.read(loaded->section("state"));
  CHECK(loaded->finish().ok());
  CHECK(config.durability == "batched");
  CHECK(config.path == "/tmp/x.db");
  CHECK(config.queue_writes == 100);
  CHECK(config.services == std::vector<std::string>{"alpha", "beta"});
}
