#include "modules/workmanager/worker_records.h"

#include <simdjson.h>

#include <algorithm>
#include <future>
#include <memory>

#include "core/errors.h"
#include "core/json_text.h"
#include "core/log.h"

namespace virtufin::workmanager {
namespace {

constexpr int kIndexTries = 20;

/// Waits for one answer of the store; `begin` is given the callback.
template <class T, class Begin>
absl::StatusOr<T> await(std::string_view what, Begin&& begin) {
  auto answer = std::make_shared<std::promise<absl::StatusOr<T>>>();
  auto future = answer->get_future();
  begin([answer](absl::StatusOr<T> result) { answer->set_value(std::move(result)); });
  if (future.wait_for(WorkerRecords::kPatience) != std::future_status::ready) {
    return unavailable("the state store did not answer within {} s ({})",
                       WorkerRecords::kPatience.count(), what);
  }
  return future.get();
}

std::string key_of(std::string_view id) { return fmt::format("workmanager.worker.{}", id); }

absl::StatusOr<std::vector<std::string>> read_index(const bus::Item& item) {
  std::vector<std::string> ids;
  if (item.etag.empty()) return ids;
  simdjson::dom::parser parser;
  simdjson::dom::array array;
  if (const auto error = parser.parse(item.value).get_array().get(array)) {
    return internal_error("{} is not a JSON array: {}", WorkerRecords::kIndexKey,
                          simdjson::error_message(error));
  }
  for (const auto one : array) {
    std::string_view id;
    if (!one.get_string().get(id)) ids.emplace_back(id);
  }
  return ids;
}

}  // namespace

absl::Status WorkerRecords::save(const WorkerSpec& spec) {
  return await<std::string>(
             "saving a worker",
             [&](auto done) {
               store_.save({key_of(spec.id), to_json(spec), {}, {}}, std::move(done));
             })
      .status();
}

template <class Change>
absl::Status WorkerRecords::change_index(Change&& change) {
  absl::Status status;
  for (int i = 0; i < kIndexTries; ++i) {
    auto item = await<bus::Item>("reading the index of workers", [&](auto done) {
      store_.get(std::string(kIndexKey), std::move(done));
    });
    if (!item.ok()) return item.status();
    auto ids = read_index(*item);
    if (!ids.ok()) return ids.status();
    if (!change(*ids)) return absl::OkStatus();
    bus::Condition condition = bus::IfAbsent{};
    if (!item->etag.empty()) condition = bus::IfEtag{item->etag};
    status =
        await<std::string>("saving the index of workers", [&](auto done) {
          store_.save({std::string(kIndexKey), json_array(*ids), condition, {}}, std::move(done));
        }).status();
    if (status.code() != absl::StatusCode::kAborted) return status;
  }
  return status;
}

absl::Status WorkerRecords::add_to_index(const std::string& id) {
  return change_index([&](std::vector<std::string>& ids) {
    if (std::find(ids.begin(), ids.end(), id) != ids.end()) return false;
    ids.push_back(id);
    return true;
  });
}

absl::Status WorkerRecords::erase(const std::string& id) {
  VIRTUFIN_RETURN_IF_ERROR(
      change_index([&](std::vector<std::string>& ids) { return std::erase(ids, id) > 0; }));
  const auto erased = await<std::monostate>("erasing a worker", [&](auto done) {
    store_.erase({key_of(id), {}}, std::move(done));
  });
  return erased.status().code() == absl::StatusCode::kNotFound ? absl::OkStatus() : erased.status();
}

absl::StatusOr<std::vector<std::string>> WorkerRecords::index() {
  auto item = await<bus::Item>("reading the index of workers", [&](auto done) {
    store_.get(std::string(kIndexKey), std::move(done));
  });
  if (!item.ok()) return item.status();
  return read_index(*item);
}

absl::StatusOr<WorkerSpec> WorkerRecords::load(const std::string& id) {
  auto item = await<bus::Item>("reading a worker",
                               [&](auto done) { store_.get(key_of(id), std::move(done)); });
  if (!item.ok()) return item.status();
  if (item->etag.empty()) return not_found("no record at {}", key_of(id));
  return spec_from_json(item->value);
}

absl::StatusOr<Scenario> WorkerRecords::scenario(const std::string& id, TimePoint now) {
  if (id == "LIVE") return Scenario::live(now);
  const std::string key = "scenario." + id;
  auto item =
      await<bus::Item>("reading a scenario", [&](auto done) { store_.get(key, std::move(done)); });
  if (!item.ok()) return item.status();
  if (item->etag.empty()) {
    return failed_precondition("scenario '{}' is not registered; save it at {} first", id, key);
  }
  auto scenario = scenario_from_json(item->value);
  if (!scenario.ok()) return with_context(scenario.status(), key);
  scenario->id = id;
  return scenario;
}

}  // namespace virtufin::workmanager
