#include "modules/gateway/scenario_seed.h"

#include <simdjson.h>

#include <future>
#include <memory>
#include <string>
#include <vector>

#include "core/errors.h"
#include "core/json_text.h"
#include "core/scenario.h"

namespace virtufin::gateway {
namespace {

constexpr const char* kLiveKey = "scenario.LIVE";
constexpr const char* kIndexKey = "scenario.index";
constexpr const char* kLive = "LIVE";

using Deadline = std::chrono::steady_clock::time_point;

/// What `begin` is given as Done, awaited.
template <class T, class Begin>
absl::StatusOr<T> await(Deadline deadline, std::string_view what, Begin begin) {
  auto promise = std::make_shared<std::promise<absl::StatusOr<T>>>();
  auto answer = promise->get_future();
  begin([promise](absl::StatusOr<T> result) { promise->set_value(std::move(result)); });
  if (answer.wait_until(deadline) != std::future_status::ready) {
    return deadline_exceeded("the state store did not answer in time to {}", what);
  }
  absl::StatusOr<T> result = answer.get();
  if (!result.ok()) {
    return with_context(result.status(), what);
  }
  return result;
}

absl::StatusOr<bus::Item> read(bus::StateStore& store, const std::string& key, Deadline deadline) {
  return await<bus::Item>(deadline, "read " + key,
                          [&](bus::Done<bus::Item> done) { store.get(key, std::move(done)); });
}

/// ABORTED if somebody else was faster.
absl::Status write(bus::StateStore& store, bus::Save save, Deadline deadline) {
  const std::string what = "write " + save.key;
  return await<std::string>(
             deadline, what,
             [&](bus::Done<std::string> done) { store.save(std::move(save), std::move(done)); })
      .status();
}

/// The index with LIVE in front; nothing if it is listed.
absl::StatusOr<std::optional<std::string>> with_live(const bus::Item& index) {
  if (index.etag.empty()) {
    return std::optional<std::string>("[\"LIVE\"]");
  }
  simdjson::dom::parser parser;
  simdjson::dom::array ids;
  if (parser.parse(index.value).get(ids)) {
    return failed_precondition("{} is not a JSON array; repair or delete the record", kIndexKey);
  }
  std::string listed = "[\"LIVE\"";
  for (const simdjson::dom::element id : ids) {
    std::string_view text;
    if (id.get(text)) {
      return failed_precondition("{} holds something that is not a string; repair the record",
                                 kIndexKey);
    }
    if (text == kLive) {
      return std::optional<std::string>();
    }
    listed += ',';
    append_json_string(listed, text);
  }
  return std::optional<std::string>(listed + "]");
}

}  // namespace

absl::Status seed_scenarios(bus::StateStore& store, const Clock& clock,
                            std::chrono::milliseconds timeout) {
  const Deadline deadline = std::chrono::steady_clock::now() + timeout;
  const absl::Status seeded =
      write(store, {kLiveKey, to_json(Scenario::live(clock.now())), bus::IfAbsent{}, std::nullopt},
            deadline);
  if (!seeded.ok() && !absl::IsAborted(seeded)) {
    return seeded;
  }
  // Again while others change the index: each round that fails, another process has succeeded.
  while (true) {
    const auto index = read(store, kIndexKey, deadline);
    if (!index.ok()) {
      return index.status();
    }
    auto wanted = with_live(*index);
    if (!wanted.ok()) {
      return wanted.status();
    }
    if (!*wanted) {
      return absl::OkStatus();
    }
    bus::Condition condition = bus::IfAbsent{};
    if (!index->etag.empty()) {
      condition = bus::IfEtag{index->etag};
    }
    const absl::Status listed =
        write(store, {kIndexKey, **std::move(wanted), condition, std::nullopt}, deadline);
    if (!absl::IsAborted(listed)) {
      return listed;
    }
  }
}

}  // namespace virtufin::gateway
