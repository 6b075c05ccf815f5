#include "bus/dapr/state_transaction.h"

#include <algorithm>

#include "core/errors.h"
#include "core/log.h"

namespace virtufin::bus::sidecar {
namespace {

using AnyWrite = std::variant<Save, Erase>;

/// The etag of a record that this same transaction has written; no store gives it.
constexpr std::string_view kWritten = "written in this transaction";

}  // namespace

const Condition& condition_of(const AnyWrite& write) {
  return std::visit([](const auto& w) -> const Condition& { return w.condition; }, write);
}

absl::Status check_condition(const AnyWrite& write, std::string_view etag) {
  const Condition& condition = condition_of(write);
  const std::string& key = std::visit(
      [](const auto& w) -> const auto& { return w.key; }, write);
  if (std::holds_alternative<IfAbsent>(condition)) {
    if (etag.empty()) return absl::OkStatus();
    return aborted("key '{}' exists already, with etag {}", printable(key), printable(etag));
  }
  if (const auto* wanted = std::get_if<IfEtag>(&condition)) {
    if (wanted->etag == etag) return absl::OkStatus();
    if (etag.empty()) {
      return aborted("key '{}' does not exist, etag {} was expected", printable(key),
                     printable(wanted->etag));
    }
    return aborted("key '{}' has etag {}, not {}: read it again", printable(key), printable(etag),
                   printable(wanted->etag));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Write>> plan_transaction(const std::vector<AnyWrite>& writes,
                                                    const std::vector<Item>& now) {
  struct State {
    std::string_view etag;  // as the writes so far leave it
    const AnyWrite* last = nullptr;
    bool conditional = false;  // the first write of the key
  };
  std::vector<State> states(now.size());
  for (std::size_t i = 0; i < now.size(); ++i) states[i].etag = now[i].etag;
  for (const AnyWrite& write : writes) {
    const std::string& key = std::visit(
        [](const auto& w) -> const auto& { return w.key; }, write);
    const auto found =
        std::lower_bound(now.begin(), now.end(), key,
                         [](const Item& item, const std::string& k) { return item.key < k; });
    State& state = states[static_cast<std::size_t>(found - now.begin())];
    VIRTUFIN_RETURN_IF_ERROR(check_condition(write, state.etag));
    if (!state.last) {
      state.conditional = !std::holds_alternative<std::monostate>(condition_of(write));
    }
    state.last = &write;
    state.etag = std::holds_alternative<Save>(write) ? kWritten : std::string_view();
  }
  std::vector<Write> plan;
  for (std::size_t i = 0; i < now.size(); ++i) {
    const State& state = states[i];
    const std::string_view etag = now[i].etag;
    if (const auto* save = std::get_if<Save>(state.last)) {
      // Over the etag even if nothing was asked: see DaprStore about plain writes. A transaction
      // that loses a race so is planned again.
      plan.push_back(
          {save->key, save->value, etag, state.conditional || !etag.empty(), false, save->ttl});
    } else if (!etag.empty()) {
      plan.push_back({now[i].key,
                      {},
                      state.conditional ? etag : std::string_view(),
                      state.conditional,
                      true,
                      {}});
    }
  }
  return plan;
}

}  // namespace virtufin::bus::sidecar
